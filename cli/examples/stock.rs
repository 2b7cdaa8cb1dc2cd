//! Prints `core/src/stock/kubernetes.json` from the folder with Kubernetes' own test data, which is its first argument.

#![allow(
    clippy::print_stdout,
    reason = "the output of this program is the file it makes"
)]

use std::path::Path;

use serde_json::Value;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args()
        .nth(1)
        .ok_or_else(|| anyhow::anyhow!("name the folder bootstrappolicy/testdata"))?;
    let folder = Path::new(&folder);
    let roles = lines(folder, &["cluster-roles.yaml", "controller-roles.yaml"])?;
    let bindings = lines(
        folder,
        &["cluster-role-bindings.yaml", "controller-role-bindings.yaml"],
    )?;
    println!("{{\"clusterRoles\":[\n{roles}\n],\"clusterRoleBindings\":[\n{bindings}\n]}}");
    Ok(())
}

/// The items of some Lists, one a line.
fn lines(folder: &Path, files: &[&str]) -> anyhow::Result<String> {
    let mut lines = Vec::new();
    for file in files {
        let list: Value = serde_saphyr::from_str(&std::fs::read_to_string(folder.join(file))?)?;
        for item in list["items"].as_array().into_iter().flatten() {
            let mut item = item.clone();
            if let Some(metadata) = item["metadata"].as_object_mut() {
                metadata.remove("annotations");
            }
            lines.push(serde_json::to_string(&item)?);
        }
    }
    Ok(lines.join(",\n"))
}

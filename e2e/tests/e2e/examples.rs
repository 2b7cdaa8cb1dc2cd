//! The manifests in `examples/`: what they promise is so.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{checkout, objects};

use crate::fixture::{SOON, on_shared_cluster, ready_tenant, unique};

#[test]
fn a_tenant_with_nothing_but_a_name_becomes_ready() -> Result<()> {
    on_shared_cluster(async |installed| {
        let name = unique("bare");
        ready_tenant(
            &installed.cluster,
            &format!("{{ metadata: {{ name: {name} }}, spec: {{}} }}"),
            SOON,
        )
        .await
    })
}

#[test]
fn examples_are_allowed_and_refused_as_they_say() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        for tenant in ["acme.yaml", "globex.yaml"] {
            ready_tenant(cluster, &fs::read_to_string(examples().join(tenant))?, SOON).await?;
        }
        let client = cluster.client();
        for file in manifests("allowed")? {
            let yaml = fs::read_to_string(&file)?;
            objects::create(&client, &yaml)
                .await
                .with_context(|| file.display().to_string())?;
        }
        let refused = manifests("refused")?;
        ensure!(refused.len() >= 4, "{} examples of refusals", refused.len());
        for file in refused {
            let yaml = fs::read_to_string(&file)?;
            let rule = yaml.lines().next().and_then(|it| it.strip_prefix("# Refused: "));
            let rule = rule.with_context(|| format!("{} names no rule", file.display()))?;
            let result = objects::create(&client, &yaml).await;
            objects::denied(result, rule).with_context(|| file.display().to_string())?;
        }
        Ok(())
    })
}

fn examples() -> PathBuf {
    checkout::root().join("examples")
}

fn manifests(folder: &str) -> Result<Vec<PathBuf>> {
    let folder = examples().join(folder);
    let mut files = fs::read_dir(folder)?
        .map(|it| Ok(it?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

//! The image and the containers made of it.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{
    install::{NAMESPACE, RELEASE},
    node::Node,
};
use serde_json::Value;

use crate::{
    processes,
    site::{VERSION, archive, get},
};

/// What tar prints.
fn tar(arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new("tar").args(arguments).output().context("run tar")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tar {arguments:?}: {error}");
    Ok(output.stdout)
}

/// Three programs, and no shell, library or account beside them.
pub(crate) async fn the_image_holds_three_programs(_: &mut Node) -> Result<()> {
    let archive = archive(VERSION)?.display().to_string();
    let manifest: Value = serde_json::from_slice(&tar(&["-xOf", &archive, "manifest.json"])?)?;
    let layers = manifest[0]["Layers"].as_array().context("no layers")?;
    let mut files = Vec::new();
    for layer in layers {
        let layer = layer.as_str().context("a layer without a name")?;
        let file = std::env::temp_dir().join(format!("bailiwick-layer-{}.tar", std::process::id()));
        std::fs::write(&file, tar(&["-xOf", &archive, layer])?)?;
        let list = tar(&["-tf", &file.display().to_string()]);
        std::fs::remove_file(&file)?;
        files.extend(String::from_utf8(list?)?.lines().map(str::to_owned));
    }
    files.sort();
    ensure!(
        files == ["bailiwick", "bailiwick-operator", "bailiwick-webhook"],
        "{files:?}"
    );
    let config = manifest[0]["Config"].as_str().context("no configuration")?;
    let config: Value = serde_json::from_slice(&tar(&["-xOf", &archive, config])?)?;
    ensure!(config["config"]["User"] == "65532:65532", "{config}");
    Ok(())
}

/// Not what the manifests say, but what the processes have.
pub(crate) async fn containers_are_locked_down(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let slot = cluster.slot().number();
    let mut seen = 0;
    for process in processes::of_node(slot)? {
        let command = &process.command;
        let is_ours = command.starts_with("/bailiwick-operator") || command.starts_with("/bailiwick-webhook");
        if !is_ours || !process.is_in_container_of(slot) {
            continue;
        }
        let status = process.file("status");
        let field = |name: &str| -> String {
            let line = status.lines().find_map(|it| it.strip_prefix(name));
            line.unwrap_or_default()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        ensure!(field("Uid:") == "65532 65532 65532 65532", "{command}: {status}");
        ensure!(field("CapEff:") == "0000000000000000", "{command}: {status}");
        ensure!(
            field("NoNewPrivs:") == "1" && field("Seccomp:") == "2",
            "{command}: {status}"
        );
        let mounts = process.file("mounts");
        let root = mounts
            .lines()
            .find(|it| it.split_whitespace().nth(1) == Some("/"));
        let options = root
            .and_then(|it| it.split_whitespace().nth(3))
            .unwrap_or_default();
        ensure!(options.split(',').any(|it| it == "ro"), "{command}: {options}");
        seen += 1;
    }
    ensure!(seen == 4, "{seen} processes of Bailiwick");
    let pods = get(
        cluster,
        &["pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component"],
    )
    .await?;
    ensure!(pods["items"].as_array().is_some_and(|it| it.len() == 4), "{pods}");

    let exec = async |command: &[&str]| {
        let deployment = format!("deployment/{RELEASE}-webhook");
        let all = [&["exec", "-n", NAMESPACE, &deployment, "--"], command].concat();
        cluster.kubectl(&all).await
    };
    let version = exec(&["/bailiwick", "--version"]).await?.ok()?;
    ensure!(version.contains(VERSION), "{version}");
    let shell = exec(&["/bin/sh", "-c", "exit 0"]).await?;
    ensure!(
        !shell.success() && shell.to_string().contains("no such file or directory"),
        "{shell}"
    );
    Ok(())
}

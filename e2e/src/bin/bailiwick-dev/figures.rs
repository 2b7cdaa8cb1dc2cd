//! What Bailiwick costs on a real node, for docs/figures.md.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{
    checkout,
    cluster::Cluster,
    install::{NAMESPACE, RELEASE},
    node::{self, Node},
    progress::Step,
    wait::eventually,
};
use serde_json::Value;
use tokio::process::Command;

use crate::up;

/// How long CPU is measured.
const WINDOW: Duration = Duration::from_mins(1);
const DEADLINE: Duration = Duration::from_mins(10);

/// What the kubelet says of one container.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// When, in seconds.
    at: f64,
    /// CPU used since its start, in seconds.
    cpu: f64,
    /// Memory that the kernel can't take away, in bytes.
    working_set: f64,
    /// Of that what isn't cache.
    rss: f64,
}

/// Measures on a node of its own and prints a table.
pub(crate) async fn figures(image: Option<PathBuf>, tenants: u32) -> Result<()> {
    if let Some(missing) = node::missing() {
        bail!("{missing}");
    }
    let image = if let Some(image) = image {
        env::current_dir()?.join(image)
    } else {
        let archive = checkout::target_directory()?.join("image.tar");
        up::image(&archive).await?;
        archive
    };
    let directory = checkout::scratch_directory()?.join("figures-node");
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    let node = Node::start(directory).await?;
    let result = measure(&node, &image, tenants).await;
    node.stop().await?;
    print!("{}", result?);
    Ok(())
}

async fn measure(node: &Node, image: &Path, tenants: u32) -> Result<String> {
    let cluster = node.cluster();
    node.import(image).await?;
    let chart = checkout::root().join("charts/bailiwick").display().to_string();
    let mut install = vec!["install", RELEASE, &chart, "-n", NAMESPACE, "--create-namespace"];
    install.extend(["--wait", "--timeout", "2m"]);
    let begin = Instant::now();
    cluster.helm(&install).await?.ok()?;
    let installed = begin.elapsed();
    // Without the webhook's word no Tenant is created.
    let tenant = "{ apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: { name: first } }";
    cluster
        .kubectl_with_input(&["create", "-f", "-"], tenant)
        .await?
        .ok()?;
    let first = begin.elapsed();

    let at_rest = window(cluster, "measuring at rest").await?;
    let step = Step::start(format!("making {tenants} tenants"));
    let begin = Instant::now();
    make_tenants(cluster, tenants).await?;
    let made = begin.elapsed();
    step.done();
    let with_tenants = window(cluster, &format!("measuring with {tenants} tenants")).await?;

    let (archive, packed) = sizes(image).await?;
    let mut table = format!(
        "| | |\n|---|---|\n| image | {:.1} MB, {:.1} MB compressed |\n| `helm install --wait` | {:.1} s |\n| to the first verdict | {:.1} s |\n| {tenants} Tenants of two namespaces each applied and Ready | {:.1} s |\n\n",
        archive / 1e6,
        packed / 1e6,
        installed.as_secs_f64(),
        first.as_secs_f64(),
        made.as_secs_f64(),
    );
    writeln!(
        table,
        "| container | memory at rest (of it rss) | with {tenants} tenants | CPU at rest | with {tenants} tenants |\n|---|---|---|---|---|"
    )?;
    for ((name, (memory, cpu)), (_, (memory_then, cpu_then))) in at_rest.iter().zip(&with_tenants) {
        writeln!(
            table,
            "| {name} | {memory} | {memory_then} | {cpu} | {cpu_then} |"
        )?;
    }
    Ok(table)
}

async fn make_tenants(cluster: &Cluster, count: u32) -> Result<()> {
    let documents: Vec<_> = (0..count)
        .map(|it| {
            format!(
                "apiVersion: bailiwick.dev/v1alpha1\nkind: Tenant\nmetadata: {{ name: t{it} }}\nspec: {{ owners: [{{ kind: Group, name: g{it} }}], namespaces: {{ declared: [{{ name: t{it}-prod }}, {{ name: t{it}-dev }}] }} }}\n"
            )
        })
        .collect();
    cluster
        .kubectl_with_input(&["apply", "-f", "-"], &documents.join("---\n"))
        .await?
        .ok()?;
    let wait = [
        "wait",
        "tenants",
        "--all",
        "--for=condition=Ready",
        "--timeout=5m",
    ];
    cluster.kubectl(&wait).await?.ok()?;
    Ok(())
}

/// Memory and CPU of each container over a minute, as they are shown.
async fn window(cluster: &Cluster, title: &str) -> Result<BTreeMap<String, (String, String)>> {
    let step = Step::start(title);
    let before = samples(cluster).await?;
    let after = eventually(DEADLINE, "the kubelet has measured for a while", async || {
        let now = samples(cluster).await?;
        ensure!(now.len() == before.len(), "{} containers", now.len());
        for (name, then) in &before {
            let now = now.get(name).context("a container ended")?;
            ensure!(now.at - then.at >= WINDOW.as_secs_f64(), "not yet");
        }
        Ok(now)
    })
    .await?;
    step.done();
    let shown = before.iter().filter_map(|(name, then)| {
        let now = after.get(name)?;
        let memory = format!(
            "{:.1} MiB ({:.1})",
            now.working_set / 1_048_576.0,
            now.rss / 1_048_576.0
        );
        let cpu = 1000.0 * (now.cpu - then.cpu) / (now.at - then.at);
        Some((name.clone(), (memory, format!("{cpu:.1} m"))))
    });
    Ok(shown.collect())
}

/// The containers of Bailiwick, named after what they are and numbered.
async fn samples(cluster: &Cluster) -> Result<BTreeMap<String, Sample>> {
    let path = "/api/v1/nodes/bailiwick-node/proxy/stats/summary";
    let text = cluster.kubectl(&["get", "--raw", path]).await?.ok()?;
    let summary: Value = serde_json::from_str(&text).context("read the kubelet's statistics")?;
    let mut samples = BTreeMap::new();
    for pod in summary["pods"].as_array().context("no Pods")? {
        let name = pod["podRef"]["name"].as_str().unwrap_or_default();
        if pod["podRef"]["namespace"] != NAMESPACE {
            continue;
        }
        let container = &pod["containers"][0];
        let number = |value: &Value| value.as_f64().context("not measured yet");
        let time: jiff::Timestamp = container["cpu"]["time"].as_str().context("no time")?.parse()?;
        let sample = Sample {
            at: time.as_duration().as_secs_f64(),
            cpu: number(&container["cpu"]["usageCoreNanoSeconds"])? / 1e9,
            working_set: number(&container["memory"]["workingSetBytes"])?,
            rss: number(&container["memory"]["rssBytes"])?,
        };
        samples.insert(name.to_owned(), sample);
    }
    ensure!(samples.len() == 4, "{} Pods are measured", samples.len());
    Ok(samples)
}

/// Bytes of the archive, and of what a registry sends of it.
async fn sizes(archive: &Path) -> Result<(f64, f64)> {
    let packed = Command::new("gzip")
        .arg("-c")
        .stdin(fs::File::open(archive)?)
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("run gzip")?;
    #[allow(clippy::cast_precision_loss, reason = "megabytes are shown")]
    let sizes = (fs::metadata(archive)?.len() as f64, packed.stdout.len() as f64);
    Ok(sizes)
}

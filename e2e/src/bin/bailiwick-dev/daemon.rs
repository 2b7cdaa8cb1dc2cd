//! The process behind `up`: holds the cluster as a test does, until it is told to end.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use bailiwick_e2e::{
    checkout,
    cluster::{Cluster, ClusterOptions},
    install::{Bailiwick, InstallOptions, NAMESPACE, RELEASE},
    node::Node,
};
use serde::{Deserialize, Serialize};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::interval,
};

use crate::instance::Instance;

/// What the daemon tells `up`, one JSON document a line on stdout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// A step begins, and so the one before is done.
    Step(String),
    /// Everything is ready.
    Ready,
    /// It will not become ready.
    Failed(String),
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Setup {
    /// A control plane, and Bailiwick's processes beside it.
    ControlPlane {
        /// The API server's port, or any free one.
        api_port: Option<u16>,
    },
    /// A control plane and a node, and Bailiwick's Pods on it.
    Node {
        /// Archive of the image.
        image: PathBuf,
    },
}

/// Runs the cluster until SIGTERM, or until a component of it dies.
pub(crate) async fn run(instance: &Instance, setup: &Setup) -> Result<()> {
    let _held = instance.hold()?;
    let result = serve(instance, setup).await;
    if let Err(error) = &result {
        let text = format!("{error:#}");
        instance.record_failure(&text);
        report(&Report::Failed(text));
    }
    result
}

async fn serve(instance: &Instance, setup: &Setup) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let run = async {
        match setup {
            Setup::ControlPlane { api_port } => start_and_watch(instance, *api_port).await,
            Setup::Node { image } => start_and_watch_node(instance, image).await,
        }
    };
    tokio::select! {
        result = run => result,
        _ = terminate.recv() => Ok(()),
    }
}

async fn start_and_watch_node(instance: &Instance, image: &Path) -> Result<()> {
    report(&Report::Step(
        "starting the control plane and the node".to_owned(),
    ));
    let node = Node::start(instance.directory().to_owned()).await?;
    let cluster = node.cluster();
    link_programs(instance, cluster)?;
    node.import(image).await?;
    report(&Report::Step("helm install --wait".to_owned()));
    let chart = checkout::root().join("charts/bailiwick").display().to_string();
    let arguments = [
        "install",
        RELEASE,
        &chart,
        "-n",
        NAMESPACE,
        "--create-namespace",
        "--wait",
        "--timeout",
        "2m",
    ];
    cluster.helm(&arguments).await?.ok()?;
    instance.mark_ready()?;
    report(&Report::Ready);

    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        if let Some(cause) = node.autopsy().await {
            anyhow::bail!("{cause}");
        }
    }
}

async fn start_and_watch(instance: &Instance, api_port: Option<u16>) -> Result<()> {
    report(&Report::Step("starting the control plane".to_owned()));
    let directory = Some(instance.directory().to_owned());
    let cluster = Cluster::start(ClusterOptions {
        directory,
        api_port,
        ..ClusterOptions::default()
    })
    .await?;
    instance.record_slot(cluster.slot().number())?;
    link_programs(instance, &cluster)?;
    report(&Report::Step("installing the chart".to_owned()));
    let bailiwick = Bailiwick::install_without_waiting(&cluster, InstallOptions::default()).await?;
    report(&Report::Step("waiting until Bailiwick is ready".to_owned()));
    bailiwick.wait_until_ready().await?;
    instance.mark_ready()?;
    report(&Report::Ready);

    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        if let Some(cause) = cluster.autopsy().await {
            anyhow::bail!("{cause}");
        }
    }
}

/// kubectl and helm that fit, for people who have none.
fn link_programs(instance: &Instance, cluster: &Cluster) -> Result<()> {
    let programs = instance.programs();
    fs::create_dir_all(&programs).with_context(|| format!("create {}", programs.display()))?;
    let binaries = cluster.binaries();
    for (name, target) in [("kubectl", &binaries.kubectl), ("helm", &binaries.helm)] {
        symlink(target, programs.join(name)).with_context(|| format!("link {name}"))?;
    }
    Ok(())
}

fn report(report: &Report) {
    // `up` may have been interrupted; the cluster is none the worse for it.
    let mut stdout = io::stdout().lock();
    if let Ok(text) = serde_json::to_string(report) {
        let _ = writeln!(stdout, "{text}");
        let _ = stdout.flush();
    }
}

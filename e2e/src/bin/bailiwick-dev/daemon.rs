//! The process behind `up`: holds the cluster as a test does, until it is told to end.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::symlink,
    time::Duration,
};

use anyhow::{Context, Result};
use bailiwick_e2e::{
    cluster::{Cluster, ClusterOptions},
    install::{Bailiwick, InstallOptions},
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

/// Runs the cluster until SIGTERM, or until a component of it dies.
pub(crate) async fn run(instance: &Instance, api_port: Option<u16>) -> Result<()> {
    let _held = instance.hold()?;
    let result = serve(instance, api_port).await;
    if let Err(error) = &result {
        let text = format!("{error:#}");
        instance.record_failure(&text);
        report(&Report::Failed(text));
    }
    result
}

async fn serve(instance: &Instance, api_port: Option<u16>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    tokio::select! {
        result = start_and_watch(instance, api_port) => result,
        _ = terminate.recv() => Ok(()),
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

//! Starting a control plane, and saying clearly why one doesn't start.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use http::Request;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::sync::Mutex;

use super::{
    Cluster, ClusterOptions, Inner,
    certificates::Certificates,
    components::{Components, Machine, Ports, SERVICE_ADDRESS, log_file},
    kubeconfig::{self, Credentials, Server},
};
use crate::{
    binaries::{Binaries, binaries},
    checkout,
    node::{self, Host, NAMESPACES},
    slot::{self, Slot},
    supervisor::{Process, Supervisor},
    wait::eventually,
};

/// Tells the logs of supervisors apart that one process starts.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Several times what it takes on two busy cores.
const DEADLINE: Duration = Duration::from_secs(90);

pub(super) async fn start(options: ClusterOptions) -> Result<Cluster> {
    // The only provider in this workspace; an error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let binaries = binaries().await?;
    let scratch = checkout::scratch_directory()?;
    fs::create_dir_all(&scratch).with_context(|| format!("create {}", scratch.display()))?;
    // Moved to the others when the slot, and so their folder, is known.
    let log = scratch.join(format!(
        "supervisor-{}-{}.log",
        process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    let wrapper: &[&str] = if options.node { &NAMESPACES } else { &[] };
    let wanted = options.directory.as_deref().and_then(slot_of);
    let supervisor = Supervisor::start(&log, wrapper, wanted.filter(|_| options.node)).await?;
    let is_node = options.node;
    let result = start_under(&supervisor, options, binaries, &scratch, &log).await;
    if result.is_err() && is_node {
        supervisor.shut_down().await?;
        Host::of(supervisor.slot()).remove().await?;
    }
    result
}

async fn start_under(
    supervisor: &Supervisor,
    options: ClusterOptions,
    binaries: &'static Binaries,
    scratch: &Path,
    log: &Path,
) -> Result<Cluster> {
    let slot = supervisor.slot();
    let directory = match &options.directory {
        Some(directory) => directory.clone(),
        None => fresh(slot.directory(scratch))?,
    };
    fs::create_dir_all(directory.join("logs")).with_context(|| format!("create {}", directory.display()))?;
    // To another filesystem it can't be moved, and lies well where it is.
    let _ = fs::rename(log, log_file(&directory, "supervisor"));
    let machine = if options.node {
        fs::write(directory.join("slot"), slot.number().to_string()).context("record the slot")?;
        node::prepare(supervisor, &directory).await?
    } else {
        Machine::Here
    };
    let addresses = [Ipv4Addr::LOCALHOST, SERVICE_ADDRESS, machine.address()];
    let certificates = Certificates::in_directory(&directory.join("pki"), &addresses)?;
    let ports = match machine {
        Machine::Here => ports(slot.ports()?, options.api_port)?,
        // It has all ports to itself.
        Machine::Node(_) => ports(slot.all_ports(), options.api_port)?,
    };
    let config = write_kubeconfigs(&directory, &certificates, machine, ports).await?;

    let components = Components {
        binaries,
        directory: &directory,
        certificates: &certificates,
        ports,
        machine,
    };
    let etcd = supervisor.spawn(components.etcd()).await?;
    let apiserver = supervisor
        .spawn(components.apiserver(&options.apiserver_arguments)?)
        .await?;
    let client = Client::try_from(config.clone()).context("make a client")?;
    wait_until_ready(&client, &[&etcd, &apiserver]).await?;
    let cluster = Cluster(Arc::new(Inner {
        options,
        directory,
        binaries,
        certificates,
        ports,
        supervisor: supervisor.clone(),
        etcd,
        apiserver: Mutex::new(apiserver),
        controller_manager: Mutex::new(None),
        config,
        client,
        machine,
    }));
    cluster.start_controller_manager().await?;
    wait_until_controllers_work(&cluster).await?;
    Ok(cluster)
}

/// A folder without what an earlier cluster in the same slot left in it.
fn fresh(directory: PathBuf) -> Result<PathBuf> {
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    Ok(directory)
}

fn ports(
    [apiserver, controller_manager, etcd_client, etcd_peer, webhook]: [u16; 5],
    api_port: Option<u16>,
) -> Result<Ports> {
    if let Some(port) = api_port
        && !slot::is_free(port)
    {
        bail!(
            "port {port} of 127.0.0.1 is used by another program: choose another port or none to get a free one"
        );
    }
    Ok(Ports {
        apiserver: api_port.unwrap_or(apiserver),
        controller_manager,
        etcd_client,
        etcd_peer,
        webhook,
    })
}

/// The slot of a cluster that ran in this folder before.
fn slot_of(directory: &Path) -> Option<Slot> {
    let text = fs::read_to_string(directory.join("slot")).ok()?;
    Some(Slot::from_number(text.trim().parse().ok()?))
}

async fn write_kubeconfigs(
    directory: &Path,
    certificates: &Certificates,
    machine: Machine,
    ports: Ports,
) -> Result<Config> {
    let url = format!("https://{}:{}", machine.address(), ports.apiserver);
    let server = Server {
        url: &url,
        ca: &certificates.ca,
    };
    let admin = directory.join("kubeconfig");
    kubeconfig::write(
        &admin,
        &server,
        "admin",
        Credentials::Certificate(&certificates.admin),
    )?;
    kubeconfig::write(
        &controller_manager_kubeconfig(directory),
        &server,
        "controller-manager",
        Credentials::Certificate(&certificates.controller_manager),
    )?;
    let document = Kubeconfig::read_from(&admin).context("read the kubeconfig")?;
    let mut config = Config::from_custom_kubeconfig(document, &KubeConfigOptions::default())
        .await
        .context("read the kubeconfig")?;
    // A test wants to see the first answer, not the third.
    config.default_retry = false;
    Ok(config)
}

pub(super) fn controller_manager_kubeconfig(directory: &Path) -> PathBuf {
    directory.join("pki").join("controller-manager.kubeconfig")
}

/// Waits until the API server says that it is ready, or one of `processes` is dead.
pub(super) async fn wait_until_ready(client: &Client, processes: &[&Process]) -> Result<()> {
    let started = Instant::now();
    loop {
        if let Some(cause) = processes.iter().find_map(|it| cause_of_death(it)) {
            bail!("{cause}");
        }
        let request = Request::get("/readyz").body(Vec::new())?;
        let Err(error) = client.request_text(request).await else {
            return Ok(());
        };
        if started.elapsed() > DEADLINE {
            return Err(error).context(format!("the API server isn't ready after {DEADLINE:?}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The controllers work when the default namespace has its ServiceAccount: Pods need one.
async fn wait_until_controllers_work(cluster: &Cluster) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), "default");
    eventually(DEADLINE, "kube-controller-manager works", async || {
        if let Some(cause) = cluster.autopsy().await {
            bail!("{cause}");
        }
        accounts
            .get("default")
            .await
            .context("get ServiceAccount default")
    })
    .await
    .map(drop)
}

/// If the process has ended, a message that says why, as far as its log tells.
pub(super) fn cause_of_death(process: &Process) -> Option<String> {
    let exit = process.exit()?;
    let path = process.log();
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let log = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(12)..];
    let hint = if last.iter().any(|line| line.contains("address already in use")) {
        "\nAnother program took its port: start again to get other ports."
    } else {
        ""
    };
    Some(format!(
        "{name} is dead ({exit}).{hint}\nThe last lines of {}:\n  {}",
        path.display(),
        last.join("\n  "),
    ))
}

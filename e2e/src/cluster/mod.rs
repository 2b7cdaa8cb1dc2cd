//! A control plane: etcd, kube-apiserver and kube-controller-manager as child processes.
//!
//! It is a cluster without nodes: everything at the level of the API is real (admission, RBAC, garbage collection,
//! quota, namespace deletion), and no container ever runs.

mod certificates;
mod clients;
mod components;
mod kubeconfig;
mod start;
mod tools;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use kube::{Client, Config};
use tokio::sync::Mutex;

use crate::{
    binaries::Binaries,
    checkout,
    node::Host,
    slot::Slot,
    supervisor::{Process, ProcessSpec, Supervisor},
};

use components::Ports;

pub(crate) use certificates::{CertificateFiles, NODE};
pub(crate) use components::{Machine, flag};

pub use clients::ServiceAccountCredentials;
pub(crate) use components::log_file;
pub use tools::Output;

/// What may differ from one cluster to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterOptions {
    /// Where certificates, data and logs go; a folder under `target` if not given.
    pub directory: Option<PathBuf>,
    /// The port of the API server; a free one if not given.
    pub api_port: Option<u16>,
    /// More flags for kube-apiserver.
    pub apiserver_arguments: Vec<String>,
    /// More flags for kube-controller-manager.
    pub controller_manager_arguments: Vec<String>,
    /// Whether it runs in namespaces of its own, where a [`crate::node::Node`] can be added to it. Needs root.
    pub node: bool,
}

/// A running cluster. Everything ends when the last clone is dropped, or when this process ends, however it ends.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    options: ClusterOptions,
    directory: PathBuf,
    binaries: &'static Binaries,
    certificates: certificates::Certificates,
    ports: Ports,
    supervisor: Supervisor,
    etcd: Process,
    apiserver: Mutex<Process>,
    controller_manager: Mutex<Option<Process>>,
    config: Config,
    client: Client,
    machine: Machine,
}

impl Cluster {
    /// Starts a cluster and waits until it serves.
    pub async fn start(options: ClusterOptions) -> Result<Self> {
        start::start(options).await
    }

    /// The folder with everything that belongs to this cluster.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// The folder of the logs of all components.
    pub fn logs(&self) -> PathBuf {
        self.0.directory.join("logs")
    }

    /// The kubeconfig of the cluster's administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.directory.join("kubeconfig")
    }

    /// Where the API server is.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.0.machine.address(), self.0.ports.apiserver)
    }

    /// What keeps this cluster apart from others on the machine.
    pub fn slot(&self) -> Slot {
        self.0.supervisor.slot()
    }

    /// The port on 127.0.0.1 that is kept for the webhook.
    pub fn webhook_port(&self) -> u16 {
        self.0.ports.webhook
    }

    /// The programs that this cluster runs.
    pub fn binaries(&self) -> &'static Binaries {
        self.0.binaries
    }

    /// Runs kubectl as the administrator.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        self.run(&self.0.binaries.kubectl, arguments, None).await
    }

    /// Runs kubectl as the administrator, with `input` on stdin.
    pub async fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<Output> {
        self.run(&self.0.binaries.kubectl, arguments, Some(input)).await
    }

    /// Runs helm as the administrator.
    pub async fn helm(&self, arguments: &[&str]) -> Result<Output> {
        self.run(&self.0.binaries.helm, arguments, None).await
    }

    /// Runs the `bailiwick` command, built from the checkout, with this kubeconfig and with `input` on stdin.
    pub async fn bailiwick(&self, kubeconfig: &Path, arguments: &[&str], input: &str) -> Result<Output> {
        let program = checkout::build().await?.join("bailiwick");
        tools::run(&program, arguments, kubeconfig, &self.0.directory, Some(input)).await
    }

    async fn run(&self, program: &Path, arguments: &[&str], input: Option<&str>) -> Result<Output> {
        tools::run(program, arguments, &self.kubeconfig(), &self.0.directory, input).await
    }

    /// Ends the API server and starts it again with the same address; returns when it is ready.
    pub async fn restart_apiserver(&self) -> Result<()> {
        self.stop_apiserver().await?;
        self.start_apiserver().await
    }

    /// Ends the API server.
    pub async fn stop_apiserver(&self) -> Result<()> {
        // Its shutdown waits for long requests: watches of the operators, for a minute.
        self.0.apiserver.lock().await.stop(Duration::from_secs(2)).await?;
        Ok(())
    }

    /// Starts the API server that was stopped, and waits until it is ready.
    pub async fn start_apiserver(&self) -> Result<()> {
        let mut apiserver = self.0.apiserver.lock().await;
        *apiserver = self
            .0
            .supervisor
            .spawn(self.components().apiserver(&self.0.options.apiserver_arguments)?)
            .await?;
        start::wait_until_ready(&self.0.client, &[&self.0.etcd, &apiserver]).await
    }

    /// Ends kube-controller-manager: from now on nobody collects garbage or completes a namespace's deletion.
    pub async fn stop_controller_manager(&self) -> Result<()> {
        if let Some(process) = self.0.controller_manager.lock().await.take() {
            process.signal(crate::supervisor::Signal::Kill).await?;
            process.wait().await;
        }
        Ok(())
    }

    /// Starts kube-controller-manager, unless it runs.
    pub async fn start_controller_manager(&self) -> Result<()> {
        let mut process = self.0.controller_manager.lock().await;
        if process.as_ref().is_none_or(|it| it.exit().is_some()) {
            let spec = self.controller_manager();
            *process = Some(self.0.supervisor.spawn(spec).await?);
        }
        Ok(())
    }

    /// Runs another process that ends together with the cluster.
    pub async fn spawn(&self, spec: ProcessSpec) -> Result<Process> {
        self.0.supervisor.spawn(spec).await
    }

    /// The components that have ended without being told to, each with the last lines of its log.
    pub async fn autopsy(&self) -> Option<String> {
        let apiserver = self.0.apiserver.lock().await.clone();
        let controller_manager = self.0.controller_manager.lock().await.clone();
        if self.0.supervisor.is_gone() {
            return Some("the process that owns the cluster's processes has ended".to_owned());
        }
        let dead: Vec<_> = [Some(self.0.etcd.clone()), Some(apiserver), controller_manager]
            .into_iter()
            .flatten()
            .filter_map(|it| start::cause_of_death(&it))
            .collect();
        (!dead.is_empty()).then(|| dead.join("\n"))
    }

    /// Ends everything, and returns when all of it is gone.
    pub async fn stop(&self) -> Result<()> {
        self.0.supervisor.shut_down().await?;
        if self.0.options.node {
            Host::of(self.slot()).remove().await?;
        }
        Ok(())
    }

    pub(crate) fn certificates(&self) -> &certificates::Certificates {
        &self.0.certificates
    }

    /// Writes a kubeconfig for a component with a certificate of its own, beside the others; gives its path.
    pub(crate) fn component_kubeconfig(&self, name: &str, files: &CertificateFiles) -> Result<PathBuf> {
        let server = kubeconfig::Server {
            url: &self.url(),
            ca: &self.0.certificates.ca,
        };
        let path = self.0.directory.join("pki").join(format!("{name}.kubeconfig"));
        kubeconfig::write(&path, &server, name, kubeconfig::Credentials::Certificate(files))?;
        Ok(path)
    }

    pub(crate) fn supervisor(&self) -> &Supervisor {
        &self.0.supervisor
    }

    fn controller_manager(&self) -> ProcessSpec {
        let kubeconfig = start::controller_manager_kubeconfig(&self.0.directory);
        self.components()
            .controller_manager(&kubeconfig, &self.0.options.controller_manager_arguments)
    }

    fn components(&self) -> components::Components<'_> {
        let Inner {
            binaries,
            directory,
            certificates,
            ports,
            machine,
            ..
        } = &*self.0;
        components::Components {
            binaries,
            directory,
            certificates,
            ports: *ports,
            machine: *machine,
        }
    }
}

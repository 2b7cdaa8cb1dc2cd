//! Bailiwick in a cluster: the chart, installed by helm, with the Pods of its Deployments as local processes.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::{
    api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Service as ServiceObject},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{
    checkout,
    cluster::Cluster,
    kubelet::{Kubelet, Replica},
    service::Service,
    wait::eventually,
};

/// The namespace that Bailiwick is installed in.
pub const NAMESPACE: &str = "bailiwick-system";
/// The name of the helm release, and so of most objects.
pub const RELEASE: &str = "bailiwick";

/// Several times what it takes on two busy cores.
const DEADLINE: Duration = Duration::from_secs(90);

/// What may differ from one installation to the next.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InstallOptions {
    /// Values of the chart, over those that running outside the cluster needs.
    pub values: Value,
    /// The folder with the binaries; cargo builds those of the checkout if not given.
    pub programs: Option<PathBuf>,
    /// The folder of the chart; the checkout's if not given.
    pub chart: Option<PathBuf>,
}

/// One of the two Deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// The operator.
    Operator,
    /// The webhook.
    Webhook,
}

/// An installed Bailiwick. Its processes end with the cluster.
pub struct Bailiwick {
    cluster: Cluster,
    kubelet: Kubelet,
    options: InstallOptions,
    _service: Service,
}

impl Component {
    fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Webhook => "webhook",
        }
    }

    fn labels(self) -> BTreeMap<String, String> {
        BTreeMap::from([("app.kubernetes.io/component".to_owned(), self.name().to_owned())])
    }
}

impl Bailiwick {
    /// Installs the chart and waits until everything is ready.
    pub async fn install(cluster: &Cluster, options: InstallOptions) -> Result<Self> {
        let this = Self::install_without_waiting(cluster, options).await?;
        this.wait_until_ready().await?;
        Ok(this)
    }

    /// Installs the chart and starts the processes, for tests of what happens until they are ready.
    pub async fn install_without_waiting(cluster: &Cluster, options: InstallOptions) -> Result<Self> {
        let programs = match &options.programs {
            Some(programs) => programs.clone(),
            None => checkout::build().await?.to_owned(),
        };
        helm(cluster, "install", &options).await?;
        let mut kubelet = Kubelet::start(cluster.clone(), NAMESPACE, programs).await?;
        let (selector, port) = webhook_service(cluster).await?;
        let endpoints = kubelet.endpoints(selector, port);
        let service = Service::start(webhook_address(cluster), endpoints);
        Ok(Self {
            cluster: cluster.clone(),
            kubelet,
            options,
            _service: service,
        })
    }

    /// Upgrades the release to other values and waits until that is rolled out.
    pub async fn upgrade(&mut self, values: Value) -> Result<()> {
        self.options.values = values;
        helm(&self.cluster, "upgrade", &self.options).await?;
        self.wait_until_ready().await
    }

    /// The running Pods of a component, the oldest first.
    pub fn replicas(&self, component: Component) -> Vec<Replica> {
        self.kubelet.replicas(&component.labels())
    }

    /// The `index`th operator, counted by age.
    pub fn operator(&self, index: usize) -> Result<Replica> {
        self.replica(Component::Operator, index)
    }

    /// The `index`th webhook, counted by age.
    pub fn webhook(&self, index: usize) -> Result<Replica> {
        self.replica(Component::Webhook, index)
    }

    fn replica(&self, component: Component, index: usize) -> Result<Replica> {
        let mut replicas = self.replicas(component);
        ensure!(
            index < replicas.len(),
            "there are {} replicas of the {}",
            replicas.len(),
            component.name()
        );
        Ok(replicas.swap_remove(index))
    }

    /// The operator that holds the Lease; between two leaders it waits for the next.
    pub async fn leader(&self) -> Result<Replica> {
        let leases: Api<Lease> = Api::namespaced(self.cluster.client(), NAMESPACE);
        eventually(DEADLINE, "a running operator leads", async || {
            let lease = leases
                .get(&format!("{RELEASE}-operator"))
                .await
                .context("get the operator's Lease")?;
            let holder = lease.spec.and_then(|it| it.holder_identity).unwrap_or_default();
            let found = self
                .replicas(Component::Operator)
                .into_iter()
                .find(|it| it.name() == holder);
            found.with_context(|| format!("no running operator is the Lease's holder {holder:?}"))
        })
        .await
    }

    /// Ends all Pods' processes of a component with SIGKILL; they stay down until [`Bailiwick::start`].
    pub async fn crash(&self, component: Component) -> Result<()> {
        for replica in self.replicas(component) {
            replica.crash().await?;
        }
        if component == Component::Webhook {
            eventually(DEADLINE, "nobody serves the webhook", async || {
                let connection = TcpStream::connect(webhook_address(&self.cluster)).await;
                ensure!(connection.is_err(), "the connection is accepted");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Starts what [`Bailiwick::crash`] or [`Replica::stop`] ended, and waits until it is ready.
    pub async fn start(&self, component: Component) -> Result<()> {
        for replica in self.replicas(component) {
            replica.start();
        }
        self.wait_until_ready().await
    }

    /// Replaces all Pods of a component one by one, as `kubectl rollout restart` does, and waits for the last.
    pub async fn rolling_restart(&self, component: Component) -> Result<()> {
        let deployment = format!("deployment/{RELEASE}-{}", component.name());
        self.cluster
            .kubectl(&["rollout", "restart", "-n", NAMESPACE, &deployment])
            .await?
            .ok()?;
        self.wait_until_ready().await
    }

    /// Waits until both Deployments are rolled out, each replica is ready, and the API server can reach the webhook.
    #[track_caller]
    pub fn wait_until_ready(&self) -> impl Future<Output = Result<()>> {
        eventually(DEADLINE, "Bailiwick is ready", async || {
            if let Some(cause) = self.cluster.autopsy().await {
                bail!("{cause}");
            }
            self.check_ready().await.with_context(|| self.describe())
        })
    }

    async fn check_ready(&self) -> Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.cluster.client(), NAMESPACE);
        let mut wanted = 0;
        for deployment in deployments.list(&ListParams::default()).await? {
            ensure!(
                is_rolled_out(&deployment),
                "Deployment {} isn't rolled out",
                deployment.name_any()
            );
            wanted += usize::try_from(wanted_replicas(&deployment))?;
        }
        // The API server may not have heard yet of what the kubelet knows, and the other way round.
        let replicas = self.kubelet.replicas(&BTreeMap::new());
        ensure!(replicas.iter().all(Replica::is_ready), "a replica isn't ready");
        let running = self.kubelet.running();
        ensure!(running == wanted, "{running} Pods run, {wanted} are wanted");
        let address = webhook_address(&self.cluster);
        TcpStream::connect(address)
            .await
            .with_context(|| format!("nobody serves the webhook at {address}"))?;
        Ok(())
    }

    /// What isn't ready, with the last lines of its log.
    pub fn describe(&self) -> String {
        let replicas = self.kubelet.replicas(&BTreeMap::new());
        let unready: Vec<_> = replicas
            .iter()
            .filter(|it| !it.is_ready())
            .map(Replica::describe)
            .collect();
        if unready.is_empty() {
            format!("all {} Pods are ready", replicas.len())
        } else {
            unready.join("\n")
        }
    }
}

fn wanted_replicas(deployment: &Deployment) -> i32 {
    deployment.spec.replicas.unwrap_or(1)
}

fn is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = wanted_replicas(deployment);
    let Some(status) = &deployment.status else {
        return false;
    };
    status.observed_generation >= deployment.metadata.generation
        && [
            status.replicas,
            status.updated_replicas,
            status.available_replicas,
        ]
        .into_iter()
        .all(|it| it.unwrap_or(0) == wanted)
}

async fn helm(cluster: &Cluster, verb: &str, options: &InstallOptions) -> Result<()> {
    let chart = options
        .chart
        .clone()
        .unwrap_or_else(|| checkout::root().join("charts/bailiwick"));
    let mut values = values(cluster);
    merge(&mut values, &options.values);
    let file = cluster.directory().join("values.json");
    fs::write(&file, serde_json::to_vec_pretty(&values)?)?;
    let (chart, file) = (chart.display().to_string(), file.display().to_string());
    let arguments = [
        verb,
        RELEASE,
        &chart,
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--values",
        &file,
    ];
    // Only `install` knows about creating the namespace.
    let arguments: Vec<_> = arguments
        .into_iter()
        .filter(|it| verb == "install" || *it != "--create-namespace")
        .collect();
    cluster.helm(&arguments).await?.ok()?;
    Ok(())
}

/// What differs from an installation in a cluster with nodes.
fn values(cluster: &Cluster) -> Value {
    json!({
        // The replicas share one machine: each listens on its own address.
        "operator": { "bindAddress": "$(POD_IP)" },
        "webhook": { "bindAddress": "$(POD_IP)", "url": format!("https://{}", webhook_address(cluster)) },
    })
}

/// Overwrites `base` with what `over` has, object by object.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (base, over) => *base = over.clone(),
    }
}

/// Where the API server finds the webhook.
fn webhook_address(cluster: &Cluster) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.webhook_port()))
}

/// The selector and the target port of the webhook's Service.
async fn webhook_service(cluster: &Cluster) -> Result<(BTreeMap<String, String>, IntOrString)> {
    let services: Api<ServiceObject> = Api::namespaced(cluster.client(), NAMESPACE);
    let service = services
        .get(&format!("{RELEASE}-webhook"))
        .await
        .context("get the webhook's Service")?;
    let spec = service.spec.context("a Service without spec")?;
    let port = spec
        .ports
        .into_iter()
        .flatten()
        .next()
        .context("a Service without ports")?;
    let target = port.target_port.unwrap_or(IntOrString::Int(port.port));
    Ok((spec.selector.unwrap_or_default(), target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_caller_win() {
        let mut values = json!({ "webhook": { "url": "u", "replicas": 2 }, "operator": {} });
        merge(
            &mut values,
            &json!({ "webhook": { "replicas": 1 }, "log": { "level": "debug" } }),
        );
        let expected =
            json!({ "webhook": { "url": "u", "replicas": 1 }, "operator": {}, "log": { "level": "debug" } });
        assert_eq!(values, expected);
        merge(&mut values, &Value::Null);
        assert_eq!(values, expected);
    }
}

//! A kubelet without containers: runs the Pods of one namespace as local processes.
//!
//! It takes what the chart and the cluster say at their word (command, arguments, environment, ServiceAccount,
//! readiness probe, grace period, deletion), so that Deployments roll out, `kubectl get pods` tells the truth and
//! RBAC is tested as shipped. Each Pod has a loopback address and a token of its own. What it doesn't do: images,
//! volumes, resource limits, liveness probes.

mod expand;
mod invocation;
mod replica;
mod status;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use k8s_openapi::{
    api::core::v1::{Node, Pod},
    apimachinery::pkg::{apis::meta::v1::Status, util::intstr::IntOrString},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet, time::interval};

use crate::cluster::{Cluster, log_file};

pub use replica::Replica;

/// The name of the one node.
pub const NODE: &str = "localhost";

const SYNC_INTERVAL: Duration = Duration::from_millis(200);

/// Runs Pods until it is dropped; their processes end with the cluster.
pub struct Kubelet {
    context: Arc<Context>,
    // Dropping the set ends the tasks in it.
    tasks: JoinSet<()>,
}

struct Context {
    cluster: Cluster,
    namespace: String,
    /// Where the programs of the image are.
    programs: PathBuf,
    /// By the Pod's UID.
    replicas: Mutex<BTreeMap<String, Replica>>,
    /// Counts the changes of any replica.
    changed: watch::Sender<u64>,
}

impl Kubelet {
    /// Adds a node to the cluster and runs the Pods of `namespace` on it, with binaries from `programs`.
    pub async fn start(cluster: Cluster, namespace: &str, programs: PathBuf) -> Result<Self> {
        add_node(&cluster.client()).await?;
        let context = Arc::new(Context {
            cluster,
            namespace: namespace.to_owned(),
            programs,
            replicas: Mutex::default(),
            changed: watch::Sender::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(sync_forever(Arc::clone(&context)));
        Ok(Self { context, tasks })
    }

    /// The Pods that carry all of `labels` and aren't being deleted, the oldest first.
    pub fn replicas(&self, labels: &BTreeMap<String, String>) -> Vec<Replica> {
        let mut replicas: Vec<_> = self
            .context
            .replicas()
            .values()
            .filter(|it| it.0.orders.borrow().end.is_none() && carries(it, labels))
            .cloned()
            .collect();
        replicas.sort_by_key(|it| (it.0.pod.creation_timestamp(), it.name()));
        replicas
    }

    /// How many Pods there are, those that are being deleted included.
    pub fn running(&self) -> usize {
        self.context.replicas().len()
    }

    /// The addresses of `port` on the ready Pods that carry all of `labels`: what a Service's endpoints are.
    pub fn endpoints(
        &mut self,
        labels: BTreeMap<String, String>,
        port: IntOrString,
    ) -> watch::Receiver<Vec<SocketAddr>> {
        let (sender, receiver) = watch::channel(Vec::new());
        let context = Arc::clone(&self.context);
        self.tasks.spawn(async move {
            let mut changed = context.changed.subscribe();
            loop {
                changed.mark_unchanged();
                let serving: Vec<_> = context
                    .replicas()
                    .values()
                    .filter(|it| it.serves() && carries(it, &labels))
                    .filter_map(|it| it.endpoint(&port))
                    .collect();
                sender.send_if_modified(|current| {
                    let modified = *current != serving;
                    *current = serving;
                    modified
                });
                if changed.changed().await.is_err() {
                    return;
                }
            }
        });
        receiver
    }
}

impl Context {
    fn replicas(&self) -> MutexGuard<'_, BTreeMap<String, Replica>> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first address of the cluster's slot that no Pod has.
    fn free_address(&self) -> Result<Ipv4Addr> {
        let used: BTreeSet<_> = self.replicas().values().map(Replica::address).collect();
        let slot = self.cluster.slot();
        (2..=254)
            .map(|host| slot.address(host))
            .find(|it| !used.contains(it))
            .context("no address for another Pod")
    }
}

fn carries(replica: &Replica, labels: &BTreeMap<String, String>) -> bool {
    let own = replica.0.pod.labels();
    labels.iter().all(|(key, value)| own.get(key) == Some(value))
}

async fn add_node(client: &Client) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    if nodes.get_opt(NODE).await?.is_some() {
        return Ok(());
    }
    let node: Node = serde_json::from_value(json!({
        "metadata": { "name": NODE, "labels": { "kubernetes.io/os": "linux", "kubernetes.io/hostname": NODE } },
    }))?;
    nodes
        .create(&PostParams::default(), &node)
        .await
        .context("add a node")?;
    let status = json!({ "status": { "conditions": [{
        "type": "Ready", "status": "True", "reason": "LocalProcesses", "message": "Pods run as local processes",
        "lastHeartbeatTime": jiff::Timestamp::now(), "lastTransitionTime": jiff::Timestamp::now(),
    }] } });
    nodes
        .patch_status(
            NODE,
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(status),
        )
        .await?;
    Ok(())
}

async fn sync_forever(context: Arc<Context>) {
    let mut workers = JoinSet::new();
    let mut ticks = interval(SYNC_INTERVAL);
    loop {
        ticks.tick().await;
        // Without an API server, Pods stay as they are.
        let _ = sync(&context, &mut workers).await;
        while workers.try_join_next().is_some() {}
    }
}

/// Compares the Pods that there are with those that run.
async fn sync(context: &Arc<Context>, workers: &mut JoinSet<()>) -> Result<()> {
    let client = context.cluster.client();
    let pods = Api::<Pod>::namespaced(client.clone(), &context.namespace)
        .list(&ListParams::default())
        .await?;
    let mut present = BTreeSet::new();
    for pod in pods {
        let uid = pod.uid().unwrap_or_default();
        let known = context.replicas().get(&uid).cloned();
        let deleted = pod.metadata.deletion_timestamp.is_some();
        match (known, deleted) {
            (Some(replica), true) => {
                let seconds = pod
                    .metadata
                    .deletion_grace_period_seconds
                    .and_then(|it| it.try_into().ok());
                end(context, &replica, Duration::from_secs(seconds.unwrap_or(0)));
            }
            (None, false) => match node_name(&pod) {
                None => bind(&client, &pod).await?,
                // Bound by us, and listed after that: it has its node's name now.
                Some(NODE) => start(context, workers, pod)?,
                Some(_) => {}
            },
            (Some(_), false) | (None, true) => {}
        }
        present.insert(uid);
    }
    let gone: Vec<_> = context
        .replicas()
        .iter()
        .filter(|(uid, _)| !present.contains(*uid))
        .map(|(_, it)| it.clone())
        .collect();
    for replica in gone {
        end(context, &replica, Duration::ZERO);
    }
    Ok(())
}

fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec
        .as_ref()?
        .node_name
        .as_deref()
        .filter(|it| !it.is_empty())
}

/// What a scheduler does.
async fn bind(client: &Client, pod: &Pod) -> Result<()> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": { "name": name, "namespace": namespace },
        "target": { "apiVersion": "v1", "kind": "Node", "name": NODE },
    });
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
    let request = http::Request::post(path).body(serde_json::to_vec(&binding)?)?;
    client
        .request::<Status>(request)
        .await
        .with_context(|| format!("bind Pod {name}"))?;
    Ok(())
}

fn start(context: &Arc<Context>, workers: &mut JoinSet<()>, pod: Pod) -> Result<()> {
    let uid = pod.uid().unwrap_or_default();
    let replica = Replica(Arc::new(replica::Inner {
        address: context.free_address()?,
        log: log_file(context.cluster.directory(), &pod.name_any()),
        state: watch::Sender::default(),
        orders: watch::Sender::default(),
        pod,
    }));
    context.replicas().insert(uid.clone(), replica.clone());
    let context = Arc::clone(context);
    workers.spawn(async move {
        tokio::select! {
            () = worker::run(&context, &replica) => {}
            () = status::report(&context, &replica) => {}
        }
        context.replicas().remove(&uid);
    });
    Ok(())
}

fn end(context: &Context, replica: &Replica, grace: Duration) {
    if replica.0.orders.borrow().end.is_none() {
        replica.order(|it| it.end = Some(grace));
        context.changed.send_modify(|count| *count += 1);
    }
}

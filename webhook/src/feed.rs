//! The snapshot, fed by watches.
//!
//! Each kind has a store that follows the API server. What changes marks a part of the snapshot as stale; one
//! task rebuilds stale parts and swaps the pointer. Readers never wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use bailiwick_core::config::Config;
use bailiwick_core::ownership::NamespaceFacts;
use bailiwick_core::snapshot::{Rbac, RoleFacts, Snapshot, Tenants, binding, rules};
use bailiwick_core::stored::StoredTenant;
use bailiwick_runtime::admin::Readiness;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::runtime::reflector::{self, Lookup, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::CACHES;
use crate::metrics::Metrics;

/// The snapshot that everybody reads and one task replaces.
#[derive(Clone)]
pub struct SharedSnapshot(Arc<ArcSwap<Snapshot>>);

impl SharedSnapshot {
    /// An empty snapshot with this configuration.
    pub fn new(config: Config) -> Self {
        Self::from(Snapshot {
            config: Arc::new(config),
            ..Snapshot::default()
        })
    }

    /// The snapshot of this moment.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }
}

impl From<Snapshot> for SharedSnapshot {
    fn from(snapshot: Snapshot) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(snapshot)))
    }
}

/// A part of the snapshot, and whether it is behind its stores.
#[derive(Clone, Default)]
struct Stale(Arc<AtomicBool>);

impl Stale {
    fn mark(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// How long changes are gathered before a part is rebuilt: long enough for a burst, too short to notice.
const GATHER: Duration = Duration::from_millis(5);

struct Feed {
    client: Client,
    tasks: JoinSet<()>,
    changed: Arc<Notify>,
    metrics: Metrics,
}

impl Feed {
    /// Follows all objects of a kind; `stale` is the part of the snapshot that depends on them.
    fn follow<K>(&mut self, stale: &Stale) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
        K: Send + Sync + 'static,
    {
        let (store, writer) = reflector::store::<K>();
        let stream = reflector::reflector(
            writer,
            watcher(Api::<K>::all(self.client.clone()), watcher::Config::default()),
        );
        let (stale, changed, metrics) = (stale.clone(), self.changed.clone(), self.metrics.clone());
        self.tasks.spawn(async move {
            let stream = stream
                .inspect_err(|error| {
                    metrics.watch_errors.inc();
                    tracing::warn!(%error, kind = %<K as Resource>::kind(&()), "A watch failed; it begins again");
                })
                .default_backoff();
            let mut stream = std::pin::pin!(stream);
            while let Some(event) = stream.next().await {
                if !matches!(event, Ok(watcher::Event::Init | watcher::Event::InitApply(_)) | Err(_)) {
                    stale.mark();
                    changed.notify_one();
                }
            }
        });
        store
    }
}

/// Follows the cluster for ever.
///
/// # Errors
/// When a watch ends, which it never should.
pub(crate) async fn run(
    client: Client,
    snapshot: SharedSnapshot,
    readiness: Readiness,
    metrics: Metrics,
) -> anyhow::Result<()> {
    let changed = Arc::new(Notify::new());
    let mut feed = Feed {
        client,
        tasks: JoinSet::new(),
        changed: changed.clone(),
        metrics: metrics.clone(),
    };
    let (of_tenants, of_namespaces, of_rbac) = (Stale::default(), Stale::default(), Stale::default());
    let tenants = feed.follow::<StoredTenant>(&of_tenants);
    let namespaces = feed.follow::<Namespace>(&of_namespaces);
    let cluster_roles = feed.follow::<ClusterRole>(&of_rbac);
    let cluster_role_bindings = feed.follow::<ClusterRoleBinding>(&of_rbac);
    let roles = feed.follow::<Role>(&of_rbac);
    let role_bindings = feed.follow::<RoleBinding>(&of_rbac);
    let synced = async {
        tenants.wait_until_ready().await?;
        namespaces.wait_until_ready().await?;
        cluster_roles.wait_until_ready().await?;
        cluster_role_bindings.wait_until_ready().await?;
        roles.wait_until_ready().await?;
        role_bindings.wait_until_ready().await
    };
    synced.await?;
    for stale in [&of_tenants, &of_namespaces, &of_rbac] {
        stale.mark();
    }
    let mut ready = false;
    loop {
        let mut next = (**snapshot.load()).clone();
        let mut is_new = false;
        if of_tenants.take() {
            let tenants = tenants.state();
            for tenant in &tenants {
                complain(tenant);
            }
            next.tenants = Arc::new(Tenants::collect(tenants.iter().map(|it| it.tenant.clone())));
            is_new = true;
        }
        if of_namespaces.take() {
            let facts = |it: &Arc<Namespace>| {
                (
                    it.metadata.name.clone().unwrap_or_default(),
                    NamespaceFacts::from(it.as_ref()),
                )
            };
            next.namespaces = Arc::new(namespaces.state().iter().map(facts).collect());
            is_new = true;
        }
        if of_rbac.take() {
            next.rbac = Arc::new(rbac(
                &cluster_roles,
                &cluster_role_bindings,
                &roles,
                &role_bindings,
            ));
            is_new = true;
        }
        if is_new {
            snapshot.0.store(Arc::new(next));
            metrics.snapshot_updates.inc();
        }
        if !ready {
            ready = true;
            readiness.set(CACHES, None);
        }
        tokio::select! {
            () = changed.notified() => {}
            _ = feed.tasks.join_next() => anyhow::bail!("a watch ended"),
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// What of a Tenant can't be read is said; the rest of it counts.
fn complain(stored: &StoredTenant) {
    for finding in &stored.unreadable {
        tracing::error!(tenant = stored.tenant.metadata.name, %finding, "A Tenant can't be read whole");
    }
}

fn rbac(
    cluster_roles: &Store<ClusterRole>,
    cluster_role_bindings: &Store<ClusterRoleBinding>,
    roles: &Store<Role>,
    role_bindings: &Store<RoleBinding>,
) -> Rbac {
    let mut rbac = Rbac::default();
    for role in cluster_roles.state() {
        rbac.cluster_roles.insert(
            role.metadata.name.clone().unwrap_or_default(),
            RoleFacts::from(role.as_ref()),
        );
    }
    for role in roles.state() {
        let namespace = role.metadata.namespace.clone().unwrap_or_default();
        let name = role.metadata.name.clone().unwrap_or_default();
        rbac.roles
            .entry(namespace)
            .or_default()
            .insert(name, rules(role.rules.as_ref()));
    }
    for it in cluster_role_bindings.state() {
        if let Some((role, facts)) = binding(&it.metadata, &it.role_ref, it.subjects.as_ref()) {
            rbac.bind(role, facts);
        }
    }
    for it in role_bindings.state() {
        if let Some((role, facts)) = binding(&it.metadata, &it.role_ref, it.subjects.as_ref()) {
            rbac.bind(role, facts);
        }
    }
    rbac
}

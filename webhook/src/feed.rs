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
use bailiwick_core::placement::ClassFacts;
use bailiwick_core::policy::Policies as PolicyIndex;
use bailiwick_core::policy::orders::StoredPolicy;
use bailiwick_core::snapshot::{Rbac, RoleFacts, Snapshot, Tenants, binding, rules};
use bailiwick_core::stored::StoredTenant;
use bailiwick_crds::labels;
use bailiwick_runtime::admin::Readiness;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::runtime::reflector::{self, Lookup, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::CACHES;
use crate::metrics::Metrics;
use crate::policies::Policies;
use crate::policies::loader::Loader;
use crate::policies::shelf::Loaded;

/// The snapshot that everybody reads and one task replaces.
#[derive(Clone)]
pub struct SharedSnapshot(Arc<ArcSwap<Snapshot>>, Arc<AtomicBool>);

impl SharedSnapshot {
    /// An empty snapshot with this configuration.
    pub fn new(config: Config) -> Self {
        let empty = Self::from(Snapshot {
            config: Arc::new(config),
            ..Snapshot::default()
        });
        empty.1.store(false, Ordering::Release);
        empty
    }

    /// Whether it was ever more than empty.
    pub fn is_fed(&self) -> bool {
        self.1.load(Ordering::Acquire)
    }

    /// The snapshot of this moment.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }

    /// The snapshot of this moment, for longer.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}

impl From<Snapshot> for SharedSnapshot {
    fn from(snapshot: Snapshot) -> Self {
        Self(
            Arc::new(ArcSwap::from_pointee(snapshot)),
            Arc::new(AtomicBool::new(true)),
        )
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

/// What can be followed.
trait Followed:
    Resource<DynamicType = ()>
    + Lookup<DynamicType = ()>
    + Clone
    + DeserializeOwned
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Followed for K where
    K: Resource<DynamicType = ()>
        + Lookup<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static
{
}

struct Feed {
    client: Client,
    tasks: JoinSet<()>,
    changed: Arc<Notify>,
    metrics: Metrics,
}

impl Feed {
    /// Follows all objects of a kind; `stale` is the part of the snapshot that depends on them.
    fn follow<K: Followed>(&mut self, stale: &Stale) -> Store<K> {
        self.follow_some(
            Api::<K>::all(self.client.clone()),
            watcher::Config::default(),
            stale,
        )
    }

    fn follow_some<K: Followed>(&mut self, api: Api<K>, config: watcher::Config, stale: &Stale) -> Store<K> {
        let (store, writer) = reflector::store::<K>();
        let stream = reflector::reflector(writer, watcher(api, config));
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
    namespace: String,
    snapshot: SharedSnapshot,
    policies: Policies,
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
    let parts = Parts::default();
    let stores = Stores::follow(&mut feed, &parts, &namespace);
    let Stores {
        tenants, namespaces, ..
    } = &stores;
    stores.synced().await?;
    for stale in [
        &parts.tenants,
        &parts.namespaces,
        &parts.rbac,
        &parts.storage,
        &parts.policies,
    ] {
        stale.mark();
    }
    let mut loader = Loader::default();
    let mut on_shelf = Arc::new(Loaded::default());
    let mut ready = false;
    loop {
        let mut next = (**snapshot.load()).clone();
        let mut is_new = false;
        // The first load is waited for; later ones go on beside the other watches.
        if !loader.is_busy() && parts.policies.take() {
            loader.load(&stores.policies, &stores.revisions, &changed);
        }
        let newly_loaded = if ready {
            loader.take()?
        } else {
            loader.wait().await?
        };
        if newly_loaded.is_some() {
            // What changed meanwhile is loaded next.
            changed.notify_one();
        }
        let of_served = newly_loaded.is_some();
        on_shelf = newly_loaded.unwrap_or(on_shelf);
        let is_of_tenants = parts.tenants.take();
        if is_of_tenants {
            let tenants = tenants.state();
            for tenant in &tenants {
                complain(tenant);
            }
            next.tenants = Arc::new(Tenants::collect(tenants.iter().map(|it| it.tenant.clone())));
            is_new = true;
        }
        if parts.namespaces.take() {
            let facts = |it: &Arc<Namespace>| {
                (
                    it.metadata.name.clone().unwrap_or_default(),
                    NamespaceFacts::from(it.as_ref()),
                )
            };
            next.namespaces = Arc::new(namespaces.state().iter().map(facts).collect());
            is_new = true;
        }
        if parts.rbac.take() {
            next.rbac = Arc::new(stores.rbac());
            is_new = true;
        }
        if parts.storage.take() {
            let facts = |it: &Arc<StorageClass>| {
                (
                    it.metadata.name.clone().unwrap_or_default(),
                    ClassFacts::from(it.as_ref()),
                )
            };
            next.storage_classes = Arc::new(stores.storage_classes.state().iter().map(facts).collect());
            is_new = true;
        }
        if of_served || is_of_tenants {
            let served = on_shelf.served.iter().cloned();
            let indexed = PolicyIndex::collect(served, &next.tenants).with_authors(on_shelf.authors.clone());
            next.policies = Arc::new(indexed);
            is_new = true;
        }
        if is_new {
            snapshot.0.store(Arc::new(next));
            snapshot.1.store(true, Ordering::Release);
            metrics.snapshot_updates.inc();
        }
        if of_served {
            // Not before it is served.
            policies.say(&on_shelf);
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

/// The parts of the snapshot that may be behind.
#[derive(Default)]
struct Parts {
    tenants: Stale,
    namespaces: Stale,
    rbac: Stale,
    storage: Stale,
    policies: Stale,
}

/// What follows the API server.
struct Stores {
    tenants: Store<StoredTenant>,
    namespaces: Store<Namespace>,
    cluster_roles: Store<ClusterRole>,
    cluster_role_bindings: Store<ClusterRoleBinding>,
    roles: Store<Role>,
    role_bindings: Store<RoleBinding>,
    storage_classes: Store<StorageClass>,
    policies: Store<StoredPolicy>,
    revisions: Store<ControllerRevision>,
}

impl Stores {
    fn follow(feed: &mut Feed, parts: &Parts, namespace: &str) -> Self {
        Self {
            tenants: feed.follow(&parts.tenants),
            namespaces: feed.follow(&parts.namespaces),
            cluster_roles: feed.follow(&parts.rbac),
            cluster_role_bindings: feed.follow(&parts.rbac),
            roles: feed.follow(&parts.rbac),
            role_bindings: feed.follow(&parts.rbac),
            storage_classes: feed.follow(&parts.storage),
            policies: feed.follow(&parts.policies),
            revisions: feed.follow_some(
                Api::namespaced(feed.client.clone(), namespace),
                watcher::Config::default().labels(&labels::revisions()),
                &parts.policies,
            ),
        }
    }

    /// Waits for the first list of each kind.
    async fn synced(&self) -> anyhow::Result<()> {
        self.policies.wait_until_ready().await?;
        self.revisions.wait_until_ready().await?;
        self.tenants.wait_until_ready().await?;
        self.namespaces.wait_until_ready().await?;
        self.cluster_roles.wait_until_ready().await?;
        self.cluster_role_bindings.wait_until_ready().await?;
        self.roles.wait_until_ready().await?;
        self.role_bindings.wait_until_ready().await?;
        self.storage_classes.wait_until_ready().await?;
        Ok(())
    }

    fn rbac(&self) -> Rbac {
        let mut rbac = Rbac::default();
        for role in self.cluster_roles.state() {
            rbac.cluster_roles.insert(
                role.metadata.name.clone().unwrap_or_default(),
                RoleFacts::from(role.as_ref()),
            );
        }
        for role in self.roles.state() {
            let namespace = role.metadata.namespace.clone().unwrap_or_default();
            let name = role.metadata.name.clone().unwrap_or_default();
            rbac.roles
                .entry(namespace)
                .or_default()
                .insert(name, rules(role.rules.as_ref()));
        }
        for it in self.cluster_role_bindings.state() {
            if let Some((role, facts)) = binding(&it.metadata, &it.role_ref, it.subjects.as_ref()) {
                rbac.bind(role, facts);
            }
        }
        for it in self.role_bindings.state() {
            if let Some((role, facts)) = binding(&it.metadata, &it.role_ref, it.subjects.as_ref()) {
                rbac.bind(role, facts);
            }
        }
        rbac
    }
}

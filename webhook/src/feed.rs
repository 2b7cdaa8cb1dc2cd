//! The snapshot, fed by watches.
//!
//! Each kind has a store that follows the API server. What changes marks a part of the snapshot as stale; one
//! task rebuilds stale parts and swaps the pointer. Readers never wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use bailiwick_core::config::Config;
use bailiwick_core::ownership::NamespaceFacts;
use bailiwick_core::policy::Policies as PolicyIndex;
use bailiwick_core::policy::orders::StoredPolicy;
use bailiwick_core::snapshot::{Rbac, RoleFacts, Snapshot, Tenants, binding, rules};
use bailiwick_core::stored::StoredTenant;
use bailiwick_crds::labels;
use bailiwick_runtime::admin::Readiness;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::runtime::reflector::{self, Lookup, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use crate::CACHES;
use crate::metrics::Metrics;
use crate::policies::Policies;
use crate::policies::shelf::{Loaded, Shelf};

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

    /// The snapshot of this moment, for longer.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.0.load_full()
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
    let (of_tenants, of_namespaces, of_rbac) = (Stale::default(), Stale::default(), Stale::default());
    let tenants = feed.follow::<StoredTenant>(&of_tenants);
    let namespaces = feed.follow::<Namespace>(&of_namespaces);
    let cluster_roles = feed.follow::<ClusterRole>(&of_rbac);
    let cluster_role_bindings = feed.follow::<ClusterRoleBinding>(&of_rbac);
    let roles = feed.follow::<Role>(&of_rbac);
    let role_bindings = feed.follow::<RoleBinding>(&of_rbac);
    let of_policies = Stale::default();
    let stored_policies = feed.follow::<StoredPolicy>(&of_policies);
    let revisions = feed.follow_some::<ControllerRevision>(
        Api::namespaced(feed.client.clone(), &namespace),
        watcher::Config::default().labels(labels::POLICY_REVISION),
        &of_policies,
    );
    let synced = async {
        stored_policies.wait_until_ready().await?;
        revisions.wait_until_ready().await?;
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
    of_policies.mark();
    let mut loader = Loader::default();
    let mut loaded = Arc::new(Loaded::default());
    let mut ready = false;
    loop {
        let mut next = (**snapshot.load()).clone();
        let mut is_new = false;
        // The first load is waited for; later ones go on beside the other watches.
        if !loader.is_busy() && of_policies.take() {
            loader.load(&stored_policies, &revisions, &changed);
        }
        let newly_loaded = if ready { loader.take() } else { loader.wait().await };
        if newly_loaded.is_some() {
            // What changed meanwhile is loaded next.
            changed.notify_one();
        }
        let of_served = newly_loaded.is_some();
        loaded = newly_loaded.unwrap_or(loaded);
        let is_of_tenants = of_tenants.take();
        if is_of_tenants {
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
        if of_served || is_of_tenants {
            let served = loaded.served.iter().cloned();
            let indexed = PolicyIndex::collect(served, &next.tenants).with_authors(loaded.authors.clone());
            next.policies = Arc::new(indexed);
            is_new = true;
        }
        if is_new {
            snapshot.0.store(Arc::new(next));
            metrics.snapshot_updates.inc();
        }
        if of_served {
            // Not before it is served.
            policies.say(&loaded);
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

/// Loads policies, one load at a time.
#[derive(Default)]
struct Loader {
    shelf: Arc<Mutex<Shelf>>,
    loading: Option<JoinHandle<Loaded>>,
}

impl Loader {
    fn is_busy(&self) -> bool {
        self.loading.is_some()
    }

    /// Begins to load. `changed` wakes when it is done.
    fn load(
        &mut self,
        policies: &Store<StoredPolicy>,
        revisions: &Store<ControllerRevision>,
        changed: &Arc<Notify>,
    ) {
        let (policies, revisions) = (policies.state(), revisions.state());
        let (shelf, changed) = (self.shelf.clone(), changed.clone());
        self.loading = Some(tokio::task::spawn_blocking(move || {
            let loaded = shelf
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .load(&policies, &revisions);
            for (revision, reason) in &loaded.failed {
                tracing::error!(revision, reason, "A revision of a policy can't be loaded");
            }
            changed.notify_one();
            loaded
        }));
    }

    /// What was loaded, if it is done.
    fn take(&mut self) -> Option<Arc<Loaded>> {
        let done = self.loading.as_ref().is_some_and(JoinHandle::is_finished);
        done.then(|| self.loading.take())
            .flatten()?
            .now_or_never()?
            .ok()
            .map(Arc::new)
    }

    /// What was loaded, when it is done.
    async fn wait(&mut self) -> Option<Arc<Loaded>> {
        self.loading.take()?.await.ok().map(Arc::new)
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

//! What is there: stores that follow the API server, and the streams that wake the controller.

mod bound;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use bailiwick_core::config::Config;
use bailiwick_core::ownership::NamespaceFacts;
use bailiwick_core::plan::Kind;
use bailiwick_core::quota::SLICE;
use bailiwick_core::snapshot::{Rbac, RoleFacts, Snapshot, Tenants, binding};
use bailiwick_core::stored::StoredTenant;
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::Tenant;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::runtime::reflector::{self, Lookup, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{broadcast, watch};

use crate::metrics::Metrics;

/// The stores.
#[derive(Clone)]
pub(crate) struct Observed {
    pub(crate) tenants: Store<StoredTenant>,
    pub(crate) namespaces: Store<Namespace>,
    network_policies: Store<NetworkPolicy>,
    resource_quotas: Store<ResourceQuota>,
    limit_ranges: Store<LimitRange>,
    managed_role_bindings: Store<RoleBinding>,
    role_bindings: Store<RoleBinding>,
    cluster_roles: Store<ClusterRole>,
    cluster_role_bindings: Store<ClusterRoleBinding>,
    changed: broadcast::Sender<()>,
    waiting_for: watch::Receiver<BTreeSet<String>>,
}

type Watch<K> = Pin<Box<dyn Stream<Item = Result<K, watcher::Error>> + Send>>;

/// What wakes the controller.
pub(crate) struct Streams {
    pub(crate) tenants: Watch<StoredTenant>,
    pub(crate) namespaces: Watch<Namespace>,
    pub(crate) network_policies: Watch<NetworkPolicy>,
    pub(crate) resource_quotas: Watch<ResourceQuota>,
    pub(crate) limit_ranges: Watch<LimitRange>,
    pub(crate) role_bindings: Watch<RoleBinding>,
    /// Must be polled, too; wakes nobody.
    pub(crate) background: Pin<Box<dyn Stream<Item = ()> + Send>>,
}

/// Begins to follow the API server. Nothing is read until the streams are polled.
pub(crate) fn begin(client: Client, metrics: Metrics) -> (Observed, Streams) {
    let (changed, _) = broadcast::channel(1);
    let (pending, waiting_for) = watch::channel(BTreeSet::new());
    let feed = Feed {
        client,
        changed: changed.clone(),
        pending,
        metrics,
    };
    let all = watcher::Config::default();
    // Tenants can't write objects with this label, so nothing that they store can stop these watches.
    let managed = watcher::Config::default().labels(labels::MANAGED_BY);
    let (tenants, tenant_stream) = feed.follow(all.clone());
    let (namespaces, namespace_stream) = feed.follow(all.clone());
    let (network_policies, network_policy_stream) = feed.follow(managed.clone());
    let (resource_quotas, resource_quota_stream) = feed.follow(managed.clone());
    let (limit_ranges, limit_range_stream) = feed.follow(managed.clone());
    let (managed_role_bindings, role_binding_stream) = feed.follow(managed);
    let (role_bindings, all_role_bindings) = feed.follow::<RoleBinding>(all.clone());
    let (cluster_roles, all_cluster_roles) = feed.follow::<ClusterRole>(all.clone());
    let (cluster_role_bindings, all_cluster_role_bindings) = feed.follow::<ClusterRoleBinding>(all);
    let background = futures::stream::select_all([
        all_role_bindings.map(|_| ()).boxed(),
        all_cluster_roles.map(|_| ()).boxed(),
        all_cluster_role_bindings.map(|_| ()).boxed(),
    ]);
    let observed = Observed {
        tenants,
        namespaces,
        network_policies,
        resource_quotas,
        limit_ranges,
        managed_role_bindings,
        role_bindings,
        cluster_roles,
        cluster_role_bindings,
        changed,
        waiting_for,
    };
    let streams = Streams {
        tenants: tenant_stream,
        namespaces: namespace_stream,
        network_policies: network_policy_stream,
        resource_quotas: resource_quota_stream,
        limit_ranges: limit_range_stream,
        role_bindings: role_binding_stream,
        background: Box::pin(background),
    };
    (observed, streams)
}

struct Feed {
    client: Client,
    changed: broadcast::Sender<()>,
    /// The lists that are not complete yet. A store can tell it too, but wakes only one of those who wait.
    pending: watch::Sender<BTreeSet<String>>,
    metrics: Metrics,
}

impl Feed {
    fn follow<K>(&self, config: watcher::Config) -> (Store<K>, Watch<K>)
    where
        K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + DeserializeOwned + Debug,
        K: Send + Sync + 'static,
    {
        let (store, writer) = reflector::store::<K>();
        let (changed, metrics) = (self.changed.clone(), self.metrics.clone());
        let scope = if config.label_selector.is_some() {
            "managed "
        } else {
            ""
        };
        let list = format!("{scope}{}", <K as Resource>::plural(&()));
        self.pending.send_modify(|it| {
            it.insert(list.clone());
        });
        let pending = self.pending.clone();
        let stream = reflector::reflector(writer, watcher(Api::<K>::all(self.client.clone()), config))
            .inspect_err(move |error| {
                metrics.watch_errors.inc();
                tracing::warn!(%error, kind = %<K as Resource>::kind(&()), "A watch failed; it begins again");
            })
            .default_backoff()
            .inspect_ok(move |event| {
                if matches!(event, watcher::Event::InitDone) {
                    pending.send_if_modified(|it| it.remove(&list));
                }
                if !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_)) {
                    // Nobody listening is fine: the next one looks at the stores.
                    let _ = changed.send(());
                }
            })
            .touched_objects();
        (store, Box::pin(stream))
    }
}

impl Observed {
    /// Wakes at every change of any store.
    pub(crate) fn changes(&self) -> broadcast::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits for the first list of each kind; tells which ones it waits for.
    pub(crate) async fn synced_or_say(&self, waiting_for: impl Fn(&BTreeSet<String>)) -> anyhow::Result<()> {
        let mut pending = self.waiting_for.clone();
        loop {
            {
                let pending = pending.borrow_and_update();
                if pending.is_empty() {
                    return Ok(());
                }
                waiting_for(&pending);
            }
            pending.changed().await?;
        }
    }

    /// Waits for the first list of each kind.
    pub(crate) async fn synced(&self) -> anyhow::Result<()> {
        self.synced_or_say(|_| {}).await
    }

    /// The Tenants, each as far as it can be read.
    pub(crate) fn tenants(&self) -> Vec<Arc<Tenant>> {
        self.tenants.state().iter().map(|it| it.tenant.clone()).collect()
    }

    /// What ownership depends on, of each Namespace.
    pub(crate) fn namespaces(&self) -> std::collections::BTreeMap<String, NamespaceFacts> {
        self.namespaces
            .state()
            .iter()
            .map(|it| (it.name_any(), NamespaceFacts::from(it.as_ref())))
            .collect()
    }

    /// Whose everything and everybody is, in the shape that decisions take.
    pub(crate) fn ownership(&self, config: Arc<Config>) -> Snapshot {
        Snapshot {
            config,
            tenants: Arc::new(Tenants::collect(self.tenants())),
            namespaces: Arc::new(self.namespaces()),
            ..Snapshot::default()
        }
    }

    /// The same, with roles and bindings.
    pub(crate) fn snapshot(&self, config: Arc<Config>) -> Snapshot {
        let mut rbac = Rbac::default();
        for role in self.cluster_roles.state() {
            rbac.cluster_roles
                .insert(role.name_any(), RoleFacts::from(role.as_ref()));
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
        Snapshot {
            rbac: Arc::new(rbac),
            ..self.ownership(config)
        }
    }

    /// The binding of those who may create namespaces.
    pub(crate) fn creators(&self) -> Option<Arc<ClusterRoleBinding>> {
        self.cluster_role_bindings
            .get(&reflector::ObjectRef::new(labels::CREATORS))
    }

    /// A managed object, as JSON.
    pub(crate) fn managed(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        fn get<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<Value>
        where
            K: Lookup<DynamicType = ()> + Clone + serde::Serialize + 'static,
        {
            let key = reflector::ObjectRef::<K>::new(name).within(namespace);
            store
                .get(&key)
                .and_then(|it| serde_json::to_value(it.as_ref()).ok())
        }
        match kind {
            Kind::NetworkPolicy => get(&self.network_policies, namespace, name),
            Kind::ResourceQuota => get(&self.resource_quotas, namespace, name),
            Kind::LimitRange => get(&self.limit_ranges, namespace, name),
            Kind::RoleBinding => get(&self.managed_role_bindings, namespace, name),
        }
    }

    /// The tenant that a Namespace is labelled for.
    pub(crate) fn tenant_of(&self, namespace: &str) -> Option<String> {
        let namespace = self.namespaces.get(&reflector::ObjectRef::new(namespace))?;
        namespace.labels().get(labels::TENANT).cloned()
    }

    /// The slice of a namespace.
    pub(crate) fn slice(&self, namespace: &str) -> Option<Arc<ResourceQuota>> {
        self.resource_quotas
            .get(&reflector::ObjectRef::new(SLICE).within(namespace))
    }

    /// Names and UIDs of the managed objects of a kind in some namespaces.
    pub(crate) fn managed_in(&self, kind: Kind, namespaces: &BTreeSet<&str>) -> Vec<ManagedObject> {
        fn list<K>(store: &Store<K>, namespaces: &BTreeSet<&str>, kind: Kind) -> Vec<ManagedObject>
        where
            K: Lookup<DynamicType = ()> + Resource + Clone + 'static,
        {
            let within = |it: &K| {
                it.meta()
                    .namespace
                    .as_deref()
                    .is_some_and(|it| namespaces.contains(it))
            };
            store
                .state_filter(within)
                .iter()
                .map(|it| ManagedObject {
                    kind,
                    namespace: it.meta().namespace.clone().unwrap_or_default(),
                    name: it.meta().name.clone().unwrap_or_default(),
                    uid: it.meta().uid.clone().unwrap_or_default(),
                })
                .collect()
        }
        match kind {
            Kind::NetworkPolicy => list(&self.network_policies, namespaces, kind),
            Kind::ResourceQuota => list(&self.resource_quotas, namespaces, kind),
            Kind::LimitRange => list(&self.limit_ranges, namespaces, kind),
            Kind::RoleBinding => list(&self.managed_role_bindings, namespaces, kind),
        }
    }
}

/// A managed object that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManagedObject {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

//! Which Tenant a change concerns.

use bailiwick_core::stored::StoredTenant;
use bailiwick_crds::labels;
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, watcher};
use kube::{Resource, ResourceExt as _};

use crate::observe::Observed;

type Watch<K> = std::pin::Pin<Box<dyn futures::Stream<Item = Result<K, watcher::Error>> + Send>>;

/// The streams of objects that belong to Tenants.
pub(super) struct Watched {
    pub(super) namespaces: Watch<Namespace>,
    pub(super) network_policies: Watch<NetworkPolicy>,
    pub(super) resource_quotas: Watch<ResourceQuota>,
    pub(super) limit_ranges: Watch<LimitRange>,
    pub(super) role_bindings: Watch<RoleBinding>,
}

/// Lets each change wake the Tenants that it concerns.
pub(super) fn on_changes(
    controller: Controller<StoredTenant>,
    observed: &Observed,
    watched: Watched,
) -> Controller<StoredTenant> {
    let Watched {
        namespaces,
        network_policies,
        resource_quotas,
        limit_ranges,
        role_bindings,
    } = watched;
    let (of_policy, of_quota, of_limits, of_binding) = (
        observed.clone(),
        observed.clone(),
        observed.clone(),
        observed.clone(),
    );
    let tenants = observed.tenants.clone();
    controller
        .watches_stream(namespaces, move |it: Namespace| of_namespace(&tenants, &it))
        .watches_stream(network_policies, move |it: NetworkPolicy| {
            of_managed(&of_policy, &it)
        })
        .watches_stream(resource_quotas, move |it: ResourceQuota| {
            of_managed(&of_quota, &it)
        })
        .watches_stream(limit_ranges, move |it: LimitRange| of_managed(&of_limits, &it))
        .watches_stream(role_bindings, move |it: RoleBinding| of_managed(&of_binding, &it))
}

/// The Tenant that a Namespace is labelled for, and those that name it: one of them may have been waiting.
fn of_namespace(tenants: &Store<StoredTenant>, namespace: &Namespace) -> Vec<ObjectRef<StoredTenant>> {
    let name = namespace.name_any();
    let labelled = namespace
        .labels()
        .get(labels::TENANT)
        .map(|it| ObjectRef::new(it));
    let naming = tenants
        .state_filter(|it| names(it, &name))
        .into_iter()
        .map(|it| ObjectRef::new(&it.name_any()));
    labelled.into_iter().chain(naming).collect()
}

fn names(stored: &StoredTenant, namespace: &str) -> bool {
    let tenant = &stored.tenant;
    let declared = tenant
        .spec
        .namespaces
        .iter()
        .flat_map(|it| &it.declared)
        .any(|it| it.name == namespace);
    declared
        || tenant
            .status
            .iter()
            .flat_map(|it| &it.namespaces)
            .any(|it| it.name == namespace)
}

/// The Tenant of a managed object: by its own label, and by its namespace, for the label may be what changed.
fn of_managed<K: Resource>(observed: &Observed, object: &K) -> Vec<ObjectRef<StoredTenant>> {
    let by_label = object.labels().get(labels::TENANT).cloned();
    let namespace = object.namespace().unwrap_or_default();
    let by_namespace = observed
        .namespaces
        .get(&ObjectRef::new(&namespace))
        .and_then(|it| it.labels().get(labels::TENANT).cloned());
    let mut tenants: Vec<String> = by_label.into_iter().chain(by_namespace).collect();
    tenants.dedup();
    tenants.iter().map(|it| ObjectRef::new(it)).collect()
}

//! The bindings as they are, for telling how far access reaches.

use bailiwick_core::reach::Bound;
use bailiwick_core::snapshot::SubjectRef;
use bailiwick_crds::labels;
use k8s_openapi::api::rbac::v1::{RoleRef, Subject};
use kube::ResourceExt as _;

use super::Observed;

impl Observed {
    /// All bindings but the managed ones: those are as their Tenants declare, and nobody else can make one.
    pub(crate) fn bound(&self) -> Vec<Bound> {
        let of_roles = self
            .role_bindings
            .state_filter(|it| !it.labels().contains_key(labels::MANAGED_BY));
        let of_roles = of_roles
            .iter()
            .map(|it| bound(it.namespace(), it.name_any(), &it.role_ref, it.subjects.as_ref()));
        let of_cluster = self
            .cluster_role_bindings
            .state_filter(|it| !it.labels().contains_key(labels::MANAGED_BY));
        let of_cluster = of_cluster
            .iter()
            .map(|it| bound(None, it.name_any(), &it.role_ref, it.subjects.as_ref()));
        of_roles.chain(of_cluster).collect()
    }
}

fn bound(
    namespace: Option<String>,
    name: String,
    role_ref: &RoleRef,
    subjects: Option<&Vec<Subject>>,
) -> Bound {
    let within = namespace.as_deref().unwrap_or_default();
    let subjects = subjects
        .into_iter()
        .flatten()
        .map(|it| SubjectRef::from(it).within(within))
        .collect();
    Bound {
        namespace,
        name,
        cluster_role: (role_ref.kind == "ClusterRole").then(|| role_ref.name.clone()),
        subjects,
    }
}

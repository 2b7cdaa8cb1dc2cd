//! Well-known labels, annotations and names.
//!
//! A label decides what a NetworkPolicy or a webhook selects, so each of them is guarded: see
//! `charts/bailiwick/templates/admission`.

/// On a tenant's Namespaces, on the Pods in them and on every managed object: the tenant's name.
pub const TENANT: &str = "bailiwick.dev/tenant";

/// On every object that the operator manages inside a tenant's namespaces, and on the TenancyIndex.
/// Never on Namespaces, which others may label and annotate.
pub const MANAGED_BY: &str = "bailiwick.dev/managed-by";

/// The value of [`MANAGED_BY`], and the operator's field manager.
pub const OPERATOR: &str = "bailiwick-operator";

/// On a tenant's Namespaces: the [`PodLabel`](crate::v1alpha1::PodLabel) mode, which the native
/// policies read.
pub const POD_LABEL: &str = "bailiwick.dev/pod-label";

/// On the Namespaces of a tenant that is suspended: what lives in them may be read only.
pub const SUSPENDED: &str = "bailiwick.dev/suspended";

/// Annotation on a Namespace that exists already: the tenant that may adopt it.
pub const ADOPT_BY: &str = "bailiwick.dev/adopt-by";

/// Annotation on managed objects, and on the Namespaces that the operator made: the UID of the Tenant they were
/// made for.
pub const TENANT_UID: &str = "bailiwick.dev/tenant-uid";

/// Annotation on a namespace's slice of the tenant's quota: which run of which operator wrote it last.
pub const QUOTA_WRITER: &str = "bailiwick.dev/quota-writer";

/// On the ControllerRevisions of a TenantPolicy: the policy's name.
pub const POLICY: &str = "bailiwick.dev/policy";

/// On the ControllerRevisions of a TenantPolicy: the revision's name.
pub const POLICY_REVISION: &str = "bailiwick.dev/policy-revision";

/// The selector of all revisions: both labels, because the native policies guard the first.
pub fn revisions() -> String {
    format!("{POLICY},{POLICY_REVISION}")
}

/// Annotation on a TenantPolicy: who changed it last, as the API server authenticated them.
pub const CHANGED_BY: &str = "bailiwick.dev/changed-by";

/// On the Leases by which replicas say that they live: what they are.
pub const REPLICA: &str = "bailiwick.dev/replica";

/// Finalizer on a Tenant: access is taken away before the Tenant goes.
pub const FINALIZER: &str = "bailiwick.dev/tenant";

/// Set by the API server on every Namespace; can't be forged.
pub const METADATA_NAME: &str = "kubernetes.io/metadata.name";

/// Prefix of the Pod Security labels of a Namespace.
pub const POD_SECURITY_PREFIX: &str = "pod-security.kubernetes.io/";

/// Namespace label that unlocks administrative access to devices (Dynamic Resource Allocation).
pub const DEVICE_ADMIN_ACCESS: &str = "resource.kubernetes.io/admin-access";

/// Prefix of every label and annotation of ours.
pub const PREFIX: &str = "bailiwick.dev/";

/// Name of the one TenancyIndex.
pub const INDEX_NAME: &str = "bailiwick";

/// The chart's ClusterRole that lets its holder create namespaces, bound by the operator to owners whose Tenant has self-service.
pub const CREATOR_ROLE: &str = "bailiwick-namespace-creator";

/// The one ClusterRoleBinding of the operator: of [`CREATOR_ROLE`].
pub const CREATORS: &str = "bailiwick-namespace-creators";

/// The chart's ClusterRole that lets an owner delete a namespace made by self-service.
pub const DELETER_ROLE: &str = "bailiwick-namespace-deleter";

/// The chart's ClusterRole that lets an owner set the metadata which the Tenant lists.
pub const METADATA_ROLE: &str = "bailiwick-namespace-metadata";

/// Annotation of client-side `kubectl apply`: its own copy of the object.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Namespace labels that only the operator may set, change or remove on a tenant's Namespace.
///
/// `key` is a label key. The tenant label, the Pod label mode and the suspension are guarded on every Namespace.
pub fn is_guarded(key: &str) -> bool {
    is_guarded_everywhere(key) || key.starts_with(POD_SECURITY_PREFIX) || key == DEVICE_ADMIN_ACCESS
}

/// Labels that only the operator may set, also on Namespaces that belong to no tenant.
pub fn is_guarded_everywhere(key: &str) -> bool {
    key == TENANT || key == POD_LABEL || key == SUSPENDED
}

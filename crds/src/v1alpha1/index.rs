//! The TenancyIndex: what the native admission policies know of the tenants.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::AllowedToleration;

/// Who and what belongs to which tenant, in the shape that the native admission policies look up.
///
/// Derived from Tenants, Namespaces and cluster RBAC by the operator, which alone may write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "bailiwick.dev",
    version = "v1alpha1",
    kind = "TenancyIndex",
    plural = "tenancyindices",
    category = "bailiwick",
    derive = "PartialEq",
    doc = "TenancyIndex is what the native admission policies know of the tenants. The operator writes it; nobody else may."
)]
#[serde(rename_all = "camelCase")]
pub struct TenancyIndexSpec {
    /// namespaces maps each namespace that belongs to a tenant to that tenant.
    #[serde(default)]
    pub namespaces: BTreeMap<String, String>,
    /// declared maps the namespaces that a live Tenant declares, which therefore can't be deleted.
    #[serde(default)]
    pub declared: BTreeMap<String, String>,
    /// users maps exact user names to their tenant; ServiceAccounts as `system:serviceaccount:<namespace>:<name>`.
    #[serde(default)]
    pub users: BTreeMap<String, String>,
    /// groups maps exact group names to their tenant.
    #[serde(default)]
    pub groups: BTreeMap<String, String>,
    /// userPrefixes are the tenants' user names by prefix.
    #[serde(default)]
    pub user_prefixes: Vec<PrefixClaim>,
    /// groupPrefixes are the tenants' group names by prefix.
    #[serde(default)]
    pub group_prefixes: Vec<PrefixClaim>,
    /// ambiguous are names that more than one tenant claims. They are refused wherever either would be.
    #[serde(default)]
    pub ambiguous: Ambiguous,
    /// harmlessClusterRoles grant nothing but discovery: a ClusterRoleBinding may give them to tenants.
    #[serde(default)]
    pub harmless_cluster_roles: BTreeMap<String, bool>,
    /// clusterBoundRoles are bound to tenant subjects cluster-wide: they may not be widened.
    #[serde(default)]
    pub cluster_bound_roles: BTreeMap<String, bool>,
    /// tenantBoundRoles are bound to tenant subjects in tenant namespaces: they may not gain permissions that escape.
    #[serde(default)]
    pub tenant_bound_roles: BTreeMap<String, bool>,
    /// platform are the platform's own subjects, from the configuration.
    #[serde(default)]
    pub platform: Platform,
    /// selfService maps the tenants whose owners may make namespaces to the metadata that they may set on them.
    #[serde(default)]
    pub self_service: BTreeMap<String, OwnKeys>,
    /// placements maps the tenants with a placement to what it comes to in this cluster.
    #[serde(default)]
    pub placements: BTreeMap<String, IndexedPlacement>,
    /// topology maps the regions that placements name to keys of nodes' labels, and these to the values that only nodes within
    /// the region have.
    #[serde(default)]
    pub topology: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

/// Where a tenant's Pods run and its data lies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IndexedPlacement {
    /// nodeSelector of each Pod, the region among it where there is one.
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
    /// regions in which Pods run and data lies, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions: Option<Vec<String>>,
    /// tolerations of each Pod.
    #[serde(default)]
    pub tolerations: Vec<AllowedToleration>,
    /// exceptStorageClasses hold data that is taken to be within.
    #[serde(default)]
    pub except_storage_classes: Vec<String>,
    /// exceptNamespaces are placed nowhere.
    #[serde(default)]
    pub except_namespaces: Vec<String>,
}

/// The metadata that a tenant's owners may set on the namespaces that they make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnKeys {
    /// labels by key.
    #[serde(default)]
    pub labels: Vec<String>,
    /// annotations by key.
    #[serde(default)]
    pub annotations: Vec<String>,
}

/// A claim on all names that begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrefixClaim {
    /// prefix without the closing `*`.
    pub prefix: String,
    /// tenant that claims it.
    pub tenant: String,
}

/// Names that more than one tenant claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ambiguous {
    /// users claimed more than once.
    #[serde(default)]
    pub users: Vec<String>,
    /// groups claimed more than once.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// The platform's own subjects: they may be named in any tenant's RoleBindings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Platform {
    /// users by exact name.
    #[serde(default)]
    pub users: Vec<String>,
    /// groups by exact name.
    #[serde(default)]
    pub groups: Vec<String>,
    /// userPrefixes, without the closing `*`.
    #[serde(default)]
    pub user_prefixes: Vec<String>,
    /// groupPrefixes, without the closing `*`.
    #[serde(default)]
    pub group_prefixes: Vec<String>,
}

//! The Tenant: what a platform engineer writes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Placement, ResourceList, TenantStatus, Workloads};

/// A tenant of the cluster. With nothing but a name it is closed: no traffic from or to other tenants, no
/// binding that reaches out, Pod Security `baseline`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "bailiwick.dev",
    version = "v1alpha1",
    kind = "Tenant",
    shortname = "tn",
    category = "bailiwick",
    status = "TenantStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Tenant is a tenant of the cluster: its namespaces, its people and what isolates them. With nothing but a name it is closed.",
    validation = Rule::new("self.metadata.name.size() <= 40").message("metadata.name must be at most 40 characters"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label: lower case letters, digits and '-', beginning with a letter and ending with a letter or digit"),
    validation = Rule::new("!(self.metadata.name in ['default', 'system', 'platform', 'none']) && !self.metadata.name.startsWith('kube-') && self.metadata.name != 'kube' && !self.metadata.name.startsWith('bailiwick')")
        .message("metadata.name is reserved: 'default', 'system', 'platform', 'none', 'kube', 'kube-*' and 'bailiwick*' can't be tenants; choose another name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Namespaces", type_ = "integer", json_path = ".status.namespaceCount"),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspended", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct TenantSpec {
    /// owners administer the tenant: they get the owner ClusterRole in each of its namespaces. They are also
    /// identities of the tenant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub owners: Vec<Subject>,
    /// identities are further subjects that belong to this tenant and to no other. A binding may name them in
    /// this tenant's namespaces only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identities: Option<Identities>,
    /// access grants ClusterRoles in the tenant's namespaces, in all of them or in some by selector.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub access: Vec<Access>,
    /// namespaces are the tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Namespaces>,
    /// network lists the exceptions from isolation. Without it only traffic inside the tenant and DNS pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// quota limits what the tenant's namespaces may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// podSecurity is the Pod Security Standard of the tenant's namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security: Option<PodSecurity>,
    /// workloads are guard rails: which registries, classes, hostnames and kinds of Service the tenant may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<Workloads>,
    /// placement says on which nodes the tenant's Pods run, and in which regions its data lies. Without it: anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// priority says how much of the API server's time the tenant gets while others want it too. Without it: the
    /// platform's default tier, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// podLabel says how the tenant label comes onto Pods. It is verified in each mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_label: Option<PodLabel>,
    /// suspended makes everything in the tenant's namespaces read-only, for its subjects and for others, `exec`,
    /// `attach`, `port-forward` and token requests included. What runs goes on running. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
    /// deletionPolicy says what becomes of the namespaces when the Tenant is deleted or stops declaring them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// A User, Group or ServiceAccount by its exact name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.kind == 'ServiceAccount') == has(self.__namespace__)")
        .message("namespace must be set for a ServiceAccount, and only for a ServiceAccount"),
    validation = Rule::new("self.kind == 'ServiceAccount' || !self.name.startsWith('system:')")
        .message("name must not begin with 'system:': Kubernetes' own users and groups, such as system:masters or system:authenticated, can't belong to a tenant; name a group of your identity provider, or use kind ServiceAccount"),
    validation = Rule::new("self.name.indexOf('*') == -1")
        .message("name must be exact: put a prefix ending in '*' into spec.identities")
)]
pub struct Subject {
    /// kind of the subject.
    pub kind: SubjectKind,
    /// name, exactly as the API server sees it: case matters, nothing is trimmed.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[!-~]([ -~]*[!-~])?$"))]
    pub name: String,
    /// namespace of a ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// What a subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    /// A user of the identity provider.
    User,
    /// A group of the identity provider.
    Group,
    /// A ServiceAccount of a namespace.
    ServiceAccount,
}

/// Names that belong to a tenant: exact, or a prefix ending in `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(!has(self.users) || self.users.all(n, !n.startsWith('system:') && !n.startsWith('*') && n.indexOf('*') in [-1, n.size() - 1] && !'system:'.startsWith(n.replace('*', '')))) && (!has(self.groups) || self.groups.all(n, !n.startsWith('system:') && !n.startsWith('*') && n.indexOf('*') in [-1, n.size() - 1] && !'system:'.startsWith(n.replace('*', ''))))")
        .message("names must be exact or a prefix ending in '*', and must not reach names that begin with 'system:'")
)]
pub struct Identities {
    /// users by exact name or prefix ending in `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 2, max = 253), regex(pattern = r"^[!-~]([ -~]*[!-~])?$"))
    )]
    pub users: Vec<String>,
    /// groups by exact name or prefix ending in `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 2, max = 253), regex(pattern = r"^[!-~]([ -~]*[!-~])?$"))
    )]
    pub groups: Vec<String>,
}

/// A ClusterRole that some subjects get in the tenant's namespaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// clusterRole is one of the ClusterRoles that the platform lets Tenants name (`bindableClusterRoles`).
    #[schemars(length(min = 1, max = 253))]
    pub cluster_role: String,
    /// subjects get it.
    #[schemars(length(min = 1, max = 64))]
    pub subjects: Vec<Subject>,
    /// namespaceSelector chooses among the declared namespaces by the labels declared for them. Without it: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
}

/// The namespaces of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Namespaces {
    /// declared namespaces exist as long as the Tenant names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 512))]
    pub declared: Vec<DeclaredNamespace>,
    /// selfService lets the owners create further namespaces themselves, with `kubectl create namespace`, and delete them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_service: Option<SelfService>,
}

/// The namespaces that a tenant's owners make by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!self.prefix.startsWith('kube-') && !self.prefix.startsWith('bailiwick-')")
        .message("prefix is reserved: namespaces that begin with 'kube-' or 'bailiwick-' are the cluster's; choose another prefix").field_path(".prefix"),
    validation = Rule::new("((has(self.labels) ? self.labels : []) + (has(self.annotations) ? self.annotations : [])).all(k, !k.startsWith('bailiwick.dev/') && !k.startsWith('pod-security.kubernetes.io/') && !k.startsWith('kubernetes.io/') && k != 'resource.kubernetes.io/admin-access')")
        .message("labels and annotations must not list keys with the prefixes 'bailiwick.dev/', 'pod-security.kubernetes.io/', 'kubernetes.io/' or the key 'resource.kubernetes.io/admin-access': they decide isolation and are set by the operator")
)]
pub struct SelfService {
    /// prefix that the names of these namespaces begin with; it ends in '-'. Of two Tenants' prefixes that a name begins
    /// with, the longer one counts.
    #[schemars(
        length(min = 2, max = 40),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?-$")
    )]
    pub prefix: String,
    /// max is how many there may be at a time; 0 lets the owners make no more, and leaves them what they have.
    #[schemars(range(min = 0, max = 256))]
    pub max: i32,
    /// labels are the keys of the labels that the owners may set on these namespaces; nothing that decides isolation, or that
    /// switches another engine off. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 317)))]
    pub labels: Vec<String>,
    /// annotations are the keys of the annotations that they may set, likewise. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 317)))]
    pub annotations: Vec<String>,
}

/// One namespace that a Tenant declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.name != 'default' && !self.name.startsWith('kube-') && self.name != 'bailiwick-system'")
        .message("name is reserved: 'default', 'kube-*' and Bailiwick's own namespace can't belong to a tenant; choose another name").field_path(".name"),
    validation = Rule::new("!has(self.labels) || self.labels.all(k, !k.startsWith('bailiwick.dev/') && !k.startsWith('pod-security.kubernetes.io/') && !k.startsWith('kubernetes.io/') && k != 'resource.kubernetes.io/admin-access')")
        .message("labels must not use the prefixes 'bailiwick.dev/', 'pod-security.kubernetes.io/', 'kubernetes.io/' or the key 'resource.kubernetes.io/admin-access': they decide isolation and are set by the operator").field_path(".labels")
)]
pub struct DeclaredNamespace {
    /// name of the Namespace.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// labels are put on the Namespace and kept there; `access[].namespaceSelector` selects on them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32), schema_with = "label_map")]
    pub labels: BTreeMap<String, String>,
}

/// The exceptions from network isolation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// ingress exceptions: who may reach the tenant's Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// egress exceptions: whom the tenant's Pods may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
}

/// Who may reach the tenant's Pods, beside the tenant itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// fromTenants may send to this tenant. Their own egress has to name this tenant too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 40)))]
    pub from_tenants: Vec<String>,
    /// fromNamespaces are platform namespaces that may send to this tenant, such as an ingress controller's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub from_namespaces: Vec<String>,
}

/// Whom the tenant's Pods may reach, beside the tenant itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.toCIDRs) || self.toCIDRs.all(c, isCIDR(c) && cidr(c).masked() == cidr(c))")
        .message("toCIDRs must be networks in CIDR notation with no host bits set, such as 10.20.0.0/16 or 2001:db8::/48").field_path(".toCIDRs"),
    validation = Rule::new("(has(self.internet) && self.internet) || !has(self.toCIDRs) || self.toCIDRs.all(c, !isCIDR(c) || cidr(c).prefixLength() >= 8)")
        .message("toCIDRs must not be wider than /8 unless internet is true: write 'internet: true' to reach the Internet, or name the networks").field_path(".toCIDRs")
)]
pub struct Egress {
    /// toTenants may be reached from this tenant. Their own ingress has to name this tenant too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 40)))]
    pub to_tenants: Vec<String>,
    /// toCIDRs are networks outside the cluster that may be reached.
    #[serde(default, rename = "toCIDRs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 4, max = 43)))]
    pub to_cidrs: Vec<String>,
    /// dns lets Pods ask the cluster's DNS. Default: true.
    #[serde(default = "enabled")]
    pub dns: bool,
    /// internet lets Pods reach every public address: no private, link-local or cluster range. Default: false.
    #[serde(default)]
    pub internet: bool,
}

impl Default for Egress {
    fn default() -> Self {
        Self {
            to_tenants: Vec::new(),
            to_cidrs: Vec::new(),
            dns: true,
            internet: false,
        }
    }
}

/// What the tenant's namespaces may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// tenant is what all namespaces of the tenant may use together: resource name to limit. Each namespace is given a
    /// part of it, which the API server enforces, and what is free moves to where it is needed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub tenant: ResourceList,
    /// namespace is the ResourceQuota of each namespace: resource name to hard limit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub namespace: ResourceList,
    /// limits are the items of each namespace's LimitRange.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub limits: Vec<LimitItem>,
}

/// One item of a LimitRange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'Container' || (!has(self.default) && !has(self.defaultRequest))")
        .message("default and defaultRequest may be set for type Container only")
)]
pub struct LimitItem {
    /// type of object that the item limits.
    #[serde(rename = "type")]
    pub type_: LimitType,
    /// max per object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub max: ResourceList,
    /// min per object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub min: ResourceList,
    /// default limit of a Container that states none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub default: ResourceList,
    /// defaultRequest of a Container that states none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub default_request: ResourceList,
    /// maxLimitRequestRatio is the most that a limit may exceed its request, as a factor.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub max_limit_request_ratio: ResourceList,
}

/// What a LimitRange item limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum LimitType {
    /// Each container.
    Container,
    /// Each Pod, over its containers.
    Pod,
    /// Each PersistentVolumeClaim.
    PersistentVolumeClaim,
}

/// How the API server shares its time among tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Priority {
    /// tier is one of those that the platform made (`apiFairness.tiers` of the chart). The tenants of a tier share its part of
    /// the API server evenly, each with a queue of its own.
    #[schemars(
        length(min = 1, max = 40),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub tier: String,
}

/// The Pod Security Standard of a tenant's namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurity {
    /// enforce is the level that Pods must meet; `baseline` at the least, and the default.
    #[serde(default)]
    pub enforce: PodSecurityLevel,
}

/// A level of the Pod Security Standards. `privileged` is left out: it would let Pods out of their tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PodSecurityLevel {
    /// Prevents known privilege escalations.
    #[default]
    Baseline,
    /// Current hardening practice.
    Restricted,
}

/// How the tenant label comes onto Pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PodLabel {
    /// The API server puts it on every Pod that has none, then verifies it. The default.
    #[default]
    Stamp,
    /// Pods must carry it themselves.
    Require,
    /// Pods may lack it; one that carries it must carry its own tenant's.
    Verify,
}

/// What becomes of the namespaces when the Tenant is deleted or stops declaring them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Access is removed; the namespace, what runs in it and its isolation are kept. The default.
    #[default]
    Retain,
    /// Namespaces that the operator created are deleted with all that is in them. Adopted ones are retained.
    Delete,
}

fn enabled() -> bool {
    true
}

/// Label values are bounded, so that rules over them have a bounded cost.
fn label_map(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"},
    })
}

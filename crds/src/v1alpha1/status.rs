//! What the operator says about a Tenant.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ResourceList;

/// What the operator last saw and did. Only the operator writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// observedGeneration is the `metadata.generation` that this status speaks of; -1 until the operator
    /// has seen the Tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// conditions tell what holds: see the documented types and reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 32))]
    pub conditions: Vec<Condition>,
    /// namespaces are the ones that belong to the Tenant, by name and uid: the record of ownership.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 1024))]
    pub namespaces: Vec<NamespaceStatus>,
    /// namespaceCount is how many namespaces belong to the Tenant, for `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_count: Option<i32>,
    /// quota is the tenant's limit and what its namespaces use of it together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaStatus>,
}

/// How much of `spec.quota.tenant` is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaStatus {
    /// hard is the limit, by resource name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub hard: ResourceList,
    /// used is what all namespaces use together, as of some seconds ago.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub used: ResourceList,
}

/// One namespace that belongs to a Tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceStatus {
    /// name of the Namespace.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// uid of the Namespace: one of the same name that is made later by somebody else is not this one.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// origin tells how the namespace came to the Tenant.
    pub origin: NamespaceOrigin,
}

/// How a namespace came to its Tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum NamespaceOrigin {
    /// The operator created it because the Tenant declares it.
    Declared,
    /// It existed and consented with the annotation `bailiwick.dev/adopt-by`; or it carried the Tenant's label and
    /// nobody had it on record, so that its history is unknown. It is never deleted by the operator.
    Adopted,
    /// The Tenant declared it once and no longer does: access is removed, isolation is kept. Declared again it
    /// counts as adopted, so that nothing in it is ever deleted by the operator.
    Retained,
    /// An owner of the Tenant made it by self-service. It stays the Tenant's when self-service ends; whether it is deleted with
    /// the Tenant is for `deletionPolicy` to say.
    SelfService,
}

/// The types of a Tenant's conditions. All of them are set on the first visit, `Unknown` when undecided. Which
/// reasons each has is told by [`ConditionType::reasons`], and explained in `docs/conditions.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// Everything below holds for the observed generation.
    Ready,
    /// The operator goes on by itself.
    Reconciling,
    /// Nothing will change until a person acts.
    Stalled,
    /// Every declared namespace exists and is this tenant's, and so is every one that was made by self-service.
    NamespacesReady,
    /// Default-deny and the declared exceptions are in place in each namespace.
    /// It says nothing of the CNI, which has to enforce NetworkPolicies.
    NetworkIsolated,
    /// The bindings in each namespace are the declared ones, and no other binding reaches in or out.
    AccessIsolated,
    /// Quotas and limits are in place, and there is room in the tenant's. Without room the Tenant is `Ready` all the same:
    /// it is as declared.
    QuotaHealthy,
}

/// Why a condition is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Every object is as planned.
    AllApplied,
    /// The Tenant asks for none of it.
    NotRequested,
    /// The spec can't be carried out as written; the message names the field. The rest of it holds: what is wrong is
    /// left out where it would open something, and what there is stays where it would close something.
    Invalid,
    /// The Tenant was stored by another version and can't be read whole; the message names the field. What can be
    /// read still counts: its people and namespaces stay its own, and its objects stay as they are.
    Unreadable,
    /// Another Tenant has a declared namespace.
    NamespaceConflict,
    /// A declared namespace exists, is nobody's and did not consent to adoption.
    NamespaceNotOwned,
    /// A namespace that was made by self-service is not taken: it is one too many, or its name is not the Tenant's to give. It
    /// stays closed, and is taken as soon as that changes.
    NamespaceWaiting,
    /// Another Tenant claims an identity of this one, or somebody whom this one gives access. The shared subject
    /// counts as belonging to both, and is bound by neither.
    IdentityConflict,
    /// A binding that the operator did not make lets others into the tenant, or the tenant's subjects out.
    StrayBinding,
    /// Traffic is to be let in from a namespace of the platform that is a tenant's. It is not let in.
    NetworkConflict,
    /// A resource of `spec.quota.tenant` is used up: nothing more of it is admitted in any namespace.
    Exhausted,
    /// More of a resource is used than `spec.quota.tenant` allows: what there is stays, nothing is added.
    OverUsed,
    /// The API server refused or did not answer; the operator tries again.
    ApplyFailed,
    /// Not decided yet: work did not get so far.
    Progressing,
    /// Work failed and is tried again.
    Retrying,
    /// The Tenant is being deleted.
    Terminating,
}

/// The reasons of one status of a condition.
pub type Reasons = (&'static str, &'static [Reason]);

impl ConditionType {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::NamespacesReady,
        Self::NetworkIsolated,
        Self::AccessIsolated,
        Self::QuotaHealthy,
    ];

    /// Each status that the condition may have, with the reasons that it may give.
    pub const fn reasons(self) -> &'static [Reasons] {
        use Reason::{
            AllApplied, ApplyFailed, Exhausted, IdentityConflict, Invalid, NamespaceConflict,
            NamespaceNotOwned, NamespaceWaiting, NetworkConflict, NotRequested, OverUsed, Progressing,
            Retrying, StrayBinding, Terminating, Unreadable,
        };
        const TRUE: Reasons = ("True", &[AllApplied]);
        const UNKNOWN: Reasons = ("Unknown", &[Progressing]);
        match self {
            Self::Ready => &[
                TRUE,
                (
                    "False",
                    &[
                        Invalid,
                        Unreadable,
                        NamespaceConflict,
                        NamespaceNotOwned,
                        NamespaceWaiting,
                        IdentityConflict,
                        NetworkConflict,
                        StrayBinding,
                        ApplyFailed,
                        Terminating,
                    ],
                ),
            ],
            Self::Reconciling => &[
                ("True", &[Retrying, Terminating]),
                (
                    "False",
                    &[
                        AllApplied,
                        Invalid,
                        Unreadable,
                        NamespaceConflict,
                        NamespaceNotOwned,
                        NamespaceWaiting,
                        IdentityConflict,
                        NetworkConflict,
                        StrayBinding,
                    ],
                ),
            ],
            Self::Stalled => &[
                (
                    "True",
                    &[
                        Invalid,
                        Unreadable,
                        NamespaceConflict,
                        NamespaceNotOwned,
                        NamespaceWaiting,
                        IdentityConflict,
                        NetworkConflict,
                        StrayBinding,
                    ],
                ),
                ("False", &[AllApplied, Retrying, Terminating]),
            ],
            Self::NamespacesReady => &[
                TRUE,
                (
                    "False",
                    &[
                        NamespaceConflict,
                        NamespaceNotOwned,
                        NamespaceWaiting,
                        ApplyFailed,
                    ],
                ),
                UNKNOWN,
            ],
            Self::NetworkIsolated => &[TRUE, ("False", &[NetworkConflict, ApplyFailed]), UNKNOWN],
            Self::AccessIsolated => &[
                TRUE,
                ("False", &[IdentityConflict, StrayBinding, ApplyFailed]),
                UNKNOWN,
            ],
            Self::QuotaHealthy => &[
                ("True", &[AllApplied, NotRequested]),
                ("False", &[Exhausted, OverUsed, ApplyFailed]),
                UNKNOWN,
            ],
        }
    }
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::AllApplied,
        Self::NotRequested,
        Self::Invalid,
        Self::Unreadable,
        Self::NamespaceConflict,
        Self::NamespaceNotOwned,
        Self::NamespaceWaiting,
        Self::IdentityConflict,
        Self::NetworkConflict,
        Self::StrayBinding,
        Self::Exhausted,
        Self::OverUsed,
        Self::ApplyFailed,
        Self::Progressing,
        Self::Retrying,
        Self::Terminating,
    ];
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

//! What the operator says about a TenantPolicy.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which revisions decide, and why. Only the operator writes it; the webhooks do what it says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantPolicyStatus {
    /// observedGeneration is the `metadata.generation` that this status speaks of; -1 until the operator has seen the
    /// policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// conditions tell what holds: see the documented types and reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 32))]
    pub conditions: Vec<Condition>,
    /// activeRevision decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub active_revision: Option<String>,
    /// candidateRevision is to become the active one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub candidate_revision: Option<String>,
    /// candidateDigest is the whole digest of the candidate: an approval names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub candidate_digest: Option<String>,
    /// candidateStage says what the candidate does meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate_stage: Option<CandidateStage>,
    /// candidatePercent of the namespaces are decided by the candidate, in stage Percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate_percent: Option<i32>,
    /// requiredApprovals is how many approvals the revisions that decide ask for: the next one needs as many at the least, and
    /// the policy can't be deleted while it isn't 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_approvals: Option<i32>,
    /// halted is a revision that was taken back, and why. It isn't tried again until the policy is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<Halted>,
    /// errors are what keeps the policy, as it is written, from becoming a revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub errors: Vec<PolicyError>,
    /// replicas are the webhooks that are alive, and what each has loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 64))]
    pub replicas: Vec<ReplicaStatus>,
    /// shadow counts where the candidate and the active revision differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// revisions that are kept, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 128))]
    pub revisions: Vec<RevisionStatus>,
}

/// What a candidate does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CandidateStage {
    /// It waits for approvals and decides nothing.
    Pending,
    /// The webhooks load it; it decides nothing.
    Loading,
    /// It is evaluated after the answer and decides nothing.
    Shadow,
    /// It decides for some namespaces.
    Percent,
}

/// A revision that was taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Halted {
    /// revision that was taken back.
    #[schemars(length(max = 63))]
    pub revision: String,
    /// generation of the policy at that time.
    pub generation: i64,
    /// message says why.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Something that is wrong with a policy, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyError {
    /// field of the spec, such as `spec.rego`.
    #[schemars(length(max = 253))]
    pub field: String,
    /// line in the field, counted from 1; absent where the error is not at a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<i32>,
    /// column in the line, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<i32>,
    /// message says what is wrong and what would be right.
    #[schemars(length(max = 2048))]
    pub message: String,
}

/// A webhook that is alive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// name of its Pod.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// revision that it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub revision: Option<String>,
    /// ready tells whether it has loaded the active revision and the candidate.
    pub ready: bool,
    /// message says what it couldn't load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// What one process of a replica has counted of the candidate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    /// process tells one start of the replica from another.
    #[schemars(length(max = 63))]
    pub process: String,
    /// counts of it.
    pub counts: Counts,
}

/// How often what was seen of a candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// evaluated requests.
    #[serde(default)]
    pub evaluated: i64,
    /// newlyDenied requests: the candidate objects, the active revision doesn't.
    #[serde(default)]
    pub newly_denied: i64,
    /// newlyAllowed requests: the active revision objects, the candidate doesn't.
    #[serde(default)]
    pub newly_allowed: i64,
    /// errors of the candidate.
    #[serde(default)]
    pub errors: i64,
    /// dropped requests: there was no time to evaluate them.
    #[serde(default)]
    pub dropped: i64,
}

/// Where a candidate and the active revision differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shadow {
    /// revision that was compared with the active one.
    #[schemars(length(max = 63))]
    pub revision: String,
    /// counts over all replicas.
    #[serde(default)]
    pub counts: Counts,
    /// counted is what each process of a replica has counted so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["process".into()]))]
    #[schemars(length(max = 64))]
    pub counted: Vec<Counted>,
    /// samples of differences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub samples: Vec<Sample>,
}

/// A request that two revisions judge differently.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// difference between the two.
    pub difference: Difference,
    /// namespace of the request.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// kind of the object.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// name of the object, if it has one yet.
    #[schemars(length(max = 253))]
    pub name: String,
    /// message of the revision that objects.
    #[schemars(length(max = 256))]
    pub message: String,
}

/// How two revisions differ over a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Difference {
    /// The candidate objects, the active revision doesn't.
    NewlyDenied,
    /// The active revision objects, the candidate doesn't.
    NewlyAllowed,
    /// The candidate could not be evaluated.
    Error,
}

/// A revision that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// name: the first twelve digits of its digest.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// number of the revision: the first one of a policy is 1.
    pub number: i64,
    /// author who wrote it, as the API server authenticated them.
    #[schemars(length(max = 253))]
    pub author: String,
    /// approvedBy are those who approved it, its author left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub approved_by: Vec<String>,
    /// created when it had passed its tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
}

/// The types of a TenantPolicy's conditions. Which reasons each has is told by [`PolicyConditionType::reasons`], and
/// explained in `docs/policies.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyConditionType {
    /// The policy as it is written is what every webhook does: it decides, or takes the part that `rollout` gives it.
    Ready,
    /// The policy as it is written compiles.
    Compiled,
    /// The policy as it is written passes its tests.
    Tested,
    /// The candidate, or else the active revision, has the approvals that it needs.
    Approved,
    /// A revision decides, on every webhook that is alive.
    Serving,
    /// Something is wrong though the last good revision decides.
    Degraded,
    /// The operator goes on by itself.
    Reconciling,
    /// Nothing will change until a person acts.
    Stalled,
}

/// Why a policy's condition is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyReason {
    /// It is so.
    AsWritten,
    /// The candidate takes the part that the rollout gives it.
    RollingOut,
    /// `spec.revision` holds the policy at an earlier revision.
    Pinned,
    /// The policy does not compile, or its parameters don't fit; `status.errors` says where.
    Invalid,
    /// A test fails; `status.errors` says which.
    TestsFailed,
    /// Approvals are missing.
    ApprovalsMissing,
    /// No revision was ever good enough to serve.
    NoRevision,
    /// A webhook has not loaded a revision yet.
    Loading,
    /// A webhook can't load a revision; the message says which and why.
    LoadFailed,
    /// No webhook is alive.
    NoReplica,
    /// The rollout was halted; `status.halted` says why.
    Halted,
    /// The cluster does not know a kind that the policy matches.
    UnknownKind,
    /// The policy keeps taking too long; what it should judge is refused meanwhile.
    CircuitOpen,
    /// An exception has ended.
    ExceptionEnded,
    /// `spec.revision` names a revision that is not kept.
    UnknownRevision,
    /// Nothing is wrong.
    Fine,
}

/// The reasons of one status of a policy's condition.
pub type PolicyReasons = (&'static str, &'static [PolicyReason]);

impl PolicyConditionType {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Ready,
        Self::Compiled,
        Self::Tested,
        Self::Approved,
        Self::Serving,
        Self::Degraded,
        Self::Reconciling,
        Self::Stalled,
    ];

    /// Each status that the condition may have, with the reasons that it may give.
    pub const fn reasons(self) -> &'static [PolicyReasons] {
        use PolicyReason::{
            ApprovalsMissing, AsWritten, CircuitOpen, ExceptionEnded, Fine, Halted, Invalid, LoadFailed,
            Loading, NoReplica, NoRevision, Pinned, RollingOut, TestsFailed, UnknownKind, UnknownRevision,
        };
        match self {
            Self::Ready => &[
                ("True", &[AsWritten, RollingOut, Pinned]),
                (
                    "False",
                    &[
                        Invalid,
                        TestsFailed,
                        ApprovalsMissing,
                        Loading,
                        LoadFailed,
                        NoReplica,
                        Halted,
                        UnknownKind,
                        UnknownRevision,
                    ],
                ),
            ],
            Self::Compiled => &[("True", &[AsWritten]), ("False", &[Invalid])],
            Self::Tested => &[
                ("True", &[AsWritten]),
                ("False", &[TestsFailed]),
                ("Unknown", &[Invalid]),
            ],
            Self::Approved => &[
                ("True", &[AsWritten]),
                ("False", &[ApprovalsMissing]),
                ("Unknown", &[NoRevision]),
            ],
            Self::Serving => &[
                ("True", &[AsWritten]),
                (
                    "False",
                    &[NoRevision, Loading, LoadFailed, NoReplica, UnknownKind],
                ),
            ],
            Self::Degraded => &[
                (
                    "True",
                    &[
                        Invalid,
                        TestsFailed,
                        LoadFailed,
                        Halted,
                        UnknownKind,
                        CircuitOpen,
                        ExceptionEnded,
                    ],
                ),
                ("False", &[Fine]),
            ],
            Self::Reconciling => &[("True", &[Loading, NoReplica]), ("False", &[Fine])],
            Self::Stalled => &[
                (
                    "True",
                    &[
                        Invalid,
                        TestsFailed,
                        ApprovalsMissing,
                        LoadFailed,
                        Halted,
                        UnknownKind,
                        UnknownRevision,
                    ],
                ),
                ("False", &[Fine]),
            ],
        }
    }
}

impl PolicyReason {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::AsWritten,
        Self::RollingOut,
        Self::Pinned,
        Self::Invalid,
        Self::TestsFailed,
        Self::ApprovalsMissing,
        Self::NoRevision,
        Self::Loading,
        Self::LoadFailed,
        Self::NoReplica,
        Self::Halted,
        Self::UnknownKind,
        Self::CircuitOpen,
        Self::ExceptionEnded,
        Self::UnknownRevision,
        Self::Fine,
    ];
}

impl fmt::Display for PolicyConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for PolicyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

//! The TenantPolicy: rules in Rego for some tenants.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::TenantPolicyStatus;

/// Rules in Rego that requests of some tenants have to meet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "bailiwick.dev",
    version = "v1alpha1",
    kind = "TenantPolicy",
    plural = "tenantpolicies",
    shortname = "tnp",
    category = "bailiwick",
    status = "TenantPolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "TenantPolicy is a set of rules in Rego for some tenants. A change of it serves once it compiles, passes its tests, is approved and is loaded by every webhook; until then the last good revision does.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("metadata.name must be at most 63 characters"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label: lower case letters, digits and '-', beginning and ending with a letter or digit"),
    printcolumn(name = "Enforcement", type_ = "string", json_path = ".spec.enforcement"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Active", type_ = "string", json_path = ".status.activeRevision"),
    printcolumn(name = "Candidate", type_ = "string", json_path = ".status.candidateRevision"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.tenants) != has(self.tenantSelector)")
        .message("exactly one of tenants and tenantSelector must be set; to have the policy for all tenants write 'tenantSelector: {}'"),
    validation = Rule::new("has(self.rego) != has(self.pack)")
        .message("exactly one of rego and pack must be set"),
    validation = Rule::new("has(self.rego) || (!has(self.libs) && !has(self.regoVersion))")
        .message("libs and regoVersion belong to rego; a pack brings its own"),
    validation = Rule::new("has(self.pack) || has(self.match)")
        .message("match must be set with rego: it says which requests the policy judges")
)]
pub struct TenantPolicySpec {
    /// tenants that the policy is for, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 40)))]
    pub tenants: Option<Vec<String>>,
    /// tenantSelector chooses the tenants that the policy is for by the labels of their Tenant objects. An empty one
    /// chooses all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_selector: Option<LabelSelector>,
    /// match says which requests are judged. A pack brings its own, which this replaces.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub match_: Option<Match>,
    /// enforcement says what becomes of a violation. Default: Deny.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// parameters are what the policy reads as `data.parameters`, or `input.parameters` in Gatekeeper's convention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_object")]
    pub parameters: Option<Map<String, Value>>,
    /// rego is the source of the policy: `package bailiwick` with `deny` or `warn`, a ConstraintTemplate's with
    /// `violation`, or conftest's `package main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262_144))]
    pub rego: Option<String>,
    /// libs are sources that rego imports, each with a package of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 262_144)))]
    pub libs: Option<Vec<String>>,
    /// regoVersion is the dialect of rego and libs: v1 with `if` and `contains`, the default, or v0 as Gatekeeper writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rego_version: Option<RegoVersion>,
    /// pack is a policy that Bailiwick ships, instead of rego.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackRef>,
    /// tests must pass before a revision may serve. Rules of rego and libs whose names begin with `test_` are tests, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tests: Vec<PolicyTest>,
    /// limits of one evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// rollout says how a new revision comes to decide. Default: All.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// approvals that a revision needs before it may decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Approvals>,
    /// exceptions let single namespaces be, until a day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 64))]
    pub exceptions: Vec<Exception>,
    /// revision goes back to a revision that is still kept, by its name in `kubectl bailiwick policy history`. While it
    /// is set, changes of the policy wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{12}$"))]
    pub revision: Option<String>,
    /// revisionHistoryLimit is how many revisions are kept beside those that are in use. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub revision_history_limit: Option<i32>,
}

/// Which requests a policy judges.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// operations that are judged. Default: CREATE and UPDATE.
    #[serde(default = "writes", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 4))]
    pub operations: Vec<MatchOperation>,
    /// resources that are judged, by the kinds of their objects. Subresources that take an object of the kind are
    /// judged with it (such as pods/ephemeralcontainers), but never status.
    #[schemars(length(min = 1, max = 32))]
    pub resources: Vec<MatchResource>,
    /// namespaceSelector chooses among the tenants' namespaces by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
}

/// Some kinds of some API groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MatchResource {
    /// groups of the API; "" is the core group.
    #[schemars(length(min = 1, max = 16), inner(length(max = 253), regex(pattern = r"^[a-z0-9.-]*$")))]
    pub groups: Vec<String>,
    /// kinds of objects, such as Pod.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 63), regex(pattern = r"^[A-Z][A-Za-z0-9]*$")))]
    pub kinds: Vec<String>,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum MatchOperation {
    /// A new object.
    Create,
    /// A changed object.
    Update,
    /// A deletion.
    Delete,
    /// A connection, such as exec.
    Connect,
}

/// What becomes of a violation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// It is written to the audit log of the API server and counted.
    Audit,
    /// The request passes with a warning.
    Warn,
    /// The request is refused. The default.
    #[default]
    Deny,
}

/// A dialect of Rego.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RegoVersion {
    /// With `if` and `contains`, as OPA 1.0 reads it. The default.
    #[default]
    V1,
    /// As OPA read it before 1.0, and Gatekeeper by default.
    V0,
}

/// A pack by name and version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PackRef {
    /// name of the pack.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// version of the pack, as in its pack.yaml.
    #[schemars(length(min = 1, max = 32))]
    pub version: String,
}

/// One request and what the policy says of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTest {
    /// name, as it is told when the test fails.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// operation of the request. Default: CREATE, or UPDATE where there is an oldObject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<MatchOperation>,
    /// object as it would become.
    #[schemars(schema_with = "free_object")]
    pub object: Map<String, Value>,
    /// oldObject as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_object")]
    pub old_object: Option<Map<String, Value>>,
    /// parameters instead of the policy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_object")]
    pub parameters: Option<Map<String, Value>>,
    /// expect is what must come out.
    pub expect: Expectation,
    /// message is a text that a violation must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub message: Option<String>,
}

/// What a test expects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Expectation {
    /// No violation at all.
    #[default]
    Allow,
    /// A warning (from `warn`) and no denial.
    Warn,
    /// A denial (from `deny` or `violation`), whatever the enforcement makes of it.
    Deny,
}

/// Limits of one evaluation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// evaluationMilliseconds is the longest time of one evaluation. What takes longer counts as a violation. Default: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub evaluation_milliseconds: Option<i32>,
}

/// How a new revision comes to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.mode) && self.mode == 'Percent' ? has(self.percent) : !has(self.percent)")
        .message("percent must be set with mode Percent, and only then")
)]
pub struct Rollout {
    /// mode of the rollout. Default: All.
    #[serde(default)]
    pub mode: RolloutMode,
    /// percent of the namespaces that the new revision decides for, by a stable hash of their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i32>,
    /// maxErrors is how many evaluations of the new revision may fail in Shadow and Percent; one more halts the rollout.
    /// Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_errors: Option<i32>,
    /// maxNewlyDenied is how many requests the new revision may refuse, in Shadow and Percent, that the active one lets
    /// pass; one more halts the rollout. Without it there is no such limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_newly_denied: Option<i32>,
}

/// The mode of a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutMode {
    /// The new revision is evaluated after the answer and decides nothing; differences are counted in status.
    Shadow,
    /// The new revision decides for some namespaces, the active one for the others.
    Percent,
    /// The new revision becomes the active one as soon as every webhook has loaded it. The default.
    #[default]
    All,
}

/// Approvals that a revision needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approvals {
    /// required is how many people other than the author must approve a revision. What the active revision requires
    /// holds for its successor, too.
    #[schemars(range(min = 0, max = 8))]
    pub required: i32,
}

/// A namespace that a policy lets be, until a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exception {
    /// name of the exception.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// namespaces by exact name.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")))]
    pub namespaces: Vec<String>,
    /// objects by exact name. Without it: all objects of the namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.:a-z0-9]*[a-z0-9])?$")))]
    pub objects: Option<Vec<String>>,
    /// until is when the exception ends.
    pub until: Time,
    /// reason why it is there.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// owner who answers for it.
    #[schemars(length(min = 1, max = 253))]
    pub owner: String,
}

/// What a person approved. The API server sees to it that nobody approves in another's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "bailiwick.dev",
    version = "v1alpha1",
    kind = "PolicyApproval",
    shortname = "tnpa",
    category = "bailiwick",
    derive = "PartialEq",
    doc = "PolicyApproval says that a person approved one revision of a TenantPolicy. It can't be changed.",
    validation = Rule::new("self.spec == oldSelf.spec").message("spec can't be changed: delete this approval and create another"),
    printcolumn(name = "Policy", type_ = "string", json_path = ".spec.policy"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".spec.digest"),
    printcolumn(name = "Approver", type_ = "string", json_path = ".spec.approver"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct PolicyApprovalSpec {
    /// policy that the revision is of.
    #[schemars(length(min = 1, max = 63))]
    pub policy: String,
    /// digest of the revision that is approved, which the status of the policy shows as candidateDigest.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: String,
    /// approver is the user name of who creates this object. The API server fills it in and refuses any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub approver: Option<String>,
}

fn writes() -> Vec<MatchOperation> {
    vec![MatchOperation::Create, MatchOperation::Update]
}

/// An object whose members nobody checks here.
fn free_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

//! Version `v1alpha1` of group `bailiwick.dev`.

mod index;
mod placement;
mod policy;
mod policy_status;
mod quantity;
mod status;
mod tenant;
mod workloads;

pub use index::{
    Ambiguous, IndexedPlacement, OwnKeys, Platform, PrefixClaim, TenancyIndex, TenancyIndexSpec,
};
pub use placement::{Placement, PlacementException};
pub use policy::{
    Approvals, Enforcement, Exception, Expectation, Limits, Match, MatchOperation, MatchResource, PackRef,
    PolicyApproval, PolicyApprovalSpec, PolicyTest, RegoVersion, Rollout, RolloutMode, TenantPolicy,
    TenantPolicySpec,
};
pub use policy_status::{
    CandidateStage, Counted, Counts, Difference, Halted, PolicyConditionType, PolicyError, PolicyReason,
    PolicyReasons, ReplicaStatus, RevisionStatus, Sample, Shadow, TenantPolicyStatus,
};
pub use quantity::{Quantity, ResourceList};
pub use status::{
    ConditionType, NamespaceOrigin, NamespaceStatus, QuotaStatus, Reason, Reasons, TenantStatus,
};
pub use tenant::{
    Access, DeclaredNamespace, DeletionPolicy, Egress, Identities, Ingress, LimitItem, LimitType, Namespaces,
    Network, PodLabel, PodSecurity, PodSecurityLevel, Priority, Quota, SelfService, Subject, SubjectKind,
    Tenant, TenantSpec,
};
pub use workloads::{AllowedToleration, Services, TaintEffect, Workloads};

//! Version `v1alpha1` of group `bailiwick.dev`.

mod index;
mod quantity;
mod status;
mod tenant;

pub use index::{Ambiguous, Platform, PrefixClaim, TenancyIndex, TenancyIndexSpec};
pub use quantity::{Quantity, ResourceList};
pub use status::{ConditionType, NamespaceOrigin, NamespaceStatus, Reason, Reasons, TenantStatus};
pub use tenant::{
    Access, DeclaredNamespace, DeletionPolicy, Egress, Identities, Ingress, LimitItem, LimitType, Namespaces,
    Network, PodLabel, PodSecurity, PodSecurityLevel, Quota, Subject, SubjectKind, Tenant, TenantSpec,
};

//! What a quota over all namespaces of a tenant may limit.
//!
//! It becomes ResourceQuotas whose limits Bailiwick divides. What the API server would refuse, or would take and never
//! enforce, keeps all of the tenant's namespaces closed: its author learns it here.

use bailiwick_crds::v1alpha1::{Quantity, ResourceList};

use super::Problems;
use crate::quantity::Amount;
use crate::quota::is_whole;

/// What Kubernetes counts under a name without a domain.
const NAMES: [&str; 18] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "requests.storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "services",
    "services.loadbalancers",
    "services.nodeports",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
];

/// What Bailiwick itself puts into each namespace.
const OURS: [&str; 5] = [
    "resourcequotas",
    "count/resourcequotas",
    "count/limitranges",
    "count/networkpolicies.networking.k8s.io",
    "count/rolebindings.rbac.authorization.k8s.io",
];

pub(super) fn check(resources: &ResourceList, problems: &mut Problems) {
    for (name, Quantity(text)) in resources {
        let field = format!("spec.quota.tenant['{name}']");
        let is_known = NAMES.contains(&name.as_str())
            || name.contains('/')
            || name.starts_with("hugepages-")
            || name.starts_with("requests.hugepages-");
        if OURS.contains(&name.as_str()) {
            problems.add(
                &field,
                format!("'{name}', of which the operator's own objects are some"),
                "any other resource",
                "remove it: a tenant that used it up would keep its own isolation from being put back",
            );
        } else if !is_known {
            problems.add(
                &field,
                format!("'{name}', which Kubernetes does not count"),
                format!(
                    "{}, count/<resource>.<group>, or a name with a domain",
                    NAMES.join(", ")
                ),
                "correct the name",
            );
        }
        if Amount::parse(text).is_ok_and(|it| !is_whole(name, it)) {
            problems.add(
                &field,
                format!("'{text}'"),
                "a whole number, or for cpu a whole number of thousandths",
                "round it",
            );
        }
    }
}

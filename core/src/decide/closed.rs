//! Nothing is made in a namespace that its tenant's operator has not taken yet.
//!
//! The native policy holds this for every resource; here it is said of those that the webhook and `check` see.

use super::suspension::is_of_the_cluster;
use crate::finding::{Finding, RuleId};
use crate::review::{Operation, Request};
use crate::snapshot::Snapshot;

/// By the namespace's labels: the tenant's, which its maker wrote, without the one that the operator adds when it takes it.
pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>) -> Option<Finding> {
    let namespace = &*request.namespace;
    let is_itself = request.resource.group.is_empty() && request.resource.resource == "namespaces";
    let cleans_up = request.operation == Operation::Delete;
    if is_itself || cleans_up || is_of_the_cluster(request) || !snapshot.is_waiting(namespace) {
        return None;
    }
    let tenant = snapshot.tenant_of(namespace).unwrap_or("its tenant");
    Some(Finding::new(
        RuleId::NamespaceClosed,
        "metadata.namespace",
        format!("'{namespace}', which tenant '{tenant}' has not taken"),
        "nothing, until the Bailiwick operator has isolated it and opened it to the tenant",
        format!(
            "try again in a moment; if it goes on, condition NamespacesReady of Tenant '{tenant}' says why"
        ),
    ))
}

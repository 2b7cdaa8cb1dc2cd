//! What lives in the namespaces of a suspended tenant may be read only.
//!
//! The native policy holds this for every resource; here it is said of those that the webhook and `check` see.

use bailiwick_crds::labels;

use super::{API_SERVER, CONTROLLER_MANAGER, CONTROLLERS};
use crate::finding::{Finding, RuleId};
use crate::review::{Operation, Request};
use crate::snapshot::Snapshot;

const SCHEDULER: &str = "system:kube-scheduler";
const NODES: &str = "system:nodes";

/// By the namespace's label, which the operator sets in all of a suspended tenant's.
pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>) -> Option<Finding> {
    let namespace = &*request.namespace;
    let facts = snapshot.namespaces.get(namespace)?;
    facts.labels.get(labels::SUSPENDED)?;
    if keeps_running(request) {
        return None;
    }
    let tenant = snapshot.tenant_of(namespace).unwrap_or("its tenant");
    Some(Finding::new(
        RuleId::Suspended,
        "metadata.namespace",
        format!("'{namespace}' of tenant '{tenant}', which is suspended"),
        "reading, and what keeps alive what runs",
        format!("ask the platform team, which sets spec.suspended of Tenant '{tenant}' back to false"),
    ))
}

/// What goes on, so that nothing that runs is stopped: the control plane and nodes, and the signs of life of what runs. Whom an
/// eviction may come from, who may cordon a node, only the API server knows.
fn keeps_running(request: &Request<'_>) -> bool {
    let of_life = match (&*request.resource.group, &*request.resource_path()) {
        // A Namespace is not in itself.
        ("", "namespaces" | "namespaces/status" | "namespaces/finalize" | "pods/eviction")
        | ("authorization.k8s.io", "localsubjectaccessreviews") => true,
        ("" | "events.k8s.io", "events") => {
            matches!(request.operation, Operation::Create | Operation::Update)
        }
        ("coordination.k8s.io", "leases") => request.operation == Operation::Update,
        _ => false,
    };
    is_of_the_cluster(request) || of_life
}

/// Whether the control plane or a node asks.
pub(super) fn is_of_the_cluster(request: &Request<'_>) -> bool {
    let user = &*request.user_info.username;
    let is_control_plane =
        matches!(user, API_SERVER | CONTROLLER_MANAGER | SCHEDULER) || user.starts_with(CONTROLLERS);
    is_control_plane || request.user_info.groups.iter().flatten().any(|it| *it == NODES)
}

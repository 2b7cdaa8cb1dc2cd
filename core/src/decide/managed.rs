//! Managed objects are written by the operator only.

use bailiwick_crds::labels;

use super::{
    API_SERVER, CONTROLLER_MANAGER, CONTROLLERS, Change, Findings, NAMESPACE_CONTROLLER, Stop, exists, shown,
};
use crate::finding::{Finding, RuleId};
use crate::review::{Operation, Request};
use crate::snapshot::Snapshot;

/// Of whatever kind, as long as it carries the label before or after.
pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>, change: &Change<'_>) -> Findings {
    let (old, new) = (
        change.old_label(labels::MANAGED_BY),
        change.new_label(labels::MANAGED_BY),
    );
    if old.is_none() && new.is_none() || is_report(request, change) || is_cleanup(snapshot, request)? {
        return Ok(Vec::new());
    }
    let (found, fix) = if old.is_none() {
        (
            format!("an object labelled {}", shown(new)),
            "leave the label out: it marks what the operator made".to_owned(),
        )
    } else {
        let tenant = snapshot.tenant_of(&request.namespace).unwrap_or("its tenant");
        (
            format!("'{}' is managed by {}", change.name(), shown(old)),
            format!("change Tenant '{tenant}' instead: the operator follows it"),
        )
    };
    Ok(vec![Finding::new(
        RuleId::Managed,
        format!("metadata.labels['{}']", labels::MANAGED_BY),
        found,
        "changes by the Bailiwick operator only",
        fix,
    )])
}

/// The control plane reports in `status`: a ResourceQuota whose usage can't be written closes its namespace.
fn is_report(request: &Request<'_>, change: &Change<'_>) -> bool {
    let user = &*request.user_info.username;
    let is_status = request.sub_resource.as_deref() == Some("status");
    let is_control_plane = user == API_SERVER || user == CONTROLLER_MANAGER || user.starts_with(CONTROLLERS);
    is_status
        && is_control_plane
        && request.operation == Operation::Update
        && change.old.as_ref().map(|it| &it.metadata) == change.new.as_ref().map(|it| &it.metadata)
}

/// The namespace controller empties a namespace that is ending. Not the garbage collector, which a forged
/// ownerReference would make delete for others.
fn is_cleanup(snapshot: &Snapshot, request: &Request<'_>) -> Result<bool, Stop> {
    let user = &*request.user_info.username;
    let is_controller = matches!(user, CONTROLLER_MANAGER | NAMESPACE_CONTROLLER);
    if request.operation != Operation::Delete || !is_controller || request.namespace.is_empty() {
        return Ok(false);
    }
    exists(snapshot, &request.namespace)?;
    Ok(snapshot
        .namespaces
        .get(&*request.namespace)
        .is_some_and(|it| it.terminating))
}

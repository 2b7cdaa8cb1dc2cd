//! Managed objects are written by the operator only.

use bailiwick_crds::labels;

use super::{Change, Findings, shown};
use crate::finding::{Finding, RuleId};
use crate::review::{Operation, Request};
use crate::snapshot::Snapshot;

/// The kinds that the operator manages inside namespaces.
const KINDS: [(&str, &str); 4] = [
    ("networking.k8s.io", "networkpolicies"),
    ("", "resourcequotas"),
    ("", "limitranges"),
    ("rbac.authorization.k8s.io", "rolebindings"),
];

pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>) -> Findings {
    let kind = (&*request.resource.group, &*request.resource.resource);
    let is_status = request.sub_resource.as_deref().is_some_and(|it| !it.is_empty());
    if !KINDS.contains(&kind) || is_status {
        return Ok(Vec::new());
    }
    let change = Change::of(request)?;
    let (old, new) = (
        change.old_label(labels::MANAGED_BY),
        change.new_label(labels::MANAGED_BY),
    );
    if old.is_none() && new.is_none() {
        return Ok(Vec::new());
    }
    let object = change.old.as_ref().or(change.new.as_ref());
    let name = object.map(|it| it.metadata.name.as_ref()).unwrap_or_default();
    let (found, fix) = match request.operation {
        Operation::Create => (
            format!("a new object labelled {}", shown(new)),
            "leave the label out: it marks what the operator made".to_owned(),
        ),
        _ => {
            let tenant = snapshot.tenant_of(&request.namespace).unwrap_or("its tenant");
            (
                format!("'{name}' is managed by {}", shown(old.or(new))),
                format!("change Tenant '{tenant}' instead: the operator follows it"),
            )
        }
    };
    Ok(vec![Finding::new(
        RuleId::Managed,
        format!("metadata.labels['{}']", labels::MANAGED_BY),
        found,
        "changes by the Bailiwick operator only",
        fix,
    )])
}

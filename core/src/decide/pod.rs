//! A Pod carries its own Namespace's tenant label.

use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::PodLabel;

use super::{Change, Findings, exists, shown};
use crate::finding::{Finding, RuleId};
use crate::review::{Operation, Request};
use crate::snapshot::Snapshot;

fn field() -> String {
    format!("metadata.labels['{}']", labels::TENANT)
}

/// Pods and their subresources: the label is the namespace's, or it does not change.
pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>, change: &Change<'_>) -> Findings {
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return Ok(Vec::new());
    }
    let namespace = &*request.namespace;
    if !exists(snapshot, namespace)? {
        return Ok(vec![Finding::new(
            RuleId::Undecided,
            "metadata.namespace",
            format!("Namespace '{namespace}' does not exist"),
            "Pods in a Namespace that exists",
            "try again once it does",
        )]);
    }
    let (old, new) = (change.old_label(labels::TENANT), change.new_label(labels::TENANT));
    if request.operation == Operation::Update && old == new {
        return Ok(Vec::new());
    }
    let tenant = snapshot.tenant_of(namespace);
    let mode = snapshot
        .namespaces
        .get(namespace)
        .and_then(|it| it.labels.get(labels::POD_LABEL))
        .map(String::as_str);
    let may_lack_it = mode == Some(pod_label_text(PodLabel::Verify)) && old.is_none();
    let finding = match (tenant, new) {
        (Some(tenant), Some(label)) if label == tenant => return Ok(Vec::new()),
        (None, None) => return Ok(Vec::new()),
        (Some(_), None) if may_lack_it => return Ok(Vec::new()),
        (Some(tenant), found) => Finding::new(
            RuleId::PodLabel,
            field(),
            shown(found),
            format!("'{tenant}', the tenant of Namespace '{namespace}'"),
            match found {
                Some(_) => format!("set the label to '{tenant}', or leave it out where it is stamped"),
                None => format!("add the label with the value '{tenant}'"),
            },
        ),
        (None, found) => Finding::new(
            RuleId::PodLabel,
            field(),
            shown(found),
            format!("no such label: Namespace '{namespace}' belongs to no tenant"),
            "remove the label, or let a Tenant declare the Namespace",
        ),
    };
    Ok(vec![finding])
}

/// A Binding's labels overwrite its Pod's, so it carries none of ours.
pub(super) fn decide_binding(change: &Change<'_>) -> Vec<Finding> {
    let label = change.new_label(labels::TENANT);
    label
        .map(|it| {
            Finding::new(
                RuleId::BindingLabel,
                field(),
                format!("'{it}'"),
                "no tenant label on a Binding: it would overwrite the Pod's",
                "remove the label from the Binding",
            )
        })
        .into_iter()
        .collect()
}

/// The mode as the label on the Namespace spells it.
pub(crate) fn pod_label_text(mode: PodLabel) -> &'static str {
    match mode {
        PodLabel::Stamp => "Stamp",
        PodLabel::Require => "Require",
        PodLabel::Verify => "Verify",
    }
}

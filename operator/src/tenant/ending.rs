//! Namespaces that are being deleted. Nothing can be made in them any more, but whoever was let in is there until they are
//! gone, which a finalizer or a Pod's grace period can put off for long.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_core::ownership::NamespaceFacts;
use bailiwick_core::plan::{Kind, Plan, diff};
use bailiwick_crds::labels;

use crate::context::Context;
use crate::error::Error;

/// Keeps their labels, the suspension among them, and takes away each RoleBinding that is not as planned.
pub(super) async fn narrow(
    plan: &Plan,
    facts: &BTreeMap<String, NamespaceFacts>,
    context: &Context,
) -> Result<(), Error> {
    for (name, plan) in &plan.ending {
        let ours = |it: &&NamespaceFacts| it.labels.get(labels::TENANT) == plan.labels.get(labels::TENANT);
        let Some(facts) = facts.get(name).filter(ours) else {
            continue;
        };
        for kind in Kind::ALL.into_iter().filter(|it| it.is_door()) {
            for door in context
                .observed
                .managed_in(kind, &BTreeSet::from([name.as_str()]))
            {
                let planned = plan
                    .doors
                    .iter()
                    .find(|it| it.kind() == kind && it.name() == door.name);
                let found = context.observed.managed(kind, name, &door.name);
                let is_so = planned.zip(found).is_some_and(|(planned, found)| {
                    diff::object(kind, &planned.to_value(), &found).is_empty()
                });
                if !is_so {
                    context.applier.delete(&door).await?;
                }
            }
        }
        let diff = diff::namespace(plan, facts);
        if !diff.is_empty() {
            context
                .applier
                .label_namespace(name, &facts.uid, plan, &diff)
                .await?;
        }
    }
    Ok(())
}

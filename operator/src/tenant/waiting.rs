//! Tells of namespaces that were made by self-service and are not taken.

use std::collections::BTreeMap;

use bailiwick_core::ownership::{Claim, NamespaceFacts};
use bailiwick_core::plan::{Plan, diff};
use bailiwick_crds::v1alpha1::Tenant;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use kube::runtime::events::{Event, EventType};

use crate::context::Context;

/// Tells it once of each: when it is about to be closed.
pub(super) async fn tell(
    tenant: &Tenant,
    claims: &BTreeMap<String, Claim>,
    plan: &Plan,
    facts: &BTreeMap<String, NamespaceFacts>,
    context: &Context,
) {
    for (name, claim) in claims {
        let Claim::Wait(why) = claim else { continue };
        let (Some(plan), Some(facts)) = (plan.namespaces.get(name), facts.get(name)) else {
            continue;
        };
        if diff::namespace(plan, facts).is_empty() {
            continue;
        }
        tracing::warn!(tenant = tenant.metadata.name, namespace = name, %why, "A Namespace made by self-service is not taken");
        let event = Event {
            type_: EventType::Warning,
            reason: "NamespaceWaiting".to_owned(),
            note: Some(format!(
                "Namespace {name} was made by self-service and is not taken: {why}; it stays closed until that changes"
            )),
            action: "Close".to_owned(),
            secondary: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Namespace".to_owned()),
                name: Some(name.clone()),
                uid: Some(facts.uid.clone()),
                ..ObjectReference::default()
            }),
        };
        if let Err(error) = context.recorder.publish(&event, &tenant.object_ref(&())).await {
            tracing::warn!(%error, "An event was not recorded");
        }
    }
}

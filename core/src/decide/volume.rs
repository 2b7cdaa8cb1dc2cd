//! PersistentVolumes: what a tenant's claim is bound to lies within the regions of its Tenant's placement.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Findings, object, old_object};
use crate::finding::{Finding, RuleId, some_of};
use crate::placement::{Placed, Term, Terms, VolumeFacts};
use crate::review::{Operation, Request};
use crate::snapshot::Snapshot;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Volume {
    metadata: Annotated,
    spec: Option<Spec>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotated {
    annotations: Option<BTreeMap<String, String>>,
}

/// Set by whoever made a volume because a claim asked for one.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    claim_ref: Option<Claim>,
    node_affinity: Option<NodeAffinity>,
    storage_class_name: Option<String>,
}

#[derive(Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Claim {
    namespace: Option<String>,
    name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeAffinity {
    required: Option<Terms>,
}

impl Volume {
    fn is_provisioned(&self) -> bool {
        let annotations = self.metadata.annotations.as_ref();
        annotations.is_some_and(|it| it.contains_key(PROVISIONED_BY))
    }

    fn read(self) -> (Claim, VolumeFacts) {
        let spec = self.spec.unwrap_or_default();
        let required = spec.node_affinity.and_then(|it| it.required);
        let facts = VolumeFacts {
            storage_class: spec.storage_class_name.unwrap_or_default(),
            terms: required.unwrap_or_default().node_selector_terms,
        };
        (spec.claim_ref.unwrap_or_default(), facts)
    }
}

/// A volume that is bound to a tenant's claim, or kept for one.
pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>) -> Findings {
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return Ok(Vec::new());
    }
    let new: Volume = object(request)?;
    // It is there already, and nobody would delete it if it were not on record. Its claim is not bound to it.
    if request.operation == Operation::Create && new.is_provisioned() {
        return Ok(Vec::new());
    }
    let new = new.read();
    if request.operation == Operation::Update && old_object::<Volume>(request)?.read() == new {
        return Ok(Vec::new());
    }
    let (claim, facts) = new;
    let namespace = claim.namespace.unwrap_or_default();
    let (Some(placed), Some(tenant)) = (
        Placed::in_namespace(snapshot, &namespace),
        snapshot.tenant_of(&namespace),
    ) else {
        return Ok(Vec::new());
    };
    if placed.holds(&facts) {
        return Ok(Vec::new());
    }
    let of = format!("for claim '{namespace}/{}'", claim.name.unwrap_or_default());
    Ok(vec![outside("spec.nodeAffinity", &of, &facts, &placed, tenant)])
}

/// A volume that is not within.
pub(super) fn outside(
    field: &str,
    what: &str,
    facts: &VolumeFacts,
    placed: &Placed,
    tenant: &str,
) -> Finding {
    let terms: Vec<String> = facts.terms.iter().map(shown).collect();
    let lies = match terms.as_slice() {
        [] => "which can be anywhere".to_owned(),
        _ => format!("which lies where {}", terms.join(" or ")),
    };
    Finding::new(
        RuleId::VolumeRegion,
        field,
        format!("{what}, {lies}"),
        allowed(placed, tenant),
        format!(
            "take a volume whose nodeAffinity says so, by a StorageClass that has no others; or let the platform add the class to \
             spec.placement.exceptions of Tenant '{tenant}'"
        ),
    )
}

/// What is allowed, for a message.
pub(super) fn allowed(placed: &Placed, tenant: &str) -> String {
    format!(
        "data within {}: spec.placement.regions of Tenant '{tenant}'",
        some_of(placed.within.regions())
    )
}

/// Which nodes a term asks for, for a message.
pub(super) fn shown(term: &Term) -> String {
    let all = term.match_expressions.iter().chain(&term.match_fields);
    let texts: Vec<String> = all
        .map(|it| format!("{} {} {}", it.key, it.operator, some_of(&it.values)))
        .collect();
    texts.join(" and ")
}

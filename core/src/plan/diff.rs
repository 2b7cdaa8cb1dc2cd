//! What differs between an object as planned and as it is.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_crds::labels;
use serde_json::{Map, Value};

use super::{Kind, NamespacePlan};
use crate::ownership::NamespaceFacts;
use crate::quantity::Amount;

/// The paths at which a managed object differs from its plan; none when it is as planned.
///
/// Everything is compared but `status` and what the API server itself writes into `metadata`: a foreign label,
/// annotation, finalizer or ownerReference is a difference too.
pub fn object(kind: Kind, planned: &Value, observed: &Value) -> Vec<String> {
    let mut paths = BTreeSet::new();
    compare(
        "",
        &comparable(kind, planned),
        &comparable(kind, observed),
        &mut paths,
    );
    paths.into_iter().collect()
}

/// The metadata that the plan decides; the rest belongs to the API server.
const METADATA: [&str; 4] = ["labels", "annotations", "ownerReferences", "finalizers"];

fn comparable(kind: Kind, object: &Value) -> Value {
    let Value::Object(members) = object else {
        return Value::Null;
    };
    let mut kept = Map::new();
    for (name, value) in members {
        let value = match name.as_str() {
            "status" | "apiVersion" | "kind" => continue,
            "metadata" => Value::Object(
                METADATA
                    .iter()
                    .filter_map(|it| value.get(*it).map(|value| ((*it).to_owned(), value.clone())))
                    .collect(),
            ),
            _ => value.clone(),
        };
        let value = match kind {
            Kind::ResourceQuota | Kind::LimitRange if name == "spec" => quantities(value),
            _ => value,
        };
        kept.insert(name.clone(), value);
    }
    without_empty(Value::Object(kept))
}

/// Quantities are compared by value: `1Gi` and `1024Mi` are the same.
fn quantities(value: Value) -> Value {
    match value {
        Value::String(text) => match Amount::parse(&text) {
            Ok(amount) => Value::String(amount.to_string()),
            Err(_) => Value::String(text),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(quantities).collect()),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(key, value)| (key, quantities(value)))
                .collect(),
        ),
        other => other,
    }
}

/// `null`, `[]` and absent are one and the same to the API server, which stores none of them; so is `{}` in
/// metadata. An empty object elsewhere, such as a `podSelector` that selects everything, says something.
fn without_empty(value: Value) -> Value {
    let Value::Object(members) = value else {
        return value;
    };
    let kept = members.into_iter().filter_map(|(key, value)| {
        let value = if key == "metadata" {
            without_empty_objects(value)
        } else {
            value
        };
        let value = match value {
            Value::Array(items) => Value::Array(items.into_iter().map(without_empty).collect()),
            other => without_empty(other),
        };
        let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        (!is_empty).then_some((key, value))
    });
    Value::Object(kept.collect())
}

fn without_empty_objects(metadata: Value) -> Value {
    let Value::Object(members) = metadata else {
        return metadata;
    };
    Value::Object(
        members
            .into_iter()
            .filter(|(_, it)| !it.as_object().is_some_and(Map::is_empty))
            .collect(),
    )
}

/// Enough paths to tell what happened; a hostile object has millions.
const MAX_PATHS: usize = 16;

fn compare(path: &str, planned: &Value, observed: &Value, paths: &mut BTreeSet<String>) {
    if planned == observed || paths.len() >= MAX_PATHS {
        return;
    }
    match (planned, observed) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys()) {
                let below = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                compare(
                    &below,
                    a.get(key).unwrap_or(&Value::Null),
                    b.get(key).unwrap_or(&Value::Null),
                    paths,
                );
            }
        }
        _ => {
            paths.insert(path.to_owned());
        }
    }
}

/// What differs between a Namespace and its plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceDiff {
    /// Labels to set.
    pub set: BTreeMap<String, String>,
    /// Guarded labels to remove.
    pub remove: BTreeSet<String>,
    /// Whether ownerReferences have to go.
    pub remove_owner_references: bool,
}

impl NamespaceDiff {
    /// Whether the Namespace is as planned.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The paths that differ.
    pub fn paths(&self) -> Vec<String> {
        let labels = self
            .set
            .keys()
            .chain(&self.remove)
            .map(|it| format!("metadata.labels['{it}']"));
        let owners = self
            .remove_owner_references
            .then(|| "metadata.ownerReferences".to_owned());
        labels.chain(owners).collect()
    }
}

/// Compares a Namespace with its plan.
pub fn namespace(plan: &NamespacePlan, observed: &NamespaceFacts) -> NamespaceDiff {
    let set = plan
        .labels
        .iter()
        .filter(|(key, value)| observed.labels.get(*key) != Some(value));
    let remove = observed
        .labels
        .keys()
        .filter(|key| labels::is_guarded(key) && !plan.labels.contains_key(*key));
    NamespaceDiff {
        set: set.map(|(key, value)| (key.clone(), value.clone())).collect(),
        remove: remove.cloned().collect(),
        remove_owner_references: observed.owner_references,
    }
}

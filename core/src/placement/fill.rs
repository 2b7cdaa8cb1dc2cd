//! What the native policy `bailiwick-place-pod` fills in of a Pod, said once more for where there is no API server.

use serde_json::{Map, Value, json};

use super::{Placed, Proof, Term};

/// Fills in what a Pod's `spec` leaves open; what contradicts the placement stays, for a decision to refuse.
pub fn fill(spec: &mut Map<String, Value>, placed: &Placed) {
    if !placed.node_selector.is_empty()
        && let Some(selector) = member(spec, "nodeSelector", json!({})).as_object_mut()
    {
        for (key, value) in &placed.node_selector {
            selector.entry(key).or_insert_with(|| json!(value));
        }
    }
    if placed.within.regions().len() > 1 && !is_selected(spec, placed) {
        ask_for_region(spec, placed);
    }
    if !placed.tolerations.is_empty()
        && let Some(tolerations) = member(spec, "tolerations", json!([])).as_array_mut()
    {
        for it in &placed.tolerations {
            let operator = if it.value.is_some() { "Equal" } else { "Exists" };
            let mut toleration = json!({"key": it.key, "operator": operator});
            if let Some(toleration) = toleration.as_object_mut() {
                let value = it.value.as_ref().map(|it| ("value", json!(it)));
                let effect = it.effect.as_ref().map(|it| ("effect", json!(it)));
                let more = [value, effect].into_iter().flatten();
                toleration.extend(more.map(|(name, it)| (name.to_owned(), it)));
            }
            if !tolerations.iter().any(|other| is_same(other, &toleration)) {
                tolerations.push(toleration);
            }
        }
    }
}

/// A member, made if it isn't there.
fn member<'a>(object: &'a mut Map<String, Value>, name: &str, default: Value) -> &'a mut Value {
    let member = object.entry(name).or_insert(Value::Null);
    if member.is_null() {
        *member = default;
    }
    member
}

fn is_same(a: &Value, b: &Value) -> bool {
    let text = |of: &Value, name: &str, default: &'static str| {
        of.get(name)
            .and_then(Value::as_str)
            .filter(|it| !it.is_empty())
            .unwrap_or(default)
            .to_owned()
    };
    let all = |of: &Value| {
        [("key", ""), ("operator", "Equal"), ("value", ""), ("effect", "")]
            .map(|(name, it)| text(of, name, it))
    };
    all(a) == all(b)
}

fn is_selected(spec: &Map<String, Value>, placed: &Placed) -> bool {
    let selector = spec.get("nodeSelector").and_then(Value::as_object);
    let mut labels = selector.into_iter().flatten();
    labels.any(|(key, value)| {
        value
            .as_str()
            .is_some_and(|it| placed.within.label(key, it) == Proof::Inside)
    })
}

/// Each term of the node affinity that says nothing of the region asks for one of them.
fn ask_for_region(spec: &mut Map<String, Value>, placed: &Placed) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let one_of = json!({"key": super::REGION, "operator": "In", "values": placed.within.regions()});
    let mut node = member(spec, "affinity", json!({}));
    for name in ["nodeAffinity", REQUIRED] {
        let Some(object) = node.as_object_mut() else {
            return;
        };
        node = member(object, name, json!({}));
    }
    let Some(required) = node.as_object_mut() else {
        return;
    };
    let Some(terms) = member(required, "nodeSelectorTerms", json!([])).as_array_mut() else {
        return;
    };
    if terms.is_empty() {
        terms.push(json!({"matchExpressions": [one_of]}));
        return;
    }
    for term in terms {
        let read: Term = serde_json::from_value(term.clone()).unwrap_or_default();
        if placed.within.term(&read) == Proof::Nothing
            && let Some(term) = term.as_object_mut()
            && let Some(expressions) = member(term, "matchExpressions", json!([])).as_array_mut()
        {
            expressions.push(one_of.clone());
        }
    }
}

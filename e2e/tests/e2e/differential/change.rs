//! What a request changes, however it is sent.

use serde_json::{Value, json};

/// One change of what there is.
#[derive(Clone)]
pub(super) enum Change {
    Label(&'static str, Option<&'static str>),
    Annotation(&'static str, Option<&'static str>),
    Finalizers(&'static [&'static str]),
    Owner(&'static str),
    /// Of a Namespace's spec.
    Held(&'static [&'static str]),
    /// Members beside the metadata.
    Content(Value),
}

/// The changes as a patch that is merged. One that is applied takes nothing off.
pub(super) fn merge_patch(changes: &[Change], verb: &str) -> Value {
    let mut patch = json!({ "metadata": {} });
    for change in changes {
        let (map, key, value) = match change {
            Change::Label(key, value) => ("labels", key, value),
            Change::Annotation(key, value) => ("annotations", key, value),
            Change::Finalizers(all) => {
                patch["metadata"]["finalizers"] = json!(all);
                continue;
            }
            Change::Owner(name) => {
                patch["metadata"]["ownerReferences"] = json!([owner(name)]);
                continue;
            }
            Change::Held(all) => {
                patch["spec"] = json!({ "finalizers": all });
                continue;
            }
            Change::Content(content) => {
                merge(&mut patch, content);
                continue;
            }
        };
        if verb != "apply" || value.is_some() {
            patch["metadata"][map][*key] = json!(value);
        }
    }
    patch
}

/// The same as single operations.
pub(super) fn json_patch(changes: &[Change]) -> Value {
    let mut operations = Vec::new();
    let mut on_map = |map: &str, key: &str, value: Option<&str>| {
        let path = format!("/metadata/{map}/{}", key.replace('/', "~1"));
        operations.push(match value {
            Some(value) => json!({ "op": "add", "path": path, "value": value }),
            None => json!({ "op": "remove", "path": path }),
        });
    };
    for change in changes {
        match change {
            Change::Label(key, value) => on_map("labels", key, *value),
            Change::Annotation(key, value) => on_map("annotations", key, *value),
            _ => {}
        }
    }
    for change in changes {
        match change {
            Change::Finalizers(all) => {
                operations.push(json!({ "op": "add", "path": "/metadata/finalizers", "value": all }));
            }
            Change::Owner(name) => {
                operations.push(
                    json!({ "op": "add", "path": "/metadata/ownerReferences", "value": [owner(name)] }),
                );
            }
            Change::Held(all) => {
                operations.push(json!({ "op": "add", "path": "/spec/finalizers", "value": all }));
            }
            Change::Content(content) => {
                for (member, value) in content.as_object().into_iter().flatten() {
                    operations.push(json!({ "op": "add", "path": format!("/{member}"), "value": value }));
                }
            }
            Change::Label(..) | Change::Annotation(..) => {}
        }
    }
    json!(operations)
}

fn owner(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": "00000000-0000-0000-0000-000000000001" })
}

/// A JSON merge patch (RFC 7396).
pub(super) fn merge(into: &mut Value, patch: &Value) {
    let Some(members) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in members {
        if !value.is_null() {
            merge(&mut into[key], value);
        } else if let Some(members) = into.as_object_mut() {
            members.remove(key);
        }
    }
}

//! Ways to change a managed object that the API server accepts: nothing is skipped because it is nonsense.

use std::sync::LazyLock;

use serde_json::{Value, json};

/// What a mutation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    /// Gives a leaf another value.
    Change,
    /// Takes a member of an object away, or the first element of a list.
    Remove,
    /// Puts something where nothing is, or another element into a list.
    Add,
}

/// An object that was changed in one place.
pub(super) struct Mutation {
    pub(super) act: Act,
    /// The kind and a JSON pointer, with `*` for the place in a list.
    pub(super) path: String,
    pub(super) object: Value,
}

/// What only the API server may decide: it refuses every other value.
pub(super) const FIXED: [&str; 4] = [
    "RoleBinding/roleRef/apiGroup",
    "RoleBinding/roleRef/kind",
    "RoleBinding/roleRef/name",
    "RoleBinding/subjects/*/apiGroup",
];

/// Another value for a leaf: the end of its path, what its value has in it, and how many levels above it is replaced
/// because one leaf alone would be invalid. Whatever isn't here takes an `x` at its end.
static INSTEAD: LazyLock<Vec<(&str, &str, usize, Value)>> = LazyLock::new(|| {
    vec![
        ("/policyTypes/*", "Ingress", 0, json!("Egress")),
        ("/policyTypes/*", "Egress", 0, json!("Ingress")),
        ("/ports/*/protocol", "", 0, json!("SCTP")),
        ("/except/*", ":", 0, json!("2001:db8::/32")),
        ("/except/*", "", 0, json!("203.0.113.0/24")),
        // What is excepted has to lie within.
        ("/ipBlock/cidr", "", 1, json!({ "cidr": "203.0.113.0/24" })),
        ("/spec/hard/*", "", 0, json!("7")),
        ("/max/*", "", 0, json!("30Gi")),
        ("/min/cpu", "", 0, json!("50m")),
        ("/min/storage", "", 0, json!("1Mi")),
        ("/default/cpu", "", 0, json!("3")),
        ("/defaultRequest/cpu", "", 0, json!("500m")),
        ("/maxLimitRequestRatio/cpu", "", 0, json!("9")),
        ("/limits/*/type", "", 0, json!("example.com/other")),
        ("/subjects/*/kind", "User", 0, json!("Group")),
        ("/subjects/*/kind", "Group", 0, json!("User")),
        // It has a namespace and no group, others the reverse.
        ("/subjects/*/kind", "ServiceAccount", 1, user("robot")),
    ]
});

/// What may be put into an object or a list, by its path. These are what somebody would add to open a tenant, or to
/// make a lock hold nobody.
static ADDITIONS: LazyLock<Vec<(&str, Value)>> = LazyLock::new(|| {
    let nobody = json!({ "matchLabels": { "no": "pod" } });
    let anywhere = json!({ "ipBlock": { "cidr": "0.0.0.0/0" } });
    let exists = json!([{ "key": "a", "operator": "Exists" }]);
    let by_class = json!([{ "scopeName": "PriorityClass", "operator": "Exists" }]);
    vec![
        ("NetworkPolicy/spec", json!({ "ingress": [{}] })),
        ("NetworkPolicy/spec", json!({ "egress": [{}] })),
        (
            "NetworkPolicy/spec/podSelector",
            json!({ "matchLabels": { "no": "pod" } }),
        ),
        ("NetworkPolicy/spec/ingress", json!([{}])),
        (
            "NetworkPolicy/spec/ingress/*/from",
            json!([{ "namespaceSelector": {} }]),
        ),
        (
            "NetworkPolicy/spec/ingress/*/from/*",
            json!({ "podSelector": nobody }),
        ),
        ("NetworkPolicy/spec/egress", json!([{}])),
        ("NetworkPolicy/spec/egress/*", json!({ "ports": [{ "port": 1 }] })),
        ("NetworkPolicy/spec/egress/*/to", json!([anywhere])),
        (
            "NetworkPolicy/spec/egress/*/to/*/namespaceSelector",
            json!({ "matchExpressions": exists }),
        ),
        (
            "NetworkPolicy/spec/egress/*/to/*/ipBlock",
            json!({ "except": ["192.0.2.128/25"] }),
        ),
        ("NetworkPolicy/spec/egress/*/ports", json!([{ "port": 1 }])),
        ("NetworkPolicy/spec/egress/*/ports/*", json!({ "endPort": 99 })),
        ("ResourceQuota/spec/hard", json!({ "secrets": "5" })),
        (
            "ResourceQuota/spec",
            json!({ "scopeSelector": { "matchExpressions": by_class } }),
        ),
        (
            "LimitRange/spec/limits",
            json!([{ "type": "example.com/more", "max": { "example.com/x": "1" } }]),
        ),
        (
            "LimitRange/spec/limits/*/max",
            json!({ "ephemeral-storage": "1Gi" }),
        ),
        ("RoleBinding/subjects", json!([user("mallory")])),
        ("/metadata", json!({ "finalizers": ["example.com/x"] })),
        ("/metadata/labels", json!({ "foreign": "x" })),
        ("/metadata/annotations", json!({ "foreign": "x" })),
    ]
});

fn user(name: &str) -> Value {
    json!({ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name })
}

/// Every change, removal and addition in one place of an object.
pub(super) fn mutations(kind: &str, object: &Value) -> Vec<Mutation> {
    let mut places = Vec::new();
    walk(String::new(), object, &mut places);
    let mut found = Vec::new();
    for (at, value) in places {
        let path = format!("{kind}{}", general(&at));
        let mut add = |act, path: String, change: &dyn Fn(&mut Value) -> Option<()>| {
            let mut object = object.clone();
            if change(&mut object).is_some() {
                found.push(Mutation { act, path, object });
            }
        };
        if !value.is_object() && !value.is_array() {
            let (levels, other) = instead(&path, &value);
            let target = above(&at, levels);
            add(Act::Change, path.clone(), &|it| {
                *it.pointer_mut(target)? = other.clone();
                Some(())
            });
        }
        for (_, more) in ADDITIONS.iter().filter(|(it, _)| fits(&path, it)) {
            let member = more.as_object().and_then(|it| it.keys().next());
            let path = member.map_or_else(|| format!("{path}/+"), |it| format!("{path}/+{it}"));
            add(Act::Add, path, &|it| extend(it.pointer_mut(&at)?, more));
        }
        let is_part = !matches!(at.as_str(), "" | "/metadata" | "/spec") && !path.ends_with("/*");
        if is_part || at.ends_with("/0") {
            add(Act::Remove, path.clone(), &|it| remove(it, &at));
        }
    }
    found
}

fn walk(at: String, value: &Value, places: &mut Vec<(String, Value)>) {
    match value {
        Value::Null => return,
        Value::Object(members) => {
            for (key, child) in members {
                let key = key.replace('~', "~0").replace('/', "~1");
                walk(format!("{at}/{key}"), child, places);
            }
        }
        Value::Array(items) => {
            for (i, child) in items.iter().enumerate() {
                walk(format!("{at}/{i}"), child, places);
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    places.push((at, value.clone()));
}

/// A pointer with `*` for the place in a list.
fn general(pointer: &str) -> String {
    let is_place = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    let parts = pointer.split('/').map(|it| if is_place(it) { "*" } else { it });
    parts.collect::<Vec<_>>().join("/")
}

/// Whether a path is the one of a table, or ends like it where that begins with a slash.
///
/// The last part of `/max/*` stands for any name.
fn fits(path: &str, pattern: &str) -> bool {
    let same = |it: &str| it == pattern || (pattern.starts_with('/') && it.ends_with(pattern));
    let any_name = path.rsplit_once('/').map(|(parent, _)| format!("{parent}/*"));
    same(path) || any_name.is_some_and(|it| same(&it))
}

fn instead(path: &str, value: &Value) -> (usize, Value) {
    let text = value.as_str().unwrap_or_default();
    let known = INSTEAD
        .iter()
        .find(|(end, part, ..)| fits(path, end) && text.contains(part));
    match (known, value) {
        (Some((_, _, levels, other)), _) => (*levels, other.clone()),
        (None, Value::Number(number)) => (0, json!(number.as_i64().unwrap_or(0) + 1)),
        (None, Value::Bool(it)) => (0, json!(!it)),
        (None, _) => (0, json!(format!("{text}x"))),
    }
}

fn above(pointer: &str, levels: usize) -> &str {
    (0..levels).fold(pointer, |it, _| {
        it.rsplit_once('/').map_or("", |(parent, _)| parent)
    })
}

fn extend(value: &mut Value, more: &Value) -> Option<()> {
    match (value, more) {
        (Value::Object(members), Value::Object(more)) => {
            // A member that is there is no addition.
            let new = more
                .iter()
                .filter(|(key, _)| members.get(*key).is_none_or(Value::is_null));
            let new: Vec<_> = new.map(|(key, it)| (key.clone(), it.clone())).collect();
            (!new.is_empty()).then(|| members.extend(new))
        }
        (Value::Array(items), Value::Array(more)) => {
            items.extend(more.iter().cloned());
            Some(())
        }
        _ => None,
    }
}

fn remove(object: &mut Value, at: &str) -> Option<()> {
    let (parent, last) = at.rsplit_once('/')?;
    match object.pointer_mut(parent)? {
        Value::Object(members) => {
            let key = last.replace("~1", "/").replace("~0", "~");
            members.remove(&key).map(drop)
        }
        Value::Array(items) => {
            items.remove(last.parse().ok()?);
            Some(())
        }
        _ => None,
    }
}

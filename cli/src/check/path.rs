//! From a finding's field, such as `spec.owners[0].name`, to the place where it is written.

use bailiwick_core::identity::service_account_user;

use crate::check::node::{Node, Position, Value};

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    /// Into a mapping; or, in a list, to the item of that `name`.
    Key(&'a str),
    /// Into a list.
    Index(usize),
}

/// Where a field is written; where it is missing, the last of its parents that is there.
///
/// `found` is the finding's text: where a field names two paths, the one whose value it repeats is meant.
pub fn locate(root: &Node, field: &str, found: &str) -> Position {
    if field.contains(" and ") {
        return field
            .split(" and ")
            .filter_map(|path| walk(root, path).1)
            .find_map(|node| mentioned(node, found))
            .unwrap_or_else(|| walk(root, field.split(" and ").next().unwrap_or_default()).0);
    }
    walk(root, field).0
}

/// What a path reaches; where it leads to nothing, the whole.
pub fn at<'a>(root: &'a Node, field: &str) -> &'a Node {
    walk(root, field).1.unwrap_or(root)
}

/// The place that a path reaches, and what is there unless the path leads on from it.
fn walk<'a>(root: &'a Node, field: &str) -> (Position, Option<&'a Node>) {
    let (mut node, mut at) = (root, root.at);
    for step in steps(field) {
        let next = match (&node.value, &step) {
            (Value::Map(_), Step::Key(key)) => node.entry(key).map(|it| (it.at, &it.node)),
            (Value::List(items), Step::Key(name)) => items
                .iter()
                .find(|it| it.get("name").and_then(Node::text) == Some(name))
                .map(|it| (it.at, it)),
            (Value::List(items), Step::Index(i)) => items.get(*i).map(|it| (it.at, it)),
            _ => None,
        };
        let Some((place, child)) = next else {
            return (at, None);
        };
        (at, node) = (place, child);
    }
    (at, Some(node))
}

/// The first name below, of a subject or in a list of names, that a text repeats as a word.
fn mentioned(node: &Node, text: &str) -> Option<Position> {
    let is_word = |name: &str| text.split([' ', ',']).any(|it| it == name);
    match &node.value {
        Value::Text(name) => is_word(name).then_some(node.at),
        Value::List(items) => items.iter().find_map(|it| mentioned(it, text)),
        Value::Map(entries) => {
            let name = node.get("name").and_then(Node::text);
            let namespace = node.get("namespace").and_then(Node::text);
            let user = name
                .zip(namespace)
                .map(|(name, it)| service_account_user(it, name));
            if [name, user.as_deref()].into_iter().flatten().any(is_word) {
                return node.entry("name").map(|it| it.at);
            }
            let lists = entries
                .iter()
                .filter(|it| matches!(it.node.value, Value::List(_)));
            lists.into_iter().find_map(|it| mentioned(&it.node, text))
        }
        _ => None,
    }
}

/// The steps of `a.b[0]['c.d']`.
fn steps(field: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut rest = field;
    while !rest.is_empty() {
        if let Some((key, after)) = rest.strip_prefix("['").and_then(|it| it.split_once("']")) {
            steps.push(Step::Key(key));
            rest = after;
        } else if let Some((key, after)) = rest.strip_prefix("[\"").and_then(|it| it.split_once("\"]")) {
            steps.push(Step::Key(key));
            rest = after;
        } else if let Some((index, after)) = rest.strip_prefix('[').and_then(|it| it.split_once(']')) {
            steps.extend(index.parse().ok().map(Step::Index));
            rest = after;
        } else {
            let text = rest.strip_prefix('.').unwrap_or(rest);
            let end = text.find(['.', '[']).unwrap_or(text.len());
            let (key, after) = text.split_at(end);
            if key.is_empty() {
                break;
            }
            steps.push(Step::Key(key));
            rest = after;
        }
    }
    steps
}

/// The path of the value that a byte of the compact JSON text of `value` belongs to.
///
/// serde_json tells where in the text it stopped; its reader wrote YAML and wants to know the field.
pub fn at_byte(value: &serde_json::Value, byte: usize) -> String {
    let mut path = String::new();
    descend(value, 0, byte, &mut path);
    path
}

fn descend(value: &serde_json::Value, start: usize, byte: usize, path: &mut String) {
    let length = |it: &serde_json::Value| it.to_string().len();
    let mut at = start + 1;
    match value {
        serde_json::Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                let end = at + length(item);
                if at < byte && byte <= end {
                    path.push('[');
                    path.push_str(&i.to_string());
                    path.push(']');
                    return descend(item, at, byte, path);
                }
                at = end + 1;
            }
        }
        serde_json::Value::Object(entries) => {
            for (key, item) in entries {
                at += serde_json::Value::String(key.clone()).to_string().len() + 1;
                let end = at + length(item);
                if at < byte && byte <= end {
                    push_key(path, key);
                    return descend(item, at, byte, path);
                }
                at = end + 1;
            }
        }
        _ => {}
    }
}

/// Adds a key to a path, quoted where it holds more than a name.
pub fn push_key(path: &mut String, key: &str) {
    let is_name = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_name {
        path.push_str(if path.is_empty() { "" } else { "." });
        path.push_str(key);
    } else {
        path.extend(["['", key, "']"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
metadata:
  name: acme
  labels:
    bailiwick.dev/tenant: acme
spec:
  owners:
    - kind: Group
      name: oidc:acme
  namespaces:
    declared: [{name: a},
      {name: b.c}]
";

    #[track_caller]
    fn check(field: &str, found: &str, expected: (u64, u64)) {
        let root: Node = serde_saphyr::from_str(TEXT).unwrap();
        let at = locate(&root, field, found);
        assert_eq!((at.line, at.column), expected, "{field}");
    }

    #[test]
    fn a_field_is_found_where_it_is_written() {
        check("metadata.name", "", (2, 3));
        check("metadata.labels['bailiwick.dev/tenant']", "", (4, 5));
        check("metadata.labels[\"bailiwick.dev/tenant\"]", "", (4, 5));
        check("spec.owners[0].name", "", (8, 7));
        check("spec.owners[0]", "", (7, 7));
        check("spec.namespaces.declared['b.c']", "", (11, 7));
        check("spec.namespaces.declared[1].name", "", (11, 8));
    }

    #[test]
    fn a_missing_field_is_found_at_its_parent() {
        check("metadata.labels['x']", "", (3, 3));
        check("metadata.annotations['x']", "", (1, 1));
        check("spec.owners[7].name", "", (6, 3));
        check("rules", "", (1, 1));
        check("", "", (1, 1));
        check("spec.owners[0].name.more", "", (8, 7));
        check("[[['", "", (1, 1));
    }

    #[test]
    fn of_two_paths_the_one_that_holds_the_value_is_meant() {
        check(
            "spec.identities and spec.owners",
            "Group oidc:acme, which",
            (8, 7),
        );
        check("spec.owners and spec.identities", "Group other, which", (6, 3));
    }

    #[test]
    fn a_byte_of_the_json_is_a_field() {
        let value = serde_json::json!({"a": {"b/c": [1, "é", {"d": true}]}, "z": null});
        let text = value.to_string();
        for (needle, path) in [
            ("1,", "a['b/c'][0]"),
            ("\"é\"", "a['b/c'][1]"),
            ("true", "a['b/c'][2].d"),
            ("null", "z"),
        ] {
            let end = text.find(needle).unwrap() + needle.trim_end_matches(',').len();
            assert_eq!(at_byte(&value, end), path);
        }
        assert_eq!(at_byte(&value, text.len()), "");
    }
}

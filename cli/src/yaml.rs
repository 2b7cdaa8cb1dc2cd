//! JSON as the YAML that a person would write: no quotes where none are needed, sources as literal blocks.

use serde_json::Value;

/// A document.
pub fn to_string(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(_) | Value::Array(_) => below(value, 0, &mut text),
        other => text.push_str(&scalar(other, 0)),
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn below(value: &Value, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                text.extend([&pad, &plain_or_quoted(key), ":"]);
                entry(value, indent + 2, text);
            }
        }
        Value::Array(items) => {
            for item in items {
                text.extend([&pad, "-"]);
                if item.as_object().is_some_and(|it| !it.is_empty()) {
                    let mut inner = String::new();
                    below(item, indent + 2, &mut inner);
                    text.extend([" ", inner.trim_start()]);
                } else {
                    entry(item, indent + 2, text);
                }
            }
        }
        _ => {}
    }
}

fn entry(value: &Value, indent: usize, text: &mut String) {
    let is_empty = match value {
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    };
    if is_empty {
        text.extend([" ", &scalar(value, indent), "\n"]);
    } else {
        text.push('\n');
        below(value, indent, text);
    }
}

fn scalar(value: &Value, indent: usize) -> String {
    match value {
        Value::String(text) if is_block(text) => block(text, indent),
        Value::String(text) => plain_or_quoted(text),
        other => other.to_string(),
    }
}

/// Whether a text can be written as a literal block.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && text
            .chars()
            .all(|it| it == '\n' || it == '\t' || !it.is_control())
        && !text.contains(['\u{feff}', '\u{2028}', '\u{2029}', '\u{85}'])
}

fn block(text: &str, indent: usize) -> String {
    let chomp = match text.len() - text.trim_end_matches('\n').len() {
        0 => "-",
        1 => "",
        _ => "+",
    };
    let pad = " ".repeat(indent);
    let mut block = format!("|{chomp}");
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        block.push('\n');
        if !line.is_empty() {
            block.extend([pad.as_str(), line]);
        }
    }
    block
}

/// A text without quotes where every reader of YAML takes it for the same text.
fn plain_or_quoted(text: &str) -> String {
    let is_safe = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-' | '.' | '/');
    let begins = text.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_');
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_word = words.contains(&text.to_ascii_lowercase().as_str());
    if begins && !is_word && text.chars().all(is_safe) {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::check::document;

    fn read(text: &str) -> Value {
        let (documents, unread) = document::read("f.yaml", text);
        assert_eq!(unread, [], "{text}");
        documents[0].root.to_json()
    }

    #[test]
    fn it_reads_as_a_person_would_write_it() {
        let value = json!({
            "kind": "TenantPolicy",
            "spec": {"rego": "package a\n\ndeny if {\n\ttrue\n}\n", "tests": [{"name": "a b", "object": {}}], "version": "1.0"},
        });
        assert_eq!(
            to_string(&value),
            "kind: TenantPolicy\nspec:\n  rego: |\n    package a\n\n    deny if {\n    \ttrue\n    }\n  tests:\n    - name: \"a b\"\n      object: {}\n  version: \"1.0\"\n"
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let words = [
            "a", "1", "null", "y", "# x", "a: b", "- a", "", "é", "'", "\"", "a\nb", "a\nb\n", "\n", " a\n",
            "a\n\n", "a\tb\n", "a\r\nb", "|", "{", "0x1f", "~",
        ];
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            prop::sample::select(words.to_vec()).prop_map(Value::from),
            "[ -~\n\t]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c:# ]{1,3}", inner, 0..4)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_read_as_it_was(value in prop::collection::btree_map("[a-c]", value(), 1..3)) {
            let value = Value::Object(value.into_iter().collect());
            prop_assert_eq!(read(&to_string(&value)), value);
        }
    }
}

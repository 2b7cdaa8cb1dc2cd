//! Label selectors, as the API server reads them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::identity::is_object_name;

/// Whether this may be the key of a label: a name, with a DNS subdomain and a slash before it or without.
pub fn is_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    prefix.is_none_or(is_object_name) && !name.is_empty() && is_value(name)
}

/// Whether this may be the value of a label.
pub fn is_value(value: &str) -> bool {
    let at_the_ends = |c: char| c.is_ascii_alphanumeric();
    let inside = |c: char| at_the_ends(c) || matches!(c, '-' | '_' | '.');
    value.is_empty()
        || (value.len() <= 63
            && value.starts_with(at_the_ends)
            && value.ends_with(at_the_ends)
            && value.chars().all(inside))
}

/// What is wrong with a selector, if anything: the path inside it and the reason.
pub fn problem(selector: &LabelSelector) -> Option<(String, String)> {
    let expressions = selector.match_expressions.iter().flatten().enumerate();
    for (i, expression) in expressions {
        let has_values = expression.values.as_ref().is_some_and(|it| !it.is_empty());
        let wrong = match expression.operator.as_str() {
            "In" | "NotIn" if !has_values => Some("must list values for In and NotIn".to_owned()),
            "Exists" | "DoesNotExist" if has_values => {
                Some("must not list values for Exists and DoesNotExist".to_owned())
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => None,
            other => Some(format!(
                "operator '{other}' must be In, NotIn, Exists or DoesNotExist"
            )),
        };
        if let Some(reason) = wrong {
            return Some((format!("matchExpressions[{i}]"), reason));
        }
    }
    None
}

/// Whether the labels are selected. A selector with a [`problem`] selects nothing.
pub fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let by_label = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    let by_expression = selector.match_expressions.iter().flatten().all(|expression| {
        let value = labels.get(&expression.key);
        let listed = value.is_some_and(|value| expression.values.iter().flatten().any(|it| it == value));
        match expression.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    by_label && by_expression && problem(selector).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(selector: &str, labels: &str, expected: bool) {
        let selector: LabelSelector = serde_json::from_str(selector).unwrap();
        let labels: BTreeMap<String, String> = serde_json::from_str(labels).unwrap();
        assert_eq!(matches(&selector, &labels), expected);
    }

    #[test]
    fn knows_a_label_when_it_sees_one() {
        for key in [
            "a",
            "A_b.c-d",
            "example.com/a",
            "x.kubernetes.io/y",
            &"a".repeat(63),
        ] {
            assert!(is_key(key), "{key}");
        }
        for key in [
            "",
            "/",
            "a/",
            "/a",
            "a/b/c",
            "A.com/a",
            "-a",
            "a-",
            "a b",
            "ä",
            &"a".repeat(64),
        ] {
            assert!(!is_key(key), "{key}");
        }
        for value in ["", "a", "A_b.c-d", "1", &"a".repeat(63)] {
            assert!(is_value(value), "{value}");
        }
        for value in [" ", "a ", "a/b", "-a", "a\n", "ä", &"a".repeat(64)] {
            assert!(!is_value(value), "{value}");
        }
    }

    #[test]
    fn selects_as_the_api_server_does() {
        check(r"{}", r"{}", true);
        check(r#"{"matchLabels":{"a":"b"}}"#, r#"{"a":"b"}"#, true);
        check(r#"{"matchLabels":{"a":"b"}}"#, r#"{"a":"B"}"#, false);
        check(
            r#"{"matchExpressions":[{"key":"a","operator":"In","values":["b","c"]}]}"#,
            r#"{"a":"c"}"#,
            true,
        );
        check(
            r#"{"matchExpressions":[{"key":"a","operator":"In","values":["b"]}]}"#,
            r"{}",
            false,
        );
        check(
            r#"{"matchExpressions":[{"key":"a","operator":"NotIn","values":["b"]}]}"#,
            r"{}",
            true,
        );
        check(
            r#"{"matchExpressions":[{"key":"a","operator":"Exists"}]}"#,
            r#"{"a":""}"#,
            true,
        );
        check(
            r#"{"matchExpressions":[{"key":"a","operator":"DoesNotExist"}]}"#,
            r#"{"a":""}"#,
            false,
        );
        check(
            r#"{"matchExpressions":[{"key":"a","operator":"Near"}]}"#,
            r#"{"a":""}"#,
            false,
        );
        check(
            r#"{"matchExpressions":[{"key":"a","operator":"NotIn"}]}"#,
            r"{}",
            false,
        );
    }
}

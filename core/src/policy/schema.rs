//! Parameters against the schema of a pack, as the API server checks objects against a CustomResourceDefinition.
//!
//! Of the schema's language this knows what packs use; a test sees to it that they use no more.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde_json::{Map, Value};

use crate::finding::some_of;

/// Where parameters don't fit, and what would: a path below the parameters, and a sentence.
pub type Misfit = (String, String);

/// All that doesn't fit.
pub fn check(schema: &JSONSchemaProps, parameters: &Map<String, Value>) -> Vec<Misfit> {
    let mut misfits = Vec::new();
    members("", schema, parameters, &mut misfits);
    misfits
}

fn value(path: &str, schema: &JSONSchemaProps, value: &Value, misfits: &mut Vec<Misfit>) {
    let mut misfit = |message: String| misfits.push((path.to_owned(), message));
    let allowed: Vec<String> = schema.enum_.iter().flatten().map(|it| shown(&it.0)).collect();
    if schema.enum_.iter().flatten().all(|it| it.0 != *value) && !allowed.is_empty() {
        return misfit(format!("{} is not one of {}", shown(value), some_of(allowed)));
    }
    match (schema.type_.as_deref(), value) {
        (Some("object"), Value::Object(it)) => members(path, schema, it, misfits),
        (Some("array"), Value::Array(items)) => {
            let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
            if schema.min_items.is_some_and(|it| count < it) || schema.max_items.is_some_and(|it| count > it)
            {
                misfit(format!(
                    "{count} items; allowed: {}",
                    range(schema.min_items, schema.max_items)
                ));
            }
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                for (i, item) in items.iter().enumerate() {
                    self::value(&format!("{path}[{i}]"), schema, item, misfits);
                }
            }
        }
        (Some("string"), Value::String(text)) => {
            let count = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            if schema.min_length.is_some_and(|it| count < it)
                || schema.max_length.is_some_and(|it| count > it)
            {
                let allowed = range(schema.min_length, schema.max_length);
                misfit(format!("{count} characters; allowed: {allowed}"));
            } else if let Some(pattern) = &schema.pattern
                && !regex::Regex::new(pattern).is_ok_and(|it| it.is_match(text))
            {
                misfit(format!("{} doesn't match {pattern}", shown(value)));
            }
        }
        (Some("boolean"), Value::Bool(_)) | (None, _) => {}
        (Some(kind @ ("integer" | "number")), Value::Number(number)) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            if kind == "integer" && number.fract() != 0.0 {
                misfit(format!("{value} is no whole number"));
            }
            if schema.minimum.is_some_and(|it| number < it) || schema.maximum.is_some_and(|it| number > it) {
                misfit(format!(
                    "{value}; allowed: {}",
                    range(schema.minimum, schema.maximum)
                ));
            }
        }
        (Some(kind), other) => misfit(format!("{} where {kind} is expected", shown(other))),
    }
}

fn members(path: &str, schema: &JSONSchemaProps, members: &Map<String, Value>, misfits: &mut Vec<Misfit>) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    for key in schema
        .required
        .iter()
        .flatten()
        .filter(|it| !members.contains_key(*it))
    {
        misfits.push((below(key), "is missing".to_owned()));
    }
    let known = schema.properties.iter().flatten();
    for (key, member) in members {
        if let Some((_, schema)) = known.clone().find(|it| it.0 == key) {
            value(&below(key), schema, member, misfits);
        } else {
            let names = some_of(known.clone().map(|it| it.0));
            misfits.push((below(key), format!("is no parameter; there are {names}")));
        }
    }
}

fn range<T: std::fmt::Display>(least: Option<T>, most: Option<T>) -> String {
    match (least, most) {
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) => format!("{least} at the least"),
        (None, Some(most)) => format!("{most} at the most"),
        (None, None) => "any".to_owned(),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.chars().take(120).collect(),
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_fit_is_told_by_its_path() {
        let schema: JSONSchemaProps = serde_json::from_value(json!({
            "type": "object", "required": ["names"], "properties": {
                "names": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 3}},
                "mode": {"type": "string", "enum": ["A", "B"]},
                "port": {"type": "integer", "minimum": 1, "maximum": 9},
                "on": {"type": "boolean"},
                "nested": {"type": "object", "required": ["x"], "properties": {"x": {"type": "number"}}},
            },
        }))
        .unwrap();
        for (parameters, expected) in [
            (
                json!({"names": ["a"], "mode": "A", "port": 9, "on": true, "nested": {"x": 1.5}}),
                None,
            ),
            (json!({}), Some(("names", "is missing"))),
            (json!({"names": []}), Some(("names", "0 items; allowed: 1 to 2"))),
            (json!({"names": ["a", "b", "c"]}), Some(("names", "3 items"))),
            (
                json!({"names": ["a", "B"]}),
                Some(("names[1]", "B doesn't match")),
            ),
            (
                json!({"names": ["abcd"]}),
                Some(("names[0]", "4 characters; allowed: 3 at the most")),
            ),
            (
                json!({"names": "a"}),
                Some(("names", "a where array is expected")),
            ),
            (
                json!({"names": ["a"], "mode": "C"}),
                Some(("mode", "C is not one of 'A', 'B'")),
            ),
            (
                json!({"names": ["a"], "port": 0}),
                Some(("port", "0; allowed: 1 to 9")),
            ),
            (
                json!({"names": ["a"], "port": 1.5}),
                Some(("port", "1.5 is no whole number")),
            ),
            (
                json!({"names": ["a"], "on": "yes"}),
                Some(("on", "yes where boolean is expected")),
            ),
            (
                json!({"names": ["a"], "nested": {}}),
                Some(("nested.x", "is missing")),
            ),
            (
                json!({"names": ["a"], "name": 1}),
                Some(("name", "is no parameter; there are 'mode', 'names'")),
            ),
        ] {
            let misfits = check(&schema, parameters.as_object().unwrap());
            match expected {
                None => assert_eq!(misfits, [], "{parameters}"),
                Some((path, message)) => {
                    assert_eq!(misfits.len(), 1, "{parameters}: {misfits:?}");
                    assert_eq!(misfits[0].0, path);
                    assert!(misfits[0].1.contains(message), "{misfits:?}");
                }
            }
        }
    }

    /// A word that [`check`] doesn't know would be a check that silently isn't made.
    #[test]
    fn packs_use_no_other_words() {
        fn words(value: &Value, found: &mut std::collections::BTreeSet<String>) {
            let Value::Object(members) = value else { return };
            for (key, value) in members {
                found.insert(key.clone());
                match (key.as_str(), value) {
                    ("properties", Value::Object(properties)) => {
                        for schema in properties.values() {
                            words(schema, found);
                        }
                    }
                    ("items", schema) => words(schema, found),
                    _ => {}
                }
            }
        }
        let known = [
            "type",
            "required",
            "properties",
            "items",
            "minItems",
            "maxItems",
            "minLength",
            "maxLength",
            "pattern",
            "enum",
            "minimum",
            "maximum",
            "description",
            "default",
        ];
        for pack in crate::policy::pack::all() {
            let mut found = std::collections::BTreeSet::new();
            words(
                &serde_json::to_value(&pack.manifest.parameters).unwrap(),
                &mut found,
            );
            found.retain(|it| !known.contains(&it.as_str()));
            assert!(found.is_empty(), "{}: {found:?}", pack.manifest.name);
        }
    }
}

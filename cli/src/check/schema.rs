//! A Tenant or TenantPolicy against the schema of its CustomResourceDefinition, as the API server checks it before
//! anybody else.
//!
//! All problems at once, each at its line: a typo is not a setting that silently has no effect. A Tenant's CEL rules and
//! patterns are said again by `bailiwick_core::validate`; only the pattern of label values is checked here. A policy's
//! patterns are all checked here, its CEL rules in [`super::policies`].

use std::sync::LazyLock;

use bailiwick_core::finding::{Finding, RuleId, some_of};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Number;

use crate::check::node::{Node, Value};
use crate::check::path::push_key;
use crate::check::suggest;

/// The pattern of label values, which nothing but the schema checks.
const LABEL_VALUE: &str = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";

/// The members of `metadata`, which a CustomResourceDefinition's schema does not list.
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// What the API server would refuse about the shape of a kind's objects.
#[derive(Debug)]
pub struct KindSchema {
    /// The kind, as a message names it.
    kind: &'static str,
    rule: RuleId,
    /// Whether somebody else checks the patterns.
    own_patterns: bool,
    spec: JSONSchemaProps,
}

impl KindSchema {
    /// The schema of this version's Tenants.
    pub fn tenant() -> &'static Self {
        static SCHEMA: LazyLock<KindSchema> =
            LazyLock::new(|| KindSchema::generated("Tenant", RuleId::TenantInvalid, false));
        &SCHEMA
    }

    /// The schema of this version's TenantPolicies.
    pub fn policy() -> &'static Self {
        static SCHEMA: LazyLock<KindSchema> =
            LazyLock::new(|| KindSchema::generated("TenantPolicy", RuleId::PolicyInvalid, true));
        &SCHEMA
    }

    fn generated(kind: &'static str, rule: RuleId, own_patterns: bool) -> Self {
        let crds = bailiwick_crds::custom_resource_definitions();
        let crd = crds.into_iter().find(|it| it.spec.names.kind == kind);
        let root = crd
            .and_then(|it| it.spec.versions.into_iter().next())
            .and_then(|it| it.schema)
            .and_then(|it| it.open_api_v3_schema);
        let spec = root
            .and_then(|it| it.properties)
            .and_then(|mut it| it.remove("spec"));
        Self {
            kind,
            rule,
            own_patterns,
            spec: spec.unwrap_or_default(),
        }
    }

    /// All problems of an object's shape.
    pub fn check(&self, root: &Node) -> Vec<Finding> {
        let mut problems = Problems {
            schema: self,
            found: Vec::new(),
        };
        problems.unknown("", root, &["apiVersion", "kind", "metadata", "spec", "status"]);
        if let Some(metadata) = root.get("metadata") {
            problems.unknown("metadata", metadata, &METADATA);
        }
        if let Some(spec) = root.get("spec") {
            problems.value("spec", spec, &self.spec);
        }
        problems.found
    }
}

struct Problems<'a> {
    schema: &'a KindSchema,
    found: Vec<Finding>,
}

impl Problems<'_> {
    fn add(&mut self, field: &str, found: String, allowed: impl Into<String>, fix: impl Into<String>) {
        let rule = self.schema.rule;
        self.found.push(Finding::new(rule, field, found, allowed, fix));
    }

    /// Keys that are not among the known ones.
    fn unknown(&mut self, path: &str, node: &Node, known: &[&str]) {
        let Value::Map(entries) = &node.value else {
            return;
        };
        for entry in entries.iter().filter(|it| !known.contains(&it.key.as_str())) {
            let fix = match suggest::nearest(&entry.key, known.iter().copied()) {
                Some(meant) => format!("write '{meant}'"),
                None => "remove it".to_owned(),
            };
            let of = if path.is_empty() {
                format!("a {}", self.schema.kind)
            } else {
                path.to_owned()
            };
            let found = format!("'{}', which is no field of {of}", entry.key);
            self.add(&child(path, &entry.key), found, some_of(known), fix);
        }
    }

    fn value(&mut self, path: &str, node: &Node, schema: &JSONSchemaProps) {
        if schema.x_kubernetes_int_or_string == Some(true) {
            return self.int_or_string(path, node);
        }
        match (schema.type_.as_deref(), &node.value) {
            // The API server puts the default in the place of a null.
            (_, Value::Null) if schema.default.is_some() => {}
            (None, _) | (Some("boolean"), Value::Bool(_)) => {}
            (Some("number"), Value::Number(it)) => self.range(path, it, schema),
            (Some("object"), Value::Map(_)) => self.object(path, node, schema),
            (Some("array"), Value::List(items)) => self.array(path, items, schema),
            (Some("string"), Value::Text(text)) => self.text(path, text, schema),
            (Some("integer"), Value::Number(it)) if it.is_i64() || it.is_u64() => {
                self.range(path, it, schema);
            }
            (Some(expected), _) => {
                self.add(path, node.describe(), name_of(expected), fix_for(expected, node));
            }
        }
    }

    fn int_or_string(&mut self, path: &str, node: &Node) {
        let fits = match &node.value {
            Value::Text(_) => true,
            Value::Number(it) => it.is_i64() || it.is_u64(),
            _ => false,
        };
        if !fits {
            self.add(
                path,
                node.describe(),
                "a whole number or text",
                "put it in quotes",
            );
        }
    }

    fn object(&mut self, path: &str, node: &Node, schema: &JSONSchemaProps) {
        let Value::Map(entries) = &node.value else {
            return;
        };
        self.count(
            path,
            entries.len(),
            "entries",
            schema.min_properties,
            schema.max_properties,
        );
        for required in schema.required.iter().flatten() {
            if node.get(required).is_none() {
                self.add(
                    &child(path, required),
                    "nothing".to_owned(),
                    format!("'{required}' has to be there"),
                    "add it",
                );
            }
        }
        if let Some(properties) = &schema.properties {
            let known: Vec<&str> = properties.keys().map(String::as_str).collect();
            self.unknown(path, node, &known);
            for entry in entries {
                if let Some(schema) = properties.get(&entry.key) {
                    self.value(&child(path, &entry.key), &entry.node, schema);
                }
            }
        }
        if let Some(JSONSchemaPropsOrBool::Schema(schema)) = &schema.additional_properties {
            for entry in entries {
                self.value(&format!("{path}['{}']", entry.key), &entry.node, schema);
            }
        }
    }

    fn array(&mut self, path: &str, items: &[Node], schema: &JSONSchemaProps) {
        self.count(path, items.len(), "items", schema.min_items, schema.max_items);
        if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
            for (i, item) in items.iter().enumerate() {
                self.value(&format!("{path}[{i}]"), item, schema);
            }
        }
    }

    fn text(&mut self, path: &str, text: &str, schema: &JSONSchemaProps) {
        if let Some(values) = &schema.enum_ {
            let values: Vec<&str> = values.iter().filter_map(|it| it.0.as_str()).collect();
            if !values.contains(&text) {
                let fix = match suggest::nearest(text, values.iter().copied()) {
                    Some(meant) => format!("write '{meant}'"),
                    None => "choose one of these".to_owned(),
                };
                self.add(
                    path,
                    format!("'{text}'"),
                    format!("one of {}", some_of(&values)),
                    fix,
                );
            }
        }
        let length = text.chars().count();
        self.count(path, length, "characters", schema.min_length, schema.max_length);
        if schema.pattern.as_deref() == Some(LABEL_VALUE) && !is_label_value(text) {
            self.add(
                path,
                format!("'{text}'"),
                "letters, digits, '-', '_' and '.', with a letter or digit at both ends",
                "choose another value",
            );
        } else if let Some(pattern) = &schema.pattern {
            self.pattern(path, text, pattern);
        }
    }

    fn range(&mut self, path: &str, number: &Number, schema: &JSONSchemaProps) {
        let value = number.as_f64().unwrap_or(f64::NAN);
        if let Some(min) = schema.minimum.filter(|it| value < *it) {
            self.add(path, number.to_string(), format!("{min} or more"), "raise it");
        }
        if let Some(max) = schema.maximum.filter(|it| value > *it) {
            self.add(path, number.to_string(), format!("at most {max}"), "lower it");
        }
    }

    fn pattern(&mut self, path: &str, text: &str, pattern: &str) {
        let is_match = Regex::new(pattern).is_ok_and(|it| it.is_match(text));
        if self.schema.own_patterns && !is_match {
            let allowed = format!("text that matches {pattern}");
            self.add(path, format!("'{text}'"), allowed, "choose another value");
        }
    }

    fn count(&mut self, path: &str, found: usize, what: &str, min: Option<i64>, max: Option<i64>) {
        let found = i64::try_from(found).unwrap_or(i64::MAX);
        if let Some(min) = min.filter(|it| found < *it) {
            let (found, allowed) = (format!("{found} {what}"), format!("{min} {what} or more"));
            self.add(path, found, allowed, "add what is missing");
        }
        if let Some(max) = max.filter(|it| found > *it) {
            let (found, allowed) = (format!("{found} {what}"), format!("at most {max} {what}"));
            self.add(path, found, allowed, "leave some out");
        }
    }
}

fn child(path: &str, key: &str) -> String {
    let mut child = path.to_owned();
    push_key(&mut child, key);
    child
}

fn name_of(type_: &str) -> &'static str {
    match type_ {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    }
}

fn fix_for(type_: &str, node: &Node) -> &'static str {
    match (type_, &node.value) {
        (_, Value::Null) => "give it a value, or remove it",
        ("string", Value::Bool(_) | Value::Number(_)) => "put it in quotes",
        ("array", Value::Map(_) | Value::Text(_)) => "write each item behind a '-'",
        _ => "correct it",
    }
}

fn is_label_value(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    text.is_empty()
        || (text.starts_with(alphanumeric)
            && text.ends_with(alphanumeric)
            && text.chars().all(|c| alphanumeric(c) || "-_.".contains(c)))
}

#[cfg(test)]
mod tests;

//! The operator can be no confused deputy for what a kind of ours can't say.
//!
//! No field of a kind that the operator acts upon holds a whole object, or whatever its author likes, so there is no manifest
//! that it could apply with its own rights (CVE-2026-22872, CVE-2026-65835). TenantPolicies do hold free text: parameters and
//! the objects of tests, which nothing applies.

use serde_json::Value;

/// Fields whose content the schema doesn't describe, by their paths.
fn free_fields(schema: &Value, path: &str, found: &mut Vec<String>) {
    let Value::Object(map) = schema else { return };
    let is_set = |key: &str| map.get(key) == Some(&Value::Bool(true));
    if is_set("x-kubernetes-preserve-unknown-fields") || is_set("x-kubernetes-embedded-resource") {
        found.push(path.to_owned());
    }
    if let Some(Value::Object(properties)) = map.get("properties") {
        for (name, schema) in properties {
            free_fields(schema, &format!("{path}.{name}"), found);
        }
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(schema) = map.get(key) {
            free_fields(schema, &format!("{path}{suffix}"), found);
        }
    }
}

#[test]
fn only_policies_hold_what_their_author_likes() {
    let mut found = Vec::new();
    for crd in bailiwick_crds::custom_resource_definitions() {
        for version in &crd.spec.versions {
            let schema = version
                .schema
                .as_ref()
                .and_then(|it| it.open_api_v3_schema.as_ref());
            let schema = serde_json::to_value(schema).unwrap();
            assert!(
                schema["properties"]["spec"].is_object(),
                "{}",
                crd.spec.names.kind
            );
            free_fields(&schema, &crd.spec.names.kind, &mut found);
        }
    }
    assert_eq!(
        found,
        [
            "TenantPolicy.spec.parameters",
            "TenantPolicy.spec.tests[].object",
            "TenantPolicy.spec.tests[].oldObject",
            "TenantPolicy.spec.tests[].parameters",
        ]
    );
}

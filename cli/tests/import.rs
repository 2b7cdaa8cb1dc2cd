//! `bailiwick policy import`: what becomes of a ConstraintTemplate and its Constraint, and what is refused by name.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use bailiwick_cli::policy::import::{Imported, import};
use serde_json::{Value, json};

const TEMPLATE: &str = r#"
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: named}
spec:
  crd: {spec: {names: {kind: Named}}}
  targets:
    - target: admission.k8s.gatekeeper.sh
      rego: |
        package named

        violation[{"msg": msg}] {
          msg := input.review.object.metadata.labels[input.parameters.label]
        }
"#;
const CONSTRAINT: &str = "
apiVersion: constraints.gatekeeper.sh/v1beta1
kind: Named
metadata: {name: named}
spec:
  enforcementAction: deny
  match:
    kinds: [{apiGroups: [''], kinds: [Pod]}]
  parameters: {label: x}
";

fn imported(template: &str, constraint: &str) -> Result<Imported, Vec<String>> {
    import(("t.yaml", template), ("c.yaml", constraint))
}

/// What two texts come to; `pointer` into the policy, or what is refused.
#[track_caller]
fn check(template: &str, constraint: &str, pointer: &str, expected: Result<Value, &str>) {
    match (imported(template, constraint), expected) {
        (Ok(it), Ok(expected)) => {
            assert_eq!(it.policy.pointer(pointer).cloned().unwrap_or_default(), expected);
        }
        (Err(problems), Err(expected)) => {
            assert!(
                problems.join("\n").contains(expected),
                "{problems:?} lacks {expected:?}"
            );
        }
        (found, expected) => assert!(
            found.is_ok() == expected.is_ok(),
            "{found:?} instead of {expected:?}"
        ),
    }
}

#[test]
fn a_constraint_becomes_a_policy() {
    let Imported { policy, notes } = imported(TEMPLATE, CONSTRAINT).unwrap();
    let rego = policy["spec"]["rego"].as_str().unwrap();
    assert!(TEMPLATE.replace("\n        ", "\n").contains(rego));
    assert_eq!(policy["metadata"], json!({"name": "named"}));
    assert_eq!(policy["spec"]["regoVersion"], "v0");
    assert_eq!(policy["spec"]["enforcement"], "Deny");
    assert_eq!(policy["spec"]["parameters"], json!({"label": "x"}));
    assert_eq!(
        policy["spec"]["match"],
        json!({"resources": [{"groups": [""], "kinds": ["Pod"]}]})
    );
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[test]
fn what_becomes_of_a_violation_is_carried_over() {
    for (action, expected) in [
        ("warn", Ok(json!("Warn"))),
        ("dryrun", Ok(json!("Audit"))),
        (
            "scoped",
            Err("c.yaml: spec.enforcementAction is 'scoped'; deny, warn and dryrun can be imported"),
        ),
    ] {
        check(
            TEMPLATE,
            &CONSTRAINT.replace("Action: deny", &format!("Action: {action}")),
            "/spec/enforcement",
            expected,
        );
    }
    check(
        TEMPLATE,
        &CONSTRAINT.replace("  enforcementAction: deny\n", ""),
        "/spec/enforcement",
        Ok(json!("Deny")),
    );
}

#[test]
fn what_is_matched_is_carried_over_or_refused_by_name() {
    let with = |members: &str| CONSTRAINT.replace("  match:\n", &format!("  match:\n    {members}\n"));
    let expressions = "/spec/match/namespaceSelector/matchExpressions";
    let named = |operator: &str| json!([{"key": "kubernetes.io/metadata.name", "operator": operator, "values": ["a"]}]);
    for (members, pointer, expected) in [
        ("namespaces: [a]", expressions, Ok(named("In"))),
        ("excludedNamespaces: [a]", expressions, Ok(named("NotIn"))),
        (
            "excludedNamespaces: ['a-*']",
            expressions,
            Err("spec.match.excludedNamespaces has a '*'"),
        ),
        (
            "namespaceSelector: {matchLabels: {a: b}}",
            "/spec/match/namespaceSelector",
            Ok(json!({"matchLabels": {"a": "b"}})),
        ),
        (
            "scope: Namespaced",
            "/spec/match/namespaceSelector",
            Ok(Value::Null),
        ),
        ("scope: Cluster", "", Err("spec.match.scope is Cluster")),
        (
            "labelSelector: {matchLabels: {a: b}}",
            "",
            Err("spec.match.labelSelector can't be said"),
        ),
        ("name: a", "", Err("spec.match.name can't be said")),
    ] {
        check(TEMPLATE, &with(members), pointer, expected);
    }
    check(
        TEMPLATE,
        &CONSTRAINT.replace("kinds: [Pod]", "kinds: ['*']"),
        "",
        Err("spec.match.kinds has a '*'"),
    );
    check(
        TEMPLATE,
        &CONSTRAINT.replace("kinds: [{apiGroups: [''], kinds: [Pod]}]", "scope: '*'"),
        "",
        Err("spec.match.kinds is missing"),
    );
}

#[test]
fn the_code_is_carried_over_or_refused() {
    let code = |engine: &str| {
        TEMPLATE
            .replace("      rego: |\n", &format!("      code:\n        - engine: {engine}\n          source:\n            version: v1\n            rego: |\n"))
            .replace("\n        ", "\n                ")
            .replace("                - engine", "        - engine")
            .replace("                  source", "          source")
            .replace("                    version", "            version")
            .replace("                    rego: |", "            rego: |")
            .replace("violation[{\"msg\": msg}] {", "violation contains {\"msg\": msg} if {")
    };
    check(&code("Rego"), CONSTRAINT, "/spec/regoVersion", Ok(json!("v1")));
    check(
        &code("K8sNativeValidation"),
        CONSTRAINT,
        "",
        Err("spec.targets[0].code is for the engine K8sNativeValidation only"),
    );
    let inventory = TEMPLATE.replace("input.review.object", "data.inventory.x");
    check(
        &inventory,
        CONSTRAINT,
        "",
        Err("spec.rego: line 4, column 10: data.inventory is not there"),
    );
    check(
        TEMPLATE,
        &CONSTRAINT.replace("kind: Named", "kind: Other"),
        "",
        Err("c.yaml: there is no Named in it"),
    );
    check(
        CONSTRAINT,
        CONSTRAINT,
        "",
        Err("t.yaml: there is no ConstraintTemplate in it"),
    );
    check(
        &format!("{TEMPLATE}---{TEMPLATE}"),
        CONSTRAINT,
        "",
        Err("t.yaml: there are several"),
    );
    check(
        TEMPLATE,
        &CONSTRAINT.replace("{name: named}", "{name: a.b}"),
        "",
        Err("metadata.name is 'a.b'"),
    );
    check("a: [", CONSTRAINT, "", Err("t.yaml:1:4: not YAML"));
}

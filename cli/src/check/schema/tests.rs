//! Each refusal of the schema beside a near-identical Tenant that passes.

use super::*;
use crate::check::path::locate;

/// The problems of `spec`, each as `line:column field: found (allowed) fix`.
fn problems(spec: &str) -> Vec<String> {
    let text = format!("apiVersion: bailiwick.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: acme}}\n{spec}");
    let root: Node = serde_saphyr::from_str(&text).unwrap();
    let found = KindSchema::tenant().check(&root);
    let shown = found.iter().map(|it| {
        let at = locate(&root, &it.field, &it.found);
        format!("{}:{} {}: {}; {}", at.line, at.column, it.field, it.found, it.fix)
    });
    shown.collect()
}

#[track_caller]
fn check(wrong: &str, right: &str, expected: &[&str]) {
    assert_eq!(problems(wrong), expected, "{wrong}");
    assert_eq!(problems(right), [""; 0], "{right}");
}

#[test]
fn an_unknown_field_is_found_with_the_one_that_is_meant() {
    check(
        "spec:\n  onwers: []\n",
        "spec:\n  owners: []\n",
        &["5:3 spec.onwers: 'onwers', which is no field of spec; write 'owners'"],
    );
    check(
        "spec:\n  network:\n    egress: {toCidrs: []}\n",
        "spec:\n  network:\n    egress: {toCIDRs: []}\n",
        &[
            "6:14 spec.network.egress.toCidrs: 'toCidrs', which is no field of spec.network.egress; write 'toCIDRs'",
        ],
    );
    check(
        "sepc: {}\n",
        "spec: {}\n",
        &["4:1 sepc: 'sepc', which is no field of a Tenant; write 'spec'"],
    );
    check(
        "spec: {freezer: {}}\n",
        "spec: {}\n",
        &["4:8 spec.freezer: 'freezer', which is no field of spec; remove it"],
    );
}

#[test]
fn a_value_of_the_wrong_type_is_found() {
    check(
        "spec: {owners: {kind: User, name: a}}\n",
        "spec: {owners: [{kind: User, name: a}]}\n",
        &["4:8 spec.owners: a mapping; write each item behind a '-'"],
    );
    check(
        "spec: {owners: [{kind: User, name: 12}]}\n",
        "spec: {owners: [{kind: User, name: '12'}]}\n",
        &["4:30 spec.owners[0].name: the number 12; put it in quotes"],
    );
    check(
        "spec: {network: {egress: {internet: 'yes'}}}\n",
        "spec: {network: {egress: {internet: yes}}}\n",
        &["4:27 spec.network.egress.internet: the text 'yes'; correct it"],
    );
    check(
        "spec: {quota: {namespace: {cpu: 1.5}}}\n",
        "spec: {quota: {namespace: {cpu: '1.5', pods: 4}}}\n",
        &["4:28 spec.quota.namespace['cpu']: the number 1.5; put it in quotes"],
    );
    check(
        "spec:\n  owners:\n",
        "spec:\n",
        &["5:3 spec.owners: null; give it a value, or remove it"],
    );
    check("spec: []\n", "", &["4:1 spec: a list of 0; correct it"]);
}

#[test]
fn a_missing_field_and_a_value_out_of_bounds_are_found() {
    check(
        "spec: {owners: [{kind: User}]}\n",
        "spec: {owners: [{kind: User, name: a}]}\n",
        &["4:17 spec.owners[0].name: nothing; add it"],
    );
    check(
        "spec: {owners: [{kind: Usr, name: a}], podSecurity: {enforce: privileged}}\n",
        "spec: {owners: [{kind: User, name: a}], podSecurity: {enforce: restricted}}\n",
        &[
            "4:18 spec.owners[0].kind: 'Usr'; write 'User'",
            "4:54 spec.podSecurity.enforce: 'privileged'; choose one of these",
        ],
    );
    let owners = |n: usize| {
        format!(
            "spec: {{owners: [{}]}}\n",
            vec!["{kind: User, name: a}"; n].join(", ")
        )
    };
    check(
        &owners(65),
        &owners(64),
        &["4:8 spec.owners: 65 items; leave some out"],
    );
    let labels = |value: &str| {
        format!("spec: {{namespaces: {{declared: [{{name: a, labels: {{x: '{value}'}}}}]}}}}\n")
    };
    check(
        &labels("a b"),
        &labels("a-b"),
        &["4:51 spec.namespaces.declared[0].labels['x']: 'a b'; choose another value"],
    );
    check(
        &labels(&"a".repeat(64)),
        &labels(&"a".repeat(63)),
        &["4:51 spec.namespaces.declared[0].labels['x']: 64 characters; leave some out"],
    );
}

/// A pattern that comes into the schema has to be checked by somebody offline.
#[test]
fn every_pattern_of_the_schema_is_known() {
    let known = [
        LABEL_VALUE,
        // Names of subjects, of namespaces and quantities: bailiwick_core::validate.
        "^[!-~]([ -~]*[!-~])?$",
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        // validate::own_namespaces
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?-$",
        r"^[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?$",
        // Guard rails: registries, classes, hostnames, external names and taints, likewise.
        r"^(localhost(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?|[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?((\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)+(:[0-9]{1,5})?|:[0-9]{1,5}))(/[a-z0-9]+([._-]+[a-z0-9]+)*)*/?$",
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$",
        r"^(\*|(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+)$",
        // Regions: validate::placement.
        r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        r"^([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    ];
    let schema = serde_json::to_value(&KindSchema::tenant().spec).unwrap();
    let mut open = vec![&schema];
    let mut patterns = 0;
    while let Some(value) = open.pop() {
        if let Some(pattern) = value.get("pattern").and_then(serde_json::Value::as_str) {
            assert!(known.contains(&pattern), "{pattern}");
            patterns += 1;
        }
        open.extend(value.as_object().into_iter().flat_map(|it| it.values()));
        open.extend(value.as_array().into_iter().flatten());
    }
    assert!(patterns > 5);
}

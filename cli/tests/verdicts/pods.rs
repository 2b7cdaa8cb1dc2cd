//! Pods, and what makes them.

use super::{check, check_with};

fn pod(namespace: &str, label: &str) -> String {
    let labels = if label.is_empty() {
        String::new()
    } else {
        format!(", labels: {{bailiwick.dev/tenant: {label}}}")
    };
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: {namespace}{labels}}}\n")
}

#[track_caller]
fn check_pod(namespace: &str, label: &str, allowed: bool) {
    let report = super::lines(&pod(namespace, label), &bailiwick_core::config::Config::default());
    match (&*report[0], allowed) {
        ("clean", true) => {}
        (found, false) if found.contains("BW-POD-LABEL metadata.labels['bailiwick.dev/tenant']") => {}
        (found, _) => panic!("{namespace} '{label}': {found}"),
    }
}

#[test]
fn a_pod_carries_its_own_tenants_label() {
    check_pod("acme-prod", "acme", true);
    check_pod("acme-prod", "globex", false);
    check_pod("acme-prod", "Acme", false);
    check_pod("shared", "", true);
    check_pod("shared", "acme", false);
    check_pod("default", "", true);
    check_pod("default", "acme", false);
}

#[test]
fn a_missing_label_is_stamped_asked_for_or_done_without() {
    check_pod("acme-prod", "", true);
    check_pod("globex-prod", "", false);
    check_pod("globex-prod", "globex", true);
    check_pod("hooli-prod", "", true);
    check_pod("hooli-prod", "acme", false);
}

#[test]
fn without_stamping_a_pod_needs_its_label() {
    let config = "podLabelStamping: false\n";
    check_with(config, &pod("acme-prod", "acme"), &["clean"]);
    check_with(
        config,
        &pod("acme-prod", ""),
        &["3:1 BW-POD-LABEL metadata.labels['bailiwick.dev/tenant']"],
    );
}

#[test]
fn what_makes_pods_is_judged_by_its_template() {
    let template = |tenant: &str| format!("{{metadata: {{labels: {{bailiwick.dev/tenant: {tenant}}}}}}}");
    for (api_version, kind, before, after, path) in [
        ("apps/v1", "Deployment", "spec: {template: ", "}", "spec.template"),
        (
            "apps/v1",
            "StatefulSet",
            "spec: {template: ",
            "}",
            "spec.template",
        ),
        ("apps/v1", "DaemonSet", "spec: {template: ", "}", "spec.template"),
        ("apps/v1", "ReplicaSet", "spec: {template: ", "}", "spec.template"),
        ("batch/v1", "Job", "spec: {template: ", "}", "spec.template"),
        (
            "v1",
            "ReplicationController",
            "spec: {template: ",
            "}",
            "spec.template",
        ),
        ("v1", "PodTemplate", "template: ", "", "template"),
        (
            "batch/v1",
            "CronJob",
            "spec: {jobTemplate: {spec: {template: ",
            "}}}",
            "spec.jobTemplate.spec.template",
        ),
    ] {
        let manifest = |tenant: &str| {
            let template = template(tenant);
            format!(
                "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: w, namespace: acme-prod, labels: {{bailiwick.dev/tenant: x}}}}\n{before}{template}{after}\n"
            )
        };
        let column = before.len() + "{metadata: {labels: {".len() + 1;
        let denied = format!("4:{column} BW-POD-LABEL {path}.metadata.labels['bailiwick.dev/tenant']");
        check(&manifest("acme"), &["clean"]);
        check(&manifest("globex"), &[&denied]);
    }
}

#[test]
fn a_template_that_is_missing_makes_pods_without_labels() {
    let deployment = |namespace: &str, spec: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: w, namespace: {namespace}}}\n{spec}"
        )
    };
    for spec in ["", "spec:\n", "spec: {template: {metadata: null}}\n"] {
        check(&deployment("acme-prod", spec), &["clean"]);
        let found = super::lines(
            &deployment("globex-prod", spec),
            &bailiwick_core::config::Config::default(),
        );
        assert!(
            found[0].contains("BW-POD-LABEL spec.template.metadata.labels"),
            "{found:?}"
        );
    }
}

#[test]
fn a_label_that_is_no_text_is_refused_with_its_field() {
    let pod = |label: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  namespace: acme-prod\n  labels:\n    version: {label}\n"
        )
    };
    check(&pod("'1.10'"), &["clean"]);
    check(&pod("1.10"), &["7:5 BW-MALFORMED metadata.labels.version"]);
    check(&pod("yes"), &["7:5 BW-MALFORMED metadata.labels.version"]);
    let deployment = |labels: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: w, namespace: acme-prod}}\nspec:\n  template:\n    metadata:\n      labels: {labels}\n"
        )
    };
    check(&deployment("{a: b}"), &["clean"]);
    check(
        &deployment("[a]"),
        &["7:7 BW-MALFORMED spec.template.metadata.labels"],
    );
}

#[test]
fn a_binding_of_a_pod_carries_no_tenant_label() {
    let binding = |label: &str| {
        format!(
            "apiVersion: v1\nkind: Binding\nmetadata: {{name: p, namespace: acme-prod, labels: {{{label}: acme}}}}\n"
        )
    };
    check(&binding("app"), &["clean"]);
    check(
        &binding("bailiwick.dev/tenant"),
        &["3:52 BW-BINDING-LABEL metadata.labels['bailiwick.dev/tenant']"],
    );
}

#[test]
fn kinds_that_no_rule_decides_are_not_called_clean() {
    check(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\napiVersion: capsule.clastix.io/v1beta2\nkind: Tenant\nmetadata: {name: oil}\n",
        &["not judged", "not judged"],
    );
}

#[test]
fn nobody_labels_an_object_of_any_kind_as_the_operators() {
    let object = |kind: &str, label: &str| {
        let metadata = format!("{{name: c, namespace: shared, labels: {{{label}: bailiwick-operator}}}}");
        format!("apiVersion: {kind}\nmetadata: {metadata}\n")
    };
    let denied = "3:49 BW-MANAGED metadata.labels['bailiwick.dev/managed-by']";
    for (kind, expected) in [
        ("v1\nkind: ConfigMap", "not judged"),
        ("apps/v1\nkind: Deployment", "clean"),
        ("example.org/v1\nkind: Widget", "not judged"),
    ] {
        check(&object(kind, "app"), &[expected]);
        check(&object(kind, "bailiwick.dev/managed-by"), &[denied]);
    }
}

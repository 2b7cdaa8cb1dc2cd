//! Namespaces, and what the operator manages in them.

use super::check;

fn namespace(name: &str, metadata: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n{metadata}")
}

#[track_caller]
fn check_label(name: &str, label: &str, allowed: bool) {
    let key = label.split(':').next().unwrap();
    let denied = format!("6:5 BW-NS-IDENTITY metadata.labels['{key}']");
    let expected = if allowed { "clean" } else { &*denied };
    check(
        &namespace(name, &format!("  labels:\n    {label}\n")),
        &[expected],
    );
}

#[test]
fn nobody_but_the_operator_says_whose_a_namespace_is() {
    check(&namespace("acme-prod", ""), &["clean"]);
    check_label("acme-prod", "bailiwick.dev/tenants: acme", true);
    check_label("acme-prod", "bailiwick.dev/tenant: acme", false);
    check_label("acme-prod", "bailiwick.dev/tenant: globex", false);
    check_label("acme-prod", "bailiwick.dev/pod-label: Verify", false);
    check_label("nobodys", "bailiwick.dev/tenant: acme", false);
    check_label("nobodys", "app: acme", true);
}

#[test]
fn pod_security_is_the_tenants_only_in_its_namespaces() {
    check_label("acme-prod", "pod-security.kubernetes.io/enforce: baseline", true);
    check_label(
        "acme-prod",
        "pod-security.kubernetes.io/enforce: privileged",
        false,
    );
    check_label("nobodys", "pod-security.kubernetes.io/enforce: privileged", true);
    check_label("acme-prod", "resource.kubernetes.io/admin-access: 'true'", false);
    check_label("nobodys", "resource.kubernetes.io/admin-access: 'true'", true);
}

#[test]
fn a_tenants_namespace_has_no_owner() {
    let owner = "  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a, uid: b}]\n";
    check(&namespace("nobodys", owner), &["clean"]);
    check(
        &namespace("acme-prod", owner),
        &["5:3 BW-NS-OWNERREF metadata.ownerReferences"],
    );
}

#[test]
fn the_platform_may_consent_to_an_adoption() {
    check(
        &namespace("acme-prod", "  annotations: {bailiwick.dev/adopt-by: acme}\n"),
        &["clean"],
    );
}

#[test]
fn what_the_operator_manages_is_not_written_by_others() {
    let policy = |namespace: &str, name: &str, label: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{label}: bailiwick-operator}}}}\n"
        )
    };
    check(&policy("acme-prod", "mine", "app"), &["clean"]);
    check(
        &policy("acme-prod", "mine", "bailiwick.dev/managed-by"),
        &["3:55 BW-MANAGED metadata.labels['bailiwick.dev/managed-by']"],
    );
    // The operator makes one of this name in a tenant's namespace, and none elsewhere.
    check(&policy("shared", "bailiwick-default-deny", "app"), &["clean"]);
    check(
        &policy("acme-prod", "bailiwick-default-deny", "app"),
        &["3:64 BW-MANAGED metadata.labels['bailiwick.dev/managed-by']"],
    );
    let quota = |name: &str| {
        format!("apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: {name}, namespace: acme-prod}}\n")
    };
    check(&quota("bailiwick"), &["clean"]);
    let binding = |name: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: '{name}', namespace: acme-prod}}\nroleRef: {{kind: ClusterRole, name: view}}\nsubjects: []\n"
        )
    };
    check(&binding("bailiwick:view"), &["clean"]);
    check(
        &binding("bailiwick:edit"),
        &["3:1 BW-MANAGED metadata.labels['bailiwick.dev/managed-by']"],
    );
}

/// A Tenant whose owners make namespaces.
const SERVING: &str = "apiVersion: bailiwick.dev/v1alpha1
kind: Tenant
metadata: {name: initech}
spec:
  owners: [{kind: Group, name: 'oidc:initech:admin'}]
  namespaces: {declared: [{name: initech-prod}], selfService: {prefix: initech-, max: 2, labels: [team]}}
---
";

#[track_caller]
fn check_made(names: &[&str], more: &str, expected: &[&str]) {
    let namespaces: Vec<String> = names
        .iter()
        .map(|it| {
            namespace(
                it,
                &format!("  labels: {{bailiwick.dev/tenant: initech{more}}}\n"),
            )
        })
        .collect();
    let all: Vec<&str> = std::iter::once("clean").chain(expected.iter().copied()).collect();
    check(&format!("{SERVING}{}", namespaces.join("---\n")), &all);
}

#[test]
fn what_an_owner_would_make_is_judged_as_an_owners() {
    check_made(&["initech-a"], "", &["clean"]);
    check_made(&["initech-a"], ", team: x", &["clean"]);
    check_made(
        &["initech-a"],
        ", other: x",
        &["12:43 BW-NS-METADATA metadata.labels['other']"],
    );
    check_made(&["other"], "", &["11:3 BW-NS-PREFIX metadata.name"]);
    check_made(&["initech-prod"], "", &["11:3 BW-NS-PREFIX metadata.name"]);
    check_made(&["initech-a", "initech-b"], "", &["clean", "clean"]);
    check_made(
        &["initech-a", "initech-b", "initech-c"],
        "",
        &[
            "11:3 BW-NS-SELFSERVICE metadata.name",
            "17:3 BW-NS-SELFSERVICE metadata.name",
            "23:3 BW-NS-SELFSERVICE metadata.name",
        ],
    );
    // Of a Tenant without self-service it is nobody's to write.
    check_label("acme-x", "bailiwick.dev/tenant: acme", false);
}

#[test]
fn what_is_in_a_namespace_that_an_owner_makes_is_judged_as_the_tenants() {
    let pod = |label: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: initech-a, labels: {{bailiwick.dev/tenant: {label}}}}}\nspec: {{containers: [{{name: c, image: x}}]}}\n"
        )
    };
    let made = namespace("initech-a", "  labels: {bailiwick.dev/tenant: initech}\n");
    check(
        &format!("{SERVING}{made}{}", pod("initech")),
        &["clean", "clean", "clean"],
    );
    check(
        &format!("{SERVING}{made}{}", pod("acme")),
        &[
            "clean",
            "clean",
            "16:54 BW-POD-LABEL metadata.labels['bailiwick.dev/tenant']",
        ],
    );
}

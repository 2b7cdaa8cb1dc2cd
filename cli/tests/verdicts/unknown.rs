//! What can't be told is said, and never called clean.

use bailiwick_cli::check::check_texts;
use bailiwick_core::config::Config;

use super::{CLUSTER, check, line};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: ";
const RBAC: &str = "apiVersion: rbac.authorization.k8s.io/v1\n";

fn binding(namespace: &str, role: &str, subject: &str) -> String {
    format!(
        "{RBAC}kind: RoleBinding\nmetadata: {{name: b, namespace: {namespace}}}\nroleRef: {{kind: ClusterRole, name: {role}}}\nsubjects:\n  - {subject}\n"
    )
}

#[test]
fn a_namespace_that_nobody_mentions() {
    check(&format!("{POD}shared}}\n"), &["clean"]);
    check(
        &format!("{POD}elsewhere}}\n"),
        &["can't tell: Namespace 'elsewhere' is in none of the files: whose it is can't be told"],
    );
    check(
        &format!("{POD}elsewhere}}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: elsewhere}}\n"),
        &["clean", "clean"],
    );
    // Reserved ones are nobody's in every cluster.
    check(&format!("{POD}kube-flannel}}\n"), &["clean"]);
}

#[test]
fn a_role_that_nobody_mentions() {
    let amir = "{kind: User, name: amir}";
    let unknown = "can't tell: ClusterRole 'mine' is in none of the files: what it grants can't be told";
    check(&binding("acme-prod", "view", amir), &["clean"]);
    check(&binding("acme-prod", "mine", amir), &[unknown]);
    check(&binding("shared", "mine", amir), &["clean"]);
    // What is certain whatever the role grants is said all the same.
    let both = binding(
        "acme-prod",
        "mine",
        "{kind: User, name: amir}\n  - {kind: User, name: gudrun}",
    );
    let denied = format!("7:5 BW-RB-SUBJECT subjects[1], {unknown}");
    check(&both, &[&denied]);
    let role = format!("---\n{RBAC}kind: ClusterRole\nmetadata: {{name: mine}}\nrules: []\n");
    check(&(binding("acme-prod", "mine", amir) + &role), &["clean", "clean"]);
}

#[test]
fn a_subjects_namespace_that_nobody_mentions() {
    let robot = "{kind: ServiceAccount, name: r, namespace: elsewhere}";
    let unknown =
        "can't tell: Namespace 'elsewhere' of a subject is in none of the files: whose it is can't be told";
    check(&binding("acme-prod", "view", robot), &[unknown]);
    check(&binding("shared", "view", robot), &["clean"]);
    check(
        &binding(
            "acme-prod",
            "view",
            "{kind: Group, name: 'system:serviceaccounts:elsewhere'}",
        ),
        &[unknown],
    );
    check(
        &binding(
            "acme-prod",
            "view",
            "{kind: User, name: 'system:serviceaccount:elsewhere:r'}",
        ),
        &[unknown],
    );
    let cluster_wide = |role: &str| {
        format!(
            "{RBAC}kind: ClusterRoleBinding\nmetadata: {{name: b}}\nroleRef: {{kind: ClusterRole, name: '{role}'}}\nsubjects: [{robot}]\n"
        )
    };
    check(&cluster_wide("view"), &[unknown]);
    check(&cluster_wide("system:discovery"), &["clean"]);
}

#[test]
fn an_object_without_a_namespace() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n";
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: p}\n";
    check(pod, &["can't tell: it says no metadata.namespace"]);
    check(map, &["not judged"]);
    for (namespace, expected) in [("shared", "clean"), ("acme-prod", "clean")] {
        let texts = [("cluster.yaml", CLUSTER), ("m.yaml", pod)];
        let report = check_texts(&texts, Some(namespace), &Config::default());
        assert_eq!(line(report.objects.last().unwrap()), expected);
    }
}

#[test]
fn the_same_object_twice() {
    let pod = |name: &str| format!("{POD}shared, labels: {{app: {name}}}}}\n---\n");
    check(
        &(pod("a") + &pod("b")),
        &[
            "clean",
            "can't tell: the same object is in m.yaml:1: which one counts can't be told",
        ],
    );
    let generated = pod("a").replace("name: p", "generateName: p-");
    check(&(generated.clone() + &generated), &["clean", "clean"]);
}

#[test]
fn a_template_expression_where_it_decides() {
    let pod = |label: &str, image: &str| {
        format!(
            "{POD}acme-prod, labels: {{app: '{label}'}}}}\nspec: {{containers: [{{image: '{image}'}}]}}\n"
        )
    };
    check(&pod("a", "{{ .Values.image }}"), &["clean"]);
    check(
        &pod("{{ .Release.Name }}", "a"),
        &["can't tell: it holds a template expression {{ }}"],
    );
    check(
        &binding("acme-prod", "view", "{kind: User, name: '{{ .Values.user }}'}"),
        &["can't tell: it holds a template expression {{ }}"],
    );
}

#[test]
fn no_tenant_at_all() {
    let pod = format!("{POD}default}}\n");
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: p}\n";
    let alone = check_texts(&[("m.yaml", &pod)], None, &Config::default());
    assert_eq!(alone.exit_code(), 2);
    let beside = check_texts(
        &[("cluster.yaml", CLUSTER), ("m.yaml", &pod)],
        None,
        &Config::default(),
    );
    assert_eq!(beside.exit_code(), 0);
    // Where nothing is judged, nothing has to be known.
    let nothing = check_texts(&[("m.yaml", map)], None, &Config::default());
    assert_eq!(nothing.exit_code(), 0);
}

//! Roles and bindings: whom they name, and what they really grant.

use super::{check, check_with};

const RBAC: &str = "apiVersion: rbac.authorization.k8s.io/v1\n";

fn binding(namespace: &str, role: &str, subject: &str) -> String {
    format!(
        "{RBAC}kind: RoleBinding\nmetadata: {{name: b, namespace: {namespace}}}\nroleRef: {{{role}}}\nsubjects:\n  - {subject}\n"
    )
}

fn cluster_binding(role: &str, subject: &str) -> String {
    format!(
        "{RBAC}kind: ClusterRoleBinding\nmetadata: {{name: b}}\nroleRef: {{kind: ClusterRole, name: '{role}'}}\nsubjects:\n  - {subject}\n"
    )
}

const VIEW: &str = "kind: ClusterRole, name: view";
const SUBJECT: &str = "6:5 BW-RB-SUBJECT subjects[0]";
const GRANT: &str = "4:11 BW-RB-GRANT roleRef.name";

#[test]
fn a_tenants_binding_names_its_own_people() {
    for (subject, expected) in [
        ("{kind: User, name: amir}", "clean"),
        ("{kind: User, name: Amir}", SUBJECT),
        ("{kind: User, name: gudrun}", SUBJECT),
        ("{kind: Group, name: 'oidc:acme:audit'}", "clean"),
        ("{kind: Group, name: 'oidc:acme'}", SUBJECT),
        ("{kind: Group, name: 'system:authenticated'}", SUBJECT),
        ("{kind: ServiceAccount, name: d, namespace: acme-dev}", "clean"),
        ("{kind: ServiceAccount, name: d, namespace: globex-prod}", SUBJECT),
        ("{kind: ServiceAccount, name: d, namespace: kube-system}", "clean"),
        ("{kind: Group, name: 'system:serviceaccounts:acme-dev'}", "clean"),
        (
            "{kind: Group, name: 'system:serviceaccounts:globex-prod'}",
            SUBJECT,
        ),
        ("{kind: Robot, name: amir}", "6:6 BW-MALFORMED subjects[0].kind"),
    ] {
        check(&binding("acme-prod", VIEW, subject), &[expected]);
        check(&binding("shared", VIEW, subject), &["clean"]);
    }
    let config = "platformSubjects: {groups: ['oidc:platform:*']}\n";
    let platform = binding("acme-prod", VIEW, "{kind: Group, name: 'oidc:platform:sre'}");
    check_with(config, &platform, &["clean"]);
    check(&platform, &[SUBJECT]);
}

#[test]
fn a_tenants_binding_grants_nothing_that_reaches_out() {
    let amir = "{kind: User, name: amir}";
    for (role, expected) in [
        ("edit", "clean"),
        ("bailiwick-admin", "clean"),
        ("cluster-admin", "4:30 BW-RB-GRANT roleRef.name"),
        ("'system:kube-scheduler'", "4:30 BW-RB-GRANT roleRef.name"),
    ] {
        let role = format!("kind: ClusterRole, name: {role}");
        check(&binding("acme-prod", &role, amir), &[expected]);
        check(&binding("shared", &role, amir), &["clean"]);
    }
}

#[test]
fn a_role_of_the_files_is_judged_by_what_it_grants() {
    let role = |namespace: &str, verb: &str| {
        format!(
            "{RBAC}kind: Role\nmetadata: {{name: r, namespace: {namespace}}}\nrules:\n  - {{apiGroups: ['']\n     , resources: [pods/binding], verbs: [{verb}]}}\n---\n"
        )
    };
    let denied = "5:5 BW-ROLE-GRANT rules[0]";
    check(&role("acme-prod", "get"), &["clean"]);
    check(&role("acme-prod", "create"), &[denied]);
    check(&role("shared", "create"), &["clean"]);
    let amir = "{kind: User, name: amir}";
    let bound = |verb: &str| role("acme-prod", verb) + &binding("acme-prod", "name: r, kind: Role", amir);
    check(&bound("get"), &["clean", "clean"]);
    check(&bound("create"), &[denied, &GRANT.replace("4:11", "11:11")]);
}

#[test]
fn a_cluster_role_binding_gives_tenants_discovery_only() {
    let denied = "6:5 BW-CRB-SUBJECT subjects[0]";
    for (role, subject, expected) in [
        ("system:discovery", "{kind: User, name: amir}", "clean"),
        ("view", "{kind: User, name: amir}", denied),
        ("view", "{kind: User, name: pat}", "clean"),
        ("view", "{kind: Group, name: 'system:authenticated'}", denied),
        (
            "system:basic-user",
            "{kind: Group, name: 'system:authenticated'}",
            "clean",
        ),
        (
            "view",
            "{kind: ServiceAccount, name: d, namespace: acme-dev}",
            denied,
        ),
        (
            "view",
            "{kind: ServiceAccount, name: d, namespace: shared}",
            "clean",
        ),
    ] {
        check(&cluster_binding(role, subject), &[expected]);
    }
    let config =
        "harmlessPermissions: [{apiGroups: [storage.k8s.io], resources: [storageclasses], verbs: [list]}]\n";
    let role = format!(
        "{RBAC}kind: ClusterRole\nmetadata: {{name: r}}\nrules:\n  - {{apiGroups: [storage.k8s.io], resources: [storageclasses], verbs: [list]}}\n---\n"
    );
    let bound = role + &cluster_binding("r", "{kind: User, name: amir}");
    check_with(config, &bound, &["clean", "clean"]);
    check(
        &bound,
        &["4:1 BW-CR-WIDEN rules", "12:5 BW-CRB-SUBJECT subjects[0]"],
    );
}

#[test]
fn a_cluster_role_does_not_widen_what_tenants_have() {
    let role = |name: &str, label: &str, resource: &str| {
        format!(
            "{RBAC}kind: ClusterRole\nmetadata: {{name: '{name}', labels: {{{label}: 'true'}}}}\nrules:\n  - {{apiGroups: [''], resources: [{resource}], verbs: [create]}}\n"
        )
    };
    let to_edit = "rbac.authorization.k8s.io/aggregate-to-edit";
    let to_view = "rbac.authorization.k8s.io/aggregate-to-view";
    let denied = "4:1 BW-CR-WIDEN rules";
    check(&role("mine", "app", "bindings"), &["clean"]);
    check(&role("mine", to_edit, "widgets"), &["clean"]);
    // `edit` is bound to acme's developers, and `edit` takes in `view`; `admin`, which takes in both, is bound to nobody.
    check(&role("mine", to_edit, "bindings"), &[denied]);
    check(&role("mine", to_view, "bindings"), &[denied]);
    check(
        &role("mine", "rbac.authorization.k8s.io/aggregate-to-admin", "bindings"),
        &["clean"],
    );
    // Two that add the same don't hide each other.
    let both = role("mine", to_edit, "bindings") + "---\n" + &role("too", to_edit, "bindings");
    check(&both, &[denied, &denied.replace("4:1", "10:1")]);
    // Kubernetes' own role is there already: applying it is an update.
    check(&role("edit", "app", "widgets"), &["clean"]);
    check(&role("system:basic-user", "app", "widgets"), &[denied]);
}

//! A ClusterRoleBinding gives tenants' subjects nothing but discovery.

use bailiwick_core::config::Config;
use bailiwick_core::snapshot::Need;

use crate::cluster::{ADMIN, Ask, OPERATOR, PASS, check, check_in, cluster};

const SUBJECT: &str = "BW-CRB-SUBJECT subjects[0]";

fn binding(role: &str, subjects: &str) -> String {
    format!("{{metadata: {{name: b}}, roleRef: {{kind: ClusterRole, name: '{role}'}}, subjects: {subjects}}}")
}

/// A new ClusterRoleBinding of cluster-admin: refused or not; discovery and the like may go to anybody.
#[track_caller]
fn bind(subject: &str, expected: &str) {
    let ask = |role: &str| Ask::create("clusterrolebindings", &binding(role, &format!("[{subject}]")));
    for user in [
        ADMIN,
        "alice",
        "system:serviceaccount:kube-system:clusterrole-aggregation-controller",
    ] {
        check(&ask("cluster-admin").by(user), expected);
        check(&ask("view").by(user), expected);
        for role in ["system:discovery", "system:basic-user", "empty"] {
            check(&ask(role).by(user), PASS);
        }
    }
    check(&ask("cluster-admin").by(OPERATOR), PASS);
    check(&ask("cluster-admin").by("system:apiserver"), PASS);
}

#[test]
fn a_tenants_subject_gets_nothing_cluster_wide() {
    for subject in [
        "{kind: User, name: alice}",
        "{kind: User, name: acme-ci}",
        "{kind: User, name: bob}",
        "{kind: Group, name: 'oidc:acme:dev'}",
        "{kind: Group, name: 'oidc:globex:'}",
        "{kind: Group, name: shared}",
        "{kind: ServiceAccount, name: app, namespace: acme-prod}",
        "{kind: ServiceAccount, name: app, namespace: acme-bare}",
        "{kind: ServiceAccount, name: app, namespace: acme-new}",
        "{kind: ServiceAccount, name: app, namespace: taken}",
        "{kind: ServiceAccount, name: app, namespace: ghost}",
        "{kind: ServiceAccount, name: deployer, namespace: ci}",
        "{kind: User, name: 'system:serviceaccount:acme-prod:app'}",
        "{kind: User, name: 'system:serviceaccount:ci:deployer'}",
        "{kind: Group, name: 'system:serviceaccounts:acme-prod'}",
        "{kind: Group, name: 'system:serviceaccounts:ci'}",
    ] {
        bind(subject, SUBJECT);
    }
}

#[test]
fn a_group_with_everybody_in_it_has_tenants_in_it() {
    for group in [
        "system:authenticated",
        "system:unauthenticated",
        "system:serviceaccounts",
    ] {
        bind(&format!("{{kind: Group, name: '{group}'}}"), SUBJECT);
    }
    bind("{kind: User, name: 'system:anonymous'}", SUBJECT);
}

#[test]
fn everybody_else_gets_what_they_need() {
    for subject in [
        "{kind: ServiceAccount, name: cni, namespace: kube-system}",
        "{kind: ServiceAccount, name: cni, namespace: kube-lost}",
        "{kind: ServiceAccount, name: controller, namespace: argocd}",
        "{kind: ServiceAccount, name: agent, namespace: shop}",
        "{kind: ServiceAccount, name: other, namespace: ci}",
        "{kind: ServiceAccount, name: agent, namespace: not-made-yet}",
        "{kind: Group, name: 'system:serviceaccounts:kube-system'}",
        "{kind: Group, name: 'system:serviceaccounts:shop'}",
        "{kind: Group, name: 'system:masters'}",
        "{kind: Group, name: 'system:nodes'}",
        "{kind: Group, name: sre}",
        "{kind: User, name: 'system:kube-proxy'}",
        "{kind: User, name: stranger}",
        "{kind: User, name: Alice}",
        "{kind: User, name: 'alice '}",
        "{kind: Group, name: 'oidc:acme'}",
        "{kind: Group, name: 'OIDC:acme:dev'}",
    ] {
        bind(subject, PASS);
    }
}

#[test]
fn each_subject_is_judged_at_its_place() {
    let subjects = "[{kind: Group, name: sre}, {kind: User, name: alice}, {kind: Node, name: node}, {kind: User, name: bob}]";
    check(
        &Ask::create("clusterrolebindings", &binding("view", subjects)),
        "BW-MALFORMED subjects[2].kind; BW-CRB-SUBJECT subjects[1]; BW-CRB-SUBJECT subjects[3]",
    );
}

#[test]
fn what_was_bound_before_stays_editable() {
    let update = |old: &str, new: &str| {
        Ask::update(
            "clusterrolebindings",
            &binding("cluster-admin", old),
            &binding("cluster-admin", new),
        )
    };
    let alice = "{kind: User, name: alice}";
    check(&update(&format!("[{alice}]"), &format!("[{alice}]")), PASS);
    check(
        &update(
            &format!("[{alice}]"),
            &format!("[{{kind: Group, name: sre}}, {alice}]"),
        ),
        PASS,
    );
    check(&update(&format!("[{alice}]"), "null"), PASS);
    check(&update("null", &format!("[{alice}]")), SUBJECT);
    check(
        &update(
            &format!("[{alice}]"),
            &format!("[{alice}, {{kind: User, name: bob}}]"),
        ),
        "BW-CRB-SUBJECT subjects[1]",
    );
    let other = Ask::update(
        "clusterrolebindings",
        &binding("system:discovery", &format!("[{alice}]")),
        &binding("view", &format!("[{alice}]")),
    );
    check(&other, SUBJECT);
    check(
        &Ask::delete(
            "clusterrolebindings",
            &binding("cluster-admin", &format!("[{alice}]")),
        ),
        PASS,
    );
}

#[test]
fn aggregation_is_followed_over_every_step() {
    let ask = |role: &str| {
        Ask::create(
            "clusterrolebindings",
            &binding(role, "[{kind: User, name: alice}]"),
        )
    };
    for role in ["whole", "top", "sharpened", "twice"] {
        check(&ask(role), SUBJECT);
    }
    check(&ask("system:discovery"), PASS);
}

#[test]
fn a_role_that_does_not_exist_is_bound_to_no_tenant() {
    let ask = |who: &str| {
        Ask::create(
            "clusterrolebindings",
            &binding("gone", &format!("[{{kind: User, name: {who}}}]")),
        )
    };
    check(&ask("alice"), "needs ClusterRole gone");
    check(&ask("stranger"), PASS);
    let missing = cluster().without(Need::ClusterRole("gone".to_owned()));
    check_in(&missing, &ask("alice"), "BW-UNDECIDED roleRef.name");
    check_in(&missing, &ask("stranger"), PASS);
}

#[test]
fn cluster_wide_there_are_cluster_roles_only() {
    let ask = |kind: &str, who: &str| {
        let subjects = format!("[{{kind: User, name: {who}}}]");
        Ask::create(
            "clusterrolebindings",
            &binding("reader", &subjects).replace("ClusterRole", kind),
        )
    };
    for kind in ["Role", "clusterrole", "''"] {
        check(&ask(kind, "alice"), "BW-MALFORMED roleRef.kind");
        check(&ask(kind, "stranger"), PASS);
    }
}

#[test]
fn the_configuration_may_call_more_harmless() {
    let mut snapshot = cluster();
    let ask = |role: &str| {
        Ask::create(
            "clusterrolebindings",
            &binding(role, "[{kind: User, name: alice}]"),
        )
    };
    check_in(&snapshot, &ask("view"), SUBJECT);
    let rules = "harmlessPermissions: [{apiGroups: [''], resources: [pods], verbs: [get, list]}]";
    snapshot.config = std::sync::Arc::new(Config::from_yaml(rules).unwrap());
    check_in(&snapshot, &ask("view"), PASS);
    check_in(&snapshot, &ask("cluster-admin"), SUBJECT);
}

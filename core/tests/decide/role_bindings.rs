//! A RoleBinding in a tenant's namespace names that tenant's subjects and the platform's, and gives the tenant's
//! nothing that reaches out.

use bailiwick_core::snapshot::Need;

use crate::cluster::{ADMIN, Ask, OPERATOR, PASS, check, check_in, cluster};

const SUBJECT: &str = "BW-RB-SUBJECT subjects[0]";
const GRANT: &str = "BW-RB-GRANT roleRef.name";

fn binding(kind: &str, role: &str, subjects: &str) -> String {
    format!("{{metadata: {{name: b}}, roleRef: {{kind: {kind}, name: '{role}'}}, subjects: {subjects}}}")
}

/// A new RoleBinding of a harmless ClusterRole in acme's namespace.
#[track_caller]
fn bind(subject: &str, expected: &str) {
    let ask = Ask::create(
        "rolebindings",
        &binding("ClusterRole", "view", &format!("[{subject}]")),
    );
    for user in [
        ADMIN,
        "alice",
        "system:apiserver",
        "system:serviceaccount:kube-system:x",
    ] {
        check(&ask.clone().within("acme-prod").by(user), expected);
    }
    check(&ask.clone().within("acme-bare"), expected);
    check(&ask.clone().within("acme-prod").by(OPERATOR), PASS);
    check(&ask.clone().within("shop"), PASS);
    check(&ask.within("kube-system"), PASS);
}

/// A new RoleBinding of this role for one of acme's own in acme's namespace.
#[track_caller]
fn grant(kind: &str, role: &str, expected: &str) {
    for subject in [
        "{kind: User, name: alice}",
        "{kind: ServiceAccount, name: app}",
        "{kind: Group, name: 'system:serviceaccounts:acme-dev'}",
    ] {
        let ask = Ask::create("rolebindings", &binding(kind, role, &format!("[{subject}]")));
        check(&ask.clone().within("acme-prod"), expected);
        check(&ask.within("shop"), PASS);
    }
}

#[test]
fn the_tenants_own_are_bound() {
    bind("{kind: User, name: alice}", PASS);
    bind("{kind: User, name: acme-ci}", PASS);
    bind("{kind: Group, name: 'oidc:acme:admin'}", PASS);
    bind("{kind: Group, name: 'oidc:acme:'}", PASS);
    bind("{kind: ServiceAccount, name: app, namespace: acme-dev}", PASS);
    bind("{kind: ServiceAccount, name: app, namespace: acme-new}", PASS);
    bind("{kind: ServiceAccount, name: app}", PASS);
    bind("{kind: ServiceAccount, name: deployer, namespace: ci}", PASS);
    bind("{kind: User, name: 'system:serviceaccount:acme-prod:app'}", PASS);
    bind("{kind: Group, name: 'system:serviceaccounts:acme-dev'}", PASS);
    bind("{kind: Group, name: 'system:serviceaccounts:acme-bare'}", PASS);
    bind("{kind: Group, name: 'system:serviceaccounts:ci'}", PASS);
}

#[test]
fn the_platforms_are_bound() {
    bind("{kind: User, name: robot}", PASS);
    bind("{kind: User, name: sre-1}", PASS);
    bind("{kind: Group, name: sre}", PASS);
    bind("{kind: Group, name: 'oidc:platform:x'}", PASS);
    bind("{kind: ServiceAccount, name: agent, namespace: shop}", PASS);
    bind(
        "{kind: ServiceAccount, name: agent, namespace: kube-system}",
        PASS,
    );
    bind(
        "{kind: User, name: 'system:serviceaccount:argocd:controller'}",
        PASS,
    );
    bind("{kind: Group, name: 'system:serviceaccounts:shop'}", PASS);
}

#[test]
fn another_tenants_are_not() {
    bind("{kind: User, name: bob}", SUBJECT);
    bind("{kind: Group, name: 'oidc:globex:dev'}", SUBJECT);
    bind(
        "{kind: ServiceAccount, name: app, namespace: globex-prod}",
        SUBJECT,
    );
    bind("{kind: ServiceAccount, name: app, namespace: contested}", SUBJECT);
    bind("{kind: ServiceAccount, name: app, namespace: ghost}", SUBJECT);
    bind("{kind: ServiceAccount, name: app, namespace: empty}", SUBJECT);
    bind(
        "{kind: User, name: 'system:serviceaccount:globex-prod:app'}",
        SUBJECT,
    );
    bind(
        "{kind: Group, name: 'system:serviceaccounts:globex-prod'}",
        SUBJECT,
    );
}

#[test]
fn a_group_is_everybody_in_it() {
    // acme's deployer lives in ci: the group of ci would let it into globex.
    let ask = |group: &str| {
        let subjects = format!("[{{kind: Group, name: 'system:serviceaccounts:{group}'}}]");
        Ask::create("rolebindings", &binding("ClusterRole", "view", &subjects)).within("globex-prod")
    };
    check(&ask("ci"), SUBJECT);
    check(&ask("shop"), PASS);
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
fn nobodys_and_everybodys_are_not() {
    bind("{kind: User, name: stranger}", SUBJECT);
    bind("{kind: Group, name: auditors}", SUBJECT);
    bind("{kind: Group, name: shared}", SUBJECT);
    bind("{kind: Group, name: 'system:masters'}", SUBJECT);
    bind("{kind: Group, name: 'system:nodes'}", SUBJECT);
    bind("{kind: User, name: 'system:kube-controller-manager'}", SUBJECT);
    bind("{kind: User, name: ''}", SUBJECT);
}

#[test]
fn a_name_that_looks_like_anothers_is_not_its() {
    for name in [
        "Alice",
        "ALICE",
        "'alice '",
        "' alice'",
        "\"alice\\n\"",
        "аlice",
        "ali",
        "\"alice\\0\"",
        "ａlice",
    ] {
        bind(&format!("{{kind: User, name: {name}}}"), SUBJECT);
    }
    for name in [
        "oidc:acme",
        "OIDC:acme:dev",
        "' oidc:acme:dev'",
        "'*'",
        "'sre '",
        "SRE",
    ] {
        bind(&format!("{{kind: Group, name: {name}}}"), SUBJECT);
    }
    for name in [
        "acme-prod:app:x",
        "acme-prod:",
        ":app",
        "acme-prod",
        "Acme-prod:app",
        "shop:a:b",
        "",
    ] {
        bind(
            &format!("{{kind: User, name: 'system:serviceaccount:{name}'}}"),
            SUBJECT,
        );
    }
    bind("{kind: Group, name: alice}", SUBJECT);
    bind("{kind: User, name: 'oidc:acme:admin'}", SUBJECT);
    bind("{kind: User, name: app, namespace: acme-prod}", SUBJECT);
    bind(
        "{kind: ServiceAccount, name: 'app:x', namespace: acme-prod}",
        SUBJECT,
    );
    bind(
        "{kind: ServiceAccount, name: app, namespace: 'acme-prod:x'}",
        SUBJECT,
    );
}

#[test]
fn a_kind_of_subject_that_nobody_knows_is_refused() {
    for kind in ["user", "group", "Serviceaccount", "Node", "''"] {
        bind(
            &format!("{{kind: {kind}, name: alice}}"),
            "BW-MALFORMED subjects[0].kind",
        );
    }
    bind("{name: alice}", "BW-MALFORMED subjects[0].kind");
}

#[test]
fn each_subject_is_judged_at_its_place() {
    let mixed = "[{kind: User, name: alice}, {kind: User, name: bob}, {kind: Group, name: sre}, {kind: User, name: x}]";
    let refused = "BW-RB-SUBJECT subjects[1]; BW-RB-SUBJECT subjects[3]";
    check(
        &Ask::create("rolebindings", &binding("ClusterRole", "view", mixed)).within("acme-prod"),
        refused,
    );
    let and_more = format!("{refused}; {GRANT}");
    check(
        &Ask::create("rolebindings", &binding("Role", "binder", mixed)).within("acme-prod"),
        &and_more,
    );
    let missing = cluster().without(Need::ClusterRole("gone".to_owned()));
    check_in(
        &missing,
        &Ask::create("rolebindings", &binding("ClusterRole", "gone", mixed)).within("acme-prod"),
        &format!("{refused}; BW-UNDECIDED roleRef.name"),
    );
}

#[test]
fn what_was_bound_before_stays_editable() {
    let update = |old: &str, new: &str| {
        Ask::update(
            "rolebindings",
            &binding("ClusterRole", "cluster-admin", old),
            &binding("ClusterRole", "cluster-admin", new),
        )
        .within("acme-prod")
    };
    let bob = "{kind: User, name: bob}";
    let alice = "{kind: User, name: alice}";
    check(
        &update(&format!("[{bob}, {alice}]"), &format!("[{alice}, {bob}]")),
        PASS,
    );
    check(&update(&format!("[{bob}, {alice}]"), "[]"), PASS);
    check(&update(&format!("[{bob}, {alice}]"), "null"), PASS);
    check(&update("[]", &format!("[{bob}]")), SUBJECT);
    check(&update("null", &format!("[{bob}]")), SUBJECT);
    check(&update(&format!("[{bob}]"), &format!("[{bob}, {alice}]")), GRANT);
    check(
        &update(&format!("[{alice}]"), &format!("[{alice}, {bob}]")),
        "BW-RB-SUBJECT subjects[1]",
    );
    check(&update(&format!("[{bob}]"), "[{kind: User, name: Bob}]"), SUBJECT);
    // The same ServiceAccount, said in full.
    check(
        &update(
            "[{kind: ServiceAccount, name: app}]",
            "[{kind: ServiceAccount, name: app, namespace: acme-prod}]",
        ),
        PASS,
    );
    check(
        &update(
            "[{kind: ServiceAccount, name: app}]",
            "[{kind: ServiceAccount, name: app, namespace: acme-dev}]",
        ),
        GRANT,
    );
}

#[test]
fn another_role_for_the_same_subjects_is_a_new_binding() {
    let to = |kind: &str, role: &str| {
        let subjects = "[{kind: User, name: alice}]";
        Ask::update(
            "rolebindings",
            &binding("ClusterRole", "view", subjects),
            &binding(kind, role, subjects),
        )
        .within("acme-prod")
    };
    check(&to("ClusterRole", "view"), PASS);
    check(&to("Role", "reader"), PASS);
    check(&to("ClusterRole", "cluster-admin"), GRANT);
    check(&to("Role", "binder"), GRANT);
}

#[test]
fn a_tenants_own_get_no_role_that_reaches_out() {
    grant("ClusterRole", "view", PASS);
    grant("ClusterRole", "empty", PASS);
    grant("Role", "reader", PASS);
    grant("ClusterRole", "cluster-admin", GRANT);
    grant("ClusterRole", "sharp", GRANT);
    grant("Role", "binder", GRANT);
}

#[test]
fn aggregation_is_followed_over_every_step() {
    grant("ClusterRole", "whole", PASS);
    grant("ClusterRole", "top", PASS);
    grant("ClusterRole", "sharpened", GRANT);
    grant("ClusterRole", "twice", GRANT);
    grant("ClusterRole", "either", GRANT);
}

#[test]
fn the_platforms_own_get_what_they_need() {
    for role in ["cluster-admin", "sharp", "unheard-of"] {
        for subject in [
            "{kind: Group, name: sre}",
            "{kind: ServiceAccount, name: agent, namespace: shop}",
        ] {
            let subjects = format!("[{subject}]");
            check(
                &Ask::create("rolebindings", &binding("ClusterRole", role, &subjects)).within("acme-prod"),
                PASS,
            );
        }
    }
}

#[test]
fn a_role_that_nobody_has_seen_is_asked_for_and_then_refused() {
    grant("ClusterRole", "gone", "needs ClusterRole gone");
    grant("Role", "gone", "needs Role acme-prod/gone");
    // A ClusterRole is no Role, and the other way round.
    grant("Role", "view", "needs Role acme-prod/view");
    grant("ClusterRole", "reader", "needs ClusterRole reader");
    let ask = Ask::create(
        "rolebindings",
        &binding("Role", "gone", "[{kind: User, name: alice}]"),
    )
    .within("acme-prod");
    let need = Need::Role {
        namespace: "acme-prod".to_owned(),
        name: "gone".to_owned(),
    };
    check_in(&cluster().without(need), &ask, "BW-UNDECIDED roleRef.name");
    let there = cluster().with_role("acme-prod".to_owned(), "gone".to_owned(), Vec::new());
    check_in(&there, &ask, PASS);
}

#[test]
fn a_name_that_no_role_has_is_not_asked_for() {
    for role in ["", ".", "..", "a/b", "../../secrets", "a%2fb"] {
        grant("ClusterRole", role, "BW-MALFORMED roleRef.name");
        grant("Role", role, "BW-MALFORMED roleRef.name");
    }
    for kind in ["role", "clusterrole", "''", "Node"] {
        grant(kind, "view", "BW-MALFORMED roleRef.kind");
    }
}

#[test]
fn a_binding_of_nobody_passes() {
    for subjects in ["[]", "null"] {
        for role in ["cluster-admin", "gone"] {
            check(
                &Ask::create("rolebindings", &binding("ClusterRole", role, subjects)).within("acme-prod"),
                PASS,
            );
        }
    }
    check(
        &Ask::delete(
            "rolebindings",
            &binding("ClusterRole", "cluster-admin", "[{kind: User, name: bob}]"),
        )
        .within("acme-prod"),
        PASS,
    );
}

#[test]
fn in_a_namespace_that_nobody_has_seen_one_waits() {
    let ask = |namespace: &str| {
        Ask::create(
            "rolebindings",
            &binding("ClusterRole", "view", "[{kind: User, name: bob}]"),
        )
        .within(namespace)
    };
    check(&ask("brand-new"), "needs Namespace brand-new");
    check(&ask("acme-new"), "needs Namespace acme-new");
    check(&ask("a/b"), "BW-MALFORMED metadata.namespace");
    let missing = cluster()
        .without(Need::Namespace("brand-new".to_owned()))
        .without(Need::Namespace("acme-new".to_owned()));
    check_in(&missing, &ask("brand-new"), PASS);
    check_in(&missing, &ask("acme-new"), SUBJECT);
}

//! Pods carry their own Namespace's tenant label, whoever makes them and however they are changed.

use std::sync::Arc;

use bailiwick_core::config::Config;
use bailiwick_core::snapshot::Need;

use crate::cluster::{ADMIN, Ask, OPERATOR, PASS, check, check_in, cluster};

const REFUSED: &str = "BW-POD-LABEL label($T)";
/// Every way to change a Pod.
const PATHS: [&str; 4] = ["pods", "pods/status", "pods/ephemeralcontainers", "pods/resize"];

fn pod(labels: &str) -> String {
    format!("{{metadata: {{name: p, labels: {labels}}}}}")
}

/// A new Pod with these labels in this namespace.
#[track_caller]
fn create(namespace: &str, labels: &str, expected: &str) {
    let ask = Ask::create("pods", &pod(labels)).within(namespace);
    check(&ask, expected);
    check(&ask.clone().by("alice").of("oidc:acme:admin"), expected);
    check(
        &ask.clone()
            .by("system:serviceaccount:kube-system:replicaset-controller"),
        expected,
    );
    check(&ask.nameless(), expected);
}

/// A change of a Pod's labels in this namespace, by every path.
#[track_caller]
fn update(namespace: &str, old: &str, new: &str, expected: &str) {
    let ask = Ask::update("pods", &pod(old), &pod(new)).within(namespace);
    for path in PATHS {
        for user in [
            ADMIN,
            "alice",
            "system:node:node",
            "system:kube-scheduler",
            "system:apiserver",
        ] {
            check(&ask.clone().at(path).by(user), expected);
        }
    }
}

#[test]
fn a_pod_has_its_own_tenants_label() {
    for namespace in [
        "acme-prod",
        "acme-dev",
        "acme-lab",
        "acme-odd",
        "acme-old",
        "acme-bare",
        "acme-end",
    ] {
        create(namespace, "{$T: acme}", PASS);
        create(namespace, "{$T: globex}", REFUSED);
    }
    create("globex-prod", "{$T: globex}", PASS);
    create("globex-prod", "{$T: acme}", REFUSED);
}

#[test]
fn a_label_is_compared_letter_by_letter() {
    for value in [
        "''",
        "Acme",
        "ACME",
        "'acme '",
        "' acme'",
        "\"acme\\n\"",
        "acmе",
        "acme1",
        "acm",
        "\"acme\\0\"",
    ] {
        create("acme-prod", &format!("{{$T: {value}}}"), REFUSED);
    }
    create(
        "acme-prod",
        "{$T: acme, bailiwick.dev/Tenant: globex, tenant: globex}",
        PASS,
    );
}

#[test]
fn a_pod_may_lack_the_label_where_it_is_verified_only() {
    create("acme-lab", "{}", PASS);
    create("acme-lab", "{a: b}", PASS);
    create("acme-lab", "null", PASS);
    for namespace in ["acme-prod", "acme-dev", "acme-odd", "acme-old", "acme-bare"] {
        create(namespace, "{}", REFUSED);
        create(namespace, "null", REFUSED);
    }
}

#[test]
fn a_pod_outside_tenants_has_no_label() {
    for namespace in ["shop", "kube-system", "argocd", "reborn"] {
        create(namespace, "{}", PASS);
        create(namespace, "{$MODE: Verify}", PASS);
        create(namespace, "{$T: acme}", REFUSED);
        create(namespace, "{$T: ''}", REFUSED);
    }
}

#[test]
fn a_namespace_whose_label_names_nobody_is_nobody_elses() {
    create("ghost", "{$T: ghost}", PASS);
    create("ghost", "{$T: acme}", REFUSED);
    create("ghost", "{}", REFUSED);
    create("empty", "{$T: ''}", PASS);
    create("empty", "{}", REFUSED);
}

#[test]
fn what_leaves_the_label_alone_passes() {
    for label in ["{}", "null", "{$T: acme}", "{$T: globex}", "{$T: ''}"] {
        for namespace in ["acme-prod", "acme-lab", "globex-prod", "shop"] {
            update(namespace, label, label, PASS);
        }
    }
    update("acme-prod", "{$T: globex, a: b}", "{$T: globex, a: c}", PASS);
}

#[test]
fn a_change_of_the_label_leads_to_the_right_one_or_nowhere() {
    update("acme-prod", "{}", "{$T: acme}", PASS);
    update("acme-prod", "{$T: globex}", "{$T: acme}", PASS);
    update("acme-prod", "{$T: acme}", "{$T: globex}", REFUSED);
    update("acme-prod", "{$T: acme}", "{$T: Acme}", REFUSED);
    update("acme-prod", "{$T: acme}", "{$T: ''}", REFUSED);
    update("acme-prod", "{$T: acme}", "{}", REFUSED);
    update("acme-prod", "{$T: acme}", "null", REFUSED);
    update("acme-lab", "{$T: acme}", "{}", REFUSED);
    update("shop", "{$T: acme}", "{}", PASS);
    update("shop", "{}", "{$T: acme}", REFUSED);
    update("shop", "{$T: acme}", "{$T: globex}", REFUSED);
}

#[test]
fn nothing_about_a_pod_makes_it_exempt() {
    let special = |label: &str| {
        format!(
            "{{metadata: {{name: p, labels: {{$T: {label}}}, annotations: {{kubernetes.io/config.mirror: x}}, \
             finalizers: [x/y], deletionTimestamp: '2026-01-03T00:00:00Z', ownerReferences: [{{kind: Node, name: node, uid: u, apiVersion: v1}}]}}, \
             spec: {{nodeSelector: {{a: b}}, hostNetwork: true}}}}"
        )
    };
    for path in PATHS {
        let ask = |label| Ask::update(path, &special("acme"), &special(label)).within("acme-prod");
        check(&ask("acme"), PASS);
        check(&ask("globex"), REFUSED);
    }
    let ask = |label| Ask::create("pods", &special(label)).within("acme-prod");
    check(&ask("acme"), PASS);
    check(&ask("globex"), REFUSED);
}

#[test]
fn the_operator_is_asked_nothing() {
    check(
        &Ask::create("pods", &pod("{$T: globex}"))
            .within("acme-prod")
            .by(OPERATOR),
        PASS,
    );
    for user in [
        "",
        "system:serviceaccount:bailiwick-system:bailiwick-operator ",
        "system:masters",
    ] {
        check(
            &Ask::create("pods", &pod("{$T: globex}"))
                .within("acme-prod")
                .by(user),
            REFUSED,
        );
    }
}

#[test]
fn where_no_operator_is_configured_nobody_is_it() {
    let mut snapshot = cluster();
    snapshot.config = Arc::new(Config::from_yaml("operatorUser: ''").unwrap());
    for user in ["", OPERATOR] {
        let ask = |label: &str| Ask::create("pods", &pod(label)).within("acme-prod").by(user);
        check_in(&snapshot, &ask("{$T: globex}"), REFUSED);
        check_in(&snapshot, &ask("{$T: acme}"), PASS);
    }
}

#[test]
fn deletions_and_connections_pass() {
    for label in ["{$T: acme}", "{$T: globex}", "{}"] {
        check(&Ask::delete("pods", &pod(label)).within("acme-prod"), PASS);
        check(
            &Ask::delete("pods", &pod(label)).within("acme-prod").nameless(),
            PASS,
        );
    }
    check(&Ask::connect("pods").within("acme-prod"), PASS);
}

#[test]
fn a_namespace_that_nobody_has_seen_is_asked_for_and_then_waited_for() {
    let ask = |label: &str| Ask::create("pods", &pod(label)).within("brand-new");
    check(&ask("{$T: acme}"), "needs Namespace brand-new");
    let missing = cluster().without(Need::Namespace("brand-new".to_owned()));
    check_in(&missing, &ask("{$T: acme}"), "BW-UNDECIDED metadata.namespace");
    check_in(&missing, &ask("{}"), "BW-UNDECIDED metadata.namespace");
    let facts = cluster().namespaces["acme-prod"].clone();
    let there = cluster().with_namespace("brand-new".to_owned(), facts);
    check_in(&there, &ask("{$T: acme}"), PASS);
    check_in(&there, &ask("{$T: globex}"), REFUSED);
    // Declared, and not yet made: the declaration makes it nobody's Pod.
    check(
        &Ask::create("pods", &pod("{$T: acme}")).within("acme-new"),
        "needs Namespace acme-new",
    );
}

#[test]
fn a_name_that_no_namespace_has_is_not_asked_for() {
    for namespace in ["", "..", "a/b", "a%2fb", "A", "a b", &"a".repeat(64)] {
        let ask = Ask::create("pods", &pod("{}")).within(namespace);
        check(&ask, "BW-MALFORMED metadata.namespace");
    }
}

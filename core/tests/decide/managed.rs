//! What the operator made is the operator's.

use bailiwick_core::snapshot::Need;

use crate::cluster::{ADMIN, Ask, OPERATOR, PASS, check, check_in, cluster};

const REFUSED: &str = "BW-MANAGED label($M)";
const KINDS: [&str; 4] = ["networkpolicies", "resourcequotas", "limitranges", "rolebindings"];
/// Exempt from something, and from this not.
const USERS: [&str; 9] = [
    ADMIN,
    "alice",
    "sre-1",
    "system:apiserver",
    "system:kube-controller-manager",
    "system:serviceaccount:kube-system:namespace-controller",
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:bailiwick-system:bailiwick-webhook",
    "",
];

fn object(metadata: &str) -> String {
    format!("{{metadata: {{name: o, {metadata}}}, roleRef: {{kind: ClusterRole, name: view}}}}")
}

#[track_caller]
fn check_all(ask: &Ask, expected: &str) {
    for kind in KINDS {
        let ask = ask.clone().at(kind).within("acme-prod");
        for user in USERS {
            check(&ask.clone().by(user), expected);
        }
        check(&ask.clone().nameless(), expected);
        check(&ask.by(OPERATOR), PASS);
    }
}

const OURS: &str = "labels: {$M: bailiwick-operator, $T: acme}";

#[test]
fn nobody_else_makes_managed_objects() {
    check_all(&Ask::create("networkpolicies", &object("labels: {a: b}")), PASS);
    check_all(
        &Ask::create(
            "networkpolicies",
            &object("labels: {bailiwick.dev/Managed-By: bailiwick-operator}"),
        ),
        PASS,
    );
    check_all(&Ask::create("networkpolicies", &object("labels: null")), PASS);
    for value in ["bailiwick-operator", "somebody", "''", "' '"] {
        check_all(
            &Ask::create("networkpolicies", &object(&format!("labels: {{$M: {value}}}"))),
            REFUSED,
        );
    }
}

#[test]
fn nobody_else_changes_them() {
    let changes = [
        OURS,
        "labels: {$M: bailiwick-operator, $T: globex}",
        "labels: {$M: bailiwick-operator, extra: x}",
        "labels: {$M: other}",
        "labels: {$T: acme}",
        "labels: {}",
        "labels: null",
        "labels: {$M: bailiwick-operator}, finalizers: [evil/x]",
        "labels: {$M: bailiwick-operator}, ownerReferences: [{kind: ConfigMap, name: x, uid: u}]",
    ];
    for new in changes {
        check_all(
            &Ask::update("networkpolicies", &object(OURS), &object(new)),
            REFUSED,
        );
    }
    for new in ["labels: {a: b}", "labels: {}, finalizers: [evil/x]"] {
        check_all(
            &Ask::update("networkpolicies", &object("labels: {}"), &object(new)),
            PASS,
        );
    }
    check_all(
        &Ask::update("networkpolicies", &object("labels: {}"), &object(OURS)),
        REFUSED,
    );
}

#[test]
fn nobody_else_deletes_them() {
    check_all(&Ask::delete("networkpolicies", &object(OURS)), REFUSED);
    check_all(&Ask::delete("networkpolicies", &object("labels: {}")), PASS);
}

#[test]
fn a_namespace_that_is_ending_is_emptied_by_its_controller() {
    for kind in KINDS {
        let ask = |user: &str, namespace: &str| {
            Ask::delete(kind, &object(OURS))
                .within(namespace)
                .by(user)
                .nameless()
        };
        for user in [
            "system:serviceaccount:kube-system:namespace-controller",
            "system:kube-controller-manager",
        ] {
            check(&ask(user, "acme-end"), PASS);
            check(&ask(user, "acme-prod"), REFUSED);
            check(&ask(user, "brand-new"), "needs Namespace brand-new");
            let missing = cluster().without(Need::Namespace("brand-new".to_owned()));
            check_in(&missing, &ask(user, "brand-new"), REFUSED);
            check(
                &Ask::update(kind, &object(OURS), &object("labels: {}"))
                    .within("acme-end")
                    .by(user),
                REFUSED,
            );
        }
        for user in [
            "alice",
            "system:apiserver",
            "system:serviceaccount:kube-system:generic-garbage-collector",
            "system:serviceaccount:kube-system:Namespace-controller",
            "system:serviceaccount:acme-prod:namespace-controller",
        ] {
            check(&ask(user, "acme-end"), REFUSED);
        }
    }
}

#[test]
fn the_control_plane_reports_and_no_more() {
    let status = |user: &str, new: &str| {
        Ask::update("resourcequotas/status", &object(OURS), &object(new))
            .within("acme-prod")
            .by(user)
    };
    let control_plane = [
        "system:apiserver",
        "system:kube-controller-manager",
        "system:serviceaccount:kube-system:resourcequota-controller",
    ];
    for user in control_plane {
        check(&status(user, &format!("{OURS}, resourceVersion: '7'")), PASS);
        check(&status(user, "labels: {}"), REFUSED);
        check(&status(user, &format!("{OURS}, annotations: {{a: b}}")), REFUSED);
        check(
            &status(
                user,
                &format!("{OURS}, ownerReferences: [{{kind: ConfigMap, name: x, uid: u}}]"),
            ),
            REFUSED,
        );
        check(
            &Ask::update("resourcequotas", &object(OURS), &object(OURS))
                .within("acme-prod")
                .by(user),
            REFUSED,
        );
    }
    for user in [
        "alice",
        ADMIN,
        "system:serviceaccount:acme-prod:resourcequota-controller",
        "system:node:n",
    ] {
        check(&status(user, OURS), REFUSED);
        check(
            &Ask::update(
                "resourcequotas/status",
                &object("labels: {}"),
                &object("labels: {a: b}"),
            )
            .within("acme-prod")
            .by(user),
            PASS,
        );
    }
}

#[test]
fn no_other_kind_is_taken_for_managed_either() {
    for (path, namespace) in [
        ("pods", "shop"),
        ("namespaces", ""),
        ("clusterroles", ""),
        ("roles", "acme-prod"),
    ] {
        let ask = |labels: &str| Ask::create(path, &object(labels)).within(namespace);
        check(&ask("labels: {a: b}"), PASS);
        check(&ask("labels: {$M: bailiwick-operator}"), REFUSED);
        check(&ask("labels: {$M: ''}"), REFUSED);
    }
}

#[test]
fn the_record_is_the_operators() {
    let record = "BW-RECORD request.resource";
    let index = "{metadata: {name: bailiwick, labels: {$M: bailiwick-operator}}}";
    let bare = "{metadata: {name: bailiwick}}";
    for user in USERS {
        check(
            &Ask::update(
                "tenants/status",
                "{metadata: {name: acme}}",
                "{metadata: {name: acme}}",
            )
            .by(user),
            record,
        );
        check(&Ask::create("tenancyindices", bare).by(user), record);
        let both = format!("{REFUSED}; {record}");
        check(&Ask::update("tenancyindices", index, index).by(user), &both);
        check(&Ask::delete("tenancyindices", index).by(user), &both);
        check(&Ask::delete("tenancyindices", bare).by(user).nameless(), record);
    }
    check(
        &Ask::update(
            "tenants/status",
            "{metadata: {name: acme}}",
            "{metadata: {name: acme}}",
        )
        .by(OPERATOR),
        PASS,
    );
    check(&Ask::update("tenancyindices", index, index).by(OPERATOR), PASS);
}

#[test]
fn what_lives_in_a_namespace_is_for_policies_and_what_does_not_is_refused() {
    let object = "{metadata: {name: o}}";
    for path in [
        "secrets",
        "pods/exec",
        "pods/eviction",
        "serviceaccounts/token",
        "deployments",
        "limitranges/status",
    ] {
        check(&Ask::create(path, object).within("acme-prod"), PASS);
        check(&Ask::connect(path).within("acme-prod"), PASS);
    }
    for path in ["nodes", "csidrivers", "nodes/proxy"] {
        let refused = "BW-UNSUPPORTED request.resource";
        check(&Ask::create(path, object), refused);
        check(&Ask::connect(path), refused);
        check(&Ask::create(path, object).by(OPERATOR), PASS);
    }
}

//! Which tenant a Namespace belongs to, and what secures it, is not for others to say.

use bailiwick_core::snapshot::Snapshot;

use crate::cluster::{ADMIN, Ask, OPERATOR, PASS, check, check_in, cluster};

/// Every way to change a Namespace.
const PATHS: [&str; 3] = ["namespaces", "namespaces/status", "namespaces/finalize"];
/// Nobody of these may change what only the operator may.
const USERS: [&str; 6] = [
    ADMIN,
    "system:serviceaccount:kube-system:namespace-controller",
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:kube-controller-manager",
    "system:apiserver",
    "",
];

#[track_caller]
fn check_all(ask: &Ask, expected: &str) {
    for user in USERS {
        check(&ask.clone().by(user), expected);
    }
    check(&ask.clone().by(OPERATOR), PASS);
}

#[track_caller]
fn create(metadata: &str, expected: &str) {
    let ask = Ask::create("namespaces", &format!("{{metadata: {{name: new, {metadata}}}}}"));
    check_all(&ask, expected);
    check_all(&ask.nameless(), expected);
}

#[track_caller]
fn update(old: &str, new: &str, expected: &str) {
    let object = |metadata: &str| format!("{{metadata: {{name: acme-prod, {metadata}}}}}");
    let ask = Ask::update("namespaces", &object(old), &object(new));
    for path in PATHS {
        check_all(&ask.clone().at(path), expected);
    }
}

/// A change of labels.
#[track_caller]
fn relabel(old: &str, new: &str, expected: &str) {
    update(&format!("labels: {old}"), &format!("labels: {new}"), expected);
}

const TENANT: &str = "BW-NS-IDENTITY label($T)";

#[test]
fn a_namespace_is_made_without_a_tenant() {
    create("labels: {team: x}", PASS);
    create("labels: null", PASS);
    create("labels: {}", PASS);
    create("labels: {bailiwick.dev/Tenant: acme, tenant: acme}", PASS);
    for value in ["acme", "globex", "nobody", "''", "' '", "ACME"] {
        create(&format!("labels: {{$T: {value}}}"), TENANT);
    }
}

#[test]
fn the_tenant_label_stays_what_it_is() {
    relabel("{$T: acme}", "{$T: acme}", PASS);
    relabel("{$T: acme, a: b}", "{$T: acme, c: d}", PASS);
    for new in [
        "{}",
        "null",
        "{$T: globex}",
        "{$T: ''}",
        "{$T: Acme}",
        "{$T: ' acme'}",
        "{bailiwick.dev/Tenant: acme}",
    ] {
        relabel("{$T: acme}", new, TENANT);
    }
    relabel("{}", "{a: b}", PASS);
    relabel("{}", "{$T: acme}", TENANT);
    relabel("{}", "{$T: ''}", TENANT);
    relabel("{$T: ''}", "{}", TENANT);
    relabel("null", "{$T: acme}", TENANT);
}

#[test]
fn the_mode_of_pod_labels_stays_what_it_is_everywhere() {
    relabel("{$T: acme, $MODE: Require}", "{$T: acme, $MODE: Require}", PASS);
    relabel(
        "{$T: acme, $MODE: Require}",
        "{$T: acme, $MODE: Verify}",
        "BW-NS-IDENTITY label($MODE)",
    );
    relabel(
        "{$T: acme, $MODE: Require}",
        "{$T: acme}",
        "BW-NS-IDENTITY label($MODE)",
    );
    relabel("{}", "{$MODE: Verify}", "BW-NS-IDENTITY label($MODE)");
    create("labels: {$MODE: Stamp}", "BW-NS-IDENTITY label($MODE)");
}

#[test]
fn what_secures_a_tenants_namespace_stays_what_it_is() {
    for key in [
        "$PSA/enforce",
        "$PSA/enforce-version",
        "$PSA/audit",
        "$PSA/audit-version",
        "$PSA/warn",
        "$PSA/warn-version",
        "$PSA/yet-to-come",
        "resource.kubernetes.io/admin-access",
    ] {
        let refused = format!("BW-NS-IDENTITY metadata.labels['{key}']");
        let (with, without) = (
            |value: &str| format!("{{$T: acme, {key}: {value}}}"),
            "{$T: acme}",
        );
        relabel(&with("a"), &with("a"), PASS);
        relabel(&with("a"), &with("b"), &refused);
        relabel(&with("a"), &with("''"), &refused);
        relabel(&with("a"), without, &refused);
        relabel(without, &with("a"), &refused);
        relabel(without, &with("''"), &refused);
        // Elsewhere it is other people's to set.
        relabel("{}", &format!("{{{key}: a}}"), PASS);
        create(&format!("labels: {{{key}: a}}"), PASS);
    }
    relabel(
        "{$T: acme}",
        "{$T: acme, pod-security.kubernetes.io: a, x.$PSA/enforce: a}",
        PASS,
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    relabel(
        "{$T: acme, $MODE: Stamp, $PSA/enforce: restricted}",
        "{$T: globex, $PSA/enforce: privileged}",
        "BW-NS-IDENTITY label($MODE); BW-NS-IDENTITY label($T); BW-NS-IDENTITY metadata.labels['$PSA/enforce']",
    );
    update(
        "labels: {$T: acme}",
        "labels: {}, ownerReferences: [{kind: ConfigMap, name: c, uid: u}]",
        "BW-NS-IDENTITY label($T); BW-NS-OWNERREF metadata.ownerReferences",
    );
    let many: Vec<String> = (0..40).map(|i| format!("$PSA/x{i:02}: a")).collect();
    let ask = Ask::update(
        "namespaces",
        "{metadata: {name: acme-prod, labels: {$T: acme}}}",
        &format!(
            "{{metadata: {{name: acme-prod, labels: {{$T: acme, {}}}}}}}",
            many.join(", ")
        ),
    );
    let sixteen: Vec<String> = (0..16)
        .map(|i| format!("BW-NS-IDENTITY metadata.labels['$PSA/x{i:02}']"))
        .collect();
    check(&ask, &sixteen.join("; "));
}

#[test]
fn a_tenants_namespace_gets_no_owner() {
    let owner =
        |name: &str| format!("ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: {name}, uid: u}}]");
    let tenants = |rest: &str| format!("labels: {{$T: acme}}, {rest}");
    let refused = "BW-NS-OWNERREF metadata.ownerReferences";
    update(&tenants(""), &tenants(&owner("a")), refused);
    update(&tenants(&owner("a")), &tenants(&owner("b")), refused);
    update(
        &tenants(&owner("a")),
        &tenants(
            "ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a, uid: u, blockOwnerDeletion: true}]",
        ),
        refused,
    );
    // Taking one off is harmless, leaving it is no change, and elsewhere owners are nobody's business.
    update(&tenants(&owner("a")), &tenants(&owner("a")), PASS);
    update(&tenants(&owner("a")), &tenants("ownerReferences: []"), PASS);
    update(&tenants(&owner("a")), &tenants("ownerReferences: null"), PASS);
    update("labels: {}", &owner("a"), PASS);
    create(&owner("a"), PASS);
    create(&tenants(&owner("a")), &format!("{TENANT}; {refused}"));
}

#[test]
fn a_tenants_subject_consents_to_no_adoption() {
    let refused = "BW-NS-ADOPT annotation($ADOPT)";
    let object = |annotations: &str| format!("{{metadata: {{name: shop, annotations: {annotations}}}}}");
    let asks = |old: &str, new: &str| {
        PATHS
            .map(|it| Ask::update(it, &object(old), &object(new)))
            .to_vec()
    };
    let changes = [
        ("{}", "{$ADOPT: acme}"),
        ("{}", "{$ADOPT: ''}"),
        ("{$ADOPT: acme}", "{$ADOPT: globex}"),
        ("{$ADOPT: acme}", "{}"),
    ];
    for ask in changes.iter().flat_map(|(old, new)| asks(old, new)) {
        check(&ask.clone().by("alice"), refused);
        check(&ask.clone().by("acme-ci"), refused);
        check(&ask.clone().by("system:serviceaccount:ci:deployer"), refused);
        check(
            &ask.clone().by("system:serviceaccount:acme-bare:default"),
            refused,
        );
        check(&ask.clone().by("x").of("oidc:acme:dev"), refused);
        check(&ask.clone().by("x").of("shared"), refused);
        check(&ask.clone().by("sre-1").of("oidc:globex:"), refused);
        check(
            &ask.clone().by("x").of("system:serviceaccounts:globex-prod"),
            refused,
        );
        check(&ask.clone().by("sre-1").of("sre"), PASS);
        check(&ask.clone().by("Alice").of("OIDC:acme:dev"), PASS);
        check(&ask.clone().by("system:serviceaccount:ci:other"), PASS);
        check(&ask.clone().by(ADMIN), PASS);
    }
    for (old, new) in [
        ("{$ADOPT: acme}", "{$ADOPT: acme, a: b}"),
        ("{}", "{bailiwick.dev/adopt: acme}"),
        ("null", "{a: b}"),
    ] {
        for ask in asks(old, new) {
            check(&ask.by("alice"), PASS);
        }
    }
}

#[track_caller]
fn delete_in(snapshot: &Snapshot, name: &str, expected: &str) {
    let ask = Ask::delete("namespaces", &format!("{{metadata: {{name: {name}}}}}"));
    check_in(snapshot, &ask, expected);
    check_in(snapshot, &ask.clone().nameless(), expected);
    check_in(snapshot, &ask.clone().by("alice"), expected);
    check_in(
        snapshot,
        &ask.clone()
            .by("system:serviceaccount:kube-system:namespace-controller"),
        expected,
    );
    check_in(snapshot, &ask.by(OPERATOR), PASS);
}

#[test]
fn a_declared_namespace_is_not_deleted() {
    let refused = "BW-NS-DECLARED metadata.name";
    for name in ["acme-prod", "acme-dev", "acme-new", "globex-prod"] {
        delete_in(&cluster(), name, refused);
    }
    // Let go, never declared, or nobody's.
    for name in [
        "acme-old",
        "acme-odd",
        "ghost",
        "shop",
        "kube-system",
        "unheard-of",
    ] {
        delete_in(&cluster(), name, PASS);
    }
    // Two Tenants declare it; the second by name has it.
    delete_in(&cluster(), "contested", refused);
}

//! Namespaces that tenants' people make, what they may write on them, and what may be in one that is not taken yet.

use std::sync::Arc;

use bailiwick_core::snapshot::{Snapshot, Tenants};

use crate::cluster::{ADMIN, Ask, OPERATOR, PASS, check, check_in, cluster, with_spec};

fn new(name: &str, more: &str) -> Ask {
    Ask::create("namespaces", &format!("{{metadata: {{name: {name}, {more}}}}}"))
}

fn labelled(name: &str) -> Ask {
    new(name, "labels: {$T: acme}")
}

const LACKING: &str = "BW-NS-SELFSERVICE label($T)";
const REFUSED: &str = "BW-NS-SELFSERVICE metadata.name";
const NAME: &str = "BW-NS-PREFIX metadata.name";
const TENANT: &str = "BW-NS-IDENTITY label($T)";

#[test]
fn an_owner_makes_namespaces_with_the_tenants_label_and_prefix() {
    for ask in [
        labelled("acme-x").by("alice"),
        labelled("acme-x").by("x").of("oidc:acme:admin"),
        labelled("acme-x").by("system:serviceaccount:ci:deployer"),
    ] {
        check(&ask, PASS);
        check(&ask.clone().nameless(), PASS);
        check(&ask.dry(), PASS);
    }
    check(&new("acme-x", "labels: {}").by("alice"), LACKING);
    check(&new("acme-x", "labels: {$T: globex}").by("alice"), TENANT);
    check(&new("acme-x", "labels: {$T: ''}").by("alice"), TENANT);
    check(&new("acme-x", "labels: {$T: ACME}").by("alice"), TENANT);
}

#[test]
fn nobody_else_makes_a_tenants_namespace() {
    // Of the tenant, and no owner.
    for ask in [
        labelled("acme-x").by("acme-ci"),
        labelled("acme-x").by("x").of("oidc:acme:dev"),
        labelled("acme-x").by("system:serviceaccount:acme-prod:default"),
    ] {
        check(&ask, REFUSED);
    }
    // Of a tenant without self-service, and of two.
    check(&new("acme-x", "labels: {$T: globex}").by("bob"), REFUSED);
    check(&labelled("acme-x").by("bob"), REFUSED);
    check(&labelled("acme-x").by("x").of("shared"), REFUSED);
    check(&labelled("acme-x").by("alice").of("oidc:globex:x"), REFUSED);
    // The platform's are nobody's, whatever their names.
    for user in [
        ADMIN,
        "sre-1",
        "system:serviceaccount:ci:other",
        "system:serviceaccount:kube-system:x",
        "",
    ] {
        check(&new("acme-x", "labels: {}").by(user), PASS);
        check(&labelled("acme-x").by(user), TENANT);
    }
    check(&labelled("acme-x").by(OPERATOR), PASS);
    // A ServiceAccount beside one that a tenant claims.
    let other = "system:serviceaccount:ci:other";
    check(
        &new("acme-x", "labels: {}")
            .by(other)
            .of("system:serviceaccounts:ci"),
        PASS,
    );
}

#[test]
fn a_name_is_the_tenants_to_give() {
    for (name, expected) in [
        ("acme-x", PASS),
        ("acme-x-y", PASS),
        ("acme-", NAME),
        ("acme", NAME),
        ("acmex", NAME),
        ("globex-x", NAME),
        ("kube-x", NAME),
        ("default", NAME),
        // Declared, here or elsewhere, and reserved.
        ("acme-prod", NAME),
        ("acme-new", NAME),
        ("globex-prod", NAME),
        ("argocd", NAME),
        ("bailiwick-system", NAME),
    ] {
        check(&labelled(name).by("alice"), expected);
        check(&labelled(name).by("alice").nameless(), expected);
    }
    let nested = with_spec(
        &cluster(),
        "acme-lab",
        "{namespaces: {selfService: {prefix: acme-lab-, max: 1}}}",
    );
    check_in(&nested, &labelled("acme-lab-x").by("alice"), NAME);
    check_in(&nested, &labelled("acme-labx").by("alice"), PASS);
    let shared = with_spec(
        &cluster(),
        "acmes",
        "{namespaces: {selfService: {prefix: acme-, max: 1}}}",
    );
    check_in(&shared, &labelled("acme-x").by("alice"), NAME);
    let declared = with_spec(&cluster(), "rival", "{namespaces: {declared: [{name: acme-x}]}}");
    check_in(&declared, &labelled("acme-x").by("alice"), NAME);
    check_in(&declared, &labelled("acme-y").by("alice"), PASS);
}

const SPEC: &str = "owners: [{kind: User, name: alice}]";

fn serving(self_service: &str, more: &str) -> Snapshot {
    with_spec(
        &cluster(),
        "acme",
        &format!("{{{SPEC}, namespaces: {{selfService: {self_service}}}{more}}}"),
    )
}

#[test]
fn self_service_is_over_when_the_tenant_says_so() {
    let ask = labelled("acme-x").by("alice");
    check_in(&serving("{prefix: acme-, max: 1}", ""), &ask, PASS);
    check_in(&serving("{prefix: acme-, max: 0}", ""), &ask, REFUSED);
    check_in(
        &serving("{prefix: acme-, max: 1}", ", suspended: true"),
        &ask,
        REFUSED,
    );
    check_in(&serving("null", ""), &ask, REFUSED);
    let mut going = cluster();
    let all = going.tenants.by_name.values().map(|it| {
        let mut it = (**it).clone();
        it.metadata.deletion_timestamp = it.metadata.creation_timestamp.clone();
        Arc::new(it)
    });
    going.tenants = Arc::new(Tenants::collect(all));
    check_in(&going, &ask, REFUSED);
}

#[test]
fn there_are_no_more_than_the_maximum() {
    let mut full = serving("{prefix: acme-, max: 2}", "");
    let ask = labelled("acme-x").by("alice");
    check_in(&full, &ask, PASS);
    // One on record, and one that was made a moment ago.
    let mut namespaces = (*full.namespaces).clone();
    let fresh = namespaces.get_mut("acme-fresh").unwrap();
    fresh.created = Some("2026-02-01T00:00:00Z".parse().unwrap());
    full.namespaces = Arc::new(namespaces);
    check_in(&full, &ask, PASS);
    let mut tenants = full.tenants.by_name.clone();
    let mut acme = (*tenants["acme"]).clone();
    let records = &mut acme.status.as_mut().unwrap().namespaces;
    records.push(
        serde_json::from_value(crate::cluster::yaml(
            "{name: shop, uid: u-shop, origin: SelfService}",
        ))
        .unwrap(),
    );
    tenants.insert("acme".to_owned(), Arc::new(acme));
    full.tenants = Arc::new(Tenants::collect(tenants.into_values()));
    check_in(&full, &ask, REFUSED);
    // The platform's don't count, and neither is it kept from anything.
    check_in(&full, &new("acme-x", "labels: {}"), PASS);
}

#[test]
fn an_owner_writes_only_what_the_tenant_lists() {
    let key = |kind: &str, key: &str| format!("BW-NS-METADATA metadata.{kind}['{key}']");
    let made = |labels: &str, more: &str| {
        new("acme-x", &format!("labels: {{$T: acme, {labels}}}, {more}")).by("alice")
    };
    check(&made("team: x", ""), PASS);
    check(&made("", "annotations: {acme.example/contact: x}"), PASS);
    check(
        &made(
            "",
            "annotations: {kubectl.kubernetes.io/last-applied-configuration: x}",
        ),
        PASS,
    );
    check(&made("kubernetes.io/metadata.name: acme-x", ""), PASS);
    check(&made("other: x", ""), &key("labels", "other"));
    check(
        &made("admission.gatekeeper.sh/ignore: x", ""),
        &key("labels", "admission.gatekeeper.sh/ignore"),
    );
    check(&made("", "annotations: {team: x}"), &key("annotations", "team"));
    check(
        &made("", "annotations: {bailiwick.dev/tenant-uid: x}"),
        &key("annotations", "bailiwick.dev/tenant-uid"),
    );
    check(&made("", "finalizers: [x]"), "BW-NS-METADATA metadata.finalizers");
    // A label's rule says nothing of an annotation of that name, nor the other way round.
    for name in [
        "bailiwick.dev/tenant",
        "bailiwick.dev/pod-label",
        "pod-security.kubernetes.io/enforce",
        "resource.kubernetes.io/admin-access",
        "kubernetes.io/metadata.name",
    ] {
        check(
            &made("", &format!("annotations: {{{name}: acme}}")),
            &key("annotations", name),
        );
    }
    for name in [
        "bailiwick.dev/adopt-by",
        "kubectl.kubernetes.io/last-applied-configuration",
    ] {
        check(&made(&format!("{name}: acme"), ""), &key("labels", name));
    }
    // What has a rule of its own is told by that.
    check(&made("$MODE: Stamp", ""), "BW-NS-IDENTITY label($MODE)");
    check(
        &made("$PSA/enforce: privileged", ""),
        "BW-NS-IDENTITY metadata.labels['$PSA/enforce']",
    );
    check(
        &made("resource.kubernetes.io/admin-access: 'true'", ""),
        "BW-NS-IDENTITY metadata.labels['resource.kubernetes.io/admin-access']",
    );
    check(
        &made("", "annotations: {$ADOPT: acme}"),
        "BW-NS-ADOPT annotation($ADOPT)",
    );
    check(
        &made(
            "",
            "ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: c, uid: u}]",
        ),
        "BW-NS-OWNERREF metadata.ownerReferences",
    );

    let object = |labels: &str| format!("{{metadata: {{name: acme-x, labels: {{$T: acme, {labels}}}}}}}");
    for path in ["namespaces", "namespaces/status", "namespaces/finalize"] {
        let change = |old: &str, new: &str| Ask::update(path, &object(old), &object(new));
        for (old, new, expected) in [
            ("", "team: x", PASS.to_owned()),
            ("team: x", "team: z", PASS.to_owned()),
            ("team: x", "", PASS.to_owned()),
            (
                "istio-injection: enabled",
                "istio-injection: enabled",
                PASS.to_owned(),
            ),
            ("", "other: x", key("labels", "other")),
            ("other: x", "", key("labels", "other")),
            ("other: x", "other: z", key("labels", "other")),
        ] {
            check(&change(old, new).by("alice"), &expected);
            check(&change(old, new).by("acme-ci"), &expected);
            check(&change(old, new), PASS);
        }
        // Another tenant's, and nothing listed.
        check(&change("", "team: x").by("bob"), &key("labels", "team"));
        check(
            &change("", "team: x").by("x").of("shared"),
            &key("labels", "team"),
        );
    }
    // What decides isolation isn't an owner's to set, whatever an old Tenant lists.
    let lists = serving("{prefix: acme-, max: 1, labels: [istio-injection, team]}", "");
    let change = |new: &str| Ask::update("namespaces", &object(""), &object(new)).by("alice");
    check_in(
        &lists,
        &change("istio-injection: disabled"),
        &key("labels", "istio-injection"),
    );
    check_in(&lists, &change("team: x"), PASS);
}

#[test]
fn nothing_is_made_in_a_namespace_that_is_not_taken() {
    let closed = "BW-NS-CLOSED metadata.namespace";
    let asks = |namespace: &str| {
        [
            Ask::create(
                "pods",
                "{metadata: {name: p, labels: {$T: acme}}, spec: {containers: []}}",
            )
            .within(namespace),
            Ask::create("services", "{metadata: {name: s}, spec: {}}").within(namespace),
            Ask::create("roles", "{metadata: {name: r}, rules: []}").within(namespace),
            Ask::create(
                "networkpolicies",
                "{metadata: {name: np}, spec: {podSelector: {}}}",
            )
            .within(namespace),
        ]
    };
    for ask in asks("acme-fresh") {
        for user in [ADMIN, "alice", "system:serviceaccount:acme-prod:default"] {
            check(&ask.clone().by(user), closed);
        }
        check(&ask.clone().by(OPERATOR), PASS);
        check(
            &ask.by("system:serviceaccount:kube-system:replicaset-controller"),
            PASS,
        );
    }
    check(
        &Ask::delete("roles", "{metadata: {name: r}, rules: []}").within("acme-fresh"),
        PASS,
    );
    // On record, declared, or with the mark of the operator.
    for namespace in ["acme-old", "acme-prod", "acme-dev"] {
        for ask in asks(namespace) {
            check(&ask, PASS);
        }
    }
}

#[test]
fn prefixes_are_one_tenants_and_overlaps_are_told() {
    let tenant = |prefix: &str| {
        Ask::create(
            "tenants",
            &format!(
                "{{metadata: {{name: initech}}, spec: {{namespaces: {{selfService: {{prefix: {prefix}, max: 3}}}}}}}}"
            ),
        )
    };
    check(&tenant("initech-"), PASS);
    check(
        &tenant("acme-"),
        "BW-NS-PREFIX spec.namespaces.selfService.prefix",
    );
    check(&tenant("acme-lab-"), PASS);
    for (prefix, told) in [("initech-", 0), ("acme-lab-", 1), ("a-", 0)] {
        let warnings = crate::cluster::warnings(&cluster(), &tenant(prefix));
        assert_eq!(warnings.len(), told, "{prefix}: {warnings:?}");
        assert!(
            warnings.iter().all(|it| it.contains("Tenant 'acme'")),
            "{warnings:?}"
        );
    }
}

#[test]
fn what_a_tenant_says_of_self_service_is_checked() {
    let tenant = |self_service: &str| {
        Ask::create(
            "tenants",
            &format!(
                "{{metadata: {{name: initech}}, spec: {{namespaces: {{selfService: {self_service}}}}}}}"
            ),
        )
    };
    let wrong = |field: &str| format!("BW-TENANT-INVALID spec.namespaces.selfService.{field}");
    for prefix in ["a-", "a1-b-", "initech-"] {
        check(&tenant(&format!("{{prefix: {prefix}, max: 0}}")), PASS);
    }
    for prefix in [
        "a",
        "-",
        "",
        "A-",
        "a.b-",
        "a--b",
        "-a-",
        "kube-",
        "kube-x-",
        "bailiwick-",
        "argo",
        "a- ",
    ] {
        check(
            &tenant(&format!("{{prefix: '{prefix}', max: 1}}")),
            &wrong("prefix"),
        );
    }
    for (max, expected) in [
        (0, PASS.to_owned()),
        (256, PASS.to_owned()),
        (257, wrong("max")),
        (-1, wrong("max")),
    ] {
        check(&tenant(&format!("{{prefix: a-, max: {max}}}")), &expected);
    }
    for list in ["labels", "annotations"] {
        let lists = |key: &str| tenant(&format!("{{prefix: a-, max: 1, {list}: ['team', '{key}']}}"));
        check(&lists("acme.example/x"), PASS);
        for key in [
            "",
            "a b",
            "team-*",
            "bailiwick.dev/x",
            "pod-security.kubernetes.io/enforce",
            "istio-injection",
            "cert-manager.io/x",
        ] {
            check(&lists(key), &wrong(&format!("{list}[1]")));
        }
    }
}

#[test]
fn a_namespace_that_consents_may_be_declared_before_it_comes() {
    let mut moving = cluster();
    let mut namespaces = (*moving.namespaces).clone();
    namespaces.get_mut("acme-old").unwrap().adopt_by = Some("globex".to_owned());
    moving.namespaces = Arc::new(namespaces);
    let declares = |name: &str| {
        Ask::create(
            "tenants",
            &format!(
                "{{metadata: {{name: {name}}}, spec: {{namespaces: {{declared: [{{name: acme-old}}]}}}}}}"
            ),
        )
    };
    let refused = "BW-TENANT-NAMESPACE spec.namespaces.declared['acme-old']";
    check(&declares("globex"), refused);
    check_in(&moving, &declares("initech"), refused);
    check_in(&moving, &declares("globex"), PASS);
    let warnings = crate::cluster::warnings(&moving, &declares("globex"));
    assert!(
        warnings
            .iter()
            .any(|it| it.contains("which Tenant 'acme' has still")),
        "{warnings:?}"
    );
}

//! A Tenant is checked by itself and against the others.

use std::sync::Arc;

use bailiwick_core::snapshot::{Snapshot, Tenants};
use bailiwick_crds::v1alpha1::Tenant;

use crate::cluster::{ADMIN, Ask, OPERATOR, PASS, check, check_in, cluster, yaml};

fn tenant(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: {{name: '{name}', uid: u}}, spec: {spec}}}"
    )
}

/// A new Tenant, and an existing one that becomes so.
#[track_caller]
fn write(name: &str, spec: &str, expected: &str) {
    let new = tenant(name, spec);
    for ask in [
        Ask::create("tenants", &new),
        Ask::update(
            "tenants",
            &tenant(name, "{owners: [{kind: User, name: former}]}"),
            &new,
        ),
    ] {
        for user in [ADMIN, "alice", "system:apiserver"] {
            check(&ask.clone().by(user), expected);
        }
        check(&ask.by(OPERATOR), PASS);
    }
}

const IDENTITY: &str = "BW-TENANT-IDENTITY spec.owners and spec.identities";

#[test]
fn a_name_is_enough() {
    write("initech", "{}", PASS);
    write("initech", "null", PASS);
    check(&Ask::create("tenants", "{metadata: {name: initech}}"), PASS);
    check(
        &Ask::create(
            "tenants",
            "{metadata: {name: initech}, spec: {}, status: {observedGeneration: -1}}",
        )
        .nameless(),
        PASS,
    );
    for name in ["kube-x", "default", "bailiwick-x", "A", ""] {
        write(name, "{}", "BW-TENANT-INVALID metadata.name");
    }
}

#[test]
fn what_is_wrong_with_it_alone_is_told_with_its_fields() {
    write("initech", "{owners: [{kind: Group, name: 'oidc:initech'}]}", PASS);
    write(
        "initech",
        "{owners: [{kind: Group, name: 'system:masters'}]}",
        "BW-TENANT-INVALID spec.owners[0].name",
    );
    write(
        "initech",
        "{owners: [{kind: User, name: 'a*'}], access: [{clusterRole: cluster-admin, subjects: [{kind: User, name: a}]}]}",
        "BW-TENANT-INVALID spec.owners[0].name; BW-TENANT-INVALID spec.access[0].clusterRole",
    );
    for spec in [
        "[]",
        "x",
        "{owners: x}",
        "{owners: null}",
        "{owners: [{kind: Robot, name: r}]}",
        "{namespaces: {declared: [x]}}",
    ] {
        write("initech", spec, "BW-MALFORMED spec");
    }
}

#[test]
fn an_unchanged_spec_passes_although_it_is_invalid() {
    let wrong = "{owners: [{kind: Group, name: 'system:masters'}]}";
    let labelled = tenant("initech", wrong).replace("uid: u", "uid: u, labels: {a: b}, finalizers: [x/y]");
    check(
        &Ask::update("tenants", &tenant("initech", wrong), &labelled),
        PASS,
    );
    check(
        &Ask::update("tenants", &tenant("initech", "{}"), &labelled),
        "BW-TENANT-INVALID spec.owners[0].name",
    );
    check(&Ask::update("tenants", &labelled, &tenant("initech", "{}")), PASS);
    check(&Ask::delete("tenants", &labelled), PASS);
    // acme and globex share a group by mistake; neither gets worse by staying as it is, nor better by another change.
    let acme = "{identities: {groups: [shared]}}";
    check(
        &Ask::update("tenants", &tenant("acme", acme), &tenant("acme", acme)),
        PASS,
    );
    check(
        &Ask::update(
            "tenants",
            &tenant("acme", acme),
            &tenant("acme", "{identities: {groups: [shared]}, podLabel: Verify}"),
        ),
        IDENTITY,
    );
    check(
        &Ask::update("tenants", &tenant("acme", acme), &tenant("acme", "{}")),
        PASS,
    );
}

#[test]
fn a_subject_belongs_to_one_tenant() {
    let groups = |groups: &str| format!("{{identities: {{groups: [{groups}]}}}}");
    let users = |users: &str| format!("{{identities: {{users: [{users}]}}}}");
    // Exact against prefix, prefix against exact, prefix against prefix in both directions.
    for name in [
        "'oidc:acme:x'",
        "'oidc:acme:'",
        "'oidc:acme:*'",
        "'oidc:acme:dev:*'",
        "'oidc:*'",
        "'o*'",
        "shared",
        "'share*'",
    ] {
        write("initech", &groups(name), IDENTITY);
    }
    for name in [
        "'oidc:acme'",
        "'oidc:acm:*'",
        "'oidc:acmes:*'",
        "'OIDC:acme:*'",
        "'oidc:initech:*'",
        "'shared:*'",
        "alice",
    ] {
        write("initech", &groups(name), PASS);
    }
    for name in ["alice", "'ali*'", "acme-x", "'acme-*'", "'acme*'", "bob"] {
        write("initech", &users(name), IDENTITY);
    }
    for name in ["Alice", "alice2", "acme", "'acme_*'", "shared"] {
        write("initech", &users(name), PASS);
    }
    write("initech", "{owners: [{kind: User, name: alice}]}", IDENTITY);
    write("initech", "{owners: [{kind: Group, name: alice}]}", PASS);
    write(
        "initech",
        &groups("'oidc:acme:x', 'oidc:globex:x', fine"),
        &format!("{IDENTITY}; {IDENTITY}"),
    );
    // Its own are its own.
    write("acme", &groups("'oidc:acme:*'"), PASS);
}

#[test]
fn a_subject_of_the_platform_belongs_to_no_tenant() {
    for name in ["sre", "'oidc:platform:x'", "'oidc:plat*'", "'sr*'"] {
        write(
            "initech",
            &format!("{{identities: {{groups: [{name}]}}}}"),
            IDENTITY,
        );
    }
    write("initech", "{owners: [{kind: User, name: robot}]}", IDENTITY);
    write("initech", "{owners: [{kind: User, name: sre-7}]}", IDENTITY);
    write("initech", "{owners: [{kind: User, name: sre}]}", PASS);
    write("initech", "{owners: [{kind: Group, name: robot}]}", PASS);
}

#[test]
fn a_service_account_belongs_to_the_tenant_of_its_namespace() {
    let owner = |namespace: &str, name: &str| {
        format!("{{owners: [{{kind: ServiceAccount, name: {name}, namespace: {namespace}}}]}}")
    };
    write("initech", &owner("shop", "deployer"), PASS);
    write("initech", &owner("ci", "other"), PASS);
    write("initech", &owner("ci", "deployer"), IDENTITY);
    for namespace in ["acme-prod", "acme-bare", "acme-new", "globex-prod", "contested"] {
        write("initech", &owner(namespace, "deployer"), IDENTITY);
    }
    write("acme", &owner("acme-prod", "deployer"), PASS);
    write(
        "initech",
        &owner("kube-system", "deployer"),
        "BW-TENANT-INVALID spec.owners[0].namespace",
    );
    // And the other way round: nobody takes the namespace where another tenant's ServiceAccount lives.
    write(
        "initech",
        "{namespaces: {declared: [{name: ci}]}}",
        "BW-TENANT-IDENTITY spec.namespaces.declared['ci']",
    );
    write(
        "initech",
        "{namespaces: {declared: [{name: ci-2}, {name: c}]}}",
        PASS,
    );
    write("acme", "{namespaces: {declared: [{name: ci}]}}", PASS);
}

#[test]
fn access_goes_to_the_tenants_own_and_to_strangers() {
    let access = |subject: &str| {
        format!("{{access: [{{clusterRole: view, subjects: [{{kind: User, name: fine}}, {subject}]}}]}}")
    };
    let refused = "BW-TENANT-IDENTITY spec.access[0].subjects[1]";
    write("initech", &access("{kind: User, name: stranger}"), PASS);
    write("initech", &access("{kind: Group, name: auditors}"), PASS);
    write("initech", &access("{kind: Group, name: sre}"), PASS);
    write(
        "initech",
        &access("{kind: ServiceAccount, name: x, namespace: shop}"),
        PASS,
    );
    write("initech", &access("{kind: User, name: alice}"), refused);
    write(
        "initech",
        &access("{kind: Group, name: 'oidc:acme:dev'}"),
        refused,
    );
    write("initech", &access("{kind: Group, name: shared}"), refused);
    write(
        "initech",
        &access("{kind: ServiceAccount, name: x, namespace: acme-prod}"),
        refused,
    );
    write(
        "initech",
        &access("{kind: ServiceAccount, name: deployer, namespace: ci}"),
        refused,
    );
    write("acme", &access("{kind: Group, name: 'oidc:acme:dev'}"), PASS);
    write("acme", &access("{kind: User, name: bob}"), refused);
}

#[test]
fn nobody_claims_a_subject_to_whom_another_gives_access() {
    // acme lets auditors view; whose they are is nobody's claim, and may not become one later.
    write("initech", "{identities: {groups: [auditors]}}", IDENTITY);
    write("initech", "{identities: {groups: ['audit*']}}", IDENTITY);
    write("initech", "{identities: {users: [auditors]}}", PASS);
    write("initech", "{identities: {groups: [auditor]}}", PASS);
    write("acme", "{identities: {groups: [auditors]}}", PASS);
}

#[test]
fn a_namespace_belongs_to_one_tenant() {
    let declare = |name: &str| format!("{{namespaces: {{declared: [{{name: fine}}, {{name: '{name}'}}]}}}}");
    for name in [
        "acme-prod",
        "acme-new",
        "acme-old",
        "acme-bare",
        "acme-odd",
        "ghost",
        "globex-prod",
    ] {
        write(
            "initech",
            &declare(name),
            &format!("BW-TENANT-NAMESPACE spec.namespaces.declared['{name}']"),
        );
    }
    for name in ["shop", "reborn", "initech-prod", "acme-prod2"] {
        write("initech", &declare(name), PASS);
    }
    for name in ["acme-prod", "acme-old", "acme-bare"] {
        write("acme", &declare(name), PASS);
    }
    // Two declare it already.
    for tenant in ["acme", "globex"] {
        write(
            tenant,
            &declare("contested"),
            "BW-TENANT-NAMESPACE spec.namespaces.declared['contested']",
        );
    }
    for name in ["kube-system", "default", "argocd", "bailiwick-system"] {
        write(
            "initech",
            &declare(name),
            "BW-TENANT-INVALID spec.namespaces.declared[1].name",
        );
    }
}

#[test]
fn what_a_gone_tenant_left_behind_is_had_with_consent() {
    let consenting = |name: &str, to: &str| {
        let mut facts = cluster().namespaces[name].clone();
        facts.adopt_by = Some(to.to_owned());
        cluster().with_namespace(name.to_owned(), facts)
    };
    let declare = |name: &str| {
        Ask::create(
            "tenants",
            &tenant(
                "initech",
                &format!("{{namespaces: {{declared: [{{name: {name}}}]}}}}"),
            ),
        )
    };
    let refused = |name: &str| format!("BW-TENANT-NAMESPACE spec.namespaces.declared['{name}']");
    check_in(&consenting("ghost", "initech"), &declare("ghost"), PASS);
    check_in(
        &consenting("ghost", "globex"),
        &declare("ghost"),
        &refused("ghost"),
    );
    // What a Tenant that is there has may be declared with consent, too: it comes when that one lets it go.
    check_in(
        &consenting("globex-prod", "initech"),
        &declare("globex-prod"),
        PASS,
    );
    check_in(
        &consenting("globex-prod", "acme"),
        &declare("globex-prod"),
        &refused("globex-prod"),
    );
}

#[test]
fn traffic_from_a_tenant_is_not_let_in_as_the_platforms() {
    let from = |name: &str| {
        format!(
            "{{network: {{ingress: {{fromNamespaces: [shop, {name}]}}}}, namespaces: {{declared: [{{name: initech-prod}}]}}}}"
        )
    };
    let refused = "BW-TENANT-INVALID spec.network.ingress.fromNamespaces[1]";
    for name in [
        "acme-prod",
        "acme-bare",
        "acme-new",
        "globex-prod",
        "initech-prod",
    ] {
        write("initech", &from(name), refused);
    }
    for name in ["ci", "kube-system", "not-made-yet", "reborn"] {
        write("initech", &from(name), PASS);
    }
    // And the other way round: acme lets traffic in from ingress.
    write(
        "initech",
        "{namespaces: {declared: [{name: ingress}]}}",
        "BW-TENANT-NAMESPACE spec.namespaces.declared['ingress']",
    );
    write("initech", "{namespaces: {declared: [{name: ingress-2}]}}", PASS);
}

#[test]
fn a_tenant_on_its_way_out_holds_on_to_what_it_has() {
    let mut leaving: Vec<Tenant> =
        vec![serde_json::from_value(yaml(&tenant(
        "leaving",
        "{owners: [{kind: User, name: carol}], namespaces: {declared: [{name: left}, {name: not-made}]}}",
    ))).unwrap()];
    leaving[0].metadata.deletion_timestamp =
        Some(serde_json::from_value("2026-01-01T00:00:00Z".into()).unwrap());
    let facts = cluster().namespaces["globex-prod"].clone();
    let snapshot = Snapshot {
        tenants: Arc::new(Tenants::collect(leaving.into_iter().map(Arc::new))),
        ..cluster()
    };
    let mut facts = facts;
    facts
        .labels
        .insert("bailiwick.dev/tenant".to_owned(), "leaving".to_owned());
    let snapshot = snapshot.with_namespace("left".to_owned(), facts);
    let ask = |spec: &str| Ask::create("tenants", &tenant("initech", spec));
    check_in(
        &snapshot,
        &ask("{namespaces: {declared: [{name: left}]}}"),
        "BW-TENANT-NAMESPACE spec.namespaces.declared['left']",
    );
    check_in(
        &snapshot,
        &ask("{namespaces: {declared: [{name: not-made}]}}"),
        PASS,
    );
    check_in(&snapshot, &ask("{owners: [{kind: User, name: carol}]}"), IDENTITY);
    check_in(&snapshot, &ask("{owners: [{kind: User, name: caroline}]}"), PASS);
    check_in(
        &snapshot,
        &Ask::delete("namespaces", "{metadata: {name: left}}"),
        PASS,
    );
}

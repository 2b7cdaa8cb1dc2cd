use super::*;

fn tenant(yaml: &str) -> Tenant {
    serde_saphyr::from_str(&format!(
        "apiVersion: bailiwick.dev/v1alpha1\nkind: Tenant\n{yaml}"
    ))
    .unwrap()
}

fn acme() -> Tenant {
    tenant(
        "metadata: {name: acme, creationTimestamp: '2026-01-02T00:00:00Z'}\nspec: {namespaces: {declared: [{name: ns}]}}",
    )
}

fn recorded(yaml_spec: &str, origin: &str) -> Tenant {
    tenant(&format!(
        "metadata: {{name: acme}}\nspec: {yaml_spec}\nstatus: {{namespaces: [{{name: ns, uid: u1, origin: {origin}}}]}}"
    ))
}

fn facts(uid: &str, label: Option<&str>, adopt_by: Option<&str>) -> NamespaceFacts {
    NamespaceFacts {
        uid: uid.to_owned(),
        labels: label
            .map(|it| (labels::TENANT.to_owned(), it.to_owned()))
            .into_iter()
            .collect(),
        adopt_by: adopt_by.map(str::to_owned),
        ..NamespaceFacts::default()
    }
}

#[track_caller]
#[allow(clippy::needless_pass_by_value, reason = "the cases read better so")]
fn check(tenant: &Tenant, others: &[Tenant], namespace: Option<NamespaceFacts>, expected: Option<Claim>) {
    let all: Vec<&Tenant> = others.iter().chain([tenant]).collect();
    let claims = claims(tenant, all.iter().copied(), |name| {
        (name == "ns").then_some(namespace.as_ref()).flatten()
    });
    assert_eq!(claims.get("ns"), expected.as_ref());
}

#[test]
fn an_absent_namespace_is_created_by_the_first_who_declares_it() {
    check(&acme(), &[], None, Some(Claim::Create));
    let spec = "spec: {namespaces: {declared: [{name: ns}]}}";
    let older = tenant(&format!(
        "metadata: {{name: zeta, creationTimestamp: '2026-01-01T00:00:00Z'}}\n{spec}"
    ));
    let younger = tenant(&format!(
        "metadata: {{name: aa, creationTimestamp: '2026-01-03T00:00:00Z'}}\n{spec}"
    ));
    let same_age = tenant(&format!(
        "metadata: {{name: aaa, creationTimestamp: '2026-01-02T00:00:00Z'}}\n{spec}"
    ));
    check(
        &acme(),
        &[older],
        None,
        Some(Claim::Conflict {
            with: "zeta".to_owned(),
        }),
    );
    check(&acme(), &[younger], None, Some(Claim::Create));
    check(
        &acme(),
        &[same_age],
        None,
        Some(Claim::Conflict {
            with: "aaa".to_owned(),
        }),
    );
}

#[test]
fn who_is_on_the_way_out_or_declares_something_else_is_no_rival() {
    let older = |rest: &str, namespace: &str| {
        tenant(&format!(
            "metadata: {{name: aa, creationTimestamp: '2026-01-01T00:00:00Z'{rest}}}\nspec: {{namespaces: {{declared: [{{name: {namespace}}}]}}}}"
        ))
    };
    check(
        &acme(),
        &[older("", "ns")],
        None,
        Some(Claim::Conflict {
            with: "aa".to_owned(),
        }),
    );
    check(&acme(), &[older("", "other")], None, Some(Claim::Create));
    let deleted = ", deletionTimestamp: '2026-01-02T00:00:00Z'";
    check(&acme(), &[older(deleted, "ns")], None, Some(Claim::Create));
}

#[test]
fn label_and_declaration_make_it_ours_even_without_a_record() {
    let live = |label| Some(facts("u1", Some(label), None));
    check(
        &acme(),
        &[],
        live("acme"),
        Some(Claim::Keep(NamespaceOrigin::Adopted)),
    );
    let other = tenant("metadata: {name: Acme}\nspec: {}");
    check(
        &acme(),
        &[other],
        live("Acme"),
        Some(Claim::Conflict {
            with: "Acme".to_owned(),
        }),
    );
}

#[test]
fn only_the_tenant_for_which_a_namespace_was_made_takes_it_for_its_own_work() {
    let acme = |uid: &str| {
        tenant(&format!(
            "metadata: {{name: acme, uid: {uid}}}\nspec: {{namespaces: {{declared: [{{name: ns}}]}}}}"
        ))
    };
    let made_for = |uid: &str| NamespaceFacts {
        made_for: Some(uid.to_owned()),
        ..facts("u1", Some("acme"), None)
    };
    let keep = |origin| Some(Claim::Keep(origin));
    check(
        &acme("t1"),
        &[],
        Some(made_for("t1")),
        keep(NamespaceOrigin::Declared),
    );
    check(
        &acme("t2"),
        &[],
        Some(made_for("t1")),
        keep(NamespaceOrigin::Adopted),
    );
    // What the record says counts more: it was let go once.
    let mut recorded = recorded("{namespaces: {declared: [{name: ns}]}}", "Retained");
    recorded.metadata.uid = Some("t1".to_owned());
    check(
        &recorded,
        &[],
        Some(made_for("t1")),
        keep(NamespaceOrigin::Adopted),
    );
}

#[test]
fn what_a_gone_tenant_left_is_handed_over_with_consent() {
    let gone = |adopt_by| Some(facts("u1", Some("gone"), adopt_by));
    check(&acme(), &[], gone(Some("acme")), Some(Claim::Adopt));
    check(&acme(), &[], gone(None), Some(Claim::NotOwned));
    check(&acme(), &[], gone(Some("globex")), Some(Claim::NotOwned));
    // While the other one is there, consent is not enough.
    let there = || tenant("metadata: {name: gone}\nspec: {}");
    let conflict = Some(Claim::Conflict {
        with: "gone".to_owned(),
    });
    check(&acme(), &[there()], gone(Some("acme")), conflict);
}

#[test]
fn an_existing_namespace_needs_consent() {
    check(&acme(), &[], Some(facts("u1", None, None)), Some(Claim::NotOwned));
    check(
        &acme(),
        &[],
        Some(facts("u1", None, Some("acme"))),
        Some(Claim::Adopt),
    );
    check(
        &acme(),
        &[],
        Some(facts("u1", None, Some("globex"))),
        Some(Claim::NotOwned),
    );
}

#[test]
fn the_record_counts_by_uid() {
    let spec = "{namespaces: {declared: [{name: ns}]}}";
    let ours = recorded(spec, "Adopted");
    check(
        &ours,
        &[],
        Some(facts("u1", None, None)),
        Some(Claim::Keep(NamespaceOrigin::Adopted)),
    );
    check(&ours, &[], Some(facts("u2", None, None)), Some(Claim::NotOwned));
    let other = tenant(&format!(
        "metadata: {{name: zeta}}\nspec: {spec}\nstatus: {{namespaces: [{{name: ns, uid: u1, origin: Declared}}]}}"
    ));
    check(
        &acme(),
        &[other],
        Some(facts("u1", None, Some("acme"))),
        Some(Claim::Conflict {
            with: "zeta".to_owned(),
        }),
    );
}

#[test]
fn what_is_no_longer_declared_is_retained_or_released() {
    let live = || Some(facts("u1", Some("acme"), None));
    check(&recorded("{}", "Declared"), &[], live(), Some(Claim::Retain));
    check(
        &recorded("{deletionPolicy: Delete}", "Declared"),
        &[],
        live(),
        Some(Claim::Release),
    );
    check(
        &recorded("{deletionPolicy: Delete}", "Adopted"),
        &[],
        live(),
        Some(Claim::Retain),
    );
    check(
        &recorded("{}", "Declared"),
        &[],
        Some(facts("u2", Some("acme"), None)),
        None,
    );
    check(&recorded("{}", "Declared"), &[], None, None);
}

#[test]
fn a_label_that_contradicts_the_record_is_put_back() {
    let spec = "{namespaces: {declared: [{name: ns}]}}";
    let globex = || tenant(&format!("metadata: {{name: globex}}\nspec: {spec}"));
    for label in [Some("globex"), Some("nobody"), Some(""), None] {
        let live = || Some(facts("u1", label, Some("globex")));
        check(
            &recorded(spec, "Declared"),
            &[globex()],
            live(),
            Some(Claim::Keep(NamespaceOrigin::Declared)),
        );
        check(
            &globex(),
            &[recorded(spec, "Declared")],
            live(),
            Some(Claim::Conflict {
                with: "acme".to_owned(),
            }),
        );
        check(
            &recorded("{}", "Retained"),
            &[globex()],
            live(),
            Some(Claim::Retain),
        );
    }
    let stale = || Some(facts("u2", Some("globex"), None));
    check(
        &recorded(spec, "Declared"),
        &[globex()],
        stale(),
        Some(Claim::Conflict {
            with: "globex".to_owned(),
        }),
    );
    check(
        &globex(),
        &[recorded(spec, "Declared")],
        stale(),
        Some(Claim::Keep(NamespaceOrigin::Adopted)),
    );
}

#[test]
fn of_two_records_of_the_same_namespace_the_first_counts() {
    let twin = |name: &str, created: &str, spec: &str| {
        tenant(&format!(
            "metadata: {{name: {name}, creationTimestamp: '{created}'}}\nspec: {spec}\nstatus: {{namespaces: [{{name: ns, uid: u1, origin: Declared}}]}}"
        ))
    };
    let spec = "{namespaces: {declared: [{name: ns}]}}";
    let older = || twin("zeta", "2026-01-01T00:00:00Z", spec);
    let younger = |spec| twin("acme", "2026-01-02T00:00:00Z", spec);
    let live = || Some(facts("u1", None, None));
    check(
        &older(),
        &[younger(spec)],
        live(),
        Some(Claim::Keep(NamespaceOrigin::Declared)),
    );
    check(
        &younger(spec),
        &[older()],
        live(),
        Some(Claim::Conflict {
            with: "zeta".to_owned(),
        }),
    );
    check(&younger("{}"), &[older()], live(), None);
}

#[test]
fn a_deleted_tenant_lets_go_of_what_it_had_and_takes_nothing_new() {
    let deleted = |policy: &str| {
        tenant(&format!(
            "metadata: {{name: acme, deletionTimestamp: '2026-01-02T00:00:00Z'}}\nspec: {{deletionPolicy: {policy}, namespaces: {{declared: [{{name: ns}}]}}}}"
        ))
    };
    let live = || Some(facts("u1", Some("acme"), None));
    check(&deleted("Retain"), &[], live(), Some(Claim::Retain));
    // Nobody knows any more whether it was adopted.
    check(&deleted("Delete"), &[], live(), Some(Claim::Retain));
    let with_record = |origin: &str| {
        let status = format!("\nstatus: {{namespaces: [{{name: ns, uid: u1, origin: {origin}}}]}}");
        let yaml = "metadata: {name: acme, deletionTimestamp: '2026-01-02T00:00:00Z'}\nspec: {deletionPolicy: Delete, namespaces: {declared: [{name: ns}]}}";
        tenant(&(yaml.to_owned() + &status))
    };
    check(&with_record("Declared"), &[], live(), Some(Claim::Release));
    check(&with_record("Adopted"), &[], live(), Some(Claim::Retain));
    let another = || Some(facts("u2", Some("acme"), None));
    check(&with_record("Declared"), &[], another(), Some(Claim::Retain));
    check(&deleted("Delete"), &[], None, Some(Claim::NotOwned));
    check(
        &deleted("Delete"),
        &[],
        Some(facts("u1", None, Some("acme"))),
        Some(Claim::NotOwned),
    );
}

#[test]
fn a_namespace_on_its_way_out_is_waited_for() {
    let going = NamespaceFacts {
        terminating: true,
        ..facts("u1", Some("acme"), None)
    };
    check(&acme(), &[], Some(going), Some(Claim::Terminating));
}

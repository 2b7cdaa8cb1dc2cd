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
    let namespaces = namespace.map(|it| ("ns".to_owned(), it)).into_iter().collect();
    let claims = claims(tenant, all.iter().copied(), &namespaces, &Config::default());
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
    // While the other one declares it or has it on record, consent is not enough.
    let conflict = || {
        Some(Claim::Conflict {
            with: "gone".to_owned(),
        })
    };
    let there = |more: &str| tenant(&format!("metadata: {{name: gone}}\n{more}"));
    let declares = "spec: {namespaces: {declared: [{name: ns}]}}";
    check(&acme(), &[there(declares)], gone(Some("acme")), conflict());
    let records = "spec: {}\nstatus: {namespaces: [{name: ns, uid: u1, origin: Retained}]}";
    check(&acme(), &[there(records)], gone(Some("acme")), conflict());
    check(&acme(), &[there("spec: {}")], gone(None), conflict());
    check(
        &acme(),
        &[there("spec: {}")],
        gone(Some("acme")),
        Some(Claim::Adopt),
    );
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
        Some(Claim::Wait(Hindrance::NoSelfService)),
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
            Some(Claim::HandOver {
                to: "globex".to_owned(),
            }),
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

#[test]
fn a_namespace_moves_when_it_consents_and_the_other_one_declares_it() {
    let globex = |more: &str| {
        tenant(&format!(
            "metadata: {{name: globex{more}}}\nspec: {{namespaces: {{declared: [{{name: ns}}]}}}}"
        ))
    };
    let goes = || {
        Some(Claim::HandOver {
            to: "globex".to_owned(),
        })
    };
    let consents = |to| Some(facts("u1", Some("acme"), to));
    for origin in ["Declared", "Adopted", "Retained", "SelfService"] {
        for spec in ["{}", "{deletionPolicy: Delete}"] {
            let acme = recorded(spec, origin);
            check(&acme, &[globex("")], consents(Some("globex")), goes());
            let going = globex(", deletionTimestamp: '2026-01-02T00:00:00Z'");
            for (others, to) in [
                (vec![globex("")], None),
                (vec![globex("")], Some("acme")),
                (vec![globex("")], Some("initech")),
                (vec![], Some("globex")),
                (vec![going], Some("globex")),
            ] {
                let stays = claims_of_ns(&acme, &others, consents(to));
                assert!(!matches!(stays, Some(Claim::HandOver { .. })), "{origin} {to:?}");
                // What is promised to another tenant is not deleted on the way.
                if to.is_some_and(|it| it != "acme") {
                    assert_ne!(stays, Some(Claim::Release), "{origin} {to:?}");
                }
            }
        }
    }
    // Who declares it keeps it.
    let declares = recorded("{namespaces: {declared: [{name: ns}]}}", "Declared");
    let keep = Some(Claim::Keep(NamespaceOrigin::Declared));
    check(&declares, &[globex("")], consents(Some("globex")), keep);
}

#[allow(clippy::needless_pass_by_value, reason = "the cases read better so")]
fn claims_of_ns(tenant: &Tenant, others: &[Tenant], namespace: Option<NamespaceFacts>) -> Option<Claim> {
    let all: Vec<&Tenant> = others.iter().chain([tenant]).collect();
    let namespaces = namespace.map(|it| ("ns".to_owned(), it)).into_iter().collect();
    claims(tenant, all, &namespaces, &Config::default()).remove("ns")
}

/// Acme, with self-service, a maximum and more of its status or spec.
fn serving(max: i32, status: &str) -> Tenant {
    tenant(&format!(
        "metadata: {{name: acme, creationTimestamp: '2026-01-02T00:00:00Z'}}\nspec: {{namespaces: {{selfService: {{prefix: acme-, max: {max}}}}}}}\nstatus: {{namespaces: [{status}]}}"
    ))
}

fn made(uid: &str, created: &str) -> NamespaceFacts {
    NamespaceFacts {
        created: Some(created.parse().unwrap()),
        ..facts(uid, Some("acme"), None)
    }
}

const NOON: &str = "2026-01-03T12:00:00Z";
const LATER: &str = "2026-01-03T13:00:00Z";

#[track_caller]
fn check_made(
    tenant: &Tenant,
    others: &[Tenant],
    made: &[(&str, NamespaceFacts)],
    expected: &[(&str, Claim)],
) {
    let all: Vec<&Tenant> = others.iter().chain([tenant]).collect();
    let namespaces = made
        .iter()
        .map(|(name, facts)| ((*name).to_owned(), facts.clone()))
        .collect();
    let expected = expected
        .iter()
        .map(|(name, claim)| ((*name).to_owned(), claim.clone()))
        .collect();
    assert_eq!(claims(tenant, all, &namespaces, &Config::default()), expected);
}

#[test]
fn what_owners_made_is_taken_in_the_order_in_which_it_was_made() {
    let three = [
        ("acme-c", made("3", NOON)),
        ("acme-a", made("1", LATER)),
        ("acme-b", made("2", NOON)),
    ];
    let wait = Claim::Wait(Hindrance::Maximum(2));
    check_made(
        &serving(2, ""),
        &[],
        &three,
        &[("acme-b", Claim::Take), ("acme-c", Claim::Take), ("acme-a", wait)],
    );
    // What is on record comes first, and counts while it exists.
    let recorded = "{name: acme-a, uid: '1', origin: SelfService}";
    let wait = Claim::Wait(Hindrance::Maximum(2));
    check_made(
        &serving(2, recorded),
        &[],
        &three,
        &[
            ("acme-a", Claim::Keep(NamespaceOrigin::SelfService)),
            ("acme-b", Claim::Take),
            ("acme-c", wait),
        ],
    );
    // One that is on record and gone leaves room; one of the same name is another.
    let gone = "{name: acme-z, uid: '9', origin: SelfService}, {name: acme-b, uid: '8', origin: SelfService}";
    let taken = ["acme-a", "acme-b", "acme-c"].map(|it| (it, Claim::Take));
    check_made(&serving(3, gone), &[], &three, &taken);
}

#[test]
fn what_owners_made_stays_theirs_when_self_service_ends() {
    let record = "{name: acme-a, uid: '1', origin: SelfService}";
    let one = [("acme-a", made("1", NOON)), ("acme-b", made("2", NOON))];
    let kept = ("acme-a", Claim::Keep(NamespaceOrigin::SelfService));
    let none = Claim::Wait(Hindrance::Maximum(0));
    check_made(&serving(0, record), &[], &one, &[kept.clone(), ("acme-b", none)]);
    let mut without = serving(0, record);
    without.spec.namespaces = None;
    let none = Claim::Wait(Hindrance::NoSelfService);
    check_made(&without, &[], &one, &[kept, ("acme-b", none)]);
    // With the Tenant it goes, as deletionPolicy says.
    for (policy, leaves) in [
        (DeletionPolicy::Retain, Claim::Retain),
        (DeletionPolicy::Delete, Claim::Release),
    ] {
        let mut going = serving(5, record);
        going.spec.deletion_policy = Some(policy);
        going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
        check_made(&going, &[], &one, &[("acme-a", leaves)]);
    }
    // Its owner deletes it: nothing waits for that.
    let ending = NamespaceFacts {
        terminating: true,
        ..made("1", NOON)
    };
    check_made(
        &serving(5, record),
        &[],
        &[("acme-a", ending.clone())],
        &[("acme-a", Claim::Ending)],
    );
    check_made(&serving(5, ""), &[], &[("acme-a", ending)], &[]);
}

#[test]
fn only_what_an_owner_can_have_made_is_taken() {
    let acme = serving(5, "");
    let take = [("acme-a", Claim::Take)];
    check_made(&acme, &[], &[("acme-a", made("1", NOON))], &take);
    check_made(
        &acme,
        &[],
        &[("acme-a", made("1", "2026-01-02T00:00:00Z"))],
        &take,
    );
    // Left by a Tenant of the same name.
    check_made(&acme, &[], &[("acme-a", made("1", "2026-01-01T23:59:59Z"))], &[]);
    let changed = |change: fn(&mut NamespaceFacts)| {
        let mut facts = made("1", NOON);
        change(&mut facts);
        [("acme-a", facts)]
    };
    check_made(
        &acme,
        &[],
        &changed(|it| it.made_for = Some("t1".to_owned())),
        &[],
    );
    check_made(&acme, &[], &changed(|it| it.labels.clear()), &[]);
    check_made(
        &acme,
        &[],
        &changed(|it| it.adopt_by = Some("globex".to_owned())),
        &[],
    );
    check_made(
        &acme,
        &[],
        &changed(|it| it.adopt_by = Some("acme".to_owned())),
        &take,
    );
    // On another's record.
    let other = tenant(
        "metadata: {name: globex}\nspec: {}\nstatus: {namespaces: [{name: acme-a, uid: '1', origin: Declared}]}",
    );
    check_made(&acme, &[other], &[("acme-a", made("1", NOON))], &[]);
}

#[test]
fn a_name_that_is_not_the_tenants_to_give_waits() {
    let acme = serving(5, "");
    let wait = |name: &'static str| [(name, Claim::Wait(Hindrance::Name))];
    check_made(&acme, &[], &[("other", made("1", NOON))], &wait("other"));
    check_made(&acme, &[], &[("acme", made("1", NOON))], &wait("acme"));
    let rival = |prefix: &str, more: &str| {
        tenant(&format!(
            "metadata: {{name: rival{more}}}\nspec: {{namespaces: {{selfService: {{prefix: {prefix}, max: 1}}}}}}"
        ))
    };
    let one = [("acme-b-c", made("1", NOON))];
    let take = [("acme-b-c", Claim::Take)];
    check_made(&acme, &[rival("acme-b-", "")], &one, &wait("acme-b-c"));
    check_made(&acme, &[rival("acme-", "")], &one, &wait("acme-b-c"));
    check_made(&acme, &[rival("acme-c-", "")], &one, &take);
    let going = ", deletionTimestamp: '2026-01-02T00:00:00Z'";
    check_made(&acme, &[rival("acme-b-", going)], &one, &take);
}

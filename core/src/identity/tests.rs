use bailiwick_crds::v1alpha1::TenantSpec;

use super::*;
use crate::config::PlatformSubjects;

fn identities() -> Identities {
    let acme: TenantSpec = serde_saphyr::from_str(
        r#"
owners: [{kind: Group, name: "oidc:acme:admin"}, {kind: ServiceAccount, name: deployer, namespace: ci}, {kind: User, name: Alice}]
identities: {groups: ["oidc:acme:*"], users: ["acme-*"]}
"#,
    )
    .unwrap();
    let globex: TenantSpec = serde_saphyr::from_str(
        r#"{owners: [{kind: User, name: bob}], identities: {groups: ["oidc:acme:shared"]}}"#,
    )
    .unwrap();
    Identities::collect([("acme", &acme), ("globex", &globex)])
}

fn tenant_of<'a>(namespace: &str) -> Option<&'a str> {
    (namespace == "acme-prod").then_some("acme")
}

#[track_caller]
fn check(subject: Subject<'_>, expected: &Standing<'_>) {
    let platform = PlatformSubjects {
        groups: vec!["oidc:platform:*".to_owned().into()],
        ..Default::default()
    };
    let identities = identities();
    assert_eq!(
        &identities.standing(subject, tenant_of, &platform),
        expected,
        "{subject}"
    );
}

fn only(tenant: &'static str) -> Standing<'static> {
    Standing::Tenants(BTreeSet::from([tenant]))
}

#[test]
fn users_groups_and_service_accounts_have_one_answer() {
    check(Subject::User("bob"), &only("globex"));
    check(Subject::Group("oidc:acme:admin"), &only("acme"));
    check(Subject::Group("oidc:acme:x"), &only("acme"));
    check(Subject::Group("oidc:acme:"), &only("acme"));
    check(Subject::User("acme-"), &only("acme"));
    check(
        Subject::ServiceAccount {
            namespace: "acme-prod",
            name: "any",
        },
        &only("acme"),
    );
    check(
        Subject::User("system:serviceaccount:acme-prod:any"),
        &only("acme"),
    );
    check(Subject::Group("system:serviceaccounts:acme-prod"), &only("acme"));
    check(
        Subject::ServiceAccount {
            namespace: "ci",
            name: "deployer",
        },
        &only("acme"),
    );
    check(Subject::User("system:serviceaccount:ci:deployer"), &only("acme"));
    check(
        Subject::ServiceAccount {
            namespace: "ci",
            name: "other",
        },
        &Standing::Platform,
    );
    check(Subject::Group("system:serviceaccounts:ops"), &Standing::Platform);
    check(Subject::Group("oidc:platform:sre"), &Standing::Platform);
    check(Subject::Group("strangers"), &Standing::Unclaimed);
}

#[test]
fn a_group_of_service_accounts_is_everybody_in_it() {
    check(Subject::Group("system:serviceaccounts:acme-prod"), &only("acme"));
    check(Subject::Group("system:serviceaccounts:ci"), &only("acme"));
    check(Subject::Group("system:serviceaccounts:c"), &Standing::Platform);
    check(Subject::Group("system:serviceaccounts:ci2"), &Standing::Platform);
}

#[test]
fn a_name_that_kubernetes_gives_no_service_account_is_a_name_like_any_other() {
    check(
        Subject::User("system:serviceaccount:ops:a.b-1"),
        &Standing::Platform,
    );
    for user in [
        "system:serviceaccount:acme-prod:any:extra",
        "system:serviceaccount:acme-prod:any ",
        "system:serviceaccount:acme-prod: any",
        "system:serviceaccount:acme-prod:Any",
        "system:serviceaccount:acme-prod:",
        "system:serviceaccount:acme-prod",
        "system:serviceaccount: acme-prod:any",
        "system:serviceaccount:ACME-PROD:any",
        "system:serviceaccount:acme.prod:any",
        "system:serviceaccount::any",
        "system:serviceaccount::",
        "system:serviceaccount:",
        "system:serviceaccount:ops:x:y",
    ] {
        check(Subject::User(user), &Standing::Unclaimed);
    }
    for (namespace, name) in [
        ("", "any"),
        ("acme-prod", ""),
        ("acme-prod", "any:x"),
        ("ops:x", "y"),
        ("ops", "x:y"),
    ] {
        check(Subject::ServiceAccount { namespace, name }, &Standing::Unclaimed);
    }
    for group in [
        "system:serviceaccounts:",
        "system:serviceaccounts:acme-prod:any",
        "system:serviceaccounts:acme-prod ",
        "system:serviceaccounts:Ops",
    ] {
        check(Subject::Group(group), &Standing::Unclaimed);
    }
}

#[test]
fn a_long_name_costs_no_more_than_the_longest_prefix() {
    let identities = identities();
    let long = "x".repeat(3 << 20);
    for _ in 0..1000 {
        let standing = identities.standing(Subject::User(&long), tenant_of, &PlatformSubjects::default());
        assert_eq!(standing, Standing::Unclaimed);
    }
}

#[test]
fn everybody_is_not_nobody() {
    for group in [
        "system:authenticated",
        "system:unauthenticated",
        "system:serviceaccounts",
    ] {
        check(Subject::Group(group), &Standing::Everybody);
    }
    check(Subject::User("system:anonymous"), &Standing::Everybody);
    check(Subject::User("system:authenticated"), &Standing::Unclaimed);
}

#[test]
fn a_shared_subject_belongs_to_both() {
    check(
        Subject::Group("oidc:acme:shared"),
        &Standing::Tenants(BTreeSet::from(["acme", "globex"])),
    );
}

#[test]
fn names_are_never_trimmed_or_folded() {
    check(Subject::User("Alice"), &only("acme"));
    for name in [
        "alice",
        "ALICE",
        " Alice",
        "Alice ",
        "Alice\n",
        "A\u{301}lice",
        "",
        "Alice\0",
        "Ａlice",
    ] {
        check(Subject::User(name), &Standing::Unclaimed);
    }
    check(Subject::Group("OIDC:acme:admin"), &Standing::Unclaimed);
    check(Subject::Group("oidc:acme"), &Standing::Unclaimed);
    check(
        Subject::User("System:serviceaccount:acme-prod:any"),
        &Standing::Unclaimed,
    );
}

#[test]
fn a_user_is_not_a_group() {
    check(Subject::Group("bob"), &Standing::Unclaimed);
    check(Subject::User("oidc:acme:admin"), &Standing::Unclaimed);
}

#[test]
fn overlapping_prefixes_are_rivals_in_both_directions() {
    let spec = |text: &str| serde_saphyr::from_str::<TenantSpec>(text).unwrap();
    let (wide, narrow, exact) = (
        spec(r#"{identities: {groups: ["a:*"]}}"#),
        spec(r#"{identities: {groups: ["a:b:*"]}}"#),
        spec(r#"{identities: {groups: ["a:b:c", "z"]}}"#),
    );
    let all = Identities::collect([("wide", &wide), ("narrow", &narrow), ("exact", &exact)]);
    let claim = |pattern: &str| Claim {
        space: Space::Group,
        pattern: Pattern::from(pattern.to_owned()),
    };
    assert_eq!(
        all.rivals("wide", &claim("a:*")),
        BTreeSet::from(["narrow", "exact"])
    );
    assert_eq!(
        all.rivals("narrow", &claim("a:b:*")),
        BTreeSet::from(["wide", "exact"])
    );
    assert_eq!(
        all.rivals("exact", &claim("a:b:c")),
        BTreeSet::from(["wide", "narrow"])
    );
    assert_eq!(all.rivals("exact", &claim("z")), BTreeSet::new());
    assert!(claim("a:*").overlaps(&claim("a:b*")) && claim("a:b*").overlaps(&claim("a:*")));
    assert!(!claim("a:*").overlaps(&claim("b:a:*")));
    assert!(!claim("a:*").overlaps(&Claim {
        space: Space::User,
        ..claim("a:*")
    }));
    assert_eq!(all.rivals("new", &claim("a:bc*")), BTreeSet::from(["wide"]));
    assert_eq!(
        all.rivals(
            "new",
            &Claim {
                space: Space::User,
                ..claim("a:*")
            }
        ),
        BTreeSet::new()
    );
}

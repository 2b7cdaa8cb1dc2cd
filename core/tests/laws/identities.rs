//! Laws of identity: names are compared byte by byte, and two tenants never share one unnoticed.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_core::config::PlatformSubjects;
use bailiwick_core::identity::{Claim, Identities, Pattern, Space, Standing, Subject, claims_of};
use bailiwick_crds::v1alpha1::{Identities as Names, TenantSpec};
use proptest::prelude::*;

use crate::cases;

/// A name or a prefix over few letters, so that they meet.
fn pattern() -> impl Strategy<Value = Pattern> {
    ("[ab:]{0,3}", any::<bool>()).prop_map(|(text, exact)| {
        if exact {
            Pattern::Exact(text)
        } else {
            Pattern::Prefix(text)
        }
    })
}

fn claim() -> impl Strategy<Value = Claim> {
    (any::<bool>(), pattern()).prop_map(|(user, pattern)| Claim {
        space: if user { Space::User } else { Space::Group },
        pattern,
    })
}

/// Every name that is one letter longer than any pattern, or shorter.
fn all_names() -> Vec<String> {
    let mut names = vec![String::new()];
    let mut last = names.clone();
    for _ in 0..4 {
        last = last
            .iter()
            .flat_map(|name| ["a", "b", ":"].map(|it| format!("{name}{it}")))
            .collect();
        names.extend(last.iter().cloned());
    }
    names
}

fn spec(claims: &[Claim]) -> TenantSpec {
    let of = |space| {
        claims
            .iter()
            .filter(move |it| it.space == space)
            .map(|it| it.pattern.to_string())
            .collect()
    };
    TenantSpec {
        identities: Some(Names {
            users: of(Space::User),
            groups: of(Space::Group),
        }),
        ..TenantSpec::default()
    }
}

fn tenants() -> impl Strategy<Value = BTreeMap<String, Vec<Claim>>> {
    proptest::collection::btree_map("[a-d]", proptest::collection::vec(claim(), 0..4), 1..4)
}

fn collect(tenants: &BTreeMap<String, Vec<Claim>>) -> Identities {
    let specs: Vec<(String, TenantSpec)> = tenants
        .iter()
        .map(|(name, claims)| (name.clone(), spec(claims)))
        .collect();
    Identities::collect(specs.iter().map(|(name, spec)| (name.as_str(), spec)))
}

fn standing<'a>(identities: &'a Identities, subject: Subject<'_>) -> Standing<'a> {
    identities.standing(subject, |_| None, &PlatformSubjects::default())
}

/// Ways in which a name is made to look like another: all that a lenient reader forgives.
fn altered(name: &str) -> Vec<String> {
    let mut altered: Vec<String> = [
        "\u{20}", "\t", "\n", "\0", "\u{a0}", "\u{200b}", "\u{301}", "*", "/", "é",
    ]
    .iter()
    .flat_map(|it| [format!("{name}{it}"), format!("{it}{name}")])
    .collect();
    altered.push(name.to_uppercase());
    altered.push(name.replace('a', "A"));
    altered.push(name.replace('a', "а"));
    altered.push(name.replace('a', "ａ"));
    altered.push(name.replace('a', "a\u{30a}"));
    altered.push(name.replace(':', "："));
    altered.push(name.replace(':', "%3A"));
    altered.retain(|it| it != name);
    altered
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn patterns_overlap_where_some_name_is_both(a in pattern(), b in pattern()) {
        let shared = all_names().iter().any(|it| a.matches(it) && b.matches(it));
        prop_assert_eq!(a.overlaps(&b), shared);
        prop_assert_eq!(b.overlaps(&a), shared);
        prop_assert!(a.overlaps(&a));
    }

    #[test]
    fn a_pattern_is_read_as_it_was_written(text in "[ab:]{0,3}\\*?") {
        prop_assert_eq!(Pattern::from(text.clone()).to_string(), text);
    }

    #[test]
    fn rivals_are_those_with_an_overlapping_claim(tenants in tenants(), claim in claim()) {
        let identities = collect(&tenants);
        let own = tenants.keys().next().unwrap();
        for claim in tenants.values().flatten().chain([&claim]) {
            let expected: BTreeSet<&str> = tenants
                .iter()
                .filter(|(name, claims)| *name != own && claims.iter().any(|it| it.overlaps(claim)))
                .map(|(name, _)| name.as_str())
                .collect();
            prop_assert_eq!(identities.rivals(own, claim), expected);
        }
    }

    #[test]
    fn a_subject_is_of_those_whose_claims_match(tenants in tenants()) {
        let identities = collect(&tenants);
        for name in all_names() {
            for (space, subject) in [(Space::User, Subject::User(&name)), (Space::Group, Subject::Group(&name))] {
                let expected: BTreeSet<&str> = tenants
                    .iter()
                    .filter(|(_, claims)| claims.iter().any(|it| it.space == space && it.pattern.matches(&name)))
                    .map(|(tenant, _)| tenant.as_str())
                    .collect();
                let found = match standing(&identities, subject) {
                    Standing::Tenants(tenants) => tenants,
                    other => {
                        prop_assert_eq!(other, Standing::Unclaimed);
                        BTreeSet::new()
                    }
                };
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn a_name_that_only_looks_alike_is_another(tenants in tenants(), name in "[ab:]{1,3}") {
        let identities = collect(&tenants);
        for altered in altered(&name) {
            let Standing::Tenants(found) = standing(&identities, Subject::User(&altered)) else { continue };
            for tenant in found {
                let by_prefix = tenants[tenant].iter().any(|it| {
                    it.space == Space::User && matches!(&it.pattern, Pattern::Prefix(it) if altered.as_bytes().starts_with(it.as_bytes()))
                });
                prop_assert!(by_prefix, "{altered:?} got tenant {tenant}");
            }
        }
    }

    #[test]
    fn a_service_account_is_one_by_whatever_name(namespace in "[ab.:]{0,3}", name in "[ab.:]{0,3}", owned in any::<bool>()) {
        let owners = if owned { "[{kind: ServiceAccount, namespace: a, name: b}]" } else { "[]" };
        let spec: TenantSpec = serde_saphyr::from_str(&format!("{{owners: {owners}}}")).unwrap();
        let identities = Identities::collect([("t", &spec)]);
        let tenant_of = |it: &str| (it == "b").then_some("u");
        let user = format!("system:serviceaccount:{namespace}:{name}");
        let platform = PlatformSubjects::default();
        let by_kind = identities.standing(Subject::ServiceAccount { namespace: &namespace, name: &name }, tenant_of, &platform);
        let by_name = identities.standing(Subject::User(&user), tenant_of, &platform);
        prop_assert_eq!(&by_kind, &by_name);
        // Who is in the group is in the group.
        let group = format!("system:serviceaccounts:{namespace}");
        let in_group = identities.standing(Subject::Group(&group), tenant_of, &platform);
        if let (Standing::Tenants(one), Standing::Tenants(all)) = (&by_name, &in_group) {
            prop_assert!(one.is_subset(all));
        } else {
            prop_assert!(!matches!(by_name, Standing::Tenants(_)));
        }
    }

    #[test]
    fn claims_are_what_was_written(tenants in tenants()) {
        for claims in tenants.values() {
            let expected: BTreeSet<Claim> = claims.iter().map(|it| Claim {
                space: it.space,
                pattern: Pattern::from(it.pattern.to_string()),
            }).collect();
            prop_assert_eq!(claims_of(&spec(claims)), expected);
        }
    }
}

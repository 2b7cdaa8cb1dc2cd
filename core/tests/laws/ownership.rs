//! Laws of ownership: a namespace has one tenant, whatever Tenants say and whoever asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use bailiwick_core::config::Config;
use bailiwick_core::ownership::{Claim, NamespaceFacts, claims};
use bailiwick_core::snapshot::{Snapshot, Tenants};
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::Tenant;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::json;

use crate::cases;

const NAMESPACES: [&str; 3] = ["n1", "n2", "n3"];

fn tenant(name: &'static str) -> impl Strategy<Value = Tenant> {
    let time = || {
        select(vec![
            None,
            Some("2026-01-01T00:00:00Z"),
            Some("2026-01-02T00:00:00Z"),
        ])
    };
    let records = proptest::collection::btree_map(
        select(NAMESPACES.to_vec()),
        (
            select(vec!["u1", "u2"]),
            select(vec!["Declared", "Adopted", "Retained", "SelfService"]),
        ),
        0..=3,
    );
    let declared = subsequence(NAMESPACES.to_vec(), 0..=3);
    let self_service = proptest::option::of((select(vec!["n", "n1"]), 0..=2));
    (time(), time(), declared, records, any::<bool>(), self_service).prop_map(move |(created, deleted, declared, records, delete, self_service)| {
        let self_service = self_service.map(|(prefix, max)| json!({"prefix": prefix, "max": max}));
        let declared: Vec<_> = declared.iter().map(|it| json!({"name": it})).collect();
        let records: Vec<_> =
            records.iter().map(|(name, (uid, origin))| json!({"name": name, "uid": uid, "origin": origin})).collect();
        serde_json::from_value(json!({
            "apiVersion": "bailiwick.dev/v1alpha1",
            "kind": "Tenant",
            "metadata": {"name": name, "uid": format!("t-{name}"), "creationTimestamp": created, "deletionTimestamp": deleted},
            "spec": {"namespaces": {"declared": declared, "selfService": self_service}, "deletionPolicy": if delete { "Delete" } else { "Retain" }},
            "status": {"namespaces": records},
        }))
        .unwrap()
    })
}

fn tenants() -> impl Strategy<Value = Vec<Tenant>> {
    (tenant("a"), tenant("b"), tenant("c"), 1..=3_usize).prop_map(|(a, b, c, count)| {
        let mut all = vec![a, b, c];
        all.truncate(count);
        all
    })
}

fn facts() -> impl Strategy<Value = BTreeMap<String, NamespaceFacts>> {
    let name = || select(vec![None, Some("a"), Some("b"), Some("c"), Some("d"), Some("")]);
    let one = (
        select(vec!["u1", "u2", "u3"]),
        name(),
        name(),
        select(vec![None, Some("t-a"), Some("t-b"), Some("t-x")]),
        any::<bool>(),
        proptest::bool::weighted(0.1),
    );
    let one = one.prop_map(
        |(uid, label, adopt_by, made_for, owner_references, terminating)| NamespaceFacts {
            annotations: BTreeMap::new(),
            uid: uid.to_owned(),
            labels: label
                .map(|it| (labels::TENANT.to_owned(), it.to_owned()))
                .into_iter()
                .collect(),
            adopt_by: adopt_by.map(str::to_owned),
            made_for: made_for.map(str::to_owned),
            owner_references,
            terminating,
            created: None,
        },
    );
    proptest::collection::btree_map(select(NAMESPACES.to_vec()).prop_map(str::to_owned), one, 0..=3)
}

type All = BTreeMap<String, BTreeMap<String, Claim>>;

/// What each tenant is to do with each namespace.
fn all_claims(tenants: &[Tenant], facts: &BTreeMap<String, NamespaceFacts>) -> All {
    let of = |it: &Tenant| {
        (
            it.metadata.name.clone().unwrap(),
            claims(it, tenants, facts, &Config::default()),
        )
    };
    tenants.iter().map(of).collect()
}

/// The tenants whose hands are on a namespace.
fn holders<'a>(all: &'a All, namespace: &str) -> Vec<(&'a str, &'a Claim)> {
    all.iter()
        .filter_map(|(tenant, claims)| Some((tenant.as_str(), claims.get(namespace)?)))
        .filter(|(_, it)| {
            matches!(
                it,
                Claim::Create
                    | Claim::Keep(_)
                    | Claim::Adopt
                    | Claim::Take
                    | Claim::Wait(_)
                    | Claim::Ending
                    | Claim::HandOver { .. }
                    | Claim::Retain
                    | Claim::Release
            )
        })
        .collect()
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn a_namespace_has_one_tenant(tenants in tenants(), facts in facts()) {
        let all = all_claims(&tenants, &facts);
        for namespace in NAMESPACES {
            prop_assert!(holders(&all, namespace).len() <= 1, "{namespace}: {all:?}");
        }
    }

    #[test]
    fn decisions_and_the_operator_agree_whose_it_is(tenants in tenants(), facts in facts()) {
        let all = all_claims(&tenants, &facts);
        let snapshot = Snapshot {
            tenants: Arc::new(Tenants::collect(tenants.iter().cloned().map(Arc::new))),
            namespaces: Arc::new(facts.clone()),
            ..Snapshot::default()
        };
        for namespace in NAMESPACES {
            for (tenant, claim) in holders(&all, namespace) {
                let owner = snapshot.tenant_of(namespace);
                if *claim == Claim::Adopt {
                    let declares = |it: &str| snapshot.tenants.declared.get(namespace).is_some_and(|by| by.contains(it));
                    let is_free = snapshot.recorded_tenant_of(namespace).is_none()
                        && owner.is_none_or(|it| !declares(it) || it == tenant);
                    prop_assert!(is_free, "{}: {:?}", namespace, owner);
                } else {
                    prop_assert_eq!(owner, Some(tenant), "{}: {:?}", namespace, claim);
                }
            }
        }
    }

    #[test]
    fn the_order_in_which_tenants_are_listed_is_irrelevant(tenants in tenants(), facts in facts()) {
        let reversed: Vec<Tenant> = tenants.iter().rev().cloned().collect();
        prop_assert_eq!(all_claims(&tenants, &facts), all_claims(&reversed, &facts));
    }

    #[test]
    fn a_namespace_is_taken_with_consent_only(tenants in tenants(), facts in facts()) {
        for (tenant, claims) in all_claims(&tenants, &facts) {
            for (namespace, claim) in claims {
                let Some(facts) = facts.get(&namespace) else {
                    prop_assert!(matches!(claim, Claim::Create | Claim::Conflict { .. } | Claim::NotOwned), "{claim:?}");
                    continue;
                };
                prop_assert!(claim != Claim::Create);
                if claim == Claim::Adopt {
                    prop_assert_eq!(facts.adopt_by.as_deref(), Some(tenant.as_str()));
                    let declares = |it: &Tenant| it.spec.namespaces.iter().flat_map(|it| &it.declared).any(|it| it.name == namespace);
                    let has_it = |name: &str| tenants.iter().any(|it| it.metadata.name.as_deref() == Some(name) && declares(it));
                    prop_assert!(!facts.labelled().is_some_and(has_it));
                }
                if facts.terminating {
                    let waits = matches!(claim, Claim::Terminating | Claim::Ending | Claim::NotOwned);
                    prop_assert!(waits, "{claim:?}");
                }
            }
        }
    }

    #[test]
    fn no_more_is_taken_than_there_may_be(tenants in tenants(), facts in facts()) {
        for tenant in &tenants {
            let claims = claims(tenant, &tenants, &facts, &Config::default());
            let count = |of: fn(&Claim) -> bool| claims.values().filter(|it| of(it)).count();
            let (all, new) = (count(Claim::is_by_self_service), count(|it| *it == Claim::Take));
            let waiting = count(|it| matches!(it, Claim::Wait(_)));
            let self_service = tenant.spec.namespaces.as_ref().and_then(|it| it.self_service.as_ref());
            let max = self_service.map_or(0, |it| usize::try_from(it.max).unwrap());
            prop_assert!(new == 0 || all - waiting <= max, "{claims:?}");
            for (namespace, _) in claims.iter().filter(|(_, it)| **it == Claim::Take) {
                prop_assert!(namespace.starts_with(&self_service.unwrap().prefix));
                prop_assert_eq!(facts[namespace].labelled(), tenant.metadata.name.as_deref());
            }
        }
    }

    #[test]
    fn what_is_deleted_was_asked_for_and_not_adopted(tenants in tenants(), facts in facts()) {
        for tenant in &tenants {
            for (namespace, claim) in claims(tenant, &tenants, &facts, &Config::default()) {
                if claim == Claim::Release {
                    let facts = &facts[&namespace];
                    let record = tenant.status.iter().flat_map(|it| &it.namespaces).find(|it| it.name == namespace);
                    let origin = record.filter(|it| it.uid == facts.uid).map(|it| format!("{:?}", it.origin));
                    let is_made_for_it = facts.made_for == tenant.metadata.uid;
                    prop_assert!(origin.map_or(is_made_for_it, |it| it == "Declared" || it == "SelfService"));
                    let other = facts.adopt_by.as_ref().filter(|it| Some(*it) != tenant.metadata.name.as_ref());
                    prop_assert!(other.is_none(), "{other:?}");
                    let policy = format!("{:?}", tenant.spec.deletion_policy);
                    prop_assert!(policy.contains("Delete"));
                }
            }
        }
    }
}

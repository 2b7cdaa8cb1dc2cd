use std::collections::BTreeSet;

use bailiwick_core::config::Config;
use bailiwick_core::finding::RuleId;
use bailiwick_core::ownership::Hindrance;
use bailiwick_core::validate::examine;
use serde_json::json;

use super::*;

fn tenant(is_valid: bool, is_going: bool) -> Tenant {
    let owner = if is_valid { "alice" } else { "system:admin" };
    let mut tenant: Tenant = serde_json::from_value(json!({
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme"},
        "spec": {"owners": [{"kind": "User", "name": owner}]},
    }))
    .unwrap();
    if is_going {
        tenant.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    }
    tenant
}

fn claims() -> Vec<BTreeMap<String, Claim>> {
    let with = "globex".to_owned();
    [
        Claim::Create,
        Claim::Conflict { with },
        Claim::NotOwned,
        Claim::Wait(Hindrance::Maximum(3)),
    ]
    .into_iter()
    .map(|it| BTreeMap::from([("ns".to_owned(), it)]))
    .collect()
}

fn done() -> Vec<Done> {
    let conflict = Finding::new(RuleId::TenantIdentity, "f", "found", "allowed", "fix");
    let failed = PARTS.into_iter().map(|part| Done {
        error: Some(Error::IndexBehind),
        failed: Some(part),
        ..Done::default()
    });
    let mut all: Vec<Done> = failed.collect();
    all.push(Done {
        identity_conflicts: vec![conflict.clone()],
        ..Done::default()
    });
    all.push(Done {
        network_conflicts: vec![conflict],
        ..Done::default()
    });
    all.push(Done::default());
    all
}

/// All that can be said, in every situation.
fn everything() -> Vec<Vec<Said>> {
    let unread = Finding::new(RuleId::TenantInvalid, "f", "found", "allowed", "fix");
    let mut all = vec![unreadable(&[unread], &[])];
    for (is_valid, is_going) in [(true, false), (true, true), (false, false), (false, true)] {
        let tenant = tenant(is_valid, is_going);
        let examined = examine(&tenant, &Config::default());
        assert_eq!(examined.problems.is_empty(), is_valid);
        all.push(unfinished(&tenant, &Error::Deadline(60), &[]));
        for claims in &claims() {
            for done in &done() {
                for strays in [&[][..], &["RoleBinding ns/old lets in User 'bob'".to_owned()]] {
                    let seen = Seen {
                        tenant: &tenant,
                        examined: &examined,
                        claims,
                        done,
                        strays,
                        quota: None,
                    };
                    all.push(said(&seen, &[]));
                }
            }
        }
    }
    let mut limited = tenant(true, false);
    limited.spec = serde_json::from_value(json!({"quota": {"namespace": {"pods": "5"}}})).unwrap();
    let seen = Seen {
        tenant: &limited,
        examined: &examine(&limited, &Config::default()),
        claims: &BTreeMap::new(),
        done: &Done::default(),
        strays: &[],
        quota: None,
    };
    all.push(said(&seen, &[]));
    for used in ["5", "6"] {
        let quota = quota("5", used);
        let seen = Seen {
            quota: Some(&quota),
            ..seen
        };
        all.push(said(&seen, &[]));
    }
    all
}

fn quota(hard: &str, used: &str) -> QuotaStatus {
    serde_json::from_value(
        json!({"hard": {"pods": hard, "services": "9"}, "used": {"pods": used, "services": "0"}}),
    )
    .unwrap()
}

#[test]
fn a_quota_that_is_used_up_is_told_and_the_tenant_is_ready_all_the_same() {
    let tenant = tenant(true, false);
    let examined = examine(&tenant, &Config::default());
    let check = |hard: &str, used: &str, reason: Reason, message: &str| {
        let quota = quota(hard, used);
        let seen = Seen {
            tenant: &tenant,
            examined: &examined,
            claims: &BTreeMap::new(),
            done: &Done::default(),
            strays: &[],
            quota: Some(&quota),
        };
        let said = said(&seen, &[]);
        let of = |type_| said.iter().find(|it| it.type_ == type_).unwrap();
        let healthy = of(ConditionType::QuotaHealthy);
        assert_eq!(healthy.reason, reason, "{used} of {hard}");
        assert!(healthy.message.contains(message), "{}", healthy.message);
        assert_eq!(of(ConditionType::Ready).holds, Holds::True);
    };
    check("5", "4", Reason::NotRequested, "");
    check("5000m", "5", Reason::Exhausted, "'pods (5 of 5000m)'");
    check("5", "6", Reason::OverUsed, "'pods (6 of 5)'");
    // What may not be used at all is not used up.
    check("0", "0", Reason::NotRequested, "");
}

#[test]
fn what_is_said_is_what_the_types_document_and_all_of_it() {
    let documented: BTreeSet<(ConditionType, &str, Reason)> = ConditionType::ALL
        .into_iter()
        .flat_map(|type_| type_.reasons().iter().map(move |it| (type_, it)))
        .flat_map(|(type_, (status, reasons))| reasons.iter().map(move |it| (type_, *status, *it)))
        .collect();
    let said: BTreeSet<(ConditionType, &str, Reason)> = everything()
        .iter()
        .flatten()
        .map(|it| (it.type_, it.holds.as_str(), it.reason))
        .collect();
    assert_eq!(said, documented);
}

#[test]
fn every_type_is_said_on_the_first_visit_and_once() {
    for said in everything() {
        let mut types: Vec<ConditionType> = said.iter().map(|it| it.type_).collect();
        types.sort_unstable();
        assert_eq!(types, ConditionType::ALL);
    }
}

#[test]
fn a_part_that_was_decided_before_is_not_unknown_now() {
    let tenant = tenant(false, false);
    let before = Condition {
        type_: ConditionType::NetworkIsolated.to_string(),
        status: "True".to_owned(),
        reason: Reason::AllApplied.to_string(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap(),
    };
    let said = unfinished(&tenant, &Error::Deadline(60), &[before]);
    let says = |type_| said.iter().any(|it| it.type_ == type_);
    assert!(!says(ConditionType::NetworkIsolated));
    assert!(says(ConditionType::QuotaHealthy));
}

#[test]
fn stray_bindings_are_named_and_the_rest_counted() {
    let tenant = tenant(true, false);
    let strays: Vec<String> = (1..=5)
        .map(|it| format!("RoleBinding ns/b{it} lets in x"))
        .collect();
    let seen = Seen {
        tenant: &tenant,
        examined: &examine(&tenant, &Config::default()),
        claims: &BTreeMap::new(),
        done: &Done::default(),
        strays: &strays,
        quota: None,
    };
    let said = said(&seen, &[]);
    for type_ in [ConditionType::Ready, ConditionType::AccessIsolated] {
        let it = said.iter().find(|it| it.type_ == type_).unwrap();
        assert_eq!((it.holds, it.reason), (Holds::False, Reason::StrayBinding));
        assert!(it.message.contains("ns/b1 lets in x; ") && it.message.contains("; and 2 more;"));
    }
}

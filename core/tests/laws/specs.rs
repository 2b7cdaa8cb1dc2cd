//! Tenants that somebody might write: mostly sensible, now and then not.

use std::sync::Arc;

use bailiwick_core::config::Config;
use bailiwick_core::snapshot::{Snapshot, Tenants};
use bailiwick_core::validate::{examine, validate};
use bailiwick_core::{decide, network, plan};
use bailiwick_crds::v1alpha1::{Tenant, TenantSpec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::cases;

/// Names that are names, and names that try to be more.
pub(crate) fn name() -> impl Strategy<Value = String> {
    let good = ["a", "b", "acme", "acme-prod", "oidc:acme:dev", "x1"];
    let bad = [
        "",
        " ",
        "*",
        "a*",
        "a*b",
        "A",
        "a ",
        "kube-system",
        "default",
        "system:masters",
        "system:serviceaccount:a:b",
        "a:b",
        "../x",
        "a/b",
        "ä",
        "\u{202e}a",
        "a\0",
        "bailiwick.dev/tenant",
        "169.254.169.254",
    ];
    prop_oneof![
        8 => select(good.to_vec()).prop_map(str::to_owned),
        2 => select(bad.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,70}",
        1 => "[a-z]{60,70}",
    ]
}

fn subject() -> impl Strategy<Value = Value> {
    (
        select(vec!["User", "Group", "ServiceAccount"]),
        name(),
        proptest::option::of(name()),
        0..4_u8,
    )
        .prop_map(|(kind, name, namespace, odd)| {
            let namespace = match (kind, odd) {
                (_, 0) => namespace,
                ("ServiceAccount", _) => namespace.or_else(|| Some("ci".to_owned())),
                _ => None,
            };
            match namespace {
                Some(namespace) => json!({"kind": kind, "name": name, "namespace": namespace}),
                None => json!({"kind": kind, "name": name}),
            }
        })
}

fn subjects() -> impl Strategy<Value = Vec<Value>> {
    proptest::collection::vec(subject(), 0..4)
}

fn selector() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        Just(json!({"matchLabels": {"stage": "prod"}})),
        Just(json!({"matchExpressions": [{"key": "stage", "operator": "NotIn", "values": ["prod"]}]})),
        Just(json!({"matchExpressions": [{"key": "stage", "operator": "In"}]})),
        Just(json!({"matchLabels": {"kubernetes.io/metadata.name": "a"}})),
    ]
}

fn network() -> impl Strategy<Value = Value> {
    let cidr = select(vec![
        "192.0.2.0/24",
        "2001:db8::/48",
        "0.0.0.0/0",
        "::/0",
        "10.0.0.0/8",
        "10.0.0.1/8",
        "64:ff9b::/96",
        "64:ff9b::808:800/120",
        "169.254.0.0/16",
        "x",
    ]);
    let names = || proptest::collection::vec(name(), 0..3);
    (names(), names(), names(), proptest::collection::vec(cidr, 0..3), any::<bool>(), any::<bool>()).prop_map(
        |(from_tenants, from_namespaces, to_tenants, to_cidrs, dns, internet)| {
            json!({
                "ingress": {"fromTenants": from_tenants, "fromNamespaces": from_namespaces},
                "egress": {"toTenants": to_tenants, "toCIDRs": to_cidrs, "dns": dns, "internet": internet},
            })
        },
    )
}

fn quota() -> impl Strategy<Value = Value> {
    let amount = || {
        select(vec![
            "1",
            "500m",
            "1Gi",
            "1024Mi",
            "1e3",
            "0",
            "-1",
            "1Gx",
            "99E",
            "0.000000001n",
        ])
    };
    let list = move || {
        proptest::collection::btree_map(
            select(vec!["cpu", "memory", "pods", "count/services"]),
            amount(),
            0..3,
        )
    };
    let item = (
        select(vec!["Container", "Pod", "PersistentVolumeClaim"]),
        list(),
        list(),
        list(),
        list(),
    );
    let item = item.prop_map(|(of, max, min, default, request)| match of {
        "Container" => {
            json!({"type": of, "max": max, "min": min, "default": default, "defaultRequest": request})
        }
        _ => json!({"type": of, "max": max, "min": min}),
    });
    (list(), proptest::collection::vec(item, 0..3))
        .prop_map(|(namespace, limits)| json!({"namespace": namespace, "limits": limits}))
}

fn namespaces() -> impl Strategy<Value = Value> {
    let labels = proptest::collection::btree_map(
        prop_oneof![4 => Just("stage".to_owned()), 1 => name()],
        prop_oneof![4 => Just("prod".to_owned()), 1 => name()],
        0..3,
    );
    let declared = proptest::collection::vec((name(), labels), 0..4);
    declared.prop_map(|it| {
        let declared: Vec<Value> = it
            .into_iter()
            .map(|(name, labels)| json!({"name": name, "labels": labels}))
            .collect();
        json!({"declared": declared})
    })
}

/// A spec, and with a fair chance one that can be carried out.
pub(crate) fn spec() -> impl Strategy<Value = TenantSpec> {
    let access = (
        select(vec!["edit", "view", "bailiwick-edit", "cluster-admin"]),
        subjects(),
        selector(),
    );
    let access = access.prop_map(|(role, subjects, selector)| {
        let mut access = json!({"clusterRole": role, "subjects": subjects});
        if !selector.is_null() {
            access["namespaceSelector"] = selector;
        }
        access
    });
    let identities = (
        proptest::collection::vec(name(), 0..3),
        proptest::collection::vec(name(), 0..3),
    );
    let optional = |it: Value| prop_oneof![Just(Value::Null), Just(it)];
    (
        subjects(),
        identities,
        proptest::collection::vec(access, 0..3),
        namespaces(),
        network().prop_flat_map(optional),
        quota().prop_flat_map(optional),
        select(vec!["baseline", "restricted"]),
        select(vec![None, Some("Stamp"), Some("Require"), Some("Verify")]),
    )
        .prop_map(
            |(owners, (users, groups), access, namespaces, network, quota, level, pod_label)| {
                let mut spec = json!({
                    "owners": owners,
                    "identities": {"users": users, "groups": groups},
                    "access": access,
                    "namespaces": namespaces,
                    "podSecurity": {"enforce": level},
                });
                for (key, value) in [
                    ("network", network),
                    ("quota", quota),
                    ("podLabel", json!(pod_label)),
                ] {
                    if !value.is_null() {
                        spec[key] = value;
                    }
                }
                serde_json::from_value(spec).unwrap()
            },
        )
}

/// Nothing but what the checks let through is left of a spec: each list loses what they complain about.
pub(crate) fn mended(mut spec: TenantSpec, config: &Config) -> TenantSpec {
    let is_valid = |spec: &TenantSpec| validate(&Tenant::new("acme", spec.clone()), config).is_ok();
    let mut parts: Vec<fn(&mut TenantSpec)> = vec![
        |it| it.quota = None,
        |it| it.network = None,
        |it| it.access.clear(),
        |it| it.identities = None,
        |it| it.owners.clear(),
        |it| it.namespaces = None,
    ];
    while !is_valid(&spec) {
        // Leave out the part whose absence helps, or else the next one.
        let problems = |spec: &TenantSpec| {
            validate(&Tenant::new("acme", spec.clone()), config).map_or_else(|it| it.len(), |_| 0)
        };
        let before = problems(&spec);
        let Some(part) = parts.pop() else {
            return TenantSpec::default();
        };
        let mut without = spec.clone();
        part(&mut without);
        if problems(&without) < before {
            spec = without;
        }
    }
    spec
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn whatever_is_written_is_checked_and_what_is_accepted_is_planned(
        name in name(),
        spec in spec(),
        others in proptest::collection::vec((name(), spec()), 0..3),
    ) {
        let tenants = others.into_iter().map(|(name, spec)| Arc::new(Tenant::new(&name, spec)));
        let snapshot = Snapshot { tenants: Arc::new(Tenants::collect(tenants)), ..Snapshot::default() };
        let config = Config::default();
        for spec in [spec.clone(), mended(spec, &config)] {
            match validate(&Tenant::new(&name, spec.clone()), &config) {
                Err(findings) => {
                    prop_assert!(!findings.is_empty());
                    // What is left of it opens nothing that is wrong.
                    let sound = examine(&Tenant::new(&name, spec.clone()), &config).sound;
                    let access = sound.access.iter();
                    prop_assert!(access.map(|it| &it.cluster_role).all(|it| config.bindable_cluster_roles.contains(it)));
                    prop_assert!(!sound.namespaces.keys().any(|it| config.is_reserved_namespace(it)));
                    prop_assert!(!sound.to_cidrs.iter().any(|it| network::never_open(it).is_some()));
                    prop_assert!(!sound.owners.iter().any(|it| it.name.contains('*')));
                    for it in findings {
                        prop_assert!(!it.field.is_empty() && !it.allowed.is_empty() && !it.fix.is_empty(), "{it:?}");
                        prop_assert!(!it.to_string().chars().any(char::is_control), "{it:?}");
                    }
                }
                Ok(valid) => {
                    decide::conflicts(&snapshot, &valid);
                    decide::access_conflicts(&snapshot, &valid);
                    let declared = valid.namespaces.keys().map(|it| (it.as_str(), plan::Stay::Declared));
                    let plan = plan::plan(&valid, declared, &config, |_| true);
                    for (namespace, planned) in plan.namespaces {
                        prop_assert!(!config.is_reserved_namespace(&namespace));
                        prop_assert_eq!(&planned.labels["bailiwick.dev/tenant"], &name);
                        for object in planned.locks.iter().chain(&planned.doors) {
                            prop_assert!(object.to_value().is_object());
                        }
                    }
                }
            }
        }
    }
}

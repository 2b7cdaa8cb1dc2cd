//! Laws of the plan: it depends on the Tenant alone, and once carried out there is nothing left to do.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_core::config::Config;
use bailiwick_core::ownership::NamespaceFacts;
use bailiwick_core::plan::{NamespacePlan, Object, Plan, Stay, diff, plan};
use bailiwick_core::validate::{ValidTenant, validate};
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{Tenant, TenantSpec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::cases;
use crate::specs::{mended, spec};

fn valid(spec: TenantSpec) -> ValidTenant {
    let mut tenant = Tenant::new("acme", spec);
    tenant.metadata.uid = Some("u".to_owned());
    validate(&tenant, &Config::default()).unwrap()
}

fn valid_spec() -> impl Strategy<Value = TenantSpec> {
    spec().prop_map(|it| mended(it, &Config::default()))
}

fn planned(tenant: &ValidTenant) -> Plan {
    let declared = tenant.namespaces.keys().map(|it| (it.as_str(), Stay::Declared));
    let more = [("undeclared", Stay::Declared), ("retained", Stay::Retained)];
    plan(tenant, declared.chain(more), &Config::default(), |_| true)
}

fn objects(plan: &NamespacePlan) -> impl Iterator<Item = &Object> {
    plan.locks.iter().chain(&plan.doors)
}

/// The object as the API server would hand it out again: with what it adds, and without empty lists.
fn stored(object: &Object) -> Value {
    let mut value = object.to_value();
    drop_empty_lists(&mut value);
    for (key, it) in [
        ("uid", json!("2f1")),
        ("resourceVersion", json!("7")),
        ("generation", json!(1)),
        ("creationTimestamp", json!("2026-01-01T00:00:00Z")),
        (
            "managedFields",
            json!([{"manager": "bailiwick-operator", "fieldsV1": {"f:spec": {}}}]),
        ),
    ] {
        value["metadata"][key] = it;
    }
    value["status"] = json!({"used": {"pods": "1"}});
    value
}

fn drop_empty_lists(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, it| !it.as_array().is_some_and(Vec::is_empty));
            members.values_mut().for_each(drop_empty_lists);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty_lists),
        _ => {}
    }
}

/// Who gets which role in a namespace.
fn bound(plan: &NamespacePlan) -> BTreeSet<(String, String)> {
    let doors = plan.doors.iter().map(Object::to_value);
    doors
        .flat_map(|door| {
            let role = door["roleRef"]["name"].as_str().unwrap().to_owned();
            let subjects = door["subjects"].as_array().unwrap().clone();
            subjects.into_iter().map(move |it| (role.clone(), it.to_string()))
        })
        .collect()
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn the_same_tenant_gives_the_same_plan(spec in valid_spec()) {
        prop_assert_eq!(planned(&valid(spec.clone())), planned(&valid(spec)));
    }

    #[test]
    fn what_was_carried_out_needs_nothing_more(spec in valid_spec()) {
        for namespace in planned(&valid(spec)).namespaces.values() {
            for object in objects(namespace) {
                let left = diff::object(object.kind(), &object.to_value(), &stored(object));
                prop_assert_eq!(left, Vec::<String>::new());
            }
        }
    }

    #[test]
    fn whatever_is_different_is_seen(spec in valid_spec(), pick in any::<proptest::sample::Index>(), with in select(vec![json!("x"), json!([]), json!({"x": "y"}), json!(7)])) {
        for namespace in planned(&valid(spec)).namespaces.values() {
            for object in objects(namespace) {
                let mut changed = stored(object);
                let part = ["spec", "roleRef", "subjects"].into_iter().find(|it| changed.get(it).is_some()).unwrap();
                let paths = leaves(&changed[part], String::new());
                let Some(path) = paths.get(pick.index(paths.len().max(1))) else { continue };
                *changed[part].pointer_mut(path).unwrap() = with.clone();
                if changed == stored(object) {
                    continue;
                }
                let seen = diff::object(object.kind(), &object.to_value(), &changed);
                prop_assert!(!seen.is_empty(), "{part}{path}: {changed}");
            }
        }
    }

    #[test]
    fn a_namespace_is_put_right_in_one_step(
        spec in valid_spec(),
        labels in proptest::collection::btree_map(
            select(vec!["bailiwick.dev/tenant", "bailiwick.dev/pod-label", "pod-security.kubernetes.io/enforce", "pod-security.kubernetes.io/x", "resource.kubernetes.io/admin-access", "stage", "team"]),
            select(vec!["", "acme", "globex", "privileged", "prod"]),
            0..6,
        ),
        owner_references in any::<bool>(),
    ) {
        for namespace in planned(&valid(spec)).namespaces.values() {
            let mut facts = NamespaceFacts {
                labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
                owner_references,
                ..NamespaceFacts::default()
            };
            let others: BTreeMap<String, String> = facts
                .labels
                .clone()
                .into_iter()
                .filter(|(key, _)| !labels::is_guarded(key) && !namespace.labels.contains_key(key))
                .collect();
            let change = diff::namespace(namespace, &facts);
            facts.labels.retain(|key, _| !change.remove.contains(key));
            facts.labels.extend(change.set);
            facts.owner_references &= !change.remove_owner_references;
            prop_assert!(diff::namespace(namespace, &facts).is_empty());
            let mut expected = namespace.labels.clone();
            expected.extend(others);
            prop_assert_eq!(&facts.labels, &expected);
            prop_assert!(!facts.owner_references);
        }
    }

    #[test]
    fn the_order_of_people_is_irrelevant(spec in valid_spec()) {
        let mut turned = spec.clone();
        turned.owners.reverse();
        turned.access.reverse();
        for access in &mut turned.access {
            access.subjects.reverse();
        }
        let mut twice = spec.clone();
        twice.owners.extend(spec.owners.clone());
        twice.access.extend(spec.access.clone());
        let plan = planned(&valid(spec));
        for other in [turned, twice] {
            let other = planned(&valid(other));
            for (name, namespace) in &plan.namespaces {
                prop_assert_eq!(bound(namespace), bound(&other.namespaces[name]));
            }
            prop_assert_eq!(&plan, &other);
        }
    }

    #[test]
    fn every_namespace_is_locked_and_no_object_leaves_it(spec in valid_spec()) {
        for (name, namespace) in planned(&valid(spec)).namespaces {
            let locks: Vec<&str> = namespace.locks.iter().map(Object::name).collect();
            prop_assert!(locks.contains(&"bailiwick-default-deny"));
            prop_assert_eq!(&namespace.labels[labels::TENANT], "acme");
            for object in objects(&namespace) {
                let metadata = object.metadata();
                prop_assert_eq!(metadata.namespace.as_ref(), Some(&name));
                let own = metadata.labels.clone().unwrap_or_default();
                prop_assert_eq!(own.get(labels::MANAGED_BY).map(String::as_str), Some(labels::OPERATOR));
                prop_assert_eq!(own.get(labels::TENANT).map(String::as_str), Some("acme"));
                prop_assert!(metadata.owner_references.is_none());
            }
        }
    }

    #[test]
    fn nobody_is_bound_whom_the_snapshot_does_not_allow(spec in valid_spec()) {
        let tenant = valid(spec);
        let plan = plan(&tenant, [("n", Stay::Declared)], &Config::default(), |it| !it.to_string().contains('a'));
        for (_, subject) in bound(&plan.namespaces["n"]) {
            let subject: Value = serde_json::from_str(&subject).unwrap();
            prop_assert!(!subject["name"].as_str().unwrap().contains('a'), "{subject}");
        }
    }
}

/// The paths of all leaves.
fn leaves(value: &Value, path: String) -> Vec<String> {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let below = members
                .iter()
                .map(|(key, it)| (key.replace('~', "~0").replace('/', "~1"), it));
            below
                .flat_map(|(key, it)| leaves(it, format!("{path}/{key}")))
                .collect()
        }
        Value::Array(items) if !items.is_empty() => {
            let below = items.iter().enumerate();
            below
                .flat_map(|(i, it)| leaves(it, format!("{path}/{i}")))
                .collect()
        }
        _ => vec![path],
    }
}

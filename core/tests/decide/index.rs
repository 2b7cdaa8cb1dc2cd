//! The TenancyIndex says of each name and namespace what `decide` would.

use std::collections::BTreeMap;

use bailiwick_core::index::{difference, index, object};

use crate::cluster::{cluster, with_spec};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn namespaces_have_their_tenants() {
    let index = index(&cluster());
    assert_eq!(
        index.namespaces,
        map(&[
            ("acme-bare", "acme"),
            ("acme-dev", "acme"),
            ("acme-end", "acme"),
            ("acme-fresh", "acme"),
            ("acme-lab", "acme"),
            ("acme-new", "acme"),
            ("acme-odd", "acme"),
            ("acme-old", "acme"),
            ("acme-prod", "acme"),
            ("contested", "globex"),
            ("empty", ""),
            ("frozen", "acme"),
            ("ghost", "ghost"),
            ("globex-prod", "globex"),
            ("taken", "acme"),
        ])
    );
    assert_eq!(
        index.declared,
        map(&[
            ("acme-dev", "acme"),
            ("acme-lab", "acme"),
            ("acme-prod", "acme"),
            ("contested", "globex"),
            ("globex-prod", "globex"),
        ])
    );
}

#[test]
fn placements_are_what_they_come_to() {
    let spec = "{namespaces: {declared: [{name: acme-dev}]}, placement: {regions: [eu-1, eu-2], nodeSelector: {pool: acme}, tolerations: [{key: pool}], \
        exceptions: [{reason: r, storageClasses: [nfs]}, {reason: r, namespaces: [acme-dev], storageClasses: [tape]}]}}";
    let index = index(&with_spec(&cluster(), "acme", spec));
    assert_eq!(index.placements.keys().collect::<Vec<_>>(), ["acme"]);
    let placement = serde_json::to_value(&index.placements["acme"]).unwrap();
    let regions = ["eu-1", "eu-2"];
    let expected = serde_json::json!({
        "nodeSelector": {"pool": "acme"}, "regions": regions, "tolerations": [{"key": "pool"}],
        "exceptStorageClasses": ["nfs", "tape"], "exceptNamespaces": ["acme-dev"],
    });
    assert_eq!(placement, expected);
    assert_eq!(index.topology.keys().collect::<Vec<_>>(), ["eu-1", "eu-2"]);
    assert_eq!(index.topology["eu-2"]["topology.kubernetes.io/region"], ["eu-2"]);
}

/// The index is one object, of at most a megabyte and a half: a thousand placements take a sixth of it.
#[test]
fn a_placement_takes_little_of_the_index() {
    let spec = "{placement: {regions: [eu-central-1, eu-west-1], nodeSelector: {example.com/pool: acme}, \
        tolerations: [{key: example.com/pool, value: acme, effect: NoSchedule}]}}";
    let index = index(&with_spec(&cluster(), "acme", spec));
    let size = serde_json::to_string(&index.placements).unwrap().len();
    assert!(size < 280, "{size} bytes");
}

#[test]
fn names_have_their_tenants_and_shared_ones_are_marked() {
    let index = index(&cluster());
    assert_eq!(
        index.users,
        map(&[
            ("alice", "acme"),
            ("bob", "globex"),
            ("system:serviceaccount:ci:deployer", "acme")
        ])
    );
    assert_eq!(
        index.groups,
        map(&[
            ("oidc:acme:admin", "acme"),
            ("shared", "acme"),
            ("system:serviceaccounts:ci", "acme")
        ])
    );
    let prefixes = |claims: &[bailiwick_crds::v1alpha1::PrefixClaim]| -> BTreeMap<String, String> {
        claims
            .iter()
            .map(|it| (it.prefix.clone(), it.tenant.clone()))
            .collect()
    };
    assert_eq!(prefixes(&index.user_prefixes), map(&[("acme-", "acme")]));
    assert_eq!(
        prefixes(&index.group_prefixes),
        map(&[("oidc:acme:", "acme"), ("oidc:globex:", "globex")])
    );
    assert_eq!(index.ambiguous.groups, ["shared"]);
    assert!(index.ambiguous.users.is_empty());
    assert_eq!(index.platform.users, ["robot"]);
    assert_eq!(index.platform.user_prefixes, ["sre-"]);
    assert_eq!(index.platform.group_prefixes, ["oidc:platform:"]);
}

#[test]
fn roles_are_known_by_what_they_grant_and_to_whom() {
    let index = index(&cluster());
    let names = |roles: &BTreeMap<String, bool>| roles.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&index.harmless_cluster_roles),
        ["empty", "system:basic-user", "system:discovery"]
    );
    assert_eq!(
        names(&index.cluster_bound_roles),
        ["future-wide", "system:discovery"]
    );
    assert_eq!(
        names(&index.tenant_bound_roles),
        ["future", "local", "top", "view"]
    );
}

#[test]
fn the_same_snapshot_gives_the_same_index() {
    assert_eq!(index(&cluster()), index(&cluster()));
}

#[test]
fn tenants_whose_owners_make_namespaces_are_there_with_what_may_be_set() {
    let keys = |snapshot| serde_json::to_value(index(&snapshot).self_service).unwrap();
    let listed = serde_json::json!({"acme": {"labels": ["team"], "annotations": ["acme.example/contact"]}});
    assert_eq!(keys(cluster()), listed);
    let serves = "namespaces: {selfService: {prefix: acme-, max: 0, labels: [istio-injection, team]}}";
    let sound = serde_json::json!({"acme": {"labels": ["team"], "annotations": []}});
    assert_eq!(
        keys(with_spec(&cluster(), "acme", &format!("{{{serves}}}"))),
        sound
    );
    for closed in [format!("{{{serves}, suspended: true}}"), "{}".to_owned()] {
        assert_eq!(
            keys(with_spec(&cluster(), "acme", &closed)),
            serde_json::json!({})
        );
    }
}

#[test]
fn every_change_of_the_index_object_is_a_difference() {
    let written = index(&cluster());
    assert_eq!(
        difference(&written, &object(written.clone())),
        Vec::<String>::new()
    );

    // What the API server adds is none.
    let mut stored = object(written.clone());
    stored.metadata.uid = Some("u".to_owned());
    stored.metadata.resource_version = Some("7".to_owned());
    stored.metadata.generation = Some(2);
    assert_eq!(difference(&written, &stored), Vec::<String>::new());

    let spec = serde_json::to_value(&written).unwrap();
    for (name, value) in spec.as_object().unwrap() {
        let mut other = spec.clone();
        other[name] = match value {
            serde_json::Value::Array(_) => serde_json::json!([{"prefix": "oidc:", "tenant": "evil"}]),
            _ => match name.as_str() {
                "ambiguous" | "platform" => serde_json::json!({"users": ["mallory"]}),
                "namespaces" | "declared" | "users" | "groups" => serde_json::json!({"mallory": "evil"}),
                "topology" => serde_json::json!({"us-1": {"zone": ["x"]}}),
                "placements" => serde_json::json!({"evil": {"regions": ["x"]}}),
                "selfService" => serde_json::json!({"evil": {"labels": ["x"]}}),
                _ => serde_json::json!({"mallory": true}),
            },
        };
        let changed = object(serde_json::from_value(other).unwrap());
        assert_eq!(difference(&written, &changed), [format!("spec.{name}")]);
    }

    let foreign = || Some(BTreeMap::from([("foreign".to_owned(), "x".to_owned())]));
    let mut changed = object(written.clone());
    changed.metadata.labels = None;
    changed.metadata.annotations = foreign();
    changed.metadata.finalizers = Some(vec!["example.com/x".to_owned()]);
    changed.metadata.owner_references = Some(vec![
        k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference::default(),
    ]);
    assert_eq!(
        difference(&written, &changed),
        [
            "metadata.labels",
            "metadata.annotations",
            "metadata.ownerReferences",
            "metadata.finalizers"
        ]
    );
}

use serde_json::{Value, json};

use super::*;

/// Two regions of which one has zones.
fn topology_of_two() -> Topology {
    Topology {
        zones: [("eu-1".to_owned(), ["eu-1a".to_owned(), "eu-1b".to_owned()].into())].into(),
        ..Topology::default()
    }
}

/// What a placement comes to, of a Tenant that declares one namespace.
fn placed(placement: &Value) -> Placed {
    let spec = json!({"namespaces": {"declared": [{"name": "own"}]}, "placement": placement});
    Placed::of(&serde_json::from_value(spec).unwrap(), &topology_of_two()).unwrap()
}

fn terms(terms: Value) -> Vec<Term> {
    serde_json::from_value(terms).unwrap()
}

/// A term that asks for one of these values.
fn any_of(key: &str, values: &[&str]) -> Value {
    json!({"matchExpressions": [{"key": key, "operator": "In", "values": values}]})
}

const ZONE: &str = "topology.kubernetes.io/zone";

#[test]
fn one_region_is_a_label_and_several_are_a_choice() {
    let one = placed(&json!({"regions": ["eu-1"], "nodeSelector": {"pool": "acme"}}));
    assert_eq!(
        one.node_selector,
        [("pool", "acme"), (REGION, "eu-1")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    );
    assert_eq!(one.within.regions(), ["eu-1"]);
    let two = placed(&json!({"regions": ["eu-1", "eu-2"]}));
    assert!(two.node_selector.is_empty());
    assert_eq!(two.within.regions(), ["eu-1", "eu-2"]);
    assert!(
        placed(&json!({"nodeSelector": {"pool": "acme"}}))
            .within
            .is_anywhere()
    );
}

/// What can't be read of a placement opens nothing, and what its Tenant doesn't declare is not excepted.
#[test]
fn no_region_is_nowhere_and_foreign_namespaces_are_not_excepted() {
    let nowhere = placed(&json!({"regions": []}));
    assert!(!nowhere.within.is_anywhere());
    assert_eq!(nowhere.within.label(REGION, "eu-1"), Proof::Outside);
    assert!(!nowhere.within.holds(&terms(json!([any_of(REGION, &["eu-1"])]))));
    let excepted = placed(
        &json!({"regions": ["eu-1"], "exceptions": [{"reason": "r", "namespaces": ["own", "other"]}]}),
    );
    assert_eq!(excepted.except_namespaces, ["own".to_owned()].into());
    assert!(Placed::of(&TenantSpec::default(), &topology_of_two()).is_none());
}

#[test]
fn each_region_is_indexed_once() {
    let regions = ["eu-1".to_owned(), "eu-2".to_owned(), "eu-1".to_owned()];
    let index = topology(&regions, &topology_of_two());
    assert_eq!(index.keys().collect::<Vec<_>>(), ["eu-1", "eu-2"]);
    assert_eq!(index["eu-1"][ZONE], ["eu-1a", "eu-1b"]);
    assert_eq!(index["eu-2"].keys().collect::<Vec<_>>(), [FORMER_REGION, REGION]);
}

#[test]
fn a_label_proves_a_place_or_another_or_nothing() {
    let within = placed(&json!({"regions": ["eu-1"]})).within;
    for (key, value, proof) in [
        (REGION, "eu-1", Proof::Inside),
        (REGION, "us-1", Proof::Outside),
        (ZONE, "eu-1a", Proof::Inside),
        (ZONE, "us-1a", Proof::Outside),
        ("topology.ebs.csi.aws.com/zone", "eu-1b", Proof::Inside),
        ("failure-domain.beta.kubernetes.io/zone", "eu-1b", Proof::Inside),
        ("kubernetes.io/hostname", "eu-1a", Proof::Nothing),
    ] {
        assert_eq!(within.label(key, value), proof, "{key}={value}");
    }
    // Whose zones nobody knows, by its own label alone.
    let within = placed(&json!({"regions": ["eu-2"]})).within;
    assert_eq!(within.label(ZONE, "eu-2a"), Proof::Nothing);
    assert_eq!(within.label(REGION, "eu-2"), Proof::Inside);
}

#[test]
fn each_term_proves_by_itself() {
    let within = placed(&json!({"regions": ["eu-1", "eu-2"]})).within;
    let both = |a: Value, b: Value| json!([a, b]);
    let expressions = |list: Value| json!([{"matchExpressions": list}]);
    for (list, holds) in [
        (json!([]), false),
        (json!([any_of(REGION, &["eu-1"])]), true),
        (json!([any_of(REGION, &["eu-1", "eu-2"])]), true),
        (json!([any_of(REGION, &["eu-1", "us-1"])]), false),
        (json!([any_of(REGION, &[])]), false),
        (json!([any_of(ZONE, &["eu-1a"])]), true),
        (json!([any_of(ZONE, &["eu-1a", "eu-2a"])]), false),
        (both(any_of(REGION, &["eu-1"]), any_of(ZONE, &["eu-1b"])), true),
        (both(any_of(REGION, &["eu-1"]), any_of("disk", &["ssd"])), false),
        (both(any_of(REGION, &["eu-1"]), json!({})), true),
        (
            expressions(
                json!([{"key": "disk", "operator": "Exists"}, {"key": REGION, "operator": "In", "values": ["eu-2"]}]),
            ),
            true,
        ),
        (
            expressions(json!([{"key": REGION, "operator": "NotIn", "values": ["us-1"]}])),
            false,
        ),
        (expressions(json!([{"key": REGION, "operator": "Exists"}])), false),
        (
            expressions(json!([{"key": REGION, "operator": "in", "values": ["eu-1"]}])),
            false,
        ),
        (
            json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]),
            false,
        ),
        (json!([{"matchExpressions": null, "matchFields": null}]), true),
    ] {
        assert_eq!(within.holds(&terms(list.clone())), holds, "{list}");
    }
}

#[test]
fn a_class_may_be_where_its_pods_are_or_is_where_it_says() {
    let within = placed(&json!({"regions": ["eu-1"]})).within;
    for (waits, topologies, may_be) in [
        (true, json!([]), true),
        (true, json!([any_of(ZONE, &["us-1a"])]), false),
        (
            true,
            json!([any_of(ZONE, &["us-1a"]), any_of(ZONE, &["eu-1a"])]),
            true,
        ),
        (true, json!([any_of("rack", &["1"])]), true),
        (true, json!([{}]), true),
        (false, json!([{}]), false),
        (false, json!([{}, any_of(ZONE, &["eu-1a"])]), true),
        (false, json!([]), false),
        (false, json!([any_of(ZONE, &["eu-1a"])]), true),
        (
            false,
            json!([any_of(ZONE, &["us-1a"]), any_of(ZONE, &["eu-1a"])]),
            false,
        ),
        (false, json!([any_of("rack", &["1"])]), false),
    ] {
        let mode = if waits {
            "WaitForFirstConsumer"
        } else {
            "Immediate"
        };
        let listed = topologies
            .to_string()
            .replace("matchExpressions", "matchLabelExpressions");
        let listed: Value = serde_json::from_str(
            &listed
                .replace(r#","operator":"In""#, "")
                .replace(r#""operator":"In","#, ""),
        )
        .unwrap();
        let class: StorageClass = serde_json::from_value(
            json!({"provisioner": "p", "volumeBindingMode": mode, "allowedTopologies": listed}),
        )
        .unwrap();
        let facts = ClassFacts::from(&class);
        assert_eq!(facts.may_be(&within), may_be, "{waits} {topologies}");
    }
}

#[test]
fn objects_of_the_api_are_read() {
    let class: StorageClass = serde_json::from_value(json!({
        "provisioner": "p", "volumeBindingMode": "WaitForFirstConsumer",
        "allowedTopologies": [{"matchLabelExpressions": [{"key": ZONE, "values": ["eu-1a"]}]}],
    }))
    .unwrap();
    let zone = terms(json!([any_of(ZONE, &["eu-1a"])]));
    let facts = ClassFacts::from(&class);
    assert_eq!((facts.waits_for_consumer, facts.topologies), (true, zone.clone()));
    let volume: PersistentVolume = serde_json::from_value(json!({
        "spec": {"storageClassName": "fast", "nodeAffinity": {"required": {"nodeSelectorTerms": [any_of(ZONE, &["eu-1a"])]}}},
    }))
    .unwrap();
    let facts = VolumeFacts::from(&volume);
    assert_eq!((facts.storage_class.as_str(), &facts.terms), ("fast", &zone));
    let acme =
        placed(&json!({"regions": ["eu-1"], "exceptions": [{"reason": "r", "storageClasses": ["nfs"]}]}));
    assert!(acme.holds(&facts));
    let nowhere = |class: &str| VolumeFacts {
        storage_class: class.to_owned(),
        terms: Vec::new(),
    };
    assert!(acme.holds(&nowhere("nfs")));
    assert!(!acme.holds(&nowhere("")));
    assert!(placed(&json!({"nodeSelector": {"pool": "acme"}})).holds(&nowhere("")));
}

use bailiwick_core::policy::Content;
use bailiwick_crds::v1alpha1::TenantPolicySpec;
use serde_json::{Value, json};

use super::*;

fn content(word: &str) -> Content {
    let spec: TenantPolicySpec = serde_json::from_value(json!({
        "tenants": ["acme"],
        "match": {"resources": [{"groups": [""], "kinds": ["Pod"]}]},
        "rego": format!("package bailiwick\n\ndeny contains \"{word}\" if input.request.object.{word}\n"),
    }))
    .unwrap();
    Content::of(&spec).unwrap()
}

/// A revision of policy `p`, and what is stored of it.
fn kept(content: Content) -> (String, Value) {
    let stored = StoredRevision::new("p", "ada", content);
    (stored.name().to_owned(), json!(stored))
}

fn object(name: &str, data: &Value) -> Arc<ControllerRevision> {
    let object = serde_json::from_value(json!({
        "metadata": {"name": format!("p-{name}"), "uid": format!("{name}-{data}"), "labels": {"bailiwick.dev/policy": "p", "bailiwick.dev/policy-revision": name}},
        "revision": 1, "data": data,
    }));
    Arc::new(object.unwrap())
}

fn policy(status: &Value) -> [Arc<StoredPolicy>; 1] {
    let policy = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {}, "status": status}));
    [Arc::new(policy.unwrap())]
}

fn serves(loaded: &Loaded) -> Option<String> {
    match loaded.served.first()?.active.as_ref()? {
        Active::Loaded(it) => Some(it.name().to_owned()),
        Active::Missing { revision, .. } => Some(format!("not {revision}")),
    }
}

#[test]
fn what_the_status_orders_is_served_and_reported() {
    let ((a, a_data), (b, b_data)) = (kept(content("a")), kept(content("b")));
    let revisions = [object(&a, &a_data), object(&b, &b_data)];
    let mut shelf = Shelf::default();
    assert!(shelf.load(&policy(&json!({})), &revisions).served.is_empty());
    let loaded = shelf.load(&policy(&json!({"activeRevision": a, "candidateRevision": b, "candidateStage": "Percent", "candidatePercent": 7})), &revisions);
    assert_eq!(serves(&loaded), Some(a.clone()));
    assert!(matches!(&loaded.served[0].candidate, Some(Candidate::Percent(it, 7)) if it.name() == b));
    assert_eq!(loaded.serving, [a.clone()].into());
    assert_eq!(loaded.candidates, [b.clone()].into());
    assert!(loaded.failed.is_empty());
    assert_eq!(loaded.authors["p"].len(), 2);
    let loaded = shelf.load(&policy(&json!({"activeRevision": b})), &revisions);
    assert_eq!((serves(&loaded), loaded.serving), (Some(b.clone()), [b].into()));
    assert!(shelf.load(&[], &revisions).served.is_empty());
}

#[test]
fn the_last_good_revision_serves_on_where_its_successor_can_not_be_loaded() {
    let (a, a_data) = kept(content("a"));
    let mut broken = content("b");
    broken.sources[0].text = "package bailiwick\n\ndeny contains".to_owned();
    let (broken, broken_data) = kept(broken);
    let mut forged = a_data.clone();
    forged["content"]["enforcement"] = json!("Audit");
    let (other, mut other_data) = kept(content("c"));
    other_data["policy"] = json!("q");
    for (name, data, why) in [
        (broken.as_str(), Some(&broken_data), "spec.rego:3:"),
        ("0123456789ab", None, "there is no such revision"),
        ("0123456789ab", Some(&a_data), "it is revision"),
        ("0123456789ab", Some(&forged), "has the digest"),
        ("0123456789ab", Some(&Value::Null), "can't be read"),
        (other.as_str(), Some(&other_data), "has the digest"),
    ] {
        let mut revisions = vec![object(&a, &a_data)];
        revisions.extend(data.map(|it| object(name, it)));
        let order = policy(&json!({"activeRevision": name}));
        let mut shelf = Shelf::default();
        shelf.load(&policy(&json!({"activeRevision": a})), &revisions);
        let loaded = shelf.load(&order, &revisions);
        assert_eq!(serves(&loaded), Some(a.clone()), "{why}");
        assert!(loaded.failed[name].contains(why), "{:?}", loaded.failed);
        assert_eq!(loaded.serving, [a.clone()].into());
        // A process that never had another refuses what the policy might judge.
        let loaded = Shelf::default().load(&order, &revisions);
        assert_eq!(serves(&loaded), Some(format!("not {name}")), "{why}");
        assert!(loaded.serving.is_empty());
    }
}

#[test]
fn a_revision_that_is_loaded_needs_no_object_any_more() {
    let (a, a_data) = kept(content("a"));
    let mut shelf = Shelf::default();
    let order = policy(&json!({"activeRevision": a}));
    shelf.load(&order, &[object(&a, &a_data)]);
    assert_eq!(serves(&shelf.load(&order, &[])), Some(a));
}

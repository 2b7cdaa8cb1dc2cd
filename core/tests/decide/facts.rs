//! What of a Namespace ownership depends on.

use bailiwick_core::ownership::NamespaceFacts;
use k8s_openapi::api::core::v1::Namespace;

use crate::cluster::yaml;

#[track_caller]
fn facts(metadata: &str) -> NamespaceFacts {
    let namespace: Namespace = serde_json::from_value(yaml(&format!("{{metadata: {metadata}}}"))).unwrap();
    NamespaceFacts::from(&namespace)
}

#[test]
fn all_of_it_is_read() {
    let plain = facts("{name: a}");
    assert_eq!(plain, NamespaceFacts::default());
    assert_eq!(plain.labelled(), None);
    let full = facts(
        "{name: a, uid: u, labels: {$T: acme, x: z}, annotations: {$ADOPT: globex, bailiwick.dev/tenant-uid: v}, deletionTimestamp: '2026-01-01T00:00:00Z', \
         ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: c, uid: d}]}",
    );
    assert_eq!(full.uid, "u");
    assert_eq!(full.labelled(), Some("acme"));
    assert_eq!(full.labels.len(), 2);
    assert_eq!(full.adopt_by.as_deref(), Some("globex"));
    assert_eq!(full.made_for.as_deref(), Some("v"));
    assert!(full.terminating && full.owner_references);
    assert!(!facts("{name: a, ownerReferences: []}").owner_references);
    assert_eq!(facts("{name: a, labels: {$T: ''}}").labelled(), Some(""));
}

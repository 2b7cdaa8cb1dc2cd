//! Laws of deciding: every body is refused as a body, or decided, or asks for something that helps.

use std::collections::BTreeSet;

use bailiwick_core::decide::{Outcome, decide, undecided};
use bailiwick_core::finding::RuleId;
use bailiwick_core::placement::VolumeFacts;
use bailiwick_core::policy::Moment;
use bailiwick_core::review::{Request, parse};
use bailiwick_core::snapshot::{Need, RoleFacts, Snapshot};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::cases;
use crate::cluster::cluster;

const RESOURCES: [(&str, &str, &str); 27] = [
    ("", "persistentvolumes", ""),
    ("", "persistentvolumeclaims", ""),
    ("", "pods", ""),
    ("", "pods", "status"),
    ("", "pods", "binding"),
    ("", "bindings", ""),
    ("", "namespaces", ""),
    ("", "namespaces", "finalize"),
    ("", "resourcequotas", ""),
    ("", "resourcequotas", "status"),
    ("networking.k8s.io", "networkpolicies", ""),
    ("rbac.authorization.k8s.io", "roles", ""),
    ("rbac.authorization.k8s.io", "rolebindings", ""),
    ("rbac.authorization.k8s.io", "clusterroles", ""),
    ("rbac.authorization.k8s.io", "clusterrolebindings", ""),
    ("bailiwick.dev", "tenants", ""),
    ("bailiwick.dev", "tenants", "status"),
    ("bailiwick.dev", "tenancyindices", ""),
    ("apps", "deployments", ""),
    ("apps", "statefulsets", ""),
    ("batch", "cronjobs", ""),
    ("", "services", ""),
    ("", "persistentvolumeclaims", ""),
    ("networking.k8s.io", "ingresses", ""),
    ("gateway.networking.k8s.io", "httproutes", ""),
    ("gateway.networking.k8s.io", "gateways", ""),
    ("", "", ""),
];
const OPERATIONS: [&str; 4] = ["CREATE", "UPDATE", "DELETE", "CONNECT"];

/// Text that somebody hopes is read otherwise than written.
fn text() -> impl Strategy<Value = String> {
    let known = [
        "",
        "acme",
        "globex",
        "acme-prod",
        "alice",
        "view",
        "future",
        "cluster-admin",
        "User",
        "ServiceAccount",
        "ClusterRole",
        "Role",
        "*",
        "system:authenticated",
        "system:serviceaccount:acme-prod:x",
        "bailiwick-operator",
        "../..",
        "\u{feff}acme",
        "a\u{0}b",
        "\u{10ffff}",
    ];
    prop_oneof![3 => select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

fn key() -> impl Strategy<Value = String> {
    let known = [
        "metadata",
        "name",
        "namespace",
        "labels",
        "annotations",
        "ownerReferences",
        "bailiwick.dev/tenant",
        "bailiwick.dev/managed-by",
        "bailiwick.dev/adopt-by",
        "pod-security.kubernetes.io/enforce",
        "spec",
        "status",
        "rules",
        "verbs",
        "apiGroups",
        "resources",
        "nonResourceURLs",
        "subjects",
        "roleRef",
        "kind",
        "aggregationRule",
        "clusterRoleSelectors",
        "matchLabels",
        "matchExpressions",
        "owners",
        "identities",
        "groups",
        "declared",
        "namespaces",
        "network",
        "egress",
        "toCIDRs",
        "quota",
        "workloads",
        "registries",
        "hostnames",
        "template",
        "containers",
        "image",
        "volumes",
        "tolerations",
        "host",
        "tls",
        "listeners",
        "externalIPs",
        "ingress",
        "from",
        "namespaceSelector",
        "ipBlock",
    ];
    prop_oneof![8 => select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

/// Any JSON, of any shape.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => text().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(|it| json!(it)),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => proptest::collection::btree_map(key(), inner, 0..6).prop_map(|it| Value::Object(it.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// An object that one of the rules reads, before anybody tampers with it.
fn sensible() -> impl Strategy<Value = Value> {
    let metadata = |labels: Value| json!({"name": "acme-prod", "namespace": "acme-prod", "labels": labels, "annotations": {"bailiwick.dev/adopt-by": "acme"}, "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]});
    let labels = select(vec![
        json!({}),
        json!({"bailiwick.dev/tenant": "acme"}),
        json!({"bailiwick.dev/managed-by": "x"}),
        Value::Null,
    ]);
    (labels, text(), text()).prop_map(move |(labels, role, name)| {
        json!({
            "metadata": metadata(labels),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": name}, {"kind": "ServiceAccount", "name": "x", "namespace": "acme-prod"}],
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["/api"], "verbs": ["get"]}],
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"into": "whole"}}]},
            "spec": {
                "owners": [{"kind": "User", "name": name}],
                "identities": {"groups": ["oidc:x:*"]},
                "namespaces": {"declared": [{"name": "x-prod"}]},
                "network": {"egress": {"toCIDRs": ["192.0.2.0/24"]}},
                "quota": {"namespace": {"pods": 1}},
            },
        })
    })
}

/// Sensible, but for one place.
fn tampered() -> impl Strategy<Value = Value> {
    (
        sensible(),
        anything(),
        any::<proptest::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(mut value, with, pick, keep)| {
            let mut paths = Vec::new();
            places(&value, String::new(), &mut paths);
            let path = &paths[pick.index(paths.len())];
            if !keep {
                *value.pointer_mut(path).unwrap() = with;
            }
            value
        })
}

fn places(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, it) in members {
                places(
                    it,
                    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")),
                    paths,
                );
            }
        }
        Value::Array(items) => {
            for (i, it) in items.iter().enumerate() {
                places(it, format!("{path}/{i}"), paths);
            }
        }
        _ => {}
    }
    paths.push(path);
}

fn object() -> impl Strategy<Value = Value> {
    prop_oneof![6 => tampered(), 2 => anything(), 1 => Just(Value::Null)]
}

fn review() -> impl Strategy<Value = Value> {
    (
        select(RESOURCES.to_vec()),
        select(OPERATIONS.to_vec()),
        text(),
        text(),
        text(),
        object(),
        object(),
    )
        .prop_map(
            |((group, resource, sub), operation, user, namespace, name, new, old)| {
                json!({
                    "apiVersion": "admission.k8s.io/v1",
                    "kind": "AdmissionReview",
                    "request": {
                        "uid": "u",
                        "kind": {"group": group, "version": "v1", "kind": "K"},
                        "resource": {"group": group, "version": "v1", "resource": resource},
                        "subResource": sub,
                        "name": name,
                        "namespace": namespace,
                        "operation": operation,
                        "userInfo": {"username": user, "groups": ["system:authenticated"]},
                        "object": new,
                        "oldObject": old,
                    },
                })
            },
        )
}

/// The body is refused as such, or decided.
#[track_caller]
fn total(body: &[u8]) {
    if let Ok(request) = parse(body) {
        decided(&request);
    }
}

/// The request is decided after a few questions, each of which is answered once.
#[track_caller]
pub(crate) fn decided(request: &Request<'_>) {
    for answers in [nothing, everything] {
        let mut snapshot = cluster();
        let mut asked = BTreeSet::new();
        loop {
            match decide(&snapshot, request, &Moment::default()) {
                Outcome::Decided(decision) => {
                    assert_eq!(decision.allowed(), decision.findings.is_empty());
                    assert!(decision.findings.len() <= 16);
                    assert!(decision.message().len() < 64 << 10);
                    for it in &decision.findings {
                        let text = it.to_string();
                        assert!(
                            ![&it.field, &it.found, &it.allowed, &it.fix]
                                .iter()
                                .any(|it| it.is_empty()),
                            "{it:?}"
                        );
                        assert!(
                            text.starts_with("BW-") && !text.chars().any(char::is_control),
                            "{text}"
                        );
                    }
                    assert!(
                        decision.tenant.as_deref() != Some("") || request.namespace == "empty",
                        "{decision:?}"
                    );
                    break;
                }
                Outcome::Needs(need) => {
                    let decision = undecided(&snapshot, request, &need, "later");
                    assert!(decision.findings.iter().all(|it| it.rule == RuleId::Undecided));
                    assert!(asked.insert(need.clone()), "{need:?} a second time");
                    assert!(asked.len() <= 2, "{asked:?}");
                    snapshot = answers(snapshot, need);
                }
            }
        }
    }
}

fn nothing(snapshot: Snapshot, need: Need) -> Snapshot {
    snapshot.without(need)
}

fn everything(snapshot: Snapshot, need: Need) -> Snapshot {
    let facts = snapshot.namespaces["acme-prod"].clone();
    match need {
        Need::Namespace(name) => snapshot.with_namespace(name, facts),
        Need::ClusterRole(name) => snapshot.with_cluster_role(name, RoleFacts::default()),
        Need::Role { namespace, name } => snapshot.with_role(namespace, name, Vec::new()),
        Need::PersistentVolume(name) => snapshot.with_volume(name, VolumeFacts::default()),
    }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn every_review_is_decided(review in review()) {
        total(review.to_string().as_bytes());
    }

    #[test]
    fn every_body_is_read_or_refused(
        review in review(),
        at in any::<proptest::sample::Index>(),
        with in select(vec!["\\ud800", "\\udfff\\ud800", "\u{0}", "\"", "{", "]", ",", "1e999", "-", "\\u0000", "\\", "null", "\u{feff}", "{\"metadata\":{}}"]),
        cut in any::<bool>(),
    ) {
        let mut body = review.to_string();
        let mut place = at.index(body.len());
        while !body.is_char_boundary(place) {
            place -= 1;
        }
        body.insert_str(place, with);
        if cut {
            body.truncate(place);
        }
        total(body.as_bytes());
    }

    #[test]
    fn bytes_that_are_no_text_are_refused(review in review(), at in any::<proptest::sample::Index>(), byte in 0x80..=0xff_u8) {
        let mut body = review.to_string().into_bytes();
        let place = at.index(body.len());
        body.insert(place, byte);
        total(&body);
    }
}

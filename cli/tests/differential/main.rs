//! `check` says of a manifest what the webhook says of the AdmissionReview that creating it becomes.
//!
//! The reviews and the snapshot are made here by hand, beside the command's own code.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

mod policies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bailiwick_cli::check::{Verdict, check_texts};
use bailiwick_core::config::Config;
use bailiwick_core::decide::{Decision, Outcome, decide};
use bailiwick_core::policy::Moment;
use bailiwick_core::review;
use bailiwick_core::snapshot::{Rbac, RoleFacts, Snapshot, Tenants, binding};
use bailiwick_core::stock;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const CLUSTER: &str = "
apiVersion: bailiwick.dev/v1alpha1
kind: Tenant
metadata: {name: acme}
spec:
  identities: {users: [amir], groups: ['oidc:acme:*']}
  access: [{clusterRole: edit, subjects: [{kind: Group, name: 'oidc:acme:dev'}]}]
  namespaces: {declared: [{name: acme-prod}]}
---
apiVersion: bailiwick.dev/v1alpha1
kind: Tenant
metadata: {name: globex}
spec:
  owners: [{kind: User, name: gudrun}]
  namespaces: {declared: [{name: globex-prod}]}
  podLabel: Require
---
apiVersion: v1
kind: Namespace
metadata: {name: shared}
";

/// What the operator makes of [`CLUSTER`], as far as decisions look at it.
const MADE: &str = "
- metadata: {name: acme-prod, uid: a, labels: {bailiwick.dev/tenant: acme, bailiwick.dev/pod-label: Stamp}}
- metadata: {name: globex-prod, uid: g, labels: {bailiwick.dev/tenant: globex, bailiwick.dev/pod-label: Require}}
- metadata: {name: shared, uid: s}
- metadata: {name: kube-system, uid: k}
";
const BOUND: &str = "
- metadata: {name: 'bailiwick:edit', namespace: acme-prod}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
  subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'oidc:acme:dev'}]
";

fn parse<T: DeserializeOwned>(text: &str) -> T {
    serde_saphyr::from_str(text).unwrap()
}

fn snapshot() -> Snapshot {
    let tenants = CLUSTER.split("---\n").take(2).map(|it| Arc::new(parse(it)));
    let namespaces: Vec<Namespace> = parse(MADE);
    let mut rbac = Rbac::default();
    let stock = stock::kubernetes().unwrap();
    for role in &stock.cluster_roles {
        rbac.cluster_roles
            .insert(role.metadata.name.clone().unwrap(), RoleFacts::from(role));
    }
    // What Kubernetes' controller fills in, for the roles that are asked about.
    for (name, label) in [
        ("view", "view"),
        ("edit", "edit"),
        ("admin", "admin"),
        ("edit", "edit"),
    ] {
        let key = format!("rbac.authorization.k8s.io/aggregate-to-{label}");
        let added = rbac
            .cluster_roles
            .values()
            .filter(|it| it.labels.contains_key(&key));
        let rules: Vec<_> = added.flat_map(|it| it.rules.clone()).collect();
        rbac.cluster_roles.get_mut(name).unwrap().rules = rules;
    }
    let bindings: Vec<RoleBinding> = parse(BOUND);
    for it in &bindings {
        let (role, facts) = binding(&it.metadata, &it.role_ref, it.subjects.as_ref()).unwrap();
        rbac.bind(role, facts);
    }
    for it in &stock.cluster_role_bindings {
        let (role, facts) = binding(&it.metadata, &it.role_ref, it.subjects.as_ref()).unwrap();
        rbac.bind(role, facts);
    }
    Snapshot {
        config: Arc::new(Config::default()),
        tenants: Arc::new(Tenants::collect(tenants)),
        namespaces: Arc::new(
            namespaces
                .iter()
                .map(|it| (it.metadata.name.clone().unwrap(), it.into()))
                .collect::<BTreeMap<_, _>>(),
        ),
        rbac: Arc::new(rbac),
        ..Snapshot::default()
    }
}

/// The rules and fields that the webhook's decision names.
fn by_webhook(snapshot: &Snapshot, resource: &str, object: &Value) -> BTreeSet<(String, String)> {
    let decision = webhook_decision(snapshot, resource, object);
    let findings = decision.findings.iter();
    findings
        .map(|it| (it.rule.to_string(), it.field.clone()))
        .collect()
}

/// What the webhook decides.
fn webhook_decision(snapshot: &Snapshot, resource: &str, object: &Value) -> Decision {
    let mut object = object.clone();
    let namespace = object["metadata"]["namespace"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let labels = &mut object["metadata"]["labels"];
    if resource == "pods" && namespace == "acme-prod" && labels["bailiwick.dev/tenant"].is_null() {
        // The MutatingAdmissionPolicy comes before the webhook.
        labels["bailiwick.dev/tenant"] = json!("acme");
    }
    let (group, version) = match object["apiVersion"].as_str().unwrap().split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), object["apiVersion"].as_str().unwrap().to_owned()),
    };
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": group, "version": version, "kind": object["kind"]},
            "resource": {"group": group, "version": version, "resource": resource},
            "name": object["metadata"]["name"],
            "namespace": namespace,
            "operation": "CREATE",
            "userInfo": {"username": "kubernetes-admin", "groups": ["system:authenticated"]},
            "object": object,
        },
    });
    let body = serde_json::to_vec(&review).unwrap();
    match decide(snapshot, &review::parse(&body).unwrap(), &Moment::default()) {
        Outcome::Decided(it) => it,
        Outcome::Needs(need) => panic!("{need:?}"),
    }
}

/// The rules and fields that the command names.
fn by_command(object: &Value, prefix: &str) -> BTreeSet<(String, String)> {
    let report = check_texts(
        &[("cluster.yaml", CLUSTER), ("m.json", &object.to_string())],
        None,
        &Config::default(),
    );
    let checked = report.objects.last().unwrap();
    assert_ne!(checked.verdict(), Verdict::CannotTell, "{object}");
    let findings = checked.judgement.findings.iter().map(|it| {
        let field = &it.finding.field;
        let field = field.strip_prefix(prefix).unwrap_or(field);
        (it.finding.rule.to_string(), field.to_owned())
    });
    findings.collect()
}

/// Compares the two; the result says whether it was refused.
#[track_caller]
fn compare(snapshot: &Snapshot, resource: &str, object: &Value) -> bool {
    let expected = by_webhook(snapshot, resource, object);
    assert_eq!(by_command(object, ""), expected, "{object}");
    if resource == "pods" {
        let metadata = &object["metadata"];
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "d", "namespace": metadata["namespace"]},
            "spec": {"template": {"metadata": {"labels": metadata["labels"]}}},
        });
        assert_eq!(by_command(&deployment, "spec.template."), expected, "{object}");
    }
    !expected.is_empty()
}

const NAMESPACES: [&str; 4] = ["acme-prod", "globex-prod", "shared", "kube-system"];

fn subjects() -> Vec<Value> {
    let mut subjects = Vec::new();
    for user in [
        "amir",
        "gudrun",
        "nobody",
        "system:serviceaccount:acme-prod:x",
        "system:anonymous",
    ] {
        subjects.push(json!({"kind": "User", "name": user}));
    }
    for group in [
        "oidc:acme:x",
        "system:authenticated",
        "system:masters",
        "system:serviceaccounts:globex-prod",
    ] {
        subjects.push(json!({"kind": "Group", "name": group}));
    }
    for namespace in NAMESPACES {
        subjects.push(json!({"kind": "ServiceAccount", "name": "x", "namespace": namespace}));
    }
    subjects.push(json!({"kind": "Other", "name": "x"}));
    subjects
}

/// Fails unless both answers came out often enough for the comparison to mean something.
#[track_caller]
fn both_ways(answers: &[bool]) {
    let refused = answers.iter().filter(|it| **it).count();
    assert!(
        refused >= 2 && answers.len() - refused >= 2,
        "{refused} of {}",
        answers.len()
    );
}

#[test]
fn of_pods() {
    let snapshot = snapshot();
    let mut answers = Vec::new();
    for namespace in NAMESPACES {
        for labels in [json!({}), json!({"app": "x"}), json!(null), json!({"app": 5})] {
            for tenant in [None, Some("acme"), Some("globex"), Some("")] {
                let mut labels = labels.clone();
                if let Some(tenant) = tenant {
                    labels["bailiwick.dev/tenant"] = json!(tenant);
                }
                let metadata = json!({"name": "p", "namespace": namespace, "labels": labels});
                let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata});
                if labels["app"] == 5 {
                    // Both refuse it; where the number stands is told by line and by field.
                    let rules =
                        |it: BTreeSet<(String, String)>| it.into_iter().map(|it| it.0).collect::<Vec<_>>();
                    let expected = rules(by_webhook(&snapshot, "pods", &pod));
                    assert_eq!(rules(by_command(&pod, "")), expected);
                } else {
                    answers.push(compare(&snapshot, "pods", &pod));
                }
            }
        }
    }
    both_ways(&answers);
}

#[test]
fn of_bindings() {
    let snapshot = snapshot();
    let (mut answers, mut cluster_wide) = (Vec::new(), Vec::new());
    for role in [
        "view",
        "edit",
        "cluster-admin",
        "system:discovery",
        "system:basic-user",
    ] {
        let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role});
        for subject in subjects() {
            for namespace in NAMESPACES {
                let binding = json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "RoleBinding",
                    "metadata": {"name": "b", "namespace": namespace},
                    "roleRef": role_ref,
                    "subjects": [subject, {"kind": "User", "name": "amir"}],
                });
                answers.push(compare(&snapshot, "rolebindings", &binding));
            }
            let binding = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "b"},
                "roleRef": role_ref,
                "subjects": [subject],
            });
            cluster_wide.push(compare(&snapshot, "clusterrolebindings", &binding));
        }
    }
    both_ways(&answers);
    both_ways(&cluster_wide);
}

#[test]
fn of_roles_and_other_kinds() {
    let snapshot = snapshot();
    let mut answers = Vec::new();
    let rules = [
        json!(null),
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]),
        json!([{"apiGroups": [""], "resources": ["bindings", "pods"], "verbs": ["create"]}]),
        json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]),
    ];
    for rules in rules {
        for namespace in NAMESPACES {
            let role = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": {"name": "r", "namespace": namespace},
                "rules": rules,
            });
            answers.push(compare(&snapshot, "roles", &role));
        }
        for label in [
            "x",
            "aggregate-to-edit",
            "aggregate-to-view",
            "aggregate-to-admin",
        ] {
            let role = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": "r", "labels": {format!("rbac.authorization.k8s.io/{label}"): "true"}},
                "rules": rules,
            });
            answers.push(compare(&snapshot, "clusterroles", &role));
        }
    }
    for (api_version, kind, resource) in [
        ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
        ("v1", "ResourceQuota", "resourcequotas"),
        ("v1", "LimitRange", "limitranges"),
        ("v1", "Namespace", "namespaces"),
    ] {
        for label in [
            "x",
            "bailiwick.dev/managed-by",
            "bailiwick.dev/tenant",
            "bailiwick.dev/pod-label",
        ] {
            let namespace = if kind == "Namespace" {
                json!(null)
            } else {
                json!("acme-prod")
            };
            let metadata = json!({"name": "x", "namespace": namespace, "labels": {label: "acme"}});
            let object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
            answers.push(compare(&snapshot, resource, &object));
        }
    }
    both_ways(&answers);
}

#[test]
fn of_tenants() {
    let snapshot = snapshot();
    let specs = [
        json!({}),
        json!({"owners": [{"kind": "User", "name": "ines"}]}),
        json!({"owners": [{"kind": "User", "name": "gudrun"}]}),
        json!({"owners": [{"kind": "User", "name": "system:admin"}]}),
        json!({"identities": {"groups": ["oidc:acme:x", "oidc:initech:*"]}}),
        json!({"namespaces": {"declared": [{"name": "initech-prod"}]}}),
        json!({"namespaces": {"declared": [{"name": "acme-prod"}]}}),
        json!({"namespaces": {"declared": [{"name": "kube-public"}]}}),
        json!({"network": {"egress": {"toCIDRs": ["0.0.0.0/0"]}}}),
        json!({"network": {"egress": {"toCIDRs": ["192.0.2.0/24"]}}}),
        json!({"network": {"ingress": {"fromNamespaces": ["globex-prod"]}}}),
        json!({"access": [{"clusterRole": "cluster-admin", "subjects": [{"kind": "User", "name": "ines"}]}]}),
        json!({"quota": {"namespace": {"cpu": "1x"}}}),
    ];
    let mut answers = Vec::new();
    for spec in specs {
        let metadata = json!({"name": "initech"});
        let tenant = json!({"apiVersion": "bailiwick.dev/v1alpha1", "kind": "Tenant", "metadata": metadata, "spec": spec});
        answers.push(compare(&snapshot, "tenants", &tenant));
    }
    both_ways(&answers);
}

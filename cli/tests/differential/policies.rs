//! `check` says of objects what the webhook says by the same policies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bailiwick_cli::check::check_texts;
use bailiwick_cli::check::judge::Placed;
use bailiwick_core::config::Config;
use bailiwick_core::finding::Finding;
use bailiwick_core::policy::{Active, Content, Policies, Revision, Served, StoredRevision};
use bailiwick_core::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::{CLUSTER, NAMESPACES, snapshot, webhook_decision};

/// Policies in each convention, with each enforcement; as they stand in a file.
fn policies() -> Vec<Value> {
    let bailiwick = r#"package bailiwick

deny contains violation if {
    some i, container in input.request.object.spec.containers
    not startswith(container.image, data.parameters.registry)
    violation := {
        "msg": sprintf("'%s' of %s", [container.image, data.bailiwick.tenant.name]),
        "field": sprintf("spec.containers[%d].image", [i]),
        "fix": "take another",
    }
}

warn contains "no limits" if not input.request.object.spec.limits
"#;
    let gatekeeper = r#"package k8srequiredlabels

violation[{"msg": msg}] {
    required := input.parameters.labels[_]
    not input.review.object.metadata.labels[required]
    msg := sprintf("%s is missing", [required])
}
"#;
    let conftest = "package main\n\ndeny contains msg if {\n  input.kind == \"Service\"\n  to_number(input.spec.weight) > 3\n  msg := input.metadata.name\n}\n";
    let mut policies = Vec::new();
    for (i, enforcement) in ["Deny", "Warn", "Audit"].iter().enumerate() {
        for (name, kinds, more) in [
            (
                "images",
                json!(["Pod", "Service"]),
                json!({"rego": bailiwick, "parameters": {"registry": "a/"}, "tenants": ["acme", "globex"]}),
            ),
            (
                "labels",
                json!(["Service", "ConfigMap"]),
                json!({"rego": gatekeeper, "regoVersion": "v0", "parameters": {"labels": ["app", "owner"]}, "tenantSelector": {}}),
            ),
            (
                "weights",
                json!(["Service"]),
                json!({"rego": conftest, "tenants": ["acme"]}),
            ),
        ] {
            let mut spec = json!({
                "enforcement": enforcement,
                "match": {"resources": [{"groups": [""], "kinds": kinds}]},
                "limits": {"evaluationMilliseconds": 1000},
            });
            spec.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            policies.push(json!({
                "apiVersion": "bailiwick.dev/v1alpha1",
                "kind": "TenantPolicy",
                "metadata": {"name": format!("{name}-{i}")},
                "spec": spec,
            }));
        }
    }
    policies
}

/// The policies as a webhook has loaded them.
fn with_policies(mut snapshot: Snapshot, policies: &[Value]) -> Snapshot {
    let served = policies.iter().map(|policy| {
        let name = policy["metadata"]["name"].as_str().unwrap();
        let spec = serde_json::from_value(policy["spec"].clone()).unwrap();
        let stored = StoredRevision::new(name, "paula", Content::of(&spec).unwrap());
        Arc::new(Served {
            policy: name.to_owned(),
            active: Some(Active::Loaded(Arc::new(Revision::compile(stored).unwrap()))),
            candidate: None,
            approved_by: BTreeMap::new(),
        })
    });
    snapshot.policies = Arc::new(Policies::collect(served, &snapshot.tenants));
    snapshot
}

/// What came out, by what becomes of it: rule, field, policy with revision, message.
type All = [BTreeSet<String>; 4];

fn all<'a>(lists: [impl Iterator<Item = &'a Finding>; 4]) -> All {
    lists.map(|it| it.map(ToString::to_string).collect())
}

fn of_policies_on_a_large_stack() {
    let policies = policies();
    let snapshot = with_policies(snapshot(), &policies);
    let mut objects = Vec::new();
    for (kind, resource) in [
        ("Pod", "pods"),
        ("Service", "services"),
        ("ConfigMap", "configmaps"),
    ] {
        for namespace in NAMESPACES {
            for labels in [
                json!(null),
                json!({"app": "x"}),
                json!({"app": "x", "owner": "y"}),
            ] {
                for spec in [
                    json!({}),
                    json!({"containers": [{"image": "a/b"}], "limits": 1, "weight": "1"}),
                    json!({"containers": [{"image": "b/c"}, {"image": "b/d"}], "weight": "7"}),
                    json!({"containers": [{}, {"image": 7}], "weight": "x"}),
                ] {
                    let name = format!("x-{}", objects.len());
                    let metadata = json!({"name": name, "namespace": namespace, "labels": labels});
                    let object =
                        json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec});
                    objects.push((resource, object));
                }
            }
        }
    }
    let written = policies.iter().chain(objects.iter().map(|it| &it.1));
    let text = written.fold(CLUSTER.to_owned(), |it, object| format!("{it}---\n{object}\n"));
    let report = check_texts(&[("all.yaml", text.as_str())], None, &Config::default());
    let checked = &report.objects[report.objects.len() - objects.len()..];
    let mut counts = [0; 4];
    for ((resource, object), checked) in objects.iter().zip(checked) {
        let decision = webhook_decision(&snapshot, resource, object);
        let expected = all([
            decision.findings.iter(),
            decision.warnings.iter(),
            decision.audited.iter(),
            decision.excepted.iter(),
        ]);
        let said = &checked.judgement;
        let found = all([
            said.findings.iter().map(finding),
            said.warnings.iter().map(finding),
            said.audited.iter().map(finding),
            said.excepted.iter().map(finding),
        ]);
        assert_eq!(found, expected, "{object}");
        for (count, list) in counts.iter_mut().zip(&expected) {
            *count += list.len();
        }
    }
    assert!(counts.iter().take(3).all(|it| *it > 50), "{counts:?}");
}

fn finding(placed: &Placed) -> &Finding {
    &placed.finding
}

#[test]
fn of_policies() {
    std::thread::Builder::new()
        .stack_size(bailiwick_core::rego::STACK)
        .spawn(of_policies_on_a_large_stack)
        .unwrap()
        .join()
        .unwrap();
}

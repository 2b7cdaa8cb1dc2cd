//! `policy replay`.

use std::fs;

use serde_json::{Value, json};

use crate::{Fake, cluster, policy, spec};

const SERVICES: &str = "/api/v1/services?limit=500";

fn service(namespace: &str, name: &str, labels: &Value) -> Value {
    json!({"metadata": {"name": name, "namespace": namespace, "labels": labels, "managedFields": [{"manager": "x"}]}})
}

/// What discovery says of Services.
pub(crate) fn discovery(api: &mut Fake) {
    let service = json!({
        "resource": "services", "responseKind": {"kind": "Service"}, "scope": "Namespaced",
        "singularResource": "service", "shortNames": ["svc"], "verbs": ["get", "list"],
    });
    let node = json!({
        "resource": "nodes", "responseKind": {"kind": "Node"}, "scope": "Cluster",
        "singularResource": "node", "shortNames": ["no"], "verbs": ["get", "list"],
    });
    let core =
        json!({"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [service, node]}]}]});
    api.answers.insert("/api".to_owned(), core);
    api.answers.insert("/apis".to_owned(), json!({"items": []}));
}

/// A cluster of two tenants with Services on two pages.
fn with_services() -> Fake {
    let mut api = cluster("cleo");
    discovery(&mut api);
    let tenant = |name: &str| json!({"metadata": {"name": name}, "spec": {}});
    let namespace = |name: &str, tenant: &str| json!({"metadata": {"name": name, "labels": {"bailiwick.dev/tenant": tenant, "bailiwick.dev/pod-label": "Verify"}}});
    for (path, value) in [
        (
            "/apis/bailiwick.dev/v1alpha1/tenants?limit=500",
            json!({"items": [tenant("acme"), tenant("globex")]}),
        ),
        (
            "/api/v1/namespaces?labelSelector=bailiwick.dev%2Ftenant&limit=500",
            json!({"items": [namespace("acme-prod", "acme"), namespace("globex-prod", "globex")]}),
        ),
        (
            SERVICES,
            json!({"kind": "ServiceList", "apiVersion": "v1", "metadata": {"continue": "next/1"}, "items": [
                service("acme-prod", "both", &json!({"owner": "x", "team": "y"})),
                service("acme-prod", "owner", &json!({"owner": "x"})),
                service("globex-prod", "none", &json!({})),
            ]}),
        ),
        (
            "/api/v1/services?limit=500&continue=next%2F1",
            json!({"kind": "ServiceList", "apiVersion": "v1", "items": [
                service("acme-prod", "team", &json!({"team": "x"})),
                service("acme-prod", "neither", &json!({})),
                service("default", "nobodys", &json!({})),
            ]}),
        ),
    ] {
        api.answers.insert(path.to_owned(), value);
    }
    api
}

#[test]
fn the_candidate_is_compared_with_what_decides() {
    let (code, stdout, stderr) = policy(&with_services(), &["replay", "owned"], "");
    assert_eq!((code, stderr.as_str()), (1, ""), "{stdout}");
    let mut lines = stdout.lines();
    assert_eq!(
        lines.next(),
        Some("OBJECT                   DIFFERENCE     MESSAGE")
    );
    assert_eq!(
        lines.next(),
        Some("Service acme-prod/owner  newly denied   no team")
    );
    assert_eq!(
        lines.next(),
        Some("Service acme-prod/team   newly allowed  no owner")
    );
    assert!(
        stdout.ends_with(": 4 evaluated, 1 newly denied, 1 newly allowed, 0 errors\n"),
        "{stdout}"
    );
    let (_, stdout, _) = policy(&with_services(), &["replay", "owned", "-o", "json"], "");
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        document["summary"],
        json!({"evaluated": 4, "newlyDenied": 1, "newlyAllowed": 1, "errors": 0})
    );
    assert_eq!(document["differences"][0]["name"], "owner");
}

#[test]
fn a_file_is_compared_with_what_decides() {
    let replayed = |name: &str, label: &str| {
        let file = json!({"apiVersion": "bailiwick.dev/v1alpha1", "kind": "TenantPolicy", "metadata": {"name": name}, "spec": spec(label, 1)});
        policy(&with_services(), &["replay", "-f", "-"], &file.to_string())
    };
    let (code, stdout, stderr) = replayed("owned", "owner");
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (code, stdout, _) = replayed("owned", "cost");
    assert!(code == 1 && stdout.contains("2 newly denied"), "{stdout}");
    // Beside nothing everything is new.
    let (code, stdout, _) = replayed("other", "owner");
    assert!(
        code == 1 && stdout.contains("beside nothing: 4 evaluated, 2 newly denied"),
        "{stdout}"
    );
    let (code, _, stderr) = policy(&with_services(), &["replay", "other"], "");
    assert!(
        code == 2 && stderr.contains("there is no TenantPolicy 'other'"),
        "{stderr}"
    );
}

#[test]
fn recorded_requests_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let review = |name: &str, labels: &Value| {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Service"},
            "resource": {"group": "", "version": "v1", "resource": "services"},
            "name": name, "namespace": "acme-prod", "operation": "UPDATE", "userInfo": {"username": "x"},
            "object": service("acme-prod", name, labels), "oldObject": service("acme-prod", name, &json!({})),
        }})
        .to_string()
    };
    let file = folder.path().join("reviews.jsonl");
    let replayed = |text: &str| {
        fs::write(&file, text).unwrap();
        policy(
            &with_services(),
            &["replay", "owned", "--reviews", file.to_str().unwrap()],
            "",
        )
    };
    let (code, stdout, _) = replayed(&format!(
        "{}\n\n{}\n",
        review("a", &json!({"owner": "x"})),
        review("b", &json!({}))
    ));
    assert!(
        code == 1 && stdout.contains("Service acme-prod/a  newly denied"),
        "{stdout}"
    );
    assert!(stdout.contains("2 evaluated"), "{stdout}");
    let (code, stdout, stderr) = replayed(&format!("{}\n{{}}\n", review("b", &json!({}))));
    assert_eq!(code, 2, "{stdout}");
    assert!(stderr.contains("error: line 2: "), "{stderr}");
}

#[test]
fn a_kind_that_the_cluster_lacks_is_said() {
    let mut api = with_services();
    api.answers.insert("/api".to_owned(), json!({"items": []}));
    let (code, _, stderr) = policy(&api, &["replay", "owned"], "");
    assert!(
        code == 2 && stderr.contains("the cluster has no kind Service of API group ''"),
        "{stderr}"
    );
}

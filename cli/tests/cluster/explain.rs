//! `explain` of an object in the cluster.

use bailiwick_cli::check::stack::with_stack;
use bailiwick_cli::explain::live::{Asked, explain};
use bailiwick_cli::explain::report;
use serde_json::{Value, json};

use crate::replay::discovery;
use crate::{Fake, cluster, revision};

fn with_a_service(labels: &Value) -> Fake {
    let mut api = cluster("cleo");
    discovery(&mut api);
    for (path, value) in [
        (
            "/api/v1/namespaces/acme-prod/services/web",
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "acme-prod", "labels": labels}}),
        ),
        (
            "/api/v1/namespaces/acme-prod",
            json!({"metadata": {"name": "acme-prod", "uid": "u", "labels": {"bailiwick.dev/tenant": "acme", "bailiwick.dev/pod-label": "Verify"}}}),
        ),
        (
            "/apis/bailiwick.dev/v1alpha1/tenants/acme",
            json!({"metadata": {"name": "acme"}, "spec": {}}),
        ),
    ] {
        api.answers.insert(path.to_owned(), value);
    }
    api
}

fn explained(api: &Fake, kind: &str, namespace: Option<&str>) -> Result<String, String> {
    let asked = Asked {
        kind: kind.to_owned(),
        name: "web".to_owned(),
        namespace: namespace.map(str::to_owned),
        bailiwick_namespace: "bailiwick-system".to_owned(),
        ..Asked::default()
    };
    let report = with_stack(|| explain(api, &asked)).unwrap()?;
    let mut text = Vec::new();
    report::text(&report, &mut text).unwrap();
    Ok(String::from_utf8(text).unwrap())
}

#[test]
fn what_decides_now_is_told() {
    let active = revision("owner", 1, "bob").name().to_owned();
    let expected = format!(
        "Service acme-prod/web of tenant acme: denied
  owned@{active} judged it by deny: it objects
    denied by deny: no owner
      rule at spec.rego:3
        spec.rego:4: not input.request.object.metadata.labels.owner
          input.request.object.metadata.labels.owner is absent
"
    );
    let api = with_a_service(&json!({"team": "x"}));
    for kind in ["svc", "Service", "services"] {
        assert_eq!(explained(&api, kind, Some("acme-prod")), Ok(expected.clone()));
    }
    let api = with_a_service(&json!({"owner": "x"}));
    let expected = format!(
        "Service acme-prod/web of tenant acme: clean\n  owned@{active} judged it by deny: nothing to object to\n"
    );
    assert_eq!(explained(&api, "svc", Some("acme-prod")), Ok(expected));
}

#[test]
fn what_is_missing_is_said() {
    let api = with_a_service(&json!({}));
    for (kind, namespace, expected) in [
        (
            "svx",
            Some("acme-prod"),
            "the cluster has no kind 'svx'; did you mean svc?",
        ),
        ("svc", None, "Service lives in namespaces: name one with -n"),
        ("node", Some("acme-prod"), "Node lives in no namespace"),
        ("svc", Some("elsewhere"), "there is no Service elsewhere/web"),
    ] {
        let error = explained(&api, kind, namespace).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let mut api = with_a_service(&json!({}));
    api.answers.remove("/apis/bailiwick.dev/v1alpha1/tenants/acme");
    assert_eq!(
        explained(&api, "svc", Some("acme-prod")),
        Err("there is no Tenant 'acme'".to_owned())
    );
}

#[test]
fn a_revision_that_is_not_kept_refuses() {
    let mut api = with_a_service(&json!({"owner": "x"}));
    api.answers.insert(
        "/apis/apps/v1/namespaces/bailiwick-system/controllerrevisions?labelSelector=bailiwick.dev%2Fpolicy&limit=500".to_owned(),
        json!({"items": []}),
    );
    let text = explained(&api, "svc", Some("acme-prod")).unwrap();
    assert!(
        text.contains("owned did not judge it: revision ") && text.contains("it is not kept"),
        "{text}"
    );
}

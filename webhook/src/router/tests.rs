use std::collections::BTreeMap;
use std::time::Duration;

use bailiwick_core::ownership::NamespaceFacts;
use bailiwick_core::snapshot::Snapshot;
use http_body_util::BodyExt as _;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use super::*;
use crate::fetch::Fetcher;

/// A webhook that knows one tenant's namespace and no role. Its API server answers each question, with `404` but for the
/// ClusterRole `known`, when the semaphore lets it.
fn webhook(answers: &Arc<Semaphore>) -> Router {
    let answers = answers.clone();
    let api_server = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let answers = answers.clone();
        async move {
            answers
                .acquire()
                .await
                .map(tokio::sync::SemaphorePermit::forget)?;
            let is_known = request.uri().path().ends_with("/clusterroles/known");
            let (status, body) = if is_known {
                (
                    200,
                    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "known"}, "rules": null}),
                )
            } else {
                (
                    404,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "no"}),
                )
            };
            let body = kube::client::Body::from(body.to_string().into_bytes());
            let response = http::Response::builder().status(status).body(body)?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(response)
        }
    });
    let facts = NamespaceFacts {
        labels: BTreeMap::from([("bailiwick.dev/tenant".to_owned(), "acme".to_owned())]),
        ..NamespaceFacts::default()
    };
    let snapshot = Snapshot::default().with_namespace("acme-prod".to_owned(), facts);
    let (metrics, _) = crate::metrics::new();
    let fetcher = Fetcher::new(Client::new(api_server, "default"));
    router(Reviews::new(
        SharedSnapshot::from(snapshot),
        fetcher,
        Policies::new(),
        metrics,
    ))
}

/// The answer to a RoleBinding that binds a ServiceAccount of the tenant to a ClusterRole, and how long it took.
async fn bind(webhook: &Router, role: &str, timeout: &str) -> (Value, Duration) {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u", "kind": {"group": "rbac.authorization.k8s.io", "version": "v1", "kind": "RoleBinding"},
            "resource": {"group": "rbac.authorization.k8s.io", "version": "v1", "resource": "rolebindings"},
            "namespace": "acme-prod", "name": "b", "operation": "CREATE",
            "userInfo": {"username": "someone"},
            "object": {
                "metadata": {"name": "b", "namespace": "acme-prod"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": "app", "namespace": "acme-prod"}],
            },
        },
    });
    let request = http::Request::post(format!("/validate?timeout={timeout}"))
        .body(Body::from(review.to_string()))
        .unwrap();
    let begin = Instant::now();
    let response = webhook.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&bytes).unwrap();
    (review["response"].clone(), begin.elapsed())
}

#[tokio::test]
async fn an_answer_is_given_before_the_api_server_stops_waiting() {
    let answers = Arc::new(Semaphore::new(0));
    let webhook = webhook(&answers);
    let (answer, took) = bind(&webhook, "known", "1s").await;
    assert_eq!(answer["status"]["code"], 503, "{answer}");
    assert_eq!(answer["status"]["details"]["retryAfterSeconds"], 1);
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("ClusterRole 'known'") && message.contains("the answer is due"),
        "{message}"
    );
    assert!(took < Duration::from_secs(1), "{took:?}");

    // The same with an API server that answers.
    answers.add_permits(100);
    let (answer, _) = bind(&webhook, "known", "1s").await;
    assert_eq!(answer["allowed"], true, "{answer}");
}

#[tokio::test]
async fn who_waits_longer_gets_the_answer_to_a_question_that_another_gave_up() {
    let answers = Arc::new(Semaphore::new(0));
    let webhook = webhook(&answers);
    let hurried = async {
        let (answer, _) = bind(&webhook, "known", "600ms").await;
        answers.add_permits(1);
        answer
    };
    let (hurried, (patient, _)) = tokio::join!(hurried, bind(&webhook, "known", "10s"));
    assert_eq!(hurried["status"]["code"], 503, "{hurried}");
    assert_eq!(patient["allowed"], true, "{patient}");
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_any_more_is_not_the_next_ones_answer() {
    let answers = Arc::new(Semaphore::new(0));
    let webhook = webhook(&answers);
    let (first, _) = bind(&webhook, "other", "600ms").await;
    assert_eq!(first["status"]["code"], 503, "{first}");
    // It is answered meanwhile, and closed.
    answers.add_permits(1);
    while answers.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    answers.add_permits(1);
    let (second, _) = bind(&webhook, "other", "10s").await;
    let message = second["status"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("does not exist"), "{second}");
}

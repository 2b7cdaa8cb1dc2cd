use std::sync::Mutex;

use clap::Parser as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::args::OperatorArgs;

/// An API server that keeps what it is sent, and answers with it.
fn recording(sent: Arc<Mutex<Vec<(String, Value)>>>) -> Client {
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let sent = sent.clone();
        async move {
            let line = format!("{} {}", request.method(), request.uri().path());
            let body = request.into_body().collect_bytes().await?;
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            sent.lock().unwrap().push((line, body));
            let answer = json!({"apiVersion": "bailiwick.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme"}, "spec": {}});
            Ok::<_, kube::Error>(http::Response::new(Body::from(answer.to_string().into_bytes())))
        }
    });
    Client::new(service, "default")
}

#[tokio::test]
async fn a_pass_that_does_not_end_in_time_says_so_in_the_status() {
    let sent = Arc::default();
    let client = recording(Arc::clone(&sent));
    let (metrics, _) = crate::metrics::new();
    // Streams that nobody polls: the caches never fill.
    let (observed, _streams) = crate::observe::begin(client.clone(), metrics.clone());
    let args = OperatorArgs::parse_from(["bailiwick-operator"]);
    let context = Context::new(client.clone(), client, &args, observed, metrics);
    let tenant: StoredTenant = serde_json::from_value(json!({
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": "acme", "uid": "u", "generation": 3}, "spec": {},
        "status": {"namespaces": [{"name": "acme-prod", "uid": "n", "origin": "Adopted"}]},
    }))
    .unwrap();

    let result = pass_within(Duration::from_millis(10), &tenant, &context).await;

    assert!(matches!(result, Err(Error::Deadline(_))), "{result:?}");
    let sent = sent.lock().unwrap();
    let [(line, body)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(line, "PATCH /apis/bailiwick.dev/v1alpha1/tenants/acme/status");
    assert_eq!(body["status"]["observedGeneration"], 3);
    // What the pass may have recorded meanwhile is left alone.
    assert_eq!(body["status"]["namespaces"], Value::Null);
    let conditions = body["status"]["conditions"].as_array().unwrap();
    let ready = conditions.iter().find(|it| it["type"] == "Ready").unwrap();
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("False"), &json!("ApplyFailed"))
    );
    assert!(ready["message"].as_str().unwrap().contains("not finished within"));
}

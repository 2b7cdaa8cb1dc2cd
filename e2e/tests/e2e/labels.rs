//! The label rules, by every verb and patch type that the API server knows.

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, objects};
use http::Request;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Client, api::DeleteParams};
use serde_json::{Value, json};

use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    steps::{TENANT_LABEL, namespace_label, tenant},
};

/// One write by one content type.
async fn send(
    client: &Client,
    method: &str,
    path: &str,
    content: &str,
    body: &Value,
) -> Result<Value, kube::Error> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
        .body(body.to_string().into_bytes());
    let request = request.map_err(kube::Error::HttpError)?;
    client.request(request).await
}

/// The ways to set one label of an object: method, query, content type and body.
fn ways(object: &Value, label: Option<&str>) -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let key = TENANT_LABEL.replace('/', "~1");
    let path = format!("/metadata/labels/{key}");
    let operation = match (label, object["metadata"]["labels"].get(TENANT_LABEL)) {
        (None, _) => json!([{ "op": "remove", "path": path }]),
        (Some(value), _) => json!([{ "op": "add", "path": path, "value": value }]),
    };
    let mut whole = object.clone();
    if let Some(labels) = whole["metadata"]["labels"].as_object_mut() {
        labels.remove(TENANT_LABEL);
        if let Some(value) = label {
            labels.insert(TENANT_LABEL.to_owned(), json!(value));
        }
    }
    whole["metadata"]["managedFields"] = Value::Null;
    whole["metadata"]["resourceVersion"] = Value::Null;
    let merge = json!({ "metadata": { "labels": { TENANT_LABEL: label } } });
    let mut ways = vec![
        ("PATCH", "", "application/merge-patch+json", merge.clone()),
        (
            "PATCH",
            "",
            "application/strategic-merge-patch+json",
            merge.clone(),
        ),
        ("PATCH", "", "application/json-patch+json", operation),
        ("PUT", "", "application/json", whole),
        ("PATCH", "?dryRun=All", "application/merge-patch+json", merge),
    ];
    // An apply removes nothing that it doesn't own, so it is a way to set only.
    if let Some(value) = label {
        let apply = json!({
            "apiVersion": object["apiVersion"],
            "kind": object["kind"],
            "metadata": { "name": object["metadata"]["name"], "labels": { TENANT_LABEL: value } },
        });
        let forced = "?fieldManager=bailiwick-operator&force=true";
        ways.push(("PATCH", forced, "application/apply-patch+yaml", apply.clone()));
        ways.push((
            "PATCH",
            "?fieldManager=somebody&force=true",
            "application/apply-patch+yaml",
            apply,
        ));
    }
    ways
}

async fn try_all(
    cluster: &Cluster,
    path: &str,
    object: &Value,
    label: Option<&str>,
    rule: &str,
) -> Result<usize> {
    let client = cluster.client();
    let mut tried = 0;
    for (method, query, content, body) in ways(object, label) {
        let result = send(&client, method, &format!("{path}{query}"), content, &body).await;
        objects::denied(result, rule)
            .with_context(|| format!("{method} {path}{query} as {content}: {label:?}"))?;
        tried += 1;
    }
    Ok(tried)
}

#[test]
fn a_namespaces_tenant_label_withstands_every_write() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (name, ns) = (unique("label"), unique("label-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], ""), SOON).await?;
        let mut object = serde_json::to_value(Api::<Namespace>::all(client.clone()).get(&ns).await?)?;
        object["apiVersion"] = json!("v1");
        object["kind"] = json!("Namespace");
        let path = format!("/api/v1/namespaces/{ns}");
        let mut tried = 0;
        for label in [None, Some("other"), Some(""), Some(&*name.to_uppercase())] {
            for path in [path.clone(), format!("{path}/status")] {
                tried += try_all(cluster, &path, &object, label, "BW-NS-IDENTITY").await?;
            }
            let (_, _, _, whole) = ways(&object, label).remove(3);
            let finalize = format!("{path}/finalize");
            let refused = send(&client, "PUT", &finalize, "application/json", &whole).await;
            objects::denied(refused, "BW-NS-IDENTITY").with_context(|| format!("{finalize}: {label:?}"))?;
            tried += 1;
        }
        ensure!(tried > 40, "{tried}");
        ensure!(namespace_label(&client, &ns, TENANT_LABEL).await?.as_ref() == Some(&name));
        // The same writes of a label that means nothing pass.
        let harmless = json!({ "metadata": { "labels": { "team": "x" } } });
        for path in [path.clone(), format!("{path}/status")] {
            send(&client, "PATCH", &path, "application/merge-patch+json", &harmless).await?;
        }
        object["metadata"]["resourceVersion"] = Value::Null;
        object["metadata"]["managedFields"] = Value::Null;
        object["metadata"]["labels"]["team"] = json!("y");
        send(
            &client,
            "PUT",
            &format!("{path}/finalize"),
            "application/json",
            &object,
        )
        .await?;

        // New Namespaces, named and unnamed.
        for metadata in [
            json!({ "name": unique("forged") }),
            json!({ "generateName": "forged-" }),
        ] {
            let mut namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
            send(
                &client,
                "POST",
                "/api/v1/namespaces?dryRun=All",
                "application/json",
                &namespace,
            )
            .await?;
            namespace["metadata"]["labels"] = json!({ TENANT_LABEL: name });
            let refused = send(
                &client,
                "POST",
                "/api/v1/namespaces",
                "application/json",
                &namespace,
            )
            .await;
            objects::denied(refused, "BW-NS-IDENTITY")?;
        }
        Ok(())
    })
}

#[test]
fn a_pods_tenant_label_withstands_every_write() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (name, ns) = (unique("pods"), unique("pods-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], ""), SOON).await?;
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": ns } });
        objects::apply(&client, &account.to_string()).await?;
        let pods = format!("/api/v1/namespaces/{ns}/pods");
        let pod = |metadata: Value| json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": { "containers": [{ "name": "c", "image": "x" }] } });
        // Stamped where it is left out, refused where it is wrong.
        for metadata in [json!({ "name": "p" }), json!({ "generateName": "p-" })] {
            let made = send(&client, "POST", &pods, "application/json", &pod(metadata.clone())).await?;
            ensure!(made["metadata"]["labels"][TENANT_LABEL] == *name, "{made}");
            let mut forged = metadata;
            forged["labels"] = json!({ TENANT_LABEL: "other" });
            if forged["name"].is_string() {
                forged["name"] = json!("q");
            }
            let refused = send(&client, "POST", &pods, "application/json", &pod(forged)).await;
            objects::denied(refused, "BW-POD-LABEL")?;
        }
        let mut object = serde_json::to_value(Api::<Pod>::namespaced(client.clone(), &ns).get("p").await?)?;
        object["apiVersion"] = json!("v1");
        object["kind"] = json!("Pod");
        for label in [None, Some("other"), Some("")] {
            for path in [format!("{pods}/p"), format!("{pods}/p/status")] {
                try_all(cluster, &path, &object, label, "BW-POD-LABEL").await?;
            }
        }
        for (path, name) in [
            (format!("{pods}/p/binding"), "p"),
            (format!("/api/v1/namespaces/{ns}/bindings"), "p"),
        ] {
            let binding = json!({
                "apiVersion": "v1", "kind": "Binding",
                "metadata": { "name": name, "labels": { TENANT_LABEL: "other" } },
                "target": { "apiVersion": "v1", "kind": "Node", "name": "n" },
            });
            let refused = send(&client, "POST", &path, "application/json", &binding).await;
            objects::denied(refused, "BW-BINDING-LABEL").with_context(|| path)?;
        }
        let now = Api::<Pod>::namespaced(client.clone(), &ns).get("p").await?;
        ensure!(now.metadata.labels.and_then(|it| it.get(TENANT_LABEL).cloned()) == Some(name));
        let harmless = json!({ "metadata": { "labels": { "team": "x" } } });
        send(
            &client,
            "PATCH",
            &format!("{pods}/p"),
            "application/merge-patch+json",
            &harmless,
        )
        .await?;

        // A collection is refused object by object.
        let policies = format!("/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies");
        let refused = send(&client, "DELETE", &policies, "application/json", &json!({})).await;
        objects::denied(refused, "BW-MANAGED")?;
        let mut own = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": "own" }, "spec": { "podSelector": {} } });
        send(&client, "POST", &policies, "application/json", &own).await?;
        own["metadata"] =
            json!({ "name": "own2", "labels": { "bailiwick.dev/managed-by": "bailiwick-operator" } });
        let refused = send(&client, "POST", &policies, "application/json", &own).await;
        objects::denied(refused, "BW-MANAGED")?;
        Api::<k8s_openapi::api::networking::v1::NetworkPolicy>::namespaced(client, &ns)
            .delete("own", &DeleteParams::default())
            .await?;
        Ok(())
    })
}

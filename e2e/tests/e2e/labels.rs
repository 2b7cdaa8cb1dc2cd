//! The label rules, by every verb and patch type that the API server knows.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, objects, wait::eventually};
use http::Request;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Client, api::DynamicObject};
use serde_json::{Value, json};

use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    managed,
    steps::{MANAGED, TENANT_LABEL, namespace_label, tenant},
};

const APPLY: &str = "application/apply-patch+yaml";

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
    // An apply removes what its manager owned and no longer names: that is tried where somebody owns the label.
    if let Some(value) = label {
        let apply = json!({
            "apiVersion": object["apiVersion"],
            "kind": object["kind"],
            "metadata": { "name": object["metadata"]["name"], "labels": { TENANT_LABEL: value } },
        });
        let forced = "?fieldManager=bailiwick-operator&force=true";
        ways.push(("PATCH", forced, APPLY, apply.clone()));
        ways.push(("PATCH", "?fieldManager=somebody&force=true", APPLY, apply));
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

/// An apply takes away what its manager owned and no longer names, and anybody may call himself by the operator's name.
#[test]
fn the_operators_field_manager_isnt_the_operator() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (name, ns) = (unique("manager"), unique("manager-ns"));
        // What is adopted has its labels by apply alone; what the operator made has them by creation, too.
        let adopted = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": ns, "annotations": { "bailiwick.dev/adopt-by": name } } });
        objects::create(&client, &adopted.to_string()).await?;
        ready_tenant(cluster, &tenant(&name, &[&ns], ""), SOON).await?;
        let before = Api::<Namespace>::all(client.clone())
            .get(&ns)
            .await?
            .metadata
            .labels;
        let path = format!("/api/v1/namespaces/{ns}");
        let mut apply = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": ns } });
        let operators = format!("{path}?fieldManager=bailiwick-operator&force=true");
        let refused = send(&client, "PATCH", &operators, APPLY, &apply).await;
        objects::denied(refused, "BW-NS-IDENTITY")?;
        let now = Api::<Namespace>::all(client.clone())
            .get(&ns)
            .await?
            .metadata
            .labels;
        ensure!(now == before, "{now:?}");
        // By another name it takes nothing away, and by the operator's, all labels named, neither.
        let others = format!("{path}?fieldManager=somebody&force=true");
        send(&client, "PATCH", &others, APPLY, &apply).await?;
        let mut same = before.clone().unwrap_or_default();
        same.remove("kubernetes.io/metadata.name");
        apply["metadata"]["labels"] = json!(same);
        send(&client, "PATCH", &operators, APPLY, &apply).await?;
        let now = Api::<Namespace>::all(client.clone())
            .get(&ns)
            .await?
            .metadata
            .labels;
        ensure!(now == before, "{now:?}");
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
        // These two take nothing but their own part of the Pod: what else is sent is dropped, or refused.
        for subresource in ["resize", "ephemeralcontainers"] {
            let path = format!("{pods}/p/{subresource}");
            for label in [None, Some("other"), Some("")] {
                for (method, query, content, body) in ways(&object, label) {
                    let sent = send(&client, method, &format!("{path}{query}"), content, &body).await;
                    match sent {
                        Ok(after) => ensure!(after["metadata"]["labels"][TENANT_LABEL] == *name, "{after}"),
                        Err(_) => drop(
                            objects::denied(sent, "BW-POD-LABEL")
                                .with_context(|| format!("{method} {path}{query} as {content}: {label:?}"))?,
                        ),
                    }
                }
            }
        }
        // Whoever applied the label can't take it back by applying without it.
        let forced = format!("{pods}/own?fieldManager=somebody&force=true");
        let mut own = pod(json!({ "name": "own", "labels": { TENANT_LABEL: name, "team": "x" } }));
        send(&client, "PATCH", &forced, APPLY, &own).await?;
        own["metadata"]["labels"] = json!({ "team": "x" });
        let refused = send(&client, "PATCH", &forced, APPLY, &own).await;
        objects::denied(refused, "BW-POD-LABEL").context("apply without the label")?;
        own["metadata"]["labels"] = json!({ TENANT_LABEL: name });
        let applied = send(&client, "PATCH", &forced, APPLY, &own).await?;
        ensure!(
            applied["metadata"]["labels"] == json!({ TENANT_LABEL: name }),
            "{applied}"
        );
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
        Ok(())
    })
}

#[test]
fn a_collection_is_deleted_but_for_what_is_guarded() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (name, ns) = (unique("collect"), unique("collect-ns"));
        let quota = "quota: { namespace: { pods: 5 }, limits: [{ type: Pod, max: { cpu: 1 } }] }";
        ready_tenant(cluster, &tenant(&name, &[&ns], quota), SOON).await?;
        let policies = format!("/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies");
        let before = managed::objects(&client, &ns).await?;
        ensure!(before.len() == 5, "{:?}", before.keys());
        // Two policies guard the index, and either may be the first.
        for (collection, rules) in [
            (policies.clone(), "BW-MANAGED"),
            (
                format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings"),
                "BW-MANAGED",
            ),
            (format!("/api/v1/namespaces/{ns}/resourcequotas"), "BW-MANAGED"),
            (format!("/api/v1/namespaces/{ns}/limitranges"), "BW-MANAGED"),
            (
                "/apis/bailiwick.dev/v1alpha1/tenancyindices".to_owned(),
                "BW-MANAGED BW-RECORD",
            ),
        ] {
            let refused = send(&client, "DELETE", &collection, "application/json", &json!({})).await;
            let text = &objects::denied(refused, "BW-")
                .with_context(|| collection.clone())?
                .message;
            ensure!(
                rules.split(' ').any(|it| text.contains(it)),
                "{collection}: {text}"
            );
        }
        let uids = |of: BTreeMap<String, DynamicObject>| -> BTreeMap<_, _> {
            of.into_iter().map(|(key, it)| (key, it.metadata.uid)).collect()
        };
        let after = managed::objects(&client, &ns).await?;
        ensure!(uids(after) == uids(before), "something is gone or new");
        // Namespaces have no such verb, so there is nothing to guard.
        let unknown = send(
            &client,
            "DELETE",
            "/api/v1/namespaces",
            "application/json",
            &json!({}),
        )
        .await;
        let is_unknown = matches!(&unknown, Err(kube::Error::Api(status)) if status.code == 405);
        ensure!(is_unknown, "{unknown:?}");

        // A tenant's own go, and so do the ones of a collection that leaves ours out.
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": ns } });
        objects::apply(&client, &account.to_string()).await?;
        let pods = format!("/api/v1/namespaces/{ns}/pods");
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "c", "image": "x", "resources": { "limits": { "cpu": "1" } } }] } });
        let own = |metadata: Value| json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": { "podSelector": {} } });
        let forged = own(json!({ "name": "own2", "labels": { MANAGED: "bailiwick-operator" } }));
        let refused = send(&client, "POST", &policies, "application/json", &forged).await;
        objects::denied(refused, "BW-MANAGED")?;
        for (collection, object, selector) in [
            (&pods, pod, ""),
            (
                &policies,
                own(json!({ "name": "own" })),
                "?labelSelector=!bailiwick.dev/managed-by",
            ),
        ] {
            // Pods are refused until the quota's controller has counted them.
            eventually(SOON, "the quota is counted", async || {
                send(&client, "POST", collection, "application/json", &object).await?;
                Ok(())
            })
            .await?;
            let path = format!("{collection}{selector}");
            send(&client, "DELETE", &path, "application/json", &json!({})).await?;
            let left = send(&client, "GET", &path, "application/json", &Value::Null).await?;
            ensure!(left["items"] == json!([]), "{left}");
        }
        Ok(())
    })
}

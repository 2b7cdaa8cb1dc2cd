//! A namespace that its owner deletes, and that doesn't go; and one whose ServiceAccounts somebody had in mind before it was made.

use anyhow::{Result, ensure};
use bailiwick_e2e::{objects, wait::eventually};
use k8s_openapi::api::{
    core::v1::{Namespace, Node, Pod, ServiceAccount},
    rbac::v1::ClusterRoleBinding,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{create, origin, owner, serving, taken, welcome};
use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    steps::{condition, locks_and_doors, namespaces, tenants},
};

/// A Pod that takes an hour to end, once it is on a node.
fn pod(name: &str) -> Result<Pod> {
    Ok(serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": { "terminationGracePeriodSeconds": 3600, "containers": [{ "name": "c", "image": "example.invalid/c" }] },
    }))?)
}

async fn has_an_account(client: &Client, namespace: &str) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    eventually(SOON, "Pods have a ServiceAccount", async || {
        accounts.get("default").await.map(drop).map_err(Into::into)
    })
    .await
}

/// Binds a Pod to a node that nobody runs, so that nobody ends it.
async fn put_on_a_node(admin: &Client, namespace: &str, pod: &str, node: &str) -> Result<()> {
    let text = format!("{{ apiVersion: v1, kind: Node, metadata: {{ name: {node} }} }}");
    objects::apply(admin, &text).await?;
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": { "name": pod }, "target": { "kind": "Node", "name": node },
    });
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/binding");
    let request = http::Request::post(path).body(serde_json::to_vec(&binding)?)?;
    admin.request::<serde_json::Value>(request).await?;
    Ok(())
}

#[test]
fn what_does_not_go_holds_its_quota_and_lets_nobody_stay_who_may_not() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        let name = unique("lingers");
        let (first, second) = (format!("{name}-a"), format!("{name}-b"));
        let quota = ", quota: { tenant: { pods: '10' } }";
        ready_tenant(cluster, &serving(&name, 5, "", quota), SOON).await?;
        let client = owner(cluster, &name)?;
        welcome(&client, &first).await?;
        create(&client, &first).await?;
        taken(cluster, &name, &first).await?;
        has_an_account(&admin, &first).await?;
        let held: Api<Pod> = Api::namespaced(client.clone(), &first);
        eventually(SOON, "a Pod that doesn't go", async || {
            held.create(&PostParams::default(), &pod("held")?).await?;
            Ok(())
        })
        .await?;
        let node = unique("lingers-node");
        put_on_a_node(&admin, &first, "held", &node).await?;
        create(&client, &second).await?;
        eventually(SOON, "the second is taken", async || {
            ensure!(origin(&admin, &name, &second).await?.as_deref() == Some("SelfService"));
            Ok(())
        })
        .await?;
        has_an_account(&admin, &second).await?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), &second);
        let run = async |name: &str| {
            eventually(SOON, "there is room in the other", async || {
                pods.create(&PostParams::default(), &pod(name)?).await?;
                Ok(())
            })
            .await
        };
        run("one").await?;
        let all: Api<Namespace> = Api::all(client.clone());
        all.delete(&first, &DeleteParams::default()).await?;

        // What is in there counts as before.
        run("two").await?;
        eventually(SOON, "all three count", async || {
            let quota = tenants(&admin).get(&name).await?.data["status"]["quota"].clone();
            ensure!(quota["used"]["pods"] == "3", "{quota}");
            Ok(())
        })
        .await?;
        let now = namespaces(&admin).get(&first).await?;
        ensure!(
            now.metadata.deletion_timestamp.is_some(),
            "it isn't being deleted"
        );

        // The owner is in there still, and isn't when they are an owner no more.
        let (_, doors) = locks_and_doors(&admin, &first).await?;
        ensure!(!doors.is_empty(), "the owner can't end what holds the namespace");
        let suspend = json!({ "spec": { "suspended": true } });
        let patch = PatchParams::default();
        tenants(&admin)
            .patch(&name, &patch, &Patch::Merge(&suspend))
            .await?;
        eventually(SOON, "the suspension holds there, too", async || {
            let labels = namespaces(&admin)
                .get(&first)
                .await?
                .metadata
                .labels
                .unwrap_or_default();
            ensure!(labels.contains_key("bailiwick.dev/suspended"), "{labels:?}");
            Ok(())
        })
        .await?;
        let other = json!({ "spec": { "suspended": false, "owners": [{ "kind": "User", "name": format!("{name}-other") }] } });
        tenants(&admin)
            .patch(&name, &patch, &Patch::Merge(&other))
            .await?;
        eventually(SOON, "who is no owner is out", async || {
            let (_, doors) = locks_and_doors(&admin, &first).await?;
            ensure!(doors.is_empty(), "{doors:?}");
            Ok(())
        })
        .await?;

        // The Tenant needn't wait for it.
        tenants(&admin).delete(&name, &DeleteParams::default()).await?;
        eventually(SOON, "the Tenant is gone", async || {
            ensure!(tenants(&admin).get_opt(&name).await?.is_none(), "it is there");
            Ok(())
        })
        .await?;
        ensure!(namespaces(&admin).get_opt(&first).await?.is_some(), "it did go");
        let held: Api<Pod> = Api::namespaced(admin.clone(), &first);
        held.delete("held", &DeleteParams::default().grace_period(0))
            .await?;
        Api::<Node>::all(admin)
            .delete(&node, &DeleteParams::default())
            .await?;
        Ok(())
    })
}

#[test]
fn a_namespace_whose_accounts_were_bound_before_it_was_made_is_not_taken() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        let name = unique("squat");
        let (bound, free) = (format!("{name}-bound"), format!("{name}-free"));
        ready_tenant(cluster, &serving(&name, 5, "", ""), SOON).await?;
        let client = owner(cluster, &name)?;
        welcome(&client, &bound).await?;
        let bindings: Api<ClusterRoleBinding> = Api::all(admin.clone());
        let binding = json!({
            "metadata": { "name": bound },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
            "subjects": [{ "kind": "ServiceAccount", "name": "robot", "namespace": bound }],
        });
        bindings
            .create(&PostParams::default(), &serde_json::from_value(binding)?)
            .await?;
        // The operator's watch knows of it when it knows of what came after.
        create(&client, &free).await?;
        taken(cluster, &name, &free).await?;
        create(&client, &bound).await?;
        let told = condition(
            cluster,
            &name,
            "NamespacesReady",
            "False",
            "NamespaceWaiting",
            SOON,
        )
        .await?;
        let expected = format!("ClusterRoleBinding {bound} names its ServiceAccounts");
        ensure!(told.contains(&expected), "{told}");
        let (_, doors) = locks_and_doors(&admin, &bound).await?;
        ensure!(doors.is_empty(), "{doors:?}");
        bindings.delete(&bound, &DeleteParams::default()).await?;
        taken(cluster, &name, &bound).await
    })
}

//! A namespace that its owner deletes, and that doesn't go; and one whose ServiceAccounts somebody had in mind before it was made.

use anyhow::{Result, ensure};
use bailiwick_e2e::{objects, wait::eventually};
use k8s_openapi::api::{
    core::v1::{Namespace, Pod, ServiceAccount},
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

fn pod(name: &str, finalizers: &[&str]) -> Result<Pod> {
    Ok(serde_json::from_value(json!({
        "metadata": { "name": name, "finalizers": finalizers },
        "spec": { "containers": [{ "name": "c", "image": "example.invalid/c" }] },
    }))?)
}

async fn has_an_account(client: &Client, namespace: &str) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    eventually(SOON, "Pods have a ServiceAccount", async || {
        accounts.get("default").await.map(drop).map_err(Into::into)
    })
    .await
}

#[test]
fn what_does_not_go_holds_its_quota_and_lets_nobody_stay_who_may_not() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        let name = unique("lingers");
        let (first, second) = (format!("{name}-a"), format!("{name}-b"));
        let quota = ", quota: { tenant: { pods: '2' } }";
        ready_tenant(cluster, &serving(&name, 5, "", quota), SOON).await?;
        let client = owner(cluster, &name)?;
        welcome(&client, &first).await?;
        create(&client, &first).await?;
        taken(cluster, &name, &first).await?;
        has_an_account(&admin, &first).await?;
        let held: Api<Pod> = Api::namespaced(client.clone(), &first);
        eventually(SOON, "a Pod that doesn't go", async || {
            held.create(&PostParams::default(), &pod("held", &["example.com/held"])?)
                .await?;
            Ok(())
        })
        .await?;
        let all: Api<Namespace> = Api::all(client.clone());
        all.delete(&first, &DeleteParams::default()).await?;
        create(&client, &second).await?;
        // Three locks with the slice of the quota.
        eventually(SOON, "the second is taken", async || {
            ensure!(origin(&admin, &name, &second).await?.as_deref() == Some("SelfService"));
            Ok(())
        })
        .await?;
        has_an_account(&admin, &second).await?;

        // Of two Pods one is still there.
        let pods: Api<Pod> = Api::namespaced(client.clone(), &second);
        eventually(SOON, "what is left of the quota", async || {
            pods.create(&PostParams::default(), &pod("one", &[])?).await?;
            Ok(())
        })
        .await?;
        condition(cluster, &name, "QuotaHealthy", "False", "Exhausted", SOON).await?;
        let one_more = pods.create(&PostParams::default(), &pod("two", &[])?).await;
        let refused = objects::denied(one_more, "exceeded quota")?.message;
        ensure!(refused.contains("bailiwick-tenant"), "{refused}");

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
        let free = json!({ "metadata": { "finalizers": null } });
        let held: Api<Pod> = Api::namespaced(admin.clone(), &first);
        held.patch("held", &patch, &Patch::Merge(&free)).await?;
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

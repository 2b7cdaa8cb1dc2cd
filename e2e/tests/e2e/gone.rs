//! What a Tenant leaves when it goes: closed to everybody, never deleted by a later one, and handed over with consent.

use anyhow::{Result, ensure};
use bailiwick_e2e::{install::Component, objects, wait::eventually};
use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    fixture::{SOON, on_own_cluster, on_shared_cluster, ready_tenant, unique},
    steps::{TENANT_LABEL, condition, locks_and_doors, namespace_label, namespaces, tenant, tenants},
};

async fn delete(client: &Client, name: &str) -> Result<()> {
    tenants(client).delete(name, &DeleteParams::default()).await?;
    eventually(SOON, &format!("Tenant {name} is gone"), async || {
        let left = tenants(client).get_opt(name).await?;
        ensure!(left.is_none(), "{:?}", left.map(|it| it.data["status"].clone()));
        Ok(())
    })
    .await
}

fn consenting(namespace: &str, tenant: &str) -> String {
    format!(
        "{{ apiVersion: v1, kind: Namespace, metadata: {{ name: {namespace}, annotations: {{ bailiwick.dev/adopt-by: {tenant} }} }} }}"
    )
}

#[test]
fn what_was_adopted_once_is_not_deleted_by_a_tenant_of_the_same_name() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (name, adopted, made) = (unique("again"), unique("adopted"), unique("made"));
        objects::create(&client, &consenting(&adopted, &name)).await?;
        ready_tenant(cluster, &tenant(&name, &[&adopted], ""), SOON).await?;
        delete(&client, &name).await?;

        let yaml = tenant(&name, &[&adopted, &made], "deletionPolicy: Delete");
        ready_tenant(cluster, &yaml, SOON).await?;
        let status = tenants(&client).get(&name).await?.data["status"]["namespaces"].clone();
        let origins = json!([adopted, made]).as_array().cloned().unwrap_or_default();
        for (namespace, origin) in origins.iter().zip(["Adopted", "Declared"]) {
            let records = status.as_array().cloned().unwrap_or_default();
            let is_so = |it: &&serde_json::Value| it["name"] == *namespace && it["origin"] == origin;
            ensure!(records.iter().find(is_so).is_some(), "{namespace}: {status}");
        }
        delete(&client, &name).await?;
        let left = namespaces(&client).get(&adopted).await?;
        ensure!(left.metadata.deletion_timestamp.is_none(), "{adopted} is deleted");
        ensure!(
            namespaces(&client).get_opt(&made).await?.is_none(),
            "{made} is left"
        );
        Ok(())
    })
}

#[test]
fn what_a_gone_tenant_left_is_adopted_with_consent() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (first, second, ns) = (unique("left"), unique("heir"), unique("left-ns"));
        ready_tenant(cluster, &tenant(&first, &[&ns], ""), SOON).await?;
        let consent = json!({ "metadata": { "annotations": { "bailiwick.dev/adopt-by": second } } });
        let params = PatchParams::default();
        namespaces(&client)
            .patch(&ns, &params, &Patch::Merge(&consent))
            .await?;
        // While its Tenant is there and declares it, consent is a promise and no more.
        let taking = tenant(&second, &[&ns], "");
        eventually(SOON, "the webhook has learned of the consent", async || {
            objects::apply(&client, &taking).await.map(|_| ())
        })
        .await?;
        condition(cluster, &second, "Ready", "False", "NamespaceConflict", SOON).await?;
        ensure!(namespace_label(&client, &ns, TENANT_LABEL).await?.as_ref() == Some(&first));
        delete(&client, &first).await?;
        ready_tenant(cluster, &taking, SOON).await?;
        ensure!(namespace_label(&client, &ns, TENANT_LABEL).await?.as_ref() == Some(&second));
        let (locks, doors) = locks_and_doors(&client, &ns).await?;
        ensure!(locks.len() == 2 && doors.len() == 1, "{locks:?} {doors:?}");
        Ok(())
    })
}

#[test]
fn a_tenant_that_lost_its_finalizer_leaves_no_door_open() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let client = cluster.client();
        let (name, ns, other, other_ns) = (
            unique("stripped"),
            unique("stripped-ns"),
            unique("whole"),
            unique("whole-ns"),
        );
        ready_tenant(cluster, &tenant(&name, &[&ns], ""), SOON).await?;
        ready_tenant(cluster, &tenant(&other, &[&other_ns], ""), SOON).await?;
        bailiwick.crash(Component::Operator).await?;
        tenants(&client).delete(&name, &DeleteParams::default()).await?;
        let stripped = json!({ "metadata": { "finalizers": null } });
        tenants(&client)
            .patch(&name, &PatchParams::default(), &Patch::Merge(&stripped))
            .await?;
        ensure!(tenants(&client).get_opt(&name).await?.is_none(), "still there");
        let (_, doors) = locks_and_doors(&client, &ns).await?;
        ensure!(doors.len() == 1, "{doors:?}");

        bailiwick.start(Component::Operator).await?;
        eventually(SOON, "access is removed and isolation is kept", async || {
            let (locks, doors) = locks_and_doors(&client, &ns).await?;
            ensure!(locks.len() == 2 && doors.is_empty(), "{locks:?} {doors:?}");
            Ok(())
        })
        .await?;
        let (_, doors) = locks_and_doors(&client, &other_ns).await?;
        ensure!(doors.len() == 1, "{doors:?}");
        Ok(())
    })
}

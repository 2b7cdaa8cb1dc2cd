//! The life of a Tenant: its namespaces come, are adopted, are fought for, and are let go.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{objects, wait::eventually};
use k8s_openapi::api::{networking::v1::NetworkPolicy, rbac::v1::RoleBinding};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    fixture::{SOON, on_own_cluster, on_shared_cluster, ready_tenant, unique},
    managed,
    requests::OPERATOR,
    steps::{TENANT_LABEL, condition, locks_and_doors, namespace_label, namespaces, tenant, tenants},
};

async fn gone(client: &Client, namespace: &str) -> Result<()> {
    eventually(SOON, &format!("Namespace {namespace} is gone"), async || {
        let left = namespaces(client).get_opt(namespace).await?;
        ensure!(left.is_none(), "{:?}", left.and_then(|it| it.status));
        Ok(())
    })
    .await
}

async fn tenant_gone(client: &Client, name: &str) -> Result<()> {
    eventually(SOON, &format!("Tenant {name} is gone"), async || {
        let left = tenants(client).get_opt(name).await?;
        ensure!(left.is_none(), "{:?}", left.map(|it| it.data["status"].clone()));
        Ok(())
    })
    .await
}

async fn delete_tenant(client: &Client, name: &str) -> Result<()> {
    tenants(client).delete(name, &DeleteParams::default()).await?;
    Ok(())
}

#[test]
fn a_deleted_tenant_takes_access_along_and_leaves_isolation() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (name, ns) = (unique("retain"), unique("retain-ns"));
        ready_tenant(
            &installed.cluster,
            &tenant(&name, &[&ns], "quota: { namespace: { pods: 5 } }"),
            SOON,
        )
        .await?;
        let (locks, doors) = locks_and_doors(&client, &ns).await?;
        ensure!(locks.len() == 2 && doors.len() == 1, "{locks:?} {doors:?}");

        delete_tenant(&client, &name).await?;
        tenant_gone(&client, &name).await?;
        let (locks, doors) = locks_and_doors(&client, &ns).await?;
        ensure!(locks.len() == 2 && doors.is_empty(), "{locks:?} {doors:?}");
        ensure!(namespace_label(&client, &ns, TENANT_LABEL).await?.as_ref() == Some(&name));
        // Nobody declares it any more, so the platform may delete it.
        namespaces(&client).delete(&ns, &DeleteParams::default()).await?;
        gone(&client, &ns).await
    })
}

#[test]
fn deletion_removes_what_the_operator_made_and_keeps_what_was_adopted() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (name, made, adopted) = (unique("delete"), unique("made"), unique("adopted"));
        objects::create(
            &client,
            &format!(
                "{{ apiVersion: v1, kind: Namespace, metadata: {{ name: {adopted}, annotations: {{ bailiwick.dev/adopt-by: {name} }} }} }}"
            ),
        )
        .await?;
        let yaml = tenant(&name, &[&made, &adopted], "deletionPolicy: Delete");
        ready_tenant(&installed.cluster, &yaml, SOON).await?;
        let status = tenants(&client).get(&name).await?.data["status"]["namespaces"].clone();
        let origin = |ns: &str| {
            let found = status.as_array()?.iter().find(|it| it["name"] == ns)?;
            found["origin"].as_str().map(str::to_owned)
        };
        ensure!(origin(&made).as_deref() == Some("Declared"), "{status}");
        ensure!(origin(&adopted).as_deref() == Some("Adopted"), "{status}");

        delete_tenant(&client, &name).await?;
        tenant_gone(&client, &name).await?;
        gone(&client, &made).await?;
        let (locks, doors) = locks_and_doors(&client, &adopted).await?;
        ensure!(locks.len() == 2 && doors.is_empty(), "{locks:?} {doors:?}");
        Ok(())
    })
}

#[test]
fn a_namespace_that_is_no_longer_declared_is_locked_or_deleted() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (name, kept, other) = (unique("shrink"), unique("kept"), unique("other"));
        ready_tenant(&installed.cluster, &tenant(&name, &[&kept, &other], ""), SOON).await?;
        ready_tenant(&installed.cluster, &tenant(&name, &[&kept], ""), SOON).await?;
        let (locks, doors) = locks_and_doors(&client, &other).await?;
        ensure!(locks.len() == 2 && doors.is_empty(), "{locks:?} {doors:?}");
        let (_, doors) = locks_and_doors(&client, &kept).await?;
        ensure!(doors.len() == 1, "{doors:?}");
        // It never becomes deletable by a later change of policy.
        ready_tenant(
            &installed.cluster,
            &tenant(&name, &[&kept], "deletionPolicy: Delete"),
            SOON,
        )
        .await?;
        ensure!(
            namespaces(&client)
                .get(&other)
                .await?
                .metadata
                .deletion_timestamp
                .is_none()
        );

        let (name, ns) = (unique("shrink"), unique("going"));
        ready_tenant(
            &installed.cluster,
            &tenant(&name, &[&ns], "deletionPolicy: Delete"),
            SOON,
        )
        .await?;
        objects::apply(&client, &tenant(&name, &[], "deletionPolicy: Delete")).await?;
        gone(&client, &ns).await
    })
}

#[test]
fn an_existing_namespace_is_taken_only_with_its_consent() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (name, ns) = (unique("adopt"), unique("existing"));
        objects::create(
            &client,
            &format!("{{ apiVersion: v1, kind: Namespace, metadata: {{ name: {ns} }} }}"),
        )
        .await?;
        objects::apply(&client, &tenant(&name, &[&ns], "")).await?;
        let message = condition(cluster, &name, "Ready", "False", "NamespaceNotOwned", SOON).await?;
        ensure!(message.contains(&ns) && message.contains("adopt-by"), "{message}");
        condition(cluster, &name, "Stalled", "True", "NamespaceNotOwned", SOON).await?;
        ensure!(namespace_label(&client, &ns, TENANT_LABEL).await?.is_none());
        ensure!(locks_and_doors(&client, &ns).await? == (vec![], vec![]));

        // Consent by the tenant's own people is no consent.
        let consent = json!({ "metadata": { "annotations": { "bailiwick.dev/adopt-by": name } } });
        let owner = cluster.client_as(&format!("{name}-owner"), &["system:masters"])?;
        // The API server learns whose people they are a moment after the operator wrote it down.
        let trial = PatchParams::default().dry_run();
        eventually(SOON, "the native policies know the owner", async || {
            let refused = namespaces(&owner)
                .patch(&ns, &trial, &Patch::Merge(&consent))
                .await;
            objects::denied(refused, "BW-NS-ADOPT").map(drop)
        })
        .await?;
        let params = PatchParams::default();
        let refused = namespaces(&owner)
            .patch(&ns, &params, &Patch::Merge(&consent))
            .await;
        objects::denied(refused, "BW-NS-ADOPT")?;
        namespaces(&client)
            .patch(&ns, &params, &Patch::Merge(&consent))
            .await?;
        condition(cluster, &name, "Ready", "True", "AllApplied", SOON).await?;
        ensure!(namespace_label(&client, &ns, TENANT_LABEL).await?.as_ref() == Some(&name));
        Ok(())
    })
}

#[test]
fn of_tenants_that_declare_one_namespace_one_gets_it_and_the_others_say_so() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let ns = unique("contested");
        let names: Vec<String> = (0..4).map(|_| unique("rival")).collect();
        let yaml: Vec<String> = names.iter().map(|it| tenant(it, &[&ns], "")).collect();
        // At the same time: the webhook may know of none of the others yet.
        let attempts = yaml.iter().map(|it| objects::create(&client, it));
        let results = futures::future::join_all(attempts).await;
        let applied: Vec<&String> = names
            .iter()
            .zip(&results)
            .filter(|(_, it)| it.is_ok())
            .map(|(name, _)| name)
            .collect();
        for result in results.into_iter().filter(Result::is_err) {
            objects::denied(result, "BW-TENANT-NAMESPACE")?;
        }
        ensure!(!applied.is_empty(), "none was accepted");
        let winner = eventually(SOON, "one has the namespace", async || {
            namespace_label(&client, &ns, TENANT_LABEL)
                .await?
                .context("no label yet")
        })
        .await?;
        condition(cluster, &winner, "Ready", "True", "AllApplied", SOON).await?;
        for name in applied.into_iter().filter(|it| **it != winner) {
            let message = condition(cluster, name, "Ready", "False", "NamespaceConflict", SOON).await?;
            ensure!(message.contains(&ns) && message.contains(&winner), "{message}");
        }
        // One after the other the webhook knows.
        let late = objects::create(&client, &tenant(&unique("late"), &[&ns], "")).await;
        objects::denied(late, "BW-TENANT-NAMESPACE")?;
        objects::create(&client, &tenant(&unique("late"), &[&unique("free")], "")).await?;
        Ok(())
    })
}

#[test]
fn a_namespace_that_another_tenant_has_is_reported_as_a_conflict() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (winner, loser) = (unique("winner"), unique("loser"));
        let (ns, free) = (unique("taken"), unique("free"));
        ready_tenant(cluster, &tenant(&winner, &[&ns], ""), SOON).await?;
        let of = async || {
            let objects = managed::objects(&client, &ns).await?;
            let versions = objects
                .into_iter()
                .map(|(key, it)| (key, it.metadata.resource_version));
            let labels = namespaces(&client).get(&ns).await?.metadata.labels;
            Ok::<_, anyhow::Error>((versions.collect::<BTreeMap<_, _>>(), labels))
        };
        let before = of().await?;
        // The webhook refuses it, so it comes by the one whom the webhook doesn't ask.
        let refused = objects::create(&client, &tenant(&loser, &[&ns, &free], "")).await;
        objects::denied(refused, "BW-TENANT-NAMESPACE")?;
        let unasked = cluster.client_as(OPERATOR, &["system:masters"])?;
        objects::create(&unasked, &tenant(&loser, &[&ns, &free], "")).await?;
        let message = condition(cluster, &loser, "Ready", "False", "NamespaceConflict", SOON).await?;
        ensure!(message.contains(&ns) && message.contains(&winner), "{message}");
        condition(cluster, &loser, "Stalled", "True", "NamespaceConflict", SOON).await?;
        condition(cluster, &winner, "Ready", "True", "AllApplied", SOON).await?;
        ensure!(of().await? == before, "the one that has it was disturbed");
        // It takes what is free all the same, and is right without the other.
        ensure!(namespace_label(&client, &free, TENANT_LABEL).await?.as_ref() == Some(&loser));
        let without = json!({ "spec": { "namespaces": { "declared": [{ "name": free }] } } });
        tenants(&client)
            .patch(&loser, &PatchParams::default(), &Patch::Merge(&without))
            .await?;
        condition(cluster, &loser, "Ready", "True", "AllApplied", SOON).await?;
        Ok(())
    })
}

#[test]
fn a_tenant_that_became_invalid_keeps_all_that_is_right() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let client = cluster.client();
        let (name, ns) = (unique("invalid"), unique("invalid-ns"));
        let access = "access: [{ clusterRole: edit, subjects: [{ kind: Group, name: devs }] }, { clusterRole: bailiwick-view, subjects: [{ kind: Group, name: devs }] }]";
        ready_tenant(cluster, &tenant(&name, &[&ns], access), SOON).await?;
        let (locks, doors) = locks_and_doors(&client, &ns).await?;
        ensure!(doors.len() == 3, "{doors:?}");
        bailiwick
            .upgrade(json!({ "config": { "bindableClusterRoles": ["bailiwick-admin", "bailiwick-view"] } }))
            .await?;
        let message = condition(cluster, &name, "Ready", "False", "Invalid", SOON).await?;
        ensure!(
            message.contains("spec.access[0].clusterRole") && message.contains("'edit'"),
            "{message}"
        );
        // Who may no longer enter doesn't, and the rest stays as it was, drift or not.
        let right: Vec<String> = doors.into_iter().filter(|it| it != "bailiwick:edit").collect();
        let as_is_right = async || {
            let now = locks_and_doors(&client, &ns).await?;
            ensure!(now == (locks.clone(), right.clone()), "{now:?}");
            Ok(())
        };
        eventually(SOON, "the forbidden role is taken back", as_is_right).await?;
        let exempt = cluster.client_as(OPERATOR, &["system:masters"])?;
        let policies: Api<NetworkPolicy> = Api::namespaced(exempt.clone(), &ns);
        let bindings: Api<RoleBinding> = Api::namespaced(exempt, &ns);
        let no_params = DeleteParams::default();
        policies.delete("bailiwick-default-deny", &no_params).await?;
        bindings.delete("bailiwick:bailiwick-view", &no_params).await?;
        eventually(SOON, "what was deleted is put back", as_is_right).await?;
        condition(cluster, &name, "Ready", "False", "Invalid", SOON).await?;
        // Its labels can still be changed, and it can be put right.
        let params = PatchParams::default();
        let label = json!({ "metadata": { "labels": { "team": "x" } } });
        tenants(&client)
            .patch(&name, &params, &Patch::Merge(&label))
            .await?;
        let right = json!({ "spec": { "access": [] } });
        tenants(&client)
            .patch(&name, &params, &Patch::Merge(&right))
            .await?;
        condition(cluster, &name, "Ready", "True", "AllApplied", SOON).await?;
        Ok(())
    })
}

//! Never more namespaces are open than there may be, however many are made at once.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, objects, wait::eventually};
use futures::future::join_all;
use k8s_openapi::api::{
    core::v1::{Event, Namespace, Pod, ResourceQuota},
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use super::{create, owner, plain, serving, taken, welcome};
use crate::{
    fixture::{SOON, on_own_cluster, on_shared_cluster, ready_tenant, unique},
    requests::{make_mutable, muted},
    steps::{MANAGED, TENANT_LABEL, condition, locks_and_doors, namespaces, tenants},
};

const AT_ONCE: usize = 30;
const MAX: usize = 3;

/// The tenant's namespaces, in the order in which they were made.
async fn made(client: &Client, tenant: &str) -> Result<Vec<Namespace>> {
    let labelled = ListParams::default().labels(&format!("{TENANT_LABEL}={tenant}"));
    let mut made = namespaces(client).list(&labelled).await?.items;
    made.sort_by_key(|it| {
        let metadata = &it.metadata;
        (
            metadata.creation_timestamp.as_ref().map(|it| it.0),
            metadata.name.clone(),
        )
    });
    Ok(made)
}

/// The tenant's namespaces in which there is a door, by one list.
async fn open(client: &Client, tenant: &str) -> Result<BTreeSet<String>> {
    let doors: Api<RoleBinding> = Api::all(client.clone());
    let ours = ListParams::default().labels(&format!("{MANAGED},{TENANT_LABEL}={tenant}"));
    let doors = doors.list(&ours).await?.items;
    Ok(doors.into_iter().filter_map(|it| it.metadata.namespace).collect())
}

/// Makes many at once, and looks all the while that no more are open than may be. Gives how many were made.
async fn flood(cluster: &Cluster, client: &Client, tenant: &str) -> Result<usize> {
    let admin = cluster.client();
    let all = (0..AT_ONCE).map(|i| {
        let name = format!("{tenant}-n{i:02}");
        async move { create(client, &name).await }
    });
    let flood = join_all(all);
    let mut flood = std::pin::pin!(flood);
    let results = loop {
        tokio::select! {
            results = &mut flood => break results,
            open = open(&admin, tenant) => {
                let open = open?;
                ensure!(open.len() <= MAX, "{open:?}");
            }
        }
    };
    let mut count = 0;
    for result in results {
        match result {
            Ok(_) => count += 1,
            refused => {
                objects::denied(refused, "BW-NS-SELFSERVICE")?;
            }
        }
    }
    Ok(count)
}

/// The first are taken, and no more are ever open. Of those that were made in the same second any may be: the operator takes what it
/// sees. Gives the names, those that are open first.
async fn the_first_are_open(cluster: &Cluster, tenant: &str) -> Result<Vec<String>> {
    let admin = cluster.client();
    let all = made(&admin, tenant).await?;
    let (open, closed) = eventually(SOON, "the first are taken", async || {
        let names = open(&admin, tenant).await?;
        ensure!(names.len() == MAX, "{names:?}");
        let is_open = |it: &&Namespace| it.metadata.name.as_ref().is_some_and(|it| names.contains(it));
        let (open, closed): (Vec<&Namespace>, Vec<&Namespace>) = all.iter().partition(is_open);
        let second = |it: &&Namespace| it.metadata.creation_timestamp.clone();
        let (last, next) = (
            open.iter().filter_map(second).max(),
            closed.iter().filter_map(second).min(),
        );
        ensure!(
            next.is_none() || last <= next,
            "{names:?}: {last:?} before {next:?}"
        );
        Ok((open, closed))
    })
    .await?;
    Ok(open
        .into_iter()
        .chain(closed)
        .filter_map(|it| it.metadata.name.clone())
        .collect())
}

#[test]
fn thirty_at_once_are_as_many_as_there_may_be() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        let name = unique("flood");
        ready_tenant(cluster, &serving(&name, 3, "", ""), SOON).await?;
        let owner = owner(cluster, &name)?;
        welcome(&owner, &format!("{name}-a")).await?;
        let count = flood(cluster, &owner, &name).await?;
        ensure!(count >= MAX, "{count}");
        let names = the_first_are_open(cluster, &name).await?;
        ensure!(names.len() == count, "{names:?}");
        // Now that all is known the next one is refused.
        eventually(SOON, "the webhook has counted", async || {
            objects::denied(create(&owner, &format!("{name}-last")).await, "BW-NS-SELFSERVICE").map(drop)
        })
        .await?;
        ensure!(
            namespaces(&admin)
                .get_opt(&format!("{name}-last"))
                .await?
                .is_none()
        );
        Ok(())
    })
}

/// As if the webhook had seen none of the others: the operator alone counts.
#[test]
#[allow(
    clippy::too_many_lines,
    reason = "one story, each step of which needs the one before"
)]
fn what_is_one_too_many_stays_closed_and_is_told_until_there_is_room() -> Result<()> {
    on_own_cluster(async |cluster, _| {
        let admin = cluster.client();
        let name = unique("race");
        ready_tenant(cluster, &serving(&name, 3, "", ""), SOON).await?;
        let mut groups = make_mutable(cluster, "ValidatingWebhookConfiguration").await?;
        groups = groups
            .iter()
            .map(|it| muted(it))
            .chain(["system:authenticated".to_owned()])
            .collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let unseen = cluster.client_as(&format!("{name}-owner"), &groups)?;
        welcome(&unseen, &format!("{name}-a")).await?;
        // A name that only the webhook refuses shows whether it is asked.
        let all = Api::<Namespace>::all(unseen.clone());
        eventually(SOON, "the webhook is not asked", async || {
            let dry = PostParams {
                dry_run: true,
                ..PostParams::default()
            };
            all.create(&dry, &plain(&json!({ "name": "unseen" }))).await?;
            Ok(())
        })
        .await?;
        let count = flood(cluster, &unseen, &name).await?;
        let names = the_first_are_open(cluster, &name).await?;
        ensure!(count == AT_ONCE && names.len() == AT_ONCE, "{count} {names:?}");

        let message = condition(
            cluster,
            &name,
            "NamespacesReady",
            "False",
            "NamespaceWaiting",
            SOON,
        )
        .await?;
        ensure!(message.contains("more than 3"), "{message}");
        let (open_one, closed, next) = match names.as_slice() {
            [first, _, _, fourth, .., last] => (first.clone(), last.clone(), fourth.clone()),
            _ => anyhow::bail!("{names:?}"),
        };
        eventually(SOON, "the last one is locked", async || {
            let (locks, doors) = locks_and_doors(&admin, &closed).await?;
            ensure!(
                locks == ["bailiwick-default-deny"] && doors.is_empty(),
                "{locks:?} {doors:?}"
            );
            let quotas: Api<ResourceQuota> = Api::namespaced(admin.clone(), &closed);
            let quota = quotas.get("bailiwick").await?;
            let hard = quota.spec.and_then(|it| it.hard).unwrap_or_default();
            ensure!(hard.get("pods").is_some_and(|it| it.0 == "0"), "{hard:?}");
            Ok(())
        })
        .await?;
        let events: Api<Event> = Api::all(admin.clone());
        eventually(SOON, "an event tells of it", async || {
            let all = events.list(&ListParams::default()).await?.items;
            let told = |it: &Event| {
                it.reason.as_deref() == Some("NamespaceWaiting")
                    && it.message.as_ref().is_some_and(|it| it.contains(&closed))
            };
            ensure!(all.iter().any(told), "{} events", all.len());
            Ok(())
        })
        .await?;
        // Nothing is made in it, by nobody, whatever their rights; in one that is taken the same passes.
        let pod: Pod = serde_json::from_value(
            json!({ "metadata": { "name": "p", "labels": { TENANT_LABEL: name } }, "spec": { "containers": [{ "name": "c", "image": "x" }] } }),
        )?;
        let account = |ns: &str| {
            format!(
                "{{ apiVersion: v1, kind: ServiceAccount, metadata: {{ name: default, namespace: {ns} }} }}"
            )
        };
        objects::apply(&admin, &account(&open_one)).await?;
        let robot = cluster.client_as(
            &format!("system:serviceaccount:{open_one}:default"),
            &["system:masters"],
        )?;
        for client in [&robot, &admin] {
            let dry = PostParams {
                dry_run: true,
                ..PostParams::default()
            };
            let of = |ns: &str| Api::<Pod>::namespaced(client.clone(), ns);
            objects::denied(of(&closed).create(&dry, &pod).await, "BW-NS-CLOSED")?;
            eventually(SOON, "it passes where it is taken", async || {
                Ok(of(&open_one).create(&dry, &pod).await.map(drop)?)
            })
            .await?;
        }
        let record = tenants(&admin).get(&name).await?.data["status"]["namespaces"].clone();
        ensure!(record.as_array().context("no record")?.len() == MAX, "{record}");

        // Room for one: the next one in order gets it, and opens.
        namespaces(&admin)
            .delete(&open_one, &DeleteParams::default())
            .await?;
        taken(cluster, &name, &next).await?;
        let (locks, _) = locks_and_doors(&admin, &next).await?;
        ensure!(locks.len() == 2, "{locks:?}");
        eventually(SOON, "its quota is that of the Tenant", async || {
            let quotas: Api<ResourceQuota> = Api::namespaced(admin.clone(), &next);
            ensure!(quotas.get_opt("bailiwick").await?.is_none(), "it has nothing yet");
            Ok(())
        })
        .await?;
        let open = open(&admin, &name).await?;
        ensure!(open.len() == MAX && open.contains(&next), "{open:?}");
        Ok(())
    })
}

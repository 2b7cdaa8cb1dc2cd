//! The quota of a whole tenant: nothing gets past it, and what is free is where it is needed.

mod burst;
mod headroom;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{cluster::Cluster, objects, wait::eventually};
use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    drift::unguarded,
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    steps::{TENANT_LABEL, condition, tenant, tenants},
};

const SLICE: &str = "bailiwick-tenant";
const MAPS: &str = "count/configmaps";

fn map(name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map
}

fn maps(client: &Client, namespace: &str) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), namespace)
}

async fn create_map(client: &Client, namespace: &str) -> Result<(), kube::Error> {
    let map = map(&unique("map"));
    let created = maps(client, namespace).create(&PostParams::default(), &map).await;
    created.map(drop)
}

/// Whether a creation was refused by the slice, and not by anything else.
fn is_exceeded(error: &kube::Error) -> bool {
    let wanted = format!("exceeded quota: {SLICE}");
    matches!(error, kube::Error::Api(it) if it.code == 403 && it.message.contains(&wanted))
}

fn exceeded<T>(result: Result<T, kube::Error>) -> Result<()> {
    match result {
        Ok(_) => bail!("it was admitted"),
        Err(error) if is_exceeded(&error) => Ok(()),
        Err(error) => Err(error).context("refused, but not by the slice"),
    }
}

/// The slices of a tenant, by namespace, as they are at one moment.
async fn slices(client: &Client, tenant: &str) -> Result<BTreeMap<String, ResourceQuota>> {
    let all: Api<ResourceQuota> = Api::all(client.clone());
    let ours = ListParams::default()
        .labels(&format!("{TENANT_LABEL}={tenant}"))
        .fields(&format!("metadata.name={SLICE}"));
    let slices = all.list(&ours).await?.items;
    Ok(slices
        .into_iter()
        .map(|it| (it.namespace().unwrap_or_default(), it))
        .collect())
}

/// What is enforced and what is used of a whole number.
fn enforced(slice: &ResourceQuota, resource: &str) -> (u64, u64) {
    let status = slice.status.clone().unwrap_or_default();
    let number = |list: Option<BTreeMap<String, _>>| {
        let found: Option<k8s_openapi::apimachinery::pkg::api::resource::Quantity> =
            list.and_then(|mut it| it.remove(resource));
        found.and_then(|it| it.0.parse().ok()).unwrap_or_default()
    };
    (number(status.hard), number(status.used))
}

fn total(slices: &BTreeMap<String, ResourceQuota>, resource: &str) -> (u64, u64) {
    slices
        .values()
        .map(|it| enforced(it, resource))
        .fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
}

async fn set_quota(cluster: &Cluster, tenant: &str, quota: Value) -> Result<()> {
    let patch = json!({ "spec": { "quota": quota } });
    let params = PatchParams::default();
    tenants(&cluster.client())
        .patch(tenant, &params, &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// Waits until Kubernetes put its own ConfigMap into a namespace, which counts as any other.
async fn has_root_ca(client: &Client, namespace: &str) -> Result<()> {
    eventually(SOON, "there is kube-root-ca.crt", async || {
        maps(client, namespace).get("kube-root-ca.crt").await?;
        Ok(())
    })
    .await
}

#[test]
fn over_use_stays_and_nothing_new_is_admitted() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (name, a, b) = (unique("overused"), unique("overused-ns"), unique("overused-ns"));
        ready_tenant(cluster, &tenant(&name, &[&a, &b], ""), SOON).await?;
        for (namespace, count) in [(&a, 5), (&b, 2)] {
            has_root_ca(&client, namespace).await?;
            for _ in 0..count {
                create_map(&client, namespace).await?;
            }
        }
        ensure!(
            slices(&client, &name).await?.is_empty(),
            "there are slices without a quota"
        );

        // 9 are there; 4 are allowed from now on.
        set_quota(cluster, &name, json!({ "tenant": { MAPS: 4 } })).await?;
        let said = condition(cluster, &name, "QuotaHealthy", "False", "OverUsed", SOON).await?;
        ensure!(said.contains("count/configmaps (9 of 4)"), "{said}");
        condition(cluster, &name, "Ready", "True", "AllApplied", SOON).await?;
        for namespace in [&a, &b] {
            exceeded(create_map(&client, namespace).await).with_context(|| namespace.clone())?;
        }
        let there = async || {
            let count = async |ns: &str| {
                Ok::<_, anyhow::Error>(maps(&client, ns).list(&ListParams::default()).await?.items.len())
            };
            Ok::<_, anyhow::Error>(count(&a).await? + count(&b).await?)
        };
        ensure!(there().await? == 9, "{}", there().await?);
        // What ends is not replaced.
        let some = maps(&client, &b).list(&ListParams::default()).await?.items;
        let some = some
            .into_iter()
            .find(|it| it.name_any() != "kube-root-ca.crt")
            .context("no map")?;
        maps(&client, &b)
            .delete(&some.name_any(), &DeleteParams::default())
            .await?;
        exceeded(create_map(&client, &b).await)?;
        let status = tenants(&client).get(&name).await?.data["status"]["quota"].clone();
        ensure!(status["hard"][MAPS] == "4", "{status}");

        // With a limit above it there is room again, in each namespace.
        set_quota(cluster, &name, json!({ "tenant": { MAPS: 14 } })).await?;
        for namespace in [&a, &b] {
            eventually(SOON, "there is room again", async || {
                Ok(create_map(&client, namespace).await?)
            })
            .await?;
        }
        condition(cluster, &name, "QuotaHealthy", "True", "AllApplied", SOON).await?;

        // Without a limit there are no slices.
        set_quota(cluster, &name, Value::Null).await?;
        eventually(SOON, "the slices are gone", async || {
            let left = slices(&client, &name).await?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(())
        })
        .await?;
        for _ in 0..10 {
            create_map(&client, &a).await?;
        }
        condition(cluster, &name, "QuotaHealthy", "True", "NotRequested", SOON).await?;
        let status = tenants(&client).get(&name).await?.data["status"]["quota"].clone();
        ensure!(status.is_null(), "{status}");
        Ok(())
    })
}

#[test]
fn a_namespace_that_goes_gives_back_what_it_had_and_a_new_one_gets_a_part() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (name, a, b, c) = (
            unique("moves"),
            unique("moves-ns"),
            unique("moves-ns"),
            unique("moves-ns"),
        );
        let quota = format!("quota: {{ tenant: {{ {MAPS}: 20 }} }}, deletionPolicy: Delete");
        ready_tenant(cluster, &tenant(&name, &[&a, &b], &quota), SOON).await?;
        eventually(SOON, "all of it is divided", async || {
            let now = total(&slices(&client, &name).await?, MAPS);
            ensure!(now.0 == 20, "{now:?}");
            Ok(())
        })
        .await?;
        // A new one gets its part; an old one, let go and deleted, keeps none.
        ready_tenant(cluster, &tenant(&name, &[&a, &c], &quota), SOON).await?;
        eventually(SOON, "the others have it", async || {
            let now = slices(&client, &name).await?;
            let has = |it| now.contains_key(it);
            ensure!(has(&a) && has(&c) && now.len() == 2, "{:?}", now.keys());
            let has_room = |it| {
                let (hard, used) = enforced(it, MAPS);
                hard > used
            };
            ensure!(now.values().all(has_room), "{now:?}");
            ensure!(total(&now, MAPS).0 <= 20, "{now:?}");
            Ok(())
        })
        .await?;
        has_root_ca(&client, &c).await?;
        // It is more than the first two namespaces left each other.
        for _ in 0..15 {
            eventually(SOON, "what the old one had is here", async || {
                Ok(create_map(&client, &c).await?)
            })
            .await?;
        }
        Ok(())
    })
}

#[test]
fn a_slice_that_was_changed_past_the_guards_is_put_back() -> Result<()> {
    unguarded(async |cluster, _| {
        let client = cluster.client();
        let (name, a, b) = (unique("tampered"), unique("tampered-ns"), unique("tampered-ns"));
        let quota = format!("quota: {{ tenant: {{ {MAPS}: 20 }} }}");
        ready_tenant(cluster, &tenant(&name, &[&a, &b], &quota), SOON).await?;
        let api: Api<ResourceQuota> = Api::namespaced(client.clone(), &a);
        let sound = async || {
            let now = slices(&client, &name).await?;
            ensure!(
                now.len() == 2 && now.values().all(|it| enforced(it, MAPS).0 > 0),
                "{now:?}"
            );
            ensure!(total(&now, MAPS).0 <= 20, "{now:?}");
            let slice = api.get(SLICE).await?;
            let hard = slice.spec.and_then(|it| it.hard).unwrap_or_default();
            let labels = slice.metadata.labels.unwrap_or_default();
            ensure!(hard.keys().eq([MAPS]) && labels.len() == 2, "{hard:?} {labels:?}");
            ensure!(labels.get(TENANT_LABEL) == Some(&name), "{labels:?}");
            Ok(())
        };
        eventually(SOON, "all of it is divided", &sound).await?;
        for change in [
            json!({ "spec": { "hard": { MAPS: "1000" } } }),
            json!({ "spec": { "hard": { "secrets": "1" } } }),
            json!({ "spec": { "hard": { MAPS: null, "secrets": "1" } } }),
            json!({ "metadata": { "labels": { "foreign": "x" } } }),
            json!({ "metadata": { "labels": { "bailiwick.dev/managed-by": null } } }),
            json!({ "metadata": { "labels": { TENANT_LABEL: null } } }),
        ] {
            let params = PatchParams::default();
            api.patch(SLICE, &params, &Patch::Merge(&change)).await?;
            eventually(SOON, &format!("{change} is put back"), &sound).await?;
        }
        api.delete(SLICE, &DeleteParams::default()).await?;
        eventually(SOON, "the slice is there again", &sound).await
    })
}

#[test]
fn nobody_else_touches_a_slice() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (name, ns) = (unique("slice"), unique("slice-ns"));
        let quota = format!("quota: {{ tenant: {{ {MAPS}: 20 }} }}");
        ready_tenant(cluster, &tenant(&name, &[&ns], &quota), SOON).await?;
        let api: Api<ResourceQuota> = Api::namespaced(client.clone(), &ns);
        let more = json!({ "spec": { "hard": { MAPS: "1000" } } });
        let patched = api
            .patch(SLICE, &PatchParams::default(), &Patch::Merge(&more))
            .await;
        objects::denied(patched, "BW-MANAGED")?;
        let patched = api
            .patch_status(
                SLICE,
                &PatchParams::default(),
                &Patch::Merge(&json!({ "status": { "hard": { MAPS: "1000" } } })),
            )
            .await;
        objects::denied(patched, "BW-MANAGED")?;
        objects::denied(api.delete(SLICE, &DeleteParams::default()).await, "BW-MANAGED")?;
        // The API server itself writes what is used, and so nothing is closed.
        has_root_ca(&client, &ns).await?;
        eventually(
            SOON,
            "there is room",
            async || Ok(create_map(&client, &ns).await?),
        )
        .await
    })
}

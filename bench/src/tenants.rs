//! A hundred Tenants with three namespaces each: from apply to all Ready, beside a bare client that writes the same
//! objects.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bailiwick_core::config::Config;
use bailiwick_core::plan::{Object, Stay, plan};
use bailiwick_core::validate::validate;
use bailiwick_crds::v1alpha1::Tenant;
use bailiwick_e2e::cluster::Cluster;
use bailiwick_e2e::install::Bailiwick;
use bailiwick_e2e::wait::eventually;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::figures::memory;

const TENANTS: usize = 100;
const PARALLEL: usize = 8;

fn tenant(i: usize, stem: &str) -> Value {
    let name = format!("{stem}-{i}");
    let declared: Vec<_> = (0..3).map(|j| json!({ "name": format!("{name}-{j}") })).collect();
    json!({
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name },
        "spec": {
            "owners": [{ "kind": "Group", "name": format!("oidc:{name}:admin") }],
            "namespaces": { "declared": declared },
            "quota": { "namespace": { "pods": "10" } },
        },
    })
}

/// The operator's user: the guards let nobody else write these objects.
const OPERATOR: &str = "system:serviceaccount:bailiwick-system:bailiwick-operator";

/// The same objects, labels and annotations included, by a client that knows them beforehand and reads nothing: what the
/// API server costs by itself. The operator runs beside it and keeps its index, as it does in the other half.
async fn bare(cluster: &Cluster, stem: &str) -> Result<Duration> {
    let client = cluster.client_as(OPERATOR, &["system:masters"])?;
    let mut namespaces: Vec<Vec<Value>> = Vec::new();
    for i in 0..TENANTS {
        let tenant: Tenant = serde_json::from_value(tenant(i, stem))?;
        let valid = validate(&tenant, &Config::default()).map_err(|it| anyhow::anyhow!("{it:?}"))?;
        let names: Vec<String> = valid.namespaces.keys().cloned().collect();
        let stays = names.iter().map(|it| (it.as_str(), Stay::Declared));
        for (name, plan) in plan(&valid, stays, &Config::default(), |_| true).namespaces {
            let metadata = json!({ "name": name, "labels": plan.labels });
            let mut objects = vec![json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata })];
            objects.extend(plan.locks.iter().chain(&plan.doors).map(Object::to_value));
            namespaces.push(objects);
        }
    }
    let begin = Instant::now();
    let work: Vec<_> = namespaces
        .into_iter()
        .map(|objects| {
            let client = client.clone();
            async move {
                for object in objects {
                    write(&client, object).await?;
                }
                Ok::<(), anyhow::Error>(())
            }
        })
        .collect();
    stream::iter(work)
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(begin.elapsed())
}

async fn write(client: &Client, object: Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let types = object.types.clone().context("an object without a kind")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply("bailiwick-bench").force();
    let name = object.name_any();
    let written = api.patch(&name, &params, &Patch::Apply(&object)).await;
    written
        .map(|_| ())
        .with_context(|| format!("{} {name}", types.kind))
}

async fn ours(cluster: &Cluster, stem: &str) -> Result<Duration> {
    let api: Api<Tenant> = Api::all(cluster.client());
    let begin = Instant::now();
    let params = PatchParams::apply("bench");
    let mut work = Vec::new();
    for i in 0..TENANTS {
        let (api, params) = (api.clone(), params.clone());
        let tenant = tenant(i, stem);
        work.push(async move {
            let name = tenant["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            api.patch(&name, &params, &Patch::Apply(&tenant))
                .await
                .map(|_| ())
        });
    }
    stream::iter(work)
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<()>>()
        .await?;
    let prefix = format!("{stem}-");
    eventually(Duration::from_mins(3), "all Tenants are Ready", async || {
        let tenants = api.list(&ListParams::default()).await?;
        let is_ready = |it: &Tenant| {
            it.status
                .iter()
                .flat_map(|it| &it.conditions)
                .any(|it| it.type_ == "Ready" && it.status == "True")
        };
        // Other Tenants, such as the one of the webhook's benchmark, don't count.
        let of_this_round = tenants.iter().filter(|it| it.name_any().starts_with(&prefix));
        let ready = of_this_round.filter(|it| is_ready(it)).count();
        ensure!(ready == TENANTS, "{ready} of {TENANTS}");
        Ok(())
    })
    .await?;
    Ok(begin.elapsed())
}

pub(crate) async fn run(cluster: &Cluster, bailiwick: &Bailiwick) -> Result<()> {
    let leader = bailiwick.leader().await?;
    println!(
        "  memory before: operator {}",
        memory(leader.pid().context("no process")?)?
    );
    // Each goes first once: what comes second finds a fuller cluster.
    for (round, bare_first) in [(1, true), (2, false)] {
        let (of_bare, of_ours) = (format!("bare-{round}"), format!("ours-{round}"));
        let (bare, ours) = if bare_first {
            let bare = bare(cluster, &of_bare).await?;
            (bare, ours(cluster, &of_ours).await?)
        } else {
            let ours = ours(cluster, &of_ours).await?;
            (bare(cluster, &of_bare).await?, ours)
        };
        println!(
            "  {TENANTS} tenants × 3 namespaces: Ready after {:.1} s; a bare client writes the same objects in {:.1} s, {}; ratio {:.2}",
            ours.as_secs_f64(),
            bare.as_secs_f64(),
            if bare_first { "before" } else { "after" },
            ours.as_secs_f64() / bare.as_secs_f64()
        );
    }
    println!(
        "  memory after: operator {}, webhook {}",
        memory(leader.pid().context("no process")?)?,
        memory(bailiwick.webhook(0)?.pid().context("no process")?)?
    );
    Ok(())
}

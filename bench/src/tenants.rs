//! A hundred Tenants with three namespaces each: from apply to all Ready, beside a bare client that writes the same
//! objects.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bailiwick_core::config::Config;
use bailiwick_core::plan::{Plan, Stay, plan};
use bailiwick_core::validate::validate;
use bailiwick_crds::v1alpha1::Tenant;
use bailiwick_e2e::cluster::Cluster;
use bailiwick_e2e::install::Bailiwick;
use bailiwick_e2e::objects;
use bailiwick_e2e::wait::eventually;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
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

/// The same objects by a client that knows them beforehand: what the API server costs by itself.
async fn bare(cluster: &Cluster) -> Result<Duration> {
    let client = cluster.client();
    let mut plans: Vec<(String, Plan)> = Vec::new();
    for i in 0..TENANTS {
        let tenant: Tenant = serde_json::from_value(tenant(i, "bare"))?;
        let valid = validate(&tenant, &Config::default()).map_err(|it| anyhow::anyhow!("{it:?}"))?;
        let names: Vec<String> = valid.namespaces.keys().cloned().collect();
        let stays = names.iter().map(|it| (it.as_str(), Stay::Declared));
        plans.push((
            valid.name.clone(),
            plan(&valid, stays, &Config::default(), |_| true),
        ));
    }
    let begin = Instant::now();
    let namespaces = plans.iter().flat_map(|(_, plan)| &plan.namespaces);
    let work: Vec<_> = namespaces
        .map(|(name, plan)| {
            let mut yaml =
                vec![json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })];
            yaml.extend(plan.locks.iter().chain(&plan.doors).map(|it| {
                // Without our labels: the guard would refuse them to this client.
                let mut value = it.to_value();
                value["metadata"] = json!({ "name": it.name(), "namespace": name });
                value
            }));
            let client = client.clone();
            async move {
                for object in yaml {
                    objects::apply(&client, &object.to_string()).await?;
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

async fn ours(cluster: &Cluster) -> Result<Duration> {
    let api: Api<Tenant> = Api::all(cluster.client());
    let begin = Instant::now();
    let params = PatchParams::apply("bench");
    let mut work = Vec::new();
    for i in 0..TENANTS {
        let (api, params) = (api.clone(), params.clone());
        let tenant = tenant(i, "bench");
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
    eventually(Duration::from_mins(3), "all Tenants are Ready", async || {
        let tenants = api.list(&ListParams::default()).await?;
        let is_ready = |it: &Tenant| {
            it.status
                .iter()
                .flat_map(|it| &it.conditions)
                .any(|it| it.type_ == "Ready" && it.status == "True")
        };
        let ready = tenants.iter().filter(|it| is_ready(it)).count();
        ensure!(ready >= TENANTS, "{ready} of {TENANTS}");
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
    let bare = bare(cluster).await?;
    let ours = ours(cluster).await?;
    println!(
        "  {TENANTS} tenants × 3 namespaces: Ready after {:.1} s; a bare client writes the same objects in {:.1} s; ratio {:.2}",
        ours.as_secs_f64(),
        bare.as_secs_f64(),
        ours.as_secs_f64() / bare.as_secs_f64()
    );
    println!(
        "  memory after: operator {}, webhook {}",
        memory(leader.pid().context("no process")?)?,
        memory(bailiwick.webhook(0)?.pid().context("no process")?)?
    );
    Ok(())
}

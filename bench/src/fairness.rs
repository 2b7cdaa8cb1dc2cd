//! What one tenant's flood costs another's requests: with both in a tier, and with neither, as without Bailiwick.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bailiwick_e2e::cluster::Cluster;
use bailiwick_e2e::objects;
use bailiwick_e2e::wait::eventually;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::flowcontrol::v1::FlowSchema;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::json;

use crate::figures::percentile;

/// Clients that list at a time, over and over; one that is refused waits as long as the API server asks.
const FLOOD: usize = 150;
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Requests of the other tenant, one after the other.
const REQUESTS: usize = 200;
const SOON: Duration = Duration::from_mins(1);

/// A tenant's namespace with something to list, as its owner sees it.
async fn tenant(cluster: &Cluster, name: &str, tier: Option<&str>) -> Result<Api<ConfigMap>> {
    let priority = tier
        .map(|it| format!(", priority: {{ tier: {it} }}"))
        .unwrap_or_default();
    let text = format!(
        "{{ apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: {{ name: {name} }}, spec: {{ owners: [{{ kind: User, name: {name}-owner }}], namespaces: {{ declared: [{{ name: {name} }}] }}{priority} }} }}"
    );
    objects::apply(&cluster.client(), &text).await?;
    let owner = cluster.client_as(&format!("{name}-owner"), &["system:authenticated"])?;
    let maps: Api<ConfigMap> = Api::namespaced(owner, name);
    eventually(SOON, "the owner may list", async || {
        Ok(maps.list(&ListParams::default()).await?)
    })
    .await?;
    let map = json!({ "metadata": { "name": "large" }, "data": { "text": "x".repeat(200_000) } });
    maps.create(&PostParams::default(), &serde_json::from_value(map)?)
        .await?;
    if tier.is_some() {
        let schemas: Api<FlowSchema> = Api::all(cluster.client());
        let schema = format!("bailiwick-tenant-{name}");
        eventually(SOON, "the FlowSchema is there", async || {
            Ok(schemas.get(&schema).await?)
        })
        .await?;
    }
    Ok(maps)
}

/// Times of the requests of one tenant, sorted; none may be refused.
async fn times(maps: &Api<ConfigMap>) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..REQUESTS {
        let begin = Instant::now();
        maps.list(&ListParams::default())
            .await
            .context("the tenant that floods nobody")?;
        times.push(begin.elapsed());
    }
    times.sort();
    Ok(times)
}

/// The same while another tenant floods; and what that one met: answers and refusals.
async fn beside(flood: &Api<ConfigMap>, calm: &Api<ConfigMap>) -> Result<(Vec<Duration>, usize, usize)> {
    let (stop, answered, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let flooding = futures::stream::iter(0..FLOOD).for_each_concurrent(FLOOD, async |_| {
        while !stop.load(Ordering::Relaxed) {
            if flood.list(&ListParams::default()).await.is_ok() {
                answered.fetch_add(1, Ordering::Relaxed);
            } else {
                refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    });
    let measured = async {
        let all_begun = eventually(SOON, "the flood has begun", async || {
            let met = answered.load(Ordering::Relaxed) + refused.load(Ordering::Relaxed);
            ensure!(met >= FLOOD, "{met} requests");
            Ok(())
        });
        let measured = match all_begun.await {
            Ok(()) => times(calm).await,
            Err(error) => Err(error),
        };
        stop.store(true, Ordering::Relaxed);
        measured
    };
    let ((), measured) = tokio::join!(flooding, measured);
    Ok((measured?, answered.into_inner(), refused.into_inner()))
}

pub(crate) async fn run(cluster: &Cluster) -> Result<()> {
    for (what, tier) in [("without a tier", None), ("both bronze", Some("bronze"))] {
        let [flood, calm] = ["flood", "calm"].map(|it| format!("{it}-{}", tier.unwrap_or("none")));
        let flood = tenant(cluster, &flood, tier).await?;
        let calm = tenant(cluster, &calm, tier).await?;
        let alone = times(&calm).await?;
        let (flooded, answered, refused) = beside(&flood, &calm).await?;
        let shown = |times: &[Duration]| {
            let at = |percent| percentile(times, percent).as_secs_f64() * 1e3;
            format!("P50 {:.1} ms, P99 {:.1} ms", at(50), at(99))
        };
        println!(
            "  {what}: alone {}; beside {FLOOD} clients of another tenant {}, {:.0} times at P50; of theirs {answered} answered, {refused} refused",
            shown(&alone),
            shown(&flooded),
            percentile(&flooded, 50).as_secs_f64() / percentile(&alone, 50).as_secs_f64()
        );
    }
    Ok(())
}

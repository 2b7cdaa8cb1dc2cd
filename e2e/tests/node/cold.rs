//! A power cut, and everything comes up again from its data: also the webhook, whose own Pods nobody may need it for.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, install::NAMESPACE, node::Node, wait::eventually};
use jiff::Timestamp;
use serde_json::Value;

use crate::site::{
    SOON, apply, as_shop, bailiwick_is_ready, get, pod, rolled_out, tenant_is_ready, webhook_decides,
};

/// When each container of two namespaces was started.
async fn starts(cluster: &Cluster) -> Result<BTreeMap<String, Timestamp>> {
    let mut starts = BTreeMap::new();
    for (namespace, selector) in [
        (NAMESPACE, "app.kubernetes.io/name=bailiwick"),
        ("shop-prod", "app=web"),
    ] {
        let pods = get(cluster, &["pods", "-n", namespace, "-l", selector]).await?;
        for pod in pods["items"].as_array().context("no list")? {
            let status = &pod["status"]["containerStatuses"][0];
            let name = pod["metadata"]["name"].as_str().context("no name")?;
            let started = status["state"]["running"]["startedAt"].as_str();
            let started = started.with_context(|| format!("{name} doesn't run: {status}"))?;
            starts.insert(name.to_owned(), started.parse()?);
        }
    }
    Ok(starts)
}

async fn lease(cluster: &Cluster) -> Result<Timestamp> {
    let lease = get(cluster, &["lease", "-n", "kube-node-lease", "bailiwick-node"]).await?;
    let time = lease["spec"]["renewTime"].as_str().context("never renewed")?;
    Ok(time.parse()?)
}

async fn identity(cluster: &Cluster) -> Result<(Value, Value)> {
    let tenant = get(cluster, &["tenant", "shop"]).await?;
    Ok((tenant["spec"].clone(), tenant["metadata"]["uid"].clone()))
}

pub(crate) async fn cold_start(node: &mut Node) -> Result<()> {
    let before = identity(node.cluster()).await?;
    let ran = starts(node.cluster()).await?;
    ensure!(ran.len() == 6, "{ran:?}");
    let (cut, begin) = (Timestamp::now(), Instant::now());
    node.power_cycle().await?;
    let ready = begin.elapsed();
    let cluster = node.cluster();
    // What the data say is of before: only what is newer than the cut counts.
    eventually(2 * SOON, "every container was started again", async || {
        for (name, started) in starts(cluster).await? {
            ensure!(
                started >= cut - jiff::SignedDuration::from_secs(1),
                "{name} ran since {started}"
            );
        }
        ensure!(lease(cluster).await? > cut, "the node's lease is of before");
        Ok(())
    })
    .await?;
    eventually(2 * SOON, "Bailiwick is up again", async || {
        bailiwick_is_ready(cluster).await?;
        webhook_decides(cluster).await
    })
    .await?;
    eprintln!(
        "after a power cut the node was Ready after {ready:.1?}, and the webhook decided after {:.1?}",
        begin.elapsed()
    );
    webhook_decides(cluster).await?;
    rolled_out(cluster, "shop-prod", "web").await?;
    tenant_is_ready(cluster, "shop").await?;
    ensure!(identity(cluster).await? == before, "another shop came up");

    apply(
        cluster,
        "{ apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: { name: late }, spec: { namespaces: { declared: [{ name: late-prod }] } } }",
    )
    .await?;
    tenant_is_ready(cluster, "late").await?;
    as_shop(cluster, &["apply", "-f", "-"], &pod("after", ""))
        .await?
        .ok()?;
    let forged = pod("forged", "labels: { bailiwick.dev/tenant: late },");
    let refused = as_shop(cluster, &["apply", "-f", "-"], &forged).await?;
    ensure!(
        !refused.success() && refused.to_string().contains("BW-POD-LABEL"),
        "{refused}"
    );
    eventually(SOON, "a new Pod of the shop runs", async || {
        let pod = get(cluster, &["pod", "-n", "shop-prod", "after"]).await?;
        let label = &pod["metadata"]["labels"]["bailiwick.dev/tenant"];
        ensure!(pod["status"]["phase"] == "Running" && label == "shop", "{pod}");
        Ok(())
    })
    .await
}

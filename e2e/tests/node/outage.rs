//! The webhook's Pods come and go: nothing that it has to refuse passes meanwhile.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{
    cluster::Cluster,
    install::{NAMESPACE, RELEASE},
    node::Node,
    supervisor::{Signal, signals},
    wait::{eventually, throughout},
};
use serde_json::Value;

use crate::{
    load::under_requests,
    processes,
    site::{SOON, bailiwick_is_ready, get, kubectl, rolled_out, webhook_decides},
};

/// The rate of the reviews while the webhook is rolled out.
const REVIEWS_PER_SECOND: u32 = 100;
/// How long reviews may be lost after a crash: until the Service no longer names the dead Pod, or it serves again.
const LOSSES: Duration = Duration::from_secs(15);

/// The names of the webhook's Pods, those that are ending included.
pub(crate) async fn webhook_pods(cluster: &Cluster) -> Result<Vec<String>> {
    let selector = "app.kubernetes.io/component=webhook";
    let pods = get(cluster, &["pods", "-n", NAMESPACE, "-l", selector]).await?;
    let items = pods["items"].as_array().context("no list")?;
    let names = items.iter().filter_map(|it| it["metadata"]["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

async fn a_webhook_pod(cluster: &Cluster) -> Result<String> {
    webhook_pods(cluster).await?.pop().context("no Pod")
}

pub(crate) async fn rolling_update(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let old = webhook_pods(cluster).await?;
    let tally = under_requests(cluster, REVIEWS_PER_SECOND, async |_| {
        let webhook = format!("deployment/{RELEASE}-webhook");
        kubectl(cluster, &["rollout", "restart", "-n", NAMESPACE, &webhook]).await?;
        bailiwick_is_ready(cluster).await?;
        // They serve on for a while after they were told to end.
        eventually(SOON, "the last old Pod is gone", async || {
            let now = webhook_pods(cluster).await?;
            ensure!(now.iter().all(|it| !old.contains(it)), "{now:?}");
            Ok(())
        })
        .await
    })
    .await?;
    let summary = tally.summary()?;
    let rate = f64::from(u32::try_from(tally.decided())?) / tally.elapsed().as_secs_f64();
    eprintln!("a rolling update under {rate:.0} reviews a second: {summary}");
    ensure!(tally.undecided().is_empty(), "{summary}");
    // The last ones are still on their way, and a slow machine sends fewer: half of them show a lost one just as well.
    ensure!(
        rate > 0.5 * f64::from(REVIEWS_PER_SECOND),
        "only {rate:.0} reviews a second: {summary}"
    );
    Ok(())
}

/// The first container's status of a Pod of Bailiwick.
async fn container(cluster: &Cluster, pod: &str) -> Result<Value> {
    let pod = get(cluster, &["pod", "-n", NAMESPACE, pod]).await?;
    Ok(pod["status"]["containerStatuses"][0].clone())
}

/// The process of the webhook in a Pod, found by the name that the chart tells it.
fn process_of(cluster: &Cluster, pod: &str) -> Result<u32> {
    let slot = cluster.slot().number();
    let name = format!("POD_NAME={pod}");
    let found = processes::of_node(slot)?.into_iter().find(|it| {
        it.command.starts_with("/bailiwick-webhook")
            && it.is_in_container_of(slot)
            && it.file("environ").split('\0').any(|it| it == name)
    });
    Ok(found.with_context(|| format!("no process of {pod}"))?.pid)
}

pub(crate) async fn killed_pod(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let victim = a_webhook_pod(cluster).await?;
    let before = container(cluster, &victim).await?["restartCount"].as_i64();
    let mut killed = Duration::ZERO;
    let tally = under_requests(cluster, 50, async |tally| {
        killed = tally.elapsed();
        signals::send(Signal::Kill, &[process_of(cluster, &victim)?])?;
        eventually(SOON, "the killed webhook runs again", async || {
            let now = container(cluster, &victim).await?;
            ensure!(
                now["restartCount"].as_i64() > before && now["ready"] == true,
                "{now}"
            );
            Ok(())
        })
        .await?;
        let killed_since = || tally.elapsed().saturating_sub(killed);
        eventually(
            2 * SOON,
            "the time in which reviews may be lost is over",
            async || {
                ensure!(killed_since() > LOSSES + Duration::from_secs(5), "not yet");
                Ok(())
            },
        )
        .await
    })
    .await?;
    let summary = tally.summary()?;
    eprintln!("around a killed webhook: {summary}");
    let late: Vec<_> = tally.undecided();
    let late: Vec<_> = late.iter().filter(|(at, _)| *at > killed + LOSSES).collect();
    ensure!(late.is_empty(), "lost long after the crash: {late:?}; {summary}");
    ensure!(
        tally.decided() > 2 * tally.undecided().len(),
        "the other replica didn't take over: {summary}"
    );
    Ok(())
}

pub(crate) async fn hung_pod(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let victim = a_webhook_pod(cluster).await?;
    let before = container(cluster, &victim).await?["restartCount"]
        .as_i64()
        .context("no count")?;
    signals::send(Signal::Stop, &[process_of(cluster, &victim)?])?;
    eventually(SOON, "the readiness probe takes the hung Pod out", async || {
        let status = container(cluster, &victim).await?;
        ensure!(status["ready"] == false, "{status}");
        Ok(())
    })
    .await?;
    // The Service learns of it a moment later.
    eventually(SOON, "the other replica decides", async || {
        webhook_decides(cluster).await
    })
    .await?;
    throughout(Duration::from_secs(3), "the other replica decides", async || {
        webhook_decides(cluster).await
    })
    .await?;
    eventually(2 * SOON, "the liveness probe restarts the hung Pod", async || {
        let status = container(cluster, &victim).await?;
        ensure!(
            status["restartCount"].as_i64() > Some(before) && status["ready"] == true,
            "{status}"
        );
        Ok(())
    })
    .await
}

/// With one node the evicted Pods have no place to go: the budgets keep one of each until they have.
pub(crate) async fn drain(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let result = drained(cluster).await;
    // Whatever came of it, the tests after this one want the node.
    kubectl(cluster, &["uncordon", "bailiwick-node"]).await?;
    result?;
    bailiwick_is_ready(cluster).await?;
    rolled_out(cluster, "shop-prod", "web").await
}

async fn drained(cluster: &Cluster) -> Result<()> {
    let mut drain = vec!["drain", "bailiwick-node", "--ignore-daemonsets", "--force"];
    drain.extend(["--delete-emptydir-data", "--timeout=20s"]);
    let drained = cluster.kubectl(&drain).await?;
    ensure!(
        !drained.success() && drained.to_string().contains("disruption budget"),
        "the budgets kept nothing: {drained}"
    );
    webhook_decides(cluster).await.context("during the drain")?;
    for component in ["operator", "webhook"] {
        let selector = format!("app.kubernetes.io/component={component}");
        let pods = get(cluster, &["pods", "-n", NAMESPACE, "-l", &selector]).await?;
        let running = pods["items"].as_array().into_iter().flatten();
        let running = running
            .filter(|it| it["status"]["phase"] == "Running" && it["metadata"]["deletionTimestamp"].is_null());
        ensure!(running.count() == 1, "{component}: {pods}");
    }
    // Without a budget a tenant's Pods go, and with one theirs counts, too.
    let pods = get(cluster, &["pods", "-n", "shop-prod"]).await?;
    let items = pods["items"].as_array().context("no list")?;
    let here = items.iter().filter(|it| {
        !it["spec"]["nodeName"].is_null()
            && it["metadata"]["deletionTimestamp"].is_null()
            && it["status"]["phase"] == "Running"
    });
    let names: Vec<_> = here.filter_map(|it| it["metadata"]["name"].as_str()).collect();
    ensure!(names == ["tokens"], "{names:?} are still on the node");
    Ok(())
}

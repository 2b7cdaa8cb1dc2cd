//! The webhook's Pods come and go: nothing that it has to refuse passes meanwhile.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{
    cluster::Cluster,
    install::{NAMESPACE, RELEASE},
    node::Node,
    objects,
    supervisor::{Signal, signals},
    wait::eventually,
};
use kube::api::PostParams;
use tokio::time::{MissedTickBehavior, interval};

use crate::site::{
    CONFLICT, CONFLICT_RULE, SOON, bailiwick_is_ready, get, kubectl, lives_of_the_shop, rolled_out,
    tenant_is_ready, webhook_decides,
};

/// What became of requests that the webhook has to refuse.
#[derive(Debug, Default)]
struct Tally {
    /// Refused by the rule.
    refused: AtomicUsize,
    /// Refused because nobody could decide: safe, and seen by users.
    undecided: AtomicUsize,
    /// Let through.
    allowed: AtomicUsize,
}

impl Tally {
    fn counts(&self) -> [usize; 3] {
        [&self.refused, &self.undecided, &self.allowed].map(|it| it.load(Ordering::Relaxed))
    }
}

/// How many send at a time.
const SENDERS: u32 = 10;

/// Sends so many requests a second, each of which the webhook has to refuse, until `meanwhile` is done.
async fn under_requests(
    cluster: &Cluster,
    per_second: u32,
    meanwhile: impl Future<Output = Result<()>>,
) -> Result<Tally> {
    let client = cluster.client();
    let tenant = objects::parse(CONFLICT)?.pop().context("no document")?;
    let api = objects::api_of(&client, &tenant).await?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let tally = Tally::default();
    let one = async || {
        let counter = match api.create(&params, &tenant).await {
            Ok(_) => &tally.allowed,
            Err(kube::Error::Api(status)) if status.message.contains(CONFLICT_RULE) => &tally.refused,
            Err(_) => &tally.undecided,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    };
    let sender = async || {
        let mut ticks = interval(Duration::from_secs(1) * SENDERS / per_second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            ticks.tick().await;
            one().await;
        }
    };
    let senders = futures::future::join_all((0..SENDERS).map(|_| sender()));
    tokio::select! {
        result = meanwhile => result?,
        _ = senders => bail!("the senders ended"),
    }
    Ok(tally)
}

pub(crate) async fn rolling_update(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let begin = Instant::now();
    let tally = under_requests(cluster, 100, async {
        let webhook = format!("deployment/{RELEASE}-webhook");
        kubectl(cluster, &["rollout", "restart", "-n", NAMESPACE, &webhook]).await?;
        bailiwick_is_ready(cluster).await
    })
    .await?;
    let [refused, undecided, allowed] = tally.counts();
    let rate = f64::from(u32::try_from(refused)?) / begin.elapsed().as_secs_f64();
    eprintln!(
        "{refused} reviews during a rolling update, {rate:.0} a second, {undecided} undecided, {allowed} let through"
    );
    ensure!(
        undecided == 0 && allowed == 0,
        "{undecided} undecided, {allowed} let through, {refused} refused"
    );
    ensure!(rate > 90.0, "only {rate:.0} reviews a second");
    Ok(())
}

async fn a_webhook_pod(cluster: &Cluster) -> Result<String> {
    let pods = get(
        cluster,
        &[
            "pods",
            "-n",
            NAMESPACE,
            "-l",
            "app.kubernetes.io/component=webhook",
        ],
    )
    .await?;
    let name = pods["items"][0]["metadata"]["name"].as_str().context("no Pod")?;
    Ok(name.to_owned())
}

pub(crate) async fn killed_pod(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let victim = a_webhook_pod(cluster).await?;
    let tally = under_requests(cluster, 50, async {
        kubectl(
            cluster,
            &[
                "delete",
                "pod",
                "-n",
                NAMESPACE,
                &victim,
                "--grace-period=0",
                "--force",
            ],
        )
        .await?;
        bailiwick_is_ready(cluster).await
    })
    .await?;
    let [refused, undecided, allowed] = tally.counts();
    eprintln!("{refused} reviews around a killed Pod, {undecided} undecided, {allowed} let through");
    ensure!(allowed == 0, "{allowed} let through");
    ensure!(
        refused > undecided,
        "{undecided} undecided, {refused} refused: the other replica didn't take over"
    );
    webhook_decides(cluster).await
}

/// The process of a container, found by the host name that the kubelet gave it.
fn process_of(pod: &str) -> Result<u32> {
    for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let is_it = || {
            read("environ")
                .split('\0')
                .any(|it| it == format!("POD_NAME={pod}"))
        };
        if read("cmdline").starts_with("/bailiwick-webhook") && is_it() {
            return entry
                .file_name()
                .to_str()
                .and_then(|it| it.parse().ok())
                .context("not a number");
        }
    }
    bail!("no process of {pod}")
}

pub(crate) async fn hung_pod(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let victim = a_webhook_pod(cluster).await?;
    signals::send(Signal::Stop, &[process_of(&victim)?])?;
    let status = async || -> Result<serde_json::Value> {
        let pod = get(cluster, &["pod", "-n", NAMESPACE, &victim]).await?;
        Ok(pod["status"]["containerStatuses"][0].clone())
    };
    eventually(SOON, "the readiness probe takes the hung Pod out", async || {
        let status = status().await?;
        ensure!(status["ready"] == false, "{status}");
        Ok(())
    })
    .await?;
    webhook_decides(cluster).await.context("with one replica hung")?;
    eventually(2 * SOON, "the liveness probe restarts the hung Pod", async || {
        let status = status().await?;
        ensure!(status["restartCount"] == 1 && status["ready"] == true, "{status}");
        Ok(())
    })
    .await
}

/// With one node the evicted Pods have no place to go: the budgets keep one of each until they have.
pub(crate) async fn drain(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let selector = "--pod-selector=app.kubernetes.io/name=bailiwick";
    let drained = cluster
        .kubectl(&[
            "drain",
            "bailiwick-node",
            "--ignore-daemonsets",
            selector,
            "--timeout=15s",
        ])
        .await?;
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
    kubectl(cluster, &["uncordon", "bailiwick-node"]).await?;
    bailiwick_is_ready(cluster).await?;
    lives_of_the_shop(cluster).await.map(drop)
}

/// A power cut, and everything comes up again from its data: also the webhook, whose own Pods nobody may need it for.
pub(crate) async fn cold_start(node: &mut Node) -> Result<()> {
    let before = get(node.cluster(), &["tenant", "shop"]).await?;
    node.power_cycle().await?;
    let cluster = node.cluster();
    let begin = Instant::now();
    eventually(2 * SOON, "Bailiwick is up again", async || {
        bailiwick_is_ready(cluster).await?;
        webhook_decides(cluster).await
    })
    .await?;
    eprintln!(
        "the webhook decides {:.1?} after the node was Ready again",
        begin.elapsed()
    );
    rolled_out(cluster, "shop-prod", "web").await?;
    tenant_is_ready(cluster, "shop").await?;
    let after = get(cluster, &["tenant", "shop"]).await?;
    ensure!(after["spec"] == before["spec"] && after["metadata"]["uid"] == before["metadata"]["uid"]);
    Ok(())
}

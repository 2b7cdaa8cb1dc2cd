//! The webhook beside a server that reads the same body and does nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::routing::post;
use bailiwick_e2e::cluster::Cluster;
use bailiwick_e2e::install::Bailiwick;
use bailiwick_e2e::objects;
use bailiwick_e2e::wait::eventually;
use bailiwick_runtime::serve;
use bailiwick_runtime::tls::{HotLeaf, Leaf, server_config};
use bytes::Bytes;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use tokio_util::sync::CancellationToken;

use crate::decision::review_body;
use crate::figures::resident;
use crate::load::{Shape, round};

const PERIOD: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;

/// The floor: reads the body, answers a constant. The same TLS, the same server code, in this process.
async fn floor(secret: &Secret, stop: CancellationToken) -> Result<SocketAddr> {
    let data = secret.data.as_ref().context("an empty Secret")?;
    let read = |key: &str| {
        data.get(key)
            .map(|it| it.0.clone())
            .context("an incomplete Secret")
    };
    let leaf = Arc::new(HotLeaf::default());
    leaf.set(&Leaf::from_pem(
        &read("tls.crt")?,
        &read("tls.key")?,
        Timestamp::now().as_second(),
    )?);
    let address: SocketAddr = "127.0.0.1:20999".parse()?;
    let answer = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","allowed":true}}"#;
    let router = Router::new().route("/validate", post(move |_: Bytes| async move { answer }));
    let tls = Arc::new(server_config(leaf)?);
    tokio::spawn(serve::serve(address, tls, router, stop));
    eventually(Duration::from_secs(10), "the floor serves", async || {
        tokio::net::TcpStream::connect(address).await?;
        Ok(())
    })
    .await?;
    Ok(address)
}

pub(crate) async fn run(cluster: &Cluster, bailiwick: &Bailiwick) -> Result<()> {
    let client = cluster.client();
    let tenant = "{ apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: { name: bench }, spec: { namespaces: { declared: [{ name: bench-ns }] } } }";
    objects::apply(&client, tenant).await?;
    eventually(Duration::from_secs(30), "the namespace is there", async || {
        Api::<Namespace>::all(client.clone()).get("bench-ns").await?;
        Ok(())
    })
    .await?;
    let secret = Api::<Secret>::namespaced(client, "bailiwick-system")
        .get("bailiwick-webhook-tls")
        .await?;
    let ca = secret
        .data
        .as_ref()
        .and_then(|it| it.get("ca.crt"))
        .context("no ca.crt")?
        .0
        .clone();
    let stop = CancellationToken::new();
    let floor = floor(&secret, stop.clone()).await?;
    let replica = bailiwick.webhook(0)?;
    let webhook = SocketAddr::new(replica.address().into(), 9443);
    let body = Bytes::from(review_body("bench-ns", "bench"));
    println!(
        "  memory at rest: webhook {:.1} MiB",
        resident(replica.pid().context("no process")?)?
    );
    for (connections, streams) in [(1, 1), (8, 1), (4, 8)] {
        let shape = Shape { connections, streams };
        let mut ratios = Vec::new();
        let mut figures = Vec::new();
        for _ in 0..ROUNDS {
            let base = round(floor, &ca, &body, "\"allowed\":true", shape, PERIOD).await?;
            let ours = round(webhook, &ca, &body, "\"allowed\":true", shape, PERIOD).await?;
            ratios.push(ours.per_second / base.per_second);
            figures.push((base, ours));
        }
        ratios.sort_by(f64::total_cmp);
        figures.sort_by(|a, b| a.1.per_second.total_cmp(&b.1.per_second));
        let (base, ours) = figures.get(ROUNDS / 2).context("no rounds")?;
        println!(
            "  {connections} connections × {streams} streams: {:.0} requests/s, P50 {:.2} ms, P99 {:.2} ms; floor {:.0}/s, {:.2}, {:.2}; ratio {:.2} [{:.2}–{:.2}]",
            ours.per_second,
            ours.p50.as_secs_f64() * 1e3,
            ours.p99.as_secs_f64() * 1e3,
            base.per_second,
            base.p50.as_secs_f64() * 1e3,
            base.p99.as_secs_f64() * 1e3,
            ratios.get(ROUNDS / 2).copied().unwrap_or_default(),
            ratios.first().copied().unwrap_or_default(),
            ratios.last().copied().unwrap_or_default(),
        );
    }
    println!(
        "  memory after that: webhook {:.1} MiB",
        resident(replica.pid().context("no process")?)?
    );
    stop.cancel();
    Ok(())
}

//! The webhook beside a server that reads the same body and does nothing.

use std::net::SocketAddr;
use std::path::Path;
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
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::decision::review_body;
use crate::figures::memory;
use crate::load::{Shape, round};
use crate::policies;

const PERIOD: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;

/// Where the floor listens, and the argument that makes this program the floor.
const FLOOR: &str = "127.0.0.1:20999";
pub(crate) const FLOOR_ARGUMENT: &str = "floor";

/// The floor: reads the body, answers a constant. The same TLS and the same server code as the webhook, and like it a
/// process of its own. Its certificate and key are the two files.
pub(crate) async fn serve_floor(certificate: &str, key: &str) -> Result<()> {
    let read = |path: &str| std::fs::read(path).with_context(|| format!("read {path}"));
    let leaf = Arc::new(HotLeaf::default());
    leaf.set(&Leaf::from_pem(
        &read(certificate)?,
        &read(key)?,
        Timestamp::now().as_second(),
    )?);
    let answer = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","allowed":true}}"#;
    let router = Router::new().route("/validate", post(move |_: Bytes| async move { answer }));
    let tls = Arc::new(server_config(leaf)?);
    serve::serve(FLOOR.parse()?, tls, router, CancellationToken::new()).await
}

/// This program once more, as the floor; it ends with the value.
async fn start_floor(secret: &Secret, directory: &Path) -> Result<(Child, SocketAddr)> {
    let mut paths = Vec::new();
    for key in ["tls.crt", "tls.key"] {
        let content = secret.data.as_ref().and_then(|it| it.get(key));
        let path = directory.join(key);
        std::fs::write(&path, &content.with_context(|| format!("no {key}"))?.0)?;
        paths.push(path);
    }
    let child = Command::new(std::env::current_exe()?)
        .arg(FLOOR_ARGUMENT)
        .args(paths)
        .kill_on_drop(true)
        .spawn()?;
    eventually(Duration::from_secs(10), "the floor serves", async || {
        tokio::net::TcpStream::connect(FLOOR).await?;
        Ok(())
    })
    .await?;
    Ok((child, FLOOR.parse()?))
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
    let directory = tempfile::tempdir()?;
    let (process, floor) = start_floor(&secret, directory.path()).await?;
    let replica = bailiwick.webhook(0)?;
    let webhook = SocketAddr::new(replica.address().into(), 9443);
    let body = Bytes::from(review_body("bench-ns", "bench"));
    let of_floor = process.id().context("the floor ended")?;
    let of_webhook = replica.pid().context("no process")?;
    println!(
        "  memory at rest: webhook {}, floor {}",
        memory(of_webhook)?,
        memory(of_floor)?
    );
    compare(floor, webhook, &ca, &body).await?;
    policies::switch_on(&cluster.client(), "bench").await?;
    println!("  with a policy of three rules");
    compare(floor, webhook, &ca, &body).await?;
    policies::switch_off(&cluster.client()).await?;
    println!(
        "  memory after that: webhook {}, floor {}",
        memory(of_webhook)?,
        memory(of_floor)?
    );
    Ok(())
}

/// Both in turn, in several shapes of load.
async fn compare(floor: SocketAddr, webhook: SocketAddr, ca: &[u8], body: &Bytes) -> Result<()> {
    for (connections, streams) in [(1, 1), (8, 1), (4, 8)] {
        let shape = Shape { connections, streams };
        let mut ratios = Vec::new();
        let mut figures = Vec::new();
        for _ in 0..ROUNDS {
            let base = round(floor, ca, body, "\"allowed\":true", shape, PERIOD).await?;
            let ours = round(webhook, ca, body, "\"allowed\":true", shape, PERIOD).await?;
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
    Ok(())
}

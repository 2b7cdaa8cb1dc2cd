//! The admission webhook: AdmissionReviews in, decisions out.
//!
//! Nothing here decides: [`bailiwick_core::decide`] does. This crate feeds it a snapshot, translates the
//! protocol, and is ready only when an answer of it would be right and would be trusted.

mod answer;
mod args;
mod certificate;
mod deadline;
mod feed;
mod fetch;
mod metrics;
mod policies;
mod router;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use bailiwick_runtime::admin::{self, Admin, Readiness};
use bailiwick_runtime::tls::{self, HotLeaf};
use bailiwick_runtime::{client, serve, shutdown, telemetry};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use answer::answer;
pub use args::{Cli, Command, VerifyArgs, WebhookArgs};
pub use feed::SharedSnapshot;
pub use fetch::Fetcher;
pub use metrics::Metrics;
pub use policies::Policies;
pub use router::{Reviews, router};
pub use verify::verify;

/// Names of what has to hold before this replica is ready.
const CACHES: &str = "caches";
const CERTIFICATE: &str = "certificate";
const CA_BUNDLE: &str = "caBundle";
const SERVING: &str = "serving";

/// Runs the webhook until SIGTERM.
///
/// # Errors
/// When it can't start, or a part of it that must not end ends.
pub async fn run(args: WebhookArgs) -> anyhow::Result<()> {
    tls::install_provider()?;
    telemetry::init(&args.common.log_level, args.common.log_format)?;
    let signal = shutdown::on_signal()?;
    let client = client::client(client::config().await?)?;
    let readiness = Readiness::waiting_for(&[CACHES, CERTIFICATE, CA_BUNDLE]);
    let (metrics, registry) = metrics::new();
    let stop = CancellationToken::new();
    let leaf = Arc::new(HotLeaf::default());
    let snapshot = SharedSnapshot::new(args.common.config.clone());

    let mut tasks = JoinSet::new();
    let admin = Admin {
        readiness: readiness.clone(),
        registry: Arc::new(registry),
    };
    tasks.spawn(admin::serve(args.common.admin_address, admin, stop.clone()));
    tasks.spawn(certificate::follow(
        client.clone(),
        args.clone(),
        leaf.clone(),
        readiness.clone(),
        metrics.clone(),
    ));
    let policies = Policies::new();
    tasks.spawn(feed::run(
        client.clone(),
        args.common.namespace.clone(),
        snapshot.clone(),
        policies.clone(),
        readiness.clone(),
        metrics.clone(),
    ));
    let said = tokio::spawn(policies::lease::keep(
        client.clone(),
        args.common.namespace.clone(),
        args.common.pod_name.clone(),
        policies.clone(),
        stop.clone(),
    ));
    let reviews = Reviews::new(snapshot, Fetcher::new(client), policies, metrics);
    let tls = Arc::new(tls::server_config(leaf)?);
    let router = serve::closing(router(reviews), signal.clone());
    tasks.spawn(serve::serve(args.listen, tls, router, stop.clone()));

    let ended = tokio::select! {
        () = signal.cancelled() => None,
        ended = tasks.join_next() => ended,
    };
    if let Some(ended) = ended {
        return ended?.and(Err(anyhow::anyhow!("a part of the webhook ended")));
    }
    // Others have to learn that this replica is going before it goes.
    readiness.set(SERVING, Some("shutting down".to_owned()));
    tokio::time::sleep(Duration::from_secs(args.shutdown_delay_seconds)).await;
    stop.cancel();
    drain(tasks).await;
    let _ = said.await;
    Ok(())
}

/// Waits for the servers; the watches never end by themselves.
async fn drain(mut tasks: JoinSet<anyhow::Result<()>>) {
    let servers = async {
        for _ in 0..2 {
            tasks.join_next().await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(20), servers).await;
}

//! The operator: Tenants become isolated namespaces, and stay so.
//!
//! It observes through watches, asks [`bailiwick_core`] what should be, and writes the difference. One replica
//! leads; every write of it passes a fence that falls when its Lease does.

mod access;
mod apply;
mod args;
mod certificates;
mod context;
mod creators;
mod drift;
mod error;
mod fairness;
mod index;
mod metrics;
mod observe;
mod orphans;
mod policies;
mod quota;
mod tenant;
mod written;

use std::sync::Arc;
use std::time::Duration;

use bailiwick_runtime::admin::{self, Admin, Readiness};
use bailiwick_runtime::lease::{Candidate, Fence, Held};
use bailiwick_runtime::{client, shutdown, telemetry, tls};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use args::{CertificateSource, OperatorArgs};

/// Names of what has to hold before this replica is ready.
const API_SERVER: &str = "apiServer";
const CACHES: &str = "caches";

/// Runs the operator until SIGTERM, or until it loses its Lease.
///
/// # Errors
/// When it can't start, loses the Lease, or a part of it that must not end ends.
pub async fn run(args: OperatorArgs) -> anyhow::Result<()> {
    tls::install_provider()?;
    telemetry::init(&args.common.log_level, args.common.log_format)?;
    let signal = shutdown::on_signal()?;
    let config = client::config().await?;
    let fence = Fence::default();
    let plain = client::client(config.clone())?;
    let fenced = client::fenced_client(config.clone(), fence.clone())?;
    let raw = client::raw_client(config)?;
    let readiness = Readiness::waiting_for(&[API_SERVER]);
    let (metrics, registry) = metrics::new();

    let stop = CancellationToken::new();
    let mut servers = JoinSet::new();
    let admin = Admin {
        readiness: readiness.clone(),
        registry: Arc::new(registry),
    };
    servers.spawn(admin::serve(args.common.admin_address, admin, stop.clone()));

    // A replica that stands by is ready: it can take over.
    await_api_server(&plain, &readiness, &signal).await;
    let leases: Api<Lease> = Api::namespaced(plain, &args.common.namespace);
    let duration = Duration::from_secs(args.lease_duration_seconds);
    let mut candidate = Candidate::new(leases, &args.lease, &args.common.pod_name, duration, fence);
    if !candidate.acquire(&signal).await {
        stop.cancel();
        return Ok(());
    }
    metrics.leader.set(1);
    let working = CancellationToken::new();
    let work = lead(args, fenced, raw, metrics.clone(), readiness, working.clone());
    let mut work = std::pin::pin!(work);
    // The Lease is given back only when nothing is being written any more.
    let release = CancellationToken::new();
    let mut holding = tokio::spawn({
        let release = release.clone();
        async move { candidate.hold(&release).await }
    });
    let outcome = tokio::select! {
        held = &mut holding => Err(lost(held)),
        ended = &mut work => ended.and_then(|()| Err(anyhow::anyhow!("a part of the operator ended"))),
        ended = servers.join_next() => Err(anyhow::anyhow!("the admin endpoints ended: {ended:?}")),
        () = signal.cancelled() => {
            working.cancel();
            let _ = tokio::time::timeout(Duration::from_secs(15), &mut work).await;
            Ok(())
        }
    };
    metrics.leader.set(0);
    if outcome.is_ok() {
        release.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(5), holding).await;
    }
    stop.cancel();
    outcome
}

fn lost(held: Result<Held, tokio::task::JoinError>) -> anyhow::Error {
    match held {
        Ok(Held::Lost) => anyhow::anyhow!("the Lease is lost; another replica leads now"),
        Ok(Held::Released) => anyhow::anyhow!("the Lease was given back"),
        Err(error) => anyhow::Error::from(error),
    }
}

/// Everything that only the leader does.
async fn lead(
    args: OperatorArgs,
    client: kube::Client,
    raw: kube::Client,
    metrics: metrics::Metrics,
    readiness: Readiness,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    if args.certificates == CertificateSource::SelfSigned {
        tasks.spawn(certificates::keep(client.clone(), args.clone(), metrics.clone()));
    }
    let (observed, streams) = observe::begin(client.clone(), metrics.clone());
    let context = Arc::new(context::Context::new(
        client,
        raw,
        &args,
        observed.clone(),
        metrics,
    ));
    tasks.spawn(orphans::close(context.clone()));
    tasks.spawn(index::keep(context.clone()));
    tasks.spawn(fairness::keep(context.clone()));
    tasks.spawn(quota::listen(context.clone()));
    tasks.spawn(policies::keep(
        context.clone(),
        args.common.namespace.clone(),
        args.common.webhook_configuration.clone(),
    ));
    tasks.spawn(async move {
        observed
            .synced_or_say(|lists| {
                let lists = lists.iter().cloned().collect::<Vec<_>>().join(", ");
                readiness.set(CACHES, Some(format!("waiting for the first list of {lists}")));
            })
            .await?;
        readiness.set(CACHES, None);
        std::future::pending().await
    });
    let controller = tenant::run(context, streams, args.concurrency, stop.clone());
    tokio::select! {
        () = controller => {
            if stop.is_cancelled() { Ok(()) } else { Err(anyhow::anyhow!("the controller ended")) }
        }
        ended = tasks.join_next() => match ended {
            Some(ended) => ended?,
            None => Ok(()),
        },
    }
}

async fn await_api_server(client: &kube::Client, readiness: &Readiness, stop: &CancellationToken) {
    loop {
        match client.apiserver_version().await {
            Ok(version) => {
                tracing::info!(version = version.git_version, "The API server answers");
                readiness.set(API_SERVER, None);
                return;
            }
            Err(error) => readiness.set(API_SERVER, Some(format!("does not answer: {error}"))),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

//! What this replica says of itself: a Lease in Bailiwick's namespace, renewed while it lives and deleted when it goes.
//! Its annotations tell which revisions it serves.

use std::time::Duration;

use bailiwick_core::policy::report::Report;
use bailiwick_crds::labels;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Policies;

/// How often the Lease is renewed when there is nothing new to say.
const RENEWAL: Duration = Duration::from_secs(5);
/// After how long without a renewal a replica counts as gone.
const DURATION_SECONDS: u32 = 15;
/// How long counts are gathered before they are told.
const GATHER: Duration = Duration::from_secs(2);
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// The longest time of one request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells what this replica serves until `stop`, and then that it is gone.
pub(crate) async fn keep(
    client: Client,
    namespace: String,
    pod: String,
    policies: Policies,
    stop: CancellationToken,
) {
    let leases: Api<Lease> = Api::namespaced(client, &namespace);
    let name = pod.clone();
    let mut loaded = policies.report.subscribe();
    let mut counted = policies.comparer.changes();
    let mut circuits = policies.breaker.changes();
    loop {
        let mut report = loaded.borrow_and_update().clone();
        counted.mark_unchanged();
        circuits.mark_unchanged();
        report.counted = policies.comparer.counted();
        report.open = policies.breaker.open().iter().map(|it| it.1.clone()).collect();
        let told = tokio::time::timeout(PATIENCE, tell(&leases, &name, &pod, &report)).await;
        let wait = match told {
            Ok(Ok(())) => RENEWAL,
            Ok(Err(error)) => {
                tracing::warn!(%error, lease = name, "This replica's Lease was not renewed");
                RETRY
            }
            Err(_) => RETRY,
        };
        let news = async {
            tokio::select! {
                _ = loaded.changed() => {}
                () = async {
                    tokio::select! {
                        _ = counted.changed() => {}
                        _ = circuits.changed() => {}
                    }
                    tokio::time::sleep(GATHER).await;
                } => {}
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tokio::time::timeout(wait, news) => {}
        }
    }
    let now = DeleteParams::default();
    let gone = leases.delete(&name, &now);
    if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, gone).await {
        tracing::warn!(%error, lease = name, "This replica's Lease was not deleted; it runs out");
    }
}

async fn tell(leases: &Api<Lease>, name: &str, pod: &str, report: &Report) -> Result<(), kube::Error> {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "labels": {(labels::REPLICA): "webhook"},
            "annotations": report.to_annotations(),
        },
        "spec": {
            "holderIdentity": pod,
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": MicroTime(Timestamp::now()),
        },
    });
    let params = PatchParams::apply("bailiwick-webhook").force();
    leases
        .patch(name, &params, &Patch::Apply(lease))
        .await
        .map(|_| ())
}

//! Reports a Pod's status to the API server, which is what rollouts, `kubectl get pods` and helm go by.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    Context,
    replica::{Replica, State},
};
use crate::supervisor::Process;

/// Reports every change until the future is dropped.
pub(super) async fn report(context: &Context, replica: &Replica) {
    let mut states = replica.0.state.subscribe();
    let mut reported = None;
    loop {
        let state = states.borrow_and_update().clone();
        let news = (
            state.process.as_ref().map(Process::pid),
            state.ready,
            state.restarts,
        );
        if reported != Some(news) {
            if patch(context, replica, &state).await.is_err() {
                // The API server may be restarting, or the Pod is gone and so will we be.
                sleep(Duration::from_millis(200)).await;
                continue;
            }
            reported = Some(news);
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

async fn patch(context: &Context, replica: &Replica, state: &State) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(context.cluster.client(), &context.namespace);
    let status = json!({ "status": status(replica, state)? });
    pods.patch_status(&replica.name(), &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(())
}

fn status(replica: &Replica, state: &State) -> Result<Value> {
    let now = Timestamp::now();
    let started = state.process.is_some();
    let condition = |kind: &str, is_true: bool| {
        let status = if is_true { "True" } else { "False" };
        json!({ "type": kind, "status": status, "lastTransitionTime": now })
    };
    let process = match (&state.process, state.last_exit) {
        (Some(_), _) => json!({ "running": { "startedAt": now } }),
        (None, Some(_)) => json!({ "waiting": { "reason": "CrashLoopBackOff" } }),
        (None, None) => json!({ "waiting": { "reason": "ContainerCreating" } }),
    };
    let container = replica.container()?;
    Ok(json!({
        "phase": if started || state.restarts > 0 { "Running" } else { "Pending" },
        "hostIP": replica.address(),
        "podIP": replica.address(),
        "podIPs": [{ "ip": replica.address() }],
        "startTime": now,
        "conditions": [
            condition("PodScheduled", true),
            condition("Initialized", true),
            condition("ContainersReady", state.ready),
            condition("Ready", state.ready),
        ],
        "containerStatuses": [{
            "name": container.name,
            "image": container.image,
            "imageID": "",
            "ready": state.ready,
            "started": started,
            "restartCount": state.restarts,
            "state": process,
        }],
    }))
}

//! What tenants run.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, node::Node, wait::eventually};
use serde_json::Value;

use crate::site::{SOON, as_shop, get, kubectl, pod_spec, rolled_out};

/// A Pod that waits for its token to change, which takes the kubelet eight minutes: it begins early and is asked last.
const TOKENS: &str = "tokens";
/// Tokens live no shorter than ten minutes; the kubelet renews them when a fifth of that is left.
const UNTIL_RENEWED: Duration = Duration::from_mins(12);

/// All Pods of a namespace whose name begins so, in a phase.
pub(crate) async fn pods(cluster: &Cluster, stem: &str, phase: &str) -> Result<Vec<Value>> {
    let list = get(cluster, &["pods", "-n", "shop-prod"]).await?;
    let all = list["items"].as_array().context("no list")?;
    let pods = all.iter().filter(|it| {
        let name = it["metadata"]["name"].as_str().unwrap_or_default();
        name.starts_with(stem) && it["status"]["phase"] == phase
    });
    Ok(pods.cloned().collect())
}

/// Checks that a Pod has its tenant's label.
pub(crate) fn has_label(pod: &Value) -> Result<()> {
    let label = &pod["metadata"]["labels"]["bailiwick.dev/tenant"];
    ensure!(
        label == "shop",
        "{} has tenant label {label}",
        pod["metadata"]["name"]
    );
    Ok(())
}

pub(crate) async fn controllers(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let tokens = pod_spec(
        "[token, /var/run/token/it, '2']",
        "restartPolicy: Never, volumes: [{ name: t, projected: { sources: [{ serviceAccountToken: { path: it, expirationSeconds: 600, audience: shop } }] } }],",
    );
    // The mount is the container's.
    let tokens = tokens.replace(
        "[{ name: c,",
        "[{ name: c, volumeMounts: [{ name: t, mountPath: /var/run/token }],",
    );
    let metadata = |labels: &str| format!("{{ {labels} name: {TOKENS}, namespace: shop-prod }}");
    // With a budget, so that no drain ends it.
    let budget = format!(
        "{{ apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {}, spec: {{ maxUnavailable: 0, selector: {{ matchLabels: {{ app: {TOKENS} }} }} }} }}",
        metadata("")
    );
    let labels = format!("labels: {{ app: {TOKENS} }},");
    let pod = format!(
        "{{ apiVersion: v1, kind: Pod, metadata: {}, spec: {tokens} }}",
        metadata(&labels)
    );
    for document in [budget, pod] {
        as_shop(cluster, &["apply", "-f", "-"], &document).await?.ok()?;
    }

    let spec = pod_spec("[echo, done]", "restartPolicy: Never,");
    let template = format!("{{ spec: {spec} }}");
    let labelled = |app: &str| {
        format!(
            "{{ metadata: {{ labels: {{ app: {app} }} }}, spec: {} }}",
            pod_spec("[pause]", "")
        )
    };
    for (kind, name, spec) in [
        (
            "batch/v1, kind: Job",
            "once",
            format!("{{ completions: 2, template: {template} }}"),
        ),
        (
            "batch/v1, kind: CronJob",
            "often",
            format!("{{ schedule: '* * * * *', jobTemplate: {{ spec: {{ template: {template} }} }} }}"),
        ),
        (
            "apps/v1, kind: StatefulSet",
            "state",
            format!(
                "{{ serviceName: state, selector: {{ matchLabels: {{ app: state }} }}, template: {} }}",
                labelled("state")
            ),
        ),
        (
            "apps/v1, kind: DaemonSet",
            "each",
            format!(
                "{{ selector: {{ matchLabels: {{ app: each }} }}, template: {} }}",
                labelled("each")
            ),
        ),
    ] {
        let document = format!(
            "{{ apiVersion: {kind}, metadata: {{ name: {name}, namespace: shop-prod }}, spec: {spec} }}"
        );
        as_shop(cluster, &["apply", "-f", "-"], &document).await?.ok()?;
    }
    for (stem, phase, count, within) in [
        ("web-", "Running", 2, SOON),
        ("once-", "Succeeded", 2, SOON),
        ("state-", "Running", 1, SOON),
        ("each-", "Running", 1, SOON),
        // It begins with the next minute.
        ("often-", "Succeeded", 1, 2 * SOON),
    ] {
        eventually(within, &format!("{count} Pods {stem} are {phase}"), async || {
            let found = pods(cluster, stem, phase).await?;
            ensure!(found.len() >= count, "{} are", found.len());
            found.iter().try_for_each(has_label)
        })
        .await?;
    }
    for kind in ["job/once", "cronjob/often", "statefulset/state", "daemonset/each"] {
        as_shop(cluster, &["delete", "-n", "shop-prod", kind], "")
            .await?
            .ok()?;
    }
    Ok(())
}

/// The label isn't only written: a template that has a wrong one makes no Pods.
pub(crate) async fn labels_are_verified(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let deployment = |name: &str, tenant: &str| {
        format!(
            "{{ apiVersion: apps/v1, kind: Deployment, metadata: {{ name: {name}, namespace: shop-prod }}, spec: {{ selector: {{ matchLabels: {{ app: {name} }} }}, template: {{ metadata: {{ labels: {{ app: {name}, bailiwick.dev/tenant: {tenant} }} }}, spec: {} }} }} }}",
            pod_spec("[pause]", "")
        )
    };
    for (name, tenant) in [("forged", "rival"), ("honest", "shop")] {
        as_shop(cluster, &["apply", "-f", "-"], &deployment(name, tenant))
            .await?
            .ok()?;
    }
    rolled_out(cluster, "shop-prod", "honest").await?;
    eventually(
        SOON,
        "the forged Deployment says why it has no Pods",
        async || {
            let forged = get(cluster, &["deployment", "-n", "shop-prod", "forged"]).await?;
            let conditions = forged["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let says_why = conditions.iter().any(|it| {
                let message = it["message"].as_str().unwrap_or_default();
                it["type"] == "ReplicaFailure"
                    && it["reason"] == "FailedCreate"
                    && message.contains("BW-POD-LABEL")
            });
            ensure!(says_why, "{conditions:?}");
            Ok(())
        },
    )
    .await?;
    let selector = ["pods", "-n", "shop-prod", "-l", "app=forged"];
    let made = get(cluster, &selector).await?;
    ensure!(made["items"].as_array().is_some_and(Vec::is_empty), "{made}");
    let delete = ["delete", "-n", "shop-prod", "deployment", "forged", "honest"];
    as_shop(cluster, &delete, "").await?.ok().map(drop)
}

pub(crate) async fn tokens_are_renewed(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let pod = eventually(UNTIL_RENEWED, "the Pod has seen a second token", async || {
        let list = get(cluster, &["pods", "-n", "shop-prod", "-l", "app=tokens"]).await?;
        let pod = list["items"][0].clone();
        // Without the Pod there is nothing to wait for, as when it failed.
        let phase = pod["status"]["phase"].as_str().unwrap_or("Gone");
        ensure!(phase != "Running" && phase != "Pending", "it is {phase}");
        Ok(pod)
    })
    .await?;
    ensure!(pod["status"]["phase"] == "Succeeded", "{pod}");
    has_label(&pod)?;
    let said = kubectl(cluster, &["logs", "-n", "shop-prod", TOKENS]).await?;
    ensure!(said == "token 1\ntoken 2\n", "{said}");
    Ok(())
}

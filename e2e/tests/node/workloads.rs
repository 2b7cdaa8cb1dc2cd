//! What tenants run, and what the kubelet does for them.

use std::{fs, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{cluster::Cluster, node::Node, wait::eventually};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

use crate::site::{SOON, apply, get, kubectl, lives_of_the_shop, pod_spec};

/// A Pod that waits for its token to change, which takes the kubelet eight minutes: it begins early and is asked last.
const TOKENS: &str = "tokens";
/// Tokens live no shorter than ten minutes; the kubelet renews them when a fifth of that is left.
const UNTIL_RENEWED: Duration = Duration::from_mins(12);

/// All Pods of a namespace whose name begins so, in a phase.
async fn pods(cluster: &Cluster, stem: &str, phase: &str) -> Result<Vec<Value>> {
    let list = get(cluster, &["pods", "-n", "shop-prod"]).await?;
    let all = list["items"].as_array().context("no list")?;
    let pods = all.iter().filter(|it| {
        let name = it["metadata"]["name"].as_str().unwrap_or_default();
        name.starts_with(stem) && it["status"]["phase"] == phase
    });
    Ok(pods.cloned().collect())
}

fn has_label(pod: &Value) -> Result<()> {
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
    apply(cluster, &format!("{{ apiVersion: v1, kind: Pod, metadata: {{ name: {TOKENS}, namespace: shop-prod }}, spec: {tokens} }}")).await?;

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
        apply(
            cluster,
            &format!(
                "{{ apiVersion: {kind}, metadata: {{ name: {name}, namespace: shop-prod }}, spec: {spec} }}"
            ),
        )
        .await?;
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
        kubectl(cluster, &["delete", "-n", "shop-prod", kind]).await?;
    }
    Ok(())
}

pub(crate) async fn pods_are_used_as_ever(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let web = pods(cluster, "web-", "Running").await?;
    let pod = web[0]["metadata"]["name"].as_str().context("no name")?;
    let said = kubectl(
        cluster,
        &["exec", "-n", "shop-prod", pod, "--", "/workload", "echo", "hello"],
    )
    .await?;
    ensure!(said == "hello\n", "{said:?}");
    ensure!(
        forwarded(cluster, pod).await?.contains(pod),
        "another Pod answered"
    );

    let image = "--image=localhost/bailiwick-workload:1";
    let debug = [
        "debug",
        "-n",
        "shop-prod",
        pod,
        image,
        "--profile=restricted",
        "--image-pull-policy=Never",
        "--container=look",
        "--",
        "/workload",
        "pause",
    ];
    let attached = cluster.kubectl(&debug).await?;
    attached.ok()?;
    eventually(SOON, "the ephemeral container runs", async || {
        let now = get(cluster, &["pod", "-n", "shop-prod", pod]).await?;
        let status = &now["status"]["ephemeralContainerStatuses"][0];
        ensure!(status["state"]["running"].is_object(), "{status}");
        has_label(&now)
    })
    .await?;

    let resize = r#"{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"20m"},"limits":{"cpu":"150m"}}}]}}"#;
    kubectl(
        cluster,
        &[
            "patch",
            "pod",
            "-n",
            "shop-prod",
            pod,
            "--subresource=resize",
            "-p",
            resize,
        ],
    )
    .await?;
    eventually(SOON, "the Pod has its new size", async || {
        let now = get(cluster, &["pod", "-n", "shop-prod", pod]).await?;
        let status = &now["status"]["containerStatuses"][0];
        ensure!(
            status["resources"]["limits"]["cpu"] == "150m" && status["restartCount"] == 0,
            "{status}"
        );
        has_label(&now)
    })
    .await?;

    let eviction = format!(
        "{{ \"apiVersion\": \"policy/v1\", \"kind\": \"Eviction\", \"metadata\": {{ \"name\": \"{pod}\", \"namespace\": \"shop-prod\" }} }}"
    );
    let path = format!("/api/v1/namespaces/shop-prod/pods/{pod}/eviction");
    cluster
        .kubectl_with_input(&["create", "--raw", &path, "-f", "-"], &eviction)
        .await?
        .ok()?;
    eventually(
        SOON,
        "another Pod took the place of the evicted one",
        async || {
            let now = pods(cluster, "web-", "Running").await?;
            ensure!(
                now.len() == 2 && now.iter().all(|it| it["metadata"]["name"] != pod),
                "{} run",
                now.len()
            );
            now.iter().try_for_each(has_label)
        },
    )
    .await
}

/// What a Pod's server answers through `kubectl port-forward`.
async fn forwarded(cluster: &Cluster, pod: &str) -> Result<String> {
    let mut forward = Command::new(&cluster.binaries().kubectl)
        .args(["port-forward", "-n", "shop-prod", pod, ":8080"])
        .env("KUBECONFIG", cluster.kubeconfig())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdout = forward.stdout.take().context("no stdout")?;
    let mut said = String::new();
    let port: u16 = loop {
        let mut buffer = [0; 256];
        let count = stdout.read(&mut buffer).await?;
        if count == 0 {
            bail!("port-forward ended: {said:?}");
        }
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
        let after = said.split("127.0.0.1:").nth(1).filter(|it| it.contains(' '));
        if let Some(port) = after.and_then(|it| it.split(' ').next()?.parse().ok()) {
            break port;
        }
    };
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The kubelet reports, mirrors static Pods, renews leases and asks for tokens as `system:node:NAME`, under the Node authorizer.
pub(crate) async fn kubelet(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let folder = cluster.directory().join("machine/static-pods");
    let manifest = folder.join("mirrored.yaml");
    let pod = format!(
        "{{ apiVersion: v1, kind: Pod, metadata: {{ name: mirrored, namespace: shop-prod }}, spec: {} }}",
        pod_spec("[pause]", "")
    );
    fs::write(&manifest, pod)?;
    eventually(SOON, "the static Pod has its mirror, which runs", async || {
        let mirrors = pods(cluster, "mirrored-", "Running").await?;
        ensure!(mirrors.len() == 1, "{} run", mirrors.len());
        has_label(&mirrors[0])
    })
    .await?;
    fs::remove_file(&manifest)?;
    eventually(SOON, "the mirror goes with the static Pod", async || {
        let mirrors = pods(cluster, "mirrored-", "Running").await?;
        ensure!(mirrors.is_empty(), "{} run", mirrors.len());
        Ok(())
    })
    .await?;
    let lease = get(cluster, &["lease", "-n", "kube-node-lease", "bailiwick-node"]).await?;
    eventually(SOON, "the node's lease is renewed", async || {
        let now = get(cluster, &["lease", "-n", "kube-node-lease", "bailiwick-node"]).await?;
        ensure!(now["spec"]["renewTime"] != lease["spec"]["renewTime"], "{now}");
        Ok(())
    })
    .await?;
    // Without its projected token, whose request the API server decides, no Pod of the shop would run.
    lives_of_the_shop(cluster).await.map(drop)
}

pub(crate) async fn tokens_are_renewed(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    eventually(UNTIL_RENEWED, "the Pod has seen a second token", async || {
        let done = pods(cluster, TOKENS, "Succeeded").await?;
        let Some(pod) = done.first() else {
            let pod = get(cluster, &["pod", "-n", "shop-prod", TOKENS]).await?;
            ensure!(pod["status"]["phase"] != "Failed", "{}", pod["status"]);
            bail!("not yet");
        };
        has_label(pod)
    })
    .await
}

//! What a tenant's people do with their Pods, and what the kubelet does for them.

use std::{fs, process::Stdio};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{cluster::Cluster, node::Node, wait::eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

use crate::{
    site::{SOON, as_shop, get, kubectl, lives_of_the_shop, pod_spec},
    workloads::{has_label, pods},
};

/// All of it as one of the shop's owners, with no right in the cluster but those of the Tenant.
pub(crate) async fn pods_are_used_as_ever(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let web = pods(cluster, "web-", "Running").await?;
    let pod = web[0]["metadata"]["name"].as_str().context("no name")?;
    let exec = ["exec", "-n", "shop-prod", pod, "--", "/workload", "echo", "hello"];
    let said = as_shop(cluster, &exec, "").await?.ok()?;
    ensure!(said == "hello\n", "{said:?}");
    // The same person in another namespace is a stranger.
    let stranger = [
        "exec",
        "-n",
        "bailiwick-system",
        "deployment/bailiwick-webhook",
        "--",
        "/bailiwick",
        "--version",
    ];
    let stranger = as_shop(cluster, &stranger, "").await?;
    ensure!(
        !stranger.success() && stranger.to_string().contains("forbidden"),
        "{stranger}"
    );
    ensure!(
        forwarded(cluster, pod).await?.contains(pod),
        "another Pod answered"
    );

    let mut debug = vec!["debug", "-n", "shop-prod", pod, "--container=look"];
    debug.extend([
        "--image=localhost/bailiwick-workload:1",
        "--image-pull-policy=Never",
    ]);
    debug.extend(["--profile=restricted", "--", "/workload", "pause"]);
    as_shop(cluster, &debug, "").await?.ok()?;
    eventually(SOON, "the ephemeral container runs", async || {
        let now = get(cluster, &["pod", "-n", "shop-prod", pod]).await?;
        let status = &now["status"]["ephemeralContainerStatuses"][0];
        ensure!(status["state"]["running"].is_object(), "{status}");
        has_label(&now)
    })
    .await?;

    let resize = r#"{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"20m"},"limits":{"cpu":"150m"}}}]}}"#;
    let patch = [
        "patch",
        "pod",
        "-n",
        "shop-prod",
        pod,
        "--subresource=resize",
        "-p",
        resize,
    ];
    as_shop(cluster, &patch, "").await?.ok()?;
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
    let url = format!("/api/v1/namespaces/shop-prod/pods/{pod}/eviction");
    as_shop(cluster, &["create", "--raw", &url, "-f", "-"], &eviction)
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
        .args(["--as=anna", "--as-group=shop-admins"])
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
    // What begins with a brace the kubelet takes for JSON, which this isn't.
    fs::write(&manifest, format!("# A static Pod.\n{pod}"))?;
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
    lives_of_the_shop(cluster).await?;
    let log = fs::read_to_string(cluster.logs().join("kubelet.log"))?;
    let refused: Vec<_> = log
        .lines()
        // A node may read what its Pods name, and hears of a Pod sometimes before the authorizer does; then it asks again.
        .filter(|it| {
            let by_authorizer = it.contains("forbidden") && !it.contains("no relationship found");
            by_authorizer || it.contains("denied the request") || it.contains("denied request")
        })
        .collect();
    ensure!(refused.is_empty(), "the kubelet was refused: {refused:#?}");
    a_node_may_no_more_than_it_needs(cluster).await
}

/// The kubelet's own credentials, used for what a stolen one would be used for; each time beside what it may.
async fn a_node_may_no_more_than_it_needs(cluster: &Cluster) -> Result<()> {
    let kubeconfig = cluster.directory().join("pki/kubelet.kubeconfig");
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let web = pods(cluster, "web-", "Running").await?;
    let pod = web[0]["metadata"]["name"].as_str().context("no name")?;
    for (may, may_not) in [
        (
            vec![
                "get",
                "pods",
                "-n",
                "shop-prod",
                "--field-selector=spec.nodeName=bailiwick-node",
            ],
            vec!["get", "secrets", "-n", "shop-prod"],
        ),
        (
            vec!["label", "node", "bailiwick-node", "example.com/shelf=1"],
            vec![
                "label",
                "node",
                "bailiwick-node",
                "node-restriction.kubernetes.io/shelf=1",
            ],
        ),
        (
            vec!["get", "pod", "-n", "shop-prod", pod],
            vec![
                "label",
                "pod",
                "-n",
                "shop-prod",
                pod,
                "--overwrite",
                "bailiwick.dev/tenant=rival",
            ],
        ),
    ] {
        let run = async |arguments: &[&str]| {
            cluster
                .kubectl(&[&[kubeconfig.as_str()], arguments].concat())
                .await
        };
        run(&may).await?.ok()?;
        let refused = run(&may_not).await?;
        ensure!(
            !refused.success() && refused.to_string().to_lowercase().contains("forbidden"),
            "{refused}"
        );
    }
    kubectl(
        cluster,
        &["label", "node", "bailiwick-node", "example.com/shelf-"],
    )
    .await
    .map(drop)
}

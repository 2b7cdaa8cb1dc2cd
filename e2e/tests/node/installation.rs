//! helm's verbs, each with live tenants.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{
    checkout,
    cluster::Cluster,
    install::{NAMESPACE, RELEASE},
    node::Node,
    wait::eventually,
};

use crate::outage::webhook_pods;
use crate::site::{
    SHOP, SOON, apply, as_shop, bailiwick_is_ready, get, kubectl, lives_of_the_shop, pod_spec, rolled_out,
    tenant_is_ready, webhook_decides,
};

/// The chart of the checkout.
pub(crate) fn chart() -> String {
    checkout::root().join("charts/bailiwick").display().to_string()
}

/// Runs helm and waits for what it makes.
pub(crate) async fn helm(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let waiting = ["--namespace", NAMESPACE, "--wait", "--timeout", "2m"];
    cluster.helm(&[arguments, &waiting].concat()).await?.ok()
}

pub(crate) async fn install(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let begin = Instant::now();
    helm(cluster, &["install", RELEASE, &chart(), "--create-namespace"]).await?;
    let installed = begin.elapsed();
    // At once. kube-proxy may be a moment behind the Pods that helm waited for: a call of the API server's in that moment hangs
    // until its timeout, whatever the webhook does.
    eventually(SOON, "the first Tenant", async || apply(cluster, SHOP).await).await?;
    webhook_decides(cluster).await.context("the first verdict")?;
    let verdict = begin.elapsed();
    eprintln!("helm install --wait took {installed:.1?}, the first verdict came after {verdict:.1?}");
    tenant_is_ready(cluster, "shop").await?;
    let web = format!(
        "{{ apiVersion: apps/v1, kind: Deployment, metadata: {{ name: web, namespace: shop-prod }}, spec: {{ replicas: 2, selector: {{ matchLabels: {{ app: web }} }}, template: {{ metadata: {{ labels: {{ app: web }} }}, spec: {} }} }} }}",
        pod_spec("[serve, ':8080']", "")
    );
    as_shop(cluster, &["apply", "-f", "-"], &web).await?.ok()?;
    rolled_out(cluster, "shop-prod", "web").await
}

pub(crate) async fn helm_test(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let arguments = [
        "test",
        RELEASE,
        "--namespace",
        NAMESPACE,
        "--timeout",
        "1m",
        "--logs",
    ];
    let output = cluster.helm(&arguments).await?.ok()?;
    ensure!(
        output.contains("Phase:          Succeeded") && output.contains("is trusted and decides"),
        "{output}"
    );
    // Without anybody behind the Service it has to fail, and to say why.
    let scale = async |replicas: &str| {
        let deployment = format!("deployment/{RELEASE}-webhook");
        let replicas = format!("--replicas={replicas}");
        kubectl(cluster, &["scale", "-n", NAMESPACE, &deployment, &replicas]).await?;
        rolled_out(cluster, NAMESPACE, &format!("{RELEASE}-webhook")).await
    };
    scale("0").await?;
    eventually(SOON, "no webhook is left", async || {
        let left = webhook_pods(cluster).await?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await?;
    let output = cluster.helm(&arguments).await;
    scale("2").await?;
    let output = output?;
    // What failed stays to be looked at.
    let verify = format!("{RELEASE}-verify");
    kubectl(cluster, &["delete", "pod", "-n", NAMESPACE, &verify]).await?;
    ensure!(
        !output.success() && output.to_string().contains("ask the webhook through its Service"),
        "{output}"
    );
    // The Service learns of the new Pods a moment after the Deployment.
    eventually(SOON, "the webhook decides again", async || {
        webhook_decides(cluster).await
    })
    .await
}

pub(crate) async fn uninstall_and_reinstall(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let before = lives_of_the_shop(cluster).await?;
    helm(cluster, &["uninstall", RELEASE]).await?;
    // What isolates the tenant stays, and with nobody to enforce more, nothing is refused for good.
    ensure!(
        lives_of_the_shop(cluster).await? == before,
        "Pods didn't live through the uninstallation"
    );
    get(
        cluster,
        &["networkpolicy", "-n", "shop-prod", "bailiwick-default-deny"],
    )
    .await?;
    get(cluster, &["tenant", "shop"]).await?;
    kubectl(
        cluster,
        &["annotate", "namespace", "shop-prod", "example.com/note=x"],
    )
    .await?;
    let webhooks = get(cluster, &["validatingwebhookconfigurations"]).await?;
    ensure!(!webhooks.to_string().contains("bailiwick"), "{webhooks}");

    helm(cluster, &["install", RELEASE, &chart(), "--create-namespace"]).await?;
    bailiwick_is_ready(cluster).await?;
    webhook_decides(cluster).await?;
    tenant_is_ready(cluster, "shop").await?;
    ensure!(
        lives_of_the_shop(cluster).await? == before,
        "Pods didn't live through the reinstallation"
    );
    Ok(())
}

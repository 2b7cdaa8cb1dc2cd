//! helm's verbs, each with live tenants.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{
    checkout,
    cluster::Cluster,
    install::{NAMESPACE, RELEASE},
    node::Node,
};

use crate::site::{
    NEXT_VERSION, SHOP, VERSION, apply, bailiwick_is_ready, get, kubectl, lives_of_the_shop, pod_spec,
    rolled_out, tenant_is_ready, webhook_decides,
};

fn chart() -> String {
    checkout::root().join("charts/bailiwick").display().to_string()
}

async fn helm(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let waiting = ["--namespace", NAMESPACE, "--wait", "--timeout", "2m"];
    cluster.helm(&[arguments, &waiting].concat()).await?.ok()
}

pub(crate) async fn install(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let begin = Instant::now();
    helm(cluster, &["install", RELEASE, &chart(), "--create-namespace"]).await?;
    let installed = begin.elapsed();
    // At once, and once: nobody retries after `helm install --wait`.
    apply(cluster, SHOP).await.context("the first Tenant")?;
    webhook_decides(cluster).await.context("the first verdict")?;
    let verdict = begin.elapsed();
    eprintln!("helm install --wait took {installed:.1?}, the first verdict came after {verdict:.1?}");
    tenant_is_ready(cluster, "shop").await?;
    let web = format!(
        "{{ apiVersion: apps/v1, kind: Deployment, metadata: {{ name: web, namespace: shop-prod }}, spec: {{ replicas: 2, selector: {{ matchLabels: {{ app: web }} }}, template: {{ metadata: {{ labels: {{ app: web }} }}, spec: {} }} }} }}",
        pod_spec("[serve, ':8080']", "")
    );
    apply(cluster, &web).await?;
    rolled_out(cluster, "shop-prod", "web").await
}

pub(crate) async fn helm_test(node: &mut Node) -> Result<()> {
    let output = node
        .cluster()
        .helm(&[
            "test",
            RELEASE,
            "--namespace",
            NAMESPACE,
            "--timeout",
            "1m",
            "--logs",
        ])
        .await?
        .ok()?;
    ensure!(output.contains("Phase:          Succeeded"), "{output}");
    Ok(())
}

/// Not what the manifests say, but what the processes have.
pub(crate) async fn containers_are_locked_down(node: &mut Node) -> Result<()> {
    let mut seen = 0;
    for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let command = read("cmdline");
        if !command.starts_with("/bailiwick-operator") && !command.starts_with("/bailiwick-webhook") {
            continue;
        }
        let status = read("status");
        let field = |name: &str| -> String {
            let line = status.lines().find_map(|it| it.strip_prefix(name));
            line.unwrap_or_default()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        ensure!(field("Uid:") == "65532 65532 65532 65532", "{command}: {status}");
        ensure!(field("CapEff:") == "0000000000000000", "{command}: {status}");
        ensure!(
            field("NoNewPrivs:") == "1" && field("Seccomp:") == "2",
            "{command}: {status}"
        );
        let mounts = read("mounts");
        let root = mounts
            .lines()
            .find(|it| it.split_whitespace().nth(1) == Some("/"));
        let options = root
            .and_then(|it| it.split_whitespace().nth(3))
            .unwrap_or_default();
        ensure!(options.split(',').any(|it| it == "ro"), "{command}: {options}");
        seen += 1;
    }
    ensure!(seen == 4, "{seen} processes of Bailiwick");
    let pods = get(node.cluster(), &["pods", "-n", NAMESPACE]).await?;
    ensure!(pods["items"].as_array().is_some_and(|it| it.len() == 4), "{pods}");
    Ok(())
}

/// A chart of another version, with another CRD.
fn next_chart(directory: &Path) -> Result<String> {
    let chart = directory.join("next");
    if chart.exists() {
        fs::remove_dir_all(&chart)?;
    }
    copy(Path::new(&self::chart()), &chart)?;
    let edit = |name: &str, from: &str, to: &str| -> Result<()> {
        let path = chart.join(name);
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(from), "{} has no {from:?}", path.display());
        fs::write(&path, text.replace(from, to))?;
        Ok(())
    };
    edit(
        "Chart.yaml",
        &format!("\nversion: {VERSION}"),
        &format!("\nversion: {NEXT_VERSION}"),
    )?;
    edit(
        "Chart.yaml",
        &format!("appVersion: {VERSION}"),
        &format!("appVersion: {NEXT_VERSION}"),
    )?;
    edit(
        "files/crds/bailiwick.dev_tenants.yaml",
        "- tn\n",
        "- tn\n    - tnnext\n",
    )?;
    Ok(chart.display().to_string())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

async fn images(cluster: &Cluster) -> Result<Vec<String>> {
    let template = "jsonpath={range .items[*]}{.spec.containers[0].image}{\"\\n\"}{end}";
    let text = kubectl(
        cluster,
        &[
            "get",
            "pods",
            "-n",
            NAMESPACE,
            "-l",
            "app.kubernetes.io/component",
            "-o",
            template,
        ],
    )
    .await?;
    let mut images: Vec<_> = text.lines().map(str::to_owned).collect();
    images.dedup();
    Ok(images)
}

async fn short_names(cluster: &Cluster) -> Result<String> {
    let crd = get(cluster, &["crd", "tenants.bailiwick.dev"]).await?;
    Ok(crd["spec"]["names"]["shortNames"].to_string())
}

pub(crate) async fn upgrade_and_rollback(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let before = lives_of_the_shop(cluster).await?;
    let next = next_chart(cluster.directory())?;
    helm(cluster, &["upgrade", RELEASE, &next]).await?;
    ensure!(images(cluster).await? == [format!("ghcr.io/bailiwick/bailiwick:{NEXT_VERSION}")]);
    ensure!(
        short_names(cluster).await?.contains("tnnext"),
        "the CRD is the old one"
    );
    webhook_decides(cluster).await?;
    tenant_is_ready(cluster, "shop").await?;
    ensure!(
        lives_of_the_shop(cluster).await? == before,
        "Pods didn't live through the upgrade"
    );

    helm(cluster, &["rollback", RELEASE, "1"]).await?;
    ensure!(images(cluster).await? == [format!("ghcr.io/bailiwick/bailiwick:{VERSION}")]);
    ensure!(
        !short_names(cluster).await?.contains("tnnext"),
        "the CRD is the new one"
    );
    webhook_decides(cluster).await?;
    tenant_is_ready(cluster, "shop").await?;
    ensure!(
        lives_of_the_shop(cluster).await? == before,
        "Pods didn't live through the rollback"
    );
    Ok(())
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

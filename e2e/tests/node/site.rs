//! The node that the tests share, and what they do with it again and again.

use std::{
    fs,
    path::PathBuf,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bailiwick_e2e::{
    checkout,
    cluster::{Cluster, Output},
    install::{NAMESPACE, RELEASE},
    node::{self, Node, Profile, bailiwick_archive, static_binaries},
    wait::eventually,
};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use tokio::runtime::Runtime;

/// Long enough for two busy cores.
pub(crate) const SOON: Duration = Duration::from_mins(1);
/// The version that the chart names.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is known of the node so far.
#[derive(Default)]
enum Site {
    /// No test has wanted it yet.
    #[default]
    Empty,
    /// It runs.
    Running(Box<Node>),
    /// It could not be started, or a test that others build on failed.
    Lost(String),
}

static SITE: Mutex<Site> = Mutex::new(Site::Empty);
static RUNTIME: LazyLock<Result<Runtime, String>> =
    LazyLock::new(|| Runtime::new().map_err(|it| it.to_string()));

/// A test that gets the node and gives it back.
pub(crate) fn on_node(
    name: &'static str,
    test: impl AsyncFn(&mut Node) -> Result<()> + Send + 'static,
) -> Trial {
    Trial::test(name, move || told(run(&test)))
}

/// A result with all of its causes, of which the runner would show the first alone.
pub(crate) fn told(result: Result<()>) -> Result<(), Failed> {
    result.map_err(|error| format!("{error:#}").into())
}

/// A test that the ones after it build on: without it there is no point in trying them.
pub(crate) fn on_node_first(
    name: &'static str,
    test: impl AsyncFn(&mut Node) -> Result<()> + Send + 'static,
) -> Trial {
    Trial::test(name, move || {
        let result = run(&test);
        if let Err(error) = &result {
            lose(&format!("{name} failed: {error:#}"));
        }
        told(result)
    })
}

fn runtime() -> Result<&'static Runtime> {
    let runtime = RUNTIME.as_ref();
    runtime.map_err(|error| anyhow!("start the runtime: {error}"))
}

fn run(test: &impl AsyncFn(&mut Node) -> Result<()>) -> Result<()> {
    let runtime = runtime()?;
    let mut site = SITE.lock().unwrap_or_else(PoisonError::into_inner);
    runtime.block_on(async {
        if let Site::Empty = *site {
            *site = match start().await {
                Ok(node) => Site::Running(Box::new(node)),
                Err(error) => Site::Lost(format!("{error:#}")),
            };
        }
        let node = match &mut *site {
            Site::Running(node) => node,
            Site::Lost(why) => bail!("there is no node: {why}"),
            Site::Empty => bail!("there is no node"),
        };
        let Err(error) = test(node).await else {
            return Ok(());
        };
        let logs = node.cluster().logs().display().to_string();
        let Some(cause) = node.autopsy().await else {
            return Err(error.context(format!("the logs are in {logs}")));
        };
        // The next tests shall not wait for what can't come any more.
        let lost = std::mem::replace(&mut *site, Site::Lost(cause.clone()));
        if let Site::Running(node) = lost {
            node.stop().await?;
        }
        Err(error.context(cause))
    })
}

/// Ends the node, because nothing can be shown on it any more.
fn lose(why: &str) {
    let mut site = SITE.lock().unwrap_or_else(PoisonError::into_inner);
    let lost = std::mem::replace(&mut *site, Site::Lost(why.to_owned()));
    if let (Site::Running(node), Ok(runtime)) = (lost, runtime()) {
        // The error that is being reported says more.
        let _ = runtime.block_on(node.stop());
    }
}

/// Ends the node, if there is one.
pub(crate) fn tear_down() -> Result<()> {
    let mut site = SITE.lock().unwrap_or_else(PoisonError::into_inner);
    match std::mem::take(&mut *site) {
        Site::Running(node) => runtime()?.block_on(node.stop()).context("end the node"),
        Site::Lost(_) | Site::Empty => Ok(()),
    }
}

/// The folder of the shared node.
pub(crate) fn directory() -> Result<PathBuf> {
    Ok(checkout::scratch_directory()?.join("node"))
}

/// The archive of the image of a version.
pub(crate) fn archive(version: &str) -> Result<PathBuf> {
    Ok(directory()?.join(format!("bailiwick-{version}.tar")))
}

async fn start() -> Result<Node> {
    // Of a run that was interrupted, which could remove no control groups.
    let swept = node::sweep().await?;
    if swept > 0 {
        eprintln!("removed what {swept} killed nodes left");
    }
    let directory = directory()?;
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    let binaries = static_binaries(PROFILE).await?;
    let node = Node::start(directory).await?;
    let archive = archive(VERSION)?;
    bailiwick_archive(&binaries, VERSION, &archive).await?;
    node.import(&archive).await?;
    Ok(node)
}

/// How the image under test is built. With optimisation it takes longer than all tests together.
const PROFILE: Profile = Profile::Debug;

/// Runs kubectl, which has to succeed.
pub(crate) async fn kubectl(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    cluster.kubectl(arguments).await?.ok()
}

/// One object as JSON.
pub(crate) async fn get(cluster: &Cluster, arguments: &[&str]) -> Result<Value> {
    let all = [&["get", "-o", "json"], arguments].concat();
    Ok(serde_json::from_str(&kubectl(cluster, &all).await?)?)
}

/// Applies documents.
pub(crate) async fn apply(cluster: &Cluster, yaml: &str) -> Result<String> {
    cluster
        .kubectl_with_input(&["apply", "-f", "-"], yaml)
        .await?
        .ok()
}

/// Waits until all replicas of a Deployment are available and no others are left.
pub(crate) async fn rolled_out(cluster: &Cluster, namespace: &str, name: &str) -> Result<()> {
    let deployment = format!("deployment/{name}");
    kubectl(
        cluster,
        &["rollout", "status", "-n", namespace, &deployment, "--timeout=90s"],
    )
    .await?;
    Ok(())
}

/// Waits until operator and webhook are rolled out.
pub(crate) async fn bailiwick_is_ready(cluster: &Cluster) -> Result<()> {
    for component in ["operator", "webhook"] {
        rolled_out(cluster, NAMESPACE, &format!("{RELEASE}-{component}")).await?;
    }
    Ok(())
}

/// A request that only the webhook refuses, so that it shows whether the webhook decides: the namespace is another tenant's.
pub(crate) const CONFLICT: &str = "{ apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: { name: rival }, spec: { namespaces: { declared: [{ name: shop-prod }] } } }";
/// The rule that refuses [`CONFLICT`].
pub(crate) const CONFLICT_RULE: &str = "BW-TENANT-NAMESPACE";

/// Checks that the webhook refuses what it has to.
pub(crate) async fn webhook_decides(cluster: &Cluster) -> Result<()> {
    let output = cluster
        .kubectl_with_input(&["create", "--dry-run=server", "-f", "-"], CONFLICT)
        .await?;
    ensure!(
        !output.success() && output.to_string().contains(CONFLICT_RULE),
        "{output}"
    );
    Ok(())
}

/// Runs kubectl with an input as one of the shop's owners, who is nobody special in the cluster.
pub(crate) async fn as_shop(cluster: &Cluster, arguments: &[&str], input: &str) -> Result<Output> {
    let all = [&["--as=anna", "--as-group=shop-admins"], arguments].concat();
    cluster.kubectl_with_input(&all, input).await
}

/// The tenant whose Pods run through all tests.
pub(crate) const SHOP: &str = "
apiVersion: bailiwick.dev/v1alpha1
kind: Tenant
metadata: { name: shop }
spec:
  owners: [{ kind: Group, name: shop-admins }]
  namespaces: { declared: [{ name: shop-prod }, { name: shop-dev }] }
  podSecurity: { enforce: restricted }
";

/// A Pod's spec that `restricted` allows, running a command of the workload's image.
pub(crate) fn pod_spec(arguments: &str, more: &str) -> String {
    format!(
        "{{ securityContext: {{ runAsNonRoot: true, seccompProfile: {{ type: RuntimeDefault }} }}, terminationGracePeriodSeconds: 1, {more} containers: [{{ name: c, image: 'localhost/bailiwick-workload:1', imagePullPolicy: Never, args: {arguments}, resources: {{ requests: {{ cpu: 10m, memory: 16Mi }}, limits: {{ cpu: 100m, memory: 64Mi }} }}, securityContext: {{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{ drop: [ALL] }} }} }}] }}"
    )
}

/// A Pod in the shop that does nothing, with more in its metadata.
pub(crate) fn pod(name: &str, metadata: &str) -> String {
    format!(
        "{{ apiVersion: v1, kind: Pod, metadata: {{ {metadata} name: {name}, namespace: shop-prod }}, spec: {} }}",
        pod_spec("[pause]", "")
    )
}

/// UIDs and restarts of the shop's Pods: equal before and after means that they ran on.
pub(crate) async fn lives_of_the_shop(cluster: &Cluster) -> Result<Vec<(String, i64)>> {
    let pods = get(cluster, &["pods", "-n", "shop-prod", "-l", "app=web"]).await?;
    let items = pods["items"].as_array().context("no list")?;
    ensure!(items.len() == 2, "{} Pods", items.len());
    let mut lives = Vec::new();
    for pod in items {
        ensure!(pod["status"]["phase"] == "Running", "{}", pod["status"]);
        let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_i64();
        let uid = pod["metadata"]["uid"].as_str().context("no uid")?;
        lives.push((uid.to_owned(), restarts.context("no restartCount")?));
    }
    lives.sort();
    Ok(lives)
}

/// Waits until a Tenant is Ready at its current generation.
pub(crate) async fn tenant_is_ready(cluster: &Cluster, name: &str) -> Result<()> {
    eventually(SOON, &format!("Tenant {name} is Ready"), async || {
        let tenant = get(cluster, &["tenant", name]).await?;
        let conditions = tenant["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ready = conditions.iter().any(|it| {
            it["type"] == "Ready"
                && it["status"] == "True"
                && it["observedGeneration"] == tenant["metadata"]["generation"]
        });
        ensure!(ready, "{conditions:?}");
        Ok(())
    })
    .await
}

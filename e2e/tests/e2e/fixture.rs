//! The clusters that the tests run on.

use std::{
    io,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{
    cluster::{Cluster, ClusterOptions},
    install::{Bailiwick, InstallOptions},
    objects,
    wait::eventually,
};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams, TypeMeta},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{OnceCell, Semaphore},
};

use crate::audit::audited;

/// Long enough for two busy cores, short enough to fail before anyone gives up.
pub(crate) const SOON: Duration = Duration::from_secs(30);

const TENANTS: &str = "bailiwick.dev/v1alpha1";

/// One runtime for all tests: what runs beside the shared cluster must outlive the test that started it.
static RUNTIME: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(4).enable_all().build());

pub(crate) fn runtime() -> Result<&'static Runtime> {
    RUNTIME.as_ref().context("start the runtime of the tests")
}

/// A control plane takes about 400 MiB, and starting one takes two cores for some seconds.
static OWN_CLUSTERS: Semaphore = Semaphore::const_new(2);

/// A cluster with Bailiwick in it.
pub(crate) struct Installed {
    pub(crate) cluster: Cluster,
    pub(crate) bailiwick: Bailiwick,
}

/// Runs a test on the cluster that all such tests share: it uses names of its own and breaks nothing.
pub(crate) fn on_shared_cluster(test: impl AsyncFnOnce(&Installed) -> Result<()>) -> Result<()> {
    // A failure is kept, too: the next test would wait for the same.
    static SHARED: OnceCell<Result<Installed, String>> = OnceCell::const_new();
    runtime()?.block_on(async {
        let installed = SHARED
            .get_or_init(async || install().await.map_err(|error| format!("{error:#}")))
            .await;
        let installed = match installed {
            Ok(installed) => installed,
            Err(error) => bail!("the shared cluster didn't start: {error}"),
        };
        let result = test(installed).await;
        let result = result.with_context(|| installed.bailiwick.describe());
        explain(&installed.cluster, result).await
    })
}

async fn install() -> Result<Installed> {
    let cluster = Cluster::start(audited()).await?;
    let bailiwick = Bailiwick::install(&cluster, InstallOptions::default()).await?;
    Ok(Installed { cluster, bailiwick })
}

/// Runs a test on a cluster of its own with Bailiwick in it, where it may break anything.
pub(crate) fn on_own_cluster(test: impl AsyncFnOnce(&Cluster, &mut Bailiwick) -> Result<()>) -> Result<()> {
    on_bare_cluster(ClusterOptions::default(), async |cluster| {
        let mut bailiwick = Bailiwick::install(cluster, InstallOptions::default()).await?;
        test(cluster, &mut bailiwick).await
    })
}

/// Runs a test on a control plane of its own, without Bailiwick.
pub(crate) fn on_bare_cluster(
    options: ClusterOptions,
    test: impl AsyncFnOnce(&Cluster) -> Result<()>,
) -> Result<()> {
    runtime()?.block_on(async {
        let _permit = OWN_CLUSTERS.acquire().await?;
        let cluster = Cluster::start(options).await?;
        let result = test(&cluster).await;
        let result = explain(&cluster, result).await;
        cluster.stop().await?;
        result
    })
}

/// Adds to a failure what is known about the cluster.
async fn explain(cluster: &Cluster, result: Result<()>) -> Result<()> {
    let Err(error) = result else { return Ok(()) };
    let logs = format!("the logs are in {}", cluster.logs().display());
    Err(error.context(cluster.autopsy().await.unwrap_or(logs)))
}

/// Applies a Tenant and waits until it is Ready.
pub(crate) async fn ready_tenant(cluster: &Cluster, yaml: &str, deadline: Duration) -> Result<()> {
    for mut tenant in objects::parse(yaml)? {
        tenant.types = Some(TypeMeta {
            api_version: TENANTS.to_owned(),
            kind: "Tenant".to_owned(),
        });
        let name = tenant.name_any();
        let api = objects::api_of(&cluster.client(), &tenant).await?;
        let params = PatchParams::apply("bailiwick-e2e");
        api.patch(&name, &params, &Patch::Apply(&tenant))
            .await
            .with_context(|| format!("apply Tenant {name}"))?;
        eventually(deadline, &format!("Tenant {name} is Ready"), async || {
            let now = api.get(&name).await?;
            let generation = &now.data["status"]["observedGeneration"];
            let conditions = now.data["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let ready = conditions
                .iter()
                .any(|it| it["type"] == "Ready" && it["status"] == "True");
            let observed = generation.as_i64() == now.metadata.generation;
            ensure!(
                ready && observed,
                "generation {:?}: {}",
                now.metadata.generation,
                now.data["status"]
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// A name that no other test uses: `stem` and a number.
pub(crate) fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

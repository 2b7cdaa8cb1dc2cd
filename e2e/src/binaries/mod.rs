//! etcd, kube-apiserver, kube-controller-manager, kubectl and helm, each in the version that the Go modules
//! in `controlplane/` pin.
//!
//! They are taken, in this order, from the cache, from `KUBEBUILDER_ASSETS` or PATH if the version there is
//! the pinned one, or built from source into the cache. Building takes minutes and happens once.

mod build;
mod pin;
mod present;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tokio::sync::OnceCell;

use crate::progress;

use pin::{Module, Pin, Program};

/// Where the five programs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// etcd.
    pub etcd: PathBuf,
    /// kube-apiserver.
    pub kube_apiserver: PathBuf,
    /// kube-controller-manager.
    pub kube_controller_manager: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
    /// helm.
    pub helm: PathBuf,
}

/// What a node runs beside that. All of it lies in one of two folders, so that each program finds its like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeBinaries {
    /// kubelet.
    pub kubelet: PathBuf,
    /// kube-proxy.
    pub kube_proxy: PathBuf,
    /// kube-scheduler.
    pub kube_scheduler: PathBuf,
    /// containerd.
    pub containerd: PathBuf,
    /// containerd-shim-runc-v2, which containerd looks for on its PATH.
    pub shim: PathBuf,
    /// ctr, containerd's own client.
    pub ctr: PathBuf,
}

/// Finds or builds what a node runs, once per process.
pub async fn node_binaries() -> Result<&'static NodeBinaries> {
    static BINARIES: OnceCell<NodeBinaries> = OnceCell::const_new();
    let find = || {
        let [kubelet, kube_proxy, kube_scheduler] = programs(&pin::NODE)?;
        let [containerd, shim, ctr] = programs(&pin::CONTAINERD)?;
        Ok(NodeBinaries {
            kubelet,
            kube_proxy,
            kube_scheduler,
            containerd,
            shim,
            ctr,
        })
    };
    BINARIES
        .get_or_try_init(|| async {
            tokio::task::spawn_blocking(find)
                .await
                .context("find what a node runs")?
        })
        .await
}

/// Finds or builds the programs, once per process.
pub async fn binaries() -> Result<&'static Binaries> {
    static BINARIES: OnceCell<Binaries> = OnceCell::const_new();
    BINARIES
        .get_or_try_init(|| async {
            // Hashing, waiting for the lock of another build and building all block.
            tokio::task::spawn_blocking(find_or_build)
                .await
                .context("find the control plane")?
        })
        .await
}

/// The pinned version of Kubernetes, such as `v1.37.2`.
pub fn kubernetes_version() -> Result<String> {
    Ok(Pin::read(&pin::KUBERNETES)?.version)
}

fn find_or_build() -> Result<Binaries> {
    let [etcd] = programs(&pin::ETCD)?;
    let [kube_apiserver, kube_controller_manager, kubectl] = programs(&pin::KUBERNETES)?;
    let [helm] = programs(&pin::HELM)?;
    Ok(Binaries {
        etcd,
        kube_apiserver,
        kube_controller_manager,
        kubectl,
        helm,
    })
}

/// The programs of one module, in the module's order.
fn programs<const N: usize>(module: &'static Module<N>) -> Result<[PathBuf; N]> {
    let pin = Pin::read(module)?;
    let directory = cache_directory()?.join(pin.cache_key());
    let mut found = module.programs.each_ref().map(|program| {
        let cached = directory.join(program.name);
        if cached.exists() {
            Some(cached)
        } else {
            present::find(program, &pin.version)
        }
    });
    if found.iter().any(Option::is_none) {
        fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
        // Held until the end of this block; another process that wants the same waits here.
        let _lock = lock(&directory)?;
        for (program, place) in module.programs.iter().zip(&mut found) {
            if place.is_none() {
                *place = Some(build::build(&pin, program, &directory)?);
            }
        }
    }
    // Each is filled by now.
    Ok(found.map(Option::unwrap_or_default))
}

/// The cache lies outside the checkout: a fresh clone doesn't build again.
fn cache_directory() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    if let Some(directory) = set("BAILIWICK_CACHE") {
        return Ok(directory);
    }
    if let Some(directory) = set("XDG_CACHE_HOME") {
        return Ok(directory.join("bailiwick"));
    }
    match set("HOME") {
        Some(home) => Ok(home.join(".cache").join("bailiwick")),
        None => bail!("no place for the control plane's binaries: set BAILIWICK_CACHE to a folder"),
    }
}

fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(".lock");
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    if file.try_lock().is_err() {
        progress::say(&format!("waiting for another build in {}", directory.display()));
        file.lock().with_context(|| format!("lock {}", path.display()))?;
    }
    Ok(file)
}

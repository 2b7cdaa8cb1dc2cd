//! A real node, as root: scheduler, containerd, kubelet and kube-proxy beside a control plane, all of it in network, mount
//! and process namespaces of their own.
//!
//! Ending the namespaces' first process ends every daemon and container at once and takes mounts and interfaces along.
//! The machine itself sees one interface and one control group while the node runs ([`host`]), and nothing after it.

mod cgroups;
mod daemons;
mod host;
mod image;
mod next;
mod requirements;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;

use crate::{
    binaries::{NodeBinaries, node_binaries},
    checkout,
    cluster::{Cluster, ClusterOptions, Machine, NODE, log_file},
    supervisor::{Process, ProcessSpec, Supervisor},
    wait::eventually,
};

use daemons::Daemons;
use requirements::Requirements;

pub(crate) use host::Host;
pub use image::{BAILIWICK, Profile, WORKLOAD, bailiwick_archive, static_binaries};
pub use next::{copy, static_binaries_of_version};

/// Several times what it takes on two busy cores.
const DEADLINE: Duration = Duration::from_secs(90);

/// The command that makes the namespaces. bash is their first process: it takes in the orphans that containerd's shims are.
pub(crate) const NAMESPACES: [&str; 13] = [
    "unshare",
    "--net",
    "--mount",
    "--propagation",
    "private",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "bash",
    "-c",
    "exec 3<&0 </dev/null; \"$@\" <&3 3<&- & exec 3<&-; wait $!",
    "node",
];

/// Folders of the machine that the node has its own of; nothing of a cluster may lie in them.
const HIDDEN: [&str; 3] = ["/var/lib", "/var/log", "/run"];

/// What this machine lacks to run a node, if anything, in one message.
pub fn missing() -> Option<String> {
    requirements::requirements().err()
}

/// What this machine lacks to build the image, if anything, in one message.
pub fn missing_for_image() -> Option<String> {
    requirements::image_requirements().err()
}

/// Says so if a file that a node has to see lies where it has folders of its own.
pub fn check_visible(what: &str, path: &Path) -> Result<()> {
    // Where it really is: a link may lead there. What doesn't exist yet is made where it is said to be.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if let Some(hidden) = HIDDEN.iter().find(|it| real.starts_with(it)) {
        bail!(
            "a node can't see {what} {}: it has a {hidden} of its own; choose another place",
            path.display()
        );
    }
    Ok(())
}

/// Removes what nodes left on the machine whose process was killed, as Ctrl-C does, and says how many they were.
pub async fn sweep() -> Result<usize> {
    host::sweep().await
}

/// Connects a new supervisor's namespaces with the machine and makes their own view of it.
pub(crate) async fn prepare(supervisor: &Supervisor, directory: &Path) -> Result<Machine> {
    let host = Host::of(supervisor.slot());
    let pid = supervisor.pid().await.context("the supervisor has ended")?;
    host.connect(pid).await?;
    let script = directory.join("prepare.sh");
    fs::write(&script, include_str!("prepare.sh")).with_context(|| format!("write {}", script.display()))?;
    let arguments = [
        script.display().to_string(),
        directory.display().to_string(),
        host.address().to_string(),
        host.gateway().to_string(),
    ];
    let spec = ProcessSpec {
        name: "prepare".to_owned(),
        program: PathBuf::from("bash"),
        arguments: arguments.to_vec(),
        environment: daemons::path(None),
        log: log_file(directory, "prepare"),
    };
    supervisor.run(spec).await.context("prepare the node")?;
    Ok(Machine::Node(host.address()))
}

/// A cluster with one real node.
pub struct Node {
    cluster: Cluster,
    binaries: &'static NodeBinaries,
    requirements: Requirements,
    daemons: Vec<Process>,
}

impl Node {
    /// Starts a control plane and a node, and waits until the node is Ready.
    ///
    /// `directory` is where all of it goes. With what an earlier one left there, that cluster comes up again, as after
    /// a power cut.
    pub async fn start(directory: PathBuf) -> Result<Self> {
        let requirements = requirements::requirements().map_err(|missing| anyhow!(missing))?;
        host::check_network()?;
        check_visible("its own folder (--directory)", &directory)?;
        let binaries = node_binaries().await?;
        let programs = crate::binaries::binaries().await?;
        for (what, path) in [
            ("the control plane (BAILIWICK_CACHE)", &programs.kube_apiserver),
            ("etcd (BAILIWICK_CACHE)", &programs.etcd),
            ("the kubelet (BAILIWICK_CACHE)", &binaries.kubelet),
            ("containerd (BAILIWICK_CACHE)", &binaries.containerd),
            (
                "what cargo builds (CARGO_TARGET_DIR)",
                &checkout::binary_directory()?,
            ),
            ("runc", &requirements.runc),
            ("the CNI plugins", &requirements.plugins),
        ] {
            check_visible(what, path)?;
        }
        sweep().await?;
        let options = ClusterOptions {
            directory: Some(directory),
            node: true,
            ..ClusterOptions::default()
        };
        let cluster = Cluster::start(options).await?;
        let mut this = Self {
            cluster,
            binaries,
            requirements,
            daemons: Vec::new(),
        };
        if let Err(error) = this.start_daemons().await {
            this.cluster.stop().await?;
            return Err(error);
        }
        Ok(this)
    }

    async fn start_daemons(&mut self) -> Result<()> {
        let daemons = Daemons {
            cluster: &self.cluster,
            binaries: self.binaries,
            requirements: &self.requirements,
        };
        let supervisor = self.cluster.supervisor();
        self.daemons.push(supervisor.spawn(daemons.containerd()?).await?);
        eventually(DEADLINE, "containerd answers", async || {
            supervisor.run(daemons.ctr("version", &["version"])).await
        })
        .await?;
        let workload = self.cluster.directory().join("workload.tar");
        image::workload_archive(&workload).await?;
        self.import(&workload).await?;
        for spec in [daemons.scheduler()?, daemons.kubelet()?, daemons.proxy()?] {
            self.daemons.push(supervisor.spawn(spec).await?);
        }
        self.wait_until_ready().await
    }

    /// Waits until the kubelet says that it is Ready, and its network with it.
    pub async fn wait_until_ready(&self) -> Result<()> {
        let nodes: Api<NodeObject> = Api::all(self.cluster.client());
        eventually(DEADLINE, "the node is Ready", async || {
            if let Some(cause) = self.autopsy().await {
                bail!("{cause}");
            }
            let node = nodes.get(NODE).await?;
            let conditions = node.status.and_then(|it| it.conditions).unwrap_or_default();
            let ready = conditions.iter().find(|it| it.type_ == "Ready");
            ensure!(ready.is_some_and(|it| it.status == "True"), "{ready:?}");
            Ok(())
        })
        .await
    }

    /// The control plane.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Makes the images of an archive known to the node.
    pub async fn import(&self, archive: &Path) -> Result<()> {
        check_visible("the archive", archive)?;
        let daemons = Daemons {
            cluster: &self.cluster,
            binaries: self.binaries,
            requirements: &self.requirements,
        };
        let archive = archive.display().to_string();
        let spec = daemons.ctr(
            "import",
            &["-n", "k8s.io", "images", "import", "--local", &archive],
        );
        let imported = self.cluster.supervisor().run(spec).await;
        imported.with_context(|| format!("import {archive}"))
    }

    /// The daemons and components that have ended without being told to.
    pub async fn autopsy(&self) -> Option<String> {
        if let Some(cause) = self.cluster.autopsy().await {
            return Some(cause);
        }
        self.daemons.iter().find_map(|it| {
            let exit = it.exit()?;
            let log = fs::read_to_string(it.log()).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(8)..];
            let name = it
                .log()
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            Some(format!("{name} is dead ({exit}).\n  {}", last.join("\n  ")))
        })
    }

    /// Ends everything at once, as a power cut does, and starts it again from what it stored.
    pub async fn power_cycle(&mut self) -> Result<()> {
        let directory = self.cluster.directory().to_owned();
        self.cluster.stop().await?;
        *self = Self::start(directory).await?;
        Ok(())
    }

    /// Ends everything at once; what it stored stays in the folder.
    pub async fn stop(self) -> Result<()> {
        self.cluster.stop().await
    }
}

/// Removes what the node of a slot left on the machine when it crashed. Only for who holds the slot.
pub async fn clean_up(slot: crate::slot::Slot) -> Result<()> {
    Host::of(slot).remove().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_cant_see_is_named() {
        check_visible("the archive", Path::new("/var/tmp/image.tar")).unwrap();
        check_visible("the archive", Path::new("/runner/image.tar")).unwrap();
        let said = check_visible("the archive", Path::new("/run/image.tar")).unwrap_err();
        assert_eq!(
            said.to_string(),
            "a node can't see the archive /run/image.tar: it has a /run of its own; choose another place"
        );
    }
}

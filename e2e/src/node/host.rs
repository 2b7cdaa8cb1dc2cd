//! What the machine sees of a node: one pair of network interfaces and one control group. Both go when it ends.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::slot::Slot;

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// A node's side of the machine. It is named after the slot, so nodes don't meet and a crashed one is found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Host(Slot);

/// How the machine mounts its control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hierarchies {
    /// One for each controller (v1, also beside an empty v2).
    Many(Vec<PathBuf>),
    /// One for all (v2).
    One(PathBuf),
}

impl Host {
    pub(crate) fn of(slot: Slot) -> Self {
        Self(slot)
    }

    /// The machine's own address towards the node.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 66, self.0.number(), 1)
    }

    /// The node's address.
    pub(crate) fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 66, self.0.number(), 10)
    }

    /// The control group below which the kubelet makes its own.
    pub(crate) fn cgroup(self) -> String {
        format!("bailiwick-node-{}", self.0.number())
    }

    fn interface(self) -> String {
        format!("bailiwick-{}", self.0.number())
    }

    /// Connects the network namespace of a process with the machine.
    pub(crate) async fn connect(self, pid: u32) -> Result<()> {
        let (interface, pid) = (self.interface(), pid.to_string());
        self.check_that_the_address_is_free().await?;
        let gateway = format!("{}/24", self.gateway());
        ip(&[
            "link", "add", &interface, "type", "veth", "peer", "name", "eth0", "netns", &pid,
        ])
        .await?;
        ip(&["addr", "add", &gateway, "dev", &interface]).await?;
        ip(&["link", "set", &interface, "up"]).await?;
        Ok(())
    }

    async fn check_that_the_address_is_free(self) -> Result<()> {
        let range = format!("10.66.{}.0/24", self.0.number());
        let routes = ip(&["-o", "route", "show", "root", &range]).await?;
        if let Some(route) = routes.lines().next() {
            bail!(
                "the node's addresses {range} are taken on this machine (`{}`): end what uses them, for a crashed node with `make node-down`",
                route.trim()
            );
        }
        Ok(())
    }

    /// Makes the control group in each hierarchy, empty of what a crash left in it.
    pub(crate) fn make_cgroup(self) -> Result<()> {
        self.remove_cgroup()?;
        let missing = |path: &Path| {
            format!(
                "make a control group in {}: the kubelet needs one",
                path.display()
            )
        };
        match hierarchies()? {
            Hierarchies::Many(hierarchies) => {
                for hierarchy in hierarchies {
                    let group = hierarchy.join(self.cgroup());
                    fs::create_dir(&group).with_context(|| missing(&hierarchy))?;
                    // A new cpuset is empty, and nothing may run in it.
                    for file in ["cpuset.cpus", "cpuset.mems"] {
                        if let Ok(all) = fs::read_to_string(hierarchy.join(file)) {
                            fs::write(group.join(file), all).with_context(|| missing(&hierarchy))?;
                        }
                    }
                }
            }
            Hierarchies::One(root) => {
                let enabled = fs::read_to_string(root.join("cgroup.subtree_control")).unwrap_or_default();
                for controller in ["cpu", "memory", "pids"] {
                    if !enabled.split_whitespace().any(|it| it == controller) {
                        bail!(
                            "the kubelet needs the controller {controller}, which is off in {}: it has {enabled:?}. Turn it on with `echo +{controller} > {0}/cgroup.subtree_control`",
                            root.display()
                        );
                    }
                }
                fs::create_dir(root.join(self.cgroup())).with_context(|| missing(&root))?;
            }
        }
        Ok(())
    }

    /// Removes the control group with all below it; nothing runs in it any more.
    pub(crate) fn remove_cgroup(self) -> Result<()> {
        let root = Path::new(CGROUPS);
        let roots = match hierarchies()? {
            // runc uses the empty v2 beside v1, too.
            Hierarchies::Many(many) => [many, vec![root.join("unified")]].concat(),
            Hierarchies::One(root) => vec![root],
        };
        for root in roots {
            let group = root.join(self.cgroup());
            if group.exists() {
                remove_tree(&group)
                    .with_context(|| format!("remove the control group {}", group.display()))?;
            }
        }
        Ok(())
    }

    /// Removes the interface, if its namespace didn't take it along.
    pub(crate) async fn disconnect(self) {
        // It is gone with its namespace nearly always.
        let _ = ip(&["link", "del", &self.interface()]).await;
    }
}

fn hierarchies() -> Result<Hierarchies> {
    let root = Path::new(CGROUPS);
    if root.join("cgroup.controllers").exists() {
        return Ok(Hierarchies::One(root.to_owned()));
    }
    let folders =
        fs::read_dir(root).with_context(|| format!("control groups are not mounted at {CGROUPS}"))?;
    let mut many: Vec<PathBuf> = folders
        .filter_map(|it| Some(it.ok()?.path()))
        // Links are second names; `unified` is an empty v2 beside v1.
        .filter(|it| it.is_dir() && !it.is_symlink() && it.join("cgroup.procs").exists())
        .filter(|it| it.file_name().is_none_or(|name| name != "unified"))
        .collect();
    many.sort();
    if many.is_empty() {
        bail!("control groups are not mounted at {CGROUPS}: the kubelet can't work without them");
    }
    Ok(Hierarchies::Many(many))
}

/// A control group goes when those below it are gone; its files go with it.
fn remove_tree(group: &Path) -> Result<()> {
    for entry in fs::read_dir(group)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_tree(&path)?;
        }
    }
    fs::remove_dir(group)?;
    Ok(())
}

/// Runs iproute2.
async fn ip(arguments: &[&str]) -> Result<String> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .context("run ip")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}", arguments.join(" "), error.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

//! What the machine keeps of a node: nothing, whatever happened.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::slot::{HeldSlot, Slot};

use crate::{
    footprint::Footprint,
    processes::{self, Process},
    site::{directory, tear_down},
    tool::{Tool, said, slot_of, soon},
};

/// What every node consists of.
const PROCESSES: [&str; 10] = [
    "/etcd ",
    "/kube-apiserver ",
    "/kube-controller-manager ",
    "/kube-scheduler ",
    "/kubelet ",
    "/kube-proxy ",
    "/containerd ",
    "/containerd-shim-runc-v2 ",
    "/bailiwick-operator ",
    "/bailiwick-webhook ",
];

/// The machine before any of this.
static BEFORE: OnceLock<Result<Footprint, String>> = OnceLock::new();

/// Looks at the machine before the first node.
pub(crate) fn remember() {
    BEFORE.get_or_init(|| Footprint::now().map_err(|it| format!("{it:#}")));
}

/// The folders that a control group with this name is in.
fn groups(name: &str) -> Result<Vec<PathBuf>> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)?.filter_map(|it| Some(it.ok()?.path()));
    let places = hierarchies
        .filter(|it| !it.is_symlink())
        .chain([root.to_owned()])
        .map(|it| it.join(name));
    Ok(places.filter(|it| it.exists()).collect())
}

/// What the machine shows of a slot's node beside processes.
pub(crate) fn leftovers(slot: u8) -> Result<Vec<String>> {
    let groups = groups(&format!("bailiwick-node-{slot}"))?;
    let mut found: Vec<_> = groups.iter().map(|it| it.display().to_string()).collect();
    let interface = Path::new("/sys/class/net").join(format!("bailiwick-{slot}"));
    found.extend(interface.exists().then(|| interface.display().to_string()));
    Ok(found)
}

/// The processes of a node that runs, none of which may be missing: otherwise none could be missed later.
fn complete(slot: u8) -> Result<Vec<Process>> {
    let found = processes::of_node(slot)?;
    for name in PROCESSES {
        let is_it = |it: &Process| format!("/{}", it.command).contains(name);
        ensure!(found.iter().any(is_it), "no process {name}: {found:#?}");
    }
    let left = leftovers(slot)?;
    ensure!(
        left.len() >= 2,
        "it leaves no trace that could be missed: {left:?}"
    );
    Ok(found)
}

fn have_ended(processes: &[Process]) -> Result<()> {
    let left: Vec<_> = processes.iter().filter(|it| it.lives()).collect();
    ensure!(left.is_empty(), "{left:#?}");
    Ok(())
}

/// Checks that nothing of a node is there any more.
fn is_gone(slot: u8, processes: &[Process]) -> Result<()> {
    have_ended(processes)?;
    let left = leftovers(slot)?;
    ensure!(left.is_empty(), "{left:#?}");
    Ok(())
}

pub(crate) fn nothing_is_left() -> Result<()> {
    let slot = slot_of(&directory()?)?;
    let running = complete(slot)?;
    tear_down()?;
    is_gone(slot, &running)?;
    let before = BEFORE.get().context("nobody looked before")?;
    let before = before.as_ref().map_err(|it| anyhow::anyhow!("{it}"))?;
    let changes = before.changes(&Footprint::now()?);
    ensure!(changes.is_empty(), "{changes:#?}");
    Ok(())
}

/// Up, up again, killed, up over what that left, down, killed while it starts, down.
pub(crate) fn a_life() -> Result<()> {
    let tool = Tool::new("a-life")?;
    ensure!(tool.up()?.contains("KUBECONFIG="));
    let again = tool.up()?;
    ensure!(again.contains("runs already"), "{again}");

    let (slot, running) = (tool.slot()?, complete(tool.slot()?)?);
    tool.kill_daemon()?;
    // Nobody is left who could remove control groups.
    soon(|| have_ended(&running))?;
    let over = tool.up()?;
    ensure!(over.contains("Cleaning up: "), "{over}");

    let (next_slot, running) = (tool.slot()?, complete(tool.slot()?)?);
    let down = tool.down()?;
    ensure!(down.contains("stopping the cluster"), "{down}");
    is_gone(next_slot, &running)?;
    ensure!(slot == next_slot || leftovers(slot)?.is_empty());

    let starting = tool.start_up()?;
    soon(|| {
        ensure!(!leftovers(tool.slot()?)?.is_empty(), "it hasn't begun");
        Ok(())
    })?;
    let (slot, running) = (tool.slot()?, processes::of_node(tool.slot()?)?);
    tool.kill_daemon()?;
    let starting = starting.wait_with_output()?;
    ensure!(
        !starting.status.success() && said(&starting).contains("the daemon ended before"),
        "{}",
        said(&starting)
    );
    let down = tool.down()?;
    ensure!(down.contains("Cleaned up"), "{down}");
    is_gone(slot, &running)
}

/// A control group in every hierarchy, which goes with the value.
struct Groups(String);

impl Groups {
    fn make(slot: u8) -> Result<Self> {
        let this = Self(format!("bailiwick-node-{slot}"));
        let model = groups("bailiwick-node-none")?;
        ensure!(model.is_empty());
        for hierarchy in fs::read_dir("/sys/fs/cgroup")?.filter_map(|it| Some(it.ok()?.path())) {
            if hierarchy.join("cgroup.procs").exists() && !hierarchy.is_symlink() && hierarchy.is_dir() {
                fs::create_dir(hierarchy.join(&this.0))?;
            }
        }
        if Path::new("/sys/fs/cgroup/cgroup.procs").exists() {
            fs::create_dir(Path::new("/sys/fs/cgroup").join(&this.0))?;
        }
        Ok(this)
    }

    fn are_there(&self) -> Result<bool> {
        Ok(!groups(&self.0)?.is_empty())
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in groups(&self.0).unwrap_or_default() {
            let _ = fs::remove_dir(group);
        }
    }
}

/// Ctrl-C in the middle of this suite leaves control groups: whoever comes next removes them, and no others.
pub(crate) fn what_killed_runs_left_is_swept() -> Result<()> {
    let held = HeldSlot::try_take(Slot::from_number(198)).context("slot 198 is taken")?;
    let stale = Groups::make(199)?;
    let busy = Groups::make(held.slot.number())?;
    // Whoever is in a group needs it, whatever else is known.
    let mut sleeper = std::process::Command::new("sleep").arg("600").spawn()?;
    let entered = groups(&busy.0)?
        .iter()
        .find(|it| !it.display().to_string().contains("cpuset"))
        .context("no group")
        .and_then(|it| Ok(fs::write(it.join("cgroup.procs"), sleeper.id().to_string())?));
    let result = entered.and_then(|()| Tool::new("never-was")?.down());
    let (stale_is_there, busy_is_there) = (stale.are_there()?, busy.are_there()?);
    sleeper.kill()?;
    sleeper.wait()?;
    let said = result?;
    ensure!(
        !stale_is_there,
        "the groups of a killed node are still there: {said}"
    );
    ensure!(busy_is_there, "groups in use were removed: {said}");
    drop(busy);
    soon(|| {
        ensure!(groups("bailiwick-node-198")?.is_empty());
        Ok(())
    })
}

//! What the machine keeps of a node: nothing, whatever happened.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{
    checkout,
    supervisor::{Signal, signals},
};

use crate::site::{VERSION, archive, directory, tear_down};

/// How long a namespace takes to end with all in it.
const GONE: Duration = Duration::from_secs(20);

/// What is left of the node of a folder: control groups, interfaces and processes.
fn leftovers(folder: &Path) -> Result<Vec<String>> {
    let slot = fs::read_to_string(folder.join("slot")).context("the node's slot is not on record")?;
    leftovers_of(slot.trim(), folder)
}

fn leftovers_of(slot: &str, folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let groups = fs::read_dir("/sys/fs/cgroup")?.filter_map(|it| Some(it.ok()?.path()));
    for root in groups.chain([Path::new("/sys/fs/cgroup").to_owned()]) {
        let group = root.join(format!("bailiwick-node-{slot}"));
        found.extend(group.exists().then(|| group.display().to_string()));
    }
    let interface = Path::new("/sys/class/net").join(format!("bailiwick-{slot}"));
    found.extend(interface.exists().then(|| interface.display().to_string()));
    let folder = folder.display().to_string();
    for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let daemon = ["kubelet", "containerd", "kube-apiserver", "etcd"]
            .iter()
            .any(|it| command.contains(it));
        if daemon && command.contains(&folder) {
            found.push(command.replace('\0', " "));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    found.extend(
        mounts
            .lines()
            .filter(|it| it.contains(&folder))
            .map(str::to_owned),
    );
    Ok(found)
}

pub(crate) fn nothing_is_left() -> Result<()> {
    let folder = directory()?;
    ensure!(
        !leftovers(&folder)?.is_empty(),
        "the node didn't run, or leaves no trace that could be missed"
    );
    tear_down();
    let left = leftovers(&folder)?;
    ensure!(left.is_empty(), "{left:#?}");
    Ok(())
}

/// The tool behind `make node-up`.
fn tool() -> Result<Command> {
    Ok(Command::new(checkout::binary_directory()?.join("bailiwick-dev")))
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub(crate) fn a_crashed_node_is_cleaned_up() -> Result<()> {
    let folder = directory()?.with_file_name("crashed-node");
    let run = |verb: &str| -> Result<Output> {
        let mut command = tool()?;
        command.arg(verb).arg("--directory").arg(&folder);
        if verb == "node-up" {
            command.arg("--image").arg(archive(VERSION)?);
        }
        Ok(command.output()?)
    };
    // Of an earlier run that was ended.
    run("node-down")?;
    let up = run("node-up")?;
    ensure!(
        up.status.success() && said(&up).contains("KUBECONFIG="),
        "{}",
        said(&up)
    );
    let again = run("node-up")?;
    ensure!(
        again.status.success() && said(&again).contains("runs already"),
        "{}",
        said(&again)
    );
    let slot = fs::read_to_string(folder.join("slot"))?;
    let daemon: u32 = fs::read_to_string(folder.join("lock"))?
        .trim()
        .parse()
        .context("the daemon's id")?;
    signals::send(Signal::Kill, &[daemon])?;
    let begin = Instant::now();
    loop {
        let left = leftovers(&folder)?;
        // Whoever was killed can't remove control groups; `node-down` does.
        if left.iter().all(|it| it.starts_with("/sys/fs/cgroup")) {
            break;
        }
        if begin.elapsed() > GONE {
            bail!("still there: {left:#?}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let down = run("node-down")?;
    ensure!(
        down.status.success() && said(&down).contains("Cleaned up"),
        "{}",
        said(&down)
    );
    let left = leftovers_of(slot.trim(), &folder)?;
    ensure!(left.is_empty() && !folder.exists(), "{left:#?}");
    Ok(())
}

pub(crate) fn taken_addresses_are_named() -> Result<()> {
    let folder = directory()?.with_file_name("unborn-node");
    // On a machine of its own, as far as the network goes, where the addresses of all nodes are taken.
    let script =
        "ip link set lo up; for n in $(seq 200); do ip addr add 10.66.$n.1/24 dev lo; done; exec \"$@\"";
    let tool = tool()?;
    let up = Command::new("unshare")
        .args(["--net", "bash", "-c", script, "bash"])
        .arg(tool.get_program())
        .arg("node-up")
        .arg("--directory")
        .arg(&folder)
        .arg("--image")
        .arg(archive(VERSION)?)
        .output()?;
    let text = said(&up);
    let is_named = text.contains("are taken on this machine") && text.contains("make node-down");
    ensure!(!up.status.success() && is_named, "{text}");
    let down = Command::new(tool.get_program())
        .arg("node-down")
        .arg("--directory")
        .arg(&folder)
        .output()?;
    ensure!(down.status.success() && !folder.exists(), "{}", said(&down));
    Ok(())
}

//! Machines that can't run a node: one clear message each, at once, and nothing to clean up.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    machine::leftovers,
    tool::{Tool, said},
};

/// Long enough for two busy cores, and too short for anything to have been built or started.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Addresses are taken on an interface of a network of its own, as far as the node is concerned.
const TAKE: &str =
    "ip link add taken type veth peer name taken-too && ip link set taken up && ip link set taken-too up";

pub(crate) fn taken_addresses_are_named() -> Result<()> {
    for take in [
        // Every node's own.
        "for n in $(seq 200); do ip addr add 10.66.$n.1/24 dev taken; done",
        // A network that they are all in, such as a VPN's.
        "ip addr add 10.1.2.3/32 dev taken && ip route add 10.0.0.0/8 dev taken",
    ] {
        let tool = Tool::new("unborn-node")?;
        let script = format!("ip link set lo up && {TAKE} && {{ {take}; }} && exec \"$@\"");
        let output = tool
            .up_under(&["unshare", "--net", "bash", "-c", &script, "bash"])?
            .output()?;
        let text = said(&output);
        let is_named = text.contains("are taken on this machine")
            && text.contains("make node-down")
            && text.contains("BAILIWICK_NODE_NETWORK");
        ensure!(!output.status.success() && is_named, "{take}: {text}");
        let left = leftovers(tool.slot()?)?;
        ensure!(left.is_empty(), "{left:?}");
        let down = tool.down()?;
        ensure!(down.contains("Cleaned up"), "{down}");
    }
    Ok(())
}

/// The other tests of this suite are the control: with all of it there, a node runs.
pub(crate) fn what_is_missing_is_named_first() -> Result<()> {
    let without_runc = "mount --bind /dev/null \"$(command -v runc)\" && exec \"$@\"";
    let unmounted = "mount -t tmpfs tmpfs /sys/fs/cgroup && exec \"$@\"";
    let read_only = "grep -o ' /sys/fs/cgroup[^ ]* ' /proc/self/mounts | while read -r it; do mount -o remount,bind,ro \"$it\"; done; exec \"$@\"";
    let private = ["unshare", "--mount", "--propagation", "private", "bash", "-c"];
    for (wrapper, expected) in [
        (vec!["unshare", "--user"], "lacks: root: run it as root"),
        (
            [&private[..], &[without_runc, "bash"]].concat(),
            "lacks: runc\nOn Debian and Ubuntu: apt-get install -y runc",
        ),
        (
            [&private[..], &[unmounted, "bash"]].concat(),
            "lacks: control groups, and none are mounted at /sys/fs/cgroup",
        ),
        (
            [&private[..], &[read_only, "bash"]].concat(),
            "lacks: control groups that can be written",
        ),
        // What a container without privileges has of root.
        (
            vec!["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"],
            "lacks: namespaces of its own, which root may not make here",
        ),
    ] {
        let tool = Tool::new("impossible-node")?;
        let begin = Instant::now();
        let output = tool.up_under(&wrapper)?.output()?;
        let text = said(&output);
        ensure!(
            !output.status.success() && text.contains(expected),
            "{wrapper:?}: {text}"
        );
        ensure!(text.matches("error: ").count() == 1, "{wrapper:?}: {text}");
        ensure!(
            begin.elapsed() < AT_ONCE,
            "{wrapper:?} took {:?}",
            begin.elapsed()
        );
        ensure!(!tool.folder().exists(), "{wrapper:?} left a folder");
        let down = tool.down()?;
        ensure!(down.contains("No cluster is running"), "{down}");
    }
    hidden_archives_are_named()
}

fn hidden_archives_are_named() -> Result<()> {
    let tool = Tool::new("impossible-node")?;
    let hide =
        "mount -t tmpfs tmpfs /run && cp \"${@: -1}\" /run/image.tar && exec \"${@:1:$#-1}\" /run/image.tar";
    let wrapper = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "bash",
        "-c",
        hide,
        "bash",
    ];
    let output = tool.up_under(&wrapper)?.output()?;
    let text = said(&output);
    let expected = "a node can't see the archive /run/image.tar: it has a /run of its own";
    ensure!(!output.status.success() && text.contains(expected), "{text}");
    ensure!(!tool.folder().exists(), "it left a folder");
    Ok(())
}

/// This suite once more, by who isn't root: it runs nothing, says why and how much, and is no failure.
pub(crate) fn skipped_tests_are_counted() -> Result<()> {
    let count = crate::trials().len();
    let output = Command::new("unshare")
        .arg("--user")
        .arg(std::env::current_exe().context("find the path of this program")?)
        .output()?;
    let text = said(&output);
    ensure!(
        output.status.success()
            && text.contains(&format!(
                "{count} tests on a real node are skipped: a real node needs, and this machine lacks: root"
            ))
            && text.contains(&format!("0 passed; 0 failed; {count} ignored")),
        "{text}"
    );
    Ok(())
}

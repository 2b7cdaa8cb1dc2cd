//! What of the whole machine a node must leave as it was, beside what is named after it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Kernel settings that kubelet, kube-proxy, containerd or the harness itself would like to have otherwise.
const SETTINGS: [&str; 11] = [
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/conf/all/forwarding",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/ip_forward",
    "net/netfilter/nf_conntrack_max",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// Lines about the machine, by what they are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Footprint(BTreeMap<&'static str, BTreeSet<String>>);

impl Footprint {
    /// The machine as it is now.
    pub(crate) fn now() -> Result<Self> {
        let settings = SETTINGS.iter().filter_map(|it| {
            let value = fs::read_to_string(Path::new("/proc/sys").join(it)).ok()?;
            Some(format!("{it} = {}", value.trim()))
        });
        let links = fs::read_dir("/sys/class/net")?.filter_map(|it| it.ok()?.file_name().into_string().ok());
        // Another node's, which may run beside this one.
        let links = links.filter(|it| !it.starts_with("bailiwick-"));
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        Ok(Self(BTreeMap::from([
            ("kernel setting", settings.collect()),
            ("interface", links.collect()),
            ("mount", mounts.lines().map(str::to_owned).collect()),
            ("route", printed("ip", &["-o", "route", "show", "table", "all"])?),
            ("firewall rule", printed("iptables-save", &[])?),
        ])))
    }

    /// What differs, one line each.
    pub(crate) fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (what, before) in &self.0 {
            let after = &now.0[what];
            changes.extend(before.difference(after).map(|it| format!("{what} gone: {it}")));
            // A module that was loaded brings its own.
            if *what != "kernel setting" {
                changes.extend(after.difference(before).map(|it| format!("{what} new: {it}")));
            }
        }
        changes
    }
}

/// The lines that a program prints, without comments and counters.
fn printed(program: &str, arguments: &[&str]) -> Result<BTreeSet<String>> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("run {program}"))?;
    ensure!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_of_the_machine = |it: &&str| !it.starts_with('#') && !it.contains("dev bailiwick-");
    let lines = text.lines().filter(is_of_the_machine);
    Ok(lines
        .map(|it| it.split(" [").next().unwrap_or_default().trim().to_owned())
        .collect())
}

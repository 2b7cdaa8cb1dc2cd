//! The processes of a node, as the machine sees them.

use std::{collections::HashMap, fs};

use anyhow::{Context, Result};
use bailiwick_e2e::supervisor::MARKER;

/// A process, told apart from a later one with the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Its arguments, each ended by a space.
    pub(crate) command: String,
    parent: u32,
    started: String,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before may hold anything.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // One that has ended and is only remembered holds nothing.
        (fields.first() != Some(&"Z")).then_some(())?;
        Some(Self {
            pid,
            command: file(pid, "cmdline").replace('\0', " "),
            parent: fields.get(1)?.parse().ok()?,
            started: (*fields.get(19)?).to_owned(),
        })
    }

    /// A file of it in `/proc`, or nothing when it has ended.
    pub(crate) fn file(&self, name: &str) -> String {
        file(self.pid, name)
    }

    /// Whether it still runs.
    pub(crate) fn lives(&self) -> bool {
        Self::read(self.pid).is_some_and(|it| it.started == self.started)
    }

    /// Whether it runs in a container of this node.
    pub(crate) fn is_in_container_of(&self, slot: u8) -> bool {
        self.file("cgroup").contains(&format!("/bailiwick-node-{slot}/"))
    }

    fn namespace(&self) -> Option<String> {
        let link = fs::read_link(format!("/proc/{}/ns/pid", self.pid)).ok()?;
        Some(link.display().to_string())
    }
}

fn file(pid: u32, name: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn all() -> Result<Vec<Process>> {
    let entries = fs::read_dir("/proc")?.filter_map(Result::ok);
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(Process::read).collect())
}

/// Every process of the node in a slot: its daemons, what they started, and the containers.
pub(crate) fn of_node(slot: u8) -> Result<Vec<Process>> {
    let own = Process::read(std::process::id())
        .and_then(|it| it.namespace())
        .context("no PID namespace of this process")?;
    let all = all()?;
    let marker = format!("{MARKER}={slot}");
    let is_marked = |it: &Process| it.file("environ").split('\0').any(|it| it == marker);
    let is_root = |it: &Process| is_marked(it) && it.namespace().is_some_and(|it| it != own);
    let spaces: Vec<_> = all
        .iter()
        .filter(|it| is_root(it))
        .filter_map(Process::namespace)
        .collect();
    let by_pid: HashMap<_, _> = all.iter().map(|it| (it.pid, it)).collect();
    let belongs = |process: &&Process| {
        let mut next = Some(*process);
        while let Some(it) = next {
            if it.namespace().is_some_and(|it| spaces.contains(&it)) {
                return true;
            }
            next = by_pid.get(&it.parent).copied();
        }
        false
    };
    Ok(all.iter().filter(belongs).cloned().collect())
}

//! Percentiles and memory.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// A percentile of sorted times.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let i = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(i).copied().unwrap_or_default()
}

/// The memory of a process, for people: what is resident, and how much of it is its own and not of a file.
pub(crate) fn memory(pid: u32) -> Result<String> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let mebibytes = |field: &str| -> Result<f64> {
        let line = text.lines().find_map(|it| it.strip_prefix(field));
        let value = line.with_context(|| format!("no {field} in {path}"))?;
        let kibibytes: f64 = value.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kibibytes / 1024.0)
    };
    let (all, anonymous) = (mebibytes("VmRSS:")?, mebibytes("RssAnon:")?);
    Ok(format!("{all:.1} MiB resident ({anonymous:.1} anonymous)"))
}

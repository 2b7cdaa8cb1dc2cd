//! Ends processes whose supervisor was killed before it could end them.
//!
//! Only the holder of a slot may do so: what else bears the slot's number then has no owner any more.

use std::{fs, path::Path, thread, time::Duration};

use super::{MARKER, Signal, signals};
use crate::slot::Slot;

/// Kills every process marked with `slot`, and says how many there were.
///
/// Where there is no `/proc`, nothing is found.
pub fn end(slot: Slot) -> usize {
    let marker = format!("{MARKER}={}", slot.number());
    let found = marked(&marker);
    // One that ended by itself meanwhile is no failure.
    let _ = signals::send(Signal::Kill, &found);
    // Their ports are free only when they are gone.
    for _ in 0..100 {
        if found.is_empty() || marked(&marker).is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    found.len()
}

fn marked(marker: &str) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            bears(&entry.path(), marker).then_some(pid)
        })
        .collect()
}

fn bears(process: &Path, marker: &str) -> bool {
    // Unreadable for the processes of other users.
    fs::read(process.join("environ")).is_ok_and(|environment| {
        environment
            .split(|byte| *byte == 0)
            .any(|it| it == marker.as_bytes())
    })
}

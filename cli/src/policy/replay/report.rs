//! The outcome of a replay, for people and for programs.

use std::io::{self, Write};

use bailiwick_crds::v1alpha1::Difference;
use serde_json::json;

use super::Report;
use crate::report::{columns, printable};

fn word(difference: Difference) -> &'static str {
    match difference {
        Difference::NewlyDenied => "newly denied",
        Difference::NewlyAllowed => "newly allowed",
        Difference::Error => "error",
    }
}

/// Writes a table.
///
/// # Errors
/// When it can't be written.
pub fn table(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    if !report.differs.is_empty() {
        let mut rows = vec![["OBJECT", "DIFFERENCE", "MESSAGE"].map(str::to_owned)];
        for it in &report.differs {
            rows.push([
                printable(&format!("{} {}/{}", it.kind, it.namespace, it.name)).into_owned(),
                word(it.difference).to_owned(),
                printable(&it.message).into_owned(),
            ]);
        }
        columns(&rows, out)?;
        writeln!(out)?;
    }
    writeln!(
        out,
        "{}: {} beside {}: {} evaluated, {} newly denied, {} newly allowed, {} errors",
        report.policy,
        report.candidate,
        report.active.as_deref().unwrap_or("nothing"),
        report.evaluated,
        report.count(Difference::NewlyDenied),
        report.count(Difference::NewlyAllowed),
        report.count(Difference::Error),
    )
}

/// Writes one JSON document.
///
/// # Errors
/// When it can't be written.
pub fn json(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let document = json!({
        "schemaVersion": 1,
        "exitCode": report.exit_code(),
        "policy": report.policy,
        "active": report.active,
        "candidate": report.candidate,
        "summary": {
            "evaluated": report.evaluated,
            "newlyDenied": report.count(Difference::NewlyDenied),
            "newlyAllowed": report.count(Difference::NewlyAllowed),
            "errors": report.count(Difference::Error),
        },
        "differences": report.differs,
        "unread": report.unread,
    });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

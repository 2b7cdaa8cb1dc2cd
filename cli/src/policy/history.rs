//! `bailiwick policy history`: the revisions of a policy, and what each does.

use std::io::{self, Write};

use bailiwick_crds::v1alpha1::{TenantPolicy, TenantPolicyStatus};
use serde_json::json;

use crate::report::columns;

/// What a revision does.
fn state(status: &TenantPolicyStatus, name: &str) -> String {
    let halted = status.halted.as_ref().filter(|it| it.revision == name);
    if status.active_revision.as_deref() == Some(name) {
        "active".to_owned()
    } else if status.candidate_revision.as_deref() == Some(name) {
        match status.candidate_stage {
            Some(stage) => format!("candidate, {stage:?}"),
            None => "candidate".to_owned(),
        }
    } else if halted.is_some() {
        "halted".to_owned()
    } else {
        "-".to_owned()
    }
}

/// Writes a table.
///
/// # Errors
/// When it can't be written.
pub fn table(policy: &TenantPolicy, out: &mut dyn Write) -> io::Result<()> {
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    let status = policy.status.clone().unwrap_or_default();
    if status.revisions.is_empty() {
        writeln!(out, "TenantPolicy '{name}' has no revision yet")?;
    } else {
        let mut rows =
            vec![["NUMBER", "REVISION", "STATE", "AUTHOR", "APPROVED BY", "CREATED"].map(str::to_owned)];
        for it in &status.revisions {
            let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
            rows.push([
                it.number.to_string(),
                it.name.clone(),
                state(&status, &it.name),
                or_dash(it.author.clone()),
                or_dash(it.approved_by.join(", ")),
                it.created
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |it| it.0.to_string()),
            ]);
        }
        columns(&rows, out)?;
    }
    if let Some(revision) = &policy.spec.revision {
        writeln!(
            out,
            "\nspec.revision holds it at {revision}; `rollback {name} --undo` follows what is written again"
        )?;
    }
    if let Some(halted) = &status.halted {
        writeln!(
            out,
            "\nrevision {} was halted: {}",
            halted.revision, halted.message
        )?;
    }
    for error in &status.errors {
        let place = error.line.map_or_else(String::new, |it| format!(":{it}"));
        writeln!(
            out,
            "\nas it is written it is no good: {}{place}: {}",
            error.field, error.message
        )?;
    }
    Ok(())
}

/// Writes one JSON document.
///
/// # Errors
/// When it can't be written.
pub fn json(policy: &TenantPolicy, out: &mut dyn Write) -> io::Result<()> {
    let status = policy.status.clone().unwrap_or_default();
    let revisions = status.revisions.iter().map(|it| {
        json!({
            "number": it.number,
            "name": it.name,
            "state": state(&status, &it.name),
            "author": it.author,
            "approvedBy": it.approved_by,
            "created": it.created,
        })
    });
    let document = json!({
        "schemaVersion": 1,
        "policy": policy.metadata.name,
        "pinned": policy.spec.revision,
        "halted": status.halted,
        "errors": status.errors,
        "revisions": revisions.collect::<Vec<_>>(),
    });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

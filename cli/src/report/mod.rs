//! How a report is shown.

pub mod json;
pub mod table;

use std::borrow::Cow;
use std::io::{self, Write};

use crate::check::document::Unread;
use crate::check::manifest::Id;

/// `Kind namespace/name`, or `Kind name`.
pub(crate) fn object(id: &Id) -> String {
    let Id {
        kind,
        namespace,
        name,
        ..
    } = id;
    let shown = match namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    };
    printable(&shown).into_owned()
}

/// `file:line:column: message; fix`, for the standard error.
pub fn unread(unread: &Unread) -> String {
    let Unread {
        file,
        at,
        message,
        fix,
    } = unread;
    let place = match at {
        Some(at) => format!("{file}:{}:{}", at.line, at.column),
        None => file.clone(),
    };
    let fix = fix.as_ref().map(|it| format!("; {it}")).unwrap_or_default();
    printable(&format!("{place}: {message}{fix}")).into_owned()
}

/// Writes rows with cells that are as wide as the widest of their column.
///
/// # Errors
/// When they can't be written.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]], out: &mut dyn Write) -> io::Result<()> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let padded = row.iter().zip(widths).map(|(cell, width)| {
            let missing = width.saturating_sub(cell.chars().count());
            format!("{}{}", printable(cell), " ".repeat(missing))
        });
        let line = padded.collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Text from a file, with control characters escaped: it goes to a terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().flat_map(|c| {
        if c.is_control() {
            c.escape_default().collect::<Vec<_>>()
        } else {
            vec![c]
        }
    });
    Cow::Owned(escaped.collect())
}

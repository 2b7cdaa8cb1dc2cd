//! What is wrong with a policy, and where.

use std::fmt;

/// Something that keeps a policy from being compiled, or that ended an evaluation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    /// Name of the source, as it was given.
    pub file: String,
    /// Line, counted from 1; 0 where the problem is not at a place.
    pub line: u32,
    /// Column, counted from 1; 0 where the problem is not at a place.
    pub column: u32,
    /// What is wrong, what is allowed and what to do.
    pub message: String,
}

impl Problem {
    pub(super) fn at(file: &str, (line, column): (u32, u32), message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            column,
            message: message.into(),
        }
    }

    /// Reads an error of the engine: `\n--> file:line:column\n … \nerror: message`, or plain text.
    pub(super) fn of_engine(file: &str, error: &anyhow::Error) -> Self {
        let text = error.to_string();
        let message = text
            .rsplit_once("\nerror: ")
            .map_or(text.as_str(), |(_, it)| it)
            .trim();
        let place = text.split_once("--> ").and_then(|(_, it)| {
            let mut parts = it.lines().next()?.rsplitn(3, ':');
            let column = parts.next()?.parse().ok()?;
            let line = parts.next()?.parse().ok()?;
            Some((parts.next()?, (line, column)))
        });
        let (file, place) = place.unwrap_or((file, (0, 0)));
        Self::at(file, place, message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)
        } else {
            write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
        }
    }
}

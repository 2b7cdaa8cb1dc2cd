//! A policy as its author wrote it.

use serde::{Deserialize, Serialize};

/// The dialect of Rego that a source is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// Rego v1: `if` and `contains`, as OPA 1.0 reads it.
    #[default]
    V1,
    /// Rego v0, as OPA read it before 1.0 and as Gatekeeper does by default.
    V0,
}

/// One file of Rego.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name in messages.
    pub name: String,
    /// The text.
    pub text: String,
}

impl Source {
    /// A source with a name for messages.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}

/// Whose way of writing policies a source follows. It decides what `input` is and how a failing builtin counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Convention {
    /// `package bailiwick` with `deny` or `warn`: `input.request` is the admission request. A builtin that fails ends
    /// the evaluation, and the request is refused.
    Bailiwick,
    /// Any package with `violation`, as in a ConstraintTemplate: `input.review` is the admission request and
    /// `input.parameters` the parameters. A builtin that fails is undefined, as in OPA.
    Gatekeeper,
    /// `package main` with `deny`, `warn` or `violation`: `input` is the object itself. A builtin that fails is
    /// undefined, as in OPA.
    Conftest,
}

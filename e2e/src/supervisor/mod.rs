//! Owns every child process of a cluster, so that none is ever left over.
//!
//! The supervisor is a process of its own (`bailiwick-dev supervise`) in its own process group, so a Ctrl-C
//! at the terminal doesn't reach it. It holds a [`crate::slot`] and takes orders on stdin, one JSON document a line.
//! When stdin closes, because whoever started it is done or dead, or on SIGTERM, it kills all children and ends.

mod client;
pub mod leftovers;
mod server;
pub mod signals;

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use client::{Process, Supervisor};
pub use server::supervise;

/// Environment variable that marks every child with the number of the slot that it was started in.
pub const MARKER: &str = "BAILIWICK_SLOT";

/// A process to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Unique among the running processes of a supervisor.
    pub name: String,
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment: nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// The file that stdout and stderr are appended to.
    pub log: PathBuf,
}

/// What can be sent to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// Ends it politely.
    Term,
    /// Ends it at once.
    Kill,
    /// Freezes it: it lives, holds its connections and answers nothing.
    Stop,
    /// Thaws it.
    Continue,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What the client sends.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    id: u64,
    action: Action,
}

#[derive(Debug, Serialize, Deserialize)]
enum Action {
    Start(ProcessSpec),
    Signal { name: String, signal: Signal },
}

/// What the supervisor sends.
#[derive(Debug, Serialize, Deserialize)]
enum Message {
    /// The first message: the supervisor has a slot.
    Ready { slot: u8 },
    /// The supervisor can't work.
    Failed { error: String },
    /// The answer to an order: the process's id, or what is wrong.
    Done { id: u64, outcome: Result<u32, String> },
    /// A process ended.
    Exited { name: String, exit: Exit },
}

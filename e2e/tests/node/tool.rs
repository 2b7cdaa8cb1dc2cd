//! The tool behind `make node-up` and `make node-down`, on a folder that nothing of is left after the test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{
    checkout,
    supervisor::{Signal, signals},
};

use crate::site::{VERSION, archive, directory};

/// How long a namespace takes to end with all in it.
const GONE: Duration = Duration::from_secs(30);

/// A node of the tool's own. It ends with the value.
pub(crate) struct Tool {
    folder: PathBuf,
}

impl Tool {
    /// One in this folder, which an interrupted run may have left.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let this = Self {
            folder: directory()?.with_file_name(name),
        };
        this.down()?;
        Ok(this)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The command line of `node-up`, after a program that runs it, such as one that takes something away from it.
    pub(crate) fn up_under(&self, wrapper: &[&str]) -> Result<Command> {
        let program = checkout::binary_directory()?.join("bailiwick-dev");
        let mut command = match wrapper {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command.arg("node-up").arg("--directory").arg(&self.folder);
        command.arg("--image").arg(archive(VERSION)?);
        Ok(command)
    }

    /// `node-up`, which has to succeed; gives what it said.
    pub(crate) fn up(&self) -> Result<String> {
        let output = self.up_under(&[])?.output()?;
        let said = said(&output);
        ensure!(output.status.success(), "{said}");
        Ok(said)
    }

    /// `node-up`, which goes on.
    pub(crate) fn start_up(&self) -> Result<Child> {
        let mut command = self.up_under(&[])?;
        Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    }

    /// `node-down`, which has to succeed; gives what it said.
    pub(crate) fn down(&self) -> Result<String> {
        let program = checkout::binary_directory()?.join("bailiwick-dev");
        let mut command = Command::new(program);
        command.arg("node-down").arg("--directory").arg(&self.folder);
        let output = command.output()?;
        let said = said(&output);
        ensure!(output.status.success() && !self.folder.exists(), "{said}");
        Ok(said)
    }

    /// The slot on record.
    pub(crate) fn slot(&self) -> Result<u8> {
        slot_of(&self.folder)
    }

    /// Ends the process behind the node as nothing else can.
    pub(crate) fn kill_daemon(&self) -> Result<()> {
        let lock = fs::read_to_string(self.folder.join("lock"))?;
        let daemon = lock.trim().parse().context("the daemon's id")?;
        signals::send(Signal::Kill, &[daemon])
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // When the test failed; otherwise there is nothing to end.
        let _ = self.down();
    }
}

/// The slot of a node's folder.
pub(crate) fn slot_of(folder: &Path) -> Result<u8> {
    let slot = fs::read_to_string(folder.join("slot")).context("the node's slot is not on record")?;
    slot.trim().parse().context("not a slot")
}

/// All that a program said.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Waits until a look at the machine finds nothing wrong.
pub(crate) fn soon(mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    let begin = Instant::now();
    loop {
        let Err(error) = attempt() else {
            return Ok(());
        };
        if begin.elapsed() > GONE {
            bail!("not within {GONE:?}: {error:#}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

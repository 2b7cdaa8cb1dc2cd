//! The one cluster of a checkout: its folder, and whether it runs.
//!
//! Whoever runs it holds a lock on a file in the folder, so that a crash can't be mistaken for a running cluster,
//! and another process that got the same id can't either.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// A cluster's folder, which may not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    directory: PathBuf,
    kind: Kind,
}

/// Which of the two clusters of a checkout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Without a node.
    ControlPlane,
    /// With one.
    Node,
}

impl Kind {
    /// Its folder in the checkout.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::ControlPlane => ".bailiwick",
            Self::Node => ".bailiwick-node",
        }
    }

    /// What starts it.
    pub(crate) fn up(self) -> &'static str {
        match self {
            Self::ControlPlane => "make up",
            Self::Node => "make node-up",
        }
    }

    /// What ends it.
    pub(crate) fn down(self) -> &'static str {
        match self {
            Self::ControlPlane => "make down",
            Self::Node => "make node-down",
        }
    }
}

/// What is the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing was started.
    Absent,
    /// Something was started and ended without `down`.
    Stale,
    /// Somebody is starting it.
    Starting,
    /// It runs.
    Running,
}

/// The right to run the cluster, until this is dropped or the process ends.
pub(crate) struct Held(File);

impl Instance {
    pub(crate) fn at(directory: PathBuf, kind: Kind) -> Self {
        Self { directory, kind }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// The log of the process behind `up`.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("daemon.log")
    }

    /// Links to the programs that fit the cluster.
    pub(crate) fn programs(&self) -> PathBuf {
        self.directory.join("bin")
    }

    pub(crate) fn state(&self) -> State {
        let Ok(file) = File::open(self.lock()) else {
            return if self.directory.exists() {
                State::Stale
            } else {
                State::Absent
            };
        };
        match (file.try_lock(), self.ready().exists()) {
            (Ok(()), _) => State::Stale,
            (Err(_), false) => State::Starting,
            (Err(_), true) => State::Running,
        }
    }

    /// This instance, if it runs.
    pub(crate) fn running(&self) -> Result<&Self> {
        match self.state() {
            State::Running => Ok(self),
            State::Starting => bail!("the cluster is being started: wait for `{}`", self.kind.up()),
            State::Absent => bail!("no cluster is running: start one with `{}`", self.kind.up()),
            State::Stale => bail!("{}", self.epitaph()),
        }
    }

    /// Why a stale instance is stale, as far as is known.
    pub(crate) fn epitaph(&self) -> String {
        let cause =
            fs::read_to_string(self.failure()).unwrap_or_else(|_| "its process was killed".to_owned());
        format!(
            "the cluster has ended: {}\nStart another one with `{}`.",
            cause.trim(),
            self.kind.up()
        )
    }

    /// Takes the right to run the cluster; makes the folder.
    pub(crate) fn hold(&self) -> Result<Held> {
        fs::create_dir_all(&self.directory)
            .with_context(|| format!("create {}", self.directory.display()))?;
        // Not emptied before it is ours: the holder's id is in it.
        let options = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.lock());
        let mut file = options.context("open the lock file")?;
        // Whoever asks for the state holds the lock for a moment.
        let held = (0..10).any(|_| file.try_lock().is_ok() || pause());
        if !held {
            bail!("the cluster runs already");
        }
        file.set_len(0).context("empty the lock file")?;
        write!(file, "{}", std::process::id()).context("write the lock file")?;
        Ok(Held(file))
    }

    /// The process that holds the lock.
    pub(crate) fn holder(&self) -> Option<u32> {
        let text = fs::read_to_string(self.lock()).ok()?;
        text.trim().parse().ok()
    }

    /// Records the slot, for whoever cleans up.
    pub(crate) fn record_slot(&self, number: u8) -> Result<()> {
        fs::write(self.directory.join("slot"), number.to_string()).context("record the slot")
    }

    /// The slot that was recorded.
    pub(crate) fn slot(&self) -> Option<u8> {
        fs::read_to_string(self.directory.join("slot"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    pub(crate) fn mark_ready(&self) -> Result<()> {
        fs::write(self.ready(), "").context("mark the cluster as ready")
    }

    pub(crate) fn record_failure(&self, cause: &str) {
        // Who reads it says something vaguer without it.
        let _ = fs::write(self.failure(), cause);
    }

    /// Removes the folder with everything in it.
    pub(crate) fn remove(&self) -> Result<()> {
        fs::remove_dir_all(&self.directory).with_context(|| format!("remove {}", self.directory.display()))
    }

    fn lock(&self) -> PathBuf {
        self.directory.join("lock")
    }

    fn ready(&self) -> PathBuf {
        self.directory.join("ready")
    }

    fn failure(&self) -> PathBuf {
        self.directory.join("failure")
    }
}

/// Not yet.
fn pause() -> bool {
    thread::sleep(Duration::from_millis(20));
    false
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing the file would do; this says so.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(name: &str) -> Instance {
        let directory = checkout().join(format!("{name}-{}", std::process::id()));
        Instance::at(directory, Kind::ControlPlane)
    }

    fn checkout() -> PathBuf {
        std::env::temp_dir().join("bailiwick-dev-tests")
    }

    #[test]
    fn the_state_follows_the_lock() {
        let instance = instance("state");
        assert_eq!(instance.state(), State::Absent);
        let held = instance.hold().unwrap();
        assert_eq!(instance.state(), State::Starting);
        assert!(instance.hold().is_err());
        instance.mark_ready().unwrap();
        assert_eq!(instance.state(), State::Running);
        assert_eq!(instance.holder(), Some(std::process::id()));
        drop(held);
        assert_eq!(instance.state(), State::Stale);
        instance.record_failure("etcd is dead");
        assert!(
            instance
                .running()
                .unwrap_err()
                .to_string()
                .contains("etcd is dead")
        );
        instance.remove().unwrap();
        assert_eq!(instance.state(), State::Absent);
    }
}

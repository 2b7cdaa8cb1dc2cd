//! One Pod that runs as a local process, and what a test may do to it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::{
    api::core::v1::{Container, Pod},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;
use tokio::sync::watch;

use super::invocation;
use crate::{
    probe::{self, Answer},
    supervisor::{Exit, Process, Signal},
    wait::eventually,
};

/// The name of the container port with `/healthz`, `/readyz` and `/metrics`.
const ADMIN_PORT: &str = "admin";

/// Of an excerpt of a log, in characters.
const LONGEST_LINE: usize = 300;

/// A Pod and its process. Clones are the same replica.
#[derive(Clone)]
pub struct Replica(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) pod: Pod,
    pub(super) address: Ipv4Addr,
    pub(super) log: PathBuf,
    pub(super) state: watch::Sender<State>,
    pub(super) orders: watch::Sender<Orders>,
}

/// What is the case.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) process: Option<Process>,
    pub(super) ready: bool,
    pub(super) restarts: u32,
    pub(super) last_exit: Option<Exit>,
    /// Why the process can't be started.
    pub(super) problem: Option<String>,
}

/// What shall be the case.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Orders {
    /// Don't start the process (again).
    pub(super) hold: bool,
    /// The Pod is being deleted: end the process within this time.
    pub(super) end: Option<Duration>,
}

impl Replica {
    /// The Pod's name.
    pub fn name(&self) -> String {
        self.0.pod.name_any()
    }

    /// The Pod's address.
    pub fn address(&self) -> Ipv4Addr {
        self.0.address
    }

    /// The file with everything that the process printed, over all restarts.
    pub fn log(&self) -> &Path {
        &self.0.log
    }

    /// Whether the readiness probe succeeds.
    pub fn is_ready(&self) -> bool {
        self.0.state.borrow().ready
    }

    /// How often the process was started again.
    pub fn restarts(&self) -> u32 {
        self.0.state.borrow().restarts
    }

    /// How the process ended the last time.
    pub fn last_exit(&self) -> Option<Exit> {
        self.0.state.borrow().last_exit
    }

    /// The process's id, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process().map(|it| it.pid())
    }

    /// SIGKILL. The kubelet starts the process again.
    pub async fn kill(&self) -> Result<()> {
        let process = self
            .process()
            .with_context(|| format!("{} isn't running", self.name()))?;
        process.signal(Signal::Kill).await?;
        self.wait_until_ended(&process).await;
        Ok(())
    }

    /// SIGTERM, and gives how the process ended. It stays down until [`Replica::start`].
    pub async fn stop(&self) -> Result<Option<Exit>> {
        self.order(|it| it.hold = true);
        let Some(process) = self.process() else {
            return Ok(None);
        };
        let exit = process.stop(self.grace_period()).await?;
        self.wait_until_ended(&process).await;
        Ok(Some(exit))
    }

    /// SIGKILL, and the process stays down until [`Replica::start`].
    pub async fn crash(&self) -> Result<()> {
        self.order(|it| it.hold = true);
        if let Some(process) = self.process() {
            process.signal(Signal::Kill).await?;
            self.wait_until_ended(&process).await;
        }
        Ok(())
    }

    /// Starts the process that [`Replica::stop`] or [`Replica::crash`] ended; doesn't wait for anything.
    pub fn start(&self) {
        self.order(|it| it.hold = false);
    }

    /// SIGSTOP: the process lives, keeps its connections and does nothing.
    pub async fn pause(&self) -> Result<()> {
        let process = self
            .process()
            .with_context(|| format!("{} isn't running", self.name()))?;
        process.signal(Signal::Stop).await
    }

    /// SIGCONT.
    pub async fn resume(&self) -> Result<()> {
        let process = self
            .process()
            .with_context(|| format!("{} isn't running", self.name()))?;
        process.signal(Signal::Continue).await
    }

    /// Waits until the readiness probe succeeds.
    #[track_caller]
    pub fn wait_until_ready(&self, deadline: Duration) -> impl Future<Output = Result<()>> {
        let what = format!("{} is ready", self.name());
        let this = self.clone();
        async move {
            eventually(deadline, &what, async || {
                ensure!(this.is_ready(), "{}", this.describe());
                Ok(())
            })
            .await
        }
    }

    /// `/metrics` as text.
    pub async fn metrics(&self) -> Result<String> {
        let answer = self.get("/metrics").await?;
        ensure!(
            answer.status == 200,
            "/metrics of {} answers {}",
            self.name(),
            answer.status
        );
        Ok(answer.body)
    }

    /// Asks the process's admin port.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        let admin = self.endpoint(&IntOrString::String(ADMIN_PORT.to_owned()));
        let admin = admin.with_context(|| format!("{} has no port {ADMIN_PORT}", self.name()))?;
        probe::get(admin, path, Duration::from_secs(5)).await
    }

    /// The address of one of the container's ports.
    pub fn endpoint(&self, port: &IntOrString) -> Option<SocketAddr> {
        let port = invocation::port(self.container().ok()?, port)?;
        Some(SocketAddr::from((self.0.address, port)))
    }

    /// The end of the log.
    pub fn last_log_lines(&self, n: usize) -> String {
        let text = std::fs::read_to_string(&self.0.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(n)..].join("\n")
    }

    /// The same for a message, in which lines are short.
    fn log_excerpt(&self) -> String {
        let lines = self.last_log_lines(6);
        let short = |line: &str| line.chars().take(LONGEST_LINE).collect::<String>();
        lines.lines().map(short).collect::<Vec<_>>().join("\n    ")
    }

    /// State and last log lines, for a message about what isn't as it should be.
    pub fn describe(&self) -> String {
        let state = self.0.state.borrow().clone();
        let running = match (&state.process, &state.problem, state.last_exit) {
            (_, Some(problem), _) => format!("can't be started: {problem}"),
            (Some(process), ..) => format!("runs as process {}", process.pid()),
            (None, _, Some(exit)) => format!("ended with {exit}"),
            (None, ..) => "was not started yet".to_owned(),
        };
        let ready = if state.ready { "ready" } else { "not ready" };
        format!(
            "{} {running}, {ready}, {} restarts; {}:\n    {}",
            self.name(),
            state.restarts,
            self.0.log.display(),
            self.log_excerpt(),
        )
    }

    /// Whether a Service may send connections here.
    pub(super) fn serves(&self) -> bool {
        self.is_ready() && self.0.orders.borrow().end.is_none()
    }

    pub(super) fn grace_period(&self) -> Duration {
        let seconds = self
            .0
            .pod
            .spec
            .as_ref()
            .and_then(|it| it.termination_grace_period_seconds);
        Duration::from_secs(seconds.and_then(|it| it.try_into().ok()).unwrap_or(30))
    }

    pub(super) fn container(&self) -> Result<&Container> {
        match self.0.pod.spec.as_ref().and_then(|it| it.containers.first()) {
            Some(container) => Ok(container),
            None => bail!("Pod {} has no container", self.name()),
        }
    }

    pub(super) fn order(&self, change: impl FnOnce(&mut Orders)) {
        self.0.orders.send_modify(change);
    }

    /// Waits until the kubelet has noticed, too.
    async fn wait_until_ended(&self, process: &Process) {
        let mut state = self.0.state.subscribe();
        // An error is impossible: this replica owns the sender.
        let _ = state
            .wait_for(|it| it.process.as_ref().is_none_or(|it| it.pid() != process.pid()))
            .await;
    }

    fn process(&self) -> Option<Process> {
        self.0.state.borrow().process.clone()
    }
}

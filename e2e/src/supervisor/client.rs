//! The handle on a supervisor: starts processes, signals them, and knows when they end.

use std::{
    collections::HashMap,
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{Mutex as AsyncMutex, oneshot, watch},
    time::timeout,
};

use super::{Action, Exit, Message, Order, ProcessSpec, Signal};
use crate::{checkout, slot::Slot};

/// A supervisor process. All it started ends when the last clone of this is dropped.
#[derive(Clone)]
pub struct Supervisor {
    orders: Arc<AsyncMutex<Option<ChildStdin>>>,
    waiting: Arc<Mutex<Waiting>>,
    next_id: Arc<AtomicU64>,
    process: Arc<AsyncMutex<Child>>,
    slot: Slot,
}

/// Who waits for a message of the supervisor.
#[derive(Default)]
struct Waiting {
    /// No message will come any more.
    gone: bool,
    answers: HashMap<u64, oneshot::Sender<Result<u32, String>>>,
    exits: HashMap<String, watch::Sender<Option<Exit>>>,
}

impl Supervisor {
    /// Starts the supervisor; what it has to complain about goes to `log`.
    ///
    /// `wrapper` is the command that runs it, such as one that makes namespaces for it. `slot` is the one to take
    /// instead of any.
    pub async fn start(log: &Path, wrapper: &[&str], slot: Option<Slot>) -> Result<Self> {
        let program = supervisor_program()?;
        let mut command = match wrapper {
            [] => Command::new(&program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&program);
                command
            }
        };
        command.arg("supervise");
        if let Some(slot) = slot {
            command.arg(format!("--slot={}", slot.number()));
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log).with_context(|| format!("create {}", log.display()))?)
            // Away from the terminal's group: Ctrl-C ends the tests, and the closed pipe ends the supervisor.
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let orders = process.stdin.take().context("the supervisor has no stdin")?;
        let mut messages =
            BufReader::new(process.stdout.take().context("the supervisor has no stdout")?).lines();
        let slot = match next_message(&mut messages).await? {
            Some(Message::Ready { slot }) => Slot::from_number(slot),
            Some(Message::Failed { error }) => bail!("{error}"),
            _ => bail!("the supervisor ended at once: see {}", log.display()),
        };
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        tokio::spawn(listen(messages, Arc::clone(&waiting)));
        Ok(Self {
            orders: Arc::new(AsyncMutex::new(Some(orders))),
            waiting,
            next_id: Arc::default(),
            process: Arc::new(AsyncMutex::new(process)),
            slot,
        })
    }

    /// The process that was started: the supervisor, or its wrapper.
    pub async fn pid(&self) -> Option<u32> {
        self.process.lock().await.id()
    }

    /// The slot that the supervisor holds as long as it lives.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Whether the supervisor has ended. What it started then has no owner any more, or is gone too.
    pub fn is_gone(&self) -> bool {
        locked(&self.waiting).gone
    }

    /// Starts a process.
    pub async fn spawn(&self, spec: ProcessSpec) -> Result<Process> {
        let (sender, exit) = watch::channel(None);
        let (name, log) = (spec.name.clone(), spec.log.clone());
        {
            let mut waiting = locked(&self.waiting);
            if waiting.exits.contains_key(&name) {
                bail!("a process {name:?} is running already");
            }
            // Before the order is sent: a process may end before its start is confirmed.
            waiting.exits.insert(name.clone(), sender);
        }
        match self.order(Action::Start(spec)).await {
            Ok(pid) => Ok(Process {
                supervisor: self.clone(),
                name,
                pid,
                log,
                exit,
            }),
            Err(error) => {
                locked(&self.waiting).exits.remove(&name);
                Err(error)
            }
        }
    }

    /// Runs a process to its end, which has to be a success.
    pub async fn run(&self, spec: ProcessSpec) -> Result<()> {
        let (name, log) = (spec.name.clone(), spec.log.clone());
        let exit = self.spawn(spec).await?.wait().await;
        if exit != Exit::Code(0) {
            let log = fs::read_to_string(log).unwrap_or_default();
            bail!("{name} failed ({exit}): {}", log.trim());
        }
        Ok(())
    }

    /// Ends the supervisor with everything it started, and returns when all of it is gone.
    pub async fn shut_down(&self) -> Result<()> {
        self.orders.lock().await.take();
        let mut process = self.process.lock().await;
        if timeout(Duration::from_secs(10), process.wait()).await.is_err() {
            process.kill().await.context("kill the supervisor")?;
        }
        Ok(())
    }

    async fn order(&self, action: Action) -> Result<u32> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        locked(&self.waiting).answers.insert(id, sender);
        let mut line = serde_json::to_vec(&Order { id, action }).context("write an order")?;
        line.push(b'\n');
        match self.orders.lock().await.as_mut() {
            Some(pipe) => pipe.write_all(&line).await.context("the supervisor is gone")?,
            None => bail!("the cluster has been stopped"),
        }
        answer
            .await
            .context("the supervisor is gone")?
            .map_err(|error| anyhow!(error))
    }
}

/// A process that the supervisor runs. Dropping the handle doesn't end it.
#[derive(Clone)]
pub struct Process {
    supervisor: Supervisor,
    name: String,
    pid: u32,
    log: PathBuf,
    exit: watch::Receiver<Option<Exit>>,
}

impl Process {
    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The file of its stdout and stderr.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it did.
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Waits until it has ended.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        // The sender is dropped only together with the supervisor, which takes the process along.
        exit.wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|it| *it)
            .unwrap_or(Exit::Signal(9))
    }

    /// Sends a signal; to a process that has ended, that does nothing.
    pub async fn signal(&self, signal: Signal) -> Result<()> {
        if self.exit().is_some() {
            return Ok(());
        }
        self.supervisor
            .order(Action::Signal {
                name: self.name.clone(),
                signal,
            })
            .await
            .map(drop)
    }

    /// SIGTERM, and SIGKILL if it still runs after `grace`.
    pub async fn stop(&self, grace: Duration) -> Result<Exit> {
        self.signal(Signal::Term).await?;
        if let Ok(exit) = timeout(grace, self.wait()).await {
            return Ok(exit);
        }
        self.signal(Signal::Kill).await?;
        Ok(self.wait().await)
    }
}

async fn listen(mut messages: Lines<BufReader<ChildStdout>>, waiting: Arc<Mutex<Waiting>>) {
    while let Ok(Some(message)) = next_message(&mut messages).await {
        match message {
            Message::Done { id, outcome } => {
                let answer = locked(&waiting).answers.remove(&id);
                // Whoever asked may have given up.
                let _ = answer.map(|it| it.send(outcome));
            }
            Message::Exited { name, exit } => {
                let sender = locked(&waiting).exits.remove(&name);
                let _ = sender.map(|it| it.send_replace(Some(exit)));
            }
            Message::Ready { .. } | Message::Failed { .. } => {}
        }
    }
    // The supervisor is gone: nobody shall wait for it.
    *locked(&waiting) = Waiting {
        gone: true,
        ..Waiting::default()
    };
}

async fn next_message(messages: &mut Lines<BufReader<ChildStdout>>) -> Result<Option<Message>> {
    let line = messages.next_line().await.context("listen to the supervisor")?;
    line.map(|it| serde_json::from_str(&it).with_context(|| format!("from the supervisor: {it:?}")))
        .transpose()
}

fn supervisor_program() -> Result<PathBuf> {
    let own = env::current_exe().context("find the path of this program")?;
    if own.file_name().is_some_and(|it| it == "bailiwick-dev") {
        return Ok(own);
    }
    let program = checkout::binary_directory()?.join("bailiwick-dev");
    if !program.exists() {
        bail!(
            "{} is missing: build it with `cargo build -p bailiwick-e2e --bins`",
            program.display()
        );
    }
    Ok(program)
}

fn locked(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

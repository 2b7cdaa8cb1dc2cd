//! The supervisor's own process: carries out orders, and kills all children at the end.

use std::{
    collections::HashMap,
    fs::OpenOptions,
    io::{self, Write},
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{Action, Exit, MARKER, Message, Order, ProcessSpec, Signal, leftovers, signals};
use crate::slot::{HeldSlot, Slot};

/// Running children by name. Taken out as soon as they are reaped, so an id in here is never someone else's.
type Children = Arc<Mutex<HashMap<String, u32>>>;

/// Serves until stdin closes or SIGTERM arrives.
///
/// Runs on a runtime with one thread: nothing can come between reaping a child and forgetting its id.
pub async fn supervise(slot: Option<u8>) -> Result<()> {
    let held = match slot {
        None => HeldSlot::take(),
        Some(number) => HeldSlot::try_take(Slot::from_number(number))
            .with_context(|| format!("slot {number} is held by another cluster")),
    };
    let held = match held {
        Ok(held) => held,
        Err(error) => {
            send(&Message::Failed {
                error: format!("{error:#}"),
            });
            return Err(error);
        }
    };
    leftovers::end(held.slot);
    send(&Message::Ready {
        slot: held.slot.number(),
    });

    let children = Children::default();
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut orders = orders();
    loop {
        tokio::select! {
            line = orders.recv() => match line {
                Some(line) => carry_out(&line, held.slot, &children),
                None => break,
            },
            _ = terminate.recv() => break,
        }
    }
    end_all(&children).await;
    Ok(())
}

/// The lines of stdin. The channel closes when stdin does.
fn orders() -> mpsc::UnboundedReceiver<String> {
    let (sender, orders) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    orders
}

fn carry_out(line: &str, slot: Slot, children: &Children) {
    let order: Order = match serde_json::from_str(line) {
        Ok(order) => order,
        Err(error) => {
            return send(&Message::Failed {
                error: format!("not an order: {error}"),
            });
        }
    };
    match order.action {
        Action::Start(spec) => match start(&spec, slot) {
            Ok((child, pid)) => {
                locked(children).insert(spec.name.clone(), pid);
                send(&Message::Done {
                    id: order.id,
                    outcome: Ok(pid),
                });
                tokio::spawn(reap(child, spec.name, Arc::clone(children)));
            }
            Err(error) => send(&Message::Done {
                id: order.id,
                outcome: Err(format!("{error:#}")),
            }),
        },
        Action::Signal { name, signal } => {
            // One that ended already needs no signal any more.
            let pid = locked(children).get(&name).copied();
            let sent = signals::send(signal, pid.as_slice());
            let outcome = sent
                .map(|()| 0)
                .map_err(|error| format!("signal {name}: {error:#}"));
            send(&Message::Done {
                id: order.id,
                outcome,
            });
        }
    }
}

fn start(spec: &ProcessSpec, slot: Slot) -> Result<(Child, u32)> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&spec.log)
        .with_context(|| format!("open {}", spec.log.display()))?;
    let child = Command::new(&spec.program)
        .args(&spec.arguments)
        .env_clear()
        .envs(&spec.environment)
        .env(MARKER, slot.number().to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", spec.program.display()))?;
    let pid = child.id().context("a new process without an id")?;
    Ok((child, pid))
}

async fn reap(mut child: Child, name: String, children: Children) {
    let status = child.wait().await;
    locked(&children).remove(&name);
    let exit = status.map_or(Exit::Code(-1), exit);
    send(&Message::Exited { name, exit });
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    }
}

/// Nothing here has state worth a polite end: all of it belongs to a cluster that is being thrown away.
async fn end_all(children: &Children) {
    let pids: Vec<_> = locked(children).values().copied().collect();
    // Those that end by themselves meanwhile are what is wanted.
    let _ = signals::send(Signal::Kill, &pids);
    for _ in 0..200 {
        if locked(children).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn send(message: &Message) {
    // Nobody listens any more once the client is gone, and stdin says so too.
    let mut stdout = io::stdout().lock();
    if let Ok(text) = serde_json::to_string(message) {
        let _ = writeln!(stdout, "{text}");
        let _ = stdout.flush();
    }
}

fn locked(children: &Children) -> MutexGuard<'_, HashMap<String, u32>> {
    children.lock().unwrap_or_else(PoisonError::into_inner)
}

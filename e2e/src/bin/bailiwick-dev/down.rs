//! `down`: ends the cluster, and whatever a crash left of one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{
    node,
    progress::Step,
    slot::{HeldSlot, Slot},
    supervisor::{Signal, leftovers, signals},
    wait::eventually,
};

use crate::instance::{Instance, Kind, State};

/// Ends the cluster of this checkout.
pub(crate) async fn down(instance: &Instance) -> Result<()> {
    match instance.state() {
        State::Absent => println!("No cluster is running."),
        State::Stale => {
            clean_up(instance).await?;
            println!("Cleaned up what an earlier cluster left.");
        }
        State::Starting | State::Running => {
            let step = Step::start("stopping the cluster");
            end_holder(instance).await?;
            clean_up(instance).await?;
            step.done();
        }
    }
    if instance.kind() == Kind::Node {
        // Of tests that were interrupted, which have no folder of their own here.
        let count = node::sweep().await?;
        if count > 0 {
            println!("Cleaned up what other nodes left that were killed: {count}.");
        }
    }
    Ok(())
}

/// Ends the daemon: politely, then by force.
async fn end_holder(instance: &Instance) -> Result<()> {
    for signal in [Signal::Term, Signal::Kill] {
        // Only the holder of the lock writes its id, and it holds the lock now: the id isn't someone else's.
        if let Some(pid) = instance.holder() {
            // It may have ended between the two.
            let _ = signals::send(signal, &[pid]);
        }
        let gone = eventually(Duration::from_secs(10), "the daemon has ended", async || {
            ensure!(
                matches!(instance.state(), State::Stale | State::Absent),
                "it still runs"
            );
            Ok(())
        });
        if gone.await.is_ok() {
            return Ok(());
        }
    }
    anyhow::bail!(
        "the process behind the cluster can't be ended; see {}",
        instance.log().display()
    )
}

/// Ends processes without an owner, and removes the folder.
pub(crate) async fn clean_up(instance: &Instance) -> Result<()> {
    if let Some(number) = instance.slot() {
        let slot = Slot::from_number(number);
        // The supervisor lets go of the slot when all its children are gone. If it was killed, the slot is free and
        // they are not; if the slot is taken by then, its new holder has ended them.
        let held = eventually(Duration::from_secs(5), "the slot is free", async || {
            HeldSlot::try_take(slot).context("it is held")
        });
        match (held.await, instance.kind()) {
            (Ok(_held), kind) => {
                leftovers::end(slot);
                if kind == Kind::Node {
                    node::clean_up(slot).await?;
                }
            }
            // Another cluster took the slot: what nobody uses goes, and a node's own stays.
            (Err(_), Kind::Node) => node::sweep().await.map(drop)?,
            (Err(_), Kind::ControlPlane) => {}
        }
    }
    instance.remove()
}

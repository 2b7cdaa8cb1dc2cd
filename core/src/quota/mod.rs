//! A quota over all namespaces of a tenant, held in escrow.
//!
//! Each namespace has a *slice*: a ResourceQuota of its own, which the API server enforces by itself. [`next`] says
//! what to write into the slices, so that together they never admit more than the tenant's limit, and so that what is
//! free comes to those who need it.
//!
//! It remembers nothing: what a namespace may still take is read off its slice. The API server enforces
//! `status.hard`, which follows `spec.hard` at some later time, so a namespace *holds* the largest of both and of what
//! it uses ([`Slice::held`]). Nobody can raise that but the one who writes `spec.hard`, and from this follows the law:
//! **a slice grows by what nobody holds, and by nothing that somebody is still to give back.**
//!
//! Whoever carries the moves out has to see to two things, because no function of an observation can:
//! - the observation is read from the API server after the writes of the pass before are over, and each write is refused
//!   if the slice changed since ([`Move`] is for the very slice that was observed);
//! - a write that was sent earlier, by a leader before this one or in a pass that was given up, may still be on its way.
//!   So nothing grows before all slices are [signed](Signature) with a word that is new: what is on its way is refused
//!   then.

mod refusal;
mod share;

use std::collections::{BTreeMap, BTreeSet};

pub use refusal::asked;
pub use share::is_whole;

use crate::quantity::Amount;

/// Amounts by resource name, as in a ResourceQuota's `hard`.
pub type Amounts = BTreeMap<String, Amount>;

/// The name of each slice.
pub const SLICE: &str = "bailiwick-tenant";

/// What a namespace is to its tenant's quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stake {
    /// It has a slice, and gets what it needs.
    Member,
    /// It is being deleted: it holds what it has until its slice is gone, and gets nothing.
    Leaving,
}

/// Who wrote a slice last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// This writer, as it is now.
    Ours,
    /// Another one: something of it may still be on its way.
    Foreign,
}

/// Whether objects come and go in a namespace at this moment.
///
/// Kubernetes counts anew what a namespace uses whenever `spec.hard` changes, from caches that may not hold yet what was
/// created a moment ago. A slice is therefore left alone while it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// Nothing changed for a while, or it was waited for long enough.
    Still,
    /// Something did.
    Moving,
}

/// A slice as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// `spec.hard`: what it is to be limited to.
    pub wanted: Amounts,
    /// `status.hard`: what is enforced.
    pub enforced: Amounts,
    /// `status.used`.
    pub used: Amounts,
    /// Who wrote it last.
    pub signature: Signature,
    /// Whether it can be touched now.
    pub motion: Motion,
}

/// A namespace with a stake in the tenant's quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// What it is to the quota.
    pub stake: Stake,
    /// Its slice; none if there isn't any yet, or any more.
    pub slice: Option<Slice>,
    /// What was refused to it lately, by resource: as much as the largest of what it tried to create.
    pub asks: Amounts,
}

/// What to write into a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The whole of `spec.hard`.
    pub hard: Amounts,
    /// Whether there is no such slice yet.
    pub is_new: bool,
}

/// What to do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// The writes, by namespace. In whatever order they arrive, and whichever of them fail, the limit holds.
    pub writes: BTreeMap<String, Move>,
    /// Namespaces in which something is not limited yet, which must not be entered.
    pub open: BTreeSet<String>,
    /// Namespaces that would be written if they stood still.
    pub moving: BTreeSet<String>,
}

impl Slice {
    /// What it can take at most of a resource, from what is seen here on and until somebody raises `spec.hard`;
    /// none while it isn't limited.
    pub fn held(&self, resource: &str) -> Option<Amount> {
        let wanted = *self.wanted.get(resource)?;
        let enforced = *self.enforced.get(resource)?;
        let used = *self.used.get(resource)?;
        Some(wanted.max(enforced).max(used))
    }

    fn used(&self, resource: &str) -> Amount {
        self.used.get(resource).copied().unwrap_or_default()
    }

    fn wanted(&self, resource: &str) -> Amount {
        self.wanted.get(resource).copied().unwrap_or_default()
    }
}

/// Says what to write into the slices of a tenant, given its limits.
pub fn next(limits: &Amounts, holders: &BTreeMap<String, Holder>) -> Moves {
    let mut targets: BTreeMap<&str, Amounts> = BTreeMap::new();
    for (resource, limit) in limits {
        for (namespace, hard) in share::hard(resource, *limit, holders) {
            targets
                .entry(namespace)
                .or_default()
                .insert(resource.clone(), hard);
        }
    }
    let mut moves = Moves::default();
    let mut growing = false;
    for (namespace, holder) in holders.iter().filter(|(_, it)| it.stake == Stake::Member) {
        let target = targets.remove(namespace.as_str()).unwrap_or_default();
        if limits
            .keys()
            .any(|it| holder.slice.as_ref().and_then(|slice| slice.held(it)).is_none())
        {
            moves.open.insert(namespace.clone());
        }
        let Some(slice) = &holder.slice else {
            let write = Move {
                hard: target,
                is_new: true,
            };
            moves.writes.insert(namespace.clone(), write);
            continue;
        };
        if slice.wanted == target {
            continue;
        }
        let is_closed = limits.keys().all(|it| slice.wanted.contains_key(it));
        if slice.motion == Motion::Moving && is_closed {
            moves.moving.insert(namespace.clone());
            continue;
        }
        growing |= target.iter().any(|(it, hard)| *hard > slice.wanted(it));
        let write = Move {
            hard: target,
            is_new: false,
        };
        moves.writes.insert(namespace.clone(), write);
    }
    if growing {
        sign_first(holders, &mut moves);
    }
    moves
}

/// Where somebody else may still be writing, nothing grows: each slice is written as it is, or smaller, and signed.
fn sign_first(holders: &BTreeMap<String, Holder>, moves: &mut Moves) {
    let foreign = |it: &&Slice| it.signature == Signature::Foreign;
    let slices = || {
        holders
            .iter()
            .filter_map(|(name, it)| Some((name, it.slice.as_ref()?)))
    };
    if !slices().any(|(_, it)| foreign(&it)) {
        return;
    }
    for (namespace, slice) in slices() {
        let write = moves.writes.entry(namespace.clone()).or_insert_with(|| Move {
            hard: slice.wanted.clone(),
            is_new: false,
        });
        for (resource, hard) in &mut write.hard {
            if let Some(wanted) = slice.wanted.get(resource) {
                *hard = (*hard).min(*wanted);
            }
        }
    }
    moves.writes.retain(|namespace, write| {
        let slice = holders.get(namespace).and_then(|it| it.slice.as_ref());
        slice.is_none_or(|it| foreign(&it) || it.wanted != write.hard)
    });
}

#[cfg(test)]
mod tests;

//! How what is free of one resource is divided.
//!
//! Nothing moves until somebody is short: has less room than a quarter of an equal part of what is free. Then those who
//! aren't keep that quarter, and the rest goes to those who are. A namespace that was refused something lately, and could
//! have it, has that first. After such a move nobody is short, whoever of them it was for: so it ends, and steady state is
//! silent.

use std::collections::BTreeMap;

use super::{Holder, Slice, Stake};
use crate::quantity::Amount;

/// Who has less than this part of an equal part of what is free is short.
const QUARTER: usize = 4;

/// A namespace's stake in one resource.
struct Member<'a> {
    namespace: &'a str,
    wanted: Amount,
    used: Amount,
    held: Amount,
    ask: Amount,
    need: Need,
    /// What of the free is meant for it.
    part: Amount,
}

/// How much a namespace needs of what is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// It has room.
    Content,
    /// It never had any.
    New,
    /// It used up what it had, or was refused what it asked for.
    Hungry,
}

impl Member<'_> {
    fn room(&self) -> Amount {
        self.wanted.minus(self.used)
    }

    fn target(&self) -> Amount {
        self.used.plus(self.part)
    }
}

/// `spec.hard` of one resource, for each member.
pub(super) fn hard<'a>(
    resource: &str,
    limit: Amount,
    holders: &'a BTreeMap<String, Holder>,
) -> Vec<(&'a str, Amount)> {
    let members = || holders.iter().filter(|(_, it)| it.stake == Stake::Member);
    let closed = |slice: &Option<Slice>| slice.as_ref().and_then(|it| it.held(resource));
    if members().any(|(_, it)| closed(&it.slice).is_none()) {
        // Who isn't limited yet may hold anything: nothing grows, and he is closed first.
        let hard = members().map(|(name, it)| {
            let wanted = it.slice.as_ref().map(|slice| slice.wanted(resource));
            let hard = closed(&it.slice).and(wanted).unwrap_or_default();
            (name.as_str(), hard)
        });
        return hard.collect();
    }
    let leaving = holders.values().filter(|it| it.stake == Stake::Leaving);
    let leaving: Amount = leaving.filter_map(|it| closed(&it.slice)).sum();
    let limit = limit.minus(leaving);
    let mut all: Vec<Member<'_>> = members()
        .filter_map(|(namespace, it)| {
            let slice = it.slice.as_ref()?;
            Some(Member {
                namespace,
                wanted: slice.wanted(resource),
                used: slice.used(resource),
                held: slice.held(resource)?,
                ask: it.asks.get(resource).copied().unwrap_or_default(),
                need: Need::Content,
                part: Amount::ZERO,
            })
        })
        .collect();
    let used: Amount = all.iter().map(|it| it.used).sum();
    let hard: Vec<Amount> = if limit > used {
        divide(limit, limit.minus(used), grain(resource), &mut all)
    } else {
        close(limit, used, grain(resource), &all)
    };
    all.iter().map(|it| it.namespace).zip(hard).collect()
}

/// Nothing is free: whatever room there is goes, and above the limit more than that, so that what ends is not replaced.
fn close(limit: Amount, used: Amount, grain: Amount, all: &[Member<'_>]) -> Vec<Amount> {
    let wanted: Amount = all.iter().map(|it| it.wanted).sum();
    let hard = all.iter().map(|it| {
        if wanted <= limit && it.wanted <= it.used {
            return it.wanted;
        }
        let fair = it.used.scaled(limit, used);
        let fair = fair.unwrap_or_else(|| limit.part(all.len()).min(it.used));
        let ceiling = if used > limit { fair.floor(grain) } else { it.used };
        it.wanted.min(ceiling)
    });
    hard.collect()
}

/// Divides what is free.
fn divide(limit: Amount, free: Amount, grain: Amount, all: &mut [Member<'_>]) -> Vec<Amount> {
    let stay = |all: &[Member<'_>]| all.iter().map(|it| it.wanted).collect();
    let unasked = serve_asks(free, all);
    let equal = unasked.part(all.len()).floor(grain);
    let little = equal.part(QUARTER).floor(grain).max(grain);
    for it in all.iter_mut() {
        it.need = if it.room() >= little.max(it.part) {
            Need::Content
        } else if it.wanted == Amount::ZERO && it.used == Amount::ZERO && it.part == Amount::ZERO {
            Need::New
        } else {
            Need::Hungry
        };
    }
    let is_any = |all: &[Member<'_>], need| all.iter().any(|it| it.need == need);
    let wanted: Amount = all.iter().map(|it| it.wanted).sum();
    let is_too_much = wanted > limit;
    if !is_any(all, Need::New) && !is_any(all, Need::Hungry) && !is_too_much {
        return stay(all);
    }
    let keep = if is_any(all, Need::Hungry) {
        little
    } else {
        equal.max(little)
    };
    let mut pot = unasked;
    for need in [Need::Content, Need::New] {
        for it in all.iter_mut().filter(|it| it.need == need) {
            let part = match need {
                Need::New => equal.max(little),
                _ => it.room().min(keep.max(it.part)),
            };
            let more = part.minus(it.part).min(pot);
            let more = if need == Need::New {
                more.floor(grain)
            } else {
                more
            };
            it.part = it.part.plus(more);
            pot = pot.minus(more);
        }
    }
    spread(
        pot,
        grain,
        all,
        |it| it.need == Need::Hungry,
        |it, more| {
            it.part = it.part.plus(more);
        },
    );
    carry(limit, grain, is_too_much, all)
}

/// What was asked for and can be had is set aside, the smallest first, so that most get theirs; gives what is left.
fn serve_asks(free: Amount, all: &mut [Member<'_>]) -> Amount {
    let mut asks: Vec<&mut Member<'_>> = all.iter_mut().filter(|it| it.ask > Amount::ZERO).collect();
    asks.sort_by_key(|it| (it.ask, it.namespace));
    let mut left = free;
    for it in asks {
        if it.ask <= left {
            it.part = it.ask;
            left = left.minus(it.ask);
        }
    }
    left
}

/// As much of the targets as can be had now: nobody grows by what another is still to give back.
fn carry(limit: Amount, grain: Amount, is_too_much: bool, all: &[Member<'_>]) -> Vec<Amount> {
    let held: Amount = all.iter().map(|it| it.held).sum();
    let bank = limit.minus(held);
    let cost = |it: &Member<'_>| {
        if it.need == Need::Content {
            Amount::ZERO
        } else {
            it.target().minus(it.held)
        }
    };
    let costs: Amount = all.iter().map(cost).sum();
    let mut grants = vec![Amount::ZERO; all.len()];
    let mut left = bank;
    // First what was asked for by name, then equal parts.
    for (it, grant) in all.iter().zip(&mut grants) {
        if it.ask > Amount::ZERO && it.need == Need::Hungry {
            *grant = cost(it).min(left);
            left = left.minus(*grant);
        }
    }
    let mut others: Vec<(Amount, &mut Amount)> = all
        .iter()
        .zip(&mut grants)
        .map(|(it, grant)| (cost(it).minus(*grant), grant))
        .filter(|(cost, _)| *cost > Amount::ZERO)
        .collect();
    others.sort_by_key(|(cost, _)| *cost);
    let mut waiting = others.len();
    for (cost, grant) in others {
        let share = left.part(waiting).floor(grain).max(grain.min(left)).min(cost);
        *grant = grant.plus(share);
        left = left.minus(share);
        waiting = waiting.saturating_sub(1);
    }
    let hard = all.iter().zip(grants).map(|(it, grant)| {
        let target = it.target();
        if is_too_much && target < it.wanted {
            return target;
        }
        match it.need {
            Need::Content if costs > bank => target.min(it.wanted),
            Need::Content => it.wanted,
            Need::New | Need::Hungry => {
                let most = if grant > Amount::ZERO {
                    it.held.plus(grant)
                } else {
                    it.held
                };
                target.min(most).max(it.wanted)
            }
        }
    });
    hard.collect()
}

/// Divides an amount equally among some, without a rest of a grain or more.
fn spread(
    amount: Amount,
    grain: Amount,
    all: &mut [Member<'_>],
    is_meant: impl Fn(&Member<'_>) -> bool,
    give: impl Fn(&mut Member<'_>, Amount),
) {
    let mut left = amount;
    let mut waiting = all.iter().filter(|it| is_meant(it)).count();
    for it in all.iter_mut().filter(|it| is_meant(it)) {
        let share = left.part(waiting).floor(grain).max(grain.min(left)).floor(grain);
        give(it, share);
        left = left.minus(share);
        waiting = waiting.saturating_sub(1);
    }
}

/// Whether an amount can be divided without a rest.
pub fn is_whole(resource: &str, amount: Amount) -> bool {
    amount.floor(grain(resource)) == amount
}

/// The smallest amount that is worth moving: a thousandth of a core, else one.
fn grain(resource: &str) -> Amount {
    const CPU: [&str; 3] = ["cpu", "requests.cpu", "limits.cpu"];
    if CPU.contains(&resource) {
        Amount::THOUSANDTH
    } else {
        Amount::ONE
    }
}

//! Laws of the tenant's quota: whatever happens, in whatever order, its slices together admit no more than the limit;
//! and what is free comes to whom it is needed by.
//!
//! A model stands for the API server (admission by `status.hard`, writes by resourceVersion), for the quota controller
//! and for operators that crash, are slow, and write what they decided on long ago.

use std::collections::BTreeMap;

use bailiwick_core::quantity::Amount;
use bailiwick_core::quota::{Amounts, Holder, Motion, Move, Moves, Signature, Slice, Stake, next};
use proptest::prelude::*;
use proptest::sample::select;

use crate::cases;

const NAMESPACES: [&str; 4] = ["a", "b", "c", "d"];
const RESOURCES: [&str; 2] = ["pods", "requests.cpu"];
/// Passes until all is quiet, whatever there was before.
const QUIET: usize = 16;

fn amount(number: u32) -> Amount {
    Amount::parse(&number.to_string()).unwrap()
}

fn both(number: u32) -> Amounts {
    RESOURCES.map(|it| (it.to_owned(), amount(number))).into()
}

fn of(amounts: &Amounts, resource: &str) -> Amount {
    amounts.get(resource).copied().unwrap_or_default()
}

/// A slice as stored.
#[derive(Clone, Debug)]
struct Stored {
    wanted: Amounts,
    enforced: Amounts,
    signed: u32,
    version: u64,
}

#[derive(Clone, Debug)]
struct Namespace {
    stake: Stake,
    used: Amounts,
    /// Usage as the slice tells it: there once the quota controller has counted.
    slice: Option<Stored>,
    asks: Amounts,
    moves: bool,
}

/// A write on its way.
#[derive(Clone, Debug)]
struct Sent {
    namespace: String,
    write: Move,
    version: Option<u64>,
    signed: u32,
    limit: Amounts,
}

/// What a pass saw.
#[derive(Clone, Debug)]
struct Seen {
    holders: BTreeMap<String, Holder>,
    versions: BTreeMap<String, u64>,
    limit: Amounts,
    /// The limit, and what came in from outside since.
    most: Amounts,
}

#[derive(Clone, Debug, Default)]
struct World {
    namespaces: BTreeMap<String, Namespace>,
    limit: Amounts,
    writer: u32,
    clock: u64,
    sent: Vec<Sent>,
    seen: Option<Seen>,
}

#[derive(Clone, Debug)]
enum Event {
    Adopt(&'static str, u32),
    Terminate(&'static str),
    Gone(&'static str),
    Admit(&'static str, &'static str, u32),
    /// It uses up what it may.
    Fill(&'static str),
    End(&'static str, &'static str, u32),
    Sync(&'static str),
    Ask(&'static str, u32),
    Moves(&'static str, bool),
    Limit(u32),
    Pass,
    /// A second pass that saw what the last one did.
    Again,
    Land(usize),
    Lose(usize),
    /// Another operator leads. What the one before it sent is still on its way.
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    let ns = || select(NAMESPACES.to_vec());
    let resource = || select(RESOURCES.to_vec());
    prop_oneof![
        1 => (ns(), 0..8_u32).prop_map(|(ns, used)| Event::Adopt(ns, used)),
        1 => ns().prop_map(Event::Terminate),
        1 => ns().prop_map(Event::Gone),
        2 => (ns(), resource(), 1..6_u32).prop_map(|(ns, it, much)| Event::Admit(ns, it, much)),
        4 => ns().prop_map(Event::Fill),
        2 => (ns(), resource(), 1..6_u32).prop_map(|(ns, it, much)| Event::End(ns, it, much)),
        8 => ns().prop_map(Event::Sync),
        1 => (ns(), 0..20_u32).prop_map(|(ns, much)| Event::Ask(ns, much)),
        1 => (ns(), any::<bool>()).prop_map(|(ns, it)| Event::Moves(ns, it)),
        1 => (0..40_u32).prop_map(Event::Limit),
        8 => Just(Event::Pass),
        1 => Just(Event::Again),
        16 => (0..4_usize).prop_map(Event::Land),
        1 => (0..4_usize).prop_map(Event::Lose),
        2 => Just(Event::Crash),
    ]
}

impl World {
    fn new(limit: u32) -> Self {
        Self {
            limit: both(limit),
            ..Self::default()
        }
    }

    fn holders(&self) -> BTreeMap<String, Holder> {
        let holder = |it: &Namespace| Holder {
            stake: it.stake,
            slice: it.slice.as_ref().map(|slice| Slice {
                wanted: slice.wanted.clone(),
                enforced: slice.enforced.clone(),
                used: if slice.enforced.is_empty() {
                    Amounts::new()
                } else {
                    it.used.clone()
                },
                signature: if slice.signed == self.writer {
                    Signature::Ours
                } else {
                    Signature::Foreign
                },
                motion: if it.moves { Motion::Moving } else { Motion::Still },
            }),
            asks: it.asks.clone(),
        };
        self.namespaces
            .iter()
            .map(|(name, it)| (name.clone(), holder(it)))
            .collect()
    }

    /// The namespaces whose use counts: not one that is going and was never limited.
    fn counted(&self) -> impl Iterator<Item = &Namespace> {
        let is_limited = |it: &Namespace| it.slice.as_ref().is_some_and(|it| !it.enforced.is_empty());
        self.namespaces
            .values()
            .filter(move |it| it.stake == Stake::Member || is_limited(it))
    }

    /// What the namespaces hold of a resource, or use where nothing limits them.
    fn held(&self, resource: &str) -> Amount {
        let held = self.counted().map(|it| {
            let used = of(&it.used, resource);
            match &it.slice {
                Some(slice) if !slice.enforced.is_empty() => used
                    .max(of(&slice.wanted, resource))
                    .max(of(&slice.enforced, resource)),
                _ => used,
            }
        });
        held.sum()
    }

    fn used(&self, resource: &str) -> Amount {
        self.counted().map(|it| of(&it.used, resource)).sum()
    }

    fn send(&mut self, moves: &Moves, versions: &BTreeMap<String, u64>, limit: &Amounts) {
        for (namespace, write) in &moves.writes {
            self.sent.push(Sent {
                namespace: namespace.clone(),
                write: write.clone(),
                version: versions.get(namespace).copied(),
                signed: self.writer,
                limit: limit.clone(),
            });
        }
    }

    /// One pass of the operator that leads. It waits for what it sent before, or does not trust it any more.
    fn pass(&mut self) -> Moves {
        if self.sent.iter().any(|it| it.signed == self.writer) {
            self.writer += 1;
        }
        let holders = self.holders();
        let slices = self.namespaces.iter();
        let versions: BTreeMap<String, u64> = slices
            .filter_map(|(name, it)| Some((name.clone(), it.slice.as_ref()?.version)))
            .collect();
        let limit = self.limit.clone();
        let moves = next(&limit, &holders);
        self.send(&moves, &versions, &limit);
        self.seen = Some(Seen {
            holders,
            versions,
            most: limit.clone(),
            limit,
        });
        moves
    }

    /// A write arrives; gives the limit that it was decided by, if it is taken.
    fn land(&mut self, sent: Sent) -> Option<Amounts> {
        self.clock += 1;
        let namespace = self.namespaces.get_mut(&sent.namespace)?;
        match (&mut namespace.slice, sent.write.is_new) {
            (slice @ None, true) if namespace.stake == Stake::Member => {
                *slice = Some(Stored {
                    wanted: sent.write.hard,
                    enforced: Amounts::new(),
                    signed: sent.signed,
                    version: self.clock,
                });
            }
            (Some(slice), false) if Some(slice.version) == sent.version => {
                slice.wanted = sent.write.hard;
                slice.signed = sent.signed;
                slice.version = self.clock;
            }
            _ => return None,
        }
        Some(sent.limit)
    }

    /// Something happens; gives the limits that the slices may be filled up to by it, and whether that is anybody's
    /// fault: what comes from outside may exceed them.
    fn happen(&mut self, event: &Event) -> (Vec<Amounts>, bool) {
        self.clock += 1;
        let version = self.clock;
        match event.clone() {
            Event::Adopt(name, used) => {
                if !self.namespaces.contains_key(name) {
                    self.bring(&both(used));
                }
                self.namespaces
                    .entry(name.to_owned())
                    .or_insert_with(|| Namespace {
                        stake: Stake::Member,
                        used: both(used),
                        slice: None,
                        asks: Amounts::new(),
                        moves: false,
                    });
                return (Vec::new(), true);
            }
            Event::Terminate(name) => {
                if let Some(it) = self.namespaces.get_mut(name) {
                    it.stake = Stake::Leaving;
                }
            }
            Event::Gone(name) => {
                if self
                    .namespaces
                    .get(name)
                    .is_some_and(|it| it.stake == Stake::Leaving)
                {
                    self.namespaces.remove(name);
                }
            }
            Event::Admit(name, resource, much) => return self.admit(name, resource, much),
            Event::Fill(name) => self.fill(name),
            Event::End(name, resource, much) => {
                if let Some(it) = self.namespaces.get_mut(name) {
                    let used = of(&it.used, resource).minus(amount(much));
                    it.used.insert(resource.to_owned(), used);
                    if let Some(slice) = &mut it.slice {
                        slice.version = version;
                    }
                }
            }
            Event::Sync(name) => {
                if let Some(it) = self.namespaces.get(name)
                    && it.stake == Stake::Leaving
                    && it.slice.as_ref().is_some_and(|it| it.enforced.is_empty())
                {
                    // It counts from now on.
                    let used = it.used.clone();
                    self.bring(&used);
                    self.sync(name);
                    return (Vec::new(), true);
                }
                self.sync(name);
            }
            Event::Ask(name, much) => {
                if let Some(it) = self.namespaces.get_mut(name) {
                    it.asks = if much == 0 { Amounts::new() } else { both(much) };
                }
            }
            Event::Moves(name, moves) => {
                if let Some(it) = self.namespaces.get_mut(name) {
                    it.moves = moves;
                }
            }
            Event::Limit(limit) => self.limit = both(limit),
            Event::Pass => {
                self.pass();
            }
            Event::Again => {
                if let Some(seen) = self.seen.clone() {
                    let moves = next(&seen.limit, &seen.holders);
                    self.send(&moves, &seen.versions, &seen.most);
                }
            }
            Event::Land(which) => {
                if which < self.sent.len() {
                    let sent = self.sent.remove(which);
                    return (self.land(sent).into_iter().collect(), false);
                }
            }
            Event::Lose(which) => {
                if which < self.sent.len() {
                    self.sent.remove(which);
                }
            }
            Event::Crash => self.crash(),
        }
        (Vec::new(), false)
    }

    /// Something comes in that nobody limits yet, after others decided.
    fn bring(&mut self, used: &Amounts) {
        let seen = self.seen.as_mut().map(|it| &mut it.most);
        for limit in self.sent.iter_mut().map(|it| &mut it.limit).chain(seen) {
            for (resource, used) in used {
                let limit = limit.entry(resource.clone()).or_default();
                *limit = limit.plus(*used);
            }
        }
    }

    fn admit(&mut self, name: &str, resource: &str, much: u32) -> (Vec<Amounts>, bool) {
        let version = self.clock;
        let Some(it) = self.namespaces.get_mut(name) else {
            return Default::default();
        };
        let used = of(&it.used, resource).plus(amount(much));
        let is_open = it.slice.as_ref().is_none_or(|it| it.enforced.is_empty());
        if it.stake == Stake::Leaving {
            return Default::default();
        }
        if let Some(slice) = it.slice.as_mut().filter(|it| !it.enforced.is_empty()) {
            if used > of(&slice.enforced, resource) {
                return Default::default();
            }
            slice.version = version;
        }
        it.used.insert(resource.to_owned(), used);
        if is_open {
            self.bring(&[(resource.to_owned(), amount(much))].into());
        }
        (Vec::new(), is_open)
    }

    fn fill(&mut self, name: &str) {
        let version = self.clock;
        for resource in RESOURCES {
            let Some(it) = self.namespaces.get_mut(name) else {
                continue;
            };
            let Some(slice) = it.slice.as_mut().filter(|it| !it.enforced.is_empty()) else {
                continue;
            };
            if it.stake == Stake::Member {
                let all = of(&slice.enforced, resource).max(of(&it.used, resource));
                it.used.insert(resource.to_owned(), all);
                slice.version = version;
            }
        }
    }

    fn sync(&mut self, name: &str) {
        let version = self.clock;
        let namespace = self.namespaces.get_mut(name);
        if let Some(slice) = namespace.and_then(|it| it.slice.as_mut())
            && slice.enforced != slice.wanted
        {
            slice.enforced = slice.wanted.clone();
            slice.version = version;
        }
    }

    fn crash(&mut self) {
        self.writer += 1;
        // The next one does not know what this one saw.
        self.seen = None;
    }

    /// Nothing else happens any more: the quota controller and the operator do their work until nothing is left of it.
    fn settle(&mut self) -> Result<(), String> {
        for it in self.namespaces.values_mut() {
            it.moves = false;
        }
        self.sent.clear();
        for _ in 0..QUIET {
            for name in NAMESPACES {
                self.happen(&Event::Sync(name));
            }
            if self.pass().writes.is_empty() {
                return Ok(());
            }
            for sent in std::mem::take(&mut self.sent) {
                self.land(sent);
            }
        }
        Err(format!("not quiet after {QUIET} passes: {self:#?}"))
    }

    fn room(&self, name: &str, resource: &str) -> Amount {
        let it = &self.namespaces[name];
        let enforced = it.slice.as_ref().map(|it| of(&it.enforced, resource));
        enforced.unwrap_or_default().minus(of(&it.used, resource))
    }

    fn members(&self) -> Vec<String> {
        let members = self.namespaces.iter().filter(|(_, it)| it.stake == Stake::Member);
        members.map(|(name, _)| name.clone()).collect()
    }

    fn leaving(&self, resource: &str) -> Amount {
        let leaving = self
            .holders()
            .into_values()
            .filter(|it| it.stake == Stake::Leaving);
        leaving.filter_map(|it| it.slice?.held(resource)).sum()
    }

    /// What nobody uses, and nobody who leaves holds.
    fn free(&self, resource: &str) -> Amount {
        let members = self.namespaces.values().filter(|it| it.stake == Stake::Member);
        let used: Amount = members.map(|it| of(&it.used, resource)).sum();
        of(&self.limit, resource)
            .minus(self.leaving(resource))
            .minus(used)
    }
}

/// Three namespaces that nobody has used yet, with their parts.
fn begun(limit: u32) -> World {
    let mut world = World::new(limit);
    for name in &NAMESPACES[..3] {
        world.happen(&Event::Adopt(name, 0));
    }
    world.settle().unwrap();
    world
}

fn lived(limit: u32, events: &[Event]) -> World {
    let mut world = begun(limit);
    for event in events {
        world.happen(event);
    }
    world
}

proptest! {
    #![proptest_config(cases(384))]

    /// Nothing that the operator writes, and nothing that follows from it, lets the slices hold more than they did or
    /// than the limit by which it was decided.
    #[test]
    fn slices_never_hold_more_than_the_limit(limit in 0..40_u32, events in prop::collection::vec(event(), 1..120)) {
        let mut world = begun(limit);
        for (i, event) in events.iter().enumerate() {
            let before = RESOURCES.map(|it| world.held(it));
            let (limits, from_outside) = world.happen(event);
            if from_outside {
                continue;
            }
            for (resource, before) in RESOURCES.into_iter().zip(before) {
                let most = limits.iter().map(|it| of(it, resource)).fold(before, Amount::max);
                let held = world.held(resource);
                prop_assert!(held <= most, "{resource}: {held} > {most} after {:?}: {world:#?}", &events[..=i]);
            }
        }
    }

}

proptest! {
    #![proptest_config(cases(96))]

    /// When nothing else happens, so does the operator: nothing, soon.
    #[test]
    fn steady_state_is_silent(limit in 0..40_u32, events in prop::collection::vec(event(), 1..60)) {
        let mut world = lived(limit, &events);
        if let Err(error) = world.settle() {
            return Err(TestCaseError::fail(error));
        }
        // A restart changes nothing.
        world.crash();
        prop_assert!(world.pass().writes.is_empty());
    }

    /// Above the limit nothing is admitted, in any namespace.
    #[test]
    fn over_use_stays_and_nothing_is_added(limit in 0..40_u32, events in prop::collection::vec(event(), 1..60), lower in 0..20_u32) {
        let mut world = lived(limit, &events);
        world.limit = both(lower);
        let before: Vec<Amounts> = world.namespaces.values().map(|it| it.used.clone()).collect();
        world.settle().map_err(TestCaseError::fail)?;
        let after: Vec<Amounts> = world.namespaces.values().map(|it| it.used.clone()).collect();
        prop_assert_eq!(before, after);
        for resource in RESOURCES {
            if world.used(resource) >= of(&world.limit, resource) {
                for name in world.members() {
                    prop_assert_eq!(world.room(&name, resource), Amount::ZERO, "{} {:#?}", resource, world);
                }
            }
        }
    }

    /// Who was refused what is free gets it, all of it if need be.
    #[test]
    fn what_is_free_comes_to_whom_it_was_refused(limit in 0..40_u32, events in prop::collection::vec(event(), 1..60), who in 0..4_usize) {
        let mut world = lived(limit, &events);
        world.settle().map_err(TestCaseError::fail)?;
        for it in world.namespaces.values_mut() {
            it.asks.clear();
        }
        let members = world.members();
        let Some(name) = members.get(who) else { return Ok(()) };
        let free = RESOURCES.map(|it| (it.to_owned(), world.free(it)));
        world.namespaces.get_mut(name).unwrap().asks = free.clone().into();
        world.settle().map_err(TestCaseError::fail)?;
        for (resource, free) in free {
            prop_assert_eq!(world.room(name, &resource), free, "{} {} {:#?}", name, resource, world);
        }
    }

    /// Who uses up what he has gets most of what the others don't use, without anybody's word.
    #[test]
    fn what_is_free_comes_to_whom_it_is_used_by(limit in 0..400_u32, events in prop::collection::vec(event(), 1..60), who in 0..4_usize) {
        let mut world = lived(limit, &events);
        for it in world.namespaces.values_mut() {
            it.asks.clear();
        }
        world.settle().map_err(TestCaseError::fail)?;
        let members = world.members();
        let Some(name) = members.get(who) else { return Ok(()) };
        for _ in 0..8 {
            for resource in RESOURCES {
                let room = world.room(name, resource);
                let used = &mut world.namespaces.get_mut(name).unwrap().used;
                let all = of(used, resource).plus(room);
                used.insert(resource.to_owned(), all);
            }
            world.settle().map_err(TestCaseError::fail)?;
        }
        // Each of the others keeps room for one more object.
        let kept = amount(u32::try_from(members.len()).unwrap());
        let free = world.free("pods");
        prop_assert!(free <= kept, "{free} of {limit} is still free: {world:#?}");
    }
}

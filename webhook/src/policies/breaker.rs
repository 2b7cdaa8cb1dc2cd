//! Revisions that keep taking too long for a tenant are not evaluated for it for a while: they would take the time of
//! everybody else, and what they should judge is refused either way. Other tenants notice nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bailiwick_core::policy::Ran;
use tokio::sync::watch;
use tokio::time::Instant;

/// How many evaluations in a row have to take too long.
const PATIENCE: u32 = 5;
/// How long a revision is not evaluated then. After it one evaluation decides whether it begins again.
const REST: Duration = Duration::from_secs(30);

/// A tenant and a revision, by their names.
type Key = (String, String);

/// Which revisions are not evaluated for the moment, and for which tenant.
#[derive(Clone, Default)]
pub(crate) struct Breaker(Arc<Inner>);

#[derive(Default)]
struct Inner {
    circuits: Mutex<HashMap<Key, Circuit>>,
    open: ArcSwap<BTreeSet<Key>>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Circuit {
    timeouts: u32,
    rests_until: Option<Instant>,
}

impl Breaker {
    /// The revisions that are not evaluated now.
    pub(crate) fn open(&self) -> Arc<BTreeSet<Key>> {
        let open = self.0.open.load_full();
        if open.is_empty() {
            return open;
        }
        // Some may have rested enough.
        self.publish(&mut self.circuits());
        self.0.open.load_full()
    }

    /// Wakes when the set changes.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Learns from a decision.
    pub(crate) fn learn(&self, tenant: &str, ran: &[Ran]) {
        // Nearly always nothing has ever taken too long.
        let evaluated = || ran.iter().filter(|it| it.evaluated);
        let mut circuits = self.circuits();
        if circuits.is_empty() && !evaluated().any(|it| it.timed_out) {
            return;
        }
        for ran in evaluated() {
            let key = (tenant.to_owned(), ran.revision.clone());
            if !ran.timed_out {
                circuits.remove(&key);
                continue;
            }
            let circuit = circuits.entry(key).or_default();
            circuit.timeouts = circuit.timeouts.saturating_add(1);
            if circuit.timeouts >= PATIENCE {
                circuit.rests_until = Some(Instant::now() + REST);
            }
        }
        self.publish(&mut circuits);
    }

    /// Forgets revisions that are not loaded any more.
    pub(crate) fn forget_all_but(&self, is_loaded: impl Fn(&str) -> bool) {
        let mut circuits = self.circuits();
        circuits.retain(|it, _| is_loaded(&it.1));
        self.publish(&mut circuits);
    }

    fn circuits(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Circuit>> {
        self.0.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, circuits: &mut HashMap<Key, Circuit>) {
        let now = Instant::now();
        let rests = |it: &Circuit| it.rests_until.is_some_and(|it| it > now);
        let open: BTreeSet<Key> = circuits
            .iter()
            .filter(|it| rests(it.1))
            .map(|it| it.0.clone())
            .collect();
        if **self.0.open.load() != open {
            self.0.open.store(Arc::new(open));
            self.0.changed.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(timed_out: bool) -> [Ran; 1] {
        [Ran {
            policy: "p".to_owned(),
            revision: "r".to_owned(),
            author: String::new(),
            approved_by: Vec::new(),
            timed_out,
            evaluated: true,
        }]
    }

    fn is_open(breaker: &Breaker) -> bool {
        let open = breaker.open();
        assert!(open.len() < 2, "another tenant's");
        open.contains(&("a".to_owned(), "r".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn five_in_a_row_open_it_and_one_answer_closes_it() {
        let breaker = Breaker::default();
        for _ in 0..4 {
            breaker.learn("a", &ran(true));
        }
        breaker.learn("a", &ran(false));
        for _ in 0..4 {
            breaker.learn("a", &ran(true));
        }
        assert!(breaker.open().is_empty(), "only nine, and not in a row");
        breaker.learn("a", &ran(true));
        assert!(is_open(&breaker));
        tokio::time::advance(REST + Duration::from_secs(1)).await;
        assert!(breaker.open().is_empty(), "it gets another try");
        breaker.learn("a", &ran(true));
        assert!(is_open(&breaker), "which did not help");
        tokio::time::advance(REST + Duration::from_secs(1)).await;
        breaker.learn("a", &ran(false));
        breaker.learn("a", &ran(true));
        assert!(breaker.open().is_empty(), "an answer makes up for all");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_loaded_is_forgotten() {
        let breaker = Breaker::default();
        for _ in 0..PATIENCE {
            breaker.learn("a", &ran(true));
        }
        breaker.forget_all_but(|it| it == "r");
        assert!(is_open(&breaker));
        breaker.forget_all_but(|_| false);
        assert!(breaker.open().is_empty());
    }
}

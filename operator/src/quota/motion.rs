//! Whether objects come and go in a namespace.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bailiwick_core::quantity::Amount;
use bailiwick_core::quota::{Amounts, Motion, Slice};

/// A slice stands still when what is used of it did not change for so long: many times what it takes until the quota
/// controller has heard of an object.
pub(crate) const SETTLE: Duration = Duration::from_millis(250);
/// Nobody waits longer than this for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was seen of each namespace's use.
#[derive(Default)]
pub(crate) struct Motions(Mutex<HashMap<String, Seen>>);

struct Seen {
    used: Amounts,
    since: Instant,
    waited_for_since: Option<Instant>,
}

impl Motions {
    /// Sees a slice as it is at a time.
    pub(crate) fn see(&self, namespace: &str, slice: &Slice, now: Instant) -> Motion {
        let is_nothing = |it: &Amounts| it.values().all(|it| *it == Amount::ZERO);
        if is_nothing(&slice.used) && is_nothing(&slice.enforced) {
            return Motion::Still;
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(namespace.to_owned()).or_insert_with(|| Seen {
            used: slice.used.clone(),
            since: now,
            waited_for_since: None,
        });
        if seen.used != slice.used {
            seen.used.clone_from(&slice.used);
            seen.since = now;
        }
        let for_long = |since: Instant, long: Duration| now.saturating_duration_since(since) >= long;
        if for_long(seen.since, SETTLE) || seen.waited_for_since.is_some_and(|it| for_long(it, PATIENCE)) {
            Motion::Still
        } else {
            Motion::Moving
        }
    }

    /// Somebody waits for it to stand still, or nobody does any more.
    pub(crate) fn wait(&self, namespace: &str, is_waited_for: bool, now: Instant) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = seen.get_mut(namespace) {
            seen.waited_for_since = is_waited_for.then(|| seen.waited_for_since.unwrap_or(now));
        }
    }

    /// Forgets a namespace.
    pub(crate) fn forget(&self, namespace: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(namespace);
    }
}

#[cfg(test)]
mod tests {
    use bailiwick_core::quota::Signature;

    use super::*;

    fn slice(used: &str) -> Slice {
        let amounts = |it: &str| Amounts::from([("pods".to_owned(), Amount::parse(it).unwrap())]);
        Slice {
            wanted: amounts("9"),
            enforced: amounts("9"),
            used: amounts(used),
            signature: Signature::Ours,
            motion: Motion::Moving,
        }
    }

    #[test]
    fn what_did_not_change_for_a_while_stands_still() {
        let (motions, begin) = (Motions::default(), Instant::now());
        let see = |used, after| motions.see("ns", &slice(used), begin + after);
        assert_eq!(see("1", Duration::ZERO), Motion::Moving);
        assert_eq!(see("1", SETTLE / 2), Motion::Moving);
        assert_eq!(see("2", SETTLE), Motion::Moving);
        assert_eq!(see("2", SETTLE * 2), Motion::Still);
        assert_eq!(see("3", SETTLE * 3), Motion::Moving);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (motions, begin) = (Motions::default(), Instant::now());
        motions.see("ns", &slice("0"), begin);
        motions.wait("ns", true, begin);
        let mut time = begin;
        let mut used = 1;
        while time < begin + PATIENCE {
            assert_eq!(motions.see("ns", &slice(&used.to_string()), time), Motion::Moving);
            motions.wait("ns", true, time);
            (time, used) = (time + SETTLE / 2, used + 1);
        }
        assert_eq!(motions.see("ns", &slice("0"), begin + PATIENCE), Motion::Still);
        // Not waited for any more.
        motions.wait("ns", false, time);
        assert_eq!(motions.see("ns", &slice("1"), time), Motion::Moving);
    }
}

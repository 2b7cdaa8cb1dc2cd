//! How often a Tenant's status tells what is used.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is used changes with each Pod; the status tells it at most this often.
const INTERVAL: Duration = Duration::from_secs(10);

/// When each Tenant's use was told last.
#[derive(Default)]
pub(crate) struct Pace(Mutex<HashMap<String, Instant>>);

impl Pace {
    /// How long it is to wait before it is told again; nothing if it may be told now.
    pub(crate) fn wait(&self, tenant: &str, now: Instant) -> Option<Duration> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(*told.get(tenant)?);
        INTERVAL.checked_sub(since).filter(|it| !it.is_zero())
    }

    /// It is told now.
    pub(crate) fn told(&self, tenant: &str, now: Instant) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(tenant.to_owned(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_told_at_intervals() {
        let (pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.wait("acme", now), None);
        pace.told("acme", now);
        assert_eq!(pace.wait("acme", now), Some(INTERVAL));
        assert_eq!(pace.wait("acme", now + INTERVAL / 2), Some(INTERVAL / 2));
        assert_eq!(pace.wait("acme", now + INTERVAL), None);
        assert_eq!(pace.wait("globex", now), None);
    }
}

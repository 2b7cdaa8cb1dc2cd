//! Room to evaluate in: for so many requests at a time as the machine can work on, and for one tenant half of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How many requests of one tenant may wait for room: each holds its body in memory, which is everybody's.
const WAITING: usize = 32;
/// How many tenants are remembered that need no room at the moment.
const REMEMBERED: usize = 1024;

/// Room to evaluate in.
#[derive(Clone)]
pub(crate) struct Room {
    all: Arc<Semaphore>,
    of_tenants: Arc<Mutex<HashMap<String, OfTenant>>>,
    share: usize,
}

/// What one tenant may have of it, and how many of its requests may wait.
#[derive(Clone)]
struct OfTenant {
    share: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// A place in it, given back when dropped.
#[must_use]
pub(crate) struct Place {
    _of_tenant: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Room {
    pub(crate) fn for_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self::of(cores.max(2) * 2)
    }

    fn of(places: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(places)),
            of_tenants: Arc::default(),
            share: (places / 2).max(1),
        }
    }

    /// A place for a tenant; none if there is none until `due`, or too many of the tenant's requests wait already. Who waits
    /// for its tenant's share takes nobody's place.
    pub(crate) async fn enter(&self, tenant: &str, due: Instant) -> Option<Place> {
        let OfTenant { share, waiting } = self.of_tenant(tenant);
        let _in_queue = waiting.try_acquire_owned().ok()?;
        let entered = async {
            let of_tenant = share.acquire_owned().await.ok()?;
            let of_all = self.all.clone().acquire_owned().await.ok()?;
            Some(Place {
                _of_tenant: of_tenant,
                _of_all: of_all,
            })
        };
        tokio::time::timeout_at(due, entered).await.ok().flatten()
    }

    fn of_tenant(&self, tenant: &str) -> OfTenant {
        let mut all = self.of_tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(it) = all.get(tenant) {
            return it.clone();
        }
        if all.len() >= REMEMBERED {
            all.retain(|_, it| Arc::strong_count(&it.share) > 1 || it.share.available_permits() < self.share);
        }
        all.entry(tenant.to_owned())
            .or_insert_with(|| OfTenant {
                share: Arc::new(Semaphore::new(self.share)),
                waiting: Arc::new(Semaphore::new(WAITING)),
            })
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_gets_half_and_leaves_the_rest_to_others() {
        let room = Room::of(4);
        let first = room.enter("a", soon()).await.unwrap();
        let _second = room.enter("a", soon()).await.unwrap();
        assert!(room.enter("a", soon()).await.is_none());
        let _other = room.enter("b", soon()).await.unwrap();
        let _another = room.enter("c", soon()).await.unwrap();
        assert!(room.enter("d", soon()).await.is_none());
        drop(first);
        assert!(room.enter("d", soon()).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn tenants_that_need_nothing_are_forgotten() {
        let room = Room::of(4);
        let _kept = room.enter("kept", soon()).await.unwrap();
        for i in 0..2 * REMEMBERED {
            let _place = room.enter(&format!("t{i}"), soon()).await.unwrap();
        }
        let all = room.of_tenants.lock().unwrap();
        assert!(
            all.len() <= REMEMBERED + 1 && all.contains_key("kept"),
            "{}",
            all.len()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_behind_too_many_is_told_at_once() {
        let room = Room::of(4);
        let _places = [room.enter("a", soon()).await, room.enter("a", soon()).await];
        let late = Instant::now() + Duration::from_mins(1);
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let room = room.clone();
                tokio::spawn(async move { room.enter("a", late).await.is_some() })
            })
            .collect();
        tokio::task::yield_now().await;
        let begin = Instant::now();
        assert!(room.enter("a", late).await.is_none());
        assert!(begin.elapsed() < Duration::from_secs(1), "it waited");
        assert!(room.enter("b", soon()).await.is_some());
        drop(waiting);
    }
}

//! Candidates, compared with what is active after the answer and never in its time: on one thread of its own, as far
//! as it gets. What it does not get to is counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bailiwick_core::policy::report::{MAX_SAMPLES, Tally};
use bailiwick_core::policy::{Differs, Moment, judge};
use bailiwick_core::rego::STACK;
use bailiwick_core::review::{self, Request};
use bailiwick_core::snapshot::Snapshot;
use bailiwick_crds::v1alpha1::{Difference, Sample};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// How many requests may wait.
const WAITING: usize = 512;
/// How much memory may wait, in KiB.
const WAITING_KIB: usize = 32 * 1024;

/// Compares candidates.
#[derive(Clone)]
pub(crate) struct Comparer {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    tallies: Tallies,
}

struct Job {
    body: Bytes,
    snapshot: Arc<Snapshot>,
    moment: Moment,
    _room: OwnedSemaphorePermit,
}

#[derive(Clone, Default)]
struct Tallies(Arc<TalliesInner>);

#[derive(Default)]
struct TalliesInner {
    counted: Mutex<BTreeMap<String, Tally>>,
    changed: watch::Sender<()>,
}

impl Comparer {
    /// Starts the thread, which ends with the last handle.
    pub(crate) fn start() -> Self {
        let (jobs, mut waiting) = mpsc::channel::<Job>(WAITING);
        let tallies = Tallies::default();
        let counted = tallies.clone();
        let started = std::thread::Builder::new()
            .name("shadow".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                while let Some(job) = waiting.blocking_recv() {
                    if let Ok(request) = review::parse(&job.body) {
                        let all = judge::compare(&job.snapshot, &request, &job.moment);
                        counted.count(&request, all);
                    }
                }
            });
        if let Err(error) = started {
            tracing::error!(%error, "Candidates can't be compared: no thread");
        }
        Self {
            jobs,
            room: Arc::new(Semaphore::new(WAITING_KIB)),
            tallies,
        }
    }

    /// Compares the candidates for a request, later.
    pub(crate) fn compare(
        &self,
        body: &Bytes,
        request: &Request<'_>,
        snapshot: &Arc<Snapshot>,
        moment: Moment,
    ) {
        let candidates = judge::to_compare(snapshot, request);
        if candidates.is_empty() {
            return;
        }
        let kib = u32::try_from(body.len() / 1024 + 1).unwrap_or(u32::MAX);
        let room = self.room.clone().try_acquire_many_owned(kib);
        let sent = room.ok().is_some_and(|room| {
            let job = Job {
                body: body.clone(),
                snapshot: snapshot.clone(),
                moment,
                _room: room,
            };
            self.jobs.try_send(job).is_ok()
        });
        if !sent {
            self.tallies.drop_one(&candidates);
        }
    }

    /// What was counted so far.
    pub(crate) fn counted(&self) -> BTreeMap<String, Tally> {
        self.tallies.lock().clone()
    }

    /// Wakes when something was counted.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.tallies.0.changed.subscribe()
    }

    /// Forgets revisions that are no candidates any more.
    pub(crate) fn forget_all_but(&self, is_candidate: impl Fn(&str) -> bool) {
        self.tallies.lock().retain(|it, _| is_candidate(it));
    }
}

impl Tallies {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Tally>> {
        self.0.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_one(&self, candidates: &[&str]) {
        let mut counted = self.lock();
        for candidate in candidates {
            let counts = &mut counted.entry((*candidate).to_owned()).or_default().counts;
            counts.dropped = counts.dropped.saturating_add(1);
        }
        drop(counted);
        self.0.changed.send_replace(());
    }

    fn count(&self, request: &Request<'_>, all: Vec<Differs>) {
        if all.is_empty() {
            return;
        }
        let mut counted = self.lock();
        for Differs { revision, difference } in all {
            let tally = counted.entry(revision).or_default();
            let counts = &mut tally.counts;
            counts.evaluated = counts.evaluated.saturating_add(1);
            let Some((difference, message)) = difference else {
                continue;
            };
            let count = match difference {
                Difference::NewlyDenied => &mut counts.newly_denied,
                Difference::NewlyAllowed => &mut counts.newly_allowed,
                Difference::Error => &mut counts.errors,
            };
            *count = count.saturating_add(1);
            let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
            let sample = Sample {
                difference,
                namespace: cut(&request.namespace, 63),
                kind: cut(&request.kind.kind, 63),
                name: cut(&request.name, 253),
                message: cut(&message, 256),
            };
            if tally.samples.len() < MAX_SAMPLES && !tally.samples.contains(&sample) {
                tally.samples.push(sample);
            }
        }
        drop(counted);
        self.0.changed.send_replace(());
    }
}

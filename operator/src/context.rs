//! What each pass over a Tenant is given.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bailiwick_core::config::Config;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use crate::access::Access;
use crate::apply::Applier;
use crate::args::OperatorArgs;
use crate::drift::Managers;
use crate::index::Index;
use crate::metrics::Metrics;
use crate::observe::Observed;
use crate::quota::{Demand, Motions, Pace, Writer};

/// What each pass over a Tenant is given.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) config: Arc<Config>,
    pub(crate) observed: Observed,
    pub(crate) index: Index,
    pub(crate) access: Access,
    pub(crate) applier: Applier,
    pub(crate) managers: Managers,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Metrics,
    pub(crate) demand: Demand,
    pub(crate) motions: Motions,
    pub(crate) writer: Writer,
    pub(crate) pace: Pace,
    failures: Mutex<HashMap<String, Failures>>,
}

/// How often a Tenant failed in a row, and when last.
struct Failures {
    count: u32,
    last: Instant,
}

/// The shortest time between a failure and the next attempt, whatever the watches say.
const BREATH: Duration = Duration::from_millis(500);

impl Context {
    pub(crate) fn new(
        client: Client,
        raw: Client,
        args: &OperatorArgs,
        observed: Observed,
        metrics: Metrics,
    ) -> Self {
        let reporter = Reporter {
            controller: "bailiwick-operator".to_owned(),
            instance: Some(args.common.pod_name.clone()),
        };
        let recorder = Recorder::new(client.clone(), reporter);
        let managers = Managers::new(raw);
        Self {
            applier: Applier::new(client.clone(), managers.clone(), metrics.clone()),
            managers,
            client,
            config: Arc::new(args.common.config.clone()),
            observed,
            index: Index::default(),
            access: Access::default(),
            recorder,
            metrics,
            demand: Demand::default(),
            motions: Motions::default(),
            writer: Writer::new(&args.common.pod_name),
            pace: Pace::default(),
            failures: Mutex::default(),
        }
    }

    /// When to try again after a failure: 0.5 s, doubled each time up to 5 min.
    pub(crate) fn failed(&self, tenant: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let failed = failures
            .entry(tenant.to_owned())
            .or_insert(Failures { count: 0, last: now });
        failed.count = failed.count.saturating_add(1);
        failed.last = now;
        let doublings = failed.count.saturating_sub(1).min(10);
        BREATH.saturating_mul(1 << doublings).min(Duration::from_mins(5))
    }

    /// How long to wait before a Tenant that just failed is tried again: its own status wakes it, too.
    pub(crate) fn breath(&self, tenant: &str) -> Option<Duration> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures
            .get(tenant)
            .and_then(|it| BREATH.checked_sub(it.last.elapsed()))
    }

    /// Forgets earlier failures.
    pub(crate) fn succeeded(&self, tenant: &str) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(tenant);
    }
}

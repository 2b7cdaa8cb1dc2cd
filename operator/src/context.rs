//! What each pass over a Tenant is given.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bailiwick_core::config::Config;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use crate::apply::Applier;
use crate::args::OperatorArgs;
use crate::index::Index;
use crate::metrics::Metrics;
use crate::observe::Observed;

/// What each pass over a Tenant is given.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) config: Arc<Config>,
    pub(crate) observed: Observed,
    pub(crate) index: Index,
    pub(crate) applier: Applier,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Metrics,
    failures: Mutex<HashMap<String, u32>>,
}

impl Context {
    pub(crate) fn new(
        client: Client,
        raw: Client,
        args: &OperatorArgs,
        observed: Observed,
        index: Index,
        metrics: Metrics,
    ) -> Self {
        let reporter =
            Reporter { controller: "bailiwick-operator".to_owned(), instance: Some(args.common.pod_name.clone()) };
        let recorder = Recorder::new(client.clone(), reporter);
        Self {
            applier: Applier::new(client.clone(), raw, metrics.clone()),
            client,
            config: Arc::new(args.common.config.clone()),
            observed,
            index,
            recorder,
            metrics,
            failures: Mutex::default(),
        }
    }

    /// When to try again after a failure: 0.5 s, doubled each time up to 5 min.
    pub(crate) fn failed(&self, tenant: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(tenant.to_owned()).or_default();
        *count = count.saturating_add(1);
        let doubled = 500_u64.saturating_mul(1 << (*count - 1).min(10));
        Duration::from_millis(doubled.min(300_000))
    }

    /// Forgets earlier failures.
    pub(crate) fn succeeded(&self, tenant: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }
}

//! Requests at a steady rate, and what became of them.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{cluster::Cluster, objects};
use kube::{Api, api::DynamicObject, api::PostParams};
use tokio::time::{MissedTickBehavior, interval};

use crate::site::{CONFLICT, CONFLICT_RULE};

/// [`CONFLICT`] but for the namespace, which is nobody's: the webhook has to allow it.
const HARMLESS: &str = "{ apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: { name: rival }, spec: { namespaces: { declared: [{ name: rival-prod }] } } }";
/// How many send at a time: enough that slow answers don't lower the rate.
const SENDERS: u32 = 50;

/// What became of requests, half of which the webhook has to refuse and half of which it has to allow.
#[derive(Debug)]
pub(crate) struct Tally {
    begin: Instant,
    refused: AtomicUsize,
    allowed: AtomicUsize,
    wrong: AtomicUsize,
    undecided: Mutex<Vec<(Duration, String)>>,
}

impl Tally {
    fn new() -> Self {
        Self {
            begin: Instant::now(),
            refused: AtomicUsize::new(0),
            allowed: AtomicUsize::new(0),
            wrong: AtomicUsize::new(0),
            undecided: Mutex::default(),
        }
    }

    fn count(&self, must_pass: bool, result: Result<DynamicObject, kube::Error>) {
        let counter = match (must_pass, result) {
            (true, Ok(_)) => &self.allowed,
            (false, Err(kube::Error::Api(status))) if status.message.contains(CONFLICT_RULE) => &self.refused,
            (false, Ok(_)) => &self.wrong,
            // A verdict, and not the right one.
            (true, Err(kube::Error::Api(status))) if status.message.contains("BW-") => &self.wrong,
            (_, Err(error)) => {
                let mut undecided = self.undecided.lock().unwrap_or_else(PoisonError::into_inner);
                let message = match error {
                    kube::Error::Api(status) => status.message.clone(),
                    error => error.to_string(),
                };
                undecided.push((self.begin.elapsed(), message));
                return;
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests with the right verdict.
    pub(crate) fn decided(&self) -> usize {
        self.refused.load(Ordering::Relaxed) + self.allowed.load(Ordering::Relaxed)
    }

    /// Requests that nobody could decide: refused, which is safe, and seen by users.
    pub(crate) fn undecided(&self) -> Vec<(Duration, String)> {
        let undecided = self.undecided.lock().unwrap_or_else(PoisonError::into_inner);
        undecided.clone()
    }

    /// How long it has gone on.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Checks that both kinds were asked for and that no verdict was wrong; gives one line for the log.
    pub(crate) fn summary(&self) -> Result<String> {
        let [refused, allowed, wrong] =
            [&self.refused, &self.allowed, &self.wrong].map(|it| it.load(Ordering::Relaxed));
        let undecided = self.undecided();
        let line = format!(
            "{refused} rightly refused, {allowed} rightly allowed, {wrong} wrong, {} undecided in {:.1?} {:?}",
            undecided.len(),
            self.elapsed(),
            &undecided[..undecided.len().min(3)],
        );
        ensure!(wrong == 0 && refused > 0 && allowed > 0, "{line}");
        Ok(line)
    }
}

/// Sends so many requests a second, until `meanwhile` is done.
pub(crate) async fn under_requests(
    cluster: &Cluster,
    per_second: u32,
    meanwhile: impl AsyncFnOnce(&Tally) -> Result<()>,
) -> Result<Tally> {
    let client = cluster.client();
    let parsed = |yaml| objects::parse(yaml)?.pop().context("no document");
    let (conflict, harmless) = (parsed(CONFLICT)?, parsed(HARMLESS)?);
    let api: Api<DynamicObject> = objects::api_of(&client, &conflict).await?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let tally = Tally::new();
    let sender = async |number: u32| {
        let must_pass = number.is_multiple_of(2);
        let object = if must_pass { &harmless } else { &conflict };
        let mut ticks = interval(Duration::from_secs(1) * SENDERS / per_second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            ticks.tick().await;
            tally.count(must_pass, api.create(&params, object).await);
        }
    };
    let senders = futures::future::join_all((0..SENDERS).map(sender));
    tokio::select! {
        result = meanwhile(&tally) => result?,
        _ = senders => bail!("the senders ended"),
    }
    Ok(tally)
}

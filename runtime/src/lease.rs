//! Leader election by a Lease, as client-go does it.
//!
//! A candidate never trusts the clock in the record: it judges by how long *it* has seen the record unchanged.
//! Every write carries the resourceVersion it was decided on, so of two candidates one gets a conflict.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio_util::sync::CancellationToken;

/// What a candidate does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nobody holds it, or its holder is gone: take it.
    Acquire,
    /// It is ours: renew it.
    Renew,
    /// Somebody else holds it.
    Wait,
}

/// Decides by the record, and by how long this candidate has seen it unchanged.
pub fn evaluate(spec: Option<&LeaseSpec>, me: &str, unchanged_for: Duration) -> Step {
    let Some(spec) = spec else { return Step::Acquire };
    match spec.holder_identity.as_deref() {
        None | Some("") => Step::Acquire,
        Some(holder) if holder == me => Step::Renew,
        Some(_) => {
            let seconds = spec.lease_duration_seconds.unwrap_or(15).max(1).unsigned_abs();
            if unchanged_for > Duration::from_secs(u64::from(seconds)) {
                Step::Acquire
            } else {
                Step::Wait
            }
        }
    }
}

/// Tells whether this process may still write. It falls by itself when the Lease is not renewed in time, also
/// when the process was stopped meanwhile.
#[derive(Clone, Debug)]
pub struct Fence {
    start: Instant,
    /// Milliseconds after `start` at which it falls.
    until: Arc<AtomicU64>,
}

impl Default for Fence {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            until: Arc::new(AtomicU64::new(0)),
        }
    }
}

impl Fence {
    /// Whether writes are safe now.
    pub fn stands(&self) -> bool {
        self.elapsed() < self.until.load(Ordering::Acquire)
    }

    /// Lets it stand until `from` + `duration`, where `from` is before the renewal was sent.
    fn extend(&self, from: Instant, duration: Duration) {
        let until = from.duration_since(self.start) + duration;
        self.until.store(
            u64::try_from(until.as_millis()).unwrap_or(u64::MAX),
            Ordering::Release,
        );
    }

    fn drop_now(&self) {
        self.until.store(0, Ordering::Release);
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// One candidate for a Lease.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    duration: Duration,
    fence: Fence,
    seen: Option<(String, Instant)>,
}

impl Candidate {
    /// A candidate. The fence falls after two thirds of `duration` without a renewal, before anybody else may
    /// take the Lease.
    pub fn new(api: Api<Lease>, name: &str, identity: &str, duration: Duration, fence: Fence) -> Self {
        Self {
            api,
            name: name.to_owned(),
            identity: identity.to_owned(),
            duration,
            fence,
            seen: None,
        }
    }

    fn retry_period(&self) -> Duration {
        (self.duration / 7).max(Duration::from_millis(200))
    }

    fn renew_deadline(&self) -> Duration {
        self.duration * 2 / 3
    }

    /// Waits until the Lease is ours. `false` when stopped before.
    pub async fn acquire(&mut self, stop: &CancellationToken) -> bool {
        loop {
            match tokio::time::timeout(self.renew_deadline(), self.attempt()).await {
                Ok(Ok(true)) => {
                    tracing::info!(lease = self.name, identity = self.identity, "Leading");
                    return true;
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, lease = self.name, "The Lease could not be read or written");
                }
                Err(_) => tracing::warn!(lease = self.name, "The API server did not answer about the Lease"),
            }
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(self.retry_period()) => {}
            }
        }
    }

    /// Renews the Lease until it is lost or this process stops; then gives it back if it is still ours.
    pub async fn hold(&mut self, stop: &CancellationToken) -> Held {
        while self.fence.stands() {
            tokio::select! {
                () = stop.cancelled() => {
                    self.release().await;
                    return Held::Released;
                }
                () = tokio::time::sleep(self.retry_period()) => {}
            }
            match tokio::time::timeout(self.retry_period() * 2, self.attempt()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => break,
                Ok(Err(error)) => tracing::warn!(%error, "The Lease was not renewed"),
                Err(_) => tracing::warn!("The Lease was not renewed in time"),
            }
        }
        self.fence.drop_now();
        Held::Lost
    }

    /// One look at the record and, if it may be ours, one write. True when it is ours afterwards.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let sent = Instant::now();
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(None)),
            };
            return self.won(sent, self.api.create(&PostParams::default(), &lease).await);
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let unchanged_since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => sent,
        };
        self.seen = Some((version, unchanged_since));
        match evaluate(lease.spec.as_ref(), &self.identity, unchanged_since.elapsed()) {
            Step::Wait => Ok(false),
            Step::Acquire | Step::Renew => {
                let spec = self.spec(lease.spec.as_ref());
                let lease = Lease {
                    spec: Some(spec),
                    ..lease
                };
                self.won(
                    sent,
                    self.api.replace(&self.name, &PostParams::default(), &lease).await,
                )
            }
        }
    }

    fn won(&self, sent: Instant, written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
        match written {
            Ok(_) => {
                self.fence.extend(sent, self.renew_deadline());
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn spec(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let mine = old.filter(|it| it.holder_identity.as_deref() == Some(&self.identity));
        let transitions = old.and_then(|it| it.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs().max(1)).ok(),
            acquire_time: mine
                .and_then(|it| it.acquire_time.clone())
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if mine.is_some() {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }
    }

    /// Gives the Lease back, so that the next one need not wait for it to run out.
    async fn release(&self) {
        self.fence.drop_now();
        let Ok(Some(mut lease)) = self.api.get_opt(&self.name).await else {
            return;
        };
        let Some(spec) = lease
            .spec
            .as_mut()
            .filter(|it| it.holder_identity.as_deref() == Some(&self.identity))
        else {
            return;
        };
        spec.holder_identity = Some(String::new());
        match self.api.replace(&self.name, &PostParams::default(), &lease).await {
            Ok(_) => tracing::info!(lease = self.name, "The Lease is given back"),
            Err(error) => tracing::warn!(%error, "The Lease could not be given back; it runs out"),
        }
    }
}

/// How leading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// This process stopped and gave the Lease back.
    Released,
    /// Somebody else may have it: nothing may be written any more.
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_only_when_free_or_seen_unchanged_for_its_duration() {
        let s = Duration::from_secs;
        for (spec, unchanged, step) in [
            (None, s(0), Step::Acquire),
            (Some(held_by("")), s(0), Step::Acquire),
            (Some(LeaseSpec::default()), s(0), Step::Acquire),
            (Some(held_by("me")), s(0), Step::Renew),
            (Some(held_by("me")), s(99), Step::Renew),
            (Some(held_by("other")), s(0), Step::Wait),
            (Some(held_by("other")), s(15), Step::Wait),
            (Some(held_by("other")), s(16), Step::Acquire),
        ] {
            assert_eq!(
                evaluate(spec.as_ref(), "me", unchanged),
                step,
                "{spec:?} {unchanged:?}"
            );
        }
    }

    #[test]
    fn a_fence_falls_by_itself() {
        let fence = Fence::default();
        assert!(!fence.stands());
        fence.extend(Instant::now(), Duration::from_mins(1));
        assert!(fence.stands());
        fence.extend(Instant::now(), Duration::ZERO);
        assert!(!fence.stands());
    }
}

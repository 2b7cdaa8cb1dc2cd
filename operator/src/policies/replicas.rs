//! Which webhooks live, by their Leases: each is judged by how long *this* process has seen it unchanged, because clocks
//! differ.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick_core::policy::report::Report;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt as _;

/// After how many times its duration the Lease of a dead webhook is deleted.
const LEFT_BEHIND: u32 = 4;

#[derive(Default)]
pub(super) struct Replicas(HashMap<String, Seen>);

struct Seen {
    renewed: Option<MicroTime>,
    at: Instant,
    lasts: Duration,
    was_alive: bool,
}

impl Seen {
    fn is_alive(&self) -> bool {
        self.at.elapsed() <= self.lasts
    }
}

impl Replicas {
    /// What the webhooks that live report, by the names of their Pods.
    pub(super) fn live(&mut self, leases: &[Arc<Lease>]) -> BTreeMap<String, Report> {
        let names: Vec<String> = leases.iter().map(|it| it.name_any()).collect();
        self.0.retain(|it, _| names.contains(it));
        let mut live = BTreeMap::new();
        for (lease, name) in leases.iter().zip(names) {
            let spec = lease.spec.clone().unwrap_or_default();
            let Some(pod) = spec.holder_identity.filter(|it| !it.is_empty()) else {
                continue;
            };
            let seconds = spec
                .lease_duration_seconds
                .unwrap_or(15)
                .clamp(1, 120)
                .unsigned_abs();
            let lasts = Duration::from_secs(u64::from(seconds));
            let new = Seen {
                renewed: spec.renew_time.clone(),
                at: Instant::now(),
                lasts,
                was_alive: true,
            };
            let seen = self.0.entry(name).or_insert(new);
            if seen.renewed != spec.renew_time {
                seen.renewed = spec.renew_time;
                seen.at = Instant::now();
            }
            seen.lasts = lasts;
            seen.was_alive = seen.is_alive();
            if seen.was_alive {
                live.insert(pod, Report::of_annotations(lease.annotations()));
            }
        }
        live
    }

    /// The Leases of webhooks that were killed long ago: nobody else will delete them.
    pub(super) fn left_behind(&self) -> Vec<String> {
        let is_left = |it: &Seen| it.at.elapsed() > it.lasts.saturating_mul(LEFT_BEHIND);
        self.0
            .iter()
            .filter(|it| is_left(it.1))
            .map(|it| it.0.clone())
            .collect()
    }

    /// Whether one that was alive isn't any more, or its Lease is to be deleted.
    pub(super) fn lost_one(&self) -> bool {
        self.0.values().any(|it| it.was_alive && !it.is_alive()) || !self.left_behind().is_empty()
    }
}

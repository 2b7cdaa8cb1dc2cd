//! What the operator counts. Labels are closed sets, but for the manager of a drift, which is bounded, and for Tenants and
//! the resources that their quotas name, which are people's own.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use bailiwick_core::quota::Amounts;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::drift::{UNKNOWN, UNTOLD};

/// The metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) leader: Gauge,
    pub(crate) reconciles: Family<OutcomeLabel, Counter>,
    pub(crate) duration: Histogram,
    writes: Family<WriteLabels, Counter>,
    drift: Family<DriftLabels, Counter>,
    pub(crate) watch_errors: Counter,
    pub(crate) ca_expiry: Gauge,
    pub(crate) tenants: Gauge,
    quota_limit: Family<QuotaLabels, Gauge<f64, AtomicU64>>,
    quota_used: Family<QuotaLabels, Gauge<f64, AtomicU64>>,
    /// The Tenants that are told of, each with its limits.
    quotas: Arc<Mutex<BTreeMap<String, Amounts>>>,
    pub(crate) policies: Gauge,
    pub(crate) policy_lag: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabel {
    pub(crate) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: &'static str,
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuotaLabels {
    tenant: String,
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DriftLabels {
    kind: &'static str,
    manager: String,
}

pub(crate) fn new() -> (Metrics, Registry) {
    let mut registry = Registry::with_prefix("bailiwick_operator");
    let metrics = Metrics {
        leader: Gauge::default(),
        reconciles: Family::default(),
        duration: Histogram::new([0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0]),
        writes: Family::default(),
        drift: Family::default(),
        watch_errors: Counter::default(),
        ca_expiry: Gauge::default(),
        tenants: Gauge::default(),
        quota_limit: Family::default(),
        quota_used: Family::default(),
        quotas: Arc::default(),
        policies: Gauge::default(),
        policy_lag: Histogram::new([0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0]),
    };
    registry.register("leader", "1 when this replica leads", metrics.leader.clone());
    registry.register(
        "reconciles",
        "Tenants worked on, by outcome",
        metrics.reconciles.clone(),
    );
    registry.register_with_unit(
        "reconcile_duration",
        "Time of one pass over a Tenant",
        Unit::Seconds,
        metrics.duration.clone(),
    );
    registry.register(
        "writes",
        "Requests that change something, by kind and verb",
        metrics.writes.clone(),
    );
    registry.register(
        "drift_reverted",
        "Changes by others that were put back, by kind and manager",
        metrics.drift.clone(),
    );
    registry.register(
        "watch_errors",
        "Watches that failed and were begun again",
        metrics.watch_errors.clone(),
    );
    registry.register(
        "ca_expiration_timestamp_seconds",
        "End of the webhook's CA, in Unix seconds",
        metrics.ca_expiry.clone(),
    );
    registry.register("tenants", "Tenants known", metrics.tenants.clone());
    registry.register(
        "quota_limit",
        "What a Tenant's namespaces may use together, by Tenant and resource",
        metrics.quota_limit.clone(),
    );
    registry.register(
        "quota_used",
        "What they use of it, by Tenant and resource",
        metrics.quota_used.clone(),
    );
    registry.register("policies", "TenantPolicies known", metrics.policies.clone());
    registry.register_with_unit(
        "policy_lag",
        "Time from a change of a TenantPolicy to its service by the last webhook",
        Unit::Seconds,
        metrics.policy_lag.clone(),
    );
    (metrics, registry)
}

impl Metrics {
    pub(crate) fn wrote(&self, kind: &'static str, verb: &'static str) {
        self.writes.get_or_create(&WriteLabels { kind, verb }).inc();
    }

    /// What a Tenant uses of its limits. Without limits it is told of no more.
    pub(crate) fn quota(&self, tenant: &str, limits: &Amounts, used: &Amounts) {
        let labels = |resource: &String| QuotaLabels {
            tenant: tenant.to_owned(),
            resource: resource.clone(),
        };
        for (resource, limit) in limits {
            let used = used.get(resource).copied().unwrap_or_default();
            let labels = labels(resource);
            self.quota_limit.get_or_create(&labels).set(limit.as_f64());
            self.quota_used.get_or_create(&labels).set(used.as_f64());
        }
        let mut known = self.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if limits.is_empty() {
            known.remove(tenant)
        } else {
            known.insert(tenant.to_owned(), limits.clone())
        };
        for resource in before.unwrap_or_default().keys() {
            if !limits.contains_key(resource) {
                self.quota_limit.remove(&labels(resource));
                self.quota_used.remove(&labels(resource));
            }
        }
    }

    /// Field managers are chosen by whoever writes: only the usual ones become labels.
    pub(crate) fn drifted(&self, kind: &'static str, manager: &str) {
        const KNOWN: [&str; 10] = [
            UNKNOWN,
            UNTOLD,
            "kubectl",
            "kubectl-edit",
            "kubectl-patch",
            "kubectl-label",
            "kubectl-annotate",
            "helm",
            "argocd-controller",
            "kustomize-controller",
        ];
        let manager = if KNOWN.contains(&manager) {
            manager
        } else {
            "other"
        };
        self.drift
            .get_or_create(&DriftLabels {
                kind,
                manager: manager.to_owned(),
            })
            .inc();
    }
}

//! What the webhook counts. Labels are closed sets, but for the names of policies, which the platform chose: never a
//! name that a tenant chose.

use std::time::Duration;

use bailiwick_core::decide::Decision;
use bailiwick_core::review::{Operation, Request};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    denials: Family<RuleLabel, Counter>,
    policies: Family<PolicyLabel, Counter>,
    policy_timeouts: Family<PolicyLabel, Counter>,
    policy_findings: Family<PolicyFindingLabels, Counter>,
    duration: Histogram,
    failures: Counter,
    fetches: Counter,
    pub(crate) certificate_expiry: Gauge,
    pub(crate) snapshot_updates: Counter,
    pub(crate) watch_errors: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    resource: &'static str,
    operation: &'static str,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PolicyLabel {
    policy: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PolicyFindingLabels {
    policy: String,
    outcome: &'static str,
}

pub(crate) fn new() -> (Metrics, Registry) {
    let mut registry = Registry::with_prefix("bailiwick_webhook");
    let metrics = Metrics {
        requests: Family::default(),
        denials: Family::default(),
        policies: Family::default(),
        policy_timeouts: Family::default(),
        policy_findings: Family::default(),
        duration: Histogram::new([
            0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5,
        ]),
        failures: Counter::default(),
        fetches: Counter::default(),
        certificate_expiry: Gauge::default(),
        snapshot_updates: Counter::default(),
        watch_errors: Counter::default(),
    };
    registry.register(
        "requests",
        "Admission requests by resource, operation and verdict",
        metrics.requests.clone(),
    );
    registry.register(
        "denials",
        "Findings that denied a request, by rule",
        metrics.denials.clone(),
    );
    registry.register(
        "policy_evaluations",
        "Evaluations of a policy for a decision",
        metrics.policies.clone(),
    );
    registry.register(
        "policy_timeouts",
        "Evaluations of a policy that took longer than its limit",
        metrics.policy_timeouts.clone(),
    );
    registry.register(
        "policy_findings",
        "What policies objected to, by policy and what became of it: deny, warn, audit or except",
        metrics.policy_findings.clone(),
    );
    registry.register_with_unit(
        "decision_duration",
        "Time from the whole body to the answer",
        Unit::Seconds,
        metrics.duration.clone(),
    );
    registry.register(
        "malformed_requests",
        "Bodies that were no AdmissionReview",
        metrics.failures.clone(),
    );
    registry.register(
        "fetches",
        "Objects read from the API server for a decision",
        metrics.fetches.clone(),
    );
    registry.register(
        "certificate_expiration_timestamp_seconds",
        "End of the serving certificate, in Unix seconds",
        metrics.certificate_expiry.clone(),
    );
    registry.register(
        "snapshot_updates",
        "Replacements of the snapshot",
        metrics.snapshot_updates.clone(),
    );
    registry.register(
        "watch_errors",
        "Watches that failed and were begun again",
        metrics.watch_errors.clone(),
    );
    (metrics, registry)
}

impl Metrics {
    pub(crate) fn decided(&self, request: &Request<'_>, decision: &Decision, took: Duration) {
        let verdict = match (decision.allowed(), decision.is_retriable()) {
            (true, _) => "allow",
            (false, true) => "undecided",
            (false, false) => "deny",
        };
        self.requests
            .get_or_create(&RequestLabels {
                resource: resource(request),
                operation: operation(request),
                verdict,
            })
            .inc();
        for finding in &decision.findings {
            self.denials
                .get_or_create(&RuleLabel {
                    rule: finding.rule.as_str(),
                })
                .inc();
        }
        for ran in &decision.ran {
            let label = PolicyLabel {
                policy: ran.policy.clone(),
            };
            if ran.timed_out {
                self.policy_timeouts.get_or_create(&label).inc();
            }
            self.policies.get_or_create(&label).inc();
        }
        for (outcome, findings) in [
            ("deny", &decision.findings),
            ("warn", &decision.warnings),
            ("audit", &decision.audited),
            ("except", &decision.excepted),
        ] {
            for source in findings.iter().filter_map(|it| it.source.as_ref()) {
                self.policy_findings
                    .get_or_create(&PolicyFindingLabels {
                        policy: source.policy.clone(),
                        outcome,
                    })
                    .inc();
            }
        }
        self.duration.observe(took.as_secs_f64());
    }

    pub(crate) fn malformed(&self) {
        self.failures.inc();
    }

    pub(crate) fn fetched(&self) {
        self.fetches.inc();
    }
}

fn operation(request: &Request<'_>) -> &'static str {
    match request.operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

const RESOURCES: [&str; 32] = [
    "pods",
    "pods/status",
    "pods/ephemeralcontainers",
    "pods/resize",
    "pods/binding",
    "bindings",
    "namespaces",
    "namespaces/status",
    "namespaces/finalize",
    "roles",
    "rolebindings",
    "clusterroles",
    "clusterrolebindings",
    "networkpolicies",
    "resourcequotas",
    "limitranges",
    "services",
    "persistentvolumeclaims",
    "ingresses",
    "httproutes",
    "grpcroutes",
    "tlsroutes",
    "gateways",
    "listenersets",
    "replicationcontrollers",
    "podtemplates",
    "deployments",
    "statefulsets",
    "daemonsets",
    "replicasets",
    "jobs",
    "cronjobs",
];

fn resource(request: &Request<'_>) -> &'static str {
    let path = request.resource_path();
    if path == "tenants" {
        return "tenants";
    }
    RESOURCES
        .iter()
        .find(|it| **it == path)
        .copied()
        .unwrap_or("other")
}

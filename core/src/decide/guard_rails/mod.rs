//! Guard rails: what a tenant's workloads may use of what the cluster shares.
//!
//! The Tenant's `spec.workloads` says so; where it says nothing a few things are refused all the same, because with
//! them a tenant reaches out of itself (`docs/guard-rails.md`). Each rule looks at one object; what was so before a
//! change stays so.

mod claim;
mod gateway;
mod host;
mod ingress;
mod placement;
mod pod;
mod service;
mod template;

use bailiwick_crds::v1alpha1::{TenantSpec, Workloads};
pub(super) use pod::Spec as PodSpec;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{Change, Findings, Stop, exists, read};
use crate::finding::{Finding, RuleId, some_of};
use crate::placement::Placed;
use crate::review::{Metadata, Object, Operation, Request};
use crate::snapshot::Snapshot;

/// What the rules go by.
struct Rails<'a> {
    snapshot: &'a Snapshot,
    request: &'a Request<'a>,
    tenant: &'a str,
    /// What the Tenant says; nothing where it is gone.
    spec: Option<&'a TenantSpec>,
    /// What it says of workloads.
    workloads: Option<&'a Workloads>,
}

/// One side of a change.
struct Side<'a> {
    /// All of the object.
    raw: Option<&'a RawValue>,
    metadata: &'a Metadata<'a>,
    spec: Option<&'a RawValue>,
    /// What was read of a Pod's spec already.
    pod: Option<&'a PodSpec<'a>>,
}

impl<'a> Side<'a> {
    fn of(
        raw: Option<&'a RawValue>,
        object: Option<&'a Object<'a>>,
        pod: Option<&'a PodSpec<'a>>,
    ) -> Option<Self> {
        object.map(|it| Self {
            raw,
            metadata: &it.metadata,
            spec: it.spec,
            pod,
        })
    }

    /// Reads the members of `spec` that a rule needs.
    fn spec<T: Deserialize<'a> + Default>(&self) -> Result<T, Stop> {
        self.spec
            .map_or_else(|| Ok(T::default()), |it| read(Some(it), "spec"))
    }
}

type Judge = fn(&Rails<'_>, &Side<'_>) -> Findings;

/// The rules of a kind of object, if it has any.
fn judge_of(group: &str, path: &str) -> Option<Judge> {
    Some(match (group, path) {
        ("", "pods" | "pods/ephemeralcontainers" | "pods/resize") => pod::judge,
        ("", "services") => service::judge,
        ("", "persistentvolumeclaims") => claim::judge,
        ("networking.k8s.io", "ingresses") => ingress::judge,
        ("gateway.networking.k8s.io", "httproutes" | "grpcroutes" | "tlsroutes") => gateway::judge_route,
        ("gateway.networking.k8s.io", "gateways" | "listenersets") => gateway::judge_listeners,
        _ => return None,
    })
}

/// What a request breaks that it did not break before.
pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>, change: &Change<'_>) -> Findings {
    let Some(judge) = judge_of(&request.resource.group, &request.resource_path()) else {
        return Ok(Vec::new());
    };
    let Some(rails) = Rails::of(snapshot, request)? else {
        return Ok(Vec::new());
    };
    rails.added(change, judge)
}

/// What the Pods of a controller will break, so that people learn it now and not from a ReplicaSet.
pub(super) fn warn(snapshot: &Snapshot, request: &Request<'_>) -> Vec<Finding> {
    let Some(judge) = template::judge_of(&request.resource.group, &request.resource_path()) else {
        return Vec::new();
    };
    let Ok(Some(rails)) = Rails::of(snapshot, request) else {
        return Vec::new();
    };
    let change = Change::of(request).unwrap_or_default();
    rails.added(&change, judge).unwrap_or_default()
}

impl<'a> Rails<'a> {
    /// The rules of the tenant whose namespace it is, if an object is being written there.
    fn of(snapshot: &'a Snapshot, request: &'a Request<'a>) -> Result<Option<Self>, Stop> {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return Ok(None);
        }
        exists(snapshot, &request.namespace)?;
        Ok(snapshot.tenant_of(&request.namespace).map(|tenant| {
            let spec = snapshot.tenants.by_name.get(tenant).map(|it| &it.spec);
            Self {
                snapshot,
                request,
                tenant,
                spec,
                workloads: spec.and_then(|it| it.workloads.as_ref()),
            }
        }))
    }

    /// What is found after a change and was not found before. The fields may have moved.
    fn added(&self, change: &Change<'_>, judge: Judge) -> Findings {
        let judged = |side: Option<Side<'_>>| side.map_or_else(|| Ok(Vec::new()), |it| judge(self, &it));
        let mut findings = judged(Side::of(
            self.request.object,
            change.new.as_ref(),
            change.pods.1.as_ref(),
        ))?;
        if findings.is_empty() || change.old.is_none() {
            return Ok(findings);
        }
        let known = judged(Side::of(
            self.request.old_object,
            change.old.as_ref(),
            change.pods.0.as_ref(),
        ))?;
        findings.retain(|it| {
            !known
                .iter()
                .any(|old| (old.rule, &old.found) == (it.rule, &it.found))
        });
        Ok(findings)
    }

    /// Where what lives in the namespace runs and lies, if the Tenant says so.
    fn placed(&self) -> Option<Placed> {
        Placed::in_namespace(self.snapshot, &self.request.namespace)
    }

    /// A list of the Tenant, if it has it.
    fn list(&self, of: impl Fn(&'a Workloads) -> Option<&'a Vec<String>>) -> Option<&'a [String]> {
        self.workloads.and_then(of).map(Vec::as_slice)
    }

    /// A finding about what a list of the Tenant does not have.
    fn not_listed(
        &self,
        rule: RuleId,
        field: impl Into<String>,
        found: impl Into<String>,
        list: &[String],
        path: &str,
    ) -> Finding {
        let fix = match list {
            [] => format!(
                "leave it out, or let the platform add to {path} of Tenant '{}'",
                self.tenant
            ),
            _ => format!(
                "choose one of these, or let the platform add to {path} of Tenant '{}'",
                self.tenant
            ),
        };
        Finding::new(rule, field, found, some_of(list), fix)
    }
}

/// Reads a list.
fn list_of<T: DeserializeOwned>(raw: &RawValue, field: &str) -> Result<Vec<T>, Stop> {
    serde_json::from_str(raw.get()).map_err(|error| {
        Stop::Because(Finding::new(
            RuleId::Malformed,
            field,
            error.to_string(),
            "the object as the API server sends it",
            "check the object against its schema (`kubectl explain`)",
        ))
    })
}

/// A name for a message.
fn shown(name: &str) -> String {
    super::shown(Some(name).filter(|it| !it.is_empty()))
}

/// The same findings, further down.
fn below(prefix: &str, mut findings: Vec<Finding>) -> Vec<Finding> {
    for finding in &mut findings {
        finding.field = format!("{prefix}.{}", finding.field);
    }
    findings
}

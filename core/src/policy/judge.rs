//! The policies' part of a decision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bailiwick_crds::v1alpha1::{Difference, Enforcement, TenantPolicySpec};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::content::Content;
use super::revision::Revision;
use super::served::{Active, Candidate, Served};
use super::{pack, rollout};
use crate::finding::{Finding, RuleId, Source};
use crate::ownership::NamespaceFacts;
use crate::rego::{Document, EvaluationError, Facts, Review, Severity, Violation, timed};
use crate::review::{Operation, Request};
use crate::snapshot::Snapshot;

/// What a decision depends on beside the snapshot and the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time, in Unix seconds: exceptions end.
    pub now: i64,
    /// How long all policies together may take.
    pub budget: Duration,
    /// The revisions that keep taking too long for a tenant, by its name and theirs: they are not evaluated for it, and count
    /// as failed.
    pub open_circuits: Arc<BTreeSet<(String, String)>>,
}

impl Default for Moment {
    /// No exception holds, and there is as much time as an API server gives by default.
    fn default() -> Self {
        Self {
            now: i64::MAX,
            budget: Duration::from_millis(2500),
            open_circuits: Arc::default(),
        }
    }
}

/// What the policies say of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// All that was said, in the order of the policies.
    pub said: Vec<Said>,
    /// The policies that judged it.
    pub ran: Vec<Ran>,
}

/// One thing that a policy said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What it was.
    pub finding: Finding,
    /// What becomes of it; none where an exception lets it be.
    pub enforcement: Option<Enforcement>,
}

/// A policy that judged a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The policy.
    pub policy: String,
    /// The revision that decided.
    pub revision: String,
    /// Who wrote the revision.
    pub author: String,
    /// Who approved it.
    pub approved_by: Vec<String>,
    /// Whether it took too long.
    pub timed_out: bool,
    /// Whether it was evaluated, with all the time that it may take: not while its circuit is open.
    pub evaluated: bool,
}

/// Where a candidate differs from what is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs {
    /// Name of the candidate.
    pub revision: String,
    /// How, and what the one that objects says; none where both say the same.
    pub difference: Option<(Difference, String)>,
}

/// Whether any policy might judge this request: where none does, there is no need for a thread with much stack.
pub fn may_judge(snapshot: &Snapshot, request: &Request<'_>) -> bool {
    let Some(tenant) = snapshot.tenant_of(&request.namespace) else {
        return false;
    };
    let is_known = snapshot.tenants.by_name.contains_key(tenant);
    let takes = |it: &Revision| it.stored.content.takes(&request.kind.group, &request.kind.kind);
    let policies = snapshot.policies.of_tenant(tenant, is_known);
    policies.iter().any(|served| {
        let active = served.active.as_ref().is_some_and(|it| match it {
            Active::Loaded(it) => takes(it),
            Active::Missing { .. } => true,
        });
        active || served.candidate.as_ref().is_some_and(|it| takes(it.revision()))
    })
}

/// The candidates that a request is to be compared for, by the names of their revisions.
pub fn to_compare<'a>(snapshot: &'a Snapshot, request: &Request<'_>) -> Vec<&'a str> {
    let Some(tenant) = snapshot.tenant_of(&request.namespace) else {
        return Vec::new();
    };
    let is_known = snapshot.tenants.by_name.contains_key(tenant);
    let policies = snapshot.policies.of_tenant(tenant, is_known);
    policies
        .iter()
        .filter_map(|it| compared(it, request))
        .map(|it| it.name())
        .collect()
}

/// The candidate that is compared for a request, if any.
fn compared<'a>(served: &'a Served, request: &Request<'_>) -> Option<&'a Arc<Revision>> {
    let candidate = match served.candidate.as_ref()? {
        Candidate::Shadow(it) => it,
        Candidate::Percent(it, percent)
            if rollout::is_among(&served.policy, &request.namespace, *percent) =>
        {
            it
        }
        _ => return None,
    };
    let takes = |it: &Revision| it.stored.content.takes(&request.kind.group, &request.kind.kind);
    let active = match &served.active {
        Some(Active::Loaded(it)) => takes(it),
        _ => false,
    };
    (active || takes(candidate)).then_some(candidate)
}

/// What one evaluation needs, made once for all policies.
pub(super) struct Case<'a> {
    request: &'a Request<'a>,
    tenant: &'a str,
    tenant_labels: Option<BTreeMap<String, String>>,
    namespace: &'a NamespaceFacts,
    now: i64,
    left: Duration,
    /// Made when the first policy needs it: most requests are judged by none.
    input: Option<Result<(Review, Facts), String>>,
}

/// The candidate that decides already in the namespace of a request.
pub(super) fn among<'a>(served: &'a Served, request: &Request<'_>) -> Option<&'a Arc<Revision>> {
    match &served.candidate {
        Some(Candidate::Percent(it, percent))
            if rollout::is_among(&served.policy, &request.namespace, *percent) =>
        {
            Some(it)
        }
        _ => None,
    }
}

/// Judges a request in a namespace of a tenant.
pub(crate) fn judge(
    snapshot: &Snapshot,
    request: &Request<'_>,
    tenant: &str,
    namespace: &NamespaceFacts,
    moment: &Moment,
) -> Judged {
    let mut judged = Judged::default();
    let mut case = Case::new(snapshot, request, tenant, namespace, moment);
    let policies = snapshot.policies.of_tenant(tenant, case.tenant_labels.is_some());
    if policies.is_empty() || is_last_rites(request) {
        return judged;
    }
    for served in policies {
        match (among(served, request), &served.active) {
            (Some(revision), _) | (None, Some(Active::Loaded(revision))) => {
                let is_open = !moment.open_circuits.is_empty()
                    && moment
                        .open_circuits
                        .contains(&(tenant.to_owned(), revision.name().to_owned()));
                case.judge(served, revision, is_open, &mut judged);
            }
            (
                None,
                Some(Active::Missing {
                    revision,
                    spec,
                    reason,
                }),
            ) => {
                let matches = case.may_be_for(spec);
                if matches {
                    let found = format!("revision {revision} can't be loaded: {reason}");
                    judged.said.push(Said {
                        finding: undecided(&served.policy, &found),
                        // Not the spec's: nobody approved it.
                        enforcement: Some(Enforcement::Deny),
                    });
                }
            }
            (None, None) => {}
        }
    }
    judged
}

/// Compares candidates with what is active. For after the answer: it takes as long as the decision.
pub fn compare(snapshot: &Snapshot, request: &Request<'_>, moment: &Moment) -> Vec<Differs> {
    let Some(tenant) = snapshot.tenant_of(&request.namespace) else {
        return Vec::new();
    };
    let Some(namespace) = snapshot.namespaces.get(&*request.namespace) else {
        return Vec::new();
    };
    let mut case = Case::new(snapshot, request, tenant, namespace, moment);
    let mut all = Vec::new();
    if is_last_rites(request) {
        return all;
    }
    for served in snapshot.policies.of_tenant(tenant, case.tenant_labels.is_some()) {
        let Some(candidate) = compared(served, request) else {
            continue;
        };
        let mut objection = |revision: Option<&Arc<Revision>>| {
            let mut judged = Judged::default();
            if let Some(revision) = revision {
                case.judge(served, revision, false, &mut judged);
            }
            let failed = judged
                .said
                .iter()
                .find(|it| it.finding.rule == RuleId::PolicyError);
            let denied = judged
                .said
                .iter()
                .find(|it| it.enforcement == Some(Enforcement::Deny));
            (
                !judged.ran.is_empty(),
                failed.map(|it| it.finding.found.clone()),
                denied.map(|it| it.finding.found.clone()),
            )
        };
        let active = match &served.active {
            Some(Active::Loaded(it)) => Some(it),
            _ => None,
        };
        let (was_judged, failed_before, before) = objection(active);
        let (is_judged, error, after) = objection(Some(candidate));
        if !was_judged && !is_judged {
            continue;
        }
        let difference = match (error, before, after) {
            // What makes both fail is the request.
            (Some(error), _, _) if failed_before.is_none() => Some((Difference::Error, error)),
            (None, None, Some(message)) => Some((Difference::NewlyDenied, message)),
            (None, Some(message), None) => Some((Difference::NewlyAllowed, message)),
            _ => None,
        };
        all.push(Differs {
            revision: candidate.name().to_owned(),
            difference,
        });
    }
    all
}

impl<'a> Case<'a> {
    pub(super) fn new(
        snapshot: &Snapshot,
        request: &'a Request<'a>,
        tenant: &'a str,
        namespace: &'a NamespaceFacts,
        moment: &Moment,
    ) -> Self {
        let known = snapshot.tenants.by_name.get(tenant);
        Self {
            request,
            tenant,
            tenant_labels: known.map(|it| it.metadata.labels.clone().unwrap_or_default()),
            namespace,
            now: moment.now,
            left: moment.budget,
            input: None,
        }
    }

    /// Whether a policy that can't be loaded may judge this request, by what is written of it now.
    fn may_be_for(&self, spec: &TenantPolicySpec) -> bool {
        let selected = Content {
            tenants: spec.tenants.clone(),
            tenant_selector: spec.tenant_selector.clone(),
            ..Content::default()
        };
        let is_unreadable = spec.tenants.is_none() && spec.tenant_selector.is_none();
        let is_for =
            is_unreadable || selected.is_for(self.tenant, self.tenant_labels.as_ref()) != Some(false);
        let of_pack = spec
            .pack
            .as_ref()
            .and_then(|it| pack::find(&it.name, &it.version).ok());
        let match_ = spec
            .match_
            .as_ref()
            .or_else(|| of_pack.map(|it| &it.manifest.match_));
        is_for
            && self.request.sub_resource.as_deref() != Some("status")
            && match_.is_none_or(|it| {
                let content = Content {
                    match_: it.clone(),
                    ..Content::default()
                };
                content.judges(self.request, &self.namespace.labels)
            })
    }

    /// What one revision says.
    pub(super) fn judge(
        &mut self,
        served: &Served,
        revision: &Arc<Revision>,
        is_open: bool,
        judged: &mut Judged,
    ) {
        let content = &revision.stored.content;
        if !content.judges(self.request, &self.namespace.labels) {
            return;
        }
        let policy = &served.policy;
        // Nobody knows the labels of a tenant that is gone, or so new that no watch has told of it: it is judged.
        if content.is_for(self.tenant, self.tenant_labels.as_ref()) == Some(false) {
            return;
        }
        let (outcome, took) = if is_open {
            (Err(Trouble::Open), Duration::ZERO)
        } else {
            let limit = u64::try_from(content.evaluation_milliseconds).unwrap_or_default();
            timed(|| self.evaluate(revision, Duration::from_millis(limit)))
        };
        self.left = self.left.saturating_sub(took);
        judged.ran.push(Ran {
            policy: policy.clone(),
            revision: revision.name().to_owned(),
            author: revision.stored.author.clone(),
            approved_by: served
                .approved_by
                .get(revision.name())
                .cloned()
                .unwrap_or_default(),
            timed_out: matches!(outcome, Err(Trouble::Failed(EvaluationError::Timeout(_)))),
            evaluated: !is_open && !matches!(outcome, Err(Trouble::NoTime)),
        });
        let is_excepted = content
            .exception(&self.request.namespace, self.name(), self.now)
            .is_some();
        let mut say = |finding: Finding, enforcement: Enforcement| {
            judged.said.push(Said {
                finding,
                enforcement: (!is_excepted).then_some(enforcement),
            });
        };
        match outcome {
            Ok(violations) => {
                for violation in violations {
                    let enforcement = match violation.severity {
                        Severity::Deny => content.enforcement,
                        Severity::Warn => content.enforcement.min(Enforcement::Warn),
                    };
                    say(of_violation(policy, revision.name(), violation), enforcement);
                }
            }
            Err(Trouble::NoTime) => say(
                undecided(policy, "there was no time left to evaluate it"),
                content.enforcement,
            ),
            Err(trouble) => say(of_trouble(policy, revision.name(), &trouble), content.enforcement),
        }
    }

    fn evaluate(&mut self, revision: &Revision, limit: Duration) -> Result<Vec<Violation>, Trouble> {
        if self.left.is_zero() {
            return Err(Trouble::NoTime);
        }
        let is_cut = self.left < limit;
        let limit = limit.min(self.left);
        if self.input.is_none() {
            self.input = Some(self.read());
        }
        let (review, facts) = match &self.input {
            Some(Ok(input)) => input,
            Some(Err(reason)) => return Err(Trouble::Unreadable(reason.clone())),
            None => return Err(Trouble::Unreadable("it was not read".to_owned())),
        };
        match revision.policy.evaluate(review, facts, limit) {
            Ok(evaluation) => Ok(evaluation.violations),
            // It is not the policy's fault that others left it less than its own limit.
            Err(EvaluationError::Timeout(_)) if is_cut => Err(Trouble::NoTime),
            Err(error) => Err(Trouble::Failed(error)),
        }
    }

    pub(super) fn read(&self) -> Result<(Review, Facts), String> {
        let document = |name: &str, raw: Option<&RawValue>| {
            let read = raw.map(|it| Document::parse(it.get())).transpose();
            read.map_err(|it| format!("{name} can't be read: {it}"))
        };
        let object = document("object", self.request.object)?;
        let old_object = document("oldObject", self.request.old_object)?;
        let tenant = json!({"name": self.tenant, "labels": self.tenant_labels});
        let namespace = json!({
            "name": self.request.namespace,
            "labels": self.namespace.labels,
            "annotations": self.namespace.annotations,
        });
        let review = Review::new(&envelope(self.request), object, old_object);
        Ok((review, Facts::new(&tenant, &namespace)))
    }

    fn name(&self) -> &str {
        &self.request.name
    }
}

/// Why a revision has no answer.
enum Trouble {
    Open,
    NoTime,
    Unreadable(String),
    Failed(EvaluationError),
}

/// Whether a request only lets go of an object that is being deleted: nothing may keep it from that. Whatever else it changes
/// is judged, for an object that a finalizer keeps goes on to work.
pub(super) fn is_last_rites(request: &Request<'_>) -> bool {
    if request.operation != Operation::Update || request.sub_resource.is_some() {
        return false;
    }
    let (Some(old), Some(new)) = (request.old_object, request.object) else {
        return false;
    };
    // The search spares the reading of nearly all objects.
    if !old.get().contains("\"deletionTimestamp\"") {
        return false;
    }
    let (Ok(mut old), Ok(mut new)) = (
        serde_json::from_str::<Value>(old.get()),
        serde_json::from_str::<Value>(new.get()),
    ) else {
        return false;
    };
    let is_deleted = |it: &Value| {
        it.pointer("/metadata/deletionTimestamp")
            .is_some_and(Value::is_string)
    };
    if !is_deleted(&old) || !is_deleted(&new) {
        return false;
    }
    let finalizers = |object: &mut Value| -> Vec<Value> {
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
            return Vec::new();
        };
        for key in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(key);
        }
        let finalizers = metadata.remove("finalizers");
        finalizers
            .and_then(|it| it.as_array().cloned())
            .unwrap_or_default()
    };
    let (before, after) = (finalizers(&mut old), finalizers(&mut new));
    after.iter().all(|it| before.contains(it)) && old == new
}

/// The request as policies see it, without its objects.
fn envelope(request: &Request<'_>) -> Value {
    let kind = &request.kind;
    let resource = &request.resource;
    let operation = match request.operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    };
    let mut envelope = json!({
        "uid": request.uid,
        "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "resource": {"group": resource.group, "version": resource.version, "resource": resource.resource},
        "name": request.name,
        "namespace": request.namespace,
        "operation": operation,
        "userInfo": {
            "username": request.user_info.username,
            "groups": request.user_info.groups.as_deref().unwrap_or_default(),
        },
        "dryRun": request.dry_run.unwrap_or(false),
    });
    if let (Some(sub), Some(envelope)) = (&request.sub_resource, envelope.as_object_mut()) {
        envelope.insert("subResource".to_owned(), Value::from(&**sub));
    }
    envelope
}

pub(super) fn of_violation(policy: &str, revision: &str, violation: Violation) -> Finding {
    let Violation {
        rule,
        message,
        field,
        fix,
        ..
    } = violation;
    Finding::new(
        RuleId::Policy,
        field.unwrap_or_default(),
        message,
        String::new(),
        fix.unwrap_or_default(),
    )
    .of(Source::new(policy, revision, &rule))
}

fn of_trouble(policy: &str, revision: &str, trouble: &Trouble) -> Finding {
    // What is wrong with the object is no fault of the policy.
    let rule = match trouble {
        Trouble::Unreadable(_) => RuleId::Malformed,
        _ => RuleId::PolicyError,
    };
    let (found, fix) = match trouble {
        Trouble::Open => (
            "the policy keeps taking longer than its limit and is not evaluated for the moment".to_owned(),
            "ask the platform team to make the policy cheaper or raise spec.limits.evaluationMilliseconds",
        ),
        Trouble::NoTime => (
            "there was no time left to evaluate the policy".to_owned(),
            "try again in a second",
        ),
        Trouble::Unreadable(reason) => (reason.clone(), "make the object smaller and less deep"),
        Trouble::Failed(error) => (
            error.to_string(),
            "ask the platform team to mend the policy, or change the part of the object that it names",
        ),
    };
    Finding::new(rule, "", found, "requests that the policy can judge", fix)
        .of(Source::new(policy, revision, ""))
}

fn undecided(policy: &str, found: &str) -> Finding {
    Finding::new(
        RuleId::Undecided,
        "request",
        format!("policy '{policy}': {found}"),
        "requests that every policy of the tenant has judged",
        "try again in a second",
    )
}

#[cfg(test)]
mod tests;

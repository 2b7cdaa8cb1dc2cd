//! The life of a policy: from its spec, its revisions, who approved and what the webhooks report to which revision
//! decides. A pure step: the operator takes it whenever something changes, and writes what came out.

mod said;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bailiwick_crds::v1alpha1::{
    CandidateStage, Counted, Counts, Halted, ReplicaStatus, RevisionStatus, RolloutMode, Sample, Shadow,
    TenantPolicySpec, TenantPolicyStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::report::{MAX_SAMPLES, Report};
use super::revision::StoredRevision;
use super::trial::Failed;

/// A revision that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// What is kept.
    pub stored: Arc<StoredRevision>,
    /// Its number.
    pub number: i64,
    /// When it was made.
    pub created: Option<Time>,
}

/// Somebody's approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// What was approved.
    pub digest: String,
    /// By whom.
    pub approver: String,
}

/// Kinds that a policy matches and the cluster doesn't know. A pack may match kinds that not every cluster has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnknownKinds {
    /// The kinds, each with its API group.
    pub kinds: Vec<String>,
    /// Whether the policy matches no other, and so judges nothing.
    pub are_all: bool,
}

/// What the step depends on.
#[derive(Debug)]
pub struct View<'a> {
    /// `metadata.generation` of the policy.
    pub generation: i64,
    /// The policy as it is written.
    pub spec: &'a TenantPolicySpec,
    /// The name of its revision, or why it has none.
    pub head: Result<&'a str, &'a Failed>,
    /// What was said before.
    pub status: &'a TenantPolicyStatus,
    /// The revisions of this policy that are kept, by name.
    pub revisions: &'a BTreeMap<String, Kept>,
    /// All approvals for this policy.
    pub approvals: &'a [Approval],
    /// Who changed the policy last, as the API server authenticated them.
    pub changed_by: Option<&'a str>,
    /// The webhooks that are alive, by the names of their Pods.
    pub replicas: &'a BTreeMap<String, Report>,
    /// Kinds that the policy matches and the cluster doesn't know, if any.
    pub unknown_kinds: Option<&'a UnknownKinds>,
    /// Now.
    pub now: &'a Time,
}

/// The status that follows.
pub fn next(view: &View<'_>) -> TenantPolicyStatus {
    let before = view.status;
    let target = match &view.spec.revision {
        Some(pinned) => view.revisions.get(pinned),
        None => view.head.ok().and_then(|it| view.revisions.get(it)),
    };
    let mut status = TenantPolicyStatus {
        observed_generation: Some(view.generation),
        conditions: before.conditions.clone(),
        active_revision: before.active_revision.clone(),
        // What the operator took back is tried again when somebody changed the policy.
        halted: before
            .halted
            .clone()
            .filter(|it| it.generation == view.generation),
        errors: view
            .head
            .err()
            .map(|it| it.errors().iter().take(64).cloned().collect())
            .unwrap_or_default(),
        revisions: history(view),
        ..TenantPolicyStatus::default()
    };
    let mut approvals = Approvals::default();
    if let Some(target) = target {
        approvals = Approvals {
            required: required_for(target, view),
            given: given(target, view),
        };
        follow(target, approvals, view, &mut status);
    }
    status.required_approvals = Some(required(&status, view));
    status.replicas = replicas(&status, view);
    said::conditions(target, approvals, view, &mut status);
    status
}

/// How many approvals there have to be, and are.
#[derive(Clone, Copy, Debug, Default)]
struct Approvals {
    required: i32,
    given: i32,
}

/// Who approved a revision, its author left out.
fn approved_by(revision: &Kept, approvals: &[Approval]) -> BTreeSet<String> {
    approvals
        .iter()
        .filter(|it| it.digest == revision.stored.digest && it.approver != revision.stored.author)
        .map(|it| it.approver.clone())
        .collect()
}

/// How many approvals count for a revision that is to decide: those by others than who wrote it, and than who asks for it
/// now, which is somebody else when the policy goes back. Where nobody knows who wrote it, none does.
fn given(target: &Kept, view: &View<'_>) -> i32 {
    if target.stored.author.is_empty() {
        return 0;
    }
    let mut approvers = approved_by(target, view.approvals);
    if let Some(changed_by) = view.changed_by {
        approvers.remove(changed_by);
    }
    i32::try_from(approvers.len()).unwrap_or(i32::MAX)
}

/// How many approvals a revision needs: what it asks for, and what those ask for that decide now.
fn required_for(target: &Kept, view: &View<'_>) -> i32 {
    required(view.status, view).max(target.stored.content.required_approvals)
}

/// What the revisions that decide ask for: the active one, and a candidate that has its part. One that is not kept any
/// longer asks for what it did.
fn required(status: &TenantPolicyStatus, view: &View<'_>) -> i32 {
    let takes_part = status.candidate_stage == Some(CandidateStage::Percent);
    let candidate = status.candidate_revision.as_ref().filter(|_| takes_part);
    let lost = view.status.required_approvals.unwrap_or(0);
    let asks = |it: &String| {
        let kept = view.revisions.get(it);
        kept.map_or(lost, |it| it.stored.content.required_approvals)
    };
    let all = status.active_revision.iter().chain(candidate).map(asks);
    all.max().unwrap_or(0)
}

/// Lets a revision take the next step towards deciding.
fn follow(target: &Kept, approvals: Approvals, view: &View<'_>, status: &mut TenantPolicyStatus) {
    let name = target.stored.name();
    if status.active_revision.as_deref() == Some(name) {
        return;
    }
    let halted = status.halted.as_ref();
    if halted.is_some_and(|it| it.revision == name) {
        status.shadow = view.status.shadow.clone().filter(|it| it.revision == name);
        return;
    }
    let approved = approvals.given >= approvals.required;
    let loads = |it: &Report| it.loaded.contains(name) || it.serving.contains(name);
    let loaded = !view.replicas.is_empty() && view.replicas.values().all(loads);
    let was = (view.status.candidate_revision.as_deref() == Some(name))
        .then_some(view.status.candidate_stage)
        .flatten();
    // A replica that joins later is not ready before it has loaded the candidate: it takes nothing back.
    let took_part = matches!(was, Some(CandidateStage::Shadow | CandidateStage::Percent));
    // Who goes back does so because of trouble: at once, and everywhere.
    let rollout = view
        .spec
        .rollout
        .as_ref()
        .filter(|_| view.spec.revision.is_none());
    let mode = rollout.map_or(RolloutMode::All, |it| it.mode);
    let stage = match mode {
        _ if !approved => CandidateStage::Pending,
        RolloutMode::Shadow if loaded || took_part => CandidateStage::Shadow,
        RolloutMode::Percent if loaded || took_part => CandidateStage::Percent,
        RolloutMode::All if loaded => {
            status.active_revision = Some(name.to_owned());
            return;
        }
        _ => CandidateStage::Loading,
    };
    if matches!(stage, CandidateStage::Shadow | CandidateStage::Percent) {
        let shadow = count(name, view);
        if let Some(message) = exceeded(&shadow.counts, view.spec) {
            status.halted = Some(Halted {
                revision: name.to_owned(),
                generation: view.generation,
                message,
            });
            status.shadow = Some(shadow);
            return;
        }
        status.shadow = Some(shadow);
    }
    status.candidate_revision = Some(name.to_owned());
    status.candidate_digest = Some(target.stored.digest.clone());
    status.candidate_stage = Some(stage);
    status.candidate_percent = (stage == CandidateStage::Percent)
        .then(|| view.spec.rollout.as_ref().and_then(|it| it.percent))
        .flatten();
}

/// What the replicas counted of a candidate, those that are gone included: each process counts for itself, from nothing.
fn count(candidate: &str, view: &View<'_>) -> Shadow {
    const PROCESSES: usize = 64;
    let before = view.status.shadow.clone().filter(|it| it.revision == candidate);
    let mut shadow = before.unwrap_or_else(|| Shadow {
        revision: candidate.to_owned(),
        ..Shadow::default()
    });
    // What was halted and changed since gets another chance.
    let was_halted = view.status.halted.as_ref();
    if was_halted.is_some_and(|it| it.revision == candidate && it.generation != view.generation) {
        shadow.counts = Counts::default();
        shadow.samples.clear();
    }
    for report in view.replicas.values() {
        let Some(tally) = report.counted.get(candidate) else {
            continue;
        };
        let known = shadow.counted.iter().position(|it| it.process == report.process);
        let before = known
            .map(|it| shadow.counted.remove(it).counts)
            .unwrap_or_default();
        // A replica that forgot the candidate for a while begins at nothing.
        let is_new = tally.counts.evaluated < before.evaluated;
        let before = if is_new { Counts::default() } else { before };
        add(&mut shadow.counts, &tally.counts, &before);
        shadow.counted.push(Counted {
            process: report.process.chars().take(63).collect(),
            counts: tally.counts,
        });
        for sample in &tally.samples {
            if shadow.samples.len() < MAX_SAMPLES && !shadow.samples.contains(sample) {
                shadow.samples.push(sample.clone());
            }
        }
    }
    let surplus = shadow.counted.len().saturating_sub(PROCESSES);
    shadow.counted.drain(..surplus);
    shadow.counted.sort_by(|a, b| a.process.cmp(&b.process));
    shadow.samples.sort_by_key(order);
    shadow
}

/// The rarer first: an error is worth more attention than the hundredth denial.
fn order(sample: &Sample) -> (u8, String, String) {
    use bailiwick_crds::v1alpha1::Difference::{Error, NewlyAllowed, NewlyDenied};
    let rank = match sample.difference {
        Error => 0,
        NewlyAllowed => 1,
        NewlyDenied => 2,
    };
    (rank, sample.namespace.clone(), sample.name.clone())
}

fn add(total: &mut Counts, now: &Counts, before: &Counts) {
    let grow = |total: &mut i64, now: i64, before: i64| {
        *total = total.saturating_add(now.saturating_sub(before).max(0));
    };
    grow(&mut total.evaluated, now.evaluated, before.evaluated);
    grow(&mut total.newly_denied, now.newly_denied, before.newly_denied);
    grow(&mut total.newly_allowed, now.newly_allowed, before.newly_allowed);
    grow(&mut total.errors, now.errors, before.errors);
    grow(&mut total.dropped, now.dropped, before.dropped);
}

/// Why a rollout has to be halted, if it has to.
fn exceeded(counts: &Counts, spec: &TenantPolicySpec) -> Option<String> {
    let rollout = spec.rollout.as_ref();
    let errors = i64::from(rollout.and_then(|it| it.max_errors).unwrap_or(0));
    let denied = rollout.and_then(|it| it.max_newly_denied).map(i64::from);
    if counts.errors > errors {
        return Some(format!(
            "{} evaluations failed; spec.rollout.maxErrors allows {errors}; mend the policy, or raise it",
            counts.errors
        ));
    }
    denied.filter(|it| counts.newly_denied > *it).map(|denied| {
        format!(
            "{} requests were refused that the active revision lets pass; spec.rollout.maxNewlyDenied allows {denied}; look at status.shadow.samples, then mend the policy or raise it",
            counts.newly_denied
        )
    })
}

/// What each replica has of this policy.
fn replicas(status: &TenantPolicyStatus, view: &View<'_>) -> Vec<ReplicaStatus> {
    let wanted = [&status.active_revision, &status.candidate_revision];
    let wanted: Vec<&String> = wanted.into_iter().flatten().collect();
    let one = |(name, report): (&String, &Report)| {
        let serving = view.revisions.keys().find(|it| report.serving.contains(*it));
        let message = wanted
            .iter()
            .find_map(|it| Some((it, report.failed.get(it.as_str())?)))
            .map(|(revision, reason)| format!("{revision}: {reason}").chars().take(1024).collect());
        let serves = status
            .active_revision
            .as_ref()
            .is_none_or(|it| report.serving.contains(it));
        let loads = status
            .candidate_revision
            .as_ref()
            .is_none_or(|it| report.loaded.contains(it) || report.serving.contains(it));
        ReplicaStatus {
            name: name.clone(),
            revision: serving.cloned(),
            ready: serves && loads,
            message,
        }
    };
    view.replicas.iter().take(64).map(one).collect()
}

fn history(view: &View<'_>) -> Vec<RevisionStatus> {
    let mut all: Vec<RevisionStatus> = view
        .revisions
        .iter()
        .map(|(name, it)| RevisionStatus {
            name: name.clone(),
            number: it.number,
            author: it.stored.author.chars().take(253).collect(),
            approved_by: approved_by(it, view.approvals).into_iter().take(16).collect(),
            created: it.created.clone(),
        })
        .collect();
    all.sort_by_key(|it| std::cmp::Reverse(it.number));
    all.truncate(128);
    all
}

/// The revisions that need not be kept any longer, the oldest first. What decides, is to decide, was taken back or is
/// pinned is kept whatever the limit.
pub fn expired(
    spec: &TenantPolicySpec,
    head: Option<&str>,
    status: &TenantPolicyStatus,
    revisions: &BTreeMap<String, Kept>,
) -> Vec<String> {
    const LIMIT: i32 = 10;
    let limit = usize::try_from(spec.revision_history_limit.unwrap_or(LIMIT)).unwrap_or(0);
    let in_use: BTreeSet<&str> = [
        status.active_revision.as_deref(),
        status.candidate_revision.as_deref(),
        status.halted.as_ref().map(|it| it.revision.as_str()),
        spec.revision.as_deref(),
        head,
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut others: Vec<(&String, &Kept)> = revisions
        .iter()
        .filter(|it| !in_use.contains(it.0.as_str()))
        .collect();
    others.sort_by_key(|it| it.1.number);
    let surplus = others.len().saturating_sub(limit);
    others.into_iter().take(surplus).map(|it| it.0.clone()).collect()
}

#[cfg(test)]
mod tests;

//! What there is to say about a Tenant, as conditions. Nothing here reads or writes.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bailiwick_core::conditions::{Holds, Said};
use bailiwick_core::finding::{Finding, some_of};
use bailiwick_core::ownership::Claim;
use bailiwick_core::quantity::Amount;
use bailiwick_core::validate::Examined;
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{ConditionType, Quantity, QuotaStatus, Reason, Tenant};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::carry_out::Done;
use crate::error::Error;

/// What a pass saw of a Tenant, and how far it got.
pub(super) struct Seen<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) examined: &'a Examined,
    pub(super) claims: &'a BTreeMap<String, Claim>,
    pub(super) done: &'a Done,
    /// What is said of the tenant's quota.
    pub(super) quota: Option<&'a QuotaStatus>,
    /// The bindings that undo the tenant's isolation.
    pub(super) strays: &'a [String],
}

/// The parts of a Tenant, in the order of work.
const PARTS: [ConditionType; 4] = [
    ConditionType::NamespacesReady,
    ConditionType::NetworkIsolated,
    ConditionType::QuotaHealthy,
    ConditionType::AccessIsolated,
];

/// What is said after a pass. A part that it did not get to keeps what was said `before`.
pub(super) fn said(seen: &Seen<'_>, before: &[Condition]) -> Vec<Said> {
    let mut said: Vec<Said> = PARTS.into_iter().filter_map(|it| part(it, seen)).collect();
    said.extend(summary(problem(seen), seen.done.namespaces.len()));
    said.extend(undecided(&said, before));
    said
}

/// What is said of a pass that did not finish. How far it got is not known.
pub(super) fn unfinished(tenant: &Tenant, error: &Error, before: &[Condition]) -> Vec<Said> {
    let reason = if tenant.metadata.deletion_timestamp.is_some() {
        Reason::Terminating
    } else {
        Reason::ApplyFailed
    };
    let mut said = summary(
        Some(Problem {
            reason,
            message: error.to_string(),
            needs_a_person: false,
        }),
        0,
    );
    said.extend(undecided(&said, before));
    said
}

/// What is said of a Tenant that can't be read whole.
pub(super) fn unreadable(findings: &[Finding], before: &[Condition]) -> Vec<Said> {
    let mut said = summary(
        Some(Problem {
            reason: Reason::Unreadable,
            message: texts(findings),
            needs_a_person: true,
        }),
        0,
    );
    said.extend(undecided(&said, before));
    said
}

/// Parts of which nothing was ever said: that they are unknown is said, too.
fn undecided(said: &[Said], before: &[Condition]) -> Vec<Said> {
    let is_new = |part: &ConditionType| {
        said.iter().all(|it| it.type_ != *part) && before.iter().all(|it| it.type_ != part.to_string())
    };
    let unknown = |type_| Said {
        type_,
        holds: Holds::Unknown,
        reason: Reason::Progressing,
        message: "not decided yet".to_owned(),
    };
    PARTS.into_iter().filter(is_new).map(unknown).collect()
}

/// What is said about the whole: of so many namespaces, or what keeps it from being ready.
fn summary(problem: Option<Problem>, count: usize) -> Vec<Said> {
    let mut said = Vec::new();
    let say = |type_, holds, reason, message: &str| Said {
        type_,
        holds,
        reason,
        message: message.to_owned(),
    };
    match problem {
        None => {
            let message = format!("{count} namespaces are isolated as declared");
            said.push(say(
                ConditionType::Ready,
                Holds::True,
                Reason::AllApplied,
                &message,
            ));
            said.push(say(
                ConditionType::Reconciling,
                Holds::False,
                Reason::AllApplied,
                "nothing to do",
            ));
            said.push(say(
                ConditionType::Stalled,
                Holds::False,
                Reason::AllApplied,
                "nothing to do",
            ));
        }
        Some(Problem {
            reason,
            message,
            needs_a_person,
        }) => {
            said.push(say(ConditionType::Ready, Holds::False, reason, &message));
            let (reconciling, stalled) = if needs_a_person {
                ((Holds::False, reason), (Holds::True, reason))
            } else {
                let why = if reason == Reason::Terminating {
                    reason
                } else {
                    Reason::Retrying
                };
                ((Holds::True, why), (Holds::False, why))
            };
            said.push(say(
                ConditionType::Reconciling,
                reconciling.0,
                reconciling.1,
                &message,
            ));
            said.push(say(ConditionType::Stalled, stalled.0, stalled.1, &message));
        }
    }
    said
}

struct Problem {
    reason: Reason,
    message: String,
    needs_a_person: bool,
}

/// The first thing that keeps a Tenant from being ready.
fn problem(seen: &Seen<'_>) -> Option<Problem> {
    let Seen {
        tenant,
        examined,
        claims,
        done,
        strays,
        quota: _,
    } = seen;
    let person = |reason, message| {
        Some(Problem {
            reason,
            message,
            needs_a_person: true,
        })
    };
    if tenant.metadata.deletion_timestamp.is_some() {
        let message = done
            .error
            .as_ref()
            .map_or_else(|| "access is removed".to_owned(), ToString::to_string);
        return Some(Problem {
            reason: Reason::Terminating,
            message,
            needs_a_person: false,
        });
    }
    if !examined.problems.is_empty() {
        return person(Reason::Invalid, texts(&examined.problems));
    }
    if let Some((reason, message)) = namespace_problem(claims) {
        return person(reason, message);
    }
    if !done.identity_conflicts.is_empty() {
        return person(Reason::IdentityConflict, texts(&done.identity_conflicts));
    }
    if !done.network_conflicts.is_empty() {
        return person(Reason::NetworkConflict, texts(&done.network_conflicts));
    }
    if let Some(error) = &done.error {
        return Some(Problem {
            reason: Reason::ApplyFailed,
            message: error.to_string(),
            needs_a_person: false,
        });
    }
    if !strays.is_empty() {
        return person(Reason::StrayBinding, stray_text(strays));
    }
    None
}

fn stray_text(strays: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = strays.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    let more = match strays.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!(
        "bindings that the operator did not make undo the isolation: {shown}{more}; delete them, or claim whom they name"
    )
}

fn texts(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn namespace_problem(claims: &BTreeMap<String, Claim>) -> Option<(Reason, String)> {
    let conflicts: Vec<String> = claims
        .iter()
        .filter_map(|(name, claim)| match claim {
            Claim::Conflict { with } => Some(format!("{name} (Tenant '{with}' has it)")),
            _ => None,
        })
        .collect();
    if !conflicts.is_empty() {
        let message = format!(
            "declared namespaces of another Tenant: {}; declare each once",
            some_of(conflicts)
        );
        return Some((Reason::NamespaceConflict, message));
    }
    let not_owned: Vec<&String> = claims
        .iter()
        .filter(|(_, claim)| **claim == Claim::NotOwned)
        .map(|(name, _)| name)
        .collect();
    if not_owned.is_empty() {
        return waiting(claims);
    }
    let message = format!(
        "declared namespaces exist and did not consent: {}; annotate each with {}=<tenant>, or choose another name",
        some_of(not_owned),
        labels::ADOPT_BY
    );
    Some((Reason::NamespaceNotOwned, message))
}

/// What owners made and the Tenant does not take.
fn waiting(claims: &BTreeMap<String, Claim>) -> Option<(Reason, String)> {
    let waiting: Vec<String> = claims
        .iter()
        .filter_map(|(name, claim)| match claim {
            Claim::Wait(why) => Some(format!("{name} ({why})")),
            _ => None,
        })
        .collect();
    (!waiting.is_empty()).then(|| {
        let message = format!(
            "namespaces made by self-service are not taken, and stay closed: {}; delete them, or change spec.namespaces.selfService",
            some_of(waiting)
        );
        (Reason::NamespaceWaiting, message)
    })
}

/// What is said about one part. One that this pass did not get to keeps what was said before, and so does one of an
/// invalid Tenant, which is not as declared.
fn part(type_: ConditionType, seen: &Seen<'_>) -> Option<Said> {
    let Seen {
        examined,
        claims,
        done,
        strays,
        ..
    } = seen;
    let say = |holds, reason, message: String| {
        Some(Said {
            type_,
            holds,
            reason,
            message,
        })
    };
    if !examined.problems.is_empty() && done.failed != Some(type_) {
        return None;
    }
    if type_ == ConditionType::NamespacesReady
        && let Some((reason, message)) = namespace_problem(claims)
    {
        return say(Holds::False, reason, message);
    }
    if type_ == ConditionType::AccessIsolated && !done.identity_conflicts.is_empty() {
        return say(
            Holds::False,
            Reason::IdentityConflict,
            texts(&done.identity_conflicts),
        );
    }
    if type_ == ConditionType::NetworkIsolated && !done.network_conflicts.is_empty() {
        return say(
            Holds::False,
            Reason::NetworkConflict,
            texts(&done.network_conflicts),
        );
    }
    if type_ == ConditionType::QuotaHealthy
        && done.failed.is_none()
        && let Some((reason, message)) = seen.quota.and_then(quota_problem)
    {
        return say(Holds::False, reason, message);
    }
    match (&done.failed, &done.error) {
        (Some(failed), Some(error)) if *failed == type_ => {
            say(Holds::False, Reason::ApplyFailed, error.to_string())
        }
        (Some(failed), Some(_)) if comes_after(type_, *failed) => {
            say(Holds::Unknown, Reason::Progressing, format!("waits for {failed}"))
        }
        _ if type_ == ConditionType::AccessIsolated && !strays.is_empty() => {
            say(Holds::False, Reason::StrayBinding, stray_text(strays))
        }
        _ => {
            let quota = examined.sound.quota.as_ref();
            let nothing = type_ == ConditionType::QuotaHealthy
                && quota.is_some_and(|it| {
                    it.tenant.is_empty() && it.namespace.is_empty() && it.limits.is_empty()
                });
            let reason = if nothing {
                Reason::NotRequested
            } else {
                Reason::AllApplied
            };
            say(Holds::True, reason, "as declared".to_owned())
        }
    }
}

/// What is used up.
fn quota_problem(quota: &QuotaStatus) -> Option<(Reason, String)> {
    let amount = |it: &Quantity| Amount::parse(&it.0).unwrap_or_default();
    let used = |least: Ordering| -> Vec<String> {
        let found = quota.hard.iter().filter_map(|(name, hard)| {
            let used = quota.used.get(name)?;
            let is_found = amount(used).cmp(&amount(hard)) == least && amount(used) > Amount::ZERO;
            is_found.then(|| format!("{name} ({} of {})", used.0, hard.0))
        });
        found.collect()
    };
    let over = used(Ordering::Greater);
    if !over.is_empty() {
        let message = format!(
            "more is used than spec.quota.tenant allows: {}; what there is stays, nothing is added; raise the limit, or delete something",
            some_of(over)
        );
        return Some((Reason::OverUsed, message));
    }
    let all = used(Ordering::Equal);
    (!all.is_empty()).then(|| {
        let message = format!(
            "spec.quota.tenant is used up: {}; nothing more of it is admitted; raise the limit, or delete something",
            some_of(all)
        );
        (Reason::Exhausted, message)
    })
}

/// The order of work: a part is unknown while one before it failed.
fn comes_after(part: ConditionType, failed: ConditionType) -> bool {
    let place = |it| PARTS.iter().position(|other| *other == it);
    place(part) > place(failed)
}

#[cfg(test)]
mod tests;

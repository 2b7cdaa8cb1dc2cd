//! What is said of a policy: its conditions.

use std::fmt::Write as _;

use bailiwick_crds::v1alpha1::{PolicyConditionType, PolicyReason, TenantPolicyStatus};

use super::super::trial::Failed;
use super::{Approvals, Kept, UnknownKinds, View};
use crate::conditions::{self, Holds, Said};
use crate::finding::some_of;

type One = (Holds, PolicyReason, String);

/// Sets all conditions. `target` is what is to decide, `approvals` how many it needs and has.
pub(super) fn conditions(
    target: Option<&Kept>,
    approvals: Approvals,
    view: &View<'_>,
    status: &mut TenantPolicyStatus,
) {
    let compiled = compiled(view);
    let tested = tested(view);
    let approved = approved(target, approvals, status);
    let serving = serving(view, status);
    let degraded = degraded(view, status, &serving);
    let ready = ready(view, status, [&compiled, &tested, &approved, &serving]);
    let waits = ready.0 == Holds::False && matches!(ready.1, PolicyReason::Loading | PolicyReason::NoReplica);
    let moves = |holds: bool, one: &One| {
        if holds {
            (Holds::True, one.1, one.2.clone())
        } else {
            (Holds::False, PolicyReason::Fine, String::new())
        }
    };
    let reconciling = moves(waits, &ready);
    let stalled = moves(ready.0 == Holds::False && !waits, &ready);
    let said = [
        (PolicyConditionType::Ready, ready),
        (PolicyConditionType::Compiled, compiled),
        (PolicyConditionType::Tested, tested),
        (PolicyConditionType::Approved, approved),
        (PolicyConditionType::Serving, serving),
        (PolicyConditionType::Degraded, degraded),
        (PolicyConditionType::Reconciling, reconciling),
        (PolicyConditionType::Stalled, stalled),
    ];
    let said = said.into_iter().map(|(type_, (holds, reason, message))| Said {
        type_,
        holds,
        reason,
        message,
    });
    conditions::set(&mut status.conditions, said, view.generation, view.now.clone());
}

fn holds(reason: PolicyReason, message: impl Into<String>) -> One {
    (Holds::True, reason, message.into())
}

fn fails(reason: PolicyReason, message: impl Into<String>) -> One {
    (Holds::False, reason, message.into())
}

/// The first errors, in a sentence.
fn errors(failed: &Failed) -> String {
    let all = failed.errors();
    let first = all.iter().take(3).map(|it| match (it.line, it.column) {
        (Some(line), Some(column)) => format!("{}:{line}:{column}: {}", it.field, it.message),
        _ => format!("{}: {}", it.field, it.message),
    });
    let mut text = first.collect::<Vec<_>>().join("; ");
    if all.len() > 3 {
        let more = all.len().saturating_sub(3);
        // Writing to a String never fails.
        let _ = write!(text, "; and {more} more in status.errors");
    }
    text
}

fn compiled(view: &View<'_>) -> One {
    match view.head {
        Err(failed @ Failed::Invalid(_)) => fails(PolicyReason::Invalid, errors(failed)),
        _ => holds(PolicyReason::AsWritten, "the policy compiles"),
    }
}

fn tested(view: &View<'_>) -> One {
    match view.head {
        Err(Failed::Invalid(_)) => (
            Holds::Unknown,
            PolicyReason::Invalid,
            "the policy does not compile".to_owned(),
        ),
        Err(failed @ (Failed::Tests(_) | Failed::Slow(_))) => {
            fails(PolicyReason::TestsFailed, errors(failed))
        }
        Ok(_) => holds(PolicyReason::AsWritten, "all tests pass"),
    }
}

fn approved(target: Option<&Kept>, approvals: Approvals, status: &TenantPolicyStatus) -> One {
    let Some(target) = target else {
        return (
            Holds::Unknown,
            PolicyReason::NoRevision,
            "there is no revision to approve".to_owned(),
        );
    };
    let name = target.stored.name();
    let Approvals { required, given } = approvals;
    let is_active = status.active_revision.as_deref() == Some(name);
    if is_active || given >= required {
        return holds(
            PolicyReason::AsWritten,
            format!("revision {name} needs {required} approvals and has {given}"),
        );
    }
    fails(
        PolicyReason::ApprovalsMissing,
        format!(
            "revision {name} needs {required} approvals by others than its author '{}' and has {given}; approve it with `kubectl bailiwick policy approve`",
            target.stored.author
        ),
    )
}

fn serving(view: &View<'_>, status: &TenantPolicyStatus) -> One {
    let what = match (&status.active_revision, &status.candidate_revision) {
        (Some(active), _) => format!("revision {active}"),
        (None, Some(candidate)) => format!("candidate {candidate}"),
        (None, None) => {
            return fails(
                PolicyReason::NoRevision,
                "no revision was good enough to serve yet",
            );
        }
    };
    if status.replicas.is_empty() {
        return fails(
            PolicyReason::NoReplica,
            "no webhook is alive; requests that policies would judge are refused",
        );
    }
    let broken: Vec<String> = status
        .replicas
        .iter()
        .filter_map(|it| Some(format!("{} can't load {}", it.name, it.message.as_ref()?)))
        .collect();
    if !broken.is_empty() {
        return fails(PolicyReason::LoadFailed, broken.join("; "));
    }
    let behind: Vec<&String> = status
        .replicas
        .iter()
        .filter(|it| !it.ready)
        .map(|it| &it.name)
        .collect();
    if !behind.is_empty() {
        return fails(
            PolicyReason::Loading,
            format!("{what} is not loaded yet by {}", some_of(behind)),
        );
    }
    if let Some(unknown) = view.unknown_kinds.filter(|it| it.are_all) {
        return fails(PolicyReason::UnknownKind, no_such_kind(unknown));
    }
    if status.active_revision.is_none() {
        return fails(
            PolicyReason::NoRevision,
            format!("{what} takes part in a rollout, and no revision is active"),
        );
    }
    holds(
        PolicyReason::AsWritten,
        format!("{what} is served by {} replicas", status.replicas.len()),
    )
}

fn no_such_kind(unknown: &UnknownKinds) -> String {
    format!(
        "the cluster knows no {}; correct spec.match, or install the CustomResourceDefinition",
        some_of(&unknown.kinds)
    )
}

fn degraded(view: &View<'_>, status: &TenantPolicyStatus, serving: &One) -> One {
    if let Err(failed) = view.head {
        let reason = match failed {
            Failed::Invalid(_) => PolicyReason::Invalid,
            Failed::Tests(_) | Failed::Slow(_) => PolicyReason::TestsFailed,
        };
        let still = status.active_revision.as_ref().map_or_else(
            || "nothing serves".to_owned(),
            |it| format!("revision {it} serves on"),
        );
        return holds(reason, format!("{still}; {}", errors(failed)));
    }
    if serving.1 == PolicyReason::LoadFailed {
        return holds(PolicyReason::LoadFailed, serving.2.clone());
    }
    if let Some(halted) = &status.halted {
        return holds(
            PolicyReason::Halted,
            format!("revision {} was taken back: {}", halted.revision, halted.message),
        );
    }
    let revisions = [&status.active_revision, &status.candidate_revision];
    let revisions: Vec<&String> = revisions.into_iter().flatten().collect();
    let open: Vec<&String> = view
        .replicas
        .iter()
        .filter(|it| revisions.iter().any(|revision| it.1.open.contains(*revision)))
        .map(|it| it.0)
        .collect();
    if !open.is_empty() {
        return holds(
            PolicyReason::CircuitOpen,
            format!(
                "the policy keeps taking longer than its limit on {}; make it cheaper, or raise spec.limits.evaluationMilliseconds",
                some_of(open)
            ),
        );
    }
    if let Some(unknown) = view.unknown_kinds {
        return holds(PolicyReason::UnknownKind, no_such_kind(unknown));
    }
    let now = view.now.0.as_second();
    let ended: Vec<&String> = view
        .spec
        .exceptions
        .iter()
        .filter(|it| it.until.0.as_second() <= now)
        .map(|it| &it.name)
        .collect();
    if !ended.is_empty() {
        return holds(
            PolicyReason::ExceptionEnded,
            format!(
                "spec.exceptions {} ended: remove them, or extend them",
                some_of(ended)
            ),
        );
    }
    (Holds::False, PolicyReason::Fine, String::new())
}

fn ready(view: &View<'_>, status: &TenantPolicyStatus, parts: [&One; 4]) -> One {
    let [compiled, tested, approved, serving] = parts;
    if let Some(pinned) = &view.spec.revision
        && !view.revisions.contains_key(pinned)
    {
        let kept = some_of(view.revisions.keys());
        return fails(
            PolicyReason::UnknownRevision,
            format!("spec.revision '{pinned}' is not kept; there are {kept}"),
        );
    }
    // What is pinned does not depend on what is written besides.
    let is_pinned = view.spec.revision.is_some();
    for part in [compiled, tested] {
        if part.0 == Holds::False && !is_pinned {
            return part.clone();
        }
    }
    if let Some(halted) = &status.halted {
        return fails(
            PolicyReason::Halted,
            format!("revision {} was taken back: {}", halted.revision, halted.message),
        );
    }
    if approved.0 == Holds::False {
        return approved.clone();
    }
    let is_rolling_out = status.candidate_revision.is_some();
    match serving.1 {
        PolicyReason::AsWritten | PolicyReason::NoRevision if is_rolling_out => {
            let stage = status
                .candidate_stage
                .map(|it| format!("{it:?}"))
                .unwrap_or_default();
            let revision = status.candidate_revision.as_deref().unwrap_or_default();
            if stage == "Loading" {
                return fails(
                    PolicyReason::Loading,
                    format!("revision {revision} is being loaded"),
                );
            }
            let percent = status
                .candidate_percent
                .map(|it| format!(" {it}"))
                .unwrap_or_default();
            holds(
                PolicyReason::RollingOut,
                format!("revision {revision} is in stage {stage}{percent}"),
            )
        }
        PolicyReason::AsWritten if is_pinned => holds(PolicyReason::Pinned, serving.2.clone()),
        PolicyReason::AsWritten => holds(PolicyReason::AsWritten, serving.2.clone()),
        PolicyReason::NoRevision => fails(PolicyReason::Loading, serving.2.clone()),
        _ => serving.clone(),
    }
}

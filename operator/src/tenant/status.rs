//! What is said about a Tenant: always, also when something failed.

use std::collections::BTreeMap;

use bailiwick_core::conditions::{self, Holds, Said};
use bailiwick_core::finding::{Finding, some_of};
use bailiwick_core::ownership::Claim;
use bailiwick_core::stored::StoredTenant;
use bailiwick_core::validate::Examined;
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{ConditionType, NamespaceStatus, Reason, Tenant, TenantStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::carry_out::Done;
use super::tenants;
use crate::context::Context;
use crate::error::Error;

/// Writes the status if it differs from what it was.
pub(super) async fn write(
    tenant: &Tenant,
    examined: &Examined,
    claims: &BTreeMap<String, Claim>,
    done: &Done,
    context: &Context,
) -> Result<(), Error> {
    let before = tenant.status.clone().unwrap_or_default();
    let generation = tenant.metadata.generation.unwrap_or_default();
    let mut conditions = before.conditions.clone();
    conditions::set(
        &mut conditions,
        said(tenant, examined, claims, done),
        generation,
        Time(Timestamp::now()),
    );
    let status = TenantStatus {
        observed_generation: Some(generation),
        conditions,
        namespaces: done.namespaces.clone(),
        namespace_count: i32::try_from(done.namespaces.len()).ok(),
    };
    if status == before {
        return Ok(());
    }
    patch(tenant, &status, context).await
}

/// Writes the record of ownership alone, ahead of the rest.
pub(super) async fn record(
    tenant: &Tenant,
    namespaces: &[NamespaceStatus],
    context: &Context,
) -> Result<(), Error> {
    let before = tenant.status.clone().unwrap_or_default();
    if before.namespaces == namespaces {
        return Ok(());
    }
    patch(
        tenant,
        &TenantStatus {
            namespaces: namespaces.to_vec(),
            ..before
        },
        context,
    )
    .await
}

/// Says what of a Tenant can't be read. The rest of its status stays as it is: it may not be readable either.
pub(super) async fn unreadable(stored: &StoredTenant, context: &Context) -> Result<(), Error> {
    let tenant = &stored.tenant;
    let name = tenant.metadata.name.clone().unwrap_or_default();
    let generation = tenant.metadata.generation.unwrap_or_default();
    let before = tenant.status.clone().unwrap_or_default();
    let mut conditions = before.conditions.clone();
    let message = texts(&stored.unreadable);
    conditions::set(
        &mut conditions,
        stalled(Reason::Unreadable, &message),
        generation,
        Time(Timestamp::now()),
    );
    if conditions == before.conditions && before.observed_generation == Some(generation) {
        return Ok(());
    }
    let merged = json!({
        "metadata": {"uid": tenant.metadata.uid},
        "status": {"observedGeneration": generation, "conditions": conditions},
    });
    let params = PatchParams {
        field_manager: Some(labels::OPERATOR.to_owned()),
        ..PatchParams::default()
    };
    send(&name, &params, &Patch::Merge(&merged), context).await
}

async fn patch(tenant: &Tenant, status: &TenantStatus, context: &Context) -> Result<(), Error> {
    let name = tenant.metadata.name.clone().unwrap_or_default();
    let applied = json!({
        "apiVersion": "bailiwick.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": name, "uid": tenant.metadata.uid},
        "status": status,
    });
    let params = PatchParams::apply(labels::OPERATOR).force();
    send(&name, &params, &Patch::Apply(&applied), context).await
}

async fn send(
    name: &str,
    params: &PatchParams,
    patch: &Patch<&Value>,
    context: &Context,
) -> Result<(), Error> {
    context.metrics.wrote("Tenant", "status");
    let written = tenants(context).patch_status(name, params, patch).await;
    match written {
        // It went while we worked.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other
            .map(|_| ())
            .map_err(Error::request("writing the status of", format!("Tenant {name}"))),
    }
}

fn said(tenant: &Tenant, examined: &Examined, claims: &BTreeMap<String, Claim>, done: &Done) -> Vec<Said> {
    use ConditionType::{
        AccessIsolated, NamespacesReady, NetworkIsolated, QuotaHealthy, Ready, Reconciling, Stalled,
    };
    let problem = problem(tenant, examined, claims, done);
    let parts = [NamespacesReady, NetworkIsolated, AccessIsolated, QuotaHealthy];
    let mut said: Vec<Said> = parts
        .into_iter()
        .filter_map(|type_| part(type_, examined, claims, done))
        .collect();
    match problem {
        None => {
            let count = done.namespaces.len();
            let message = format!("{count} namespaces are isolated as declared");
            said.extend([
                say(Ready, Holds::True, Reason::AllApplied, &message),
                say(Reconciling, Holds::False, Reason::AllApplied, "nothing to do"),
                say(Stalled, Holds::False, Reason::AllApplied, "nothing to do"),
            ]);
        }
        Some(Problem {
            reason,
            message,
            needs_a_person: true,
        }) => said.extend(stalled(reason, &message)),
        Some(Problem { reason, message, .. }) => {
            let why = if reason == Reason::Terminating {
                reason
            } else {
                Reason::Retrying
            };
            said.extend([
                say(Ready, Holds::False, reason, &message),
                say(Reconciling, Holds::True, why, &message),
                say(Stalled, Holds::False, why, &message),
            ]);
        }
    }
    said
}

/// What is said when nothing will change until a person acts.
fn stalled(reason: Reason, message: &str) -> [Said; 3] {
    [
        say(ConditionType::Ready, Holds::False, reason, message),
        say(ConditionType::Reconciling, Holds::False, reason, message),
        say(ConditionType::Stalled, Holds::True, reason, message),
    ]
}

fn say(type_: ConditionType, holds: Holds, reason: Reason, message: &str) -> Said {
    Said {
        type_,
        holds,
        reason,
        message: message.to_owned(),
    }
}

struct Problem {
    reason: Reason,
    message: String,
    needs_a_person: bool,
}

/// The first thing that keeps a Tenant from being ready.
fn problem(
    tenant: &Tenant,
    examined: &Examined,
    claims: &BTreeMap<String, Claim>,
    done: &Done,
) -> Option<Problem> {
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
    let error = done.error.as_ref()?;
    Some(Problem {
        reason: Reason::ApplyFailed,
        message: error.to_string(),
        needs_a_person: false,
    })
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
    (!not_owned.is_empty()).then(|| {
        let message = format!(
            "declared namespaces exist and did not consent: {}; annotate each with {}=<tenant>, or choose another name",
            some_of(not_owned),
            labels::ADOPT_BY
        );
        (Reason::NamespaceNotOwned, message)
    })
}

/// What is said about one part. A part that this pass did not get to keeps what was said before, and so does one of
/// an invalid Tenant, which is not as declared.
fn part(
    type_: ConditionType,
    examined: &Examined,
    claims: &BTreeMap<String, Claim>,
    done: &Done,
) -> Option<Said> {
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
    match (&done.failed, &done.error) {
        (Some(failed), Some(error)) if *failed == type_ => {
            say(Holds::False, Reason::ApplyFailed, error.to_string())
        }
        (Some(failed), Some(_)) if comes_after(type_, *failed) => {
            say(Holds::Unknown, Reason::Progressing, format!("waits for {failed}"))
        }
        _ => {
            let quota = examined.sound.quota.as_ref();
            let nothing = type_ == ConditionType::QuotaHealthy
                && quota.is_some_and(|it| it.namespace.is_empty() && it.limits.is_empty());
            let reason = if nothing {
                Reason::NotRequested
            } else {
                Reason::AllApplied
            };
            say(Holds::True, reason, "as declared".to_owned())
        }
    }
}

/// The order of work: a part is unknown while one before it failed.
fn comes_after(part: ConditionType, failed: ConditionType) -> bool {
    const ORDER: [ConditionType; 4] = [
        ConditionType::NamespacesReady,
        ConditionType::NetworkIsolated,
        ConditionType::QuotaHealthy,
        ConditionType::AccessIsolated,
    ];
    let place = |it| ORDER.iter().position(|other| *other == it);
    place(part) > place(failed)
}

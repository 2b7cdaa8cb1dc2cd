//! What is said about a Tenant: always, also when something failed.

use std::collections::BTreeMap;

use bailiwick_core::conditions::{self, Holds, Said};
use bailiwick_core::finding::{Finding, some_of};
use bailiwick_core::ownership::Claim;
use bailiwick_core::validate::ValidTenant;
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{ConditionType, NamespaceStatus, Reason, Tenant, TenantStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::carry_out::Done;
use super::tenants;
use crate::context::Context;
use crate::error::Error;

/// Writes the status if it differs from what it was.
pub(super) async fn write(
    tenant: &Tenant,
    valid: &Result<ValidTenant, Vec<Finding>>,
    claims: &BTreeMap<String, Claim>,
    done: &Done,
    context: &Context,
) -> Result<(), Error> {
    let before = tenant.status.clone().unwrap_or_default();
    let generation = tenant.metadata.generation.unwrap_or_default();
    let mut conditions = before.conditions.clone();
    conditions::set(
        &mut conditions,
        said(tenant, valid, claims, done),
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

async fn patch(tenant: &Tenant, status: &TenantStatus, context: &Context) -> Result<(), Error> {
    let name = tenant.metadata.name.clone().unwrap_or_default();
    let applied = json!({
        "apiVersion": "bailiwick.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": name, "uid": tenant.metadata.uid},
        "status": status,
    });
    let params = PatchParams::apply(labels::OPERATOR).force();
    context.metrics.wrote("Tenant", "status");
    let written = tenants(context)
        .patch_status(&name, &params, &Patch::Apply(&applied))
        .await;
    match written {
        // It went while we worked.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other
            .map(|_| ())
            .map_err(Error::request("writing the status of", format!("Tenant {name}"))),
    }
}

fn said(
    tenant: &Tenant,
    valid: &Result<ValidTenant, Vec<Finding>>,
    claims: &BTreeMap<String, Claim>,
    done: &Done,
) -> Vec<Said> {
    use ConditionType::{AccessIsolated, NamespacesReady, NetworkIsolated, QuotaHealthy};
    let problem = problem(tenant, valid, claims, done);
    let parts = [NamespacesReady, NetworkIsolated, AccessIsolated, QuotaHealthy];
    let mut said: Vec<Said> = parts
        .into_iter()
        .filter_map(|type_| part(type_, valid, claims, done))
        .collect();
    let say = |type_, holds, reason, message: &str| Said {
        type_,
        holds,
        reason,
        message: message.to_owned(),
    };
    match problem {
        None => {
            let count = done.namespaces.len();
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
fn problem(
    tenant: &Tenant,
    valid: &Result<ValidTenant, Vec<Finding>>,
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
    if let Err(findings) = valid {
        return person(Reason::Invalid, texts(findings));
    }
    if let Some((reason, message)) = namespace_problem(claims) {
        return person(reason, message);
    }
    if !done.identity_conflicts.is_empty() {
        return person(Reason::IdentityConflict, texts(&done.identity_conflicts));
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

/// What is said about one part. A part that this pass did not get to keeps what was said before.
fn part(
    type_: ConditionType,
    valid: &Result<ValidTenant, Vec<Finding>>,
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
    let Ok(valid) = valid else { return None };
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
    match (&done.failed, &done.error) {
        (Some(failed), Some(error)) if *failed == type_ => {
            say(Holds::False, Reason::ApplyFailed, error.to_string())
        }
        (Some(failed), Some(_)) if comes_after(type_, *failed) => {
            say(Holds::Unknown, Reason::Progressing, format!("waits for {failed}"))
        }
        _ => {
            let nothing = type_ == ConditionType::QuotaHealthy
                && valid.quota.namespace.is_empty()
                && valid.quota.limits.is_empty();
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

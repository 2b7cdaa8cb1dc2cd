//! What is said about a Tenant: always, also when something failed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bailiwick_core::conditions::{self, Said};
use bailiwick_core::ownership::Claim;
use bailiwick_core::stored::StoredTenant;
use bailiwick_core::validate::Examined;
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{NamespaceStatus, QuotaStatus, Tenant, TenantStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::carry_out::Done;
use super::said::{Seen, said, unfinished, unreadable};
use super::slices::Told;
use super::tenants;
use crate::context::Context;
use crate::error::Error;

/// Writes the status if it differs from what it was; gives when to write what could not be told yet.
pub(super) async fn write(
    tenant: &Tenant,
    examined: &Examined,
    claims: &BTreeMap<String, Claim>,
    done: &Done,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    let before = tenant.status.clone().unwrap_or_default();
    let generation = tenant.metadata.generation.unwrap_or_default();
    let mut conditions = before.conditions.clone();
    let name = tenant.metadata.name.as_deref().unwrap_or_default();
    let now = Instant::now();
    let (quota, again) = quota(before.quota.as_ref(), done, || context.pace.wait(name, now));
    let strays = context.access.strays(name);
    let seen = Seen {
        tenant,
        examined,
        claims,
        done,
        quota: quota.as_ref(),
        strays: &strays,
    };
    conditions::set(
        &mut conditions,
        said(&seen, &before.conditions),
        generation,
        Time(Timestamp::now()),
    );
    let status = TenantStatus {
        observed_generation: Some(generation),
        conditions,
        namespaces: done.namespaces.clone(),
        namespace_count: i32::try_from(done.namespaces.len()).ok(),
        quota,
    };
    if status.quota != before.quota {
        context.pace.told(name, now);
    }
    if status != before {
        patch(tenant, &status, context).await?;
    }
    Ok(again)
}

/// What is said of the quota: other limits at once, other use at intervals.
fn quota(
    before: Option<&QuotaStatus>,
    done: &Done,
    wait: impl Fn() -> Option<Duration>,
) -> (Option<QuotaStatus>, Option<Duration>) {
    let now = match &done.quota {
        Told::AsBefore => return (before.cloned(), None),
        Told::Now(now) => now,
    };
    let is_use_alone = before.map(|it| &it.hard) == now.as_ref().map(|it| &it.hard);
    match wait() {
        Some(wait) if is_use_alone && before != now.as_ref() => (before.cloned(), Some(wait)),
        _ => (now.clone(), None),
    }
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

/// Says that a pass did not finish. How far it got is not known: what was said of the parts stays, and so does the
/// record of ownership, which the pass may have written meanwhile.
pub(super) async fn write_unfinished(tenant: &Tenant, error: &Error, context: &Context) -> Result<(), Error> {
    let before = before(tenant);
    write_conditions(tenant, unfinished(tenant, error, &before), context).await
}

/// Says what of a Tenant can't be read. The rest of its status stays as it is: it may not be readable either.
pub(super) async fn write_unreadable(stored: &StoredTenant, context: &Context) -> Result<(), Error> {
    let before = before(&stored.tenant);
    write_conditions(&stored.tenant, unreadable(&stored.unreadable, &before), context).await
}

fn before(tenant: &Tenant) -> Vec<Condition> {
    tenant
        .status
        .as_ref()
        .map(|it| it.conditions.clone())
        .unwrap_or_default()
}

/// Writes conditions, and nothing else of the status.
async fn write_conditions(tenant: &Tenant, said: Vec<Said>, context: &Context) -> Result<(), Error> {
    let name = tenant.metadata.name.clone().unwrap_or_default();
    let generation = tenant.metadata.generation.unwrap_or_default();
    let mut conditions = before(tenant);
    conditions::set(&mut conditions, said, generation, Time(Timestamp::now()));
    let observed = tenant.status.as_ref().and_then(|it| it.observed_generation);
    if conditions == before(tenant) && observed == Some(generation) {
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

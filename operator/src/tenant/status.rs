//! What is said about a Tenant: always, also when something failed.

use std::collections::BTreeMap;

use bailiwick_core::conditions;
use bailiwick_core::finding::Finding;
use bailiwick_core::ownership::Claim;
use bailiwick_core::validate::ValidTenant;
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{NamespaceStatus, Tenant, TenantStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::carry_out::Done;
use super::said::{Seen, said, unfinished};
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
    let strays = context
        .access
        .strays(tenant.metadata.name.as_deref().unwrap_or_default());
    let seen = Seen {
        tenant,
        valid,
        claims,
        done,
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

/// Says that a pass did not finish. How far it got is not known: what was said of the parts stays, and so does the
/// record of ownership, which the pass may have written meanwhile.
pub(super) async fn write_unfinished(tenant: &Tenant, error: &Error, context: &Context) -> Result<(), Error> {
    let generation = tenant.metadata.generation.unwrap_or_default();
    let before = tenant.status.clone().unwrap_or_default();
    let mut conditions = before.conditions.clone();
    conditions::set(
        &mut conditions,
        unfinished(tenant, error, &before.conditions),
        generation,
        Time(Timestamp::now()),
    );
    if conditions == before.conditions && before.observed_generation == Some(generation) {
        return Ok(());
    }
    let name = tenant.metadata.name.clone().unwrap_or_default();
    let merged = json!({
        "metadata": {"uid": tenant.metadata.uid},
        "status": {"observedGeneration": generation, "conditions": conditions},
    });
    let params = PatchParams {
        field_manager: Some(labels::OPERATOR.to_owned()),
        ..PatchParams::default()
    };
    context.metrics.wrote("Tenant", "status");
    let written = tenants(context)
        .patch_status(&name, &params, &Patch::Merge(&merged))
        .await;
    finished(written, &name)
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
    finished(written, &name)
}

fn finished(written: Result<Tenant, kube::Error>, name: &str) -> Result<(), Error> {
    match written {
        // It went while we worked.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other
            .map(|_| ())
            .map_err(Error::request("writing the status of", format!("Tenant {name}"))),
    }
}

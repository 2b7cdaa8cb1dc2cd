//! The controller of Tenants: observe, validate, plan, apply, and always say how it went.

mod carry_out;
mod ending;
mod hand_over;
mod neighbours;
mod said;
mod slices;
mod status;
mod unreadable;
mod waiting;
mod wake;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick_core::ownership::{self, Claim, Hindrance};
use bailiwick_core::quota::Amounts;
use bailiwick_core::reach::hold_back;
use bailiwick_core::stored::StoredTenant;
use bailiwick_core::validate::examine;
use bailiwick_crds::v1alpha1::Tenant;
use futures::StreamExt as _;
use kube::runtime::Controller;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::error::Error;
use crate::metrics::OutcomeLabel;
use crate::observe::Streams;

/// One pass over a Tenant ends after this.
const DEADLINE: Duration = Duration::from_mins(1);
/// How long it may take to say so.
const LAST_WORD: Duration = Duration::from_secs(10);
/// How long until it is seen that a binding is gone which kept a namespace from being taken.
const REBOUND: Duration = Duration::from_secs(10);
/// A Tenant is looked at again after this, whatever the watches say.
const RESYNC: Duration = Duration::from_mins(10);

/// Runs the controller until stopped.
pub(crate) async fn run(context: Arc<Context>, streams: Streams, concurrency: u16, stop: CancellationToken) {
    let background = streams.background.for_each(|()| async {});
    let controller = Controller::for_stream(streams.tenants, context.observed.tenants.clone());
    let controller = wake::on_changes(
        controller,
        &context.observed,
        wake::Watched {
            namespaces: streams.namespaces,
            network_policies: streams.network_policies,
            resource_quotas: streams.resource_quotas,
            limit_ranges: streams.limit_ranges,
            role_bindings: streams.role_bindings,
        },
    );
    let disturbed = neighbours::disturbed(context.observed.clone(), context.config.clone());
    let work = controller
        .watches_stream(context.access.changes(), |it: Tenant| {
            [ObjectRef::new(&it.name_any())]
        })
        .reconcile_on(disturbed)
        .reconcile_on(context.demand.heard(&context.observed))
        .with_config(controller::Config::default().concurrency(concurrency))
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(reconcile, on_error, context)
        .for_each(|_| async {});
    tokio::select! {
        () = work => {}
        () = background => {}
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the signature is the Controller's")]
fn on_error(tenant: Arc<StoredTenant>, error: &Error, context: Arc<Context>) -> Action {
    let name = tenant.name_any();
    // Nothing went wrong: it waits for what somebody else has to do first.
    if matches!(error, Error::StillThere(_) | Error::StillBound { .. }) {
        return Action::requeue(Duration::from_secs(2));
    }
    let wait = context.failed(&name);
    tracing::warn!(tenant = name, %error, retry_after = ?wait, "A Tenant could not be carried out");
    Action::requeue(wait)
}

async fn reconcile(tenant: Arc<StoredTenant>, context: Arc<Context>) -> Result<Action, Error> {
    if let Some(breath) = context.breath(&tenant.name_any()) {
        return Ok(Action::requeue(breath));
    }
    let begin = Instant::now();
    context
        .metrics
        .tenants
        .set(i64::try_from(context.observed.tenants.len()).unwrap_or(i64::MAX));
    let result = pass_within(DEADLINE, &tenant, &context).await;
    context.metrics.duration.observe(begin.elapsed().as_secs_f64());
    let outcome = result
        .as_ref()
        .map_or_else(|error| error.category().as_str(), |_| "success");
    context
        .metrics
        .reconciles
        .get_or_create(&OutcomeLabel { outcome })
        .inc();
    let again = result?;
    context.succeeded(&tenant.name_any());
    Ok(Action::requeue(again.unwrap_or(RESYNC)))
}

/// One pass that ends. The status is written on failure too, also when the pass did not get to write one.
/// Gives when to look again, if that is sooner than usual.
async fn pass_within(
    deadline: Duration,
    stored: &StoredTenant,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    let error = match tokio::time::timeout(deadline, pass(stored, context)).await {
        Ok(Err(error @ Error::Unsynced(_))) => error,
        Ok(result) => return result,
        Err(_) => Error::Deadline(deadline.as_secs()),
    };
    let written = status::write_unfinished(&stored.tenant, &error, context);
    if let Ok(Err(error)) = tokio::time::timeout(LAST_WORD, written).await {
        tracing::warn!(%error, "The status of a pass that did not finish was not written");
    }
    Err(error)
}

/// One pass.
async fn pass(stored: &StoredTenant, context: &Context) -> Result<Option<Duration>, Error> {
    let synced = context.observed.synced().await;
    synced.map_err(|error| Error::Unsynced(error.to_string()))?;
    let tenants = context.observed.tenants();
    let namespaces = context.observed.namespaces();
    let tenant = &*stored.tenant;
    let all = tenants.iter().map(AsRef::as_ref);
    let mut claims = ownership::claims(tenant, all, &namespaces, &context.config);
    if claims.values().any(|it| *it == Claim::Take) {
        let snapshot = context.observed.snapshot(context.config.clone());
        hold_back(
            &mut claims,
            &tenant.name_any(),
            &snapshot,
            &context.observed.bound(),
        );
    }
    if !stored.unreadable.is_empty() {
        unreadable::pass(stored, &claims, &namespaces, context).await?;
        return Ok(None);
    }
    let examined = examine(tenant, &context.config);
    let done = carry_out::carry_out(tenant, &examined, &claims, &namespaces, context).await;
    let told_again = status::write(tenant, &examined, &claims, &done, context).await?;
    carry_out::report(tenant, &done.drifts, context).await;
    if let Some(error) = done.error {
        return Err(error);
    }
    if tenant.metadata.deletion_timestamp.is_some() {
        carry_out::let_go(tenant, context).await?;
        context
            .metrics
            .quota(&examined.sound.name, &Amounts::new(), &Amounts::new());
    }
    // No watch of bindings wakes a Tenant.
    let is_bound = |it: &Claim| matches!(it, Claim::Wait(Hindrance::Bound(_)));
    let bound_again = claims.values().any(is_bound).then_some(REBOUND);
    Ok([done.again, told_again, bound_again].into_iter().flatten().min())
}

/// The API of Tenants. What it answers may hold what can't be read.
fn tenants(context: &Context) -> Api<StoredTenant> {
    Api::all(context.client.clone())
}

#[cfg(test)]
mod tests;

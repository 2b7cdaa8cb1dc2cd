//! Brings the cluster to a Tenant's plan, in an order that never leaves a door without its lock.
//!
//! On the way in: the Namespace, what isolates it, the index that the native policies read, and only then who
//! may enter. On the way out the reverse.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bailiwick_core::decide;
use bailiwick_core::finding::Finding;
use bailiwick_core::identity::Standing;
use bailiwick_core::ownership::{Claim, NamespaceFacts};
use bailiwick_core::plan::{Kind, NamespacePlan, Object, Plan, Stay, diff, plan, stays};
use bailiwick_core::snapshot::Snapshot;
use bailiwick_core::validate::{Examined, ValidTenant};
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{
    ConditionType, DeletionPolicy, NamespaceOrigin, NamespaceStatus, Reason, Tenant,
};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::slices::{Told, divide};
use super::{ending, hand_over, status, tenants, waiting};
use crate::apply::{Drift, History};
use crate::context::Context;
use crate::error::Error;

/// Namespaces that are worked on at a time, for one Tenant.
const PARALLEL: usize = 4;

/// How far a pass got.
#[derive(Default)]
pub(super) struct Done {
    /// The namespaces that belong to the Tenant now.
    pub(super) namespaces: Vec<NamespaceStatus>,
    /// What was put back.
    pub(super) drifts: Vec<Drift>,
    /// Subjects that are another tenant's, too.
    pub(super) identity_conflicts: Vec<Finding>,
    /// Sources of traffic that are a tenant's.
    pub(super) network_conflicts: Vec<Finding>,
    /// What is said of the tenant's quota.
    pub(super) quota: Told,
    /// When to look again, if that is sooner than usual.
    pub(super) again: Option<Duration>,
    /// Why it did not get further.
    pub(super) error: Option<Error>,
    /// What did not get done then.
    pub(super) failed: Option<ConditionType>,
}

impl Done {
    pub(super) fn fail(&mut self, what: ConditionType, error: Error) {
        self.failed.get_or_insert(what);
        self.error.get_or_insert(error);
    }
}

/// Carries out what can be carried out. What is wrong with an invalid Tenant is left out, and it takes nothing new.
pub(super) async fn carry_out(
    tenant: &Tenant,
    examined: &Examined,
    claims: &BTreeMap<String, Claim>,
    facts: &BTreeMap<String, NamespaceFacts>,
    context: &Context,
) -> Done {
    let mut done = Done {
        namespaces: recorded(tenant, claims, facts),
        ..Done::default()
    };
    if let Err(error) = hold_on(tenant, context).await {
        done.fail(ConditionType::NamespacesReady, error);
        return done;
    }
    let snapshot = context.observed.ownership(context.config.clone());
    done.identity_conflicts = decide::access_conflicts(&snapshot, &examined.sound);
    done.network_conflicts = decide::foreign_sources(&snapshot, &examined.sound);
    let valid = &decide::without_foreign_sources(&snapshot, &examined.sound);
    let stays = stays(tenant, examined, claims);
    let plan = planned(valid, stays, &snapshot, context);
    let history = history(tenant);

    // Nobody keeps access to what is let go, whatever else may fail.
    if let Err(error) = prune(&plan, Kind::is_door, context).await {
        done.fail(ConditionType::AccessIsolated, error);
    }
    if let Err(error) = ending::narrow(&plan, facts, context).await {
        done.fail(ConditionType::AccessIsolated, error);
    }
    let is_valid = examined.problems.is_empty();
    if is_valid && let Err(error) = adopt(tenant, claims, facts, &mut done, context).await {
        done.fail(ConditionType::NamespacesReady, error);
        return done;
    }
    waiting::tell(tenant, claims, &plan, facts, context).await;
    lock(&valid.uid, &plan, claims, facts, history, &mut done, context).await;
    if done.error.is_none() {
        divide(valid, &plan, claims, &mut done, context).await;
    }
    if done.error.is_none() {
        open(valid, &plan, claims, history, &mut done, context).await;
    }
    if done.error.is_none()
        && let Err(error) = prune(&plan, |it| !it.is_door(), context).await
    {
        done.fail(ConditionType::NetworkIsolated, error);
    }
    if done.error.is_none() {
        hand_over::forget(&valid.name, claims, &snapshot, &mut done, context).await;
    }
    if is_valid || tenant.metadata.deletion_timestamp.is_some() {
        release(tenant, claims, facts, &mut done, context).await;
    }
    done
}

fn planned(valid: &ValidTenant, stays: BTreeMap<&str, Stay>, snapshot: &Snapshot, context: &Context) -> Plan {
    let is_bindable = |subject: bailiwick_core::identity::Subject<'_>| match snapshot.standing(subject) {
        standing @ Standing::Tenants(_) => standing.is_only(&valid.name),
        Standing::Platform | Standing::Unclaimed => true,
        Standing::Everybody => false,
    };
    plan(valid, stays, &context.config, is_bindable)
}

/// Whether the last pass finished with this very spec. Bindings of others don't keep it from that.
fn history(tenant: &Tenant) -> History {
    let status = tenant.status.as_ref();
    let is_current = status.and_then(|it| it.observed_generation) == tenant.metadata.generation;
    let was_ready = status.is_some_and(|it| {
        it.conditions
            .iter()
            .filter(|it| it.type_ == ConditionType::Ready.to_string())
            .any(|it| it.status == "True" || it.reason == Reason::StrayBinding.to_string())
    });
    if is_current && was_ready {
        History::Settled
    } else {
        History::Unsettled
    }
}

/// The finalizer: a Tenant does not go before the access to its namespaces is gone.
async fn hold_on(tenant: &Tenant, context: &Context) -> Result<(), Error> {
    let finalizers = tenant.metadata.finalizers.clone().unwrap_or_default();
    let has_it = finalizers.iter().any(|it| it == labels::FINALIZER);
    if has_it || tenant.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    set_finalizers(
        tenant,
        finalizers
            .into_iter()
            .chain([labels::FINALIZER.to_owned()])
            .collect(),
        context,
    )
    .await
}

/// Takes the finalizer away: the Tenant may go.
pub(super) async fn let_go(tenant: &Tenant, context: &Context) -> Result<(), Error> {
    let finalizers = tenant.metadata.finalizers.clone().unwrap_or_default();
    if !finalizers.iter().any(|it| it == labels::FINALIZER) {
        return Ok(());
    }
    set_finalizers(
        tenant,
        finalizers
            .into_iter()
            .filter(|it| it != labels::FINALIZER)
            .collect(),
        context,
    )
    .await
}

async fn set_finalizers(tenant: &Tenant, finalizers: Vec<String>, context: &Context) -> Result<(), Error> {
    let name = tenant.metadata.name.clone().unwrap_or_default();
    let patch = json!({"metadata": {
        "uid": tenant.metadata.uid,
        "resourceVersion": tenant.metadata.resource_version,
        "finalizers": finalizers,
    }});
    let params = PatchParams {
        field_manager: Some(labels::OPERATOR.to_owned()),
        ..PatchParams::default()
    };
    context.metrics.wrote("Tenant", "patch");
    let patched = tenants(context)
        .patch(&name, &params, &Patch::Merge(&patch))
        .await;
    patched.map(|_| ()).map_err(Error::request(
        "setting the finalizer of",
        format!("Tenant {name}"),
    ))
}

/// What belongs to the Tenant before anything is done.
fn recorded(
    tenant: &Tenant,
    claims: &BTreeMap<String, Claim>,
    facts: &BTreeMap<String, NamespaceFacts>,
) -> Vec<NamespaceStatus> {
    let before: BTreeMap<&str, NamespaceOrigin> = tenant
        .status
        .iter()
        .flat_map(|it| &it.namespaces)
        .map(|it| (it.name.as_str(), it.origin))
        .collect();
    let belongs = claims.iter().filter_map(|(name, claim)| {
        let origin = match claim {
            Claim::Keep(origin) => *origin,
            Claim::Retain | Claim::HandOver { .. } => NamespaceOrigin::Retained,
            Claim::Release | Claim::Terminating | Claim::Ending => *before.get(name.as_str())?,
            Claim::Create
            | Claim::Adopt
            | Claim::Take
            | Claim::Wait(_)
            | Claim::Conflict { .. }
            | Claim::NotOwned => return None,
        };
        let uid = facts.get(name)?.uid.clone();
        Some(NamespaceStatus {
            name: name.clone(),
            uid,
            origin,
        })
    });
    belongs.collect()
}

/// Records a Namespace as adopted, or as made by an owner, before it is touched: if this process ends in between, it is not
/// taken for one that the operator made, and what is adopted is never deleted.
async fn adopt(
    tenant: &Tenant,
    claims: &BTreeMap<String, Claim>,
    facts: &BTreeMap<String, NamespaceFacts>,
    done: &mut Done,
    context: &Context,
) -> Result<(), Error> {
    let adopted: Vec<NamespaceStatus> = claims
        .iter()
        .filter_map(|(name, claim)| {
            let origin = match claim {
                Claim::Adopt => NamespaceOrigin::Adopted,
                Claim::Take => NamespaceOrigin::SelfService,
                _ => return None,
            };
            let uid = facts.get(name)?.uid.clone();
            Some(NamespaceStatus {
                name: name.clone(),
                uid,
                origin,
            })
        })
        .collect();
    if adopted.is_empty() {
        return Ok(());
    }
    done.namespaces.extend(adopted);
    status::record(tenant, &done.namespaces, context).await
}

/// Namespaces and what isolates them.
async fn lock(
    tenant_uid: &str,
    plan: &Plan,
    claims: &BTreeMap<String, Claim>,
    facts: &BTreeMap<String, NamespaceFacts>,
    history: History,
    done: &mut Done,
    context: &Context,
) {
    let mut work = Vec::new();
    for (name, plan) in &plan.namespaces {
        work.push(lock_one(
            name,
            tenant_uid,
            plan,
            claims.get(name),
            facts.get(name),
            history,
            context,
        ));
    }
    let results: Vec<_> = stream::iter(work).buffered(PARALLEL).collect().await;
    for (created, drifts, result) in results {
        done.namespaces.extend(created);
        done.drifts.extend(drifts);
        if let Err((what, error)) = result {
            done.fail(what, error);
        }
    }
    done.namespaces.sort_by(|a, b| a.name.cmp(&b.name));
}

type Locked = (
    Option<NamespaceStatus>,
    Vec<Drift>,
    Result<(), (ConditionType, Error)>,
);

async fn lock_one(
    name: &str,
    tenant_uid: &str,
    plan: &NamespacePlan,
    claim: Option<&Claim>,
    facts: Option<&NamespaceFacts>,
    history: History,
    context: &Context,
) -> Locked {
    let mut created = None;
    let mut drifts = Vec::new();
    let of_namespace = |error| (ConditionType::NamespacesReady, error);
    let mut observed = facts.cloned();
    if claim == Some(&Claim::Create) {
        match context.applier.create_namespace(name, plan, tenant_uid).await {
            Ok(namespace) => {
                let facts = NamespaceFacts::from(&namespace);
                created = Some(NamespaceStatus {
                    name: name.to_owned(),
                    uid: facts.uid.clone(),
                    origin: NamespaceOrigin::Declared,
                });
                observed = Some(facts);
            }
            Err(error) => return (None, drifts, Err(of_namespace(error))),
        }
    }
    if let Some(facts) = &observed {
        let diff = diff::namespace(plan, facts);
        if !diff.is_empty() {
            if history == History::Settled
                && created.is_none()
                && matches!(claim, Some(Claim::Keep(_) | Claim::Retain))
            {
                let manager = context.applier.namespace_manager(name).await;
                if manager != labels::OPERATOR {
                    context.metrics.drifted("Namespace", &manager);
                    drifts.push(Drift {
                        kind: "Namespace",
                        object: name.to_owned(),
                        paths: diff.paths(),
                        manager,
                    });
                }
            }
            if let Err(error) = context
                .applier
                .label_namespace(name, &facts.uid, plan, &diff)
                .await
            {
                return (created, drifts, Err(of_namespace(error)));
            }
        }
    }
    for object in &plan.locks {
        let cached = context.observed.managed(object.kind(), name, object.name());
        // A namespace that is new to us has no history of its own.
        let is_new = matches!(claim, Some(Claim::Adopt | Claim::Take | Claim::Wait(_)));
        let history = if created.is_some() || is_new {
            History::Unsettled
        } else {
            history
        };
        match context.applier.ensure(object, cached, history).await {
            Ok(drift) => drifts.extend(drift),
            Err(error) => {
                let what = match object.kind() {
                    Kind::NetworkPolicy => ConditionType::NetworkIsolated,
                    _ => ConditionType::QuotaHealthy,
                };
                return (created, drifts, Err((what, error)));
            }
        }
    }
    (created, drifts, Ok(()))
}

/// Who may enter, once the native policies know whose everything is.
async fn open(
    valid: &ValidTenant,
    plan: &Plan,
    claims: &BTreeMap<String, Claim>,
    history: History,
    done: &mut Done,
    context: &Context,
) {
    let mut with_doors = Vec::new();
    let mut work = Vec::new();
    for (name, plan) in &plan.namespaces {
        if !plan.doors.is_empty() {
            with_doors.push(name.as_str());
        }
        for door in &plan.doors {
            work.push(open_one(name, door, claims.get(name), history, context));
        }
    }
    if work.is_empty() {
        return;
    }
    if !context.index.holds(&valid.name, &with_doors, &valid.claims).await {
        done.fail(ConditionType::AccessIsolated, Error::IndexBehind);
        return;
    }
    let results: Result<Vec<Option<Drift>>, Error> =
        stream::iter(work).buffered(PARALLEL).try_collect().await;
    match results {
        Ok(drifts) => done.drifts.extend(drifts.into_iter().flatten()),
        Err(error) => done.fail(ConditionType::AccessIsolated, error),
    }
}

async fn open_one(
    namespace: &str,
    door: &Object,
    claim: Option<&Claim>,
    history: History,
    context: &Context,
) -> Result<Option<Drift>, Error> {
    let cached = context.observed.managed(door.kind(), namespace, door.name());
    let is_new = matches!(claim, Some(Claim::Create | Claim::Adopt | Claim::Take));
    let history = if is_new { History::Unsettled } else { history };
    context.applier.ensure(door, cached, history).await
}

/// Deletes managed objects that the plan no longer holds, unless nobody can tell what there should be.
async fn prune(plan: &Plan, of: impl Fn(Kind) -> bool, context: &Context) -> Result<(), Error> {
    let namespaces: BTreeSet<&str> = plan.namespaces.keys().map(String::as_str).collect();
    for kind in Kind::ALL
        .into_iter()
        .filter(|it| of(*it) && !plan.held.contains(it))
    {
        for object in context.observed.managed_in(kind, &namespaces) {
            if !plan.holds(&object.namespace, kind, &object.name) {
                context.applier.delete(&object).await?;
            }
        }
    }
    Ok(())
}

/// A Tenant that can't be planned takes its people's access along, too, when it goes.
pub(super) async fn take_access(
    tenant: &Tenant,
    claims: &BTreeMap<String, Claim>,
    facts: &BTreeMap<String, NamespaceFacts>,
    context: &Context,
    done: &mut Done,
) {
    let name = tenant.metadata.name.as_deref().unwrap_or_default();
    let ours = claims.iter().filter(|(namespace, claim)| {
        matches!(
            claim,
            Claim::Retain | Claim::Release | Claim::Terminating | Claim::Ending
        ) && facts
            .get(*namespace)
            .is_some_and(|it| it.labelled() == Some(name))
    });
    let namespaces: BTreeSet<&str> = ours.map(|(namespace, _)| namespace.as_str()).collect();
    for kind in Kind::ALL.into_iter().filter(|it| it.is_door()) {
        for object in context.observed.managed_in(kind, &namespaces) {
            if let Err(error) = context.applier.delete(&object).await {
                done.fail(ConditionType::AccessIsolated, error);
            }
        }
    }
    release(tenant, claims, facts, done, context).await;
}

/// Deletes the namespaces that are let go with `deletionPolicy: Delete`.
async fn release(
    tenant: &Tenant,
    claims: &BTreeMap<String, Claim>,
    facts: &BTreeMap<String, NamespaceFacts>,
    done: &mut Done,
    context: &Context,
) {
    if done.error.is_some() {
        return;
    }
    // A Tenant that deletes nothing needn't see the end of what others delete: nobody is in there any more.
    let deletes = tenant.spec.deletion_policy == Some(DeletionPolicy::Delete);
    let waits = deletes || tenant.metadata.deletion_timestamp.is_none();
    let mut waiting = Vec::new();
    for (name, claim) in claims {
        let Some(facts) = facts.get(name) else { continue };
        match claim {
            Claim::Release => {
                waiting.push(name.clone());
                if let Err(error) = context.applier.delete_namespace(name, &facts.uid).await {
                    done.fail(ConditionType::NamespacesReady, error);
                    return;
                }
            }
            Claim::Terminating if waits => waiting.push(name.clone()),
            _ => {}
        }
    }
    if !waiting.is_empty() {
        done.fail(
            ConditionType::NamespacesReady,
            Error::StillThere(waiting.join(", ")),
        );
    }
}

/// Tells what was put back.
pub(super) async fn report(tenant: &Tenant, drifts: &[Drift], context: &Context) {
    let reference: ObjectReference = tenant.object_ref(&());
    for drift in drifts {
        tracing::warn!(
            tenant = tenant.metadata.name,
            kind = drift.kind,
            object = drift.object,
            manager = drift.manager,
            paths = drift.paths.join(", "),
            "A change was put back"
        );
        if let Err(error) = context.recorder.publish(&drift.event(), &reference).await {
            tracing::warn!(%error, "An event was not recorded");
        }
    }
}

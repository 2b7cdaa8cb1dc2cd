//! Policies and their revisions, as the cluster holds them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bailiwick_core::policy::orders::StoredPolicy;
use bailiwick_core::policy::{Active, Candidate, Revision, Served, StoredRevision};
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::CandidateStage;
use k8s_openapi::api::apps::v1::ControllerRevision;

use super::{Api, list};

/// A revision that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Its number.
    pub number: i64,
    /// What is kept, or why it can't be read.
    pub stored: Result<StoredRevision, String>,
}

/// Revisions by policy and name.
pub type Revisions = BTreeMap<(String, String), Kept>;

/// The revisions that are kept in Bailiwick's namespace, of one policy or of all.
///
/// # Errors
/// Why they can't be had.
pub fn revisions(api: &dyn Api, namespace: &str, policy: Option<&str>) -> Result<Revisions, String> {
    let selector = match policy {
        Some(policy) => format!("{}%3D{policy}", labels::POLICY.replace('/', "%2F")),
        None => labels::POLICY.replace('/', "%2F"),
    };
    let path = format!("/apis/apps/v1/namespaces/{namespace}/controllerrevisions?labelSelector={selector}");
    let (read, _) = list::<ControllerRevision>(api, &path)?;
    let kept = read.into_iter().filter_map(|it| {
        let label = |key: &str| it.metadata.labels.as_ref()?.get(key).cloned();
        let policy = label(labels::POLICY)?;
        let stored = StoredRevision::read(&it.data.0);
        let name = match &stored {
            Ok(stored) => stored.name().to_owned(),
            Err(_) => label(labels::POLICY_REVISION)?,
        };
        let number = it.revision.unwrap_or_default();
        Some(((policy, name), Kept { number, stored }))
    });
    Ok(kept.collect())
}

/// The shortest limit of one evaluation here, in milliseconds: what is too slow for the cluster is told by the cluster.
const LIMIT: i32 = 10_000;

/// A revision that is ready to be evaluated, on a thread with [`bailiwick_core::rego::STACK`].
///
/// # Errors
/// Why it can't be.
pub fn compiled(stored: &StoredRevision) -> Result<Arc<Revision>, String> {
    let mut stored = stored.clone();
    stored.content.evaluation_milliseconds = stored.content.evaluation_milliseconds.max(LIMIT);
    Revision::compile(stored).map(Arc::new).map_err(|errors| {
        let first = errors.into_iter().next();
        first.map_or_else(
            || "it does not compile".to_owned(),
            |it| format!("{}: {}", it.field, it.message),
        )
    })
}

/// A policy as the webhooks serve it, on a thread with [`bailiwick_core::rego::STACK`].
pub fn served(policy: &StoredPolicy, revisions: &Revisions) -> Served {
    let name = policy.metadata.name.clone().unwrap_or_default();
    let load = |revision: &String| {
        let kept = revisions.get(&(name.clone(), revision.clone()));
        let stored = kept.ok_or_else(|| "it is not kept".to_owned())?.stored.clone()?;
        compiled(&stored)
    };
    let orders = &policy.orders;
    let active = orders.active.as_ref().map(|revision| match load(revision) {
        Ok(it) => Active::Loaded(it),
        Err(reason) => Active::Missing {
            revision: revision.clone(),
            spec: Arc::clone(&policy.spec),
            reason,
        },
    });
    let candidate = orders.candidate.as_ref().and_then(|(revision, stage, percent)| {
        let it = load(revision).ok()?;
        Some(match stage {
            Some(CandidateStage::Percent) => Candidate::Percent(it, *percent),
            Some(CandidateStage::Shadow) => Candidate::Shadow(it),
            _ => Candidate::Idle(it),
        })
    });
    Served {
        policy: name,
        active,
        candidate,
        approved_by: orders.approved_by.clone(),
    }
}

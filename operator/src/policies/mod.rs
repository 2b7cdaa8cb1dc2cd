//! TenantPolicies: each change becomes a revision that compiles and passes its tests, is loaded by every webhook, and
//! decides only then.
//!
//! One task looks at everything whenever something changes: policies, revisions, approvals, the replicas' Leases. What
//! follows is decided by [`bailiwick_core::policy::life`]; this folder does what it says.
//!
//! - [`observe`]: what there is.
//! - [`trials`]: the compilation and the tests, beside the loop.
//! - [`replicas`]: which webhooks live.
//! - [`rules`]: which requests the API server sends to the webhooks.
//! - [`step`]: one policy, one step.

mod observe;
mod replicas;
mod rules;
mod step;
mod trials;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick_core::policy::life::Kept;
use bailiwick_crds::v1alpha1::TenantPolicy;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt as _};

use crate::context::Context;
use observe::Observed;
use replicas::Replicas;
use rules::Rules;
use trials::Trials;

/// How long changes are gathered: long enough for the events of one write, too short to notice.
const GATHER: Duration = Duration::from_millis(10);
/// How often the replicas' signs of life are looked at when nothing happens.
const PULSE: Duration = Duration::from_secs(1);
/// How many policies are written at a time.
const CONCURRENCY: usize = 16;

/// Leads the policies through their lives, for ever.
///
/// # Errors
/// When a watch ends.
pub(crate) async fn keep(
    context: Arc<Context>,
    namespace: String,
    configuration: String,
) -> anyhow::Result<()> {
    let (observed, mut watches) =
        observe::begin(&context.client, &namespace, &configuration, &context.metrics);
    let mut keeper = Keeper {
        rules: Rules::new(context.client.clone(), &configuration),
        trials: Trials::default(),
        replicas: Replicas::default(),
        namespace,
        waiting: HashMap::new(),
        since: HashMap::new(),
    };
    let mut changed = observed.changes();
    tokio::select! {
        synced = observed.synced() => synced?,
        ended = watches.join_next() => anyhow::bail!("a watch ended: {ended:?}"),
    }
    let mut is_news = true;
    loop {
        if is_news {
            keeper.look(&observed, &context).await;
        }
        is_news = tokio::select! {
            _ = changed.changed() => true,
            () = keeper.trials.ended() => true,
            ended = watches.join_next() => anyhow::bail!("a watch ended: {ended:?}"),
            () = tokio::time::sleep(PULSE) => {
                keeper.replicas.lost_one() || keeper.rules.is_due() || keeper.trials.is_due()
            }
        };
        if is_news {
            tokio::time::sleep(GATHER).await;
            changed.mark_unchanged();
        }
    }
}

struct Keeper {
    namespace: String,
    rules: Rules,
    trials: Trials,
    replicas: Replicas,
    /// The version of what was written last, until the watch tells of it.
    waiting: HashMap<String, u64>,
    /// Since when a generation waits to be served.
    since: HashMap<String, (i64, Option<Instant>)>,
}

impl Keeper {
    /// Looks at all policies, and lets each take a step.
    async fn look(&mut self, observed: &Observed, context: &Context) {
        let policies = observed.policies();
        let revisions = observed.revisions();
        let approvals = observed.approvals();
        let reports = self.replicas.live(&observed.leases());
        for lease in self.replicas.left_behind() {
            self.bury(&lease, context).await;
        }
        context
            .metrics
            .policies
            .set(i64::try_from(policies.len()).unwrap_or(i64::MAX));
        // One that can't be read is not gone.
        let names = observed.names();
        self.forget(&names, &revisions, context).await;
        let configuration = observed.configuration();
        let unknown = self
            .rules
            .keep(
                &policies,
                &revisions,
                policies.len() < names.len(),
                configuration.as_deref(),
                context,
            )
            .await;
        if self.rules.failed() {
            observed.again();
        }
        let (none, namespace) = (BTreeMap::new(), self.namespace.clone());
        let mut steps = Vec::new();
        for policy in &policies {
            let name = policy.name_any();
            if self.is_behind(policy) || policy.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let generation = policy.metadata.generation.unwrap_or_default();
            let since = self
                .since
                .entry(name.clone())
                .or_insert_with(|| (generation, Some(Instant::now())));
            if since.0 != generation {
                *since = (generation, Some(Instant::now()));
            }
            let Some(head) = self.trials.head(policy) else {
                continue;
            };
            steps.push(step::Step {
                policy: policy.clone(),
                head,
                revisions: revisions.get(&name).unwrap_or(&none),
                approvals: approvals.get(&name).map_or(&[], Vec::as_slice),
                replicas: &reports,
                unknown_kinds: unknown.get(&name),
                namespace: &namespace,
            });
        }
        let steps = steps
            .into_iter()
            .map(|it| async move { (it.policy.name_any(), it.take(context).await) }.boxed());
        let steps: Vec<_> = steps.collect();
        let done: Vec<_> = futures::stream::iter(steps)
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        for (name, done) in done {
            match done {
                Ok(done) => self.took(&name, &done, context),
                Err(error) => {
                    tracing::warn!(policy = name, %error, "A policy could not take its step; it is tried again");
                    observed.again();
                }
            }
        }
    }

    /// Deletes the Lease of a webhook that is gone. One that was only cut off makes it anew.
    async fn bury(&self, lease: &str, context: &Context) {
        let leases: Api<Lease> = Api::namespaced(context.client.clone(), &self.namespace);
        context.metrics.wrote("Lease", "delete");
        match leases.delete(lease, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                tracing::warn!(%error, lease, "The Lease of a webhook that is gone was not deleted");
            }
        }
    }

    /// Whether the watch has not told yet of what was written last.
    fn is_behind(&mut self, policy: &TenantPolicy) -> bool {
        let name = policy.name_any();
        let version = policy
            .resource_version()
            .and_then(|it| it.parse().ok())
            .unwrap_or(u64::MAX);
        let is_behind = self.waiting.get(&name).is_some_and(|it| version < *it);
        if !is_behind {
            self.waiting.remove(&name);
        }
        is_behind
    }

    fn took(&mut self, name: &str, done: &step::Done, context: &Context) {
        if let Some(version) = done.written {
            self.waiting.insert(name.to_owned(), version);
        }
        // Each generation is served for the first time once.
        if done.is_served
            && let Some((_, since)) = self.since.get_mut(name)
            && let Some(since) = since.take()
            && done.is_news
        {
            context.metrics.policy_lag.observe(since.elapsed().as_secs_f64());
        }
    }

    /// Lets go of what is kept of policies that are gone.
    async fn forget(
        &mut self,
        names: &BTreeSet<String>,
        revisions: &BTreeMap<String, BTreeMap<String, Kept>>,
        context: &Context,
    ) {
        self.trials.forget_all_but(names);
        self.since.retain(|it, _| names.contains(it));
        self.waiting.retain(|it, _| names.contains(it));
        for (policy, revisions) in revisions.iter().filter(|it| !names.contains(it.0)) {
            for revision in revisions.keys() {
                step::delete(policy, revision, &self.namespace, context).await;
            }
        }
    }
}

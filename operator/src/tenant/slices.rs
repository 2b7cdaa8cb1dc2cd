//! Keeps the slices of a tenant's quota as [`bailiwick_core::quota`] says.
//!
//! Most passes look at the watches and find nothing to do. What is to be done is decided anew by what the API server says
//! at that moment, and written to those very versions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bailiwick_core::ownership::Claim;
use bailiwick_core::plan::{Kind, Object, Plan, diff, slice};
use bailiwick_core::quantity::Amount;
use bailiwick_core::quota::{Amounts, Holder, Motion, Moves, SLICE, Signature, Slice, Stake, next};
use bailiwick_core::validate::ValidTenant;
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{ConditionType, Quantity, QuotaStatus};
use futures::stream::{self, StreamExt as _};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::{ApiResource, ListParams};
use kube::{Api, ResourceExt as _};

use super::carry_out::Done;
use crate::apply::{Drift, Exact};
use crate::context::Context;
use crate::drift::author;
use crate::error::Error;
use crate::quota::SETTLE;

/// Writes at a time, for one Tenant.
const PARALLEL: usize = 8;
/// How long a pass waits until the API server limits a new slice.
const LIMITED_WITHIN: Duration = Duration::from_secs(3);
/// Steps of one pass: closed, divided, and one for what came in between.
const STEPS: usize = 3;

/// What a pass has to tell of the tenant's quota.
#[derive(Default)]
pub(super) enum Told {
    /// It did not get so far: what was told before stays.
    #[default]
    AsBefore,
    /// This, or that there is none.
    Now(Option<QuotaStatus>),
}

/// How it went.
#[derive(Default)]
struct Kept {
    /// The limits and what is used.
    quota: Option<QuotaStatus>,
    /// What was put back.
    drifts: Vec<Drift>,
    /// When to look again, whatever the watches say.
    again: Option<Duration>,
}

/// The tenant, and who has a stake in its quota.
struct Escrow<'a> {
    tenant: &'a ValidTenant,
    plan: &'a Plan,
    claims: &'a BTreeMap<String, Claim>,
}

/// What the namespaces may use of the tenant's quota.
pub(super) async fn divide(
    valid: &ValidTenant,
    plan: &Plan,
    claims: &BTreeMap<String, Claim>,
    done: &mut Done,
    context: &Context,
) {
    if plan.held.contains(&Kind::ResourceQuota) {
        return;
    }
    let escrow = Escrow {
        tenant: valid,
        plan,
        claims,
    };
    match escrow.keep(context).await {
        Ok(kept) => {
            done.quota = Told::Now(kept.quota);
            done.drifts.extend(kept.drifts);
            done.again = kept.again;
        }
        Err(error) => done.fail(ConditionType::QuotaHealthy, error),
    }
}

type Slices = BTreeMap<String, ResourceQuota>;

impl Escrow<'_> {
    /// Brings the slices one or more steps nearer to where they should be. No namespace may be entered before this
    /// succeeded: each has its slice then, and the API server limits by it.
    async fn keep(&self, context: &Context) -> Result<Kept, Error> {
        let limits = &self.plan.limits;
        if limits.is_empty() {
            context.metrics.quota(&self.tenant.name, limits, &Amounts::new());
            return Ok(Kept::default());
        }
        let mut kept = Kept::default();
        let mut open = BTreeSet::new();
        let mut changes = context.observed.changes();
        for _ in 0..STEPS {
            let mut slices = self.watched(context);
            let (mut moves, mut tampered) = self.look(&slices, context);
            if !moves.writes.is_empty() || !tampered.is_empty() {
                slices = self.live(context).await?;
                (moves, tampered) = self.look(&slices, context);
                kept.drifts.extend(
                    self.write(&slices, &moves, &tampered, context, &mut kept.again)
                        .await?,
                );
            }
            kept.quota = Some(self.told(&slices, context));
            if !moves.moving.is_empty() {
                kept.again = Some(SETTLE);
            }
            open = moves.open;
            if open.is_empty() {
                break;
            }
            let shown = async {
                while !self.look(&self.watched(context), context).0.open.is_empty() {
                    let _ = changes.recv().await;
                }
            };
            if tokio::time::timeout(LIMITED_WITHIN, shown).await.is_err() {
                break;
            }
            open.clear();
        }
        if open.is_empty() {
            Ok(kept)
        } else {
            Err(Error::Unlimited(self.unlimited(&open, context)))
        }
    }

    /// What to do, and whose slices were changed by somebody else.
    fn look(&self, slices: &Slices, context: &Context) -> (Moves, BTreeMap<String, Vec<String>>) {
        let now = Instant::now();
        let word = context.writer.word();
        let holders: BTreeMap<String, Holder> = self
            .stakes()
            .map(|(namespace, stake)| {
                let slice = slices.get(namespace).map(|it| {
                    let mut slice = read(it, &word);
                    let is_ours = it.labels().get(labels::TENANT) == Some(&self.tenant.name);
                    if stake == Stake::Member && !is_ours {
                        // Another tenant's, from which this namespace came: nobody enters by what that one allowed.
                        slice.enforced.clear();
                    } else if stake == Stake::Member {
                        slice.motion = context.motions.see(namespace, &slice, now);
                    } else {
                        context.motions.forget(namespace);
                    }
                    slice
                });
                let used = slice.as_ref().map(|it| &it.used);
                let asks = used.map(|it| context.demand.of(namespace, it, now));
                let holder = Holder {
                    stake,
                    asks: asks.unwrap_or_default(),
                    slice,
                };
                (namespace.to_owned(), holder)
            })
            .collect();
        let moves = next(&self.plan.limits, &holders);
        for namespace in holders.keys() {
            context
                .motions
                .wait(namespace, moves.moving.contains(namespace), now);
        }
        let changed = slices.iter().filter_map(|(namespace, it)| {
            let holder = holders.get(namespace)?;
            let hard = &holder.slice.as_ref()?.wanted;
            if holder.stake == Stake::Leaving {
                return None;
            }
            let writer = writer_of(it).unwrap_or(&word);
            let planned = Object::ResourceQuota(slice(self.tenant, namespace, hard, writer));
            let observed = serde_json::to_value(it).unwrap_or_default();
            let paths = diff::object(Kind::ResourceQuota, &planned.to_value(), &observed);
            (!paths.is_empty()).then(|| (namespace.clone(), paths))
        });
        let changed = changed.collect();
        (moves, changed)
    }

    /// The namespaces that have a stake in the quota.
    fn stakes(&self) -> impl Iterator<Item = (&str, Stake)> {
        // What is not taken keeps what it has and gets nothing: nothing may be made in it.
        let members = self.plan.namespaces.iter().map(|(name, plan)| {
            let is_taken = plan.labels.contains_key(labels::POD_LABEL);
            let stake = if is_taken { Stake::Member } else { Stake::Leaving };
            (name.as_str(), stake)
        });
        let leaving = self.claims.iter().filter(|(name, claim)| {
            matches!(claim, Claim::Terminating | Claim::Ending) && !self.plan.namespaces.contains_key(*name)
        });
        members.chain(leaving.map(|(name, _)| (name.as_str(), Stake::Leaving)))
    }

    /// The slices as the watches last told of them.
    fn watched(&self, context: &Context) -> Slices {
        self.stakes()
            .filter_map(|(it, _)| Some((it.to_owned(), context.observed.slice(it)?.as_ref().clone())))
            .collect()
    }

    /// The slices as they are.
    async fn live(&self, context: &Context) -> Result<Slices, Error> {
        let all: Api<ResourceQuota> = Api::all(context.client.clone());
        let ours = ListParams::default()
            .labels(&format!("{}={}", labels::TENANT, self.tenant.name))
            .fields(&format!("metadata.name={SLICE}"));
        let listed = all.list(&ours).await;
        let listed = listed.map_err(Error::request("listing the ResourceQuotas of", &self.tenant.name))?;
        let mut slices = Slices::new();
        for it in listed {
            slices.insert(it.namespace().unwrap_or_default(), it);
        }
        let missing = self.stakes().filter(|(it, _)| !slices.contains_key(*it));
        let missing: Vec<&str> = missing.map(|(it, _)| it).collect();
        for namespace in missing {
            // There is none, or its label is gone.
            let api: Api<ResourceQuota> = Api::namespaced(context.client.clone(), namespace);
            let shown = format!("ResourceQuota {namespace}/{SLICE}");
            let found = api
                .get_opt(SLICE)
                .await
                .map_err(Error::request("reading", shown))?;
            slices.extend(found.map(|it| (namespace.to_owned(), it)));
        }
        Ok(slices)
    }

    async fn write(
        &self,
        slices: &Slices,
        moves: &Moves,
        tampered: &BTreeMap<String, Vec<String>>,
        context: &Context,
        again: &mut Option<Duration>,
    ) -> Result<Vec<Drift>, Error> {
        let ours = context.writer.word();
        let mut planned = Vec::new();
        for (namespace, write) in &moves.writes {
            planned.push((namespace, slice(self.tenant, namespace, &write.hard, &ours)));
        }
        for namespace in tampered.keys().filter(|it| !moves.writes.contains_key(*it)) {
            if let Some(it) = slices.get(namespace) {
                let signed = writer_of(it).unwrap_or(&ours);
                let hard = read(it, &ours).wanted;
                planned.push((namespace, slice(self.tenant, namespace, &hard, signed)));
            }
        }
        let mut drifts = Vec::new();
        for (namespace, paths) in tampered {
            drifts.extend(drift(namespace, paths.clone(), context).await);
        }
        let underway = context.writer.underway();
        let mut requests = Vec::new();
        for (namespace, it) in planned {
            let version = slices
                .get(namespace)
                .and_then(|it| it.metadata.resource_version.clone());
            requests.push(write_one(it, version, context));
        }
        let results: Vec<Result<Exact, Error>> =
            stream::iter(requests).buffer_unordered(PARALLEL).collect().await;
        if results
            .iter()
            .all(|it| it.as_ref().err().is_none_or(Error::is_answer))
        {
            underway.over();
        }
        for result in results {
            if result? == Exact::Overtaken {
                *again = Some(SETTLE);
            }
        }
        Ok(drifts)
    }

    /// What there is to tell of the quota.
    fn told(&self, slices: &Slices, context: &Context) -> QuotaStatus {
        let mut used: Amounts = self
            .plan
            .limits
            .keys()
            .map(|it| (it.clone(), Amount::ZERO))
            .collect();
        for slice in slices.values() {
            let slice = read(slice, "");
            for (resource, sum) in &mut used {
                *sum = sum.plus(slice.used.get(resource).copied().unwrap_or_default());
            }
        }
        context.metrics.quota(&self.tenant.name, &self.plan.limits, &used);
        let hard = self.tenant.quota.as_ref().map(|it| it.tenant.clone());
        let used = used
            .into_iter()
            .map(|(name, it)| (name, Quantity(it.to_string())));
        QuotaStatus {
            hard: hard.unwrap_or_default(),
            used: used.collect(),
        }
    }

    /// What isn't limited where.
    fn unlimited(&self, open: &BTreeSet<String>, context: &Context) -> String {
        let slices = self.watched(context);
        let shown = open.iter().map(|namespace| {
            let slice = slices.get(namespace).map(|it| read(it, ""));
            let limits = self.plan.limits.keys();
            let missing = limits.filter(|it| slice.as_ref().and_then(|slice| slice.held(it)).is_none());
            format!(
                "{namespace} ({})",
                missing.cloned().collect::<Vec<_>>().join(", ")
            )
        });
        bailiwick_core::finding::some_of(shown.collect::<Vec<_>>())
    }
}

async fn write_one(slice: ResourceQuota, version: Option<String>, context: &Context) -> Result<Exact, Error> {
    context
        .applier
        .exact(&Object::ResourceQuota(slice), version)
        .await
}

/// A slice as the pure core sees it.
fn read(slice: &ResourceQuota, word: &str) -> Slice {
    let amounts =
        |list: Option<&BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>| {
            let list = list.into_iter().flatten();
            list.filter_map(|(name, it)| Some((name.clone(), Amount::parse(&it.0).ok()?)))
                .collect::<Amounts>()
        };
    let status = slice.status.as_ref();
    Slice {
        wanted: amounts(slice.spec.as_ref().and_then(|it| it.hard.as_ref())),
        enforced: amounts(status.and_then(|it| it.hard.as_ref())),
        used: amounts(status.and_then(|it| it.used.as_ref())),
        signature: if writer_of(slice) == Some(word) {
            Signature::Ours
        } else {
            Signature::Foreign
        },
        motion: Motion::Still,
    }
}

fn writer_of(slice: &ResourceQuota) -> Option<&str> {
    slice.annotations().get(labels::QUOTA_WRITER).map(String::as_str)
}

/// Somebody else's change of a slice, beside its limits: those are decided anew all the time.
async fn drift(namespace: &str, paths: Vec<String>, context: &Context) -> Option<Drift> {
    let resource = ApiResource::erase::<ResourceQuota>(&());
    let manager = context.managers.last(&resource, Some(namespace), SLICE).await;
    let manager = author(manager, false)?;
    context.metrics.drifted(Kind::ResourceQuota.as_str(), &manager);
    Some(Drift {
        kind: Kind::ResourceQuota.as_str(),
        object: format!("{namespace}/{SLICE}"),
        paths,
        manager,
    })
}

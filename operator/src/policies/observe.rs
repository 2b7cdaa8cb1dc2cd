//! What there is: policies, their revisions, approvals, and the Leases of the webhooks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bailiwick_core::policy::StoredRevision;
use bailiwick_core::policy::life::{Approval, Kept};
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{PolicyApproval, TenantPolicy};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::coordination::v1::Lease;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, Lookup, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::metrics::Metrics;

/// The stores.
pub(super) struct Observed {
    policies: Store<DeserializeGuard<TenantPolicy>>,
    approvals: Store<PolicyApproval>,
    revisions: Store<ControllerRevision>,
    leases: Store<Lease>,
    configurations: Store<ValidatingWebhookConfiguration>,
    changed: watch::Sender<()>,
    pending: watch::Receiver<BTreeSet<&'static str>>,
    /// The revisions that were read, by the UIDs of their objects.
    read: Mutex<HashMap<String, Option<Kept>>>,
}

/// Begins to follow the API server.
pub(super) fn begin(
    client: &Client,
    namespace: &str,
    configuration: &str,
    metrics: &Metrics,
) -> (Observed, JoinSet<()>) {
    let (changed, _) = watch::channel(());
    let (pending, waiting_for) = watch::channel(BTreeSet::new());
    let mut feed = Feed {
        tasks: JoinSet::new(),
        changed: changed.clone(),
        pending,
        metrics: metrics.clone(),
    };
    let all = watcher::Config::default();
    let observed = Observed {
        policies: feed.follow("TenantPolicy", Api::all(client.clone()), all.clone()),
        approvals: feed.follow("PolicyApproval", Api::all(client.clone()), all.clone()),
        revisions: feed.follow(
            "ControllerRevision",
            Api::namespaced(client.clone(), namespace),
            all.clone().labels(&labels::revisions()),
        ),
        leases: feed.follow(
            "Lease",
            Api::namespaced(client.clone(), namespace),
            all.clone().labels(labels::REPLICA),
        ),
        configurations: feed.follow(
            "ValidatingWebhookConfiguration",
            Api::all(client.clone()),
            all.fields(&format!("metadata.name={configuration}")),
        ),
        changed,
        pending: waiting_for,
        read: Mutex::default(),
    };
    (observed, feed.tasks)
}

struct Feed {
    tasks: JoinSet<()>,
    changed: watch::Sender<()>,
    pending: watch::Sender<BTreeSet<&'static str>>,
    metrics: Metrics,
}

impl Feed {
    fn follow<K>(&mut self, kind: &'static str, api: Api<K>, config: watcher::Config) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
        K: Send + Sync + 'static,
    {
        let (store, writer) = reflector::store::<K>();
        self.pending.send_modify(|it| {
            it.insert(kind);
        });
        let (changed, pending, metrics) = (self.changed.clone(), self.pending.clone(), self.metrics.clone());
        let stream = reflector::reflector(writer, watcher(api, config))
            .inspect_err(move |error| {
                metrics.watch_errors.inc();
                tracing::warn!(%error, kind, "A watch failed; it begins again");
            })
            .default_backoff();
        self.tasks.spawn(async move {
            let mut stream = std::pin::pin!(stream);
            while let Some(event) = stream.next().await {
                if matches!(event, Ok(watcher::Event::InitDone)) {
                    pending.send_if_modified(|it| it.remove(kind));
                }
                if !matches!(
                    event,
                    Ok(watcher::Event::Init | watcher::Event::InitApply(_)) | Err(_)
                ) {
                    changed.send_replace(());
                }
            }
        });
        store
    }
}

impl Observed {
    /// Wakes at every change.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Wakes who waits for a change: something has to be tried again.
    pub(super) fn again(&self) {
        let changed = self.changed.clone();
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            changed.send_replace(());
        });
    }

    /// Waits for the first list of each kind.
    pub(super) async fn synced(&self) -> anyhow::Result<()> {
        let mut pending = self.pending.clone();
        pending.wait_for(BTreeSet::is_empty).await?;
        Ok(())
    }

    /// The policies. One that can't be read stays as it is, and serves on.
    pub(super) fn policies(&self) -> Vec<Arc<TenantPolicy>> {
        let read = |it: &Arc<DeserializeGuard<TenantPolicy>>| match &it.0 {
            Ok(policy) => Some(Arc::new(policy.clone())),
            Err(error) => {
                tracing::error!(policy = it.name_any(), error = %error.error, "A TenantPolicy can't be read; what serves, serves on");
                None
            }
        };
        let mut all: Vec<_> = self.policies.state().iter().filter_map(read).collect();
        all.sort_by_key(|it| it.name_any());
        all
    }

    /// The names of all policies, those that can't be read included.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.policies.state().iter().map(|it| it.name_any()).collect()
    }

    /// The revisions by policy and name. One that can't be read, or isn't what its digest says, is none.
    pub(super) fn revisions(&self) -> BTreeMap<String, BTreeMap<String, Kept>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut still = HashMap::new();
        let mut all: BTreeMap<String, BTreeMap<String, Kept>> = BTreeMap::new();
        for revision in self.revisions.state() {
            // What it holds never changes, and its digest takes longer to tell than all the rest of a look.
            let uid = revision.metadata.uid.clone().unwrap_or_default();
            let kept = read.remove(&uid).unwrap_or_else(|| read_revision(&revision));
            if let Some(kept) = &kept {
                let of_policy = all.entry(kept.stored.policy.clone()).or_default();
                of_policy.insert(kept.stored.name().to_owned(), kept.clone());
            }
            still.insert(uid, kept);
        }
        *read = still;
        all
    }

    /// The approvals by policy.
    pub(super) fn approvals(&self) -> BTreeMap<String, Vec<Approval>> {
        let mut all: BTreeMap<String, Vec<Approval>> = BTreeMap::new();
        for approval in self.approvals.state() {
            // The API server fills it in and holds it: one without was never let in by it.
            let Some(approver) = approval.spec.approver.clone() else {
                continue;
            };
            all.entry(approval.spec.policy.clone())
                .or_default()
                .push(Approval {
                    digest: approval.spec.digest.clone(),
                    approver,
                });
        }
        all
    }

    /// Bailiwick's own ValidatingWebhookConfiguration.
    pub(super) fn configuration(&self) -> Option<Arc<ValidatingWebhookConfiguration>> {
        self.configurations.state().into_iter().next()
    }

    pub(super) fn leases(&self) -> Vec<Arc<Lease>> {
        self.leases.state()
    }
}

fn read_revision(revision: &ControllerRevision) -> Option<Kept> {
    let read = StoredRevision::read(&revision.data.0).and_then(|it| {
        if revision.name_any() == it.object_name() {
            Ok(it)
        } else {
            Err(format!("it should be named {}", it.object_name()))
        }
    });
    match read {
        Ok(stored) => Some(Kept {
            number: revision.revision.unwrap_or_default(),
            created: revision.metadata.creation_timestamp.clone(),
            stored: Arc::new(stored),
        }),
        Err(error) => {
            tracing::error!(
                revision = revision.name_any(),
                error,
                "A ControllerRevision is no revision of a policy"
            );
            None
        }
    }
}

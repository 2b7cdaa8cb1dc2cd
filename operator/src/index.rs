//! Keeps the TenancyIndex: what the native admission policies know of the tenants.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_core::config::Config;
use bailiwick_core::identity::{Claim, Pattern, Space};
use bailiwick_core::index::index;
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{TenancyIndex, TenancyIndexSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;

use crate::observe::Observed;

/// The index as it was last written.
#[derive(Clone)]
pub(crate) struct Index(watch::Sender<Arc<TenancyIndexSpec>>);

impl Default for Index {
    fn default() -> Self {
        Self(watch::Sender::new(Arc::default()))
    }
}

impl Index {
    /// Waits until the API server's index holds these namespaces and claims of a tenant. False if it takes too
    /// long.
    pub(crate) async fn holds(&self, tenant: &str, namespaces: &[&str], claims: &BTreeSet<Claim>) -> bool {
        let mut index = self.0.subscribe();
        let holds = |it: &Arc<TenancyIndexSpec>| {
            namespaces
                .iter()
                .all(|ns| it.namespaces.get(*ns).is_some_and(|it| it == tenant))
                && claims.iter().all(|claim| has_claim(it, claim))
        };
        tokio::time::timeout(Duration::from_secs(10), index.wait_for(holds))
            .await
            .is_ok_and(|it| it.is_ok())
    }
}

fn has_claim(index: &TenancyIndexSpec, claim: &Claim) -> bool {
    match (&claim.pattern, claim.space) {
        (Pattern::Exact(name), Space::User) => index.users.contains_key(name),
        (Pattern::Exact(name), Space::Group) => index.groups.contains_key(name),
        (Pattern::Prefix(prefix), Space::User) => index.user_prefixes.iter().any(|it| it.prefix == *prefix),
        (Pattern::Prefix(prefix), Space::Group) => index.group_prefixes.iter().any(|it| it.prefix == *prefix),
    }
}

/// How long changes are gathered before the index is written.
const GATHER: Duration = Duration::from_millis(25);
/// How long to wait after a failure, and how often to look whether somebody changed the index.
const RETRY: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_secs(30);

/// Writes the index whenever it should be another, for ever.
///
/// # Errors
/// When the stores end.
pub(crate) async fn keep(
    client: Client,
    config: Config,
    observed: Observed,
    written: Index,
) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let api: Api<TenancyIndex> = Api::all(client);
    let mut changes = observed.changes();
    observed.synced().await?;
    let mut known: Option<TenancyIndex> = None;
    let mut looked = tokio::time::Instant::now();
    loop {
        let spec = index(&observed.snapshot(config.clone()));
        if looked.elapsed() > LOOK {
            known = None;
        }
        if known.as_ref().is_none_or(|it| it.spec != spec) {
            match write(&api, known.take(), &spec).await {
                Ok(index) => {
                    known = Some(index);
                    looked = tokio::time::Instant::now();
                    written.0.send_replace(Arc::new(spec));
                }
                Err(error) => {
                    tracing::error!(%error, "The TenancyIndex was not written");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
        }
        let _ = tokio::time::timeout(LOOK, changes.recv()).await;
        tokio::time::sleep(GATHER).await;
        changes = changes.resubscribe();
    }
}

async fn write(
    api: &Api<TenancyIndex>,
    known: Option<TenancyIndex>,
    spec: &TenancyIndexSpec,
) -> Result<TenancyIndex, kube::Error> {
    let current = match known {
        Some(known) => Some(known),
        None => api.get_opt(labels::INDEX_NAME).await?,
    };
    let managed = |it: &TenancyIndex| {
        it.metadata
            .labels
            .as_ref()
            .is_some_and(|it| it.contains_key(labels::MANAGED_BY))
    };
    match current {
        Some(current) if current.spec == *spec && managed(&current) => Ok(current),
        Some(current) => {
            let mut next = TenancyIndex {
                metadata: metadata(),
                spec: spec.clone(),
            };
            next.metadata.resource_version = current.metadata.resource_version;
            api.replace(labels::INDEX_NAME, &params(), &next).await
        }
        None => {
            api.create(
                &params(),
                &TenancyIndex {
                    metadata: metadata(),
                    spec: spec.clone(),
                },
            )
            .await
        }
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(labels::OPERATOR.to_owned()),
        ..PostParams::default()
    }
}

fn metadata() -> ObjectMeta {
    ObjectMeta {
        name: Some(labels::INDEX_NAME.to_owned()),
        labels: Some([(labels::MANAGED_BY.to_owned(), labels::OPERATOR.to_owned())].into()),
        ..ObjectMeta::default()
    }
}

//! Keeps the TenancyIndex: what the native admission policies know of the tenants. The same look at everything tells
//! how far access to them reaches, and who may create namespaces.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_core::identity::{Claim, Pattern, Space};
use bailiwick_core::index::{difference, index, object};
use bailiwick_core::ownership::NamespaceFacts;
use bailiwick_core::reach::strays;
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{TenancyIndex, TenancyIndexSpec};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use kube::api::{ApiResource, PostParams};
use kube::core::DeserializeGuard;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource as _};
use tokio::sync::watch;

use crate::context::Context;
use crate::creators::Creators;
use crate::drift::{DELETED, Drift, author};

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
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// The index as the API server has it: one that can't be decoded is put back like any other.
type Guarded = DeserializeGuard<TenancyIndex>;

/// Writes the index whenever it should be another, or somebody else wrote it, for ever.
///
/// # Errors
/// When the stores or the watch end.
pub(crate) async fn keep(context: Arc<Context>) -> anyhow::Result<()> {
    let mut changes = context.observed.changes();
    context.observed.synced().await?;
    let mut keeper = Keeper {
        api: Api::all(context.client.clone()),
        guarded: Api::all(context.client.clone()),
        written: None,
        version: None,
    };
    let mut creators = Creators::new(context.client.clone());
    let mut events = keeper.events(&context);
    let mut before = Arc::default();
    loop {
        let snapshot = context.observed.snapshot(context.config.clone());
        forget_gone(&before, &snapshot.namespaces, &context);
        before = snapshot.namespaces.clone();
        // Before the index is there, for a Tenant that waits for the index says next how isolated its access is.
        context.access.see(strays(&snapshot, &context.observed.bound()));
        let spec = index(&snapshot);
        let narrowed = creators.narrow(&snapshot, &context).await;
        if !keeper.is_kept(&spec) {
            match keeper.write(&spec, &context).await {
                Ok(drift) => {
                    context.index.0.send_replace(Arc::new(spec));
                    if let Some(drift) = drift {
                        report(&drift, &keeper.api, &context).await;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "The TenancyIndex was not written");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
        }
        let settled = match narrowed {
            Ok(()) => creators.settle(&snapshot, &context).await,
            error => error,
        };
        if let Err(error) = &settled {
            tracing::error!(%error, "The binding of those who may create namespaces was not written");
        }
        tokio::select! {
            _ = changes.recv() => {}
            () = tokio::time::sleep(RETRY), if settled.is_err() => {}
            ended = keeper.surprise(&mut events) => ended?,
        }
        tokio::time::sleep(GATHER).await;
        changes = changes.resubscribe();
    }
}

/// Forgets what was remembered of Namespaces that are gone: their number is the tenants' to choose.
fn forget_gone(before: &Namespaces, now: &Namespaces, context: &Context) {
    let gone: BTreeSet<&str> = before
        .keys()
        .filter(|it| !now.contains_key(*it))
        .map(String::as_str)
        .collect();
    if !gone.is_empty() {
        context.applier.forget_namespaces(&gone);
        for namespace in gone {
            context.motions.forget(namespace);
        }
    }
}

type Namespaces = BTreeMap<String, NamespaceFacts>;

type Events = Pin<Box<dyn Stream<Item = watcher::Result<watcher::Event<Guarded>>> + Send>>;

/// The one writer of the index.
struct Keeper {
    api: Api<TenancyIndex>,
    guarded: Api<Guarded>,
    /// What this process wrote, or found as it should be: a difference from it was made by somebody else.
    written: Option<TenancyIndexSpec>,
    /// Its resourceVersion; none when the API server has to be asked.
    version: Option<String>,
}

impl Keeper {
    /// What happens to the index.
    fn events(&self, context: &Context) -> Events {
        let metrics = context.metrics.clone();
        watcher(self.guarded.clone(), watcher::Config::default())
            .inspect_err(move |error| {
                metrics.watch_errors.inc();
                tracing::warn!(%error, kind = "TenancyIndex", "A watch failed; it begins again");
            })
            .default_backoff()
            .boxed()
    }

    /// Whether there is nothing to do: it was written so, and no event told otherwise.
    fn is_kept(&self, spec: &TenancyIndexSpec) -> bool {
        self.version.is_some() && self.written.as_ref() == Some(spec)
    }

    /// Waits until an event tells that the index is not as it was written. What it tells may be older than the
    /// last write: the API server is asked then.
    ///
    /// # Errors
    /// When the watch ends.
    async fn surprise(&mut self, events: &mut Events) -> anyhow::Result<()> {
        while let Some(event) = events.next().await {
            if event.is_ok_and(|it| is_surprising(self.written.as_ref(), &it)) {
                self.version = None;
                return Ok(());
            }
        }
        anyhow::bail!("the watch of the TenancyIndex ended")
    }

    /// Brings the index to what it should be. Tells what somebody else did to it.
    async fn write(
        &mut self,
        spec: &TenancyIndexSpec,
        context: &Context,
    ) -> Result<Option<Drift>, kube::Error> {
        let mut drift = None;
        // After a conflict the API server is asked again.
        let mut version = self.version.take();
        if version.is_none() {
            let live = self.guarded.get_opt(labels::INDEX_NAME).await?;
            drift = self.drift(spec, live.as_ref(), context).await;
            if let Some(Guarded { 0: Ok(live) }) = &live
                && difference(spec, live).is_empty()
            {
                self.version.clone_from(&live.metadata.resource_version);
                self.written = Some(spec.clone());
                return Ok(drift);
            }
            version = live.and_then(|it| it.meta().resource_version.clone());
        }
        let mut next = object(spec.clone());
        let params = PostParams {
            field_manager: Some(labels::OPERATOR.to_owned()),
            ..PostParams::default()
        };
        let written = if version.is_some() {
            next.metadata.resource_version = version;
            context.metrics.wrote("TenancyIndex", "replace");
            self.api.replace(labels::INDEX_NAME, &params, &next).await?
        } else {
            context.metrics.wrote("TenancyIndex", "create");
            self.api.create(&params, &next).await?
        };
        self.version = written.metadata.resource_version;
        self.written = Some(spec.clone());
        Ok(drift)
    }

    /// What somebody else did to the index. Before the first write of this process nobody knows how it was, and
    /// it only counts what another manager left.
    async fn drift(
        &self,
        spec: &TenancyIndexSpec,
        live: Option<&Guarded>,
        context: &Context,
    ) -> Option<Drift> {
        let is_known = self.written.is_some();
        let expected = self.written.as_ref().unwrap_or(spec);
        let (paths, manager) = match live {
            None => (is_known.then(|| vec![DELETED.to_owned()])?, None),
            Some(live) => {
                let paths = live
                    .0
                    .as_ref()
                    .map_or_else(|_| vec!["spec".to_owned()], |live| difference(expected, live));
                let resource = ApiResource::erase::<TenancyIndex>(&());
                let last = || context.managers.last(&resource, None, labels::INDEX_NAME);
                let manager = if paths.is_empty() { None } else { last().await };
                (paths, manager)
            }
        };
        if paths.is_empty() {
            return None;
        }
        let manager = author(manager, is_known)?;
        Some(Drift {
            kind: "TenancyIndex",
            object: labels::INDEX_NAME.to_owned(),
            paths,
            manager,
        })
    }
}

/// Whether an event tells of another index than the one that was written, or may have missed it.
fn is_surprising(written: Option<&TenancyIndexSpec>, event: &watcher::Event<Guarded>) -> bool {
    match event {
        watcher::Event::Apply(it) | watcher::Event::InitApply(it) => match (&it.0, written) {
            (Ok(it), Some(written)) => {
                it.metadata.name.as_deref() == Some(labels::INDEX_NAME) && !difference(written, it).is_empty()
            }
            _ => true,
        },
        watcher::Event::Delete(_) | watcher::Event::InitDone => true,
        watcher::Event::Init => false,
    }
}

/// Tells, at the index itself, what was put back.
async fn report(drift: &Drift, api: &Api<TenancyIndex>, context: &Context) {
    drift.tell(&context.metrics);
    let published = match api.get(labels::INDEX_NAME).await {
        Ok(index) => {
            context
                .recorder
                .publish(&drift.event(), &index.object_ref(&()))
                .await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = published {
        tracing::warn!(%error, "An event was not recorded");
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;

    use super::*;

    #[test]
    fn an_event_surprises_when_it_tells_of_another_index_or_may_have_missed_one() {
        let spec = |user: &str| TenancyIndexSpec {
            users: [(user.to_owned(), "acme".to_owned())].into(),
            ..TenancyIndexSpec::default()
        };
        let stored = |user| DeserializeGuard(Ok(object(spec(user))));
        let written = spec("alice");
        for (event, expected) in [
            (Event::Apply(stored("alice")), false),
            (Event::InitApply(stored("alice")), false),
            (Event::Apply(stored("mallory")), true),
            (Event::InitApply(stored("mallory")), true),
            (Event::Delete(stored("alice")), true),
            (Event::Init, false),
            (Event::InitDone, true),
        ] {
            assert_eq!(is_surprising(Some(&written), &event), expected, "{event:?}");
        }
        assert!(is_surprising(None, &Event::Apply(stored("alice"))));
    }
}

//! Keeps each tenant's FlowSchema, by which the API server shares its time among tenants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_core::plan::flow_schema::{difference, flow_schemas};
use bailiwick_crds::labels;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::flowcontrol::v1::FlowSchema;
use kube::api::{ApiResource, DeleteParams, PostParams, Preconditions};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource as _, ResourceExt as _};

use crate::context::Context;
use crate::drift::{DELETED, Drift, author};

const KIND: &str = "FlowSchema";
/// How long changes are gathered before it is looked what has to be written.
const GATHER: Duration = Duration::from_millis(100);
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the FlowSchemas as they are planned, for ever.
///
/// # Errors
/// When the stores or the watch end.
pub(crate) async fn keep(context: Arc<Context>) -> anyhow::Result<()> {
    let mut changes = context.observed.changes();
    let mut keeper = Keeper {
        api: Api::all(context.client.clone()),
        left: BTreeMap::new(),
    };
    // Tenants write nothing with this label.
    let ours = watcher::Config::default().labels(labels::MANAGED_BY);
    let (store, writer) = reflector::store::<FlowSchema>();
    let metrics = context.metrics.clone();
    let watch = reflector::reflector(writer, watcher(keeper.api.clone(), ours))
        .inspect_err(move |error| {
            metrics.watch_errors.inc();
            tracing::warn!(%error, kind = KIND, "A watch failed; it begins again");
        })
        .default_backoff();
    let mut watch = std::pin::pin!(watch);
    while let Some(event) = watch.next().await {
        if matches!(event, Ok(watcher::Event::InitDone)) {
            break;
        }
    }
    context.observed.synced().await?;
    loop {
        let snapshot = context.observed.ownership(context.config.clone());
        let planned = flow_schemas(&snapshot);
        let found: Vec<_> = store.state();
        let mut failed = false;
        for (name, planned) in &planned {
            let found = store.get(&ObjectRef::new(name));
            let is_so = found.is_some_and(|it| difference(planned, &it).is_empty());
            if !(is_so && keeper.left.contains_key(name)) {
                failed |= told(&keeper.bring(name, planned, &context).await, name);
            }
        }
        for found in found {
            let name = found.name_any();
            if !planned.contains_key(&name) {
                failed |= told(&keeper.take_away(&name, &found, &context).await, &name);
            }
        }
        if failed {
            tokio::time::sleep(RETRY).await;
            continue;
        }
        tokio::select! {
            _ = changes.recv() => {}
            event = watch.next() => anyhow::ensure!(event.is_some(), "the watch of FlowSchemas ended"),
        }
        // What the watch has to tell meanwhile belongs to the same look.
        let gathered = tokio::time::sleep(GATHER);
        let mut gathered = std::pin::pin!(gathered);
        loop {
            tokio::select! {
                () = &mut gathered => break,
                event = watch.next() => anyhow::ensure!(event.is_some(), "the watch of FlowSchemas ended"),
            }
        }
        changes = changes.resubscribe();
    }
}

/// Whether it failed; says so then.
fn told(result: &Result<(), kube::Error>, name: &str) -> bool {
    if let Err(error) = result {
        tracing::error!(%error, name, "A FlowSchema was not written");
    }
    result.is_err()
}

/// The one writer of FlowSchemas.
struct Keeper {
    api: Api<FlowSchema>,
    /// As this process left them: a difference from that was made by somebody else.
    left: BTreeMap<String, FlowSchema>,
}

impl Keeper {
    /// Brings one to its plan. The watch may be behind our own write, so the API server is asked how it is.
    async fn bring(
        &mut self,
        name: &str,
        planned: &FlowSchema,
        context: &Context,
    ) -> Result<(), kube::Error> {
        let live = self.api.get_opt(name).await?;
        let drift = self.drift(name, live.as_ref(), context).await;
        let params = PostParams {
            field_manager: Some(labels::OPERATOR.to_owned()),
            ..PostParams::default()
        };
        match live {
            None => {
                context.metrics.wrote(KIND, "create");
                self.api.create(&params, planned).await?;
            }
            Some(live) if !difference(planned, &live).is_empty() => {
                let mut next = planned.clone();
                next.metadata.resource_version = live.metadata.resource_version;
                context.metrics.wrote(KIND, "replace");
                self.api.replace(name, &params, &next).await?;
            }
            Some(_) => {}
        }
        self.left.insert(name.to_owned(), planned.clone());
        if let Some(drift) = drift {
            report(&drift, planned, context).await;
        }
        Ok(())
    }

    async fn take_away(
        &mut self,
        name: &str,
        found: &FlowSchema,
        context: &Context,
    ) -> Result<(), kube::Error> {
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: found.metadata.uid.clone(),
            resource_version: None,
        });
        context.metrics.wrote(KIND, "delete");
        self.left.remove(name);
        match self.api.delete(name, &params).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// What somebody else did to one since this process left it.
    async fn drift(&self, name: &str, live: Option<&FlowSchema>, context: &Context) -> Option<Drift> {
        let left = self.left.get(name)?;
        let paths = live.map_or_else(|| vec![DELETED.to_owned()], |it| difference(left, it));
        if paths.is_empty() {
            return None;
        }
        let resource = ApiResource::erase::<FlowSchema>(&());
        let manager = match live {
            Some(_) => context.managers.last(&resource, None, name).await,
            None => None,
        };
        Some(Drift {
            kind: KIND,
            object: name.to_owned(),
            paths,
            manager: author(manager, true)?,
        })
    }
}

/// Tells, at the Tenant, what was put back.
async fn report(drift: &Drift, planned: &FlowSchema, context: &Context) {
    drift.tell(&context.metrics);
    let tenant = planned.labels().get(labels::TENANT);
    let tenants = context.observed.tenants();
    let Some(tenant) = tenants.iter().find(|it| it.metadata.name.as_ref() == tenant) else {
        return;
    };
    let published = context
        .recorder
        .publish(&drift.event(), &tenant.object_ref(&()))
        .await;
    if let Err(error) = published {
        tracing::warn!(%error, "An event was not recorded");
    }
}

//! What a Tenant leaves behind when it goes without its finalizer: access is taken away, isolation is kept.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_core::plan::Kind;

use crate::context::Context;
use crate::observe::ManagedObject;

/// How long changes are gathered before it is looked for what was left behind.
const GATHER: Duration = Duration::from_millis(100);
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Closes the namespaces of Tenants that are gone, for ever.
///
/// # Errors
/// When the stores end.
pub(crate) async fn close(context: Arc<Context>) -> anyhow::Result<()> {
    let mut changes = context.observed.changes();
    context.observed.synced().await?;
    loop {
        let mut failed = false;
        for door in doors(&context) {
            let ManagedObject { namespace, name, .. } = &door;
            tracing::warn!(
                namespace,
                name,
                "A RoleBinding of a Tenant that is gone is removed"
            );
            if let Err(error) = context.applier.delete(&door).await {
                tracing::error!(%error, "A RoleBinding of a Tenant that is gone was not removed");
                failed = true;
            }
        }
        if failed {
            tokio::time::sleep(RETRY).await;
            continue;
        }
        let _ = changes.recv().await;
        tokio::time::sleep(GATHER).await;
        changes = changes.resubscribe();
    }
}

fn doors(context: &Context) -> Vec<ManagedObject> {
    let snapshot = context.observed.ownership(context.config.clone());
    let namespaces: BTreeSet<&str> = snapshot.left_behind();
    let kinds = Kind::ALL.into_iter().filter(|it| it.is_door());
    kinds
        .flat_map(|it| context.observed.managed_in(it, &namespaces))
        .collect()
}

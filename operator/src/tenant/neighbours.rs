//! Wakes a Tenant when another one gets in its way, or out of it.

use std::sync::Arc;
use std::time::Duration;

use bailiwick_core::config::Config;
use bailiwick_core::neighbours::{Conflicts, changed, conflicts};
use bailiwick_core::stored::StoredTenant;
use futures::stream::{self, Stream, StreamExt as _};
use kube::runtime::reflector::ObjectRef;

use crate::observe::Observed;

/// How long changes are gathered before all Tenants are compared.
const GATHER: Duration = Duration::from_millis(100);

/// The Tenants whose conflicts with others have changed, as they do.
pub(super) fn disturbed(
    observed: Observed,
    config: Arc<Config>,
) -> impl Stream<Item = ObjectRef<StoredTenant>> + Send + 'static {
    let begin = (observed.changes(), Conflicts::new());
    let rounds = stream::unfold(begin, move |(mut changes, before)| {
        let (observed, config) = (observed.clone(), config.clone());
        async move {
            observed.synced().await.ok()?;
            let _ = changes.recv().await;
            tokio::time::sleep(GATHER).await;
            let changes = changes.resubscribe();
            let now = conflicts(&observed.ownership(config));
            let woken: Vec<_> = changed(&before, &now).into_iter().map(ObjectRef::new).collect();
            Some((stream::iter(woken), (changes, now)))
        }
    });
    rounds.flatten()
}

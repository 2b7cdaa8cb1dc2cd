//! Loads policies beside the loop that feeds the snapshot: compiling takes time that other parts don't have.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use bailiwick_core::policy::orders::StoredPolicy;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::runtime::reflector::Store;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Notify, oneshot};

use super::shelf::{Loaded, Shelf};

/// Loads policies, one load at a time.
#[derive(Default)]
pub(crate) struct Loader {
    shelf: Arc<Mutex<Shelf>>,
    loading: Option<oneshot::Receiver<Loaded>>,
}

impl Loader {
    pub(crate) fn is_busy(&self) -> bool {
        self.loading.is_some()
    }

    /// Begins to load. `changed` wakes when there is something to take.
    pub(crate) fn load(
        &mut self,
        policies: &Store<StoredPolicy>,
        revisions: &Store<ControllerRevision>,
        changed: &Arc<Notify>,
    ) {
        let (policies, revisions) = (policies.state(), revisions.state());
        let (place, changed) = (self.shelf.clone(), changed.clone());
        let (done, loading) = oneshot::channel();
        self.loading = Some(loading);
        tokio::task::spawn_blocking(move || {
            let loaded = place
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .load(&policies, &revisions);
            for (revision, reason) in &loaded.failed {
                tracing::error!(revision, reason, "A revision of a policy can't be loaded");
            }
            // Only the end of the process keeps anybody from waiting for it.
            let _ = done.send(loaded);
            changed.notify_one();
        });
    }

    /// What was loaded, if it is done.
    ///
    /// # Errors
    /// When the load broke off, which is a bug: what serves is not what should.
    pub(crate) fn take(&mut self) -> anyhow::Result<Option<Arc<Loaded>>> {
        let Some(loading) = &mut self.loading else {
            return Ok(None);
        };
        match loading.try_recv() {
            Ok(loaded) => {
                self.loading = None;
                Ok(Some(Arc::new(loaded)))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Closed) => anyhow::bail!("the load of the policies broke off"),
        }
    }

    /// What was loaded, when it is done.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(crate) async fn wait(&mut self) -> anyhow::Result<Option<Arc<Loaded>>> {
        match self.loading.take() {
            Some(loading) => Ok(Some(Arc::new(
                loading.await.context("the load of the policies broke off")?,
            ))),
            None => Ok(None),
        }
    }
}

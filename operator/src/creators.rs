//! Keeps the one ClusterRoleBinding of Bailiwick: who may create namespaces by self-service.
//!
//! Nobody is added before the native policies know whose they are, and whoever is no longer an owner is taken out before the
//! policies forget it.

use std::collections::BTreeSet;

use bailiwick_core::plan::creators::{binding, creators, difference};
use bailiwick_core::snapshot::Snapshot;
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::Subject;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{ApiResource, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource as _};

use crate::context::Context;
use crate::drift::{DELETED, Drift, author};

const KIND: &str = "ClusterRoleBinding";

/// The one writer of the binding.
pub(crate) struct Creators {
    api: Api<ClusterRoleBinding>,
    /// Whom this process left in it: a difference from that was made by somebody else.
    left: Option<BTreeSet<Subject>>,
}

impl Creators {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            api: Api::all(client),
            left: None,
        }
    }

    /// Takes out whoever may create namespaces no longer.
    pub(crate) async fn narrow(&mut self, snapshot: &Snapshot, context: &Context) -> Result<(), kube::Error> {
        let Some(left) = self.left.clone() else {
            return Ok(());
        };
        let wanted = creators(snapshot);
        if left.is_subset(&wanted) {
            return Ok(());
        }
        self.bring(left.intersection(&wanted).cloned().collect(), context)
            .await
    }

    /// Lets in whoever may, and puts back what somebody else did.
    pub(crate) async fn settle(&mut self, snapshot: &Snapshot, context: &Context) -> Result<(), kube::Error> {
        self.bring(creators(snapshot), context).await
    }

    async fn bring(&mut self, wanted: BTreeSet<Subject>, context: &Context) -> Result<(), kube::Error> {
        let planned = binding(&wanted);
        if self.left.as_ref() == Some(&wanted)
            && is_so(planned.as_ref(), context.observed.creators().as_deref())
        {
            return Ok(());
        }
        // The watch may be behind our own write.
        let live = self.api.get_opt(labels::CREATORS).await?;
        let drift = self.drift(live.as_ref(), context).await;
        if !is_so(planned.as_ref(), live.as_ref()) {
            self.write(planned, live, context).await?;
        }
        self.left = Some(wanted);
        if let Some(drift) = drift {
            self.report(&drift, context).await;
        }
        Ok(())
    }

    async fn write(
        &self,
        planned: Option<ClusterRoleBinding>,
        live: Option<ClusterRoleBinding>,
        context: &Context,
    ) -> Result<(), kube::Error> {
        let is_another = |live: &ClusterRoleBinding| {
            // A roleRef can't be changed.
            planned.as_ref().is_none_or(|it| it.role_ref != live.role_ref)
        };
        let mut kept = live;
        if let Some(other) = kept.take_if(|it| is_another(it)) {
            let params = DeleteParams::default().preconditions(Preconditions {
                uid: other.metadata.uid,
                resource_version: other.metadata.resource_version,
            });
            context.metrics.wrote(KIND, "delete");
            self.api.delete(labels::CREATORS, &params).await?;
        }
        let Some(mut planned) = planned else {
            return Ok(());
        };
        if let Some(kept) = kept {
            planned.metadata.resource_version = kept.metadata.resource_version;
            let params = PostParams {
                field_manager: Some(labels::OPERATOR.to_owned()),
                ..PostParams::default()
            };
            context.metrics.wrote(KIND, "replace");
            self.api.replace(labels::CREATORS, &params, &planned).await?;
        } else {
            // By apply, because RBAC can name what is created so, and can't name what is posted.
            let params = PatchParams::apply(labels::OPERATOR).force();
            context.metrics.wrote(KIND, "apply");
            let apply = Patch::Apply(&planned);
            self.api.patch(labels::CREATORS, &params, &apply).await?;
        }
        Ok(())
    }

    /// What somebody else did to it since this process left it.
    async fn drift(&self, live: Option<&ClusterRoleBinding>, context: &Context) -> Option<Drift> {
        let left = binding(self.left.as_ref()?);
        let paths = match (&left, live) {
            (None, None) => return None,
            (Some(_), None) => vec![DELETED.to_owned()],
            (None, Some(_)) => vec!["subjects".to_owned()],
            (Some(left), Some(live)) => difference(left, live).into_iter().map(str::to_owned).collect(),
        };
        if paths.is_empty() {
            return None;
        }
        let resource = ApiResource::erase::<ClusterRoleBinding>(&());
        let manager = match live {
            Some(_) => context.managers.last(&resource, None, labels::CREATORS).await,
            None => None,
        };
        Some(Drift {
            kind: KIND,
            object: labels::CREATORS.to_owned(),
            paths,
            manager: author(manager, true)?,
        })
    }

    /// Tells, at the binding itself, what was put back.
    async fn report(&self, drift: &Drift, context: &Context) {
        drift.tell(&context.metrics);
        let published = match self.api.get_opt(labels::CREATORS).await {
            Ok(Some(it)) => {
                context
                    .recorder
                    .publish(&drift.event(), &it.object_ref(&()))
                    .await
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = published {
            tracing::warn!(%error, "An event was not recorded");
        }
    }
}

/// Whether the binding is as it is to be.
fn is_so(planned: Option<&ClusterRoleBinding>, found: Option<&ClusterRoleBinding>) -> bool {
    match (planned, found) {
        (None, None) => true,
        (Some(planned), Some(found)) => difference(planned, found).is_empty(),
        _ => false,
    }
}

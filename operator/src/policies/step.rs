//! One policy, one step: the revision is kept, the status says what follows, what is kept too long goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bailiwick_core::policy::StoredRevision;
use bailiwick_core::policy::life::{self, Approval, Kept, UnknownKinds, View};
use bailiwick_core::policy::report::Report;
use bailiwick_core::policy::trial::Failed;
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{PolicyConditionType, PolicyError, TenantPolicy, TenantPolicyStatus};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::json;

use super::trials::Head;
use crate::context::Context;

pub(super) struct Step<'a> {
    pub(super) policy: Arc<TenantPolicy>,
    pub(super) head: Head,
    pub(super) revisions: &'a BTreeMap<String, Kept>,
    pub(super) approvals: &'a [Approval],
    pub(super) replicas: &'a BTreeMap<String, Report>,
    pub(super) unknown_kinds: Option<&'a UnknownKinds>,
    pub(super) namespace: &'a str,
}

/// What a step came to.
pub(super) struct Done {
    /// The version of the policy that was written, if it was.
    pub(super) written: Option<u64>,
    /// Whether every webhook serves the policy as it is written.
    pub(super) is_served: bool,
    /// Whether it did not before.
    pub(super) is_news: bool,
}

impl Step<'_> {
    pub(super) async fn take(&self, context: &Context) -> Result<Done, kube::Error> {
        let before = self.policy.status.clone().unwrap_or_default();
        let mut revisions = self.revisions.clone();
        let mut refused = None;
        let kept = self
            .head
            .as_ref()
            .as_ref()
            .ok()
            .map(|it| revisions.get(it.name()));
        if let Ok(stored) = self.head.as_ref()
            && let Some(Some(other)) = kept
            && other.stored.digest != stored.digest
        {
            refused = Some(same_name(stored));
        }
        if let (Ok(stored), Some(None)) = (self.head.as_ref(), kept) {
            match self.store(stored, context).await {
                Ok(kept) if kept.stored.digest != stored.digest => refused = Some(same_name(stored)),
                Ok(kept) => {
                    revisions.insert(stored.name().to_owned(), kept);
                }
                // Too large, or not to the API server's taste: it will not be otherwise the next time.
                Err(kube::Error::Api(status)) if matches!(status.code, 400 | 413 | 422) => {
                    refused = Some(Failed::Invalid(vec![PolicyError {
                        field: "spec".to_owned(),
                        message: format!("the API server refuses the revision: {}", status.message),
                        ..PolicyError::default()
                    }]));
                }
                Err(error) => return Err(error),
            }
        }
        let head = match (&refused, self.head.as_ref()) {
            (Some(failed), _) | (None, Err(failed)) => Err(failed),
            (None, Ok(stored)) => Ok(stored.name()),
        };
        let status = life::next(&View {
            generation: self.policy.metadata.generation.unwrap_or_default(),
            spec: &self.policy.spec,
            head,
            status: &before,
            revisions: &revisions,
            approvals: self.approvals,
            changed_by: self
                .policy
                .annotations()
                .get(labels::CHANGED_BY)
                .map(String::as_str),
            replicas: self.replicas,
            unknown_kinds: self.unknown_kinds,
            now: &Time(Timestamp::now()),
        });
        let mut written = None;
        if status != before {
            written = self.write(&status, context).await?;
            self.announce(&before, &status, context).await;
        }
        let name = self.policy.name_any();
        for revision in life::expired(&self.policy.spec, head.ok(), &status, &revisions) {
            delete(&name, &revision, self.namespace, context).await;
        }
        let is_served = is_ready(&status);
        Ok(Done {
            written,
            is_served,
            is_news: is_served
                && (!is_ready(&before) || before.observed_generation != status.observed_generation),
        })
    }

    /// Keeps a revision. One that is there already is the same: its name is its digest's.
    async fn store(&self, stored: &StoredRevision, context: &Context) -> Result<Kept, kube::Error> {
        let last = self.revisions.values().map(|it| it.number).max().unwrap_or(0);
        let number = last.saturating_add(1);
        let revision = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(stored.object_name()),
                labels: Some(
                    [
                        (labels::POLICY.to_owned(), stored.policy.clone()),
                        (labels::POLICY_REVISION.to_owned(), stored.name().to_owned()),
                    ]
                    .into(),
                ),
                ..ObjectMeta::default()
            },
            data: RawExtension(json!(stored)),
            revision: Some(number),
        };
        let revisions: Api<ControllerRevision> = Api::namespaced(context.client.clone(), self.namespace);
        context.metrics.wrote("ControllerRevision", "create");
        let created = match revisions.create(&PostParams::default(), &revision).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                revisions.get(&stored.object_name()).await?
            }
            other => other?,
        };
        // One that was there already and can't be read is none of ours: its digest is another.
        let kept = StoredRevision::read(&created.data.0).unwrap_or_else(|_| StoredRevision {
            digest: String::new(),
            ..stored.clone()
        });
        Ok(Kept {
            stored: Arc::new(kept),
            number: created.revision.unwrap_or(number),
            created: created.metadata.creation_timestamp,
        })
    }

    async fn write(
        &self,
        status: &TenantPolicyStatus,
        context: &Context,
    ) -> Result<Option<u64>, kube::Error> {
        let name = self.policy.name_any();
        let policies: Api<TenantPolicy> = Api::all(context.client.clone());
        let applied = json!({
            "apiVersion": TenantPolicy::api_version(&()),
            "kind": TenantPolicy::kind(&()),
            "metadata": {"name": name, "uid": self.policy.metadata.uid},
            "status": status,
        });
        context.metrics.wrote("TenantPolicy", "status");
        let params = PatchParams::apply(labels::OPERATOR).force();
        let written = policies
            .patch_status(&name, &params, &Patch::Apply(&applied))
            .await;
        match written {
            Ok(it) => Ok(it.resource_version().and_then(|it| it.parse().ok())),
            // It is gone, or another one of its name.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells what happened, at the policy itself.
    async fn announce(&self, before: &TenantPolicyStatus, after: &TenantPolicyStatus, context: &Context) {
        let mut events = Vec::new();
        if before.active_revision != after.active_revision
            && let Some(active) = &after.active_revision
        {
            events.push((
                EventType::Normal,
                "Activated",
                format!("revision {active} decides now"),
            ));
        }
        if before.halted != after.halted
            && let Some(halted) = &after.halted
        {
            let note = format!("revision {} was taken back: {}", halted.revision, halted.message);
            events.push((EventType::Warning, "Halted", note));
        }
        if before.errors != after.errors
            && let Some(error) = after.errors.first()
        {
            let note = format!("{}: {}", error.field, error.message);
            events.push((EventType::Warning, "Rejected", note));
        }
        for (type_, reason, note) in events {
            tracing::info!(policy = self.policy.name_any(), reason, note, "A policy went on");
            let event = Event {
                type_,
                reason: reason.to_owned(),
                note: Some(note.chars().take(1000).collect()),
                action: "Reconcile".to_owned(),
                secondary: None,
            };
            if let Err(error) = context
                .recorder
                .publish(&event, &self.policy.object_ref(&()))
                .await
            {
                tracing::warn!(%error, "An event was not recorded");
            }
        }
    }
}

/// Another revision has the name of this one: a digest is longer than a name.
fn same_name(stored: &StoredRevision) -> Failed {
    Failed::Invalid(vec![PolicyError {
        field: "spec".to_owned(),
        message: format!(
            "another revision is kept as {}; change anything, such as a comment, to get another name",
            stored.object_name()
        ),
        ..PolicyError::default()
    }])
}

fn is_ready(status: &TenantPolicyStatus) -> bool {
    let ready = PolicyConditionType::Ready.to_string();
    status
        .conditions
        .iter()
        .any(|it| it.type_ == ready && it.status == "True")
}

/// Deletes a revision that nobody needs.
pub(super) async fn delete(policy: &str, revision: &str, namespace: &str, context: &Context) {
    let revisions: Api<ControllerRevision> = Api::namespaced(context.client.clone(), namespace);
    let name = format!("{policy}-{revision}");
    context.metrics.wrote("ControllerRevision", "delete");
    match revisions.delete(&name, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => tracing::warn!(%error, revision = name, "A revision was not deleted"),
    }
}

//! A TenantPolicy as the API server holds it, read for what the webhooks are to do.
//!
//! Another version may have stored what this one can't read. What counts is the operator's word in the status; the rest
//! is read as far as it goes, so that a policy is never dropped because of a field that nobody needs here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bailiwick_crds::v1alpha1::{CandidateStage, RevisionStatus, TenantPolicy, TenantPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A policy and what the webhooks are to do with it.
#[derive(Clone, Debug, Default)]
pub struct StoredPolicy {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its spec; nothing where this version can't read it.
    pub spec: Arc<TenantPolicySpec>,
    /// What is to be done.
    pub orders: Orders,
}

/// What the status tells the webhooks to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// The revision that decides.
    pub active: Option<String>,
    /// The candidate, what it does, and for how many percent of the namespaces.
    pub candidate: Option<(String, Option<CandidateStage>, i32)>,
    /// Who approved which revision.
    pub approved_by: BTreeMap<String, Vec<String>>,
}

impl<'de> Deserialize<'de> for StoredPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw {
            #[serde(default)]
            metadata: ObjectMeta,
            #[serde(default)]
            spec: Value,
            #[serde(default)]
            status: Value,
        }
        let raw = Raw::deserialize(deserializer)?;
        let text = |key: &str| raw.status.get(key).and_then(Value::as_str).map(str::to_owned);
        let stage = raw.status.get("candidateStage").cloned().unwrap_or_default();
        let percent = raw
            .status
            .get("candidatePercent")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        let revisions = raw.status.get("revisions").and_then(Value::as_array);
        let approved_by = revisions.into_iter().flatten().filter_map(|it| {
            let revision = RevisionStatus::deserialize(it).ok()?;
            (!revision.approved_by.is_empty()).then_some((revision.name, revision.approved_by))
        });
        Ok(Self {
            metadata: raw.metadata,
            spec: Arc::new(serde_json::from_value(raw.spec).unwrap_or_default()),
            orders: Orders {
                active: text("activeRevision"),
                candidate: text("candidateRevision").map(|it| {
                    let stage = serde_json::from_value(stage).ok();
                    (it, stage, i32::try_from(percent).unwrap_or(0))
                }),
                approved_by: approved_by.collect(),
            },
        })
    }
}

impl Resource for StoredPolicy {
    type DynamicType = ();
    type Scope = <TenantPolicy as Resource>::Scope;

    fn kind(dt: &()) -> Cow<'_, str> {
        TenantPolicy::kind(dt)
    }

    fn group(dt: &()) -> Cow<'_, str> {
        TenantPolicy::group(dt)
    }

    fn version(dt: &()) -> Cow<'_, str> {
        TenantPolicy::version(dt)
    }

    fn plural(dt: &()) -> Cow<'_, str> {
        TenantPolicy::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_another_version_wrote_still_tells_what_serves() {
        let policy: StoredPolicy = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"tenants": 7},
            "status": {
                "activeRevision": "a", "candidateRevision": "b", "candidateStage": "Tentative",
                "revisions": [{"name": "a", "number": 1, "author": "x", "approvedBy": ["y"]}, {"name": 7}], "conditions": 1,
            },
        }))
        .unwrap();
        assert_eq!(policy.orders.active.as_deref(), Some("a"));
        assert_eq!(policy.orders.candidate, Some(("b".to_owned(), None, 0)));
        assert_eq!(policy.orders.approved_by["a"], ["y"]);
        assert_eq!(*policy.spec, TenantPolicySpec::default());
        let bare: StoredPolicy = serde_json::from_value(json!({"metadata": {"name": "p"}})).unwrap();
        assert_eq!(bare.orders, Orders::default());
    }
}

//! The only writer of what is in tenants' namespaces, and of the Namespaces themselves.
//!
//! It decides nothing: it brings the cluster to a plan and tells what it had to put back. Objects are written by
//! server-side apply; what that can't undo (somebody's extra members, an immutable roleRef) is replaced whole,
//! or deleted and made anew.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bailiwick_core::plan::diff::{self, NamespaceDiff};
use bailiwick_core::plan::{Kind, NamespacePlan, Object};
use bailiwick_crds::labels;
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams, Preconditions,
};
use kube::{Api, Client};
use serde_json::{Value, json};

pub(crate) use crate::drift::Drift;
use crate::drift::{DELETED, Managers, UNKNOWN, author};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::observe::ManagedObject;
use crate::written::Written;

/// The writer.
pub(crate) struct Applier {
    client: Client,
    managers: Managers,
    metrics: Metrics,
    /// What was written last, by hash: a difference from it was made by somebody else.
    written: Written,
}

/// Whether a pass before this one finished with the same spec: a difference is then somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum History {
    /// The Tenant was carried out as it is now.
    Settled,
    /// It is new, or its spec changed.
    Unsettled,
}

/// How a write went that was meant for one version of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exact {
    /// It is as it was meant to be.
    Written,
    /// Somebody else wrote first: nothing happened.
    Overtaken,
}

impl Applier {
    pub(crate) fn new(client: Client, managers: Managers, metrics: Metrics) -> Self {
        Self {
            client,
            managers,
            metrics,
            written: Written::default(),
        }
    }

    fn api(&self, kind: Kind, namespace: &str) -> (Api<DynamicObject>, ApiResource) {
        let resource = match kind {
            Kind::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Kind::ResourceQuota => ApiResource::erase::<ResourceQuota>(&()),
            Kind::LimitRange => ApiResource::erase::<LimitRange>(&()),
            Kind::RoleBinding => ApiResource::erase::<RoleBinding>(&()),
        };
        (
            Api::namespaced_with(self.client.clone(), namespace, &resource),
            resource,
        )
    }

    /// Brings one object to its plan. `cached` is the object as the watches last told of it.
    pub(crate) async fn ensure(
        &self,
        object: &Object,
        cached: Option<Value>,
        history: History,
    ) -> Result<Option<Drift>, Error> {
        let kind = object.kind();
        let namespace = object.metadata().namespace.clone().unwrap_or_default();
        let name = object.name().to_owned();
        let planned = object.to_value();
        let key = (kind, namespace.clone(), name.clone());
        let hash = hash(&planned);
        let mut paths = difference(kind, &planned, cached.as_ref());
        if paths.is_empty() {
            self.written.remember(key, hash);
            return Ok(None);
        }
        let shown = format!("{} {namespace}/{name}", kind.as_str());
        let (api, resource) = self.api(kind, &namespace);
        let is_known = self.written.recall(&key) == Some(hash);
        if is_known {
            // The watches may be behind our own write.
            let live = api
                .get_opt(&name)
                .await
                .map_err(Error::request("reading", &shown))?;
            let live = live.and_then(|it| serde_json::to_value(it).ok());
            paths = difference(kind, &planned, live.as_ref());
            if paths.is_empty() {
                return Ok(None);
            }
        }
        let is_drift = is_known || history == History::Settled;
        let drift = if is_drift {
            let is_gone = paths.first().is_some_and(|it| it == DELETED);
            let manager = if is_gone {
                None
            } else {
                self.managers.last(&resource, Some(&namespace), &name).await
            };
            author(manager, is_known).map(|manager| Drift {
                kind: kind.as_str(),
                object: format!("{namespace}/{name}"),
                paths,
                manager,
            })
        } else {
            None
        };
        self.write(&api, kind, &name, &planned, &shown).await?;
        self.written.remember(key, hash);
        if let Some(drift) = &drift {
            self.metrics.drifted(drift.kind, &drift.manager);
        }
        Ok(drift)
    }

    async fn write(
        &self,
        api: &Api<DynamicObject>,
        kind: Kind,
        name: &str,
        planned: &Value,
        shown: &str,
    ) -> Result<(), Error> {
        let params = PatchParams::apply(labels::OPERATOR).force().validation_strict();
        self.metrics.wrote(kind.as_str(), "apply");
        let applied = match api.patch(name, &params, &Patch::Apply(planned)).await {
            // A roleRef can't be changed, by design of RBAC: another roleRef is another binding.
            Err(kube::Error::Api(status)) if status.is_invalid() && kind == Kind::RoleBinding => {
                self.metrics.wrote(kind.as_str(), "delete");
                let deleted = api.delete(name, &DeleteParams::default()).await;
                deleted.map_err(Error::request("deleting", shown))?;
                api.patch(name, &params, &Patch::Apply(planned)).await
            }
            other => other,
        };
        let applied = applied.map_err(Error::request("applying", shown))?;
        let version = applied.metadata.resource_version.clone();
        let left = serde_json::to_value(&applied).unwrap_or_default();
        if difference(kind, planned, Some(&left)).is_empty() {
            return Ok(());
        }
        // Somebody else owns members that are not in the plan: server-side apply leaves those alone.
        let mut whole = planned.clone();
        if let Some(metadata) = whole.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), json!(version));
        }
        let whole: DynamicObject = serde_json::from_value(whole)
            .map_err(|error| Error::request("replacing", shown)(kube::Error::SerdeError(error)))?;
        let params = PostParams {
            field_manager: Some(labels::OPERATOR.to_owned()),
            ..PostParams::default()
        };
        self.metrics.wrote(kind.as_str(), "replace");
        api.replace(name, &params, &whole)
            .await
            .map_err(Error::request("replacing", shown))?;
        Ok(())
    }

    /// Writes the whole of an object, if it is still the `version` that was looked at; none is one that isn't there.
    pub(crate) async fn exact(&self, object: &Object, version: Option<String>) -> Result<Exact, Error> {
        let kind = object.kind();
        let namespace = object.metadata().namespace.clone().unwrap_or_default();
        let shown = format!("{} {namespace}/{}", kind.as_str(), object.name());
        let (act, verb) = match version {
            None => ("creating", "create"),
            Some(_) => ("replacing", "replace"),
        };
        let mut whole = object.to_value();
        if let Some(metadata) = whole.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), json!(version));
        }
        let whole: DynamicObject = serde_json::from_value(whole)
            .map_err(|error| Error::request(act, &shown)(kube::Error::SerdeError(error)))?;
        let params = PostParams {
            field_manager: Some(labels::OPERATOR.to_owned()),
            ..PostParams::default()
        };
        let (api, _) = self.api(kind, &namespace);
        self.metrics.wrote(kind.as_str(), verb);
        let written = match version {
            None => api.create(&params, &whole).await,
            Some(_) => api.replace(object.name(), &params, &whole).await,
        };
        match written {
            Ok(_) => Ok(Exact::Written),
            // A conflict; it is there already; it is gone.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Exact::Overtaken),
            Err(error) => Err(Error::request(act, shown)(error)),
        }
    }

    /// Deletes a managed object that no plan holds.
    pub(crate) async fn delete(&self, object: &ManagedObject) -> Result<(), Error> {
        let ManagedObject {
            kind,
            namespace,
            name,
            uid,
        } = object;
        let (api, _) = self.api(*kind, namespace);
        let shown = format!("{} {namespace}/{name}", kind.as_str());
        self.written.forget(&(*kind, namespace.clone(), name.clone()));
        self.metrics.wrote(kind.as_str(), "delete");
        gone(api.delete(name, &only(uid)).await).map_err(Error::request("deleting", shown))
    }

    /// Creates a Namespace that does not exist, with the labels that are never dropped and the UID of the Tenant
    /// that it is made for. Never takes one that somebody else made meanwhile.
    pub(crate) async fn create_namespace(
        &self,
        name: &str,
        plan: &NamespacePlan,
        tenant_uid: &str,
    ) -> Result<Namespace, Error> {
        let guarded = plan.labels.iter().filter(|(key, _)| labels::is_guarded(key));
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(guarded.map(|(key, value)| (key.clone(), value.clone())).collect()),
                annotations: Some([(labels::TENANT_UID.to_owned(), tenant_uid.to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let params = PostParams {
            field_manager: Some(labels::OPERATOR.to_owned()),
            ..PostParams::default()
        };
        self.metrics.wrote("Namespace", "create");
        let created = self.namespaces().create(&params, &namespace).await;
        created.map_err(Error::request("creating", format!("Namespace {name}")))
    }

    /// Brings a Namespace's labels to their plan.
    pub(crate) async fn label_namespace(
        &self,
        name: &str,
        uid: &str,
        plan: &NamespacePlan,
        diff: &NamespaceDiff,
    ) -> Result<(), Error> {
        let shown = format!("Namespace {name}");
        let applied = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "uid": uid, "labels": plan.labels},
        });
        let params = PatchParams::apply(labels::OPERATOR).force();
        self.metrics.wrote("Namespace", "apply");
        let patched = self
            .namespaces()
            .patch(name, &params, &Patch::Apply(&applied))
            .await;
        patched.map_err(Error::request("applying", &shown))?;
        if diff.remove.is_empty() && !diff.remove_owner_references {
            return Ok(());
        }
        let removed: HashMap<&String, Value> = diff.remove.iter().map(|it| (it, Value::Null)).collect();
        let mut merge = json!({"metadata": {"uid": uid, "labels": removed}});
        if diff.remove_owner_references {
            merge["metadata"]["ownerReferences"] = Value::Null;
        }
        let params = PatchParams {
            field_manager: Some(labels::OPERATOR.to_owned()),
            ..PatchParams::default()
        };
        self.metrics.wrote("Namespace", "patch");
        let patched = self
            .namespaces()
            .patch(name, &params, &Patch::Merge(&merge))
            .await;
        patched.map(|_| ()).map_err(Error::request("patching", shown))
    }

    /// Deletes a Namespace, if it is still the one that was meant.
    pub(crate) async fn delete_namespace(&self, name: &str, uid: &str) -> Result<(), Error> {
        self.metrics.wrote("Namespace", "delete");
        gone(self.namespaces().delete(name, &only(uid)).await)
            .map_err(Error::request("deleting", format!("Namespace {name}")))
    }

    /// Who wrote a Namespace last.
    pub(crate) async fn namespace_manager(&self, name: &str) -> String {
        let manager = self
            .managers
            .last(&ApiResource::erase::<Namespace>(&()), None, name)
            .await;
        manager.unwrap_or_else(|| UNKNOWN.to_owned())
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }

    /// Forgets what was written in these namespaces, which are gone.
    pub(crate) fn forget_namespaces(&self, gone: &BTreeSet<&str>) {
        self.written.forget_namespaces(gone);
    }
}

fn difference(kind: Kind, planned: &Value, observed: Option<&Value>) -> Vec<String> {
    observed.map_or_else(|| vec![DELETED.to_owned()], |it| diff::object(kind, planned, it))
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

/// Deletes this object only, not one of the same name that came after it.
fn only(uid: &str) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    })
}

/// What is gone already needs no deletion.
fn gone<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

//! The requests that applying a manifest comes to.
//!
//! A manifest is created. Where the cluster has the object already (Kubernetes' own role, the operator's objects) it
//! is the update that `kubectl apply` makes of it: what the manifest doesn't mention stays. A Namespace may come
//! before its Tenant or after, so it is judged as both.

use std::borrow::Cow;

use bailiwick_core::identity::{Space, Subject};
use bailiwick_core::placement::{Placed, fill};
use bailiwick_core::review::{self, Operation};
use bailiwick_core::self_service;
use bailiwick_crds::labels;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::check::cluster::{Cluster, to_json};
use crate::check::kinds;
use crate::check::manifest::Manifest;

/// Neither the operator nor a tenant's: no Tenant may claim a name that begins with `system:`.
const NOBODY: &str = "system:bailiwick-check";

/// A request about a manifest.
#[derive(Debug)]
pub struct Request {
    /// The object as it would become.
    pub object: Value,
    /// Where it is in the manifest; empty for the whole.
    pub prefix: String,
    group: String,
    version: String,
    kind: String,
    resource: String,
    name: String,
    namespace: String,
    new: Option<Box<RawValue>>,
    old: Option<Box<RawValue>>,
    who: Who,
}

/// Who sends a request.
#[derive(Clone, Debug)]
struct Who {
    user: String,
    groups: Option<Vec<String>>,
}

impl Who {
    fn nobody() -> Self {
        Self {
            user: NOBODY.to_owned(),
            groups: None,
        }
    }

    /// Who creates a Namespace isn't in the file. One with a tenant's label is made by an owner, if that tenant's owners may make
    /// any, or by nobody.
    fn of_namespace(object: &Value, cluster: &Cluster) -> Self {
        let owner = || {
            let tenant = object
                .pointer("/metadata/labels")?
                .get(labels::TENANT)?
                .as_str()?;
            let tenant = cluster.snapshot.tenants.by_name.get(tenant)?;
            self_service::open(tenant)?;
            let (space, name) = Subject::from(tenant.spec.owners.first()?).name();
            Some(match space {
                Space::User => Self {
                    user: name.into_owned(),
                    groups: None,
                },
                Space::Group => Self {
                    groups: Some(vec![name.into_owned()]),
                    ..Self::nobody()
                },
            })
        };
        owner().unwrap_or_else(Self::nobody)
    }
}

/// All requests about a manifest.
pub fn requests(manifest: &Manifest, cluster: &Cluster) -> Vec<Request> {
    let Some(judged) = manifest.judged else {
        return vec![other(manifest)];
    };
    if !judged.template.is_empty() {
        return vec![pod(manifest, judged.template, cluster), other(manifest)];
    }
    let mut object = to_json(manifest);
    if judged.resource == "pods" {
        stamp(&mut object, manifest, cluster);
        if let (true, Some(Value::Object(spec))) =
            (object.pointer("/metadata/uid").is_some(), object.get_mut("spec"))
        {
            // The scheduler's choice.
            spec.remove("nodeName");
        }
    }
    let mut requests = Vec::new();
    let existing = cluster.existing(&manifest.id);
    if existing.is_none() || judged.kind == "Namespace" {
        requests.push(Request::new(manifest, object.clone(), None));
    }
    if let Some(existing) = existing {
        let applied = apply(existing.clone(), object);
        requests.push(Request::new(manifest, applied, Some(existing)));
    }
    if judged.kind == "Namespace" {
        for request in &mut requests {
            request.who = Who::of_namespace(&request.object, cluster);
        }
    }
    requests
}

impl Request {
    fn new(manifest: &Manifest, object: Value, old: Option<&Value>) -> Self {
        let id = &manifest.id;
        Self {
            prefix: String::new(),
            group: id.group.clone(),
            version: id.version.clone(),
            kind: id.kind.clone(),
            resource: manifest
                .judged
                .map(|it| it.resource.to_owned())
                .unwrap_or_default(),
            name: if id.is_exact() {
                id.name.clone()
            } else {
                String::new()
            },
            namespace: id.namespace.clone().unwrap_or_else(|| match id.kind.as_str() {
                // The API server says of a request about a Namespace that it is in it.
                "Namespace" if id.group.is_empty() && id.is_exact() => id.name.clone(),
                _ => String::new(),
            }),
            new: raw(&object),
            old: old.and_then(raw),
            who: Who::nobody(),
            object,
        }
    }

    /// The request as a decision takes it.
    pub fn admission(&self) -> review::Request<'_> {
        review::Request {
            uid: Cow::Borrowed("check"),
            kind: review::Kind {
                group: Cow::Borrowed(&self.group),
                version: Cow::Borrowed(&self.version),
                kind: Cow::Borrowed(&self.kind),
            },
            resource: review::Resource {
                group: Cow::Borrowed(&self.group),
                version: Cow::Borrowed(&self.version),
                resource: Cow::Borrowed(&self.resource),
            },
            sub_resource: None,
            name: Cow::Borrowed(&self.name),
            namespace: Cow::Borrowed(&self.namespace),
            operation: if self.old.is_some() {
                Operation::Update
            } else {
                Operation::Create
            },
            user_info: review::UserInfo {
                username: Cow::Borrowed(&self.who.user),
                groups: self
                    .who
                    .groups
                    .as_ref()
                    .map(|it| it.iter().map(|it| Cow::Borrowed(it.as_str())).collect()),
            },
            object: self.new.as_deref(),
            old_object: self.old.as_deref(),
            dry_run: None,
        }
    }
}

fn raw(value: &Value) -> Option<Box<RawValue>> {
    RawValue::from_string(value.to_string()).ok()
}

/// The creation of an object whose kind has no rules of its own: policies judge it, and nobody labels it as the
/// operator's.
fn other(manifest: &Manifest) -> Request {
    let mut request = Request::new(manifest, to_json(manifest), None);
    request.resource = kinds::resource(&manifest.id.kind);
    request
}

/// The Pod that a controller makes of its template.
fn pod(manifest: &Manifest, template: &[&str], cluster: &Cluster) -> Request {
    let root = to_json(manifest);
    let template_json = template.iter().try_fold(&root, |it, key| it.get(key));
    let mut pod = match template_json {
        Some(Value::Object(template)) => template.clone(),
        _ => Map::new(),
    };
    // What a template doesn't say of itself, and its Pod does.
    for (key, value) in [("apiVersion", "v1"), ("kind", "Pod")] {
        pod.insert(key.to_owned(), Value::from(value));
    }
    let metadata = pod.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let (Some(namespace), Value::Object(metadata)) = (&manifest.id.namespace, metadata) {
        metadata.insert("namespace".to_owned(), Value::from(namespace.as_str()));
    }
    let mut pod = Value::Object(pod);
    stamp(&mut pod, manifest, cluster);
    let mut request = Request::new(manifest, pod, None);
    request.prefix = template.join(".");
    request.group = String::new();
    "v1".clone_into(&mut request.version);
    "Pod".clone_into(&mut request.kind);
    // Its name is made up by the controller.
    request.name = String::new();
    request
}

/// Fills in of a Pod what the API server does, where it does so: the tenant label, and what its placement leaves open.
fn stamp(pod: &mut Value, manifest: &Manifest, cluster: &Cluster) {
    let namespace = manifest.id.namespace.as_deref().unwrap_or_default();
    // One that a cluster gave back is as it is: nothing is filled in any more.
    let is_stored = pod.pointer("/metadata/uid").is_some();
    if cluster.snapshot.config.pod_label_stamping
        && !is_stored
        && let Some(placed) = Placed::in_namespace(&cluster.snapshot, namespace)
        && let Some(Value::Object(spec)) = pod.get_mut("spec")
    {
        fill(spec, &placed);
    }
    let Some(facts) = cluster.snapshot.namespaces.get(namespace) else {
        return;
    };
    let (Some(tenant), Some("Stamp")) = (
        facts.labels.get(labels::TENANT),
        facts.labels.get(labels::POD_LABEL).map(String::as_str),
    ) else {
        return;
    };
    let mut node = pod;
    for key in ["metadata", "labels"] {
        let Value::Object(object) = node else { return };
        let child = object.entry(key).or_insert_with(|| Value::Object(Map::new()));
        if child.is_null() {
            *child = Value::Object(Map::new());
        }
        node = child;
    }
    if let Value::Object(labels) = node {
        labels
            .entry(labels::TENANT)
            .or_insert_with(|| Value::String(tenant.clone()));
    }
}

/// What applying a manifest makes of an object: mappings are merged, all else is replaced.
fn apply(existing: Value, manifest: Value) -> Value {
    match (existing, manifest) {
        (Value::Object(mut old), Value::Object(new)) => {
            for (key, value) in new {
                let merged = match old.remove(&key) {
                    Some(before) => apply(before, value),
                    None => value,
                };
                old.insert(key, merged);
            }
            Value::Object(old)
        }
        (_, new) => new,
    }
}

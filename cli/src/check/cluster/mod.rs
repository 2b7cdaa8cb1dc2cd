//! The cluster that the files describe: what Kubernetes and the chart bring, what the Tenants make, what the other
//! manifests add. Every object is judged in it.

mod known;
mod rbac;
mod storage;
mod tenants;

use std::collections::BTreeMap;
use std::sync::Arc;

use bailiwick_core::config::Config;
use bailiwick_core::policy::{Active, Policies, Served};
use bailiwick_core::snapshot::{Snapshot, Tenants};
use bailiwick_crds::v1alpha1::Tenant;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use self::known::KNOWN;
use crate::check::manifest::{Id, Manifest};
use crate::check::request::Request;

/// The cluster that the files describe.
#[derive(Debug)]
pub struct Cluster {
    /// What decisions know of it.
    pub snapshot: Snapshot,
    /// The same before any ClusterRole of the files adds to an aggregated one: what they widen is seen in this.
    pub before_roles: Snapshot,
    /// The same without any policy.
    pub without_policies: Snapshot,
    /// What the operator makes of the Tenants.
    made: BTreeMap<Key, Value>,
}

/// The label with a Namespace's own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Group, kind, namespace and name.
type Key = (String, String, String, String);

fn key(group: &str, kind: &str, namespace: &str, name: &str) -> Key {
    (
        group.to_owned(),
        kind.to_owned(),
        namespace.to_owned(),
        name.to_owned(),
    )
}

impl Cluster {
    /// Builds it, with these policies.
    pub fn of(manifests: &[Manifest], served: Vec<Arc<Served>>, config: &Config) -> Self {
        let tenants = of_kind::<Tenant>(manifests, "Tenant").map(|(_, it)| Arc::new(as_applied(it)));
        let mut snapshot = Snapshot {
            config: Arc::new(config.clone()),
            tenants: Arc::new(Tenants::collect(tenants)),
            ..Snapshot::default()
        };
        let made = tenants::made(&snapshot, &tenants::labelled(manifests));
        let mut namespaces = tenants::written(manifests, config);
        for (name, mut facts) in made.namespaces {
            // The operator leaves alone what it has no word for.
            let written = namespaces.remove(&name).unwrap_or_default();
            for (key, value) in written.labels {
                facts.labels.entry(key).or_insert(value);
            }
            facts.annotations = written.annotations;
            namespaces.insert(name, facts);
        }
        for (name, facts) in &mut namespaces {
            // The API server sees to that.
            let label = facts.labels.entry(NAME_LABEL.to_owned());
            label.or_insert_with(|| name.clone());
        }
        snapshot.namespaces = Arc::new(namespaces);
        let (now, before) = rbac::collect(&made.objects, manifests);
        let before_roles = Snapshot {
            rbac: Arc::new(before),
            ..snapshot.clone()
        };
        snapshot.rbac = Arc::new(now);
        snapshot.storage_classes = Arc::new(storage::classes(manifests));
        snapshot.volumes = Arc::new(storage::volumes(manifests));
        let without_policies = snapshot.clone();
        snapshot.policies = Arc::new(Policies::collect(served, &snapshot.tenants));
        Self {
            snapshot,
            before_roles,
            without_policies,
            made: made.objects,
        }
    }

    /// Whether some policy judges objects of this kind.
    pub fn takes(&self, id: &Id) -> bool {
        self.is_matched(&id.group, &id.kind)
    }

    /// Whether some policy judges the object of a request.
    pub fn is_taken(&self, request: &Request) -> bool {
        let kind = request.admission().kind;
        self.is_matched(&kind.group, &kind.kind)
    }

    fn is_matched(&self, group: &str, kind: &str) -> bool {
        self.snapshot.policies.all().iter().any(|it| match &it.active {
            Some(Active::Loaded(it)) => it.stored.content.takes(group, kind),
            _ => false,
        })
    }

    /// The object of that name that Kubernetes or the operator has made before the files are applied.
    pub fn existing(&self, id: &Id) -> Option<&Value> {
        let namespace = id.namespace.as_deref().unwrap_or_default();
        let key = key(&id.group, &id.kind, namespace, &id.name);
        self.made.get(&key).or_else(|| KNOWN.objects.get(&key))
    }

    /// Whether any Tenant is known.
    pub fn has_tenants(&self) -> bool {
        !self.snapshot.tenants.by_name.is_empty()
    }
}

/// The manifest as JSON, as the API server takes it: with its namespace, and a Tenant with its default.
pub fn to_json(manifest: &Manifest) -> Value {
    let mut value = manifest
        .root
        .as_ref()
        .map(crate::check::node::Node::to_json)
        .unwrap_or_default();
    let Value::Object(object) = &mut value else {
        return value;
    };
    object.values_mut().for_each(without_nulls);
    if let (Some(namespace), Some(Value::Object(metadata))) =
        (&manifest.id.namespace, object.get_mut("metadata"))
    {
        metadata.insert("namespace".to_owned(), Value::String(namespace.clone()));
    }
    let is_absent = |it: Option<&Value>| it.is_none_or(Value::is_null);
    if manifest.id.kind == "Tenant" && is_absent(object.get("spec")) {
        object.insert("spec".to_owned(), Value::Object(Map::new()));
    }
    value
}

/// To the API server a member that is `null` is one that isn't there.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, it| !it.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// The manifests of a kind that rules decide, as far as they can be read.
fn of_kind<'a, T: DeserializeOwned>(
    manifests: &'a [Manifest],
    kind: &'a str,
) -> impl Iterator<Item = (&'a Manifest, T)> {
    manifests
        .iter()
        .filter(move |it| it.judged.is_some_and(|it| it.kind == kind))
        .filter_map(|it| Some((it, serde_json::from_value(to_json(it)).ok()?)))
}

/// A Tenant as somebody applies it: what only a cluster says about it is left out.
fn as_applied(tenant: Tenant) -> Tenant {
    let mut applied = Tenant::new(tenant.metadata.name.as_deref().unwrap_or_default(), tenant.spec);
    applied.metadata.labels = tenant.metadata.labels;
    applied
}

//! A Tenant as the API server holds it, read as far as it can be.
//!
//! Another version of Bailiwick may have stored what this one can't read. To leave such a Tenant out would let go
//! of its people and its namespaces, who are nobody's then; so all that can be read of it counts, and the names in
//! what can't be read stay claimed without being given anything. The same bytes are read the same everywhere and
//! after each restart: nothing is remembered.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bailiwick_crds::v1alpha1::{Subject, Tenant};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use serde_path_to_error::Segment;

use crate::finding::{Finding, RuleId};
use crate::identity::service_account_user;

/// A Tenant as far as it can be read, and what can't.
#[derive(Clone, Debug)]
pub struct StoredTenant {
    /// The Tenant, without what can't be read.
    pub tenant: Arc<Tenant>,
    /// The fields that can't be read; none when it is read whole.
    pub unreadable: Vec<Finding>,
}

impl<'de> Deserialize<'de> for StoredTenant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Resource for StoredTenant {
    type DynamicType = ();
    type Scope = <Tenant as Resource>::Scope;

    fn kind(dt: &()) -> Cow<'_, str> {
        Tenant::kind(dt)
    }

    fn group(dt: &()) -> Cow<'_, str> {
        Tenant::group(dt)
    }

    fn version(dt: &()) -> Cow<'_, str> {
        Tenant::version(dt)
    }

    fn plural(dt: &()) -> Cow<'_, str> {
        Tenant::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.tenant.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut Arc::make_mut(&mut self.tenant).metadata
    }
}

/// Reads a stored Tenant.
///
/// # Errors
/// When not even its metadata can be read, which the API server itself writes.
pub fn read(mut value: Value) -> Result<StoredTenant, serde_json::Error> {
    if let Ok(tenant) = Tenant::deserialize(&value) {
        return Ok(StoredTenant {
            tenant: Arc::new(tenant),
            unreadable: Vec::new(),
        });
    }
    let stated = value.get("spec").cloned().unwrap_or_default();
    let mut left_out = LeftOut::default();
    let mut unreadable = Vec::new();
    let mut tenant: Tenant = loop {
        let error = match serde_path_to_error::deserialize(&value) {
            Ok(tenant) => break tenant,
            Err(error) => error,
        };
        let path: Vec<Segment> = error.path().iter().cloned().collect();
        let field = left_out.field(&path);
        // Without the field its parent may lack something: that says nothing new.
        let is_consequence = unreadable
            .last()
            .is_some_and(|it: &Finding| it.field.starts_with(&field));
        if !is_consequence {
            unreadable.push(finding(field, &error.inner().to_string()));
        }
        if !left_out.take(&mut value, &path) {
            return Err(error.into_inner());
        }
    };
    claim(&mut tenant, &stated);
    if unreadable.iter().any(|it| is_of_placement(&it.field)) {
        nowhere(&mut tenant);
    }
    Ok(StoredTenant {
        tenant: Arc::new(tenant),
        unreadable,
    })
}

fn is_of_placement(field: &str) -> bool {
    let rest = field.strip_prefix("spec.placement");
    // Without what these say less is open.
    let is_harmless = |it: &str| it.starts_with(".exceptions") || it.starts_with(".tolerations");
    rest.is_some_and(|it| (it.is_empty() || it.starts_with('.')) && !is_harmless(it))
}

/// Where a tenant's Pods may run is not known whole: nothing is within.
fn nowhere(tenant: &mut Tenant) {
    let placement = tenant.spec.placement.get_or_insert_default();
    placement.regions = Some(Vec::new());
    placement.exceptions.clear();
}

fn finding(field: String, problem: &str) -> Finding {
    Finding::new(
        RuleId::TenantInvalid,
        field,
        problem,
        "what this version of Bailiwick can read",
        "correct the field, or install the version of Bailiwick that it was written for",
    )
}

/// Which items of which lists were left out: the others have moved up since.
#[derive(Default)]
struct LeftOut(BTreeMap<String, BTreeSet<usize>>);

impl LeftOut {
    /// The field as it was written.
    fn field(&self, path: &[Segment]) -> String {
        let mut field = String::new();
        for segment in path {
            match segment {
                Segment::Seq { index } => field = format!("{field}[{}]", self.written(&field, *index)),
                Segment::Map { key } if field.is_empty() => field.clone_from(key),
                Segment::Map { key } => field = format!("{field}.{key}"),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        field
    }

    /// The place that an item of a list had.
    fn written(&self, list: &str, index: usize) -> usize {
        let gone = self.0.get(list);
        let mut stayed = (0..).filter(|it| gone.is_none_or(|gone| !gone.contains(it)));
        stayed.nth(index).unwrap_or(index)
    }

    /// Leaves a field out. False if there is nothing that could be.
    fn take(&mut self, value: &mut Value, path: &[Segment]) -> bool {
        let is_place = |it: &&Segment| matches!(it, Segment::Seq { .. } | Segment::Map { .. });
        let places: Vec<&Segment> = path.iter().filter(is_place).collect();
        let Some((last, parents)) = places.split_last() else {
            return value.get("spec").is_none() && set(value, "spec", json!({}));
        };
        let within = |it: &Segment, name: &str| matches!(it, Segment::Map { key } if key == name);
        let is_ours = places
            .first()
            .is_some_and(|it| within(it, "spec") || within(it, "status"));
        if !is_ours {
            return false;
        }
        let parent = parents.iter().try_fold(value, |value, segment| match segment {
            Segment::Seq { index } => value.get_mut(*index),
            Segment::Map { key } => value.get_mut(key),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        match (parent, last) {
            (Some(Value::Object(members)), Segment::Map { key }) => members.remove(key).is_some(),
            (Some(Value::Array(items)), Segment::Seq { index }) if *index < items.len() => {
                items.remove(*index);
                let items_path: Vec<Segment> = parents.iter().map(|it| (*it).clone()).collect();
                let written = self.written(&self.field(&items_path), *index);
                self.0.entry(self.field(&items_path)).or_default().insert(written);
                true
            }
            _ => false,
        }
    }
}

fn set(value: &mut Value, key: &str, member: Value) -> bool {
    let members = value.as_object_mut();
    members.is_some_and(|it| it.insert(key.to_owned(), member).is_none())
}

/// Claims the names in what can't be read, as `spec` states it: of an owner whose kind is unknown as that of a user
/// and of a group, and every text where a list of names is expected.
fn claim(tenant: &mut Tenant, stated: &Value) {
    let mut names = tenant.spec.identities.take().unwrap_or_default();
    let identities = stated.get("identities");
    names
        .users
        .extend(texts(identities.and_then(|it| it.get("users"))));
    names
        .groups
        .extend(texts(identities.and_then(|it| it.get("groups"))));
    let owners = stated.get("owners").and_then(Value::as_array);
    let unknown = owners
        .into_iter()
        .flatten()
        .filter(|it| Subject::deserialize(*it).is_err());
    for owner in unknown {
        let text = |key: &str| owner.get(key).and_then(Value::as_str).map(str::to_owned);
        match (text("namespace"), text("name")) {
            (Some(namespace), Some(name)) => names.users.push(service_account_user(&namespace, &name)),
            (None, Some(name)) => {
                names.users.push(name.clone());
                names.groups.push(name);
            }
            (_, None) => {}
        }
    }
    for names in [&mut names.users, &mut names.groups] {
        names.sort();
        names.dedup();
    }
    tenant.spec.identities = Some(names);
}

/// Every text inside a value.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().flat_map(|it| texts(Some(it))).collect(),
        Some(Value::Object(members)) => members.values().flat_map(|it| texts(Some(it))).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;

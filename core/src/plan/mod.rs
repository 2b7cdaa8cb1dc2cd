//! A valid tenant becomes the objects that isolate it.
//!
//! [`plan`] is a function of its arguments alone: the same tenant and configuration give the same objects, in
//! the same order, already in the form that the API server stores them in. So a comparison with what is there
//! ([`diff`]) finds differences that somebody made, and nothing else.

pub mod creators;
pub mod diff;
pub mod flow_schema;
mod limits;
mod network_policy;
mod role_binding;
mod slice;
mod stays;

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::PodSecurityLevel;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
pub use slice::slice;
pub use stays::stays;

use crate::config::Config;
use crate::decide::pod_label_text;
use crate::identity::Subject;
use crate::quota::{Amounts, SLICE};
use crate::validate::ValidTenant;

/// What the operator is to bring about for one tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Each of the tenant's namespaces.
    pub namespaces: BTreeMap<String, NamespacePlan>,
    /// Those that are being deleted, in which nothing can be made: their labels, and the doors that may be left.
    pub ending: BTreeMap<String, NamespacePlan>,
    /// Kinds of which nobody can tell what there should be: what there is stays as it is.
    pub held: BTreeSet<Kind>,
    /// What all namespaces may use together. With a limit each has a [`slice()`], a lock whose `hard` is decided by
    /// [`crate::quota::next`].
    pub limits: Amounts,
}

impl Plan {
    /// Whether there is to be such an object.
    pub fn holds(&self, namespace: &str, kind: Kind, name: &str) -> bool {
        let Some(plan) = self.namespaces.get(namespace) else {
            return false;
        };
        let is_slice = kind == Kind::ResourceQuota && name == SLICE && !self.limits.is_empty();
        let mut objects = plan.locks.iter().chain(&plan.doors);
        is_slice || objects.any(|it| it.kind() == kind && it.name() == name)
    }
}

/// What one namespace of a tenant is to hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamespacePlan {
    /// Labels of the Namespace itself. Others may add theirs, as long as they are not guarded ones.
    pub labels: BTreeMap<String, String>,
    /// What isolates it: made before the doors, removed after them.
    pub locks: Vec<Object>,
    /// Who may enter.
    pub doors: Vec<Object>,
}

/// A managed object.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// Network isolation.
    NetworkPolicy(NetworkPolicy),
    /// Quota.
    ResourceQuota(ResourceQuota),
    /// Limits and defaults of each object.
    LimitRange(LimitRange),
    /// Access.
    RoleBinding(RoleBinding),
}

/// The kinds of managed objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// networking.k8s.io/v1
    NetworkPolicy,
    /// v1
    ResourceQuota,
    /// v1
    LimitRange,
    /// rbac.authorization.k8s.io/v1
    RoleBinding,
}

impl Kind {
    /// All kinds, locks first.
    pub const ALL: [Self; 4] = [
        Self::NetworkPolicy,
        Self::ResourceQuota,
        Self::LimitRange,
        Self::RoleBinding,
    ];

    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "NetworkPolicy",
            Self::ResourceQuota => "ResourceQuota",
            Self::LimitRange => "LimitRange",
            Self::RoleBinding => "RoleBinding",
        }
    }

    /// Whether objects of this kind let somebody in, rather than lock a namespace.
    pub const fn is_door(self) -> bool {
        matches!(self, Self::RoleBinding)
    }
}

impl Object {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::NetworkPolicy(_) => Kind::NetworkPolicy,
            Self::ResourceQuota(_) => Kind::ResourceQuota,
            Self::LimitRange(_) => Kind::LimitRange,
            Self::RoleBinding(_) => Kind::RoleBinding,
        }
    }

    /// Its metadata.
    pub const fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::NetworkPolicy(it) => &it.metadata,
            Self::ResourceQuota(it) => &it.metadata,
            Self::LimitRange(it) => &it.metadata,
            Self::RoleBinding(it) => &it.metadata,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// The object as JSON, with apiVersion and kind.
    pub fn to_value(&self) -> Value {
        let value = match self {
            Self::NetworkPolicy(it) => serde_json::to_value(it),
            Self::ResourceQuota(it) => serde_json::to_value(it),
            Self::LimitRange(it) => serde_json::to_value(it),
            Self::RoleBinding(it) => serde_json::to_value(it),
        };
        value.unwrap_or_default()
    }
}

/// How a namespace stands with its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// The tenant declares it: locks and doors.
    Declared,
    /// An owner made it: locks and doors, and the owners may delete it.
    SelfService,
    /// The tenant let it go, or is going: locks only.
    Retained,
    /// An owner made it, and it is not taken: nothing may be in it.
    Waiting,
    /// It is being deleted: who may be in it stays until it is gone, and nobody else.
    Ending,
    /// It is being deleted, and so is the tenant: nobody stays.
    Shut,
}

impl Stay {
    /// Whether there are doors.
    const fn is_open(self) -> bool {
        matches!(self, Self::Declared | Self::SelfService | Self::Ending)
    }
}

/// Plans a tenant's objects.
///
/// `namespaces` are the ones that belong to it; `is_bindable` tells whether a subject may be bound: one that
/// another tenant claims too is left out, because nobody knows whose it is.
pub fn plan<'a>(
    tenant: &ValidTenant,
    namespaces: impl IntoIterator<Item = (&'a str, Stay)>,
    config: &Config,
    is_bindable: impl Fn(Subject<'_>) -> bool,
) -> Plan {
    let (mut kept, mut ending) = (BTreeMap::new(), BTreeMap::new());
    for (name, stay) in namespaces {
        let declared = match stay {
            Stay::Declared | Stay::Ending => tenant
                .namespaces
                .get(name)
                .map(|it| it.labels.clone())
                .unwrap_or_default(),
            Stay::SelfService | Stay::Retained | Stay::Waiting | Stay::Shut => BTreeMap::new(),
        };
        let metadata = |object: &str| metadata(tenant, name, object);
        let plan = if stay == Stay::Waiting {
            NamespacePlan {
                labels: waiting_labels(namespace_labels(tenant, declared)),
                locks: vec![network_policy::deny(metadata), limits::nothing(metadata)],
                doors: Vec::new(),
            }
        } else {
            let mut locks = network_policy::plan(tenant, config, metadata);
            let quota = tenant.quota.iter();
            locks.extend(quota.flat_map(|it| limits::plan(it, metadata)));
            let mut doors = Vec::new();
            if stay.is_open() {
                doors = role_binding::plan(tenant, name, &declared, config, metadata, &is_bindable);
            }
            if matches!(stay, Stay::SelfService | Stay::Ending) {
                doors.extend(role_binding::of_own(tenant, metadata, &is_bindable));
            }
            NamespacePlan {
                labels: namespace_labels(tenant, declared),
                locks,
                doors,
            }
        };
        if matches!(stay, Stay::Ending | Stay::Shut) {
            let plan = NamespacePlan {
                locks: Vec::new(),
                ..plan
            };
            ending.insert(name.to_owned(), plan);
        } else {
            kept.insert(name.to_owned(), plan);
        }
    }
    let held = match tenant.quota {
        Some(_) => BTreeSet::new(),
        None => BTreeSet::from([Kind::ResourceQuota, Kind::LimitRange]),
    };
    Plan {
        namespaces: kept,
        ending,
        held,
        limits: slice::limits(tenant),
    }
}

fn namespace_labels(tenant: &ValidTenant, declared: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let level = match tenant.pod_security {
        PodSecurityLevel::Baseline => "baseline",
        PodSecurityLevel::Restricted => "restricted",
    };
    let mut labels = declared;
    labels.insert(labels::TENANT.to_owned(), tenant.name.clone());
    labels.insert(
        labels::POD_LABEL.to_owned(),
        pod_label_text(tenant.pod_label).to_owned(),
    );
    if tenant.suspended {
        labels.insert(labels::SUSPENDED.to_owned(), "true".to_owned());
    }
    for mode in ["enforce", "audit", "warn"] {
        labels.insert(format!("{}{mode}", labels::POD_SECURITY_PREFIX), level.to_owned());
    }
    labels.insert(
        format!("{}enforce-version", labels::POD_SECURITY_PREFIX),
        "latest".to_owned(),
    );
    labels
}

/// Without the mode of Pod labels, which says that the namespace is taken.
fn waiting_labels(mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels.remove(labels::POD_LABEL);
    labels
}

fn metadata(tenant: &ValidTenant, namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(BTreeMap::from([
            (labels::TENANT.to_owned(), tenant.name.clone()),
            (labels::MANAGED_BY.to_owned(), labels::OPERATOR.to_owned()),
        ])),
        annotations: Some(BTreeMap::from([(
            labels::TENANT_UID.to_owned(),
            tenant.uid.clone(),
        )])),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;

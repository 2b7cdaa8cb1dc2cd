//! Which namespaces belong to which tenant.
//!
//! The truth is what Tenants declare and what the operator has recorded in their status, by name and UID. The
//! tenant label on a Namespace is a projection of it: guarded, so after a restore without status the label
//! together with the declaration counts.

use std::collections::BTreeMap;

use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{DeletionPolicy, NamespaceOrigin, NamespaceStatus, Tenant};

/// What ownership depends on, of a Namespace that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// Its UID.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The tenant that may adopt it, by annotation.
    pub adopt_by: Option<String>,
    /// Whether it has ownerReferences, which a tenant's namespace must not.
    pub owner_references: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
}

impl NamespaceFacts {
    /// The tenant that its label names.
    pub fn labelled(&self) -> Option<&str> {
        self.labels.get(labels::TENANT).map(String::as_str)
    }
}

/// What a Tenant is to do with one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It doesn't exist: create it.
    Create,
    /// It is this Tenant's: keep it so.
    Keep(NamespaceOrigin),
    /// It consents: take it.
    Adopt,
    /// It is this Tenant's no longer by declaration: take away access, keep the isolation.
    Retain,
    /// It is this Tenant's no longer by declaration, and is to be deleted.
    Release,
    /// It is being deleted; wait.
    Terminating,
    /// Another Tenant has it, or comes first.
    Conflict {
        /// The Tenant that has it.
        with: String,
    },
    /// It exists, is nobody's and did not consent.
    NotOwned,
}

/// Decides what `tenant` is to do with each namespace that it declares or has recorded.
///
/// `all` are all Tenants, `tenant` among them; `facts` answers for Namespaces that exist. The result depends
/// on nothing else, so two operators that see the same decide the same.
pub fn claims<'a>(
    tenant: &Tenant,
    all: impl IntoIterator<Item = &'a Tenant> + Clone,
    facts: impl Fn(&str) -> Option<&'a NamespaceFacts>,
) -> BTreeMap<String, Claim> {
    let name = tenant.metadata.name.as_deref().unwrap_or_default();
    let recorded = records(tenant);
    let declared = declared(tenant);
    let deleting = tenant.metadata.deletion_timestamp.is_some();
    let mut claims = BTreeMap::new();
    for namespace in declared.iter().copied() {
        let rival = all
            .clone()
            .into_iter()
            .filter(|it| it.metadata.name.as_deref() != Some(name));
        let claim = declared_claim(tenant, namespace, recorded.get(namespace).copied(), rival, &facts);
        claims.insert(namespace.to_owned(), claim);
    }
    for (namespace, record) in recorded {
        if declared.contains(&namespace) {
            continue;
        }
        let Some(facts) = facts(namespace) else { continue };
        if facts.uid != record.uid || facts.labelled().is_some_and(|it| it != name) {
            continue;
        }
        claims.insert(namespace.to_owned(), leave(tenant, record.origin, facts));
    }
    if deleting {
        for (namespace, claim) in &mut claims {
            let facts = facts(namespace);
            *claim = match (&claim, facts) {
                (Claim::Keep(origin), Some(facts)) => leave(tenant, *origin, facts),
                (Claim::Retain | Claim::Release | Claim::Terminating, _) => continue,
                _ => Claim::NotOwned,
            };
        }
    }
    claims
}

fn declared_claim<'a>(
    tenant: &Tenant,
    namespace: &str,
    record: Option<&NamespaceStatus>,
    mut rivals: impl Iterator<Item = &'a Tenant>,
    facts: &impl Fn(&str) -> Option<&'a NamespaceFacts>,
) -> Claim {
    let name = tenant.metadata.name.as_deref().unwrap_or_default();
    let Some(facts) = facts(namespace) else {
        return match rivals.find(|it| declared_or_recorded(it, namespace) && comes_first(it, tenant)) {
            Some(rival) => Claim::Conflict {
                with: rival.metadata.name.clone().unwrap_or_default(),
            },
            None => Claim::Create,
        };
    };
    let is_recorded = record.is_some_and(|it| it.uid == facts.uid);
    let origin = match record.map(|it| it.origin) {
        Some(NamespaceOrigin::Adopted | NamespaceOrigin::Retained) => NamespaceOrigin::Adopted,
        _ => NamespaceOrigin::Declared,
    };
    match facts.labelled() {
        _ if facts.terminating => Claim::Terminating,
        Some(label) if label == name => Claim::Keep(origin),
        Some(label) => Claim::Conflict {
            with: label.to_owned(),
        },
        None if is_recorded => Claim::Keep(origin),
        None => {
            if let Some(rival) = rivals.find(|it| recorded_uid(it, namespace) == Some(facts.uid.as_str())) {
                return Claim::Conflict {
                    with: rival.metadata.name.clone().unwrap_or_default(),
                };
            }
            if facts.adopt_by.as_deref() == Some(name) {
                Claim::Adopt
            } else {
                Claim::NotOwned
            }
        }
    }
}

/// What happens to a namespace that its Tenant lets go. Only what the operator created is ever deleted.
fn leave(tenant: &Tenant, origin: NamespaceOrigin, facts: &NamespaceFacts) -> Claim {
    let delete = tenant.spec.deletion_policy == Some(DeletionPolicy::Delete);
    match origin {
        _ if facts.terminating => Claim::Terminating,
        NamespaceOrigin::Declared if delete => Claim::Release,
        _ => Claim::Retain,
    }
}

fn declared(tenant: &Tenant) -> Vec<&str> {
    tenant
        .spec
        .namespaces
        .iter()
        .flat_map(|it| &it.declared)
        .map(|it| it.name.as_str())
        .collect()
}

fn records(tenant: &Tenant) -> BTreeMap<&str, &NamespaceStatus> {
    tenant
        .status
        .iter()
        .flat_map(|it| &it.namespaces)
        .map(|it| (it.name.as_str(), it))
        .collect()
}

fn recorded_uid<'a>(tenant: &'a Tenant, namespace: &str) -> Option<&'a str> {
    records(tenant).get(namespace).map(|it| it.uid.as_str())
}

fn declared_or_recorded(tenant: &Tenant, namespace: &str) -> bool {
    tenant.metadata.deletion_timestamp.is_none() && declared(tenant).contains(&namespace)
}

/// Of two Tenants that want the same absent namespace, the older one gets it; of the same age, the first by name.
fn comes_first(a: &Tenant, b: &Tenant) -> bool {
    let key = |it: &Tenant| {
        (
            it.metadata.creation_timestamp.as_ref().map(|it| it.0),
            it.metadata.name.clone().unwrap_or_default(),
        )
    };
    key(a) < key(b)
}

#[cfg(test)]
mod tests;

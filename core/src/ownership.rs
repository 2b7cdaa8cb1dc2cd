//! Which namespaces belong to which tenant.
//!
//! The truth is what Tenants declare and what the operator has recorded in their status, by name and UID. The
//! tenant label on a Namespace is a projection of it: a label that contradicts a record is put back. It is
//! guarded, so where nobody has a record, after a restore without status, the label together with the
//! declaration counts. What such a namespace went through before nobody knows, so it counts as adopted: it is
//! kept, and never deleted. A label that names a Tenant which is gone keeps a namespace closed, and no more: with
//! consent another Tenant may have it.

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
    /// Its annotations, which policies see; without kubectl's own copy of the object.
    pub annotations: BTreeMap<String, String>,
    /// The tenant that may adopt it, by annotation.
    pub adopt_by: Option<String>,
    /// The UID of the Tenant for which the operator made it, by annotation; none if somebody else made it.
    pub made_for: Option<String>,
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
    /// It exists, is nobody's (or was a Tenant's that is gone) and did not consent.
    NotOwned,
}

/// Decides what `tenant` is to do with each namespace that it declares or has recorded.
///
/// `all` are all Tenants, `tenant` among them; `facts` answers for Namespaces that exist. The result depends
/// on nothing else, so two operators that see the same decide the same.
#[allow(
    clippy::needless_pass_by_value,
    reason = "callers hand over an iterator, which is small"
)]
pub fn claims<'a>(
    tenant: &Tenant,
    all: impl IntoIterator<Item = &'a Tenant> + Clone,
    facts: impl Fn(&str) -> Option<&'a NamespaceFacts>,
) -> BTreeMap<String, Claim> {
    let name = name(tenant);
    let declared = declared(tenant);
    let deleting = tenant.metadata.deletion_timestamp.is_some();
    let mut claims = BTreeMap::new();
    for namespace in declared.iter().copied() {
        let claim = match facts(namespace) {
            None => absent(tenant, namespace, all.clone()),
            Some(facts) => existing(tenant, namespace, facts, &all),
        };
        claims.insert(namespace.to_owned(), claim);
    }
    for record in records(tenant) {
        let namespace = record.name.as_str();
        if declared.contains(&namespace) {
            continue;
        }
        let Some(facts) = facts(namespace) else { continue };
        if recorded_by(namespace, facts, all.clone()) == Some(name) {
            claims.insert(record.name.clone(), leave(tenant, record.origin, facts));
        }
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

/// What a Tenant is to do with a declared namespace that doesn't exist.
fn absent<'a>(tenant: &Tenant, namespace: &str, all: impl IntoIterator<Item = &'a Tenant>) -> Claim {
    let declares =
        |it: &&Tenant| it.metadata.deletion_timestamp.is_none() && declared(it).contains(&namespace);
    let rivals = all.into_iter().filter(declares);
    match rivals.min_by_key(|it| precedence(it)) {
        Some(first) if precedence(first) < precedence(tenant) => Claim::Conflict {
            with: name(first).to_owned(),
        },
        _ => Claim::Create,
    }
}

/// What a Tenant is to do with a declared namespace that exists.
fn existing<'a>(
    tenant: &Tenant,
    namespace: &str,
    facts: &NamespaceFacts,
    all: &(impl IntoIterator<Item = &'a Tenant> + Clone),
) -> Claim {
    if facts.terminating {
        return Claim::Terminating;
    }
    let exists = |label: &&str| all.clone().into_iter().any(|it| name(it) == *label);
    let labelled = || facts.labelled().filter(exists);
    match recorded_by(namespace, facts, all.clone()).or_else(labelled) {
        Some(owner) if owner == name(tenant) => Claim::Keep(origin(tenant, namespace, facts)),
        Some(owner) => Claim::Conflict {
            with: owner.to_owned(),
        },
        None if facts.adopt_by.as_deref() == Some(name(tenant)) => Claim::Adopt,
        None => Claim::NotOwned,
    }
}

/// How a namespace came to the Tenant that has it: as the record says or, where the record was not written any
/// more, as the namespace itself does. Of any other nobody knows what it was before.
fn origin(tenant: &Tenant, namespace: &str, facts: &NamespaceFacts) -> NamespaceOrigin {
    let recorded = record(tenant, namespace).filter(|it| it.uid == facts.uid);
    let is_made_for_it = facts.made_for.is_some() && facts.made_for == tenant.metadata.uid;
    match recorded.map(|it| it.origin) {
        Some(NamespaceOrigin::Declared) => NamespaceOrigin::Declared,
        None if is_made_for_it => NamespaceOrigin::Declared,
        Some(NamespaceOrigin::Adopted | NamespaceOrigin::Retained) | None => NamespaceOrigin::Adopted,
    }
}

/// The Tenant that has this very namespace on record. Should there be two, it is the first.
fn recorded_by<'a>(
    namespace: &str,
    facts: &NamespaceFacts,
    all: impl IntoIterator<Item = &'a Tenant>,
) -> Option<&'a str> {
    let has_it = |it: &&Tenant| record(it, namespace).is_some_and(|it| it.uid == facts.uid);
    let first = all.into_iter().filter(has_it).min_by_key(|it| precedence(it));
    first.map(name)
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

fn records(tenant: &Tenant) -> impl Iterator<Item = &NamespaceStatus> {
    tenant.status.iter().flat_map(|it| &it.namespaces)
}

fn record<'a>(tenant: &'a Tenant, namespace: &str) -> Option<&'a NamespaceStatus> {
    records(tenant).find(|it| it.name == namespace)
}

/// Of two Tenants that want the same, the older one gets it; of the same age, the first by name.
pub(crate) fn precedence(tenant: &Tenant) -> impl Ord + '_ {
    let created = tenant.metadata.creation_timestamp.as_ref().map(|it| it.0);
    (created, name(tenant))
}

fn name(tenant: &Tenant) -> &str {
    tenant.metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests;

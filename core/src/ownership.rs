//! Which namespaces belong to which tenant.
//!
//! The truth is what Tenants declare and what the operator has recorded in their status, by name and UID. The
//! tenant label on a Namespace is a projection of it: a label that contradicts a record is put back. It is
//! guarded, so where nobody has a record, after a restore without status, the label together with the
//! declaration counts. What such a namespace went through before nobody knows, so it counts as adopted: it is
//! kept, and never deleted. A label that names a Tenant which is gone keeps a namespace closed, and no more: with
//! consent another Tenant may have it.
//!
//! A namespace that an owner made by self-service comes with its label, which admission let them write. The operator, which
//! alone counts, takes these in the order in which they were made, as many as the Tenant may have; the others wait, closed.
//! One that is older than its Tenant was left by another of that name: it is not taken.
//!
//! A namespace moves from one Tenant to another when the first no longer declares it, the second does, and it consents. The
//! first lets it go before the second sees it as free: there is no moment of two owners.

use std::collections::BTreeMap;
use std::fmt;

use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{DeletionPolicy, NamespaceOrigin, NamespaceStatus, Tenant};
use k8s_openapi::jiff::Timestamp;

use crate::config::Config;
use crate::self_service::{self, Prefixes};

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
    /// When it was made; none offline.
    pub created: Option<Timestamp>,
}

impl NamespaceFacts {
    /// The tenant that its label names.
    pub fn labelled(&self) -> Option<&str> {
        self.labels.get(labels::TENANT).map(String::as_str)
    }

    /// Whether a Tenant's operator has locked it: until then nothing is made in it.
    pub fn is_locked(&self) -> bool {
        self.labels.contains_key(labels::POD_LABEL)
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
    /// An owner made it by self-service: take it.
    Take,
    /// An owner made it by self-service, and it can't be taken: keep it closed.
    Wait(Hindrance),
    /// It was made by self-service and is being deleted, by whom it belongs to: nothing to wait for.
    Ending,
    /// It consents to go to another Tenant, which declares it: take away access, keep the isolation, then forget it.
    HandOver {
        /// The Tenant that gets it.
        to: String,
    },
    /// Another Tenant has it, or comes first.
    Conflict {
        /// The Tenant that has it.
        with: String,
    },
    /// It exists, is nobody's (or was a Tenant's that is gone) and did not consent.
    NotOwned,
}

/// Why a namespace that was made by self-service is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// The Tenant has no self-service, any more.
    NoSelfService,
    /// Its name is not the Tenant's to give.
    Name,
    /// It is one too many.
    Maximum(usize),
    /// A binding that is not in the Tenant names its ServiceAccounts: whoever made it meant others.
    Bound(String),
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSelfService => f.write_str("the Tenant has no self-service"),
            Self::Name => f.write_str("its name does not begin with the Tenant's prefix, or is reserved, or another Tenant's to give"),
            Self::Maximum(max) => write!(f, "more than {max}"),
            Self::Bound(binding) => write!(f, "{binding} names its ServiceAccounts and reaches out of the Tenant"),
        }
    }
}

impl Claim {
    /// Whether it is a namespace made by self-service, which counts against the maximum.
    pub const fn is_by_self_service(&self) -> bool {
        matches!(
            self,
            Self::Keep(NamespaceOrigin::SelfService) | Self::Take | Self::Wait(_) | Self::Ending
        )
    }
}

/// Decides what `tenant` is to do with each namespace that it declares or has recorded, or that its owners made.
///
/// `all` are all Tenants, `tenant` among them; `existing` are the Namespaces that exist. The result depends
/// on nothing else, so two operators that see the same decide the same.
#[allow(
    clippy::needless_pass_by_value,
    reason = "callers hand over an iterator, which is small"
)]
pub fn claims<'a>(
    tenant: &Tenant,
    all: impl IntoIterator<Item = &'a Tenant> + Clone,
    namespaces: &'a BTreeMap<String, NamespaceFacts>,
    config: &Config,
) -> BTreeMap<String, Claim> {
    let facts = |it: &str| namespaces.get(it);
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
            let claim = match heir(tenant, namespace, facts, all.clone()) {
                Some(to) if !deleting => Claim::HandOver { to: to.to_owned() },
                _ if record.origin != NamespaceOrigin::SelfService || deleting => {
                    leave(tenant, record.origin, facts)
                }
                _ if facts.terminating => Claim::Ending,
                _ => Claim::Keep(NamespaceOrigin::SelfService),
            };
            claims.insert(record.name.clone(), claim);
        }
    }
    if !deleting {
        take(tenant, all.clone(), namespaces, config, &mut claims);
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
    let consents = facts.adopt_by.as_deref() == Some(name(tenant));
    // Another Tenant's label counts while that Tenant declares the namespace, and without consent in any case.
    let holds = |label: &&str| {
        let mut all = all.clone().into_iter();
        all.any(|it| {
            let other = name(it);
            other == *label && (other == name(tenant) || !consents || declared(it).contains(&namespace))
        })
    };
    let labelled = || facts.labelled().filter(holds);
    match recorded_by(namespace, facts, all.clone()).or_else(labelled) {
        Some(owner) if owner == name(tenant) => Claim::Keep(origin(tenant, namespace, facts)),
        Some(owner) => Claim::Conflict {
            with: owner.to_owned(),
        },
        None if consents => Claim::Adopt,
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
        Some(NamespaceOrigin::Adopted | NamespaceOrigin::Retained | NamespaceOrigin::SelfService) | None => {
            NamespaceOrigin::Adopted
        }
    }
}

/// The live Tenant that declares a namespace and to which it consents to go.
fn heir<'a>(
    tenant: &Tenant,
    namespace: &str,
    facts: &NamespaceFacts,
    all: impl IntoIterator<Item = &'a Tenant>,
) -> Option<&'a str> {
    let to = facts
        .adopt_by
        .as_deref()
        .filter(|it| *it != name(tenant) && !facts.terminating)?;
    let takes = |it: &&Tenant| {
        name(it) == to && it.metadata.deletion_timestamp.is_none() && declared(it).contains(&namespace)
    };
    all.into_iter().find(takes).map(name)
}

/// Claims what owners made: labelled for this Tenant, on nobody's record, neither declared nor made by the operator, and no older
/// than the Tenant. Those on record come first, then the others in the order in which they were made.
fn take<'a>(
    tenant: &Tenant,
    all: impl IntoIterator<Item = &'a Tenant> + Clone,
    namespaces: &BTreeMap<String, NamespaceFacts>,
    config: &Config,
    claims: &mut BTreeMap<String, Claim>,
) {
    let own = name(tenant);
    let since = tenant.metadata.creation_timestamp.as_ref().map(|it| it.0);
    let is_new = |namespace: &str, facts: &NamespaceFacts| {
        facts.labelled() == Some(own)
            && !facts.terminating
            && facts.made_for.is_none()
            && facts.adopt_by.as_deref().is_none_or(|it| it == own)
            && facts.created >= since
            && recorded_by(namespace, facts, all.clone()).is_none()
    };
    let mut new: Vec<(Option<Timestamp>, &str, &str)> = namespaces
        .iter()
        .filter(|(namespace, facts)| !claims.contains_key(*namespace) && is_new(namespace, facts))
        .map(|(namespace, facts)| (facts.created, namespace.as_str(), facts.uid.as_str()))
        .collect();
    if new.is_empty() {
        return;
    }
    new.sort_unstable();
    let self_service = self_service::of(&tenant.spec);
    let max = self_service.map_or(0, |it| usize::try_from(it.max).unwrap_or(0));
    let live = all
        .into_iter()
        .filter(|it| it.metadata.deletion_timestamp.is_none());
    let prefixes = Prefixes::collect(live.map(|it| (name(it), &it.spec)));
    let mut count = claims.values().filter(|it| it.is_by_self_service()).count();
    for (_, namespace, _) in new {
        let claim = if self_service.is_none() {
            Claim::Wait(Hindrance::NoSelfService)
        } else if !prefixes.gives(own, namespace) || config.is_reserved_namespace(namespace) {
            Claim::Wait(Hindrance::Name)
        } else if count >= max {
            Claim::Wait(Hindrance::Maximum(max))
        } else {
            count = count.saturating_add(1);
            Claim::Take
        };
        claims.insert(namespace.to_owned(), claim);
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

/// What happens to a namespace that its Tenant lets go. Only what the operator or an owner of this Tenant created is ever
/// deleted, and nothing that consents to go to another Tenant.
fn leave(tenant: &Tenant, origin: NamespaceOrigin, facts: &NamespaceFacts) -> Claim {
    let is_promised = facts.adopt_by.as_deref().is_some_and(|it| it != name(tenant));
    let delete = tenant.spec.deletion_policy == Some(DeletionPolicy::Delete) && !is_promised;
    match origin {
        _ if facts.terminating => Claim::Terminating,
        NamespaceOrigin::Declared | NamespaceOrigin::SelfService if delete => Claim::Release,
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

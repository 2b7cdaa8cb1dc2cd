//! The TenancyIndex: a [`Snapshot`] in the shape that the native policies look up.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{
    Ambiguous, OwnKeys, Platform, PrefixClaim, SelfService, TenancyIndex, TenancyIndexSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::grants;
use crate::identity::{self, Pattern, Space};
use crate::placement::{self, Placed};
use crate::self_service;
use crate::snapshot::Snapshot;

/// Derives the index. The same snapshot gives the same index, so writing it is idempotent.
pub fn index(snapshot: &Snapshot) -> TenancyIndexSpec {
    let mut index = TenancyIndexSpec {
        platform: platform(snapshot),
        ..TenancyIndexSpec::default()
    };
    let known = snapshot.namespaces.keys().chain(snapshot.tenants.declared.keys());
    for namespace in known {
        if let Some(tenant) = snapshot.tenant_of(namespace) {
            index.namespaces.insert(namespace.clone(), tenant.to_owned());
            let declares = snapshot
                .tenants
                .declared
                .get(namespace)
                .is_some_and(|it| it.contains(tenant));
            if declares && snapshot.namespaces.contains_key(namespace) {
                index.declared.insert(namespace.clone(), tenant.to_owned());
            }
        }
    }
    for (claim, tenants) in snapshot.tenants.identities.claims() {
        for tenant in tenants {
            match (claim.space, &claim.pattern) {
                (Space::User, Pattern::Exact(name)) => {
                    index.users.entry(name.clone()).or_insert_with(|| tenant.clone());
                }
                (Space::Group, Pattern::Exact(name)) => {
                    index.groups.entry(name.clone()).or_insert_with(|| tenant.clone());
                }
                (Space::User, Pattern::Prefix(prefix)) => {
                    index.user_prefixes.push(prefix_claim(prefix, tenant));
                }
                (Space::Group, Pattern::Prefix(prefix)) => {
                    index.group_prefixes.push(prefix_claim(prefix, tenant));
                }
            }
        }
    }
    for (name, tenant) in &snapshot.tenants.by_name {
        if let Some(it) = self_service::open(tenant) {
            index.self_service.insert(name.clone(), own_keys(it));
        }
    }
    for (name, tenant) in &snapshot.tenants.by_name {
        if let Some(it) = Placed::of(&tenant.spec, &snapshot.config.topology) {
            index.placements.insert(name.clone(), it.indexed());
        }
    }
    let regions = index.placements.values().flat_map(|it| &it.regions).flatten();
    index.topology = placement::topology(regions, &snapshot.config.topology);
    index.ambiguous = ambiguous(snapshot);
    service_accounts(snapshot, &mut index);
    roles(snapshot, &mut index);
    index
}

/// The index object, but for what the API server adds.
pub fn object(spec: TenancyIndexSpec) -> TenancyIndex {
    TenancyIndex {
        metadata: ObjectMeta {
            name: Some(labels::INDEX_NAME.to_owned()),
            labels: Some([(labels::MANAGED_BY.to_owned(), labels::OPERATOR.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec,
    }
}

/// The paths at which the index differs from what was written; none when it is as written. A foreign label,
/// annotation, finalizer or ownerReference is a difference too.
pub fn difference(written: &TenancyIndexSpec, observed: &TenancyIndex) -> Vec<String> {
    let written = object(written.clone());
    let (metadata, found) = (&written.metadata, &observed.metadata);
    let kept = [
        ("labels", found.labels == metadata.labels),
        (
            "annotations",
            found.annotations.as_ref().is_none_or(BTreeMap::is_empty),
        ),
        (
            "ownerReferences",
            found.owner_references.as_ref().is_none_or(Vec::is_empty),
        ),
        ("finalizers", found.finalizers.as_ref().is_none_or(Vec::is_empty)),
    ];
    let of_metadata = kept
        .into_iter()
        .filter(|(_, is_kept)| !is_kept)
        .map(|(name, _)| format!("metadata.{name}"));
    of_metadata
        .chain(of_spec(&written.spec, &observed.spec))
        .collect()
}

fn of_spec(written: &TenancyIndexSpec, observed: &TenancyIndexSpec) -> Vec<String> {
    if written == observed {
        return Vec::new();
    }
    let members = |it| serde_json::to_value(it).unwrap_or_default();
    let (written, observed): (Value, Value) = (members(written), members(observed));
    let names = written.as_object().into_iter().flat_map(serde_json::Map::keys);
    names
        .filter(|it| written.get(*it) != observed.get(*it))
        .map(|it| format!("spec.{it}"))
        .collect()
}

fn prefix_claim(prefix: &str, tenant: &str) -> PrefixClaim {
    PrefixClaim {
        prefix: prefix.to_owned(),
        tenant: tenant.to_owned(),
    }
}

/// What decides isolation isn't an owner's to set, whatever the Tenant lists.
pub(crate) fn own_keys(self_service: &SelfService) -> OwnKeys {
    let allowed = |keys: &[String]| {
        keys.iter()
            .filter(|it| !self_service::decides(it))
            .cloned()
            .collect()
    };
    OwnKeys {
        labels: allowed(&self_service.labels),
        annotations: allowed(&self_service.annotations),
    }
}

/// Exact names that two tenants claim, one of them perhaps by a prefix.
fn ambiguous(snapshot: &Snapshot) -> Ambiguous {
    let mut ambiguous = Ambiguous::default();
    for (claim, tenants) in snapshot.tenants.identities.claims() {
        let Pattern::Exact(name) = &claim.pattern else {
            continue;
        };
        let is_shared = tenants.len() > 1
            || tenants
                .first()
                .is_some_and(|it| !snapshot.tenants.identities.rivals(it, &claim).is_empty());
        if is_shared {
            match claim.space {
                Space::User => ambiguous.users.push(name.clone()),
                Space::Group => ambiguous.groups.push(name.clone()),
            }
        }
    }
    ambiguous
}

/// A tenant may claim a ServiceAccount of a namespace that is not its own. The group of all ServiceAccounts of
/// that namespace has a tenant's among them then.
fn service_accounts(snapshot: &Snapshot, index: &mut TenancyIndexSpec) {
    let mut claimed: BTreeMap<String, BTreeSet<&String>> = BTreeMap::new();
    for (claim, tenants) in snapshot.tenants.identities.claims() {
        if let (Space::User, Pattern::Exact(user)) = (claim.space, &claim.pattern)
            && let Some(namespace) = identity::service_account_namespace(user)
        {
            claimed.entry(namespace.to_owned()).or_default().extend(tenants);
        }
    }
    for (namespace, tenants) in claimed {
        let owner = snapshot.tenant_of(&namespace);
        let mut foreign = tenants
            .into_iter()
            .filter(|it| owner != Some(it.as_str()))
            .cloned();
        let Some(tenant) = foreign.next() else { continue };
        let group = identity::service_accounts_group(&namespace);
        if owner.is_some() || foreign.next().is_some() {
            index.ambiguous.groups.push(group.clone());
        }
        index.groups.insert(group, tenant);
    }
    index.ambiguous.groups.sort();
}

fn platform(snapshot: &Snapshot) -> Platform {
    let mut platform = Platform::default();
    let subjects = &snapshot.config.platform_subjects;
    for pattern in &subjects.users {
        match pattern {
            Pattern::Exact(name) => platform.users.push(name.clone()),
            Pattern::Prefix(prefix) => platform.user_prefixes.push(prefix.clone()),
        }
    }
    for pattern in &subjects.groups {
        match pattern {
            Pattern::Exact(name) => platform.groups.push(name.clone()),
            Pattern::Prefix(prefix) => platform.group_prefixes.push(prefix.clone()),
        }
    }
    platform
}

fn roles(snapshot: &Snapshot, index: &mut TenancyIndexSpec) {
    for (name, role) in &snapshot.rbac.cluster_roles {
        let rules = snapshot.effective_rules(role);
        if rules
            .iter()
            .all(|it| grants::is_harmless(it, &snapshot.config.harmless_permissions))
        {
            index.harmless_cluster_roles.insert(name.clone(), true);
        }
    }
    for (role, bindings) in &snapshot.rbac.by_cluster_role {
        for binding in bindings {
            let in_tenant = binding
                .namespace
                .as_deref()
                .is_none_or(|it| snapshot.tenant_of(it).is_some());
            if !in_tenant || !binding.subjects.iter().any(|it| snapshot.reaches_tenants(it)) {
                continue;
            }
            let bound = match binding.namespace {
                None => &mut index.cluster_bound_roles,
                Some(_) => &mut index.tenant_bound_roles,
            };
            bound.insert(role.clone(), true);
        }
    }
}

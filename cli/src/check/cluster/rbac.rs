//! Roles and bindings: Kubernetes' own, the chart's, the operator's and those of the files.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_core::grants::Rule;
use bailiwick_core::selector;
use bailiwick_core::snapshot::{self, Rbac, RoleFacts};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde_json::Value;

use super::known::KNOWN;
use super::{Key, of_kind};
use crate::check::manifest::Manifest;

/// All roles and bindings; and the same before a ClusterRole of the files grants anything.
pub(super) fn collect(made: &BTreeMap<Key, Value>, manifests: &[Manifest]) -> (Rbac, Rbac) {
    let mut rbac = KNOWN.rbac.clone();
    for (manifest, role) in of_kind::<Role>(manifests, "Role") {
        let Some(namespace) = manifest.id.namespace.clone() else {
            continue;
        };
        rbac.roles
            .entry(namespace)
            .or_default()
            .insert(manifest.id.name.clone(), snapshot::rules(role.rules.as_ref()));
    }
    bind(&mut rbac, made, manifests);
    let mut before = rbac.clone();
    for (manifest, role) in of_kind::<ClusterRole>(manifests, "ClusterRole") {
        let facts = RoleFacts::from(&role);
        let silent = RoleFacts {
            rules: Vec::new(),
            ..facts.clone()
        };
        let name = &manifest.id.name;
        before.cluster_roles.entry(name.clone()).or_insert(silent);
        rbac.cluster_roles.insert(name.clone(), facts);
    }
    aggregate(&mut rbac);
    aggregate(&mut before);
    (rbac, before)
}

fn bind(rbac: &mut Rbac, made: &BTreeMap<Key, Value>, manifests: &[Manifest]) {
    // A manifest of a stock binding takes its place.
    let is_written: BTreeSet<&str> = manifests
        .iter()
        .filter(|it| it.judged.is_some_and(|it| it.kind == "ClusterRoleBinding"))
        .map(|it| it.id.name.as_str())
        .collect();
    for bindings in rbac.by_cluster_role.values_mut() {
        bindings.retain(|it| !is_written.contains(it.name.as_str()));
    }
    let cluster_wide = of_kind::<ClusterRoleBinding>(manifests, "ClusterRoleBinding")
        .filter_map(|(_, it)| snapshot::binding(&it.metadata, &it.role_ref, it.subjects.as_ref()));
    let made = made
        .iter()
        .filter(|((_, kind, _, _), _)| kind == "RoleBinding")
        .filter_map(|(_, it)| serde_json::from_value::<RoleBinding>(it.clone()).ok());
    let written = of_kind::<RoleBinding>(manifests, "RoleBinding")
        .filter(|(manifest, _)| manifest.id.namespace.is_some())
        .map(|(_, it)| it);
    let in_namespaces = made
        .chain(written)
        .filter_map(|it| snapshot::binding(&it.metadata, &it.role_ref, it.subjects.as_ref()));
    for (role, facts) in cluster_wide.chain(in_namespaces) {
        rbac.bind(role, facts);
    }
}

/// Fills in what aggregated ClusterRoles grant, as Kubernetes' controller does: the rules of all that they select,
/// the aggregated ones among them included.
pub(super) fn aggregate(rbac: &mut Rbac) {
    let roles = &mut rbac.cluster_roles;
    let names: BTreeSet<String> = roles.keys().cloned().collect();
    let aggregated: Vec<&String> = names
        .iter()
        .filter(|it| roles.get(*it).is_some_and(|it| !it.aggregates.is_empty()))
        .collect();
    // Each round reaches one link further along a chain of aggregated roles.
    for _ in 0..=aggregated.len() {
        let mut changed = false;
        for name in &aggregated {
            let Some(role) = roles.get(*name).cloned() else {
                continue;
            };
            let adds = |labels: &BTreeMap<String, String>| {
                role.aggregates.iter().any(|it| selector::matches(it, labels))
            };
            let others = names
                .iter()
                .filter(|it| it != name)
                .filter_map(|it| roles.get(it));
            let granted: BTreeSet<Rule> = others
                .filter(|it| adds(&it.labels))
                .flat_map(|it| it.rules.iter().cloned())
                .collect();
            let granted = Vec::from_iter(granted);
            if granted != role.rules {
                changed = true;
                let filled = RoleFacts {
                    rules: granted,
                    ..role
                };
                roles.insert((*name).clone(), filled);
            }
        }
        if !changed {
            return;
        }
    }
}

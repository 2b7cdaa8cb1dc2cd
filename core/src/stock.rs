//! The ClusterRoles that every cluster has: Kubernetes' own, and the chart's for tenants.
//!
//! Who decides without a cluster at hand looks here for what `edit` or `system:discovery` grants. Where the data
//! comes from, and how it is made anew, is in `stock/README.md`.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use serde::Deserialize;

/// Roles and bindings that are there before anybody applies anything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stock {
    /// ClusterRoles. Those with an aggregationRule have no rules yet: a controller fills them in.
    pub cluster_roles: Vec<ClusterRole>,
    /// ClusterRoleBindings.
    pub cluster_role_bindings: Vec<ClusterRoleBinding>,
}

/// What Kubernetes makes at its first start.
///
/// # Errors
/// When the embedded data is not what it is said to be, which a test rules out.
pub fn kubernetes() -> serde_json::Result<Stock> {
    serde_json::from_str(include_str!("stock/kubernetes.json"))
}

/// What Bailiwick's chart installs for tenants.
///
/// # Errors
/// When the embedded data is not what it is said to be, which a test rules out.
pub fn bailiwick() -> serde_json::Result<Stock> {
    serde_json::from_str(include_str!("stock/bailiwick.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stock: &Stock, role: &str, rules: usize, aggregates: bool) {
        let found = stock
            .cluster_roles
            .iter()
            .find(|it| it.metadata.name.as_deref() == Some(role))
            .unwrap();
        assert_eq!(found.rules.iter().flatten().count(), rules, "{role}");
        assert_eq!(found.aggregation_rule.is_some(), aggregates, "{role}");
    }

    #[test]
    fn the_roles_that_people_bind_are_there() {
        let stock = kubernetes().unwrap();
        check(&stock, "cluster-admin", 2, false);
        check(&stock, "edit", 0, true);
        check(&stock, "system:discovery", 1, false);
        check(&stock, "system:basic-user", 2, false);
        check(&stock, "system:controller:namespace-controller", 3, false);
        assert!(stock.cluster_role_bindings.iter().any(|it| {
            it.metadata.name.as_deref() == Some("system:discovery")
                && it
                    .subjects
                    .iter()
                    .flatten()
                    .any(|it| it.name == "system:authenticated")
        }));
        let names = bailiwick().unwrap().cluster_roles;
        let names: Vec<_> = names
            .iter()
            .filter_map(|it| it.metadata.name.as_deref())
            .collect();
        assert_eq!(names, ["bailiwick-view", "bailiwick-edit", "bailiwick-admin"]);
    }
}

//! Roles and bindings that are in every cluster: Kubernetes' own and the chart's.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bailiwick_core::snapshot::{Rbac, RoleFacts, binding};
use bailiwick_core::stock;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use serde_json::Value;

use super::rbac::aggregate;
use super::{Key, key};

/// What is in every cluster.
pub(super) static KNOWN: LazyLock<Known> = LazyLock::new(Known::read);

#[derive(Default)]
pub(super) struct Known {
    /// As objects.
    pub(super) objects: BTreeMap<Key, Value>,
    /// As decisions know them.
    pub(super) rbac: Rbac,
}

impl Known {
    /// Reads the embedded data; that this succeeds is tested.
    fn read() -> Self {
        let mut known = Self::default();
        for stock in [stock::kubernetes(), stock::bailiwick()] {
            let stock = stock.unwrap_or_default();
            stock.cluster_roles.iter().for_each(|it| known.role(it));
            stock
                .cluster_role_bindings
                .iter()
                .for_each(|it| known.binding(it));
        }
        aggregate(&mut known.rbac);
        known
    }

    fn role(&mut self, role: &ClusterRole) {
        let name = role.metadata.name.clone().unwrap_or_default();
        let value = serde_json::to_value(role).unwrap_or_default();
        self.objects.insert(stock_key("ClusterRole", &name), value);
        self.rbac.cluster_roles.insert(name, RoleFacts::from(role));
    }

    fn binding(&mut self, it: &ClusterRoleBinding) {
        let name = it.metadata.name.as_deref().unwrap_or_default();
        let value = serde_json::to_value(it).unwrap_or_default();
        self.objects.insert(stock_key("ClusterRoleBinding", name), value);
        if let Some((role, facts)) = binding(&it.metadata, &it.role_ref, it.subjects.as_ref()) {
            self.rbac.bind(role, facts);
        }
    }
}

fn stock_key(kind: &str, name: &str) -> Key {
    key("rbac.authorization.k8s.io", kind, "", name)
}

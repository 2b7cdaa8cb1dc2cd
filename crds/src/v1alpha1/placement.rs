//! Where a tenant's Pods run and its data lies.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::AllowedToleration;

/// Where the tenant's Pods run and its data lies: there and nowhere else, but for the exceptions that it lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.regions) || !has(self.nodeSelector) || !('topology.kubernetes.io/region' in self.nodeSelector)")
        .message("nodeSelector must not name topology.kubernetes.io/region beside regions: write the region into regions").field_path(".nodeSelector"),
    validation = Rule::new("!has(self.exceptions) || has(self.regions) || has(self.nodeSelector)")
        .message("exceptions need regions or nodeSelector to be exceptions from: add one of them, or leave exceptions out").field_path(".exceptions")
)]
pub struct Placement {
    /// regions in which Pods run and data lies: values of the label topology.kubernetes.io/region of nodes. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 16),
        inner(
            length(min = 1, max = 63),
            regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
        )
    )]
    pub regions: Option<Vec<String>>,
    /// nodeSelector that all nodes with Pods of the tenant match, such as the label of its node pool. It is added to the
    /// Pods' own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16), schema_with = "selector_map")]
    pub node_selector: BTreeMap<String, String>,
    /// tolerations that are added to the Pods, such as of the taint of the tenant's node pool. They are allowed whatever
    /// `workloads.tolerations` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<AllowedToleration>,
    /// exceptions from all of it, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub exceptions: Vec<PlacementException>,
}

/// What need not be where the placement says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.namespaces) || has(self.storageClasses) || has(self.csiDrivers)")
        .message("an exception must list namespaces, storageClasses or csiDrivers")
)]
pub struct PlacementException {
    /// reason for the exception, for whoever audits it.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
    /// namespaces among those that the Tenant declares: their Pods run, and their data lies, anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
    /// storageClasses whose data is taken to lie within the regions, though their topology and their volumes' doesn't say so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
        )
    )]
    pub storage_classes: Vec<String>,
    /// csiDrivers of which Pods may name volumes themselves, without a claim: what they mount is taken to lie within, such as
    /// secrets that are fetched for the Pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 64),
        inner(
            length(min = 1, max = 63),
            regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
        )
    )]
    pub csi_drivers: Vec<String>,
}

/// Keys and values are bounded, so that rules over them have a bounded cost.
fn selector_map(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"},
    })
}

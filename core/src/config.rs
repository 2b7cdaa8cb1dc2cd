//! The configuration document: what the platform says once, for the operator, the webhook and the CLI alike.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::grants::Rule;
use crate::identity::Pattern;

/// The configuration document. Every field has a default that fits an installation by the chart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The operator's user name: the one writer of managed objects.
    pub operator_user: String,
    /// Bailiwick's own namespace; no Tenant may take it.
    pub namespace: String,
    /// More namespaces that no Tenant may take.
    pub reserved_namespaces: Vec<String>,
    /// Subjects of the platform: they may be named in any tenant's RoleBindings.
    pub platform_subjects: PlatformSubjects,
    /// ClusterRoles that Tenants may name in `spec.access`.
    pub bindable_cluster_roles: Vec<String>,
    /// The ClusterRole that owners get in their namespaces.
    pub owner_cluster_role: String,
    /// Where the cluster's DNS runs.
    pub dns: Dns,
    /// Ranges of the cluster itself: Pods, Services, nodes. No exception to them by address is accepted.
    #[serde(rename = "clusterCIDRs")]
    pub cluster_cidrs: Vec<ipnet::IpNet>,
    /// Whether the cluster stamps the tenant label on Pods; false before Kubernetes 1.36.
    pub pod_label_stamping: bool,
    /// Permissions, beside discovery, that tenants' subjects may have cluster-wide.
    pub harmless_permissions: Vec<Rule>,
    /// How the API server's time is shared.
    pub api_fairness: ApiFairness,
    /// Which zones are in which region.
    pub topology: Topology,
}

/// Where the cluster's nodes and volumes are. A region is known by its label; that a zone is in it has to be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Topology {
    /// Each region's zones. Where it is empty, regions are taken as Tenants write them.
    pub zones: BTreeMap<String, BTreeSet<String>>,
    /// Labels of nodes with the name of a zone.
    pub zone_keys: BTreeSet<String>,
}

impl Topology {
    /// A zone is in one region, or it would prove nothing.
    fn check(&self) -> Result<(), String> {
        let mut regions: BTreeMap<&str, &str> = BTreeMap::new();
        for (region, zones) in &self.zones {
            for zone in zones {
                if let Some(other) = regions.insert(zone, region) {
                    return Err(format!(
                        "configuration document: topology.zones: zone {zone:?} is in {other:?} and in {region:?}; it must be in one \
                         region: take it out of the other"
                    ));
                }
            }
        }
        let region_key = self.zone_keys.iter().find(|it| it.ends_with("/region"));
        region_key.map_or(Ok(()), |it| {
            Err(format!(
                "configuration document: topology.zoneKeys: {it:?} is the label of a region; list labels with the name of a zone"
            ))
        })
    }
}

impl Default for Topology {
    fn default() -> Self {
        let zone_keys = [
            "topology.kubernetes.io/zone",
            "topology.ebs.csi.aws.com/zone",
            "topology.gke.io/zone",
            "topology.disk.csi.azure.com/zone",
            "topology.cinder.csi.openstack.org/zone",
        ];
        Self {
            zones: BTreeMap::new(),
            zone_keys: zone_keys.map(str::to_owned).into(),
        }
    }
}

/// How the API server's time is shared among tenants. The chart makes the PriorityLevelConfiguration of each tier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApiFairness {
    /// The tiers that Tenants may name in `spec.priority`.
    pub tiers: Vec<String>,
    /// The tier of a Tenant that names none; without it such a Tenant has no part of its own.
    pub default_tier: Option<String>,
}

/// Subjects of the platform, by exact name or by a prefix ending in `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PlatformSubjects {
    /// User names.
    pub users: Vec<Pattern>,
    /// Group names.
    pub groups: Vec<Pattern>,
}

/// Where the cluster's DNS runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Dns {
    /// Namespace of the DNS Pods.
    pub namespace: String,
    /// Labels of the DNS Pods.
    pub pod_labels: BTreeMap<String, String>,
    /// Port they listen on, UDP and TCP.
    pub port: u16,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            namespace: "kube-system".to_owned(),
            pod_labels: BTreeMap::from([("k8s-app".to_owned(), "kube-dns".to_owned())]),
            port: 53,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            operator_user: "system:serviceaccount:bailiwick-system:bailiwick-operator".to_owned(),
            namespace: "bailiwick-system".to_owned(),
            reserved_namespaces: Vec::new(),
            platform_subjects: PlatformSubjects::default(),
            bindable_cluster_roles: [
                "admin",
                "edit",
                "view",
                "bailiwick-admin",
                "bailiwick-edit",
                "bailiwick-view",
            ]
            .map(str::to_owned)
            .to_vec(),
            owner_cluster_role: "bailiwick-admin".to_owned(),
            dns: Dns::default(),
            cluster_cidrs: Vec::new(),
            pod_label_stamping: true,
            harmless_permissions: Vec::new(),
            api_fairness: ApiFairness::default(),
            topology: Topology::default(),
        }
    }
}

impl Config {
    /// Reads the document.
    ///
    /// # Errors
    /// Text that names the line and the field: a typo is never a setting that silently has no effect.
    pub fn from_yaml(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let config: Self =
            serde_saphyr::from_str(text).map_err(|error| format!("configuration document: {error}"))?;
        config.topology.check()?;
        Ok(config)
    }

    /// Whether no Tenant may take this namespace.
    pub fn is_reserved_namespace(&self, name: &str) -> bool {
        name == "default"
            || name.starts_with("kube-")
            || name == self.namespace
            || self.reserved_namespaces.iter().any(|it| it == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_document_is_the_default() {
        assert_eq!(Config::from_yaml(" \n").unwrap(), Config::default());
        assert_eq!(Config::from_yaml("{}").unwrap(), Config::default());
    }

    #[test]
    fn a_typo_is_refused_by_name() {
        let error = Config::from_yaml("ownerClusterrole: x\n").unwrap_err();
        assert!(error.contains("ownerClusterrole"), "{error}");
    }

    #[test]
    fn a_zone_is_in_one_region() {
        assert!(Config::from_yaml("topology: {zones: {a: [a1, a2], b: [b1]}}").is_ok());
        let error = Config::from_yaml("topology: {zones: {a: [x, a2], b: [x]}}").unwrap_err();
        assert!(error.contains("zone \"x\" is in \"a\" and in \"b\""), "{error}");
        assert!(Config::from_yaml("topology: {zoneKeys: [example.com/zone]}").is_ok());
        let error = Config::from_yaml("topology: {zoneKeys: [topology.kubernetes.io/region]}").unwrap_err();
        assert!(error.contains("topology.zoneKeys"), "{error}");
    }

    #[test]
    fn reserved_namespaces_are_exact() {
        let config = Config {
            reserved_namespaces: vec!["istio-system".to_owned()],
            ..Config::default()
        };
        for (name, reserved) in [
            ("kube-system", true),
            ("default", true),
            ("bailiwick-system", true),
            ("istio-system", true),
            ("istio-systems", false),
            ("defaults", false),
            ("kubernetes", false),
        ] {
            assert_eq!(config.is_reserved_namespace(name), reserved, "{name}");
        }
    }
}

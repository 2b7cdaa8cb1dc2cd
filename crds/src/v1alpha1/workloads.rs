//! The guard rails of a tenant: what its workloads may use of what the cluster shares.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the tenant's workloads may use. In each list: absent, the field is not restricted; empty, nothing is
/// allowed; else exactly these. Nothing here loosens what isolation itself asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.priorityClasses) || self.priorityClasses.all(p, !p.startsWith('system-'))")
        .message("priorityClasses must not begin with 'system-': those are for what keeps the cluster itself running").field_path(".priorityClasses")
)]
pub struct Workloads {
    /// registries from which images may come: a registry, or a path in one, such as `registry.acme.io` or
    /// `ghcr.io/acme`. It holds for all containers and for image volumes. Docker Hub is `docker.io`, its official
    /// images `docker.io/library`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 253),
            regex(
                pattern = r"^(localhost(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?|[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?((\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)+(:[0-9]{1,5})?|:[0-9]{1,5}))(/[a-z0-9]+([._-]+[a-z0-9]+)*)*/?$"
            )
        )
    )]
    pub registries: Option<Vec<String>>,
    /// storageClasses that PersistentVolumeClaims may name; with a list they must name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
        )
    )]
    pub storage_classes: Option<Vec<String>>,
    /// priorityClasses that Pods may name. A Pod that names none has the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
        )
    )]
    pub priority_classes: Option<Vec<String>>,
    /// runtimeClasses that Pods may name; with one or more in the list they must name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
        )
    )]
    pub runtime_classes: Option<Vec<String>>,
    /// ingressClasses that Ingresses may name; with a list they must name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
        )
    )]
    pub ingress_classes: Option<Vec<String>>,
    /// gatewayClasses that Gateways may name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
        )
    )]
    pub gateway_classes: Option<Vec<String>>,
    /// hostnames that Ingresses, Gateways and their routes may serve, and nobody else: exact, or `*.` and a domain for
    /// every name below it. Two Tenants' hostnames must not overlap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 3, max = 253),
            regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$")
        )
    )]
    pub hostnames: Option<Vec<String>>,
    /// tolerations that Pods may have, beside those that Kubernetes itself adds (`node.kubernetes.io/*`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub tolerations: Option<Vec<AllowedToleration>>,
    /// services says which Services reach out of the cluster, or may be reached from outside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Services>,
}

/// A taint that Pods may tolerate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedToleration {
    /// key of the taint.
    #[schemars(
        length(min = 1, max = 316),
        regex(pattern = r"^([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub key: String,
    /// value of the taint. Without it: every value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// effect of the taint. Without it: every effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

/// What a taint does to Pods that don't tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// None is scheduled to the node.
    NoSchedule,
    /// None is scheduled to the node if another one will do.
    PreferNoSchedule,
    /// None stays on the node.
    NoExecute,
}

/// Which Services reach out of the cluster, or may be reached from outside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.externalIPs) || self.externalIPs.all(a, isIP(a) || (isCIDR(a) && cidr(a).masked() == cidr(a) && cidr(a).prefixLength() >= 8))")
        .message("externalIPs must be IP addresses, or networks of /8 or smaller with no host bits set, such as 203.0.113.7 or 203.0.113.0/28").field_path(".externalIPs")
)]
pub struct Services {
    /// loadBalancer says whether Services may be of type LoadBalancer. Absent: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<bool>,
    /// nodePort says whether Services may be of type NodePort. Absent: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<bool>,
    /// externalIPs that Services may have, as addresses or networks. Absent: none, because a Service takes the traffic
    /// of everybody in the cluster to such an address (CVE-2020-8554).
    #[serde(default, rename = "externalIPs", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 2, max = 43)))]
    pub external_ips: Option<Vec<String>>,
    /// externalNames that Services of type ExternalName may lead to: exact, `*.` and a domain, or `*`. Absent: none,
    /// because whoever follows such a name for the tenant, an ingress controller for one, goes where the tenant may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 253),
            regex(
                pattern = r"^(\*|(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+)$"
            )
        )
    )]
    pub external_names: Option<Vec<String>>,
}

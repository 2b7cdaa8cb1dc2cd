//! Whom a peer of a NetworkPolicy can mean, now or later.
//!
//! A selector is judged by what it proves and not by what it happens to match: whoever may label a Namespace
//! chooses its labels, but for the tenant label, which is guarded, and `kubernetes.io/metadata.name`, which is the
//! API server's. So a selector stays inside only where one of these two has to be one of few values.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_crds::labels;
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::config::{Config, Dns};
use crate::finding::some_of;
use crate::network::{self, Block};
use crate::ranges;
use crate::validate::ValidTenant;

/// Whom a tenant's Pods may exchange traffic with, in one direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    /// The tenant itself, and those that it names.
    pub tenants: BTreeSet<String>,
    /// Namespaces that it names.
    pub namespaces: BTreeSet<String>,
    /// The cluster's DNS.
    pub dns: Option<Dns>,
    /// Networks.
    pub networks: Vec<Block>,
}

impl Bounds {
    /// A tenant and nobody else.
    pub fn closed(tenant: &str) -> Self {
        Self {
            tenants: BTreeSet::from([tenant.to_owned()]),
            ..Self::default()
        }
    }

    /// Who may send to the tenant: what the operator's own policy lets in. It lets in no address.
    pub fn ingress(tenant: &ValidTenant) -> Self {
        let mut bounds = Self::closed(&tenant.name);
        if let Some(declared) = &tenant.network.ingress {
            bounds.tenants.extend(declared.from_tenants.iter().cloned());
            bounds.namespaces.extend(declared.from_namespaces.iter().cloned());
        }
        bounds
    }

    /// Whom the tenant may reach: what the operator's own policy lets out.
    pub fn egress(tenant: &ValidTenant, config: &Config) -> Self {
        let declared = tenant.egress();
        let mut bounds = Self::closed(&tenant.name);
        bounds.tenants.extend(declared.to_tenants);
        bounds.dns = declared.dns.then(|| config.dns.clone());
        let named = tenant.to_cidrs.iter().map(|it| Block {
            cidr: *it,
            except: Vec::new(),
        });
        bounds.networks.extend(named);
        if declared.internet {
            bounds.networks.extend(network::internet(&config.cluster_cidrs));
        }
        bounds
    }

    /// What a peer reaches beyond these bounds, in words; none where it provably stays inside. `is_own` tells the
    /// namespaces that are the tenant's.
    pub fn beyond(
        &self,
        peer: &NetworkPolicyPeer,
        ports: &[NetworkPolicyPort],
        is_own: impl Fn(&str) -> bool,
    ) -> Option<String> {
        if let Some(block) = &peer.ip_block {
            return self.beyond_networks(block);
        }
        let Some(namespaces) = &peer.namespace_selector else {
            // Pods of the policy's own namespace.
            let nobody = || "a peer that names nobody".to_owned();
            return peer.pod_selector.is_none().then(nobody);
        };
        let found = self.beyond_namespaces(namespaces, is_own)?;
        let pods = peer.pod_selector.as_ref();
        let is_dns = self.dns.as_ref().zip(pods);
        if is_dns.is_some_and(|(dns, pods)| asks(dns, namespaces, pods, ports)) {
            return None;
        }
        Some(found)
    }

    fn beyond_networks(&self, written: &IPBlock) -> Option<String> {
        let parsed: Option<IpNet> = written.cidr.parse().ok();
        let except: Option<Vec<IpNet>> = written
            .except
            .iter()
            .flatten()
            .map(|it| it.parse().ok())
            .collect();
        let is_within = parsed.zip(except).is_some_and(|(cidr, except)| {
            let cidr = cidr.trunc();
            ranges::is_within(&Block { cidr, except }, &self.networks)
        });
        (!is_within).then(|| match written.except.as_deref() {
            None | Some([]) => format!("addresses in {}", written.cidr),
            Some(except) => format!("addresses in {} except {}", written.cidr, some_of(except)),
        })
    }

    fn beyond_namespaces(&self, selector: &LabelSelector, is_own: impl Fn(&str) -> bool) -> Option<String> {
        let tenants = values(selector, labels::TENANT);
        let names = values(selector, labels::METADATA_NAME);
        let strange = |values: &BTreeSet<&str>, is_inside: &dyn Fn(&str) -> bool| {
            let strangers = values.iter().filter(|it| !is_inside(it));
            strangers.map(|it| (*it).to_owned()).collect::<Vec<_>>()
        };
        let tenants = tenants.map(|it| strange(&it, &|it| self.tenants.contains(it)));
        let names = names.map(|it| strange(&it, &|it| self.namespaces.contains(it) || is_own(it)));
        match (tenants, names) {
            (Some(strangers), _) | (_, Some(strangers)) if strangers.is_empty() => None,
            (_, Some(strangers)) => Some(format!("Namespace {}", some_of(strangers))),
            (Some(strangers), None) => Some(format!("Namespaces of tenant {}", some_of(strangers))),
            (None, None) => Some(match keys(selector) {
                keys if keys.is_empty() => "every Namespace".to_owned(),
                keys => format!(
                    "every Namespace that has, or lacks, the right label {}",
                    some_of(keys)
                ),
            }),
        }
    }
}

/// Whether a peer is the cluster's DNS on its port, and nothing else.
fn asks(dns: &Dns, namespaces: &LabelSelector, pods: &LabelSelector, ports: &[NetworkPolicyPort]) -> bool {
    let only = |selector: &LabelSelector, key: &str, value: &str| {
        values(selector, key).is_some_and(|it| it.iter().all(|it| *it == value))
    };
    let is_its_port = |it: &NetworkPolicyPort| {
        let protocol = it.protocol.as_deref().unwrap_or("TCP");
        let is_number = it.port == Some(IntOrString::Int(i32::from(dns.port)));
        let is_one = it.end_port.is_none_or(|end| end == i32::from(dns.port));
        matches!(protocol, "TCP" | "UDP") && is_number && is_one
    };
    only(namespaces, labels::METADATA_NAME, &dns.namespace)
        && !dns.pod_labels.is_empty()
        && dns.pod_labels.iter().all(|(key, value)| only(pods, key, value))
        && !ports.is_empty()
        && ports.iter().all(is_its_port)
}

/// The values that a label has on whatever the selector selects; none where it need not be one of few. What
/// excludes values proves nothing by itself.
fn values<'a>(selector: &'a LabelSelector, key: &str) -> Option<BTreeSet<&'a str>> {
    let equal = selector.match_labels.iter().flatten();
    let equal = equal
        .filter(|it| it.0 == key)
        .map(|it| BTreeSet::from([it.1.as_str()]));
    let expressions = selector.match_expressions.iter().flatten();
    let listed = expressions
        .filter(|it| it.key == key && it.operator == "In")
        .map(|it| it.values.iter().flatten().map(String::as_str).collect());
    let all: Vec<BTreeSet<&str>> = equal.chain(listed).collect();
    all.into_iter()
        .reduce(|a, b| a.intersection(&b).copied().collect())
}

/// The labels that a selector looks at.
fn keys(selector: &LabelSelector) -> BTreeSet<&str> {
    let equal: Option<&BTreeMap<String, String>> = selector.match_labels.as_ref();
    let expressions = selector.match_expressions.iter().flatten();
    let keys = equal.into_iter().flat_map(BTreeMap::keys);
    keys.chain(expressions.map(|it| &it.key))
        .map(String::as_str)
        .collect()
}

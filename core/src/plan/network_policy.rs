//! Default-deny, and one policy with all declared exceptions.
//!
//! Peers are selected by the guarded tenant label or by `kubernetes.io/metadata.name`, which the API server
//! sets: never by a label that somebody else can write. Lists are written even when empty, because an absent
//! list can't be put back by server-side apply.

use std::collections::BTreeMap;

use bailiwick_crds::labels;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Object;
use crate::config::{Config, Dns};
use crate::network::{self, Block};
use crate::validate::ValidTenant;

/// Denies everything that no other policy allows.
const DEFAULT_DENY: &str = "bailiwick-default-deny";
/// Allows the traffic inside the tenant and the declared exceptions.
const ALLOW: &str = "bailiwick-allow";

pub(super) fn plan(
    tenant: &ValidTenant,
    config: &Config,
    metadata: impl Fn(&str) -> ObjectMeta,
) -> Vec<Object> {
    let allow = policy(metadata(ALLOW), ingress(tenant), egress(tenant, config));
    vec![deny(metadata), allow]
}

/// Default-deny alone.
pub(super) fn deny(metadata: impl Fn(&str) -> ObjectMeta) -> Object {
    policy(metadata(DEFAULT_DENY), Vec::new(), Vec::new())
}

fn policy(
    metadata: ObjectMeta,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> Object {
    Object::NetworkPolicy(NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(ingress),
            egress: Some(egress),
        }),
    })
}

fn ingress(tenant: &ValidTenant) -> Vec<NetworkPolicyIngressRule> {
    let declared = tenant.network.ingress.clone().unwrap_or_default();
    let own = std::iter::once(tenant.name.clone());
    let tenants = own
        .chain(sorted(declared.from_tenants))
        .map(|it| by_label(labels::TENANT, &it));
    let namespaces = sorted(declared.from_namespaces)
        .into_iter()
        .map(|it| by_label(labels::METADATA_NAME, &it));
    vec![NetworkPolicyIngressRule {
        from: Some(tenants.chain(namespaces).collect()),
        ports: None,
    }]
}

fn egress(tenant: &ValidTenant, config: &Config) -> Vec<NetworkPolicyEgressRule> {
    let declared = tenant.egress();
    let own = std::iter::once(tenant.name.clone());
    let mut peers: Vec<_> = own
        .chain(sorted(declared.to_tenants))
        .map(|it| by_label(labels::TENANT, &it))
        .collect();
    let mut networks = tenant.to_cidrs.clone();
    networks.sort();
    networks.dedup();
    peers.extend(networks.into_iter().map(|cidr| {
        by_block(&Block {
            cidr,
            except: Vec::new(),
        })
    }));
    if declared.internet {
        peers.extend(network::internet(&config.cluster_cidrs).iter().map(by_block));
    }
    let mut rules = vec![NetworkPolicyEgressRule {
        to: Some(peers),
        ports: None,
    }];
    if declared.dns {
        rules.push(dns(&config.dns));
    }
    rules
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

fn match_label(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        match_expressions: None,
    }
}

fn by_label(key: &str, value: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(match_label(key, value)),
        ..NetworkPolicyPeer::default()
    }
}

fn by_block(block: &Block) -> NetworkPolicyPeer {
    let except: Vec<String> = block.except.iter().map(ToString::to_string).collect();
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: block.cidr.to_string(),
            except: (!except.is_empty()).then_some(except),
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn dns(dns: &Dns) -> NetworkPolicyEgressRule {
    let port = |protocol: &str| NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(i32::from(dns.port))),
        end_port: None,
    };
    NetworkPolicyEgressRule {
        to: Some(vec![NetworkPolicyPeer {
            namespace_selector: Some(match_label(labels::METADATA_NAME, &dns.namespace)),
            pod_selector: Some(LabelSelector {
                match_labels: Some(dns.pod_labels.clone()),
                match_expressions: None,
            }),
            ip_block: None,
        }]),
        ports: Some(vec![port("UDP"), port("TCP")]),
    }
}

//! Services: what they lead to, and from where they are reached.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use super::{Rails, Side, host};
use crate::decide::Findings;
use crate::finding::{Finding, RuleId};
use crate::grants::null_is_empty;
use crate::hostname::Hostname;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(rename = "type")]
    type_: Option<String>,
    external_name: Option<String>,
    allocate_load_balancer_node_ports: Option<bool>,
    #[serde(deserialize_with = "null_is_empty")]
    ports: Vec<Port>,
    #[serde(rename = "externalIPs", deserialize_with = "null_is_empty")]
    external_ips: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    node_port: u32,
}

pub(super) fn judge(rails: &Rails<'_>, side: &Side<'_>) -> Findings {
    let spec: Spec = side.spec()?;
    let mut findings = Vec::new();
    match spec.type_.as_deref().unwrap_or_default() {
        "ExternalName" => findings.extend(external_name(
            rails,
            spec.external_name.as_deref().unwrap_or_default(),
        )),
        type_ => findings.extend(reached_from_outside(rails, type_).or_else(|| on_nodes(rails, &spec))),
    }
    let addresses = spec.external_ips.iter().enumerate();
    findings.extend(addresses.filter_map(|(i, it)| external_ip(rails, i, it)));
    findings.extend(host::annotated(rails, side.metadata));
    Ok(findings)
}

fn reached_from_outside(rails: &Rails<'_>, type_: &str) -> Option<Finding> {
    let services = rails.workloads.and_then(|it| it.services.as_ref())?;
    let (is_refused, path) = match type_ {
        "LoadBalancer" => (services.load_balancer == Some(false), "loadBalancer"),
        "NodePort" => (services.node_port == Some(false), "nodePort"),
        _ => return None,
    };
    is_refused.then(|| {
        let other = match (services.load_balancer, services.node_port) {
            (Some(false), Some(false)) => "ClusterIP",
            (Some(false), _) => "ClusterIP or NodePort",
            _ => "ClusterIP or LoadBalancer",
        };
        Finding::new(
            RuleId::ServiceType,
            "spec.type",
            format!("'{type_}'"),
            other,
            format!(
                "choose one of these, or let the platform set spec.workloads.services.{path} of Tenant '{}' to true",
                rails.tenant
            ),
        )
    })
}

/// A load balancer has ports on every node, too, unless it says that it needs none.
fn on_nodes(rails: &Rails<'_>, spec: &Spec) -> Option<Finding> {
    let services = rails.workloads.and_then(|it| it.services.as_ref())?;
    let is_balancer = spec.type_.as_deref() == Some("LoadBalancer");
    if services.node_port != Some(false) || !is_balancer {
        return None;
    }
    let (field, found, allowed) = match spec.ports.iter().position(|it| it.node_port != 0) {
        Some(i) => (format!("spec.ports[{i}].nodePort"), "a node port", "none"),
        None if spec.allocate_load_balancer_node_ports == Some(false) => return None,
        None => (
            "spec.allocateLoadBalancerNodePorts".to_owned(),
            "a node port for each port",
            "false",
        ),
    };
    Some(Finding::new(
        RuleId::ServiceType,
        field,
        found,
        allowed,
        format!(
            "set spec.allocateLoadBalancerNodePorts to false and name no node ports, or let the platform set spec.workloads.services.nodePort of Tenant '{}' to true",
            rails.tenant
        ),
    ))
}

/// Everybody's traffic to such an address goes to the Service, from wherever in the cluster it comes (CVE-2020-8554).
fn external_ip(rails: &Rails<'_>, i: usize, address: &str) -> Option<Finding> {
    let services = rails.workloads.and_then(|it| it.services.as_ref());
    let list = services
        .and_then(|it| it.external_ips.as_deref())
        .unwrap_or_default();
    let parsed: Option<IpAddr> = address.parse().ok();
    let is_listed = parsed.is_some_and(|address| list.iter().any(|it| holds(it, address)));
    (!is_listed).then(|| {
        rails.not_listed(
            RuleId::ServiceExternalIp,
            format!("spec.externalIPs[{i}]"),
            format!("'{address}'"),
            list,
            "spec.workloads.services.externalIPs",
        )
    })
}

fn holds(listed: &str, address: IpAddr) -> bool {
    let net: Option<IpNet> = listed.parse().ok();
    net.map_or_else(|| listed.parse() == Ok(address), |it| it.contains(&address))
}

/// Whoever follows the name for the tenant, an ingress controller for one, goes where the tenant itself may not.
fn external_name(rails: &Rails<'_>, name: &str) -> Option<Finding> {
    let services = rails.workloads.and_then(|it| it.services.as_ref());
    let list = services
        .and_then(|it| it.external_names.as_deref())
        .unwrap_or_default();
    // A name may end in the dot of the root.
    let host = Hostname::parse(name.strip_suffix('.').unwrap_or(name));
    let is_listed = list.iter().any(|it| {
        let pattern = Hostname::parse(it);
        it == "*"
            || pattern
                .zip(host.as_ref())
                .is_some_and(|(it, host)| it.covers(host))
    });
    (!is_listed).then(|| {
        rails.not_listed(
            RuleId::ServiceExternalName,
            "spec.externalName",
            format!("'{name}'"),
            list,
            "spec.workloads.services.externalNames",
        )
    })
}

//! A NetworkPolicy of a tenant opens nothing that its Tenant does not.
//!
//! NetworkPolicies only add: what one of them opens no other closes. So each peer has to lie within what the
//! operator's own policy allows. A policy that closes more is everybody's right.

use k8s_openapi::api::networking::v1::{
    NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use serde::Deserialize;

use super::{Findings, exists, object, old_object, without_foreign_sources};
use crate::finding::{Finding, RuleId, some_of};
use crate::peer::Bounds;
use crate::review::{Operation, Request};
use crate::snapshot::Snapshot;
use crate::validate::examine;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    spec: Option<NetworkPolicySpec>,
}

/// Which way traffic goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

/// One thing that a policy opens: traffic with a peer, or with everybody where none is named.
#[derive(PartialEq)]
struct Opening<'a> {
    direction: Direction,
    peer: Option<&'a NetworkPolicyPeer>,
    ports: &'a [NetworkPolicyPort],
}

pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>) -> Findings {
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return Ok(Vec::new());
    }
    exists(snapshot, &request.namespace)?;
    let Some(tenant) = snapshot.tenant_of(&request.namespace) else {
        return Ok(Vec::new());
    };
    let new = spec(object(request)?);
    let openings = openings(&new);
    if openings.is_empty() {
        return Ok(Vec::new());
    }
    let mut old = NetworkPolicySpec::default();
    if request.operation == Operation::Update {
        old = spec(old_object(request)?);
    }
    // What was open stays open, for the same Pods.
    let is_for_the_same = old.pod_selector == new.pod_selector && old.policy_types == new.policy_types;
    let before = if is_for_the_same {
        self::openings(&old)
    } else {
        Vec::new()
    };
    let bounds = Both::of(snapshot, tenant);
    let is_new = |(_, it): &(String, Opening<'_>)| !before.iter().any(|(_, old)| old == it);
    let added = openings.into_iter().filter(is_new);
    let findings = added.filter_map(|(field, it)| {
        let found = bounds.beyond(&it, |namespace| snapshot.tenant_of(namespace) == Some(tenant))?;
        Some(bounds.finding(tenant, it.direction, field, found))
    });
    Ok(findings.collect())
}

fn spec(written: Written) -> NetworkPolicySpec {
    written.spec.unwrap_or_default()
}

/// All that a policy opens, and where it says so. `policyTypes` doesn't count: it may change later.
fn openings(spec: &NetworkPolicySpec) -> Vec<(String, Opening<'_>)> {
    let ingress = spec.ingress.iter().flatten().enumerate();
    let ingress = ingress.flat_map(|(i, NetworkPolicyIngressRule { from, ports })| {
        opened(
            Direction::Ingress,
            &format!("spec.ingress[{i}]"),
            from.as_deref(),
            ports.as_deref(),
        )
    });
    let egress = spec.egress.iter().flatten().enumerate();
    let egress = egress.flat_map(|(i, NetworkPolicyEgressRule { to, ports })| {
        opened(
            Direction::Egress,
            &format!("spec.egress[{i}]"),
            to.as_deref(),
            ports.as_deref(),
        )
    });
    ingress.chain(egress).collect()
}

fn opened<'a>(
    direction: Direction,
    field: &str,
    peers: Option<&'a [NetworkPolicyPeer]>,
    ports: Option<&'a [NetworkPolicyPort]>,
) -> Vec<(String, Opening<'a>)> {
    let ports = ports.unwrap_or_default();
    let side = match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    let opening = |peer| Opening {
        direction,
        peer,
        ports,
    };
    match peers.unwrap_or_default() {
        // No peers are all peers.
        [] => vec![(field.to_owned(), opening(None))],
        peers => peers
            .iter()
            .enumerate()
            .map(|(i, it)| (format!("{field}.{side}[{i}]"), opening(Some(it))))
            .collect(),
    }
}

/// What the Tenant opens, both ways.
struct Both {
    ingress: Bounds,
    egress: Bounds,
}

impl Both {
    /// A Tenant that is gone declares nothing.
    fn of(snapshot: &Snapshot, tenant: &str) -> Self {
        let Some(declared) = snapshot.tenants.by_name.get(tenant) else {
            return Self {
                ingress: Bounds::closed(tenant),
                egress: Bounds::closed(tenant),
            };
        };
        let sound = examine(declared, &snapshot.config).sound;
        let sound = without_foreign_sources(snapshot, &sound);
        Self {
            ingress: Bounds::ingress(&sound),
            egress: Bounds::egress(&sound, &snapshot.config),
        }
    }

    fn towards(&self, direction: Direction) -> &Bounds {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    fn beyond(&self, opening: &Opening<'_>, is_own: impl Fn(&str) -> bool) -> Option<String> {
        let bounds = self.towards(opening.direction);
        opening.peer.map_or_else(
            || Some("everybody: the rule names no peer".to_owned()),
            |it| bounds.beyond(it, opening.ports, is_own),
        )
    }

    fn finding(&self, tenant: &str, direction: Direction, field: String, found: String) -> Finding {
        let bounds = self.towards(direction);
        let declared = match direction {
            Direction::Ingress => "spec.network.ingress",
            Direction::Egress => "spec.network.egress",
        };
        let mut allowed = format!("Pods of tenant {}", some_of(&bounds.tenants));
        if !bounds.namespaces.is_empty() {
            allowed = format!("{allowed}, Namespace {}", some_of(&bounds.namespaces));
        }
        if let Some(dns) = &bounds.dns {
            allowed = format!(
                "{allowed}, the cluster's DNS in Namespace '{}' by its labels on port {}",
                dns.namespace, dns.port
            );
        }
        if !bounds.networks.is_empty() {
            allowed = format!("{allowed}, the networks of {declared}");
        }
        Finding::new(
            RuleId::NetworkPolicyOpen,
            field,
            found,
            allowed,
            format!(
                "select Namespaces by 'bailiwick.dev/tenant: {tenant}', or let the platform declare the exception in {declared} of Tenant '{tenant}'"
            ),
        )
    }
}

//! Gateway API: the names that routes and listeners serve, and the class of Gateways.

use serde::Deserialize;

use super::{Rails, Side, host, shown};
use crate::decide::Findings;
use crate::finding::{Finding, RuleId};
use crate::grants::null_is_empty;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RouteSpec {
    #[serde(deserialize_with = "null_is_empty")]
    hostnames: Vec<String>,
    #[serde(deserialize_with = "null_is_empty")]
    parent_refs: Vec<ParentRef>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ParentRef {
    group: Option<String>,
    kind: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GatewaySpec {
    gateway_class_name: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    listeners: Vec<Listener>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Listener {
    hostname: Option<String>,
    protocol: String,
}

/// A route without hostnames serves all of its listeners'.
pub(super) fn judge_route(rails: &Rails<'_>, side: &Side<'_>) -> Findings {
    let spec: RouteSpec = side.spec()?;
    let mut findings = Vec::new();
    if !is_mesh(&spec.parent_refs) {
        findings = host::judge_all(rails, "spec.hostnames", &spec.hostnames);
    }
    findings.extend(host::annotated(rails, side.metadata));
    Ok(findings)
}

/// Whether a route is about traffic to Services inside the cluster, where hostnames mean nothing.
fn is_mesh(parents: &[ParentRef]) -> bool {
    let is_service =
        |it: &ParentRef| it.kind.as_deref() == Some("Service") && it.group.as_deref() == Some("");
    !parents.is_empty() && parents.iter().all(is_service)
}

/// A listener without a hostname serves all names, unless its protocol knows none.
pub(super) fn judge_listeners(rails: &Rails<'_>, side: &Side<'_>) -> Findings {
    let spec: GatewaySpec = side.spec()?;
    let mut findings: Vec<Finding> = class(rails, spec.gateway_class_name.as_deref())
        .into_iter()
        .collect();
    for (i, listener) in spec.listeners.iter().enumerate() {
        let name = listener.hostname.as_deref().unwrap_or_default();
        let knows_names = !matches!(listener.protocol.as_str(), "TCP" | "UDP") || !name.is_empty();
        if knows_names {
            findings.extend(host::judge(rails, format!("spec.listeners[{i}].hostname"), name));
        }
    }
    findings.extend(host::annotated(rails, side.metadata));
    Ok(findings)
}

/// A ListenerSet has no class of its own.
fn class(rails: &Rails<'_>, name: Option<&str>) -> Option<Finding> {
    let list = rails.list(|it| it.gateway_classes.as_ref())?;
    let name = name?;
    let is_listed = list.iter().any(|it| it == name);
    (!is_listed).then(|| {
        rails.not_listed(
            RuleId::IngressClass,
            "spec.gatewayClassName",
            shown(name),
            list,
            "spec.workloads.gatewayClasses",
        )
    })
}

//! Roles: what a change of them would newly grant to tenants' subjects.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;

use super::{Findings, Stop, exists, object, old_object};
use crate::finding::{Finding, RuleId, some_of};
use crate::grants::{self, Rule};
use crate::review::{Operation, Request, by_name};
use crate::selector;
use crate::snapshot::{BindingFacts, RoleFacts, Snapshot};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Role {
    #[serde(deserialize_with = "by_name")]
    metadata: Labelled,
    #[serde(deserialize_with = "grants::null_is_empty")]
    rules: Vec<Rule>,
    aggregation_rule: Option<Aggregation>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Labelled {
    name: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Aggregation {
    #[serde(deserialize_with = "grants::null_is_empty")]
    cluster_role_selectors: Vec<LabelSelector>,
}

impl Role {
    fn facts(&self) -> RoleFacts {
        RoleFacts {
            labels: self.metadata.labels.clone().unwrap_or_default(),
            rules: self.rules.clone(),
            aggregates: self
                .aggregation_rule
                .iter()
                .flat_map(|it| it.cluster_role_selectors.clone())
                .collect(),
        }
    }
}

fn change(request: &Request<'_>) -> Result<Option<(Role, Role)>, Stop> {
    Ok(match request.operation {
        Operation::Create => Some((Role::default(), object(request)?)),
        Operation::Update => Some((old_object(request)?, object(request)?)),
        Operation::Delete | Operation::Connect => None,
    })
}

/// A Role in a tenant's namespace grants nothing that reaches out of it.
pub(super) fn decide_role(snapshot: &Snapshot, request: &Request<'_>) -> Findings {
    let namespace = &*request.namespace;
    exists(snapshot, namespace)?;
    let Some(tenant) = snapshot.tenant_of(namespace) else {
        return Ok(Vec::new());
    };
    let Some((old, new)) = change(request)? else {
        return Ok(Vec::new());
    };
    let added = grants::added(&old.rules, &new.rules);
    let index = |rule: &Rule| new.rules.iter().position(|it| it == rule).unwrap_or_default();
    Ok(added
        .into_iter()
        .filter_map(|rule| grants::escape(rule).map(|permission| (rule, permission)))
        .take(8)
        .map(|(rule, permission)| {
            Finding::new(
                RuleId::RoleGrant,
                format!("rules[{}]", index(rule)),
                format!("'{permission}' (from {})", grants::describe(rule)),
                format!("permissions that stay inside tenant '{tenant}'"),
                "name the resources and verbs that are needed",
            )
        })
        .collect())
}

/// A ClusterRole that tenants' subjects are bound to may not be widened beyond what they may have; neither
/// directly nor through aggregation.
pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>) -> Findings {
    let Some((old, new)) = change(request)? else {
        return Ok(Vec::new());
    };
    let old_facts = old.facts();
    let new_rules = snapshot.effective_rules(&new.facts());
    let old_rules = snapshot.effective_rules(&old_facts);
    let name = if new.metadata.name.is_empty() {
        request.name.clone().into_owned()
    } else {
        new.metadata.name.clone()
    };
    let labels = new.metadata.labels.unwrap_or_default();
    let mut findings = Vec::new();
    for role in affected(snapshot, &name, &labels) {
        let before = if role == name {
            old_rules.clone()
        } else {
            snapshot
                .rbac
                .cluster_roles
                .get(&role)
                .map(|it| snapshot.effective_rules(it))
                .unwrap_or_default()
        };
        let added = grants::added(&before, &new_rules);
        if added.is_empty() {
            continue;
        }
        let bindings = snapshot.rbac.by_cluster_role.get(&role).into_iter().flatten();
        let mut bindings: Vec<&BindingFacts> = bindings.collect();
        bindings.sort_by_key(|it| (&it.namespace, &it.name));
        findings.extend(
            bindings
                .into_iter()
                .filter_map(|it| widened(snapshot, &name, &role, it, &added)),
        );
    }
    Ok(findings)
}

/// The ClusterRoles that get the rules of a role with these labels: itself, and what aggregates it, on and on.
fn affected(snapshot: &Snapshot, name: &str, labels: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut reached = BTreeSet::from([name.to_owned()]);
    let mut open = vec![labels.clone()];
    while let Some(labels) = open.pop() {
        for (other, facts) in &snapshot.rbac.cluster_roles {
            let selects = facts.aggregates.iter().any(|it| selector::matches(it, &labels));
            if selects && reached.insert(other.clone()) {
                open.push(facts.labels.clone());
            }
        }
    }
    reached
}

fn widened(
    snapshot: &Snapshot,
    written: &str,
    role: &str,
    binding: &BindingFacts,
    added: &[&Rule],
) -> Option<Finding> {
    let through = if role == written {
        String::new()
    } else {
        format!(" through aggregation into '{role}'")
    };
    let who = || {
        some_of(
            binding
                .subjects
                .iter()
                .filter(|it| snapshot.reaches_tenants(it))
                .map(|it| it.name.clone()),
        )
    };
    match &binding.namespace {
        None => {
            if !binding.subjects.iter().any(|it| snapshot.reaches_tenants(it)) {
                return None;
            }
            let harmful = added
                .iter()
                .find(|it| !grants::is_harmless(it, &snapshot.config.harmless_permissions))?;
            Some(Finding::new(
                RuleId::ClusterRoleWidened,
                "rules",
                format!(
                    "{}{through}, which ClusterRoleBinding '{}' gives to tenants' subjects {}",
                    grants::describe(harmful),
                    binding.name,
                    who()
                ),
                "nothing but discovery for tenants' subjects cluster-wide",
                "put the rules into another ClusterRole, or unbind the tenants' subjects first",
            ))
        }
        Some(namespace) => {
            let tenant = snapshot.tenant_of(namespace)?;
            if !binding.subjects.iter().any(|it| snapshot.reaches_tenants(it)) {
                return None;
            }
            let permission = added.iter().find_map(|it| grants::escape(it))?;
            Some(Finding::new(
                RuleId::ClusterRoleWidened,
                "rules",
                format!(
                    "'{permission}'{through}, which RoleBinding '{namespace}/{}' gives to tenants' subjects {}",
                    binding.name,
                    who()
                ),
                format!("permissions that stay inside tenant '{tenant}'"),
                "put the rule into another ClusterRole, or unbind the tenant's subjects first",
            ))
        }
    }
}

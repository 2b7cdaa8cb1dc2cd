//! Bindings: whom they name, and what they really give them.

use serde::Deserialize;

use super::{Findings, Stop, object, old_object};
use crate::finding::{Finding, RuleId, some_of};
use crate::grants::{self, Rule};
use crate::identity::Standing;
use crate::review::{Operation, Request};
use crate::snapshot::{Need, RoleFacts, Snapshot, SubjectRef};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Binding {
    role_ref: RoleRef,
    #[serde(deserialize_with = "grants::null_is_empty")]
    subjects: Vec<SubjectRef>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RoleRef {
    kind: String,
    name: String,
}

/// The subjects that a request adds, with their place in the list. What was bound before stays editable.
fn added(request: &Request<'_>) -> Result<(Binding, Vec<(usize, SubjectRef)>), Stop> {
    let new: Binding = object(request)?;
    let old: Binding = if request.operation == Operation::Update {
        old_object(request)?
    } else {
        Binding::default()
    };
    let known: std::collections::BTreeSet<&SubjectRef> = old.subjects.iter().collect();
    let added = new
        .subjects
        .iter()
        .enumerate()
        .filter(|(_, it)| !known.contains(it))
        .map(|(i, it)| (i, it.clone()));
    let added = added.collect();
    Ok((new, added))
}

/// How many subjects are judged one by one in the answer; the rest are counted.
const MAX_FINDINGS: usize = 8;

/// A RoleBinding in a tenant's namespace names that tenant's subjects and the platform's, and gives the tenant's
/// nothing that reaches out.
pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>) -> Findings {
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return Ok(Vec::new());
    }
    let namespace = &*request.namespace;
    if !snapshot.namespaces.contains_key(namespace) {
        let need = Need::Namespace(namespace.to_owned());
        if !snapshot.missing.contains(&need) {
            return Err(Stop::Needs(need));
        }
    }
    let Some(tenant) = snapshot.tenant_of(namespace) else {
        return Ok(Vec::new());
    };
    let (binding, added) = added(request)?;
    let mut findings = Vec::new();
    let mut of_tenant = Vec::new();
    for (i, subject_ref) in &added {
        let field = format!("subjects[{i}]");
        let Some(subject) = subject_ref.subject() else {
            findings.push(unknown_kind(field, subject_ref));
            continue;
        };
        let standing = snapshot.standing(subject);
        let found = match &standing {
            Standing::Platform => continue,
            _ if standing.is_only(tenant) => {
                of_tenant.push(subject.to_string());
                continue;
            }
            Standing::Tenants(tenants) => format!("{subject}, who belongs to tenant {}", some_of(tenants)),
            Standing::Everybody => format!("{subject}, which is everybody, other tenants included"),
            Standing::Unclaimed => format!("{subject}, whom no tenant has claimed"),
        };
        findings.push(Finding::new(
            RuleId::RoleBindingSubject,
            field,
            found,
            format!("subjects of tenant '{tenant}' and of the platform"),
            match standing {
                Standing::Unclaimed => format!(
                    "add the name to spec.identities of Tenant '{tenant}', or to config.platformSubjects of the chart"
                ),
                _ => format!("bind a subject of tenant '{tenant}'"),
            },
        ));
    }
    if !of_tenant.is_empty() {
        let escapes = escapes(&role_rules(snapshot, namespace, &binding.role_ref)?);
        if let Some(permission) = escapes {
            findings.push(Finding::new(
                RuleId::RoleBindingGrant,
                "roleRef.name",
                format!(
                    "{} '{}' grants '{permission}' to {}",
                    binding.role_ref.kind,
                    binding.role_ref.name,
                    some_of(of_tenant)
                ),
                format!("roles that stay inside tenant '{tenant}'"),
                "bind a role without that permission, such as bailiwick-edit",
            ));
        }
    }
    Ok(limited(findings))
}

/// A ClusterRoleBinding gives tenants' subjects nothing but discovery.
pub(super) fn decide_cluster(snapshot: &Snapshot, request: &Request<'_>) -> Findings {
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return Ok(Vec::new());
    }
    let (binding, added) = added(request)?;
    let mut reached = Vec::new();
    let mut findings = Vec::new();
    for (i, subject_ref) in &added {
        match subject_ref.subject() {
            None => findings.push(unknown_kind(format!("subjects[{i}]"), subject_ref)),
            Some(subject) => match snapshot.standing(subject) {
                Standing::Tenants(tenants) => {
                    reached.push((
                        *i,
                        format!("{subject}, who belongs to tenant {}", some_of(tenants)),
                    ));
                }
                Standing::Everybody => {
                    reached.push((
                        *i,
                        format!("{subject}, which includes the subjects of every tenant"),
                    ));
                }
                Standing::Platform | Standing::Unclaimed => {}
            },
        }
    }
    if reached.is_empty() {
        return Ok(findings);
    }
    let rules = role_rules(snapshot, "", &binding.role_ref)?;
    let harmful = rules
        .iter()
        .find(|it| !grants::is_harmless(it, &snapshot.config.harmless_permissions));
    if let Some(rule) = harmful {
        let role = &binding.role_ref.name;
        findings.extend(reached.into_iter().map(|(i, who)| {
            Finding::new(
                RuleId::ClusterRoleBindingSubject,
                format!("subjects[{i}]"),
                format!(
                    "{who}, would get {} from ClusterRole '{role}' in every namespace",
                    grants::describe(rule)
                ),
                "nothing but discovery for tenants' subjects cluster-wide",
                "use a RoleBinding in the tenant's own namespaces, or spec.access of its Tenant",
            )
        }));
    }
    Ok(limited(findings))
}

fn unknown_kind(field: String, subject: &SubjectRef) -> Finding {
    Finding::new(
        RuleId::Malformed,
        format!("{field}.kind"),
        format!("'{}'", subject.kind),
        "User, Group or ServiceAccount",
        "correct the kind",
    )
}

fn limited(mut findings: Vec<Finding>) -> Vec<Finding> {
    let more = findings.len().saturating_sub(MAX_FINDINGS);
    findings.truncate(MAX_FINDINGS);
    if let (Some(last), true) = (findings.last_mut(), more > 0) {
        last.fix
            .push_str(&format!(" (and {more} more findings of this kind)"));
    }
    findings
}

/// The first permission of a role that reaches out of a namespace.
fn escapes(rules: &[Rule]) -> Option<String> {
    rules.iter().find_map(grants::escape)
}

/// What a role grants. A role that does not exist grants nothing today and anything tomorrow: it is refused.
fn role_rules(snapshot: &Snapshot, namespace: &str, role: &RoleRef) -> Result<Vec<Rule>, Stop> {
    let need = if role.kind == "Role" {
        if let Some(rules) = snapshot
            .rbac
            .roles
            .get(namespace)
            .and_then(|it| it.get(&role.name))
        {
            return Ok(rules.clone());
        }
        Need::Role {
            namespace: namespace.to_owned(),
            name: role.name.clone(),
        }
    } else {
        if let Some(facts) = snapshot.rbac.cluster_roles.get(&role.name) {
            return Ok(effective(snapshot, facts));
        }
        Need::ClusterRole(role.name.clone())
    };
    if !snapshot.missing.contains(&need) {
        return Err(Stop::Needs(need));
    }
    Err(Stop::Because(Finding::new(
        RuleId::Undecided,
        "roleRef.name",
        format!("{} '{}' does not exist", role.kind, role.name),
        "roles that exist, so that what they grant can be judged",
        "create the role first, then bind it",
    )))
}

fn effective(snapshot: &Snapshot, facts: &RoleFacts) -> Vec<Rule> {
    snapshot.effective_rules(facts)
}

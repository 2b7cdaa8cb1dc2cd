//! Bindings: whom they name, and what they really give them.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Findings, Stop, exists, object, old_object};
use crate::finding::{Finding, RuleId, some_of};
use crate::grants::{self, Rule};
use crate::identity::Standing;
use crate::review::{Operation, Request, by_name};
use crate::snapshot::{Need, Snapshot, SubjectRef};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Binding {
    #[serde(deserialize_with = "by_name")]
    role_ref: RoleRef,
    #[serde(deserialize_with = "grants::null_is_empty")]
    subjects: Vec<SubjectRef>,
}

#[derive(Default, PartialEq, Deserialize)]
#[serde(default)]
struct RoleRef {
    kind: String,
    name: String,
}

/// The binding as it would become, and the subjects that get what they did not have, with their place in the
/// list. What was bound before stays editable.
fn added(request: &Request<'_>) -> Result<(Binding, Vec<(usize, SubjectRef)>), Stop> {
    let within = |mut binding: Binding| {
        binding.subjects = binding
            .subjects
            .into_iter()
            .map(|it| it.within(&request.namespace))
            .collect();
        binding
    };
    let new: Binding = within(object(request)?);
    let mut old = Binding::default();
    if request.operation == Operation::Update {
        old = within(old_object(request)?);
    }
    let is_other_role = old.role_ref != new.role_ref;
    let known: BTreeSet<&SubjectRef> = old.subjects.iter().collect();
    let added = new
        .subjects
        .iter()
        .enumerate()
        .filter(|(_, it)| is_other_role || !known.contains(it))
        .map(|(i, it)| (i, it.clone()));
    let added = added.collect();
    Ok((new, added))
}

/// A RoleBinding in a tenant's namespace names that tenant's subjects and the platform's, and gives the tenant's
/// nothing that reaches out.
pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>) -> Findings {
    if !matches!(request.operation, Operation::Create | Operation::Update) {
        return Ok(Vec::new());
    }
    let namespace = &*request.namespace;
    exists(snapshot, namespace)?;
    let Some(tenant) = snapshot.tenant_of(namespace) else {
        return Ok(Vec::new());
    };
    let (binding, added) = added(request)?;
    let mut findings = Vec::new();
    let mut of_tenant = Vec::new();
    for (i, subject_ref) in &added {
        let field = format!("subjects[{i}]");
        let Some(subject) = subject_ref.subject() else {
            findings.push(unknown_kind(&field, subject_ref));
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
    if of_tenant.is_empty() {
        return Ok(findings);
    }
    let escapes = match role_rules(snapshot, namespace, &binding.role_ref) {
        Ok(rules) => rules.iter().find_map(grants::escape),
        Err(Stop::Because(finding)) => {
            findings.push(finding);
            None
        }
        Err(stop @ Stop::Needs(_)) => return Err(stop),
    };
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
    Ok(findings)
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
            None => findings.push(unknown_kind(&format!("subjects[{i}]"), subject_ref)),
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
    let rules = match role_rules(snapshot, "", &binding.role_ref) {
        Ok(rules) => rules,
        Err(Stop::Because(finding)) => {
            findings.push(finding);
            return Ok(findings);
        }
        Err(stop @ Stop::Needs(_)) => return Err(stop),
    };
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
    Ok(findings)
}

fn unknown_kind(field: &str, subject: &SubjectRef) -> Finding {
    Finding::new(
        RuleId::Malformed,
        format!("{field}.kind"),
        format!("'{}'", subject.kind),
        "User, Group or ServiceAccount",
        "correct the kind",
    )
}

/// What a role grants. A role that does not exist grants nothing today and anything tomorrow: it is refused.
/// Cluster-wide, where no namespace is given, there are ClusterRoles only.
fn role_rules(snapshot: &Snapshot, namespace: &str, role: &RoleRef) -> Result<Vec<Rule>, Stop> {
    let malformed = |field: &str, found: &str, allowed: &str| {
        Stop::Because(Finding::new(
            RuleId::Malformed,
            field,
            format!("'{found}'"),
            allowed,
            "name the role as it is stored",
        ))
    };
    let (known, need) = match role.kind.as_str() {
        "ClusterRole" => {
            let known = snapshot.rbac.cluster_roles.get(&role.name);
            let rules = known.map(|it| snapshot.effective_rules(it));
            (rules, Need::ClusterRole(role.name.clone()))
        }
        "Role" if !namespace.is_empty() => {
            let known = snapshot.rbac.roles.get(namespace);
            let rules = known.and_then(|it| it.get(&role.name)).cloned();
            let (namespace, name) = (namespace.to_owned(), role.name.clone());
            (rules, Need::Role { namespace, name })
        }
        other => {
            return Err(malformed(
                "roleRef.kind",
                other,
                "ClusterRole, or Role in a namespace",
            ));
        }
    };
    if let Some(rules) = known {
        return Ok(rules);
    }
    // The name becomes part of a path when somebody looks.
    let is_segment = !matches!(role.name.as_str(), "" | "." | "..") && !role.name.contains(['/', '%']);
    if !is_segment {
        return Err(malformed("roleRef.name", &role.name, "the name of a role"));
    }
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

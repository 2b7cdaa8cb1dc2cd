//! A Tenant is checked by itself and against the others.

use bailiwick_crds::v1alpha1::Tenant;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Findings, object, old_object};
use crate::finding::{Finding, RuleId, some_of};
use crate::identity::{Claim, Pattern, Space, Standing, Subject};
use crate::review::{Operation, Request};
use crate::snapshot::Snapshot;
use crate::validate::{ValidTenant, validate};

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
}

pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>) -> Findings {
    let tenant: Tenant = match request.operation {
        Operation::Create => object(request)?,
        Operation::Update => {
            let (old, new): (Written<'_>, Written<'_>) = (old_object(request)?, object(request)?);
            if old.spec.map(RawValue::get) == new.spec.map(RawValue::get) {
                return Ok(Vec::new());
            }
            object(request)?
        }
        Operation::Delete | Operation::Connect => return Ok(Vec::new()),
    };
    Ok(match validate(&tenant, &snapshot.config) {
        Err(findings) => findings,
        Ok(tenant) => conflicts(snapshot, &tenant),
    })
}

/// How a valid Tenant conflicts with what others have.
pub fn conflicts(snapshot: &Snapshot, tenant: &ValidTenant) -> Vec<Finding> {
    let mut findings = identity_conflicts(snapshot, tenant);
    findings.extend(foreign_subjects(snapshot, tenant));
    for namespace in tenant.namespaces.keys() {
        let declared = snapshot
            .tenants
            .declared
            .get(namespace)
            .into_iter()
            .flatten()
            .map(String::as_str);
        let owner = snapshot
            .namespaces
            .contains_key(namespace)
            .then(|| snapshot.tenant_of(namespace))
            .flatten();
        if let Some(other) = owner.into_iter().chain(declared).find(|it| *it != tenant.name) {
            findings.push(Finding::new(
                RuleId::TenantNamespace,
                format!("spec.namespaces.declared['{namespace}']"),
                format!("'{namespace}', which Tenant '{other}' has"),
                "namespaces that no other Tenant declares or has",
                format!("choose another name, or remove it from Tenant '{other}' first"),
            ));
        }
    }
    for (i, namespace) in tenant
        .network
        .ingress
        .iter()
        .flat_map(|it| &it.from_namespaces)
        .enumerate()
    {
        if let Some(other) = snapshot.tenant_of(namespace) {
            findings.push(Finding::new(
                RuleId::TenantInvalid,
                format!("spec.network.ingress.fromNamespaces[{i}]"),
                format!("'{namespace}', which belongs to Tenant '{other}'"),
                "namespaces of the platform",
                format!("name the tenant in spec.network.ingress.fromTenants: '{other}'"),
            ));
        }
    }
    findings
}

/// The claims of a tenant that another one, or the platform, has too.
pub fn identity_conflicts(snapshot: &Snapshot, tenant: &ValidTenant) -> Vec<Finding> {
    let identities = &snapshot.tenants.identities;
    let mut findings = Vec::new();
    for claim in &tenant.claims {
        let mut rivals: Vec<String> = identities
            .rivals(&tenant.name, claim)
            .into_iter()
            .map(|it| format!("Tenant {it}"))
            .collect();
        let platform = match claim.space {
            Space::User => &snapshot.config.platform_subjects.users,
            Space::Group => &snapshot.config.platform_subjects.groups,
        };
        if platform.iter().any(|it| it.overlaps(&claim.pattern)) {
            rivals.push("the platform".to_owned());
        }
        rivals.extend(namespace_rival(snapshot, tenant, claim).map(|it| format!("Tenant {it}")));
        if !rivals.is_empty() {
            findings.push(Finding::new(
                RuleId::TenantIdentity,
                "spec.owners and spec.identities",
                format!("{claim}, which {} claims too", some_of(rivals)),
                "subjects that belong to one tenant",
                "remove the name from one of the two, or make the prefixes disjoint",
            ));
        }
    }
    findings
}

/// The other tenant in whose namespace a claimed ServiceAccount lives.
fn namespace_rival<'a>(snapshot: &'a Snapshot, tenant: &ValidTenant, claim: &Claim) -> Option<&'a str> {
    let Claim {
        space: Space::User,
        pattern: Pattern::Exact(user),
    } = claim
    else {
        return None;
    };
    let (namespace, _) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    snapshot.tenant_of(namespace).filter(|it| *it != tenant.name)
}

/// Subjects in `access` that belong to somebody else.
fn foreign_subjects(snapshot: &Snapshot, tenant: &ValidTenant) -> Vec<Finding> {
    let subjects = tenant.access.iter().enumerate().flat_map(|(i, access)| {
        access
            .subjects
            .iter()
            .enumerate()
            .map(move |(j, it)| (format!("spec.access[{i}].subjects[{j}]"), it))
    });
    subjects
        .filter_map(|(field, subject)| {
            let Standing::Tenants(tenants) = snapshot.standing(Subject::from(subject)) else {
                return None;
            };
            let others: Vec<&str> = tenants.into_iter().filter(|it| *it != tenant.name).collect();
            (!others.is_empty()).then(|| {
                Finding::new(
                    RuleId::TenantIdentity,
                    field,
                    format!(
                        "{}, who belongs to tenant {}",
                        Subject::from(subject),
                        some_of(others)
                    ),
                    "subjects of this tenant and of the platform",
                    "remove the subject: a tenant's subjects have access to their own tenant only",
                )
            })
        })
        .collect()
}

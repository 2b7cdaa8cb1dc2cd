//! A Tenant is checked by itself and against the others.

use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{Tenant, TenantSpec};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Findings, Stop, object, old_object, read};
use crate::finding::{Finding, RuleId, some_of};
use crate::hostname::Hostname;
use crate::identity::{
    Claim, Pattern, Space, Standing, Subject, service_account_namespace, service_account_user,
};
use crate::review::{Operation, Request, by_name};
use crate::snapshot::Snapshot;
use crate::validate::{ValidTenant, examine, validate};

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(default, deserialize_with = "by_name")]
    metadata: Named,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>) -> Findings {
    let written: Written<'_> = match request.operation {
        Operation::Create => object(request)?,
        Operation::Update => {
            let (old, new): (Written<'_>, Written<'_>) = (old_object(request)?, object(request)?);
            if old.spec.map(RawValue::get) == new.spec.map(RawValue::get) {
                return Ok(Vec::new());
            }
            new
        }
        Operation::Delete | Operation::Connect => return Ok(Vec::new()),
    };
    // A Tenant may be nothing but a name.
    let spec: TenantSpec = match written.spec {
        Some(_) => read(written.spec, "spec")?,
        None => TenantSpec::default(),
    };
    let tenant = Tenant::new(&written.metadata.name, spec);
    Ok(match validate(&tenant, &snapshot.config) {
        Err(findings) => findings,
        Ok(tenant) => conflicts(snapshot, &tenant),
    })
}

/// What the operator knows of its tenants is its own to write.
pub(super) fn record(request: &Request<'_>) -> Finding {
    Finding::new(
        RuleId::Record,
        "request.resource",
        format!(
            "{} of {} '{}'",
            request.resource_path(),
            request.kind.kind,
            request.name
        ),
        "changes by the Bailiwick operator only",
        "change the spec of the Tenant instead: the operator follows it",
    )
}

/// How a valid Tenant conflicts with what others have.
pub fn conflicts(snapshot: &Snapshot, tenant: &ValidTenant) -> Vec<Finding> {
    let mut findings = access_conflicts(snapshot, tenant);
    findings.extend(foreign_namespaces(snapshot, tenant, Consent::Promises));
    findings.extend(foreign_sources(snapshot, tenant));
    findings.extend(shared_prefix(snapshot, tenant));
    findings.extend(shared_hostnames(snapshot, tenant));
    for (name, other) in &snapshot.tenants.by_name {
        if *name != tenant.name {
            findings.extend(named_by(name, &other.spec, tenant));
        }
    }
    findings
}

/// How a Tenant that is there already conflicts with what others have: the operator leaves the one thing out that
/// is in conflict, and says so. What others only say of it is theirs to correct.
pub fn standing_conflicts(snapshot: &Snapshot, tenant: &ValidTenant) -> Vec<Finding> {
    let mut findings = access_conflicts(snapshot, tenant);
    findings.extend(foreign_namespaces(snapshot, tenant, Consent::Frees));
    findings.extend(shared_prefix(snapshot, tenant));
    findings.extend(foreign_sources(snapshot, tenant));
    findings
}

/// Subjects that are not this tenant's alone: claimed by it, or given access.
pub fn access_conflicts(snapshot: &Snapshot, tenant: &ValidTenant) -> Vec<Finding> {
    let mut findings = identity_conflicts(snapshot, tenant);
    findings.extend(foreign_subjects(snapshot, tenant));
    findings
}

/// What the consent of a namespace to go to a tenant is worth, while another tenant has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Consent {
    /// The tenant may declare it already, and gets it when the other one lets it go: a move is written in one commit.
    Promises,
    /// It is free as soon as the other one neither declares it nor has it on record.
    Frees,
}

/// Declared namespaces that another tenant has, or declares. What a Tenant that is gone left behind may be had
/// with consent.
fn foreign_namespaces(snapshot: &Snapshot, tenant: &ValidTenant, consent: Consent) -> Vec<Finding> {
    let conflict = |namespace: &String| {
        let (there, gone) = others_with(snapshot, &tenant.name, namespace);
        let consents = consents_to(snapshot, &tenant.name, namespace);
        let is_free = consents
            && match consent {
                Consent::Promises => true,
                Consent::Frees => {
                    let recorded = snapshot.recorded_tenant_of(namespace);
                    let declared = snapshot.tenants.declared.get(namespace).into_iter().flatten();
                    let holders = recorded.into_iter().chain(declared.map(String::as_str));
                    holders.filter(|it| *it != tenant.name).count() == 0
                }
            };
        let (found, allowed, fix) = match (there.first(), gone.first()) {
            (Some(_), _) | (None, Some(_)) if is_free => return None,
            (Some(other), _) => (
                format!("'{namespace}', which Tenant '{other}' has"),
                "namespaces that no other Tenant declares or has, unless they consent to move",
                format!(
                    "choose another name; or, to move it, annotate the Namespace with {}={} and remove it from Tenant '{other}'",
                    labels::ADOPT_BY,
                    tenant.name
                ),
            ),
            (None, Some(other)) if !consents => (
                format!("'{namespace}', which Tenant '{other}' left behind"),
                "namespaces of a Tenant that is gone with consent to adoption only",
                format!(
                    "annotate the Namespace with {}={}, or choose another name",
                    labels::ADOPT_BY,
                    tenant.name
                ),
            ),
            _ => return None,
        };
        let field = format!("spec.namespaces.declared['{namespace}']");
        Some(Finding::new(RuleId::TenantNamespace, field, found, allowed, fix))
    };
    tenant.namespaces.keys().filter_map(conflict).collect()
}

/// The other tenants that have a namespace or declare it: those that are there, and those that are gone.
fn others_with<'a>(snapshot: &'a Snapshot, tenant: &str, namespace: &str) -> (Vec<&'a str>, Vec<&'a str>) {
    let declared = snapshot.tenants.declared.get(namespace).into_iter().flatten();
    let owner = snapshot.tenant_of(namespace);
    let others = owner.into_iter().chain(declared.map(String::as_str));
    others
        .filter(|it| *it != tenant)
        .partition(|it| snapshot.tenants.by_name.contains_key(*it))
}

fn consents_to(snapshot: &Snapshot, tenant: &str, namespace: &str) -> bool {
    let facts = snapshot.namespaces.get(namespace);
    facts.is_some_and(|it| it.adopt_by.as_deref() == Some(tenant))
}

/// A prefix that another tenant has: neither could give a name that begins with it.
fn shared_prefix(snapshot: &Snapshot, tenant: &ValidTenant) -> Option<Finding> {
    let prefix = &tenant.self_service.as_ref()?.prefix;
    let rivals = snapshot.tenants.prefixes.rivals(&tenant.name, prefix);
    (!rivals.is_empty()).then(|| {
        Finding::new(
            RuleId::NamespacePrefix,
            PREFIX_FIELD,
            format!("'{prefix}', which Tenant {} has too", some_of(rivals)),
            "a prefix of this Tenant alone",
            "choose another prefix, or a longer one",
        )
    })
}

const PREFIX_FIELD: &str = "spec.namespaces.selfService.prefix";

/// What is right about a Tenant and worth to know: prefixes within each other, and namespaces that are another's yet.
pub(super) fn warn(snapshot: &Snapshot, request: &Request<'_>) -> Vec<Finding> {
    let written = || -> Result<ValidTenant, Stop> {
        let written: Written<'_> = object(request)?;
        let spec: TenantSpec = match written.spec {
            Some(_) => read(written.spec, "spec")?,
            None => TenantSpec::default(),
        };
        Ok(examine(&Tenant::new(&written.metadata.name, spec), &snapshot.config).sound)
    };
    let is_written = matches!(request.operation, Operation::Create | Operation::Update);
    match written() {
        Ok(tenant) if is_written => nested_prefixes(snapshot, &tenant)
            .into_iter()
            .chain(promised(snapshot, &tenant))
            .collect(),
        _ => Vec::new(),
    }
}

fn nested_prefixes(snapshot: &Snapshot, tenant: &ValidTenant) -> Vec<Finding> {
    let Some(self_service) = &tenant.self_service else {
        return Vec::new();
    };
    let prefix = &self_service.prefix;
    let nested = snapshot.tenants.prefixes.nested(&tenant.name, prefix);
    let told = nested.into_iter().map(|(other, whose)| {
        let (longer, gives) = if other.len() > prefix.len() {
            (other, whose)
        } else {
            (prefix.as_str(), tenant.name.as_str())
        };
        Finding::new(
            RuleId::NamespacePrefix,
            PREFIX_FIELD,
            format!("'{prefix}', which overlaps '{other}' of Tenant '{whose}'"),
            "this, with the longer prefix deciding",
            format!("know that names that begin with '{longer}' are for Tenant '{gives}' to give"),
        )
    });
    told.collect()
}

/// Namespaces that consent to come, and that another Tenant has still.
fn promised(snapshot: &Snapshot, tenant: &ValidTenant) -> Vec<Finding> {
    let promised = |namespace: &String| {
        let (there, _) = others_with(snapshot, &tenant.name, namespace);
        let other = there.first()?;
        consents_to(snapshot, &tenant.name, namespace).then(|| {
            Finding::new(
                RuleId::TenantNamespace,
                format!("spec.namespaces.declared['{namespace}']"),
                format!("'{namespace}', which Tenant '{other}' has still"),
                "this, because the Namespace consents to move",
                format!("take it out of Tenant '{other}': it comes over when that Tenant has let it go"),
            )
        })
    };
    tenant.namespaces.keys().filter_map(promised).collect()
}

/// Platform namespaces that may send, and are a tenant's.
pub fn foreign_sources(snapshot: &Snapshot, tenant: &ValidTenant) -> Vec<Finding> {
    let sources = tenant
        .network
        .ingress
        .iter()
        .flat_map(|it| &it.from_namespaces)
        .enumerate();
    let problem = |(i, namespace): (usize, &String)| {
        let owner = source_owner(snapshot, tenant, namespace)?;
        let fix = if owner == tenant.name {
            "leave it out: traffic inside a tenant is open anyway".to_owned()
        } else {
            format!("name the tenant in spec.network.ingress.fromTenants: '{owner}'")
        };
        Some(Finding::new(
            RuleId::TenantInvalid,
            format!("spec.network.ingress.fromNamespaces[{i}]"),
            format!("'{namespace}', which belongs to Tenant '{owner}'"),
            "namespaces of the platform",
            fix,
        ))
    };
    sources.filter_map(problem).collect()
}

/// Hostnames that another tenant was granted, too. Where that happened all the same, neither may serve them.
fn shared_hostnames(snapshot: &Snapshot, tenant: &ValidTenant) -> Vec<Finding> {
    let conflict = |(i, hostname): (usize, &String)| {
        let rivals = snapshot
            .tenants
            .hostnames
            .rivals(&tenant.name, &Hostname::parse(hostname)?);
        (!rivals.is_empty()).then(|| {
            Finding::new(
                RuleId::TenantHostname,
                format!("spec.workloads.hostnames[{i}]"),
                format!("'{hostname}', of which Tenant {} has names", some_of(rivals)),
                "hostnames that no other Tenant was granted, in whole or in part",
                "grant narrower names, or take them from the other Tenant first",
            )
        })
    };
    tenant.hostnames.iter().enumerate().filter_map(conflict).collect()
}

/// The tenant without the [`foreign_sources`]: two Tenants that came at the same time may have passed with one.
#[must_use]
pub fn without_foreign_sources(snapshot: &Snapshot, tenant: &ValidTenant) -> ValidTenant {
    let mut closed = tenant.clone();
    if let Some(ingress) = &mut closed.network.ingress {
        let is_platform = |it: &String| source_owner(snapshot, tenant, it).is_none();
        ingress.from_namespaces.retain(is_platform);
    }
    closed
}

fn source_owner<'a>(snapshot: &'a Snapshot, tenant: &'a ValidTenant, namespace: &str) -> Option<&'a str> {
    snapshot.tenant_of(namespace).or_else(|| {
        let own = tenant.namespaces.contains_key(namespace);
        own.then_some(tenant.name.as_str())
    })
}

/// What another Tenant says already of somebody or something that this one would take.
fn named_by(other: &str, spec: &TenantSpec, tenant: &ValidTenant) -> Vec<Finding> {
    let mut findings = Vec::new();
    for access in &spec.access {
        for subject in access.subjects.iter().map(Subject::from) {
            let (space, name) = subject.name();
            if tenant
                .claims
                .iter()
                .any(|it| it.space == space && it.pattern.matches(&name))
            {
                findings.push(Finding::new(
                    RuleId::TenantIdentity,
                    "spec.owners and spec.identities",
                    format!("{subject}, to whom Tenant '{other}' gives access"),
                    "subjects that have access to one tenant",
                    format!("remove the subject from spec.access of Tenant '{other}' first"),
                ));
            }
        }
    }
    for namespace in spec
        .network
        .iter()
        .flat_map(|it| &it.ingress)
        .flat_map(|it| &it.from_namespaces)
    {
        if tenant.namespaces.contains_key(namespace) {
            findings.push(Finding::new(
                RuleId::TenantNamespace,
                format!("spec.namespaces.declared['{namespace}']"),
                format!("'{namespace}', from which Tenant '{other}' lets traffic in as from the platform's"),
                "namespaces that no other Tenant names",
                format!("remove it from spec.network.ingress.fromNamespaces of Tenant '{other}' first"),
            ));
        }
    }
    findings
}

/// The claims of a tenant that another one, or the platform, has too.
fn identity_conflicts(snapshot: &Snapshot, tenant: &ValidTenant) -> Vec<Finding> {
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
    for namespace in tenant.namespaces.keys() {
        let accounts = Claim {
            space: Space::User,
            pattern: Pattern::Prefix(service_account_user(namespace, "")),
        };
        let rivals = identities.rivals(&tenant.name, &accounts);
        if !rivals.is_empty() {
            findings.push(Finding::new(
                RuleId::TenantIdentity,
                format!("spec.namespaces.declared['{namespace}']"),
                format!(
                    "ServiceAccounts of '{namespace}', which Tenant {} claims",
                    some_of(rivals)
                ),
                "namespaces whose ServiceAccounts no other Tenant claims",
                "choose another name, or remove the ServiceAccounts from the other Tenant first",
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
    let owner = snapshot.tenant_of(service_account_namespace(user)?);
    owner.filter(|it| *it != tenant.name)
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

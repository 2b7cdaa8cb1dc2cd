//! Which tenant a Namespace belongs to is not for others to say.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bailiwick_crds::labels;

use super::{Change, self_service, shown};
use crate::finding::{Finding, RuleId, some_of};
use crate::identity::{Standing, Subject};
use crate::review::{Operation, Request};
use crate::snapshot::Snapshot;

pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>, change: &Change<'_>) -> Vec<Finding> {
    if request.operation == Operation::Delete {
        return declared(snapshot, change.name()).into_iter().collect();
    }
    let tenants = snapshot.tenants_of(&request.user_info);
    let is_by_tenant = self_service::is_creation(request, &tenants);
    let mut findings = if is_by_tenant {
        self_service::create(snapshot, request, change, &tenants)
    } else {
        Vec::new()
    };
    let is_tenants = change.old_label(labels::TENANT).is_some() || change.new_label(labels::TENANT).is_some();
    for key in guarded_keys(change, is_tenants) {
        if is_by_tenant && key == labels::TENANT {
            continue;
        }
        let (old, new) = (change.old_label(&key), change.new_label(&key));
        if old != new {
            findings.push(Finding::new(
                RuleId::NamespaceIdentity,
                format!("metadata.labels['{key}']"),
                format!("{} instead of {}", shown(new), shown(old)),
                "no change of this label by anybody but the Bailiwick operator",
                "declare the Namespace in a Tenant, or change that Tenant: the label follows it",
            ));
        }
    }
    if is_tenants {
        findings.extend(owner_references(change));
    }
    if is_tenants && !tenants.is_empty() {
        findings.extend(self_service::metadata(snapshot, change, &tenants));
    }
    findings.extend(adoption(snapshot, request, change));
    findings
}

/// The labels to compare: on a tenant's Namespace all that decide isolation, elsewhere the tenant's only.
fn guarded_keys(change: &Change<'_>, is_tenants: bool) -> BTreeSet<String> {
    let objects = change.old.iter().chain(&change.new);
    objects
        .flat_map(|it| it.metadata.labels.keys())
        .filter(|key| labels::is_guarded_everywhere(key) || (is_tenants && labels::is_guarded(key)))
        .map(|key| Cow::clone(key).into_owned())
        .collect()
}

fn owner_references(change: &Change<'_>) -> Option<Finding> {
    let old = change
        .old
        .as_ref()
        .map(|it| it.metadata.owner_references.as_slice())
        .unwrap_or_default();
    let new = change
        .new
        .as_ref()
        .map(|it| it.metadata.owner_references.as_slice())
        .unwrap_or_default();
    let added: Vec<String> = new
        .iter()
        .filter(|it| !old.contains(it))
        .map(|it| format!("{}/{}", it.kind, it.name))
        .collect();
    (!added.is_empty()).then(|| {
        Finding::new(
            RuleId::NamespaceOwnerReference,
            "metadata.ownerReferences",
            some_of(added),
            "no ownerReferences: the garbage collector would delete the Namespace with its owner",
            "remove the ownerReference",
        )
    })
}

fn adoption(snapshot: &Snapshot, request: &Request<'_>, change: &Change<'_>) -> Option<Finding> {
    let annotation = |it: &Option<crate::review::Object<'_>>| {
        it.as_ref()
            .and_then(|it| it.metadata.annotations.get(labels::ADOPT_BY))
            .map(|it| it.clone().into_owned())
    };
    let (old, new) = (annotation(&change.old), annotation(&change.new));
    if old == new {
        return None;
    }
    let user = Subject::User(&request.user_info.username);
    let groups = request
        .user_info
        .groups
        .iter()
        .flatten()
        .map(|it| Subject::Group(it));
    let tenant = std::iter::once(user)
        .chain(groups)
        .find_map(|it| match snapshot.standing(it) {
            Standing::Tenants(tenants) => tenants.first().map(|it| (*it).to_owned()),
            _ => None,
        })?;
    Some(Finding::new(
        RuleId::NamespaceAdoption,
        format!("metadata.annotations['{}']", labels::ADOPT_BY),
        format!("{} by a subject of tenant '{tenant}'", shown(new.as_deref())),
        "consent to adoption by the platform only",
        "ask the platform team to annotate the Namespace",
    ))
}

fn declared(snapshot: &Snapshot, name: &str) -> Option<Finding> {
    let tenant = snapshot.tenant_of(name)?;
    let declares = snapshot.tenants.declared.get(name)?.contains(tenant);
    declares.then(|| {
        Finding::new(
            RuleId::NamespaceDeclared,
            "metadata.name",
            format!("Namespace '{name}' is declared by Tenant '{tenant}'"),
            "deletion of Namespaces that no Tenant declares",
            format!("remove it from spec.namespaces.declared of Tenant '{tenant}' first"),
        )
    })
}

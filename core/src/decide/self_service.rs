//! Namespaces that tenants' people make, and what they may write on them.
//!
//! Who may ask at all is for RBAC; which names, how many and with which metadata is decided here. The operator counts again.

use std::collections::BTreeSet;

use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{SelfService, Tenant};

use serde_json::value::RawValue;

use super::{Change, shown};
use crate::finding::{Finding, RuleId, some_of};
use crate::grants::null_is_empty;
use crate::identity::Subject;
use crate::index;
use crate::ownership::{self, Claim};
use crate::review::{Object, Operation, Request, UserInfo};
use crate::self_service;
use crate::snapshot::Snapshot;

/// Whether a namespace is being created by somebody who belongs to these tenants. Anybody else's is judged as the platform's.
pub(super) fn is_creation(request: &Request<'_>, tenants: &BTreeSet<&str>) -> bool {
    request.operation == Operation::Create && !tenants.is_empty()
}

/// A tenant's subject creates a namespace.
pub(super) fn create(
    snapshot: &Snapshot,
    request: &Request<'_>,
    change: &Change<'_>,
    tenants: &BTreeSet<&str>,
) -> Vec<Finding> {
    let mut of = tenants.iter().copied();
    let (Some(tenant), None) = (of.next(), of.next()) else {
        let found = format!("a Namespace of somebody who belongs to {}", some_of(tenants));
        return vec![refused(
            "metadata.name",
            found,
            "Namespaces of people of one tenant",
            "make the Tenants' owners and identities disjoint",
        )];
    };
    let live = snapshot.tenants.by_name.get(tenant);
    let open = live.and_then(|it| Some((it, self_service::open(it)?)));
    let Some((live, self_service)) = open else {
        return vec![refused(
            "metadata.name",
            format!(
                "'{}', made by a subject of tenant '{tenant}', which has no self-service now",
                change.name()
            ),
            "Namespaces that the Tenant declares",
            "ask the platform team to declare it, or to set spec.namespaces.selfService of the Tenant",
        )];
    };
    let mut findings = Vec::new();
    let label = change.new_label(labels::TENANT);
    if label.is_none() {
        findings.push(refused(
            format!("metadata.labels['{}']", labels::TENANT),
            shown(label),
            format!("'{tenant}', the tenant of whoever makes the Namespace"),
            format!("add the label with the value '{tenant}'"),
        ));
    } else if label != Some(tenant) {
        findings.push(Finding::new(
            RuleId::NamespaceIdentity,
            format!("metadata.labels['{}']", labels::TENANT),
            format!("{} by a subject of tenant '{tenant}'", shown(label)),
            format!("'{tenant}'"),
            format!("set the label to '{tenant}'"),
        ));
    }
    if !is_owner(live, &request.user_info) {
        findings.push(refused(
            "metadata.name",
            format!("'{}', made by somebody who is no owner", change.name()),
            format!("Namespaces made by the owners of Tenant '{tenant}'"),
            "ask one of its owners, or the platform team to make you one",
        ));
    }
    findings.extend(name(snapshot, tenant, self_service, change.name()));
    findings.extend(maximum(snapshot, live, self_service, change.name()));
    findings
}

fn refused(
    field: impl Into<String>,
    found: String,
    allowed: impl Into<String>,
    fix: impl Into<String>,
) -> Finding {
    Finding::new(RuleId::NamespaceSelfService, field, found, allowed, fix)
}

fn is_owner(tenant: &Tenant, user: &UserInfo<'_>) -> bool {
    let groups = user.groups.iter().flatten().map(|it| Subject::Group(it).name());
    let names: Vec<_> = std::iter::once(Subject::User(&user.username).name())
        .chain(groups)
        .collect();
    tenant
        .spec
        .owners
        .iter()
        .any(|it| names.contains(&Subject::from(it).name()))
}

/// The name is the tenant's to give, and nobody has it, or is going to.
fn name(snapshot: &Snapshot, tenant: &str, self_service: &SelfService, name: &str) -> Option<Finding> {
    let prefix = &self_service.prefix;
    let declared = snapshot.tenants.declared.get(name);
    let (found, fix) = if snapshot.config.is_reserved_namespace(name) {
        (
            format!("'{name}', which is reserved"),
            "choose another name".to_owned(),
        )
    } else if let Some(by) = declared.and_then(|it| it.first()) {
        (
            format!("'{name}', which Tenant '{by}' declares"),
            "choose another name; the operator makes those that are declared".to_owned(),
        )
    } else if !name.starts_with(prefix.as_str()) {
        (format!("'{name}'"), format!("begin the name with '{prefix}'"))
    } else if snapshot.tenants.prefixes.gives(tenant, name) {
        return None;
    } else {
        let whose = snapshot.tenants.prefixes.of_name(name);
        let (longer, others) = whose.map_or((prefix.as_str(), Vec::new()), |(prefix, tenants)| {
            let others = tenants.iter().map(String::as_str).filter(|it| *it != tenant);
            (prefix, others.collect())
        });
        if others.is_empty() {
            (
                format!("'{name}', the prefix alone"),
                format!("write something after '{prefix}'"),
            )
        } else {
            (
                format!(
                    "'{name}', which begins with '{longer}' of Tenant {}",
                    some_of(others)
                ),
                "choose a name that begins with no other Tenant's prefix".to_owned(),
            )
        }
    };
    Some(Finding::new(
        RuleId::NamespacePrefix,
        "metadata.name",
        found,
        format!("names that begin with '{prefix}' and with no longer prefix of another Tenant"),
        fix,
    ))
}

/// How many there are is known as well as the snapshot is new; the operator, which takes them one by one, has the last word.
fn maximum(snapshot: &Snapshot, tenant: &Tenant, self_service: &SelfService, name: &str) -> Option<Finding> {
    let all = snapshot.tenants.by_name.values().map(|it| &**it);
    let claims = ownership::claims(tenant, all, &snapshot.namespaces, &snapshot.config);
    let others = claims.iter().filter(|(it, _)| *it != name);
    let count = others.filter(|(_, it)| Claim::is_by_self_service(it)).count();
    let max = usize::try_from(self_service.max).unwrap_or(0);
    (count >= max).then(|| {
        refused(
            "metadata.name",
            format!("one more than {count}"),
            format!("at most {max} Namespaces made by self-service (spec.namespaces.selfService.max)"),
            "delete one that is no longer needed, or ask the platform team for more",
        )
    })
}

/// What a tenant's subject writes on a namespace of its tenant: what the Tenant lists, and nothing else.
pub(super) fn metadata(
    snapshot: &Snapshot,
    change: &Change<'_>,
    tenants: &BTreeSet<&str>,
) -> Option<Finding> {
    let own = change
        .old_label(labels::TENANT)
        .or_else(|| change.new_label(labels::TENANT));
    let keys = own
        .filter(|it| tenants.len() == 1 && tenants.contains(it))
        .and_then(|it| self_service::open(snapshot.tenants.by_name.get(it)?))
        .map(index::own_keys)
        .unwrap_or_default();
    let (old, new) = (change.old.as_ref(), change.new.as_ref());
    let of_labels = changed(old, new, |it| &it.metadata.labels);
    let of_annotations = changed(old, new, |it| &it.metadata.annotations);
    // What has a rule of its own is told by that, and what the API server or kubectl writes says nothing.
    let is_other_label = |key: &str| labels::is_guarded(key) || key == labels::METADATA_NAME;
    let is_other_annotation = |key: &str| matches!(key, labels::ADOPT_BY | labels::LAST_APPLIED);
    let mut wrong: Vec<(String, String)> = Vec::new();
    let mut note =
        |kind: &str, found: BTreeSet<&str>, allowed: &[String], is_other: &dyn Fn(&str) -> bool| {
            let refused = found
                .into_iter()
                .filter(|key| !is_other(key) && !allowed.iter().any(|it| it == key));
            wrong.extend(refused.map(|key| (format!("metadata.{kind}['{key}']"), key.to_owned())));
        };
    note("labels", of_labels, &keys.labels, &is_other_label);
    note(
        "annotations",
        of_annotations,
        &keys.annotations,
        &is_other_annotation,
    );
    let finalizers =
        |it: Option<&Object<'_>>| it.map(|it| it.metadata.finalizers.clone()).unwrap_or_default();
    if finalizers(old) != finalizers(new) {
        wrong.push(("metadata.finalizers".to_owned(), "finalizers".to_owned()));
    }
    let held_by = |it: Option<&Object<'_>>| -> Vec<String> {
        let spec = it.and_then(|it| it.spec).map(RawValue::get);
        let spec: Held = spec
            .and_then(|it| serde_json::from_str(it).ok())
            .unwrap_or_default();
        spec.finalizers
    };
    let (before, after) = (held_by(old), held_by(new));
    if after.iter().any(|it| it != "kubernetes" && !before.contains(it)) {
        wrong.push(("spec.finalizers".to_owned(), "spec.finalizers".to_owned()));
    }
    let (field, _) = wrong.first()?.clone();
    let found = some_of(wrong.iter().map(|(_, key)| key));
    let listed: Vec<&String> = keys.labels.iter().chain(&keys.annotations).collect();
    let allowed = if listed.is_empty() {
        "no labels, annotations or finalizers: the Tenant lists none".to_owned()
    } else {
        format!("the keys that the Tenant lists: {}", some_of(listed))
    };
    Some(Finding::new(
        RuleId::NamespaceMetadata,
        field,
        format!("{found}, set, changed or removed by a tenant's subject"),
        allowed,
        "leave it out, or ask the platform team to list it in spec.namespaces.selfService.labels or .annotations",
    ))
}

/// What keeps a Namespace from going, beside the namespace controller's own `kubernetes`.
#[derive(Default, serde::Deserialize)]
struct Held {
    #[serde(default, deserialize_with = "null_is_empty")]
    finalizers: Vec<String>,
}

type Texts<'a> = std::collections::BTreeMap<std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>>;

/// The keys whose values differ.
fn changed<'a>(
    old: Option<&'a Object<'a>>,
    new: Option<&'a Object<'a>>,
    of: impl Fn(&'a Object<'a>) -> &'a Texts<'a>,
) -> BTreeSet<&'a str> {
    let (old, new) = (old.map(&of), new.map(&of));
    let all = old.into_iter().chain(new).flat_map(|it| it.keys());
    all.filter(|key| old.and_then(|it| it.get(*key)) != new.and_then(|it| it.get(*key)))
        .map(|it| &**it)
        .collect()
}

//! Who may enter: one RoleBinding for each ClusterRole that somebody gets in the namespace.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{SelfService, Subject, SubjectKind};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject as RbacSubject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Object;
use crate::config::Config;
use crate::validate::ValidTenant;
use crate::{identity, selector};

pub(super) const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn plan(
    tenant: &ValidTenant,
    namespace: &str,
    declared: &BTreeMap<String, String>,
    config: &Config,
    metadata: impl Fn(&str) -> ObjectMeta,
    is_bindable: impl Fn(identity::Subject<'_>) -> bool,
) -> Vec<Object> {
    let mut labels = declared.clone();
    labels.insert(labels::METADATA_NAME.to_owned(), namespace.to_owned());
    let mut roles: BTreeMap<&str, BTreeSet<&Subject>> = BTreeMap::new();
    if !tenant.owners.is_empty() {
        roles
            .entry(&config.owner_cluster_role)
            .or_default()
            .extend(&tenant.owners);
    }
    for access in &tenant.access {
        if access
            .namespace_selector
            .as_ref()
            .is_none_or(|it| selector::matches(it, &labels))
        {
            roles
                .entry(&access.cluster_role)
                .or_default()
                .extend(&access.subjects);
        }
    }
    roles
        .into_iter()
        .filter_map(|(role, subjects)| {
            let subjects = subjects
                .into_iter()
                .filter(|it| is_bindable(identity::Subject::from(*it)));
            binding(role, subjects, &metadata)
        })
        .collect()
}

/// What the owners may do with a namespace that they made: delete it and, if the Tenant lists any keys, set metadata.
pub(super) fn of_own(
    tenant: &ValidTenant,
    metadata: impl Fn(&str) -> ObjectMeta,
    is_bindable: impl Fn(identity::Subject<'_>) -> bool,
) -> Vec<Object> {
    if tenant.suspended {
        return Vec::new();
    }
    let lists_keys = |it: &SelfService| !(it.labels.is_empty() && it.annotations.is_empty());
    let metadata_role = tenant
        .self_service
        .as_ref()
        .is_some_and(lists_keys)
        .then_some(labels::METADATA_ROLE);
    let owners: BTreeSet<&Subject> = tenant.owners.iter().collect();
    std::iter::once(labels::DELETER_ROLE)
        .chain(metadata_role)
        .filter_map(|role| {
            let owners = owners.iter().copied();
            let owners = owners.filter(|it| is_bindable(identity::Subject::from(*it)));
            binding(role, owners, &metadata)
        })
        .collect()
}

fn binding<'a>(
    role: &str,
    subjects: impl Iterator<Item = &'a Subject>,
    metadata: impl Fn(&str) -> ObjectMeta,
) -> Option<Object> {
    let subjects: Vec<RbacSubject> = subjects.map(subject).collect();
    (!subjects.is_empty()).then(|| {
        Object::RoleBinding(RoleBinding {
            metadata: metadata(&format!("bailiwick:{role}")),
            role_ref: RoleRef {
                api_group: Some(GROUP.to_owned()),
                kind: "ClusterRole".to_owned(),
                name: role.to_owned(),
            },
            subjects: Some(subjects),
        })
    })
}

pub(super) fn subject(subject: &Subject) -> RbacSubject {
    let (kind, api_group) = match subject.kind {
        SubjectKind::User => ("User", Some(GROUP.to_owned())),
        SubjectKind::Group => ("Group", Some(GROUP.to_owned())),
        SubjectKind::ServiceAccount => ("ServiceAccount", None),
    };
    RbacSubject {
        api_group,
        kind: kind.to_owned(),
        name: subject.name.clone(),
        namespace: subject.namespace.clone(),
    }
}

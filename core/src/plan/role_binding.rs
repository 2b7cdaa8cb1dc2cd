//! Who may enter: one RoleBinding for each ClusterRole that somebody gets in the namespace.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{Subject, SubjectKind};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject as RbacSubject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Object;
use crate::config::Config;
use crate::validate::ValidTenant;
use crate::{identity, selector};

const GROUP: &str = "rbac.authorization.k8s.io";

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
            let subjects: Vec<RbacSubject> = subjects
                .into_iter()
                .filter(|it| is_bindable(identity::Subject::from(*it)))
                .map(subject)
                .collect();
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
        })
        .collect()
}

fn subject(subject: &Subject) -> RbacSubject {
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

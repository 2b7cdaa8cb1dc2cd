//! Who may create namespaces: the one ClusterRoleBinding that Bailiwick makes for tenants' people. The ClusterRole in it lets them
//! create namespaces and do nothing else; which ones is for admission to say.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::Subject;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::role_binding::{GROUP, subject};
use crate::identity;
use crate::self_service;
use crate::snapshot::Snapshot;
use crate::validate::examine;

/// The owners of the Tenants whose self-service is open, but for those whom another tenant claims, too.
pub fn creators(snapshot: &Snapshot) -> BTreeSet<Subject> {
    let mut creators = BTreeSet::new();
    for (name, tenant) in &snapshot.tenants.by_name {
        if self_service::open(tenant).is_none() {
            continue;
        }
        let sound = examine(tenant, &snapshot.config).sound;
        if sound.self_service.is_none() {
            continue;
        }
        let own = sound
            .owners
            .into_iter()
            .filter(|it| snapshot.standing(identity::Subject::from(it)).is_only(name));
        creators.extend(own);
    }
    creators
}

/// The binding as it is to be; none for nobody.
pub fn binding(creators: &BTreeSet<Subject>) -> Option<ClusterRoleBinding> {
    (!creators.is_empty()).then(|| ClusterRoleBinding {
        metadata: ObjectMeta {
            name: Some(labels::CREATORS.to_owned()),
            labels: Some(BTreeMap::from([(
                labels::MANAGED_BY.to_owned(),
                labels::OPERATOR.to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        role_ref: RoleRef {
            api_group: Some(GROUP.to_owned()),
            kind: "ClusterRole".to_owned(),
            name: labels::CREATOR_ROLE.to_owned(),
        },
        subjects: Some(creators.iter().map(subject).collect()),
    })
}

/// The paths at which the binding differs from what it is to be; none when it is as it is to be.
pub fn difference(planned: &ClusterRoleBinding, found: &ClusterRoleBinding) -> Vec<&'static str> {
    let (meta, its) = (&planned.metadata, &found.metadata);
    let is_empty = |it: Option<&Vec<_>>| it.is_none_or(Vec::is_empty);
    let kept = [
        ("metadata.labels", its.labels == meta.labels),
        (
            "metadata.annotations",
            its.annotations.as_ref().is_none_or(BTreeMap::is_empty),
        ),
        (
            "metadata.ownerReferences",
            its.owner_references.as_ref().is_none_or(Vec::is_empty),
        ),
        ("metadata.finalizers", is_empty(its.finalizers.as_ref())),
        ("roleRef", found.role_ref == planned.role_ref),
        ("subjects", found.subjects == planned.subjects),
    ];
    let differs = kept.into_iter().filter(|(_, is_kept)| !is_kept);
    differs.map(|(path, _)| path).collect()
}

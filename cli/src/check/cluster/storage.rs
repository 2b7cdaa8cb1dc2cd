//! StorageClasses and PersistentVolumes of the files.

use std::collections::BTreeMap;

use bailiwick_core::placement::{ClassFacts, VolumeFacts};
use k8s_openapi::api::core::v1::PersistentVolume;
use k8s_openapi::api::storage::v1::StorageClass;
use serde::de::DeserializeOwned;

use super::to_json;
use crate::check::manifest::Manifest;

/// The StorageClasses by name.
pub(super) fn classes(manifests: &[Manifest]) -> BTreeMap<String, ClassFacts> {
    all::<StorageClass, _>(manifests, ("storage.k8s.io", "StorageClass"))
}

/// The PersistentVolumes by name.
pub(super) fn volumes(manifests: &[Manifest]) -> BTreeMap<String, VolumeFacts> {
    all::<PersistentVolume, _>(manifests, ("", "PersistentVolume"))
}

/// What is known of the objects of a kind, as far as they can be read.
fn all<T, F>(manifests: &[Manifest], (group, kind): (&str, &str)) -> BTreeMap<String, F>
where
    T: DeserializeOwned,
    F: for<'a> From<&'a T>,
{
    manifests
        .iter()
        .filter(|it| it.id.group == group && it.id.kind == kind)
        .filter_map(|it| {
            let object: T = serde_json::from_value(to_json(it)).ok()?;
            Some((it.id.name.clone(), F::from(&object)))
        })
        .collect()
}

//! The objects that the operator keeps, as they are on the API server.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::{Value, json};

use crate::steps::MANAGED;

type Types = (&'static str, &'static str, &'static str);

pub(crate) const NETWORK_POLICY: Types = ("networking.k8s.io", "v1", "NetworkPolicy");
pub(crate) const ROLE_BINDING: Types = ("rbac.authorization.k8s.io", "v1", "RoleBinding");
/// The kinds in tenants' namespaces.
pub(crate) const KINDS: [Types; 4] = [
    NETWORK_POLICY,
    ("", "v1", "ResourceQuota"),
    ("", "v1", "LimitRange"),
    ROLE_BINDING,
];
/// What else Bailiwick writes, or might.
const OTHERS: [(Types, &str); 5] = [
    (("", "v1", "Namespace"), ""),
    (("bailiwick.dev", "v1alpha1", "Tenant"), ""),
    (("bailiwick.dev", "v1alpha1", "TenancyIndex"), ""),
    (
        (
            "admissionregistration.k8s.io",
            "v1",
            "ValidatingWebhookConfiguration",
        ),
        "",
    ),
    (("", "v1", "Secret"), "bailiwick-system"),
];

fn resource((group, version, kind): Types) -> ApiResource {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match kind {
        "TenancyIndex" => ApiResource {
            plural: "tenancyindices".to_owned(),
            ..resource
        },
        _ => resource,
    }
}

pub(crate) fn api(client: &Client, kind: Types, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(kind))
}

/// The managed objects of a namespace, by kind and name.
pub(crate) async fn objects(client: &Client, namespace: &str) -> Result<BTreeMap<String, DynamicObject>> {
    let mut found = BTreeMap::new();
    for kind in KINDS {
        let ours = ListParams::default().labels(MANAGED);
        for object in api(client, kind, namespace).list(&ours).await? {
            let name = object.metadata.name.clone().context("an object without a name")?;
            found.insert(format!("{} {name}", kind.2), object);
        }
    }
    Ok(found)
}

/// The object without what the API server writes.
pub(crate) fn essence(object: &DynamicObject) -> Value {
    let mut value = object.data.clone();
    if let Some(members) = value.as_object_mut() {
        members.remove("status");
    }
    let metadata = &object.metadata;
    value["metadata"] = json!({
        "labels": metadata.labels,
        "annotations": metadata.annotations,
        "finalizers": metadata.finalizers,
        "ownerReferences": metadata.owner_references,
    });
    value
}

/// The resourceVersion of everything that Bailiwick writes, by kind, namespace and name: no write leaves them alike.
pub(crate) async fn versions(client: &Client) -> Result<BTreeMap<String, String>> {
    let managed = KINDS.map(|kind| (kind, "", ListParams::default().labels(MANAGED)));
    let others = OTHERS.map(|(kind, namespace)| (kind, namespace, ListParams::default()));
    let mut versions = BTreeMap::new();
    for (kind, namespace, params) in managed.into_iter().chain(others) {
        let resource = resource(kind);
        let api: Api<DynamicObject> = if namespace.is_empty() {
            Api::all_with(client.clone(), &resource)
        } else {
            Api::namespaced_with(client.clone(), namespace, &resource)
        };
        for object in api
            .list(&params)
            .await
            .with_context(|| format!("list {}", kind.2))?
        {
            versions.insert(
                key(kind.2, &object),
                object.metadata.resource_version.unwrap_or_default(),
            );
        }
    }
    Ok(versions)
}

/// The key of an object in [`versions`].
pub(crate) fn key(kind: &str, object: &DynamicObject) -> String {
    let part = |it: &Option<String>| it.clone().unwrap_or_default();
    format!(
        "{kind} {}/{}",
        part(&object.metadata.namespace),
        part(&object.metadata.name)
    )
}

/// What differs between two times.
pub(crate) fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let keys = before.keys().chain(after.keys());
    let changed = keys.filter(|it| before.get(*it) != after.get(*it));
    let mut changed: Vec<String> = changed.cloned().collect();
    changed.sort();
    changed.dedup();
    changed
}

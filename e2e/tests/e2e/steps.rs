//! What the tests of tenants do again and again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, wait::eventually};
use k8s_openapi::api::{core::v1::Namespace, networking::v1::NetworkPolicy, rbac::v1::RoleBinding};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};

pub(crate) const TENANT_LABEL: &str = "bailiwick.dev/tenant";
pub(crate) const MANAGED: &str = "bailiwick.dev/managed-by";

pub(crate) fn tenants(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("bailiwick.dev", "v1alpha1", "Tenant");
    Api::all_with(client.clone(), &ApiResource::from_gvk(&kind))
}

/// A Tenant that declares namespaces, with an owner of its own and more of its spec as flow YAML (or nothing).
pub(crate) fn tenant(name: &str, namespaces: &[&str], more: &str) -> String {
    let declared: Vec<String> = namespaces.iter().map(|it| format!("{{ name: {it} }}")).collect();
    let comma = if more.is_empty() { "" } else { ", " };
    format!(
        "{{ apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: {{ name: {name} }}, spec: {{ owners: [{{ kind: User, name: {name}-owner }}], namespaces: {{ declared: [{}] }}{comma}{more} }} }}",
        declared.join(", ")
    )
}

/// Waits until a condition of a Tenant has a status and reason; gives its message.
pub(crate) async fn condition(
    cluster: &Cluster,
    tenant: &str,
    type_: &str,
    status: &str,
    reason: &str,
    deadline: Duration,
) -> Result<String> {
    let what = format!("Tenant {tenant} is {type_}={status} ({reason})");
    eventually(deadline, &what, async || {
        let now = tenants(&cluster.client()).get(tenant).await?;
        let conditions = now.data["status"]["conditions"].as_array().cloned();
        let found = conditions
            .unwrap_or_default()
            .into_iter()
            .find(|it| it["type"] == type_)
            .with_context(|| format!("no {type_} yet"))?;
        let is_current = found["observedGeneration"].as_i64() == now.metadata.generation;
        ensure!(
            is_current && found["status"] == status && found["reason"] == reason,
            "{found}"
        );
        Ok(found["message"].as_str().unwrap_or_default().to_owned())
    })
    .await
}

pub(crate) fn namespaces(client: &Client) -> Api<Namespace> {
    Api::all(client.clone())
}

pub(crate) async fn namespace_label(client: &Client, name: &str, key: &str) -> Result<Option<String>> {
    let namespace = namespaces(client).get(name).await?;
    Ok(namespace.metadata.labels.and_then(|it| it.get(key).cloned()))
}

/// Names of the managed NetworkPolicies and RoleBindings of a namespace.
pub(crate) async fn locks_and_doors(client: &Client, namespace: &str) -> Result<(Vec<String>, Vec<String>)> {
    let managed = ListParams::default().labels(MANAGED);
    let locks: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
    let doors: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    let locks = locks.list(&managed).await?.items;
    let doors = doors.list(&managed).await?.items;
    Ok((
        locks.into_iter().filter_map(|it| it.metadata.name).collect(),
        doors.into_iter().filter_map(|it| it.metadata.name).collect(),
    ))
}

/// The sum of a counter over all its labels.
pub(crate) fn counted(metrics: &str, name: &str) -> f64 {
    metrics
        .lines()
        .filter(|it| it.starts_with(name) && it[name.len()..].starts_with(['{', ' ']))
        .filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

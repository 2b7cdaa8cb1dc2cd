//! TenantPolicies on a real API server: edited, broken, rolled out, approved, taken back.

pub(crate) mod approvals;
mod bad_input;
mod commands;
mod enforcement;
mod life;
mod rollout;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, objects, wait::eventually};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    fixture::{Installed, SOON, ready_tenant, unique},
    steps::tenant,
};

pub(super) fn policies(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("bailiwick.dev", "v1alpha1", "TenantPolicy");
    let resource = ApiResource {
        plural: "tenantpolicies".to_owned(),
        ..ApiResource::from_gvk(&kind)
    };
    Api::all_with(client.clone(), &resource)
}

/// A policy of one tenant that refuses ConfigMaps with the key `word`, saying `said`, and more of its spec.
pub(crate) fn refusing(name: &str, tenant: &str, word: &str, said: &str, more: &Value) -> Value {
    let rego = format!(
        "package bailiwick\n\ndeny contains {{\"msg\": \"{said}\", \"field\": \"data.{word}\", \"fix\": \"remove it\"}} if input.request.object.data.{word}\n"
    );
    let mut policy = json!({
        "apiVersion": "bailiwick.dev/v1alpha1",
        "kind": "TenantPolicy",
        "metadata": { "name": name },
        "spec": {
            "tenants": [tenant],
            "match": { "resources": [{ "groups": [""], "kinds": ["ConfigMap"] }] },
            "rego": rego,
        },
    });
    if let (Some(spec), Some(more)) = (policy["spec"].as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    policy
}

/// Writes a policy as somebody.
pub(crate) async fn write(client: &Client, policy: &Value) -> Result<DynamicObject> {
    let name = policy["metadata"]["name"].as_str().context("a name")?;
    let params = PatchParams::apply("bailiwick-e2e").force();
    eventually(SOON, "the API server knows the kind", async || {
        let written = policies(client).patch(name, &params, &Patch::Apply(policy)).await;
        match written {
            // It learns of a new kind some time after the kind is served, and says so.
            Err(kube::Error::Api(status)) if status.code == 503 => anyhow::bail!(status.message),
            other => Ok(other.with_context(|| format!("write TenantPolicy {name}"))),
        }
    })
    .await?
}

/// Waits until a condition of a policy has this status and reason for what is written now; gives the policy.
pub(crate) async fn condition(
    client: &Client,
    name: &str,
    (type_, status, reason): (&str, &str, &str),
) -> Result<DynamicObject> {
    condition_within(client, name, (type_, status, reason), SOON).await
}

pub(super) async fn condition_within(
    client: &Client,
    name: &str,
    (type_, status, reason): (&str, &str, &str),
    deadline: Duration,
) -> Result<DynamicObject> {
    let what = format!("TenantPolicy {name} is {type_}={status} ({reason})");
    eventually(deadline, &what, async || {
        let now = policies(client).get(name).await?;
        let conditions = now.data["status"]["conditions"].as_array().cloned();
        let found = conditions
            .unwrap_or_default()
            .into_iter()
            .find(|it| it["type"] == type_);
        let found = found.with_context(|| format!("no {type_} yet"))?;
        let is_current = found["observedGeneration"].as_i64() == now.metadata.generation;
        ensure!(
            is_current && found["status"] == status && found["reason"] == reason,
            "{found} of {}",
            now.data["status"]
        );
        Ok(now)
    })
    .await
}

/// Writes a policy and waits until every webhook serves it.
pub(crate) async fn served(client: &Client, policy: &Value) -> Result<DynamicObject> {
    write(client, policy).await?;
    let name = policy["metadata"]["name"].as_str().unwrap_or_default();
    condition(client, name, ("Ready", "True", "AsWritten")).await
}

pub(super) fn active(policy: &DynamicObject) -> String {
    policy.data["status"]["activeRevision"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Tries to create a ConfigMap with a key.
pub(super) async fn put(client: &Client, namespace: &str, word: &str) -> Result<(), kube::Error> {
    let configs: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let config: ConfigMap = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": unique("config") },
        "data": { word: "x" },
    }))
    .map_err(kube::Error::SerdeError)?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    configs.create(&params, &config).await.map(|_| ())
}

/// The message of the refusal of a ConfigMap by a policy.
pub(super) async fn refused(client: &Client, namespace: &str, word: &str) -> Result<String> {
    Ok(objects::denied(put(client, namespace, word).await, "BW-POLICY")?.message)
}

/// A tenant with a namespace: their names.
pub(super) async fn home(cluster: &Cluster, stem: &str) -> Result<(String, String)> {
    let (name, namespace) = (unique(stem), unique(&format!("{stem}-ns")));
    ready_tenant(cluster, &tenant(&name, &[&namespace], ""), SOON).await?;
    Ok((name, namespace))
}

/// A line of the audit log about a namespace, with this in it.
pub(super) async fn audited(installed: &Installed, namespace: &str, annotation: &str) -> Result<String> {
    let log = installed.cluster.logs().join("kube-apiserver.log");
    eventually(SOON, "it is in the audit log", async || {
        let text = std::fs::read_to_string(&log)?;
        let mut lines = text.lines().rev();
        let line = lines.find(|it| it.starts_with('{') && it.contains(namespace) && it.contains(annotation));
        Ok(line.context("not yet")?.to_owned())
    })
    .await
}

//! A tenant's Namespaces, changed where no guard stands.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::wait::eventually;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::{PUT_BACK, unguarded};
use crate::{
    fixture::{SOON, ready_tenant, unique},
    managed::{essence, objects},
    steps::{condition, namespaces},
};

/// Every label that the operator sets, and another value that the API server takes.
const SET: [(&str, &str); 7] = [
    ("bailiwick.dev/tenant", "other"),
    ("bailiwick.dev/pod-label", "Verify"),
    ("pod-security.kubernetes.io/enforce", "privileged"),
    ("pod-security.kubernetes.io/enforce-version", "v1.30"),
    ("pod-security.kubernetes.io/audit", "privileged"),
    ("pod-security.kubernetes.io/warn", "privileged"),
    ("stage", "other"),
];
/// Guarded labels that it doesn't set: nobody else may.
const UNSET: [(&str, &str); 3] = [
    ("resource.kubernetes.io/admin-access", "true"),
    ("pod-security.kubernetes.io/audit-version", "v1.30"),
    ("pod-security.kubernetes.io/warn-version", "v1.30"),
];

/// Labels without the one that is nobody's business.
fn without_team(labels: Option<BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut labels = labels.unwrap_or_default();
    labels.remove("team");
    labels
}

#[test]
fn every_guarded_part_of_a_namespace_is_put_back() -> Result<()> {
    unguarded(async |cluster, _| {
        let client = cluster.client();
        let (name, ns) = (unique("drift"), unique("drift-ns"));
        let yaml = format!(
            "{{ metadata: {{ name: {name} }}, spec: {{ owners: [{{ kind: User, name: {name}-owner }}], namespaces: {{ declared: [{{ name: {ns}, labels: {{ stage: prod }} }}] }} }} }}"
        );
        ready_tenant(cluster, &yaml, SOON).await?;
        let all = namespaces(&client);
        let wanted = without_team(all.get(&ns).await?.metadata.labels);
        let mut set: Vec<&str> = wanted.keys().map(String::as_str).collect();
        set.retain(|it| *it != "kubernetes.io/metadata.name");
        let mut tried = SET.map(|(key, _)| key);
        tried.sort_unstable();
        ensure!(set == tried, "labels that no change below touches: {set:?}");

        let change = |key: &str, value: Option<&str>| json!({ "labels": { key: value } });
        let mut changes: Vec<Value> = SET.map(|(key, value)| change(key, Some(value))).to_vec();
        changes.extend(SET.map(|(key, _)| change(key, None)));
        changes.extend(UNSET.map(|(key, value)| change(key, Some(value))));
        // An owner that exists, or the garbage collector would be faster.
        let owner = all.get("kube-system").await?.metadata.uid;
        changes.push(json!({ "ownerReferences": [{ "apiVersion": "v1", "kind": "Namespace", "name": "kube-system", "uid": owner }] }));
        let params = PatchParams {
            field_manager: Some("kubectl-edit".to_owned()),
            ..PatchParams::default()
        };
        for mut metadata in changes {
            let what = metadata.to_string();
            // What isn't guarded stays, in the same request.
            metadata["labels"]["team"] = json!("x");
            let patch = json!({ "metadata": metadata });
            let edited = all.patch(&ns, &params, &Patch::Merge(&patch)).await?;
            let is_changed =
                without_team(edited.metadata.labels) != wanted || edited.metadata.owner_references.is_some();
            ensure!(is_changed, "{what} changes nothing");
            eventually(PUT_BACK, &format!("Namespace {ns}: {what}"), async || {
                let now = all.get(&ns).await?.metadata;
                let team = now.labels.as_ref().and_then(|it| it.get("team").cloned());
                ensure!(
                    team.as_deref() == Some("x"),
                    "the label that isn't guarded is gone"
                );
                ensure!(now.owner_references.is_none(), "{:?}", now.owner_references);
                let labels = without_team(now.labels);
                ensure!(labels == wanted, "{labels:?}");
                Ok(())
            })
            .await?;
        }

        // Deleted by somebody whom no guard stopped, it is made again, with everything in it.
        let essences = async || {
            let found = objects(&client, &ns).await?;
            let essences = found.into_iter().map(|(key, it)| (key, essence(&it)));
            Ok::<BTreeMap<_, _>, anyhow::Error>(essences.collect())
        };
        let (before, uid) = (essences().await?, all.get(&ns).await?.metadata.uid);
        all.delete(&ns, &DeleteParams::default()).await?;
        eventually(SOON, "the Namespace is made again", async || {
            let now = all.get_opt(&ns).await?.context("gone")?;
            ensure!(now.metadata.uid != uid, "still the old one: {:?}", now.status);
            ensure!(without_team(now.metadata.labels) == wanted, "other labels");
            let found = essences().await?;
            ensure!(found == before, "{found:?}");
            Ok(())
        })
        .await?;
        condition(cluster, &name, "Ready", "True", "AllApplied", SOON).await?;
        Ok(())
    })
}

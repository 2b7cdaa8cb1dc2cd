//! Where nothing changes nothing is written.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::wait::{eventually, throughout};
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::json;

use super::rich;
use crate::{
    fixture::{SOON, on_own_cluster, ready_tenant, unique},
    managed::{changed, key, versions},
    steps::{counted, tenants},
};

#[test]
fn nothing_is_written_when_nothing_changed() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let client = cluster.client();
        let (name, ns) = (unique("silent"), unique("silent-ns"));
        let limits = "quota: { tenant: { pods: 50, requests.cpu: 20 },";
        let spec = rich(&name, &ns);
        ensure!(spec.contains("quota: {"), "{spec}");
        let limited = spec.replacen("quota: {", limits, 1);
        ready_tenant(cluster, &limited, SOON).await?;
        let leader = bailiwick.leader().await?;
        let count = async |counter| Ok::<_, anyhow::Error>(counted(&leader.metrics().await?, counter));
        // The last events of its own writes have to arrive first.
        let mut rest = (versions(&client).await?, Instant::now());
        eventually(SOON, "everything comes to rest", async || {
            let now = versions(&client).await?;
            if now != rest.0 {
                rest = (now, Instant::now());
            }
            ensure!(rest.1.elapsed() > Duration::from_secs(1), "it still changes");
            Ok(())
        })
        .await?;
        let mut before = rest.0;
        for wanted in [
            "NetworkPolicy",
            "ResourceQuota",
            "LimitRange",
            "RoleBinding",
            "Tenant /",
            "TenancyIndex",
            "Namespace /",
            "Secret",
            "ValidatingWebhookConfiguration",
        ] {
            ensure!(
                before.keys().any(|it| it.starts_with(wanted)),
                "no {wanted}: {before:?}"
            );
        }
        let writes = count("bailiwick_operator_writes_total").await?;
        // A label that means nothing makes it look again; the poke itself is the only write.
        for poke in ["x", "y"] {
            let seen = count("bailiwick_operator_reconciles_total").await?;
            let label = json!({ "metadata": { "labels": { "team": poke } } });
            let params = PatchParams::default();
            let namespace = cluster_namespace(&client)
                .patch(&ns, &params, &Patch::Merge(&label))
                .await?;
            let tenant = tenants(&client)
                .patch(&name, &params, &Patch::Merge(&label))
                .await?;
            for (kind, object) in [("Namespace", namespace), ("Tenant", tenant)] {
                let version = object.metadata.resource_version.clone().context("no version")?;
                before.insert(key(kind, &object), version);
            }
            eventually(SOON, "the operator looks again", async || {
                let now = count("bailiwick_operator_reconciles_total").await?;
                ensure!(now > seen, "not yet");
                Ok(())
            })
            .await?;
            throughout(Duration::from_secs(1), "nothing is written", async || {
                let changed = changed(&before, &versions(&client).await?);
                ensure!(changed.is_empty(), "{changed:?}");
                Ok(())
            })
            .await?;
        }
        let now = count("bailiwick_operator_writes_total").await?;
        ensure!(now <= writes, "{} writes", now - writes);
        Ok(())
    })
}

fn cluster_namespace(client: &kube::Client) -> kube::Api<DynamicObject> {
    let kind = kube::core::GroupVersionKind::gvk("", "v1", "Namespace");
    kube::Api::all_with(client.clone(), &kube::core::ApiResource::from_gvk(&kind))
}

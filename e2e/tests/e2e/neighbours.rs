//! Tenants that slipped in at the same time and are in each other's way: both hear of it at once, and of its end.

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, objects, wait::eventually};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    requests::OPERATOR,
    steps::{condition, tenant, tenants},
};

/// Stored as if its webhook review had been held before the other Tenant came: the operator isn't judged.
async fn slip_in(cluster: &Cluster, yaml: &str) -> Result<()> {
    let exempt = cluster.client_as(OPERATOR, &["system:masters"])?;
    objects::create(&exempt, yaml).await?;
    Ok(())
}

async fn change(cluster: &Cluster, name: &str, spec: Value) -> Result<()> {
    let patch = json!({ "spec": spec });
    tenants(&cluster.client())
        .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

#[test]
fn two_tenants_that_claim_the_same_both_say_so_until_one_is_repaired() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let (first, second, bystander) = (unique("claim"), unique("claim"), unique("claim"));
        let groups = |name: &str| format!("identities: {{ groups: ['{name}'] }}");
        let of_first = groups(&format!("{first}:*"));
        ready_tenant(cluster, &tenant(&first, &[&unique("claim-ns")], &of_first), SOON).await?;
        let of_bystander = groups(&format!("{bystander}:*"));
        ready_tenant(cluster, &tenant(&bystander, &[], &of_bystander), SOON).await?;

        let overlapping = tenant(&second, &[], &groups(&format!("{first}:dev")));
        let refused = objects::create(&cluster.client(), &overlapping).await;
        objects::denied(refused, "BW-TENANT-IDENTITY")?;
        slip_in(cluster, &overlapping).await?;
        for (name, other) in [(&first, &second), (&second, &first)] {
            for (type_, status) in [
                ("Ready", "False"),
                ("AccessIsolated", "False"),
                ("Stalled", "True"),
            ] {
                let message = condition(cluster, name, type_, status, "IdentityConflict", SOON).await?;
                ensure!(message.contains(&format!("Tenant {other}")), "{message}");
            }
        }
        condition(cluster, &bystander, "Ready", "True", "AllApplied", SOON).await?;

        let repaired = json!({ "identities": { "groups": [format!("{second}:dev")] } });
        change(cluster, &second, repaired).await?;
        for name in [&second, &first] {
            condition(cluster, name, "Ready", "True", "AllApplied", SOON).await?;
        }
        Ok(())
    })
}

#[test]
fn traffic_from_a_namespace_that_became_a_tenants_is_no_longer_let_in() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let (first, second) = (unique("source"), unique("source"));
        let (ns, taken, platform) = (unique("source-ns"), unique("taken"), unique("platform"));
        let sources = format!("network: {{ ingress: {{ fromNamespaces: ['{taken}', '{platform}'] }} }}");
        ready_tenant(cluster, &tenant(&first, &[&ns], &sources), SOON).await?;
        let policies: Api<NetworkPolicy> = Api::namespaced(cluster.client(), &ns);
        let allowed = async || {
            let policy = policies.get("bailiwick-allow").await?;
            serde_json::to_string(&policy.spec).context("a policy that is no JSON")
        };
        ensure!(allowed().await?.contains(&taken), "{}", allowed().await?);

        let taking = tenant(&second, &[&taken], "");
        let refused = objects::create(&cluster.client(), &taking).await;
        objects::denied(refused, "BW-TENANT-NAMESPACE")?;
        slip_in(cluster, &taking).await?;
        condition(cluster, &second, "Ready", "True", "AllApplied", SOON).await?;
        for (type_, status) in [
            ("Ready", "False"),
            ("NetworkIsolated", "False"),
            ("Stalled", "True"),
        ] {
            let message = condition(cluster, &first, type_, status, "NetworkConflict", SOON).await?;
            ensure!(message.contains("fromNamespaces[0]"), "{message}");
        }
        eventually(SOON, "the tenant's traffic is shut out", async || {
            let now = allowed().await?;
            ensure!(!now.contains(&taken) && now.contains(&platform), "{now}");
            Ok(())
        })
        .await?;

        let repaired = json!({ "network": { "ingress": { "fromNamespaces": [platform] } } });
        change(cluster, &first, repaired).await?;
        condition(cluster, &first, "Ready", "True", "AllApplied", SOON).await?;
        Ok(())
    })
}

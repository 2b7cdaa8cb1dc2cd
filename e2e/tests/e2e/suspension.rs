//! A suspended tenant may only read, and what runs goes on.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bailiwick_e2e::{objects, wait::eventually};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, ServiceAccount},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    steps::{MANAGED, condition, tenant, tenants},
};

const RULE: &str = "BW-SUSPENDED";
/// From the answer to the Tenant's change: a second after the operator's watch tells of it, on a machine that does other things.
const IN_FORCE: Duration = Duration::from_secs(5);

async fn suspend(client: &Client, tenant: &str, suspended: bool) -> Result<()> {
    let patch = json!({ "spec": { "suspended": suspended } });
    let params = PatchParams::default();
    tenants(client)
        .patch(tenant, &params, &Patch::Merge(&patch))
        .await?;
    Ok(())
}

fn map(name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map
}

/// Starts `exec` in a Pod; what runs in it is not there, so this never succeeds.
async fn exec(client: &Client, namespace: &str, pod: &str) -> Result<(), kube::Error> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/exec?command=true&stdout=true");
    let request = http::Request::post(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request::<serde_json::Value>(request).await.map(|_| ())
}

#[test]
fn a_suspended_tenant_reads_only_and_what_runs_goes_on() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        let (name, ns) = (unique("halted"), unique("halted-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], ""), SOON).await?;
        let owner = cluster.client_as(&format!("{name}-owner"), &["system:authenticated"])?;
        let (maps, pods): (Api<ConfigMap>, Api<Pod>) = (
            Api::namespaced(owner.clone(), &ns),
            Api::namespaced(owner.clone(), &ns),
        );
        let create = PostParams::default();
        maps.create(&create, &map("before")).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), &ns);
        eventually(SOON, "Pods have a ServiceAccount", async || {
            accounts.get("default").await.map(|_| ()).map_err(Into::into)
        })
        .await?;
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": { "name": "web" },
            "spec": {
                "replicas": 1, "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [{ "name": "c", "image": "example.invalid/c" }] },
                },
            },
        }))?;
        let deployments: Api<Deployment> = Api::namespaced(owner.clone(), &ns);
        deployments.create(&create, &deployment).await?;
        let running = async |but: &str| {
            let mut found = String::new();
            eventually(SOON, "a Pod of the Deployment", async || {
                let all = pods.list(&ListParams::default().labels("app=web")).await?;
                let names = all.items.into_iter().filter_map(|it| it.metadata.name);
                match names.into_iter().find(|it| it != but) {
                    Some(name) => Ok(name),
                    None => bail!("none yet"),
                }
            })
            .await
            .map(|it| found.push_str(&it))?;
            anyhow::Ok(found)
        };
        let pod = running("").await?;
        ensure!(
            !exec(&owner, &ns, &pod)
                .await
                .unwrap_err()
                .to_string()
                .contains(RULE)
        );

        suspend(&admin, &name, true).await?;
        eventually(IN_FORCE, "the suspension is in force", async || {
            objects::denied(maps.create(&create, &map("while")).await, RULE).map(|_| ())
        })
        .await?;
        condition(cluster, &name, "Ready", "True", "AllApplied", SOON).await?;

        // Neither its people nor the platform's write; all read.
        let merge = Patch::Merge(json!({ "data": { "a": "b" } }));
        for client in [&owner, &admin] {
            let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &ns);
            objects::denied(maps.patch("before", &PatchParams::default(), &merge).await, RULE)?;
            objects::denied(maps.delete("before", &DeleteParams::default()).await, RULE)?;
            ensure!(maps.get("before").await?.data.is_none());
        }
        objects::denied(exec(&owner, &ns, &pod).await, RULE)?;
        let scale = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
        let params = PatchParams::default();
        objects::denied(deployments.patch_scale("web", &params, &scale).await, RULE)?;
        objects::denied(pods.delete(&pod, &DeleteParams::default()).await, RULE)?;

        // A Pod that dies is replaced, and what isolates the tenant is kept.
        let node = cluster.client_as("system:node:n", &["system:nodes", "system:masters"])?;
        let of_node: Api<Pod> = Api::namespaced(node, &ns);
        of_node
            .delete(&pod, &DeleteParams::default().grace_period(0))
            .await?;
        running(&pod).await?;
        let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), &ns);
        let managed = ListParams::default().labels(MANAGED);
        ensure!(!policies.list(&managed).await?.items.is_empty());

        suspend(&admin, &name, false).await?;
        eventually(IN_FORCE, "the suspension is lifted", async || {
            maps.create(&create, &map("after"))
                .await
                .map(|_| ())
                .map_err(Into::into)
        })
        .await?;
        maps.patch("before", &params, &merge).await?;
        objects::denied(exec(&owner, &ns, &pod).await, RULE).map_or(Ok(()), |it| bail!("still: {it:?}"))
    })
}

//! What is free comes to where it is needed, in seconds.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, objects, wait::eventually};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use super::{SLICE, enforced, exceeded, is_exceeded, slices};
use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    steps::tenant,
};

/// For what takes 1 s (one large Pod) to 4 s (many small ones) on two cores, and 11 s where all other tests ran as well.
const SECONDS: Duration = Duration::from_secs(30);

async fn divided(cluster: &Cluster, limit: &str) -> Result<(String, Vec<String>)> {
    let (name, namespaces) = (unique("room"), (0..5).map(|_| unique("room-ns")));
    let namespaces: Vec<String> = namespaces.collect();
    let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    let quota = format!("quota: {{ tenant: {{ {limit} }} }}");
    ready_tenant(cluster, &tenant(&name, &names, &quota), SOON).await?;
    for namespace in &namespaces {
        let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), namespace);
        eventually(SOON, "there is a ServiceAccount", async || {
            accounts.get("default").await?;
            Ok(())
        })
        .await?;
    }
    Ok((name, namespaces))
}

fn pod(cpu: &str) -> Result<Pod> {
    let pod = json!({
        "metadata": { "name": unique("pod") },
        "spec": { "containers": [{ "name": "c", "image": "x", "resources": { "requests": { "cpu": cpu } } }] },
    });
    Ok(serde_json::from_value(pod)?)
}

#[test]
fn one_large_pod_of_a_controller_gets_all_that_is_free() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (_, namespaces) = divided(cluster, "requests.cpu: 40").await?;
        // One namespace after the other needs the whole of it.
        for namespace in &namespaces[..2] {
            let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
            eventually(SOON, "it has a part, and not the whole", async || {
                exceeded(pods.create(&dry(), &pod("40")?).await)?;
                pods.create(&dry(), &pod("100m")?).await?;
                Ok(())
            })
            .await?;
            let begin = Instant::now();
            let replicas = format!(
                "{{ apiVersion: apps/v1, kind: ReplicaSet, metadata: {{ name: large, namespace: {namespace} }}, spec: {{ replicas: 1, selector: {{ matchLabels: {{ app: large }} }}, template: {{ metadata: {{ labels: {{ app: large }} }}, spec: {{ containers: [{{ name: c, image: x, resources: {{ requests: {{ cpu: 40 }} }} }}] }} }} }} }}"
            );
            objects::create(&client, &replicas).await?;
            eventually(SECONDS, "the Pod is there", async || {
                ensure!(
                    !pods.list(&ListParams::default()).await?.items.is_empty(),
                    "not yet"
                );
                Ok(())
            })
            .await?;
            println!("all of 40 cpus came to one Pod after {:?}", begin.elapsed());
            cluster
                .kubectl(&[
                    "delete",
                    "replicaset",
                    "large",
                    "-n",
                    namespace,
                    "--cascade=foreground",
                    "--wait=false",
                ])
                .await?
                .ok()?;
            eventually(SOON, "the Pod is gone", async || {
                for it in pods.list(&ListParams::default()).await? {
                    let name = it.metadata.name.unwrap_or_default();
                    pods.delete(&name, &DeleteParams::default().grace_period(0))
                        .await?;
                }
                ensure!(
                    pods.list(&ListParams::default()).await?.items.is_empty(),
                    "not yet"
                );
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
}

fn dry() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

#[test]
fn who_creates_one_after_the_other_gets_what_the_others_leave() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (name, namespaces) = divided(cluster, "pods: 100").await?;
        let namespace = &namespaces[0];
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let begin = Instant::now();
        // Each of the four others keeps room for one more.
        let mut made = 0;
        while made < 96 {
            match pods.create(&PostParams::default(), &pod("0")?).await {
                Ok(_) => made += 1,
                Err(error) if is_exceeded(&error) => {
                    ensure!(begin.elapsed() < SECONDS, "{made} of 96 after {SECONDS:?}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        println!("96 of 100 Pods came to one namespace after {:?}", begin.elapsed());
        for idle in &namespaces[1..] {
            let others: Api<Pod> = Api::namespaced(client.clone(), idle);
            let created = others.create(&dry(), &pod("0")?).await;
            created.with_context(|| format!("{idle} has room for one more"))?;
        }
        let slices = slices(&client, &name).await?;
        let slice = slices.get(namespace).with_context(|| format!("no {SLICE}"))?;
        ensure!(enforced(slice, "pods").1 == 96, "{slice:?}");
        exceeded(pods.create(&PostParams::default(), &pod("0")?).await)
    })
}

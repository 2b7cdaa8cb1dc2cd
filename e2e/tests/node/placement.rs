//! Placement with a scheduler that chooses and a kubelet that runs.

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, node::Node, wait::eventually};
use serde_json::Value;

use crate::site::{SOON, apply, get, kubectl, pod_spec, tenant_is_ready};

/// What is done to the only node: it is in the region `here`, and the pool `near` is somebody's own.
const LABELS: [&str; 2] = ["topology.kubernetes.io/region=here", "pool=near"];
const TAINT: &str = "pool=near:NoSchedule";

/// Of three tenants only `near` may be on the node; `open` has no placement, so that the taint keeps it away.
const TENANTS: &str = "
apiVersion: bailiwick.dev/v1alpha1
kind: Tenant
metadata: { name: near }
spec:
  namespaces: { declared: [{ name: near-prod }] }
  placement: { regions: [here], nodeSelector: { pool: near }, tolerations: [{ key: pool, value: near }] }
---
apiVersion: bailiwick.dev/v1alpha1
kind: Tenant
metadata: { name: far }
spec:
  namespaces: { declared: [{ name: far-prod }] }
  placement: { regions: [there], tolerations: [{ key: pool, value: near }] }
---
apiVersion: bailiwick.dev/v1alpha1
kind: Tenant
metadata: { name: open }
spec: { namespaces: { declared: [{ name: open-prod }] } }
";

/// Two volumes that differ in saying where they are, each of a class of its own.
fn volumes() -> String {
    let volume = |name: &str, place: &str| {
        format!(
            "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{ name: {name} }}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolume
metadata: {{ name: {name} }}
spec:
  capacity: {{ storage: 1Gi }}
  accessModes: [ReadWriteOnce]
  storageClassName: {name}
  hostPath: {{ path: /srv, type: Directory }}
  {place}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{ name: {name}, namespace: near-prod }}
spec: {{ storageClassName: {name}, accessModes: [ReadWriteOnce], resources: {{ requests: {{ storage: 1Gi }} }} }}
"
        )
    };
    let here = "nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [{ key: topology.kubernetes.io/region, operator: In, values: [here] }] }] } }";
    format!("{}---{}", volume("kept", here), volume("loose", ""))
}

fn deployment(tenant: &str, name: &str, volume: Option<&str>) -> String {
    let volumes = volume.map_or_else(String::new, |it| {
        format!("volumes: [{{ name: v, persistentVolumeClaim: {{ claimName: {it} }} }}],")
    });
    format!(
        "{{ apiVersion: apps/v1, kind: Deployment, metadata: {{ name: {name}, namespace: {tenant}-prod }}, spec: {{ selector: {{ matchLabels: {{ app: {name} }} }}, template: {{ metadata: {{ labels: {{ app: {name} }} }}, spec: {} }} }} }}",
        pod_spec("[pause]", &volumes)
    )
}

async fn pod(cluster: &Cluster, tenant: &str, name: &str) -> Result<Value> {
    let namespace = format!("{tenant}-prod");
    let selector = format!("app={name}");
    let list = get(cluster, &["pods", "-n", &namespace, "-l", &selector]).await?;
    let pod = list["items"][0].clone();
    ensure!(pod.is_object(), "it has no Pod");
    Ok(pod)
}

async fn runs(cluster: &Cluster, tenant: &str, name: &str) -> Result<()> {
    eventually(SOON, &format!("{name} of {tenant} runs"), async || {
        let pod = pod(cluster, tenant, name).await?;
        ensure!(pod["status"]["phase"] == "Running", "{}", pod["status"]);
        Ok(())
    })
    .await
}

/// The scheduler has tried, and says so.
async fn waits(cluster: &Cluster, tenant: &str, name: &str, because: &str) -> Result<()> {
    eventually(SOON, &format!("{name} of {tenant} is told to wait"), async || {
        let pod = pod(cluster, tenant, name).await?;
        let conditions = pod["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let told = conditions.iter().any(|it| {
            it["type"] == "PodScheduled"
                && it["status"] == "False"
                && it["message"].as_str().is_some_and(|it| it.contains(because))
        });
        ensure!(told, "{}", pod["status"]);
        Ok(())
    })
    .await
}

pub(crate) async fn pods_run_where_their_tenant_says(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let nodes = get(cluster, &["nodes"]).await?;
    let name = nodes["items"][0]["metadata"]["name"]
        .as_str()
        .context("no node")?
        .to_owned();
    kubectl(cluster, &[&["label", "node", &name][..], &LABELS].concat()).await?;
    kubectl(cluster, &["taint", "node", &name, TAINT]).await?;
    apply(cluster, TENANTS).await?;
    for tenant in ["near", "far", "open"] {
        tenant_is_ready(cluster, tenant).await?;
        apply(cluster, &deployment(tenant, "web", None)).await?;
    }
    runs(cluster, "near", "web").await?;
    waits(cluster, "far", "web", "node affinity").await?;
    waits(cluster, "open", "web", "taint").await?;

    apply(cluster, &volumes()).await?;
    for volume in ["loose", "kept"] {
        apply(cluster, &deployment("near", volume, Some(volume))).await?;
    }
    runs(cluster, "near", "kept").await?;
    waits(cluster, "near", "loose", "BW-VOLUME-REGION").await?;
    let claim = get(cluster, &["pvc", "-n", "near-prod", "loose"]).await?;
    ensure!(claim["status"]["phase"] == "Pending", "{}", claim["status"]);

    kubectl(cluster, &["taint", "node", &name, &format!("{TAINT}-")]).await?;
    let without = ["topology.kubernetes.io/region-", "pool-"];
    kubectl(cluster, &[&["label", "node", &name][..], &without].concat()).await?;
    kubectl(cluster, &["delete", "tenant", "near", "far", "open"]).await?;
    kubectl(cluster, &["delete", "ns", "near-prod", "far-prod", "open-prod"]).await?;
    kubectl(cluster, &["delete", "pv,storageclass", "kept", "loose"]).await?;
    Ok(())
}

//! Placement: what the API server fills in of Pods is what the offline check fills in, what contradicts it is refused, and data
//! stays within the regions on its whole way from the claim to the volume.

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, objects, wait::eventually};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ServiceAccount};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    steps::tenant,
};

/// A tenant of this test with two namespaces, of which the second is excepted.
struct Home {
    name: String,
    namespace: String,
    excepted: String,
    owner: Client,
}

impl Home {
    async fn new(cluster: &Cluster, stem: &str, placement: &Value) -> Result<Self> {
        let (name, namespace) = (unique(stem), unique(&format!("{stem}-ns")));
        let excepted = unique(&format!("{stem}-out"));
        let mut placement = placement.clone();
        placement["exceptions"] = json!([
            { "reason": "test", "namespaces": [excepted] },
            { "reason": "test", "storageClasses": [format!("{name}-nfs")] },
        ]);
        let spec = format!("placement: {placement}");
        ready_tenant(cluster, &tenant(&name, &[&namespace, &excepted], &spec), SOON).await?;
        for namespace in [&namespace, &excepted] {
            let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), namespace);
            eventually(SOON, "the ServiceAccount of Pods is there", async || {
                accounts.get("default").await.map(drop).map_err(Into::into)
            })
            .await?;
        }
        let owner = cluster.client_as(&format!("{name}-owner"), &["system:authenticated"])?;
        Ok(Self {
            name,
            namespace,
            excepted,
            owner,
        })
    }

    /// Waits until the API server has learnt of the placement: that takes a moment after the operator wrote it.
    async fn is_known(&self) -> Result<()> {
        eventually(SOON, "Pods are placed", async || {
            let pod = self.pod(&self.namespace, &json!({})).await;
            pod.map(drop).map_err(Into::into)
        })
        .await
    }

    /// Creates a Pod with this `spec`, without keeping it. Gives what the API server would have stored.
    async fn pod(&self, namespace: &str, spec: &Value) -> kube::Result<Map<String, Value>> {
        let mut spec = spec.clone();
        spec["containers"] = json!([{ "name": "c", "image": "example.invalid/c" }]);
        let pod = serde_json::from_value(json!({ "metadata": { "generateName": "p-" }, "spec": spec }))
            .map_err(kube::Error::SerdeError)?;
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let pods: Api<Pod> = Api::namespaced(self.owner.clone(), namespace);
        let stored = serde_json::to_value(pods.create(&dry, &pod).await?.spec);
        Ok(stored
            .map_err(kube::Error::SerdeError)?
            .as_object()
            .cloned()
            .unwrap_or_default())
    }
}

/// The part of a Pod's `spec` that says where it runs, without what every Pod tolerates.
fn place(spec: &Map<String, Value>) -> Value {
    let mut tolerations = spec.get("tolerations").cloned().unwrap_or_default();
    if let Some(it) = tolerations.as_array_mut() {
        it.retain(|it| {
            !it["key"]
                .as_str()
                .is_some_and(|it| it.starts_with("node.kubernetes.io/"))
        });
    }
    if tolerations == json!([]) {
        tolerations = Value::Null;
    }
    let member = |name: &str| spec.get(name).cloned().unwrap_or_default();
    json!({ "nodeSelector": member("nodeSelector"), "affinity": member("affinity"), "tolerations": tolerations })
}

fn affinity(terms: &Value) -> Value {
    json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } } })
}

fn term(key: &str, values: &[&str]) -> Value {
    json!({ "matchExpressions": [{ "key": key, "operator": "In", "values": values }] })
}

const BINDER: &str = "system:serviceaccount:kube-system:persistent-volume-binder";
const REGION: &str = "topology.kubernetes.io/region";
/// Shared with the tests of the offline check.
const PODS: &str = include_str!("../../../charts/bailiwick/ci/placed-pods.yaml");

#[derive(Deserialize)]
struct Cases {
    placement: Value,
    pods: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    open: Value,
    filled: Map<String, Value>,
}

#[test]
fn the_api_server_fills_in_what_a_pod_leaves_open() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let all: Vec<Cases> = serde_saphyr::from_str(PODS)?;
        for Cases { placement, pods } in all {
            let home = Home::new(cluster, "filled", &placement).await?;
            let plain = home.pod(&home.excepted, &json!({})).await?;
            ensure!(
                plain.get("nodeSelector").is_none(),
                "an excepted namespace: {plain:?}"
            );
            home.is_known().await?;
            for Case { open, filled } in pods {
                let found = home.pod(&home.namespace, &open).await;
                let found = place(&found.with_context(|| format!("{placement}: {open}"))?);
                let filled = place(&filled);
                ensure!(found == filled, "{placement}: {open}: {found} and not {filled}");
            }
        }
        Ok(())
    })
}

/// What was filled in is in nobody's manifest, and lists of a Pod are replaced whole.
#[test]
fn a_pod_can_be_applied_twice() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let all: Vec<Cases> = serde_saphyr::from_str(PODS)?;
        for Cases { placement, pods } in all {
            let home = Home::new(cluster, "twice", &placement).await?;
            home.is_known().await?;
            let api: Api<Pod> = Api::namespaced(home.owner.clone(), &home.namespace);
            for (i, Case { open, filled }) in pods.into_iter().enumerate() {
                let mut spec = open.clone();
                spec["containers"] = json!([{ "name": "c", "image": "example.invalid/c" }]);
                let name = format!("p{i}");
                let apply = async |label: &str| {
                    let metadata = json!({ "name": name, "labels": { "round": label } });
                    let pod =
                        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
                    api.patch(&name, &PatchParams::apply("git").force(), &Patch::Apply(pod))
                        .await
                };
                for round in ["one", "two", "three"] {
                    let pod = apply(round)
                        .await
                        .with_context(|| format!("{placement}: {open}: round {round}"))?;
                    let found = serde_json::to_value(pod.spec)?;
                    let found = place(found.as_object().context("no spec")?);
                    let filled = place(&filled);
                    ensure!(
                        found == filled,
                        "{placement}: {open}: {found} and not {filled} in round {round}"
                    );
                }
            }
        }
        Ok(())
    })
}

#[test]
fn what_contradicts_the_placement_is_refused() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let two = json!({ "regions": ["eu-1", "eu-2"], "nodeSelector": { "pool": "acme" } });
        let home = Home::new(cluster, "held", &two).await?;
        home.is_known().await?;
        let volume = |kind: &str, it: Value| json!({ "volumes": [{ "name": "v", kind: it }] });
        for (refused, allowed, rule) in [
            (
                json!({ "nodeSelector": { REGION: "us-1" } }),
                json!({ "nodeSelector": { REGION: "eu-2" } }),
                "BW-POD-PLACEMENT",
            ),
            (
                json!({ "nodeSelector": { "pool": "globex" } }),
                json!({ "nodeSelector": { "pool": "acme" } }),
                "BW-POD-PLACEMENT",
            ),
            (
                affinity(&json!([term(REGION, &["us-1"])])),
                affinity(&json!([term(REGION, &["eu-1"])])),
                "BW-POD-PLACEMENT",
            ),
            (
                affinity(&json!([term(REGION, &["eu-1"]), term(REGION, &["us-1"])])),
                affinity(&json!([term(REGION, &["eu-1"]), term(REGION, &["eu-2"])])),
                "BW-POD-PLACEMENT",
            ),
            (
                volume("nfs", json!({ "server": "s", "path": "/" })),
                volume("emptyDir", json!({})),
                "BW-VOLUME-REGION",
            ),
        ] {
            let answer = home.pod(&home.namespace, &refused).await;
            let stored = format!("{refused}: {answer:?}");
            objects::denied(answer, rule).context(stored)?;
            home.pod(&home.namespace, &allowed)
                .await
                .with_context(|| allowed.to_string())?;
            home.pod(&home.excepted, &refused)
                .await
                .with_context(|| format!("excepted: {refused}"))?;
        }
        Ok(())
    })
}

/// A volume, as the platform makes it.
async fn volume(
    cluster: &Cluster,
    name: &str,
    class: &str,
    region: Option<&str>,
    claim: Option<&Value>,
) -> Result<()> {
    let mut spec = json!({
        "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
        "csi": { "driver": "example.com", "volumeHandle": name },
    });
    if let Some(region) = region {
        spec["nodeAffinity"] = json!({ "required": { "nodeSelectorTerms": [term(REGION, &[region])] } });
    }
    if let Some(claim) = claim {
        spec["claimRef"] = claim.clone();
    }
    let volume =
        json!({ "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": name }, "spec": spec });
    objects::create(&cluster.client(), &volume.to_string()).await?;
    Ok(())
}

async fn claim(home: &Home, namespace: &str, name: &str, class: &str) -> kube::Result<PersistentVolumeClaim> {
    let claim = serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": { "storageClassName": class, "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    }))
    .map_err(kube::Error::SerdeError)?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(home.owner.clone(), namespace);
    claims.create(&PostParams::default(), &claim).await
}

async fn bound_to(cluster: &Cluster, namespace: &str, name: &str) -> Result<Option<String>> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client(), namespace);
    Ok(claims.get(name).await?.spec.and_then(|it| it.volume_name))
}

#[test]
fn a_claim_names_no_class_that_lies_outside() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let home = Home::new(cluster, "class", &json!({ "regions": ["eu-1"] })).await?;
        let class = |suffix: &str| format!("{}-{suffix}", home.name);
        for (suffix, mode, regions) in [
            ("waits", "WaitForFirstConsumer", &[][..]),
            ("here", "Immediate", &["eu-1"]),
            ("there", "Immediate", &["us-1"]),
            ("both", "Immediate", &["eu-1", "us-1"]),
            ("anywhere", "Immediate", &[]),
            ("nfs", "Immediate", &[]),
        ] {
            let mut object = json!({
                "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": class(suffix) },
                "provisioner": "example.com/none", "volumeBindingMode": mode,
            });
            if !regions.is_empty() {
                object["allowedTopologies"] =
                    json!([{ "matchLabelExpressions": [{ "key": REGION, "values": regions }] }]);
            }
            objects::create(&cluster.client(), &object.to_string()).await?;
        }
        // The webhook learns of a class a moment after the API server.
        eventually(SOON, "the webhook knows the classes", async || {
            let name = unique("early");
            let answer = claim(&home, &home.namespace, &name, &class("anywhere")).await;
            objects::denied(answer, "BW-VOLUME-REGION").map(drop)
        })
        .await?;
        for suffix in ["there", "both", "anywhere"] {
            let answer = claim(&home, &home.namespace, &unique("no"), &class(suffix)).await;
            objects::denied(answer, "BW-VOLUME-REGION").with_context(|| suffix.to_owned())?;
            claim(&home, &home.excepted, &unique("yes"), &class(suffix)).await?;
        }
        for suffix in ["waits", "here", "nfs"] {
            claim(&home, &home.namespace, &unique("yes"), &class(suffix))
                .await
                .with_context(|| suffix.to_owned())?;
        }
        Ok(())
    })
}

#[test]
fn a_claim_is_bound_within_the_regions_and_nowhere_else() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let home = Home::new(cluster, "bound", &json!({ "regions": ["eu-1"] })).await?;
        let kept_for = |namespace: &str, name: &str| json!({ "namespace": namespace, "name": name });
        let class = home.name.clone();
        let name = |suffix: &str| format!("{}-{suffix}", home.name);

        // The platform can't keep a volume elsewhere for the tenant; it can for others, and one within.
        eventually(SOON, "the native policies know the placement", async || {
            let made = volume(
                cluster,
                &unique("early"),
                &class,
                None,
                Some(&kept_for(&home.namespace, "none")),
            )
            .await;
            objects::denied(made, "BW-VOLUME-REGION").map(drop)
        })
        .await?;
        let there = volume(
            cluster,
            &name("kept"),
            &class,
            Some("us-1"),
            Some(&kept_for(&home.namespace, "kept")),
        )
        .await;
        objects::denied(there, "BW-VOLUME-REGION")?;
        volume(
            cluster,
            &name("kept"),
            &class,
            Some("eu-1"),
            Some(&kept_for(&home.namespace, "kept")),
        )
        .await?;
        volume(
            cluster,
            &name("out"),
            &class,
            Some("us-1"),
            Some(&kept_for(&home.excepted, "out")),
        )
        .await?;
        claim(&home, &home.namespace, "kept", &class).await?;
        claim(&home, &home.excepted, "out", &class).await?;
        for (namespace, claim, expected) in
            [(&home.namespace, "kept", "kept"), (&home.excepted, "out", "out")]
        {
            eventually(SOON, "the claim is bound", async || {
                let found = bound_to(cluster, namespace, claim).await?;
                ensure!(found == Some(name(expected)), "{found:?}");
                Ok(())
            })
            .await?;
        }

        // The binder takes a free one elsewhere for a claim that is excepted, and not for one that isn't.
        for (namespace, claim_name) in [(&home.namespace, "free"), (&home.excepted, "free-out")] {
            let own_class = name(claim_name);
            volume(cluster, &own_class, &own_class, Some("us-1"), None).await?;
            claim(&home, namespace, claim_name, &own_class).await?;
        }
        eventually(SOON, "the excepted claim is bound", async || {
            let found = bound_to(cluster, &home.excepted, "free-out").await?;
            ensure!(found == Some(name("free-out")), "{found:?}");
            Ok(())
        })
        .await?;
        let found = bound_to(cluster, &home.namespace, "free").await?;
        ensure!(found.is_none(), "bound to {found:?}");

        // Were the native policy passed by, the webhook would not let the claim be bound.
        let binder = cluster.client_as(BINDER, &["system:masters"])?;
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(binder, &home.namespace);
        let bind = async |volume: &str| {
            let patch = Patch::Merge(json!({ "spec": { "volumeName": volume } }));
            claims
                .patch("free", &PatchParams::default().dry_run(), &patch)
                .await
        };
        objects::denied(bind(&name("free")).await, "BW-VOLUME-REGION")?;
        let absent = bind(&name("absent")).await;
        ensure!(
            matches!(&absent, Err(kube::Error::Api(it)) if it.code == 503 && it.message.contains("BW-UNDECIDED")),
            "{absent:?}"
        );
        volume(cluster, &name("here"), &class, Some("eu-1"), None).await?;
        bind(&name("here")).await?;
        Ok(())
    })
}

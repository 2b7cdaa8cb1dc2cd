//! Drift: every leaf of every managed object, changed by a cluster-admin where no guard stands, is put back; and
//! where nothing changes nothing is written.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{
    cluster::{Cluster, ClusterOptions},
    install::{Bailiwick, InstallOptions},
    wait::{eventually, throughout},
};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
        PostParams,
    },
};
use serde_json::{Value, json};

use crate::{
    fixture::{SOON, on_bare_cluster, on_own_cluster, ready_tenant, unique},
    steps::{MANAGED, TENANT_LABEL, counted, leaves, namespaces, tenant, tenants},
};

/// What the operator promises.
const PUT_BACK: Duration = Duration::from_secs(5);

const RICH: &str = "quota: { namespace: { pods: 5, requests.cpu: 1500m }, limits: [{ type: Container, max: { cpu: 1 } }] }, network: { ingress: { fromNamespaces: [ingress] }, egress: { internet: true } }";

/// A cluster without any guard, so that a cluster-admin's edit gets through.
pub(crate) fn unguarded(test: impl AsyncFnOnce(&Cluster, &Bailiwick) -> Result<()>) -> Result<()> {
    on_bare_cluster(ClusterOptions::default(), async |cluster| {
        let values = json!({ "admissionPolicies": { "enabled": false } });
        let options = InstallOptions {
            values,
            ..InstallOptions::default()
        };
        let bailiwick = Bailiwick::install(cluster, options).await?;
        let break_glass = ["delete", "validatingwebhookconfiguration", "bailiwick"];
        cluster.kubectl(&break_glass).await?.ok()?;
        test(cluster, &bailiwick).await
    })
}

const KINDS: [(&str, &str, &str); 4] = [
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("", "v1", "ResourceQuota"),
    ("", "v1", "LimitRange"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
];

fn api(cluster: &Cluster, kind: (&str, &str, &str), namespace: &str) -> Api<DynamicObject> {
    let (group, version, kind) = kind;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(cluster.client(), namespace, &resource)
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

pub(crate) async fn put_back(api: &Api<DynamicObject>, name: &str, wanted: &Value, what: &str) -> Result<()> {
    eventually(PUT_BACK, what, async || {
        let now = api.get_opt(name).await?.context("it is gone")?;
        ensure!(essence(&now) == *wanted, "{}", essence(&now));
        Ok(())
    })
    .await
}

#[test]
fn every_leaf_of_every_managed_object_is_put_back() -> Result<()> {
    unguarded(async |cluster, _| {
        let (name, ns) = (unique("drift"), unique("drift-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], RICH), SOON).await?;
        let params = PatchParams {
            field_manager: Some("kubectl-edit".to_owned()),
            ..PatchParams::default()
        };
        let edit = PostParams {
            field_manager: Some("kubectl-edit".to_owned()),
            ..PostParams::default()
        };
        let mut tried = 0;
        for kind in KINDS {
            let api = api(cluster, kind, &ns);
            for object in api.list(&ListParams::default().labels(MANAGED)).await?.items {
                let object_name = object.metadata.name.clone().unwrap_or_default();
                let wanted = essence(&object);
                let mut changes = Vec::new();
                leaves("", &wanted, &mut changes);
                for (path, value) in changes {
                    let mut whole = serde_json::to_value(&object)?;
                    *whole.pointer_mut(&path).context("a leaf that is not there")? = value;
                    whole["metadata"]["resourceVersion"] = Value::Null;
                    let whole: DynamicObject = serde_json::from_value(whole)?;
                    let edited = api.replace(&object_name, &edit, &whole).await;
                    // What the API server itself refuses (a roleRef, an impossible value) is no drift.
                    if edited.is_ok() {
                        tried += 1;
                        put_back(
                            &api,
                            &object_name,
                            &wanted,
                            &format!("{} {object_name}{path}", kind.2),
                        )
                        .await?;
                    }
                }
                for foreign in [
                    json!({ "metadata": { "labels": { "foreign": "x" }, "annotations": { "foreign": "x" } } }),
                    json!({ "metadata": { "finalizers": ["example.com/x"] } }),
                    json!({ "metadata": { "labels": { MANAGED: null } } }),
                ] {
                    api.patch(&object_name, &params, &Patch::Merge(&foreign)).await?;
                    tried += 1;
                    put_back(
                        &api,
                        &object_name,
                        &wanted,
                        &format!("{} {object_name}: {foreign}", kind.2),
                    )
                    .await?;
                }
                api.delete(&object_name, &DeleteParams::default()).await?;
                put_back(
                    &api,
                    &object_name,
                    &wanted,
                    &format!("{} {object_name} deleted", kind.2),
                )
                .await?;
            }
        }
        ensure!(tried > 30, "only {tried} changes were tried");
        Ok(())
    })
}

#[test]
fn a_tenant_cant_add_a_rule_beside_ours() -> Result<()> {
    unguarded(async |cluster, bailiwick| {
        let (name, ns) = (unique("beside"), unique("beside-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], RICH), SOON).await?;
        // Lists that the operator keeps empty (security finding: server-side apply alone leaves these).
        let policies = api(cluster, KINDS[0], &ns);
        let wanted = essence(&policies.get("bailiwick-default-deny").await?);
        let open = json!({ "spec": { "ingress": [{}], "egress": [{}] } });
        let params = PatchParams {
            field_manager: Some("kubectl-edit".to_owned()),
            ..PatchParams::default()
        };
        policies
            .patch("bailiwick-default-deny", &params, &Patch::Merge(&open))
            .await?;
        put_back(
            &policies,
            "bailiwick-default-deny",
            &wanted,
            "the opened default-deny",
        )
        .await?;

        // A binding to another role can only be made anew.
        let bindings = api(cluster, KINDS[3], &ns);
        let binding = bindings.get("bailiwick:bailiwick-admin").await?;
        let wanted = essence(&binding);
        let mut other = binding.clone();
        other.metadata.resource_version = None;
        other.metadata.uid = None;
        other.metadata.managed_fields = None;
        other.data["roleRef"]["name"] = json!("cluster-admin");
        bindings
            .delete("bailiwick:bailiwick-admin", &DeleteParams::default())
            .await?;
        // The operator may be the first to make it again; then ours is refused, and nothing is to be put back.
        let _ = bindings.create(&PostParams::default(), &other).await;
        put_back(
            &bindings,
            "bailiwick:bailiwick-admin",
            &wanted,
            "the exchanged roleRef",
        )
        .await?;

        // Namespaces: guarded labels and ownerReferences.
        let all = namespaces(&cluster.client());
        for patch in [
            json!({ "metadata": { "labels": { TENANT_LABEL: null } } }),
            json!({ "metadata": { "labels": { TENANT_LABEL: "other" } } }),
            json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "privileged" } } }),
            json!({ "metadata": { "labels": { "resource.kubernetes.io/admin-access": "true" } } }),
        ] {
            all.patch(&ns, &params, &Patch::Merge(&patch)).await?;
            eventually(PUT_BACK, &format!("Namespace {ns}: {patch}"), async || {
                let labels = all.get(&ns).await?.metadata.labels.unwrap_or_default();
                ensure!(
                    labels.get(TENANT_LABEL) == Some(&name)
                        && labels
                            .get("pod-security.kubernetes.io/enforce")
                            .is_some_and(|it| it == "baseline")
                        && !labels.contains_key("resource.kubernetes.io/admin-access"),
                    "{labels:?}"
                );
                Ok(())
            })
            .await?;
        }

        // It is told: by an Event that names the manager, and by a counter.
        told(cluster, &name, &["kubectl-edit", "spec.ingress"]).await?;
        let privileged = ["Namespace", "kubectl-edit", "pod-security.kubernetes.io/enforce"];
        told(cluster, &name, &privileged).await?;
        let metrics = bailiwick.leader().await?.metrics().await?;
        ensure!(
            counted(&metrics, "bailiwick_operator_drift_reverted_total") >= 2.0,
            "{metrics}"
        );
        ensure!(metrics.contains(r#"manager="kubectl-edit""#), "{metrics}");
        Ok(())
    })
}

/// Waits for an Event about an object that tells of drift in these words.
pub(crate) async fn told(cluster: &Cluster, regarding: &str, words: &[&str]) -> Result<()> {
    let events: Api<Event> = Api::all(cluster.client());
    eventually(SOON, &format!("an Event tells of {words:?}"), async || {
        let events = events.list(&ListParams::default()).await?.items;
        let told = events.iter().any(|it| {
            it.reason.as_deref() == Some("DriftReverted")
                && it
                    .regarding
                    .as_ref()
                    .is_some_and(|it| it.name.as_deref() == Some(regarding))
                && it
                    .note
                    .as_ref()
                    .is_some_and(|note| words.iter().all(|it| note.contains(it)))
        });
        ensure!(told, "{:?}", events.iter().map(|it| &it.note).collect::<Vec<_>>());
        Ok(())
    })
    .await
}

#[test]
fn an_edit_under_the_operators_name_is_told_of() -> Result<()> {
    unguarded(async |cluster, _| {
        let (name, ns) = (unique("disguise"), unique("disguise-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], RICH), SOON).await?;
        let policies = api(cluster, KINDS[0], &ns);
        let wanted = essence(&policies.get("bailiwick-default-deny").await?);
        let params = PatchParams {
            field_manager: Some("bailiwick-operator".to_owned()),
            ..PatchParams::default()
        };
        let open = json!({ "spec": { "ingress": [{}] } });
        policies
            .patch("bailiwick-default-deny", &params, &Patch::Merge(&open))
            .await?;
        put_back(&policies, "bailiwick-default-deny", &wanted, "the disguised edit").await?;
        told(
            cluster,
            &name,
            &["unknown (the object names bailiwick-operator)", "spec.ingress"],
        )
        .await
    })
}

#[test]
fn nothing_is_written_when_nothing_changed() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let client = cluster.client();
        let (name, ns) = (unique("silent"), unique("silent-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], RICH), SOON).await?;
        let leader = bailiwick.leader().await?;
        let writes = async || {
            Ok::<_, anyhow::Error>(counted(
                &leader.metrics().await?,
                "bailiwick_operator_writes_total",
            ))
        };
        let passes = async || {
            Ok::<_, anyhow::Error>(counted(
                &leader.metrics().await?,
                "bailiwick_operator_reconciles_total",
            ))
        };
        // The last events of its own writes have to arrive first.
        let mut before = (writes().await?, Instant::now());
        eventually(SOON, "the operator comes to rest", async || {
            let now = writes().await?;
            if now > before.0 {
                before = (now, Instant::now());
            }
            ensure!(before.1.elapsed() > Duration::from_secs(1), "it still writes");
            Ok(())
        })
        .await?;
        let (before, seen) = (writes().await?, passes().await?);
        // A label that means nothing makes it look again.
        let label = json!({ "metadata": { "labels": { "team": "x" } } });
        tenants(&client)
            .patch(&name, &PatchParams::default(), &Patch::Merge(&label))
            .await?;
        namespaces(&client)
            .patch(&ns, &PatchParams::default(), &Patch::Merge(&label))
            .await?;
        eventually(SOON, "the operator looks again", async || {
            ensure!(passes().await? > seen, "not yet");
            Ok(())
        })
        .await?;
        throughout(Duration::from_secs(3), "nothing is written", async || {
            let now = writes().await?;
            ensure!(now <= before, "{} writes", now - before);
            Ok(())
        })
        .await
    })
}

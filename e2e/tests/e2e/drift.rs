//! Drift: every leaf of every managed object, changed by a cluster-admin where no guard stands, is put back; and
//! where nothing changes nothing is written.

mod mutations;
mod namespaces;
mod silence;

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{
    cluster::{Cluster, ClusterOptions},
    install::{Bailiwick, InstallOptions},
    wait::eventually,
};
use k8s_openapi::api::{core::v1::Namespace, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use mutations::{Act, FIXED, Mutation, mutations};
use serde_json::{Value, json};

use crate::{
    fixture::{SOON, on_bare_cluster, ready_tenant, unique},
    managed::{KINDS, NETWORK_POLICY, ROLE_BINDING, api, essence},
    steps::{MANAGED, counted, tenant},
};

/// What the operator promises.
const PUT_BACK: Duration = Duration::from_secs(5);

/// A spec with everything in it that becomes part of a managed object; `$T` is the tenant.
const RICH: &str = "
    access: [{ clusterRole: view, subjects: [{ kind: Group, name: $T-audit }, { kind: ServiceAccount, name: robot, namespace: $T-ci }] }],
    network: {
        ingress: { fromTenants: [neighbour], fromNamespaces: [ingress] },
        egress: { toTenants: [neighbour], toCIDRs: [192.0.2.0/24], internet: true },
    },
    quota: {
        namespace: { pods: 5, requests.cpu: 1500m, requests.memory: 1Gi },
        limits: [
            { type: Container, max: { cpu: 4 }, min: { cpu: 100m }, default: { cpu: 2 }, defaultRequest: { cpu: 1 }, maxLimitRequestRatio: { cpu: 8 } },
            { type: Pod, max: { memory: 8Gi } },
            { type: PersistentVolumeClaim, max: { storage: 20Gi }, min: { storage: 1Gi } },
        ],
    }";

/// What has to be among the changes that were tried, whatever the plan looks like.
const MUST_BE_TRIED: [&str; 47] = [
    "LimitRange/metadata/labels/bailiwick.dev~1managed-by",
    "LimitRange/spec/limits/+",
    "LimitRange/spec/limits/*/default/cpu",
    "LimitRange/spec/limits/*/defaultRequest/cpu",
    "LimitRange/spec/limits/*/max/+ephemeral-storage",
    "LimitRange/spec/limits/*/max/cpu",
    "LimitRange/spec/limits/*/max/memory",
    "LimitRange/spec/limits/*/max/storage",
    "LimitRange/spec/limits/*/maxLimitRequestRatio/cpu",
    "LimitRange/spec/limits/*/min/cpu",
    "LimitRange/spec/limits/*/min/storage",
    "LimitRange/spec/limits/*/type",
    "NetworkPolicy/metadata/+finalizers",
    "NetworkPolicy/metadata/annotations/+foreign",
    "NetworkPolicy/metadata/annotations/bailiwick.dev~1tenant-uid",
    "NetworkPolicy/metadata/labels/+foreign",
    "NetworkPolicy/metadata/labels/bailiwick.dev~1managed-by",
    "NetworkPolicy/metadata/labels/bailiwick.dev~1tenant",
    "NetworkPolicy/spec/+egress",
    "NetworkPolicy/spec/+ingress",
    "NetworkPolicy/spec/egress/*/+ports",
    "NetworkPolicy/spec/egress/*/ports/+",
    "NetworkPolicy/spec/egress/*/ports/*/+endPort",
    "NetworkPolicy/spec/egress/*/ports/*/port",
    "NetworkPolicy/spec/egress/*/ports/*/protocol",
    "NetworkPolicy/spec/egress/*/to/+",
    "NetworkPolicy/spec/egress/*/to/*/ipBlock/+except",
    "NetworkPolicy/spec/egress/*/to/*/ipBlock/cidr",
    "NetworkPolicy/spec/egress/*/to/*/ipBlock/except/*",
    "NetworkPolicy/spec/egress/*/to/*/namespaceSelector/+matchExpressions",
    "NetworkPolicy/spec/egress/*/to/*/namespaceSelector/matchLabels/bailiwick.dev~1tenant",
    "NetworkPolicy/spec/egress/*/to/*/namespaceSelector/matchLabels/kubernetes.io~1metadata.name",
    "NetworkPolicy/spec/egress/*/to/*/podSelector/matchLabels/k8s-app",
    "NetworkPolicy/spec/ingress/+",
    "NetworkPolicy/spec/ingress/*/from/+",
    "NetworkPolicy/spec/ingress/*/from/*/+podSelector",
    "NetworkPolicy/spec/ingress/*/from/*/namespaceSelector/matchLabels/bailiwick.dev~1tenant",
    "NetworkPolicy/spec/podSelector/+matchLabels",
    "NetworkPolicy/spec/policyTypes/*",
    "ResourceQuota/spec/+scopeSelector",
    "ResourceQuota/spec/hard/+secrets",
    "ResourceQuota/spec/hard/pods",
    "ResourceQuota/spec/hard/requests.cpu",
    "RoleBinding/subjects/+",
    "RoleBinding/subjects/*/kind",
    "RoleBinding/subjects/*/name",
    "RoleBinding/subjects/*/namespace",
];

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

/// A Tenant that declares one namespace and has everything in its spec.
fn rich(name: &str, namespace: &str) -> String {
    tenant(name, &[namespace], &RICH.replace("$T", name))
}

pub(crate) async fn put_back(api: &Api<DynamicObject>, name: &str, wanted: &Value, what: &str) -> Result<()> {
    eventually(PUT_BACK, what, async || {
        let now = api.get_opt(name).await?.context("it is gone")?;
        ensure!(essence(&now) == *wanted, "{}", essence(&now));
        Ok(())
    })
    .await
}

/// The object as a cluster-admin would write it.
fn edited(object: &DynamicObject, mut to: Value) -> Result<DynamicObject> {
    let metadata: ObjectMeta = serde_json::from_value(to["metadata"].take())?;
    if let Some(members) = to.as_object_mut() {
        members.remove("metadata");
    }
    Ok(DynamicObject {
        types: object.types.clone(),
        metadata: ObjectMeta {
            name: object.metadata.name.clone(),
            namespace: object.metadata.namespace.clone(),
            ..metadata
        },
        data: to,
    })
}

/// Makes one change to an object and waits until it is put back; gives whether it was one.
async fn try_one(api: &Api<DynamicObject>, object: &DynamicObject, mutation: Mutation) -> Result<bool> {
    let Mutation {
        act,
        path,
        object: to,
    } = mutation;
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let wanted = essence(object);
    let params = PostParams {
        field_manager: Some("kubectl-edit".to_owned()),
        ..PostParams::default()
    };
    let after = match api.replace(name, &params, &edited(object, to)?).await {
        Ok(after) => after,
        // What must be there can't be taken away.
        Err(kube::Error::Api(status)) if status.code == 422 && act == Act::Remove => return Ok(false),
        Err(kube::Error::Api(status)) if status.code == 422 && FIXED.contains(&path.as_str()) => {
            return Ok(false);
        }
        Err(error) => return Err(error).with_context(|| format!("{act:?} {path}")),
    };
    ensure!(
        !FIXED.contains(&path.as_str()) || act != Act::Change,
        "{path} can be changed after all"
    );
    if essence(&after) == wanted {
        // The API server fills in again what was taken away.
        ensure!(act == Act::Remove, "{act:?} {path} changes nothing");
        return Ok(false);
    }
    put_back(api, name, &wanted, &format!("{act:?} {path} of {name}")).await?;
    Ok(true)
}

#[test]
fn every_leaf_of_every_managed_object_is_put_back() -> Result<()> {
    unguarded(async |cluster, _| {
        let (name, ns) = (unique("drift"), unique("drift-ns"));
        ready_tenant(cluster, &rich(&name, &ns), SOON).await?;
        let mut tried = BTreeSet::new();
        for kind in KINDS {
            let api = api(&cluster.client(), kind, &ns);
            for object in api.list(&ListParams::default().labels(MANAGED)).await?.items {
                let object_name = object.metadata.name.clone().unwrap_or_default();
                let wanted = essence(&object);
                for mutation in mutations(kind.2, &wanted) {
                    let path = mutation.path.clone();
                    if try_one(&api, &object, mutation).await? {
                        tried.insert(path);
                    }
                }
                api.delete(&object_name, &DeleteParams::default()).await?;
                let deleted = format!("{} {object_name} deleted", kind.2);
                put_back(&api, &object_name, &wanted, &deleted).await?;
            }
        }
        let missing: Vec<_> = MUST_BE_TRIED.iter().filter(|it| !tried.contains(**it)).collect();
        if !missing.is_empty() {
            bail!("not tried: {missing:#?}; tried: {tried:#?}");
        }
        Ok(())
    })
}

#[test]
fn a_tenant_cant_add_a_rule_beside_ours() -> Result<()> {
    unguarded(async |cluster, bailiwick| {
        let (name, ns) = (unique("beside"), unique("beside-ns"));
        ready_tenant(cluster, &rich(&name, &ns), SOON).await?;
        // Lists that the operator keeps empty (security finding: server-side apply alone leaves these).
        let policies = api(&cluster.client(), NETWORK_POLICY, &ns);
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
        let bindings = api(&cluster.client(), ROLE_BINDING, &ns);
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

        // A Namespace under another Pod Security Standard.
        let all: Api<Namespace> = Api::all(cluster.client());
        let enforce = "pod-security.kubernetes.io/enforce";
        let patch = json!({ "metadata": { "labels": { enforce: "privileged" } } });
        all.patch(&ns, &params, &Patch::Merge(&patch)).await?;
        eventually(PUT_BACK, "the Pod Security Standard", async || {
            let labels = all.get(&ns).await?.metadata.labels.unwrap_or_default();
            ensure!(
                labels.get(enforce).is_some_and(|it| it == "baseline"),
                "{labels:?}"
            );
            Ok(())
        })
        .await?;

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
        ready_tenant(cluster, &rich(&name, &ns), SOON).await?;
        let policies = api(&cluster.client(), NETWORK_POLICY, &ns);
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

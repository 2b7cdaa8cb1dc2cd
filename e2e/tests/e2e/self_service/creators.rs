//! The one ClusterRoleBinding of Bailiwick: of one ClusterRole, to owners whose Tenant has self-service, by the operator.

use anyhow::{Result, ensure};
use bailiwick_e2e::{objects, wait::eventually};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use super::{post, serving};
use crate::{
    fixture::{SOON, on_bare_cluster, on_shared_cluster, ready_tenant, unique},
    requests::{OPERATOR, make_mutable, muted},
    steps::{condition, tenants},
};

const NAME: &str = "bailiwick-namespace-creators";
const ROLE: &str = "bailiwick-namespace-creator";
const PATH: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

async fn bound(client: &Client) -> Result<Vec<String>> {
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let binding = bindings.get_opt(NAME).await?;
    let subjects = binding.and_then(|it| it.subjects).unwrap_or_default();
    Ok(subjects.into_iter().map(|it| it.name).collect())
}

async fn is_bound(client: &Client, owner: &str, expected: bool) -> Result<()> {
    eventually(SOON, &format!("{owner} is bound: {expected}"), async || {
        let bound = bound(client).await?;
        ensure!(bound.iter().any(|it| it == owner) == expected, "{bound:?}");
        Ok(())
    })
    .await
}

#[test]
fn owners_may_create_as_long_as_their_tenant_lets_them() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        let (name, without) = (unique("creator"), unique("creator"));
        ready_tenant(cluster, &crate::steps::tenant(&without, &[], ""), SOON).await?;
        let yaml = serving(&name, 1, "", &format!(", identities: {{ users: [{name}-dev] }}"));
        ready_tenant(cluster, &yaml, SOON).await?;
        let owner = format!("{name}-owner");
        is_bound(&admin, &owner, true).await?;
        for nobody in [format!("{name}-dev"), format!("{without}-owner")] {
            ensure!(!bound(&admin).await?.contains(&nobody), "{nobody}");
        }
        let change = async |spec| {
            let patch = Patch::Merge(json!({ "spec": spec }));
            let params = PatchParams::default();
            tenants(&admin).patch(&name, &params, &patch).await
        };
        for (off, on) in [
            (json!({ "suspended": true }), json!({ "suspended": false })),
            (
                json!({ "owners": [{ "kind": "User", "name": format!("{name}-new") }] }),
                json!({ "owners": [{ "kind": "User", "name": owner }] }),
            ),
            (
                json!({ "namespaces": { "selfService": null } }),
                json!({ "namespaces": { "selfService": { "prefix": format!("{name}-"), "max": 1 } } }),
            ),
        ] {
            change(off).await?;
            is_bound(&admin, &owner, false).await?;
            change(on).await?;
            is_bound(&admin, &owner, true).await?;
        }
        // It is no stray: the Tenant is isolated with it.
        condition(cluster, &name, "AccessIsolated", "True", "AllApplied", SOON).await?;
        tenants(&admin).delete(&name, &DeleteParams::default()).await?;
        is_bound(&admin, &owner, false).await
    })
}

#[test]
fn no_other_binding_gives_tenants_cluster_wide_rights() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        let operator = cluster.client_as(OPERATOR, &["system:masters"])?;
        let name = unique("narrow");
        ready_tenant(cluster, &serving(&name, 1, "", ""), SOON).await?;
        let owner = format!("{name}-owner");
        is_bound(&admin, &owner, true).await?;
        let binding = |name: &str, role: &str, labels| {
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                "metadata": { "name": name, "labels": labels },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
                "subjects": [{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": owner }],
            })
        };
        let managed = json!({ "bailiwick.dev/managed-by": "bailiwick-operator" });
        let dry = format!("{PATH}?dryRun=All");
        // Nobody else, and the operator no other: neither another role under the name, nor the role under another name.
        let other = unique("narrow-crb");
        objects::denied(
            post(&admin, &dry, &binding(&other, ROLE, json!({}))).await,
            "BW-CRB-SUBJECT",
        )?;
        objects::denied(
            post(&admin, &dry, &binding(&other, ROLE, managed.clone())).await,
            "BW-",
        )?;
        objects::denied(
            post(&operator, &dry, &binding(&other, ROLE, managed.clone())).await,
            "BW-CRB-SUBJECT",
        )?;
        objects::denied(
            post(&operator, &dry, &binding(&other, "view", managed)).await,
            "BW-CRB-SUBJECT",
        )?;
        let bindings: Api<ClusterRoleBinding> = Api::all(admin.clone());
        let before = bindings.get(NAME).await?;
        let more = json!({ "subjects": [{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "stranger" }] });
        let patched = bindings
            .patch(NAME, &PatchParams::default(), &Patch::Merge(&more))
            .await;
        objects::denied(patched, "BW-MANAGED")?;
        objects::denied(
            bindings.delete(NAME, &DeleteParams::default()).await,
            "BW-MANAGED",
        )?;
        // Nor does anybody widen the role.
        let wide = json!({ "rules": [{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }] });
        let roles: Api<k8s_openapi::api::rbac::v1::ClusterRole> = Api::all(admin.clone());
        let widened = roles
            .patch(ROLE, &PatchParams::default(), &Patch::Merge(&wide))
            .await;
        objects::denied(widened, "BW-CR-WIDEN")?;
        ensure!(bindings.get(NAME).await? == before, "it changed");
        Ok(())
    })
}

/// Where no guard stands, changes by others are put back.
#[test]
fn the_binding_is_put_back() -> Result<()> {
    on_bare_cluster(
        bailiwick_e2e::cluster::ClusterOptions::default(),
        async |cluster| {
            let options = bailiwick_e2e::install::InstallOptions::default();
            let _bailiwick = bailiwick_e2e::install::Bailiwick::install(cluster, options).await?;
            let admin = cluster.client();
            let name = unique("putback");
            ready_tenant(cluster, &serving(&name, 1, "", ""), SOON).await?;
            let owner = format!("{name}-owner");
            is_bound(&admin, &owner, true).await?;
            let mut groups: Vec<String> = Vec::new();
            for kind in ["ValidatingAdmissionPolicy", "ValidatingWebhookConfiguration"] {
                groups.extend(make_mutable(cluster, kind).await?.iter().map(|it| muted(it)));
            }
            let groups: Vec<&str> = groups
                .iter()
                .map(String::as_str)
                .chain(["system:masters"])
                .collect();
            let unguarded = cluster.client_as("platform-admin", &groups)?;
            let bindings: Api<ClusterRoleBinding> = Api::all(unguarded);
            let stranger =
                json!([{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "stranger" }]);
            let params = PatchParams::default();
            for change in [
                json!({ "subjects": stranger }),
                json!({ "subjects": null }),
                json!({ "metadata": { "labels": { "foreign": "x" } } }),
                json!({ "metadata": { "labels": { "bailiwick.dev/managed-by": null } } }),
                json!({ "metadata": { "annotations": { "foreign": "x" } } }),
            ] {
                let planned = eventually(SOON, "it is as planned", async || {
                    let now = bindings.get(NAME).await?;
                    let names: Vec<_> = now.subjects.iter().flatten().map(|it| it.name.clone()).collect();
                    let is_plain = now.metadata.annotations.is_none()
                        && now.metadata.labels.as_ref().is_some_and(|it| it.len() == 1);
                    ensure!(names == [owner.clone()] && is_plain, "{now:?}");
                    Ok(now)
                })
                .await?;
                eventually(SOON, "the guards are off", async || {
                    Ok(bindings
                        .patch(NAME, &params, &Patch::Merge(&change))
                        .await
                        .map(drop)?)
                })
                .await?;
                eventually(SOON, &format!("{change} is put back"), async || {
                    let now = bindings.get(NAME).await?;
                    ensure!(
                        now.subjects == planned.subjects && now.role_ref == planned.role_ref,
                        "{now:?}"
                    );
                    ensure!(now.metadata.labels == planned.metadata.labels, "{now:?}");
                    ensure!(
                        now.metadata.annotations == planned.metadata.annotations,
                        "{now:?}"
                    );
                    Ok(())
                })
                .await?;
            }
            bindings.delete(NAME, &DeleteParams::default()).await?;
            is_bound(&admin, &owner, true).await
        },
    )
}

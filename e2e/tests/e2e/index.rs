//! The TenancyIndex: what the native policies lean on is put back like any managed object.

use anyhow::{Result, ensure};
use bailiwick_e2e::wait::eventually;
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    drift::{put_back, told, unguarded},
    fixture::{SOON, ready_tenant, unique},
    managed::essence,
    steps::{MANAGED, tenant},
};

#[test]
fn the_index_is_put_back_and_told_of() -> Result<()> {
    unguarded(async |cluster, bailiwick| {
        let (name, ns) = (unique("indexed"), unique("indexed-ns"));
        ready_tenant(
            cluster,
            &tenant(&name, &[&ns], "identities: { users: [ann] }"),
            SOON,
        )
        .await?;
        let resource = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("bailiwick.dev", "v1alpha1", "TenancyIndex"),
            "tenancyindices",
        );
        let indices: Api<DynamicObject> = Api::all_with(cluster.client(), &resource);
        // The last that comes in is what the tenant's doors bind.
        let wanted = eventually(SOON, "the index tells of the tenant", async || {
            let index = essence(&indices.get("bailiwick").await?);
            let spec = &index["spec"];
            ensure!(
                spec["users"]["ann"] == json!(name) && spec["tenantBoundRoles"]["bailiwick-admin"] == true,
                "{index}"
            );
            Ok(index)
        })
        .await?;
        let params = PatchParams {
            field_manager: Some("kubectl-edit".to_owned()),
            ..PatchParams::default()
        };
        for foreign in [
            json!({ "spec": { "users": { "ann": null } } }),
            json!({ "spec": { "groups": { "evil": name } } }),
            json!({ "spec": { "harmlessClusterRoles": { "cluster-admin": true } } }),
            json!({ "metadata": { "labels": { MANAGED: null } } }),
            json!({ "metadata": { "annotations": { "foreign": "x" }, "finalizers": ["example.com/x"] } }),
        ] {
            indices
                .patch("bailiwick", &params, &Patch::Merge(&foreign))
                .await?;
            put_back(
                &indices,
                "bailiwick",
                &wanted,
                &format!("TenancyIndex: {foreign}"),
            )
            .await?;
        }
        told(
            cluster,
            "bailiwick",
            &["TenancyIndex", "kubectl-edit", "spec.groups"],
        )
        .await?;
        told(
            cluster,
            "bailiwick",
            &["kubectl-edit", "spec.harmlessClusterRoles"],
        )
        .await?;
        indices.delete("bailiwick", &DeleteParams::default()).await?;
        put_back(&indices, "bailiwick", &wanted, "the deleted TenancyIndex").await?;
        told(cluster, "bailiwick", &["TenancyIndex", "unknown", "deleted"]).await?;

        // Under the operator's own name, too.
        let disguised = PatchParams {
            field_manager: Some("bailiwick-operator".to_owned()),
            ..PatchParams::default()
        };
        let edit = json!({ "spec": { "users": { "mallory": name } } });
        indices
            .patch("bailiwick", &disguised, &Patch::Merge(&edit))
            .await?;
        put_back(&indices, "bailiwick", &wanted, "the disguised edit").await?;
        told(
            cluster,
            "bailiwick",
            &["unknown (the object names bailiwick-operator)", "spec.users"],
        )
        .await?;

        let metrics = bailiwick.leader().await?.metrics().await?;
        let counted = r#"drift_reverted_total{kind="TenancyIndex",manager="kubectl-edit"}"#;
        ensure!(metrics.contains(counted), "{metrics}");
        Ok(())
    })
}

//! A Tenant that another version stored: what can't be read of it opens nothing.

use anyhow::{Result, ensure};
use bailiwick_e2e::{objects, wait::eventually};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    fixture::{SOON, on_own_cluster, ready_tenant, unique},
    requests::OPERATOR,
    steps::{condition, counted, locks_and_doors, namespaces, tenant, tenants},
};

fn cluster_admin(user: &str) -> String {
    format!(
        "{{ apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{ name: {user} }}, roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }}, subjects: [{{ kind: User, apiGroup: rbac.authorization.k8s.io, name: {user} }}] }}"
    )
}

#[test]
fn a_tenant_that_cant_be_read_keeps_its_people_and_namespaces_and_says_so() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let client = cluster.client();
        let (name, ns) = (unique("future"), unique("future-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], ""), SOON).await?;
        let before = locks_and_doors(&client, &ns).await?;

        // A later version knows one mode more, and is rolled back.
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        let modes = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/podLabel/enum/-";
        let one_more = serde_json::from_value(json!([{ "op": "add", "path": modes, "value": "Future" }]))?;
        let params = PatchParams::default();
        crds.patch("tenants.bailiwick.dev", &params, &Patch::Json::<()>(one_more))
            .await?;
        let exempt = cluster.client_as(OPERATOR, &["system:masters"])?;
        let future = json!({ "spec": { "podLabel": "Future" } });
        eventually(SOON, "the API server takes the new value", async || {
            tenants(&exempt)
                .patch(&name, &params, &Patch::Merge(&future))
                .await?;
            Ok(())
        })
        .await?;
        let message = condition(cluster, &name, "Ready", "False", "Unreadable", SOON).await?;
        ensure!(message.contains("spec.podLabel"), "{message}");
        condition(cluster, &name, "Stalled", "True", "Unreadable", SOON).await?;
        ensure!(locks_and_doors(&client, &ns).await? == before);
        let metrics = bailiwick.leader().await?.metrics().await?;
        let failed = metrics
            .lines()
            .any(|it| it.contains(r#"reconciles_total{outcome="unreadable"}"#));
        ensure!(
            failed && counted(&metrics, "bailiwick_operator_reconciles_total") > 0.0,
            "{metrics}"
        );

        // Its people are still its own, to the webhook and to the native policies, and so is its namespace.
        let owner = format!("{name}-owner");
        let refused = objects::create(&client, &cluster_admin(&owner)).await;
        objects::denied(refused, "BW-CRB-SUBJECT")?;
        objects::create(&client, &cluster_admin(&format!("{name}-stranger"))).await?;
        let refused = namespaces(&client).delete(&ns, &DeleteParams::default()).await;
        objects::denied(refused, "BW-NS-DECLARED")?;
        // It can be put right, and is carried out again.
        let right = json!({ "spec": { "podLabel": "Verify" } });
        tenants(&client)
            .patch(&name, &params, &Patch::Merge(&right))
            .await?;
        condition(cluster, &name, "Ready", "True", "AllApplied", SOON).await?;
        tenants(&exempt)
            .patch(&name, &params, &Patch::Merge(&future))
            .await?;
        condition(cluster, &name, "Ready", "False", "Unreadable", SOON).await?;

        let webhook = ["delete", "validatingwebhookconfiguration", "bailiwick"];
        cluster.kubectl(&webhook).await?.ok()?;
        let refused = objects::create(&client, &cluster_admin(&owner)).await;
        objects::denied(refused, "BW-CRB-SUBJECT")?;

        tenants(&client).delete(&name, &DeleteParams::default()).await?;
        eventually(SOON, "it goes, and takes access along", async || {
            let left = tenants(&client).get_opt(&name).await?;
            ensure!(left.is_none(), "{:?}", left.map(|it| it.data["status"].clone()));
            let (locks, doors) = locks_and_doors(&client, &ns).await?;
            ensure!(locks.len() == 2 && doors.is_empty(), "{locks:?} {doors:?}");
            Ok(())
        })
        .await
    })
}

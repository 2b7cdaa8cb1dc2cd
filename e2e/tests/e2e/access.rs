//! Access that is older than a Tenant: admission could not refuse it, so the Tenant tells of it.

use anyhow::{Result, ensure};
use bailiwick_e2e::objects;

use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    steps::{condition, tenant},
};

#[test]
fn bindings_from_before_are_told_until_they_are_gone() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (name, ns) = (unique("stray"), unique("stray-ns"));
        let role = |kind: &str, meta: &str, user: &str| {
            format!(
                "{{ apiVersion: rbac.authorization.k8s.io/v1, kind: {kind}, metadata: {{ {meta} }}, roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }}, subjects: [{{ kind: User, apiGroup: rbac.authorization.k8s.io, name: {user} }}] }}"
            )
        };
        for object in [
            format!(
                "{{ apiVersion: v1, kind: Namespace, metadata: {{ name: {ns}, annotations: {{ bailiwick.dev/adopt-by: {name} }} }} }}"
            ),
            role(
                "RoleBinding",
                &format!("name: before, namespace: {ns}"),
                "stranger",
            ),
            role(
                "ClusterRoleBinding",
                &format!("name: {name}-before"),
                &format!("{name}-owner"),
            ),
        ] {
            objects::create(&client, &object).await?;
        }
        objects::apply(&client, &tenant(&name, &[&ns], "")).await?;
        let message = condition(cluster, &name, "AccessIsolated", "False", "StrayBinding", SOON).await?;
        ensure!(
            message.contains(&format!("RoleBinding {ns}/before lets in User 'stranger'"))
                && message.contains(&format!(
                    "ClusterRoleBinding {name}-before grants User '{name}-owner'"
                )),
            "{message}"
        );
        condition(cluster, &name, "Ready", "False", "StrayBinding", SOON).await?;
        condition(cluster, &name, "NetworkIsolated", "True", "AllApplied", SOON).await?;

        // Nothing but their going wakes the operator.
        cluster
            .kubectl(&["delete", "rolebinding", "before", "-n", &ns])
            .await?
            .ok()?;
        cluster
            .kubectl(&["delete", "clusterrolebinding", &format!("{name}-before")])
            .await?
            .ok()?;
        condition(cluster, &name, "AccessIsolated", "True", "AllApplied", SOON).await?;
        condition(cluster, &name, "Ready", "True", "AllApplied", SOON).await?;

        // The same without such bindings.
        let (name, ns) = (unique("clean"), unique("clean-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], ""), SOON).await
    })
}

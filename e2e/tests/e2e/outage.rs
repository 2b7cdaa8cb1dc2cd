//! The webhook is down: tenants are closed, the cluster goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{
    cluster::Cluster,
    install::{Bailiwick, Component},
    objects,
    wait::eventually,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    fixture::{SOON, on_own_cluster, ready_tenant, unique},
    managed::{changed, versions},
    requests::{Callers, Rights, Step},
    steps::{TENANT_LABEL, condition, locks_and_doors, namespace_label, namespaces, tenant, tenants},
};

fn pod(namespace: &str, name: &str, labels: &str) -> String {
    format!(
        "{{ apiVersion: v1, kind: Pod, metadata: {{ name: {name}, namespace: {namespace}, labels: {{ {labels} }} }}, spec: {{ containers: [{{ name: c, image: x, resources: {{ requests: {{ cpu: 10m }} }} }}] }} }}"
    )
}

/// What the webhook has to be asked about in a tenant's namespace; each would be allowed. There is a Pod `before`.
fn questions(ns: &str, tenant: &str) -> Vec<Step> {
    let core = format!("/api/v1/namespaces/{ns}");
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}");
    let networking = format!("/apis/networking.k8s.io/v1/namespaces/{ns}");
    let named = |body: Value| {
        let mut body = body;
        body["metadata"] = json!({ "name": "closed" });
        body
    };
    let group = "rbac.authorization.k8s.io";
    let binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "before" }, "target": { "apiVersion": "v1", "kind": "Node", "name": "n" } });
    let label = json!({ "metadata": { "labels": { "team": "x" } } });
    let tenants = "/apis/bailiwick.dev/v1alpha1/tenants";
    [
        ("create", format!("{core}/pods"), named(json!({ "spec": { "containers": [{ "name": "c", "image": "x" }] } }))),
        ("merge", format!("{core}/pods/before"), label.clone()),
        ("strategic", format!("{core}/pods/before/ephemeralcontainers"), json!({ "spec": { "ephemeralContainers": [{ "name": "e", "image": "x" }] } })),
        ("strategic", format!("{core}/pods/before/resize"), json!({ "spec": { "containers": [{ "name": "c", "resources": { "requests": { "cpu": "20m" } } }] } })),
        ("merge", format!("{core}/pods/before/status"), label.clone()),
        ("create", format!("{core}/pods/before/binding"), binding.clone()),
        ("create", format!("{core}/bindings"), binding),
        ("create", format!("{core}/resourcequotas"), named(json!({ "spec": { "hard": { "pods": "9" } } }))),
        ("create", format!("{core}/limitranges"), named(json!({ "spec": { "limits": [] } }))),
        ("create", format!("{networking}/networkpolicies"), named(json!({ "spec": { "podSelector": {} } }))),
        ("create", format!("{rbac}/roles"), named(json!({ "rules": [] }))),
        ("create", format!("{rbac}/rolebindings"), named(json!({
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": "view" },
            "subjects": [{ "kind": "User", "apiGroup": group, "name": format!("{tenant}-owner") }],
        }))),
        ("merge", format!("/api/v1/namespaces/{ns}"), label.clone()),
        ("create", tenants.to_owned(), json!({ "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": unique("closed") }, "spec": {} })),
        ("merge", format!("{tenants}/{tenant}"), label),
    ]
    .into_iter()
    .map(|(verb, path, body)| Step {
        user: "platform-admin".to_owned(),
        groups: Vec::new(),
        verb: verb.to_owned(),
        path,
        body, rights: Rights::All, })
    .collect()
}

/// Whether the API server was started a moment ago.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    LongAgo,
    JustNow,
}

/// Refused because the webhook can't be asked, not because of what it would say; or, soon after the API server's
/// own start, because a native policy doesn't know its parameter's kind yet.
fn closed<T>(result: Result<T>, start: Start) -> Result<()> {
    let Err(error) = result else {
        anyhow::bail!("it was allowed with the webhook down")
    };
    let text = format!("{error:#}");
    let unanswered = text.contains("failed calling webhook")
        || (start == Start::JustNow && text.contains("failed to configure policy"));
    ensure!(unanswered && text.contains("bailiwick"), "{text}");
    Ok(())
}

async fn tenants_are_closed(cluster: &Cluster, ns: &str, tenant_name: &str, start: Start) -> Result<()> {
    let client = cluster.client();
    let mut callers = Callers::new(cluster);
    let before = eventually(SOON, "the API server lists what it stores", async || {
        versions(&client).await
    })
    .await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), ns);
    let pod_before = pods.get("before").await?;
    for step in questions(ns, tenant_name) {
        let sent = callers.send(&step, "", &[]).await?;
        closed(sent.map_err(Into::into), start).with_context(|| format!("{} {}", step.verb, step.path))?;
    }
    // What needs no webhook is refused by name all the same.
    let strip = json!({ "metadata": { "labels": { TENANT_LABEL: null } } });
    let stripped = namespaces(&client)
        .patch(ns, &PatchParams::default(), &Patch::Merge(&strip))
        .await;
    objects::denied(stripped, "BW-NS-IDENTITY")?;
    let forged = objects::create(
        &client,
        &pod("default", "forged", &format!("{TENANT_LABEL}: {tenant_name}")),
    )
    .await;
    objects::denied(forged, "BW-POD-LABEL")?;
    ensure!(namespace_label(&client, ns, TENANT_LABEL).await?.as_deref() == Some(tenant_name));
    let changed = changed(&before, &versions(&client).await?);
    ensure!(changed.is_empty(), "{changed:?}");
    ensure!(
        pods.list(&ListParams::default()).await?.items == [pod_before],
        "the Pods aren't what they were"
    );
    Ok(())
}

async fn the_cluster_goes_on(cluster: &Cluster) -> Result<()> {
    let client = cluster.client();
    let name = unique("open");
    let account = "{ apiVersion: v1, kind: ServiceAccount, metadata: { name: default, namespace: default } }";
    objects::apply(&client, account).await?;
    for yaml in [
        format!("{{ apiVersion: v1, kind: Namespace, metadata: {{ name: {name} }} }}"),
        format!(
            "{{ apiVersion: v1, kind: ServiceAccount, metadata: {{ name: default, namespace: {name} }} }}"
        ),
        format!(
            "{{ apiVersion: v1, kind: ConfigMap, metadata: {{ name: {name}, namespace: kube-system }} }}"
        ),
        format!(
            "{{ apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {{ name: {name}, namespace: kube-node-lease }} }}"
        ),
        format!(
            "{{ apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {{ name: {name}, namespace: bailiwick-system }} }}"
        ),
        format!("{{ apiVersion: v1, kind: Node, metadata: {{ name: {name} }} }}"),
        format!(
            "{{ apiVersion: v1, kind: ServiceAccount, metadata: {{ name: {name}, namespace: kube-system }} }}"
        ),
        format!(
            "{{ apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{ name: {name} }}, rules: [{{ apiGroups: [''], resources: [pods], verbs: [get] }}] }}"
        ),
        format!(
            "{{ apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{ name: {name} }}, roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name} }}, subjects: [{{ kind: ServiceAccount, name: {name}, namespace: kube-system }}] }}"
        ),
        format!(
            "{{ apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{ name: {name}, namespace: kube-system }}, rules: [] }}"
        ),
    ] {
        objects::apply(&client, &yaml).await?;
    }
    objects::apply(&client, &pod("kube-system", &name, "")).await?;
    objects::apply(&client, &pod(&name, "p", "")).await?;
    namespaces(&client)
        .delete(&name, &DeleteParams::default())
        .await?;
    cluster
        .kubectl(&["delete", "pod", "p", "-n", &name, "--grace-period=0", "--force"])
        .await?;
    eventually(SOON, "an ordinary Namespace is deleted", async || {
        ensure!(namespaces(&client).get_opt(&name).await?.is_none(), "still there");
        Ok(())
    })
    .await
}

async fn prepared(cluster: &Cluster, bailiwick: &Bailiwick) -> Result<(String, String)> {
    let (name, ns) = (unique("outage"), unique("outage-ns"));
    ready_tenant(cluster, &tenant(&name, &[&ns], ""), SOON).await?;
    objects::apply(
        &cluster.client(),
        &format!(
            "{{ apiVersion: v1, kind: ServiceAccount, metadata: {{ name: default, namespace: {ns} }} }}"
        ),
    )
    .await?;
    objects::create(&cluster.client(), &pod(&ns, "before", "")).await?;
    // What is going to be closed is open now.
    let mut callers = Callers::new(cluster);
    for step in questions(&ns, &name) {
        let sent = callers.send(&step, "dryRun=All", &[]).await?;
        sent.with_context(|| format!("{} {} with the webhook up", step.verb, step.path))?;
    }
    bailiwick.crash(Component::Webhook).await?;
    Ok((name, ns))
}

#[test]
fn an_outage_closes_tenants_and_nothing_else() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let client = cluster.client();
        let (name, ns) = prepared(cluster, bailiwick).await?;
        tenants_are_closed(cluster, &ns, &name, Start::LongAgo).await?;
        the_cluster_goes_on(cluster).await?;

        // The operator goes on too: it lets a namespace go, and the namespace controller may empty it.
        let none = json!({ "spec": { "namespaces": { "declared": [] } } });
        let operator = "system:serviceaccount:bailiwick-system:bailiwick-operator";
        let exempt = cluster.client_as(operator, &["system:masters"])?;
        tenants(&exempt)
            .patch(&name, &PatchParams::default(), &Patch::Merge(&none))
            .await?;
        condition(cluster, &name, "Ready", "True", "AllApplied", SOON).await?;
        let (locks, doors) = locks_and_doors(&client, &ns).await?;
        ensure!(locks.len() == 2 && doors.is_empty(), "{locks:?} {doors:?}");
        eventually(
            SOON,
            "the native policies have learned that it is let go",
            async || {
                namespaces(&client).delete(&ns, &DeleteParams::default()).await?;
                Ok(())
            },
        )
        .await?;
        cluster
            .kubectl(&[
                "delete",
                "pod",
                "before",
                "-n",
                &ns,
                "--grace-period=0",
                "--force",
            ])
            .await?
            .ok()?;
        eventually(SOON, "a tenant's Namespace can be deleted", async || {
            let left = namespaces(&client).get_opt(&ns).await?;
            ensure!(left.is_none(), "{:?}", left.and_then(|it| it.status));
            Ok(())
        })
        .await?;

        bailiwick.start(Component::Webhook).await?;
        bailiwick.wait_until_ready().await?;
        objects::create(&client, &tenant(&unique("reopened"), &[], "")).await?;
        Ok(())
    })
}

#[test]
fn the_api_server_starts_while_the_webhook_is_down() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let (name, ns) = prepared(cluster, bailiwick).await?;
        bailiwick.crash(Component::Operator).await?;
        // Default roles and bindings that are missing are made again at the start: nothing of ours may refuse that.
        for kind in ["clusterrolebinding", "clusterrole"] {
            cluster
                .kubectl(&["delete", kind, "system:basic-user"])
                .await?
                .ok()?;
        }
        cluster.restart_apiserver().await?;
        eventually(
            Duration::from_mins(1),
            "the default binding is back",
            async || {
                cluster
                    .kubectl(&["get", "clusterrolebinding", "system:basic-user"])
                    .await?
                    .ok()?;
                Ok(())
            },
        )
        .await?;
        tenants_are_closed(cluster, &ns, &name, Start::JustNow).await?;
        the_cluster_goes_on(cluster).await
    })
}

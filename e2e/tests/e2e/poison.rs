//! What a tenant stores to hurt readers, and what it sends to take their time, hurts nobody else.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use bailiwick_e2e::{cluster::Cluster, install::Component, objects, wait::eventually};
use k8s_openapi::api::{core::v1::ConfigMap, networking::v1::NetworkPolicy, rbac::v1::RoleBinding};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{
    fixture::{SOON, on_own_cluster, ready_tenant, unique},
    requests::OPERATOR,
    steps::{MANAGED, tenant},
    tenant_policy::{refusing, served},
};

/// Deeper than any parser of ours goes; the API server stores it.
const LEVELS: usize = 5000;

/// A manifest whose `managedFields` are as deep as that.
fn deep(name: &str, api_version: &str, rest: &str) -> String {
    let fields = format!("{}{{}}{}", "{\"f:a\":".repeat(LEVELS), "}".repeat(LEVELS));
    format!(
        r#"{{"metadata": {{"name": "{name}", "managedFields": [{{"manager": "m", "operation": "Update", "apiVersion": "{api_version}", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {fields}}}]}}, {rest}}}"#
    )
}

fn binding(name: &str, subjects: impl Iterator<Item = String>) -> Result<RoleBinding> {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let subjects: Vec<_> = subjects
        .map(|it| json!({ "apiGroup": GROUP, "kind": "User", "name": it }))
        .collect();
    Ok(serde_json::from_value(json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": GROUP, "kind": "ClusterRole", "name": "bailiwick-view" },
        "subjects": subjects,
    }))?)
}

fn dry_run() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

/// Somebody takes a managed object away under the operator's name; it comes back.
async fn is_put_back(cluster: &Cluster, namespace: &str) -> Result<()> {
    let client = cluster.client_as(OPERATOR, &["system:masters"])?;
    let policies: Api<NetworkPolicy> = Api::namespaced(client, namespace);
    let name = "bailiwick-default-deny";
    let uid = async || {
        // By kubectl: a list of this namespace may hold what no parser here reads.
        let text = cluster
            .kubectl(&[
                "get",
                "networkpolicy",
                name,
                "-n",
                namespace,
                "-o",
                "jsonpath={.metadata.uid}",
            ])
            .await?
            .ok()?;
        anyhow::Ok(text)
    };
    let before = uid().await?;
    policies.delete(name, &DeleteParams::default()).await?;
    eventually(SOON, &format!("{namespace} is locked again"), async || {
        ensure!(uid().await? != before, "it is the same");
        Ok(())
    })
    .await
}

/// Two tenants in namespaces of their names, the owner of each with users `<tenant>:*`.
async fn two_tenants(cluster: &Cluster) -> Result<[(String, Client); 2]> {
    let mut both = Vec::new();
    for name in ["poisoner", "bystander"].map(unique) {
        let users = format!("identities: {{ users: ['{name}:*'] }}");
        ready_tenant(cluster, &tenant(&name, &[&name], &users), SOON).await?;
        let client = cluster.client_as(&format!("{name}-owner"), &["system:authenticated"])?;
        both.push((name, client));
    }
    both.try_into().ok().context("two")
}

#[test]
fn what_no_parser_reads_stops_no_watch() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let [(poisoner, _), (bystander, owner)] = two_tenants(cluster).await?;
        let rbac = "rbac.authorization.k8s.io/v1";
        let role = r#""apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": []"#;
        let bound = format!(
            r#""apiVersion": "{rbac}", "kind": "RoleBinding", "roleRef": {{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bailiwick-view"}}, "subjects": [{{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "{poisoner}:one"}}]"#
        );
        let open =
            r#""apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": {}}"#;
        let map = r#""apiVersion": "v1", "kind": "ConfigMap""#;
        for (path, version, rest) in [
            ("apis/rbac.authorization.k8s.io/v1", rbac, ("roles", role)),
            (
                "apis/rbac.authorization.k8s.io/v1",
                rbac,
                ("rolebindings", bound.as_str()),
            ),
            (
                "apis/networking.k8s.io/v1",
                "networking.k8s.io/v1",
                ("networkpolicies", open),
            ),
            ("api/v1", "v1", ("configmaps", map)),
        ] {
            let (plural, rest) = rest;
            let path = format!("/{path}/namespaces/{poisoner}/{plural}");
            let user = format!("--as={poisoner}-owner");
            let text = deep("deep", version, rest);
            cluster
                .kubectl_with_input(&["create", "--raw", &path, "-f", "-", &user], &text)
                .await?
                .ok()
                .with_context(|| format!("a deep one among {plural}"))?;
            let stored = cluster
                .kubectl(&["get", "--raw", &format!("{path}/deep"), &user])
                .await?
                .ok()?;
            ensure!(
                stored.matches("f:a").count() >= LEVELS,
                "{plural}: it was not stored so"
            );
        }
        // Those that watch already, and those that list anew.
        is_put_back(cluster, &poisoner).await?;
        for component in [Component::Webhook, Component::Operator] {
            bailiwick.crash(component).await?;
            bailiwick.start(component).await?;
            bailiwick.wait_until_ready().await?;
        }
        for namespace in [&poisoner, &bystander] {
            is_put_back(cluster, namespace).await?;
        }
        let bindings: Api<RoleBinding> = Api::namespaced(owner, &bystander);
        let ours = binding("ours", [format!("{bystander}:one")].into_iter())?;
        bindings.create(&dry_run(), &ours).await?;
        let theirs = binding("theirs", [format!("{poisoner}:one")].into_iter())?;
        objects::denied(bindings.create(&dry_run(), &theirs).await, "BW-RB-SUBJECT")?;
        let managed = cluster
            .kubectl(&[
                "get",
                "networkpolicy",
                "-n",
                &poisoner,
                "-l",
                MANAGED,
                "-o",
                "name",
            ])
            .await?
            .ok()?;
        ensure!(managed.lines().count() >= 1, "{managed}");
        Ok(())
    })
}

#[test]
fn huge_objects_of_one_tenant_are_decided_and_take_nobody_elses_time() -> Result<()> {
    on_own_cluster(async |cluster, _| {
        let [(poisoner, sender), (bystander, owner)] = two_tenants(cluster).await?;
        let client = cluster.client();
        let policy = refusing(&unique("huge"), &poisoner, "word", "said", &json!({}));
        served(&client, &policy).await?;

        let crowd = |count: usize| binding("crowd", (0..count).map(|i| format!("{poisoner}:{i}")));
        let (crowd, too_many) = (crowd(1_000)?, crowd(10_000)?);
        // Each of these characters takes six in a review, and an update shows the object twice: 5.8 MB.
        let map: ConfigMap = serde_json::from_value(json!({
            "metadata": { "name": "control" }, "data": { "text": "\u{1}".repeat(480_000) },
        }))?;
        let maps: Api<ConfigMap> = Api::namespaced(sender.clone(), &poisoner);
        let map = maps.create(&PostParams::default(), &map).await?;
        let bindings: Api<RoleBinding> = Api::namespaced(sender, &poisoner);

        let done = AtomicBool::new(false);
        let sending = async |_: usize| {
            let (mut bindings_sent, mut maps_sent) = (0_u32, 0_u32);
            while !done.load(Ordering::Acquire) || bindings_sent == 0 || maps_sent == 0 {
                bindings
                    .create(&dry_run(), &crowd)
                    .await
                    .context("1,000 subjects")?;
                // Natively refused, because the API server bounds what a policy may cost.
                let refused = bindings.create(&dry_run(), &too_many).await;
                let message = refused.err().context("10,000 subjects passed")?.to_string();
                ensure!(
                    message.contains("bailiwick-role-bindings") && message.contains("cost limit"),
                    "{message}"
                );
                bindings_sent += 1;
                let mut longer = map.clone();
                longer
                    .data
                    .get_or_insert_default()
                    .insert("more".to_owned(), "x".to_owned());
                maps.replace("control", &dry_run(), &longer)
                    .await
                    .context("5.8 MB")?;
                maps_sent += 1;
                longer
                    .data
                    .get_or_insert_default()
                    .insert("word".to_owned(), "x".to_owned());
                objects::denied(maps.replace("control", &dry_run(), &longer).await, "BW-POLICY")?;
            }
            anyhow::Ok(())
        };
        let others: Api<RoleBinding> = Api::namespaced(owner, &bystander);
        let ours = binding("ours", [format!("{bystander}:one")].into_iter())?;
        let theirs = binding("theirs", [format!("{poisoner}:one")].into_iter())?;
        let asking = async {
            let result = async {
                for i in 0..30 {
                    if let Err(error) = others.create(&dry_run(), &ours).await {
                        bail!("request {i} of the other tenant: {error}");
                    }
                    objects::denied(others.create(&dry_run(), &theirs).await, "BW-RB-SUBJECT")?;
                }
                anyhow::Ok(())
            }
            .await;
            done.store(true, Ordering::Release);
            result
        };
        let (sent, asked) = tokio::join!(futures::future::try_join_all((0..2).map(sending)), asking);
        asked?;
        sent?;
        Ok(())
    })
}

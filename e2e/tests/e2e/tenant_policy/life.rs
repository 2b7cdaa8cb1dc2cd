//! From an edit to the last webhook: nothing but the old or the new revision decides, and what is broken never does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{install::Component, objects, wait::eventually};
use futures::future::try_join_all;
use k8s_openapi::api::{apps::v1::ControllerRevision, coordination::v1::Lease};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{active, condition, home, policies, put, refused, refusing, served, write};
use crate::fixture::{SOON, on_own_cluster, on_shared_cluster, unique};

const EDITS: usize = 15;

#[test]
fn an_edit_under_load_is_decided_by_the_old_or_the_new_revision() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (tenant, ns) = home(&installed.cluster, "edited").await?;
        let name = unique("edited");
        let version = |i: usize| refusing(&name, &tenant, "a", &format!("version-{i}."), &json!({}));
        served(&client, &version(1)).await?;
        // The numbers of the revisions that were written, and that every webhook was said to serve.
        let (written, ready) = (AtomicUsize::new(1), AtomicUsize::new(1));
        let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
        let ask = async |_: usize| -> Result<()> {
            while !done.load(Ordering::Acquire) {
                let oldest = ready.load(Ordering::Acquire);
                let message = refused(&client, &ns, "a").await?;
                let newest = written.load(Ordering::Acquire);
                let by: Vec<usize> = (1..=EDITS + 1)
                    .filter(|it| message.contains(&format!("version-{it}.")))
                    .collect();
                ensure!(
                    matches!(by[..], [by] if (oldest..=newest).contains(&by)),
                    "{message} where {oldest} to {newest} may decide"
                );
                asked.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        let edit = async {
            for i in 2..=EDITS + 1 {
                written.store(i, Ordering::Release);
                let result = served(&client, &version(i)).await;
                if result.is_err() {
                    done.store(true, Ordering::Release);
                }
                result?;
                ready.store(i, Ordering::Release);
            }
            done.store(true, Ordering::Release);
            Ok(())
        };
        let (asking, editing) = tokio::join!(try_join_all((0..4).map(ask)), edit);
        asking?;
        let _: () = editing.map_err(|it: anyhow::Error| it)?;
        let asked = asked.into_inner();
        ensure!(asked > 4 * EDITS, "only {asked} requests");
        // What another revision would not have refused still passes.
        put(&client, &ns, "b").await?;
        let lag = installed.bailiwick.operator(0)?.metrics().await?;
        ensure!(
            lag.contains("bailiwick_operator_policy_lag_seconds_count"),
            "{lag}"
        );
        Ok(())
    })
}

#[test]
fn what_is_broken_leaves_the_last_good_revision_serving_after_restarts_too() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let client = cluster.client();
        let (tenant, ns) = home(cluster, "broken").await?;
        let name = unique("broken");
        let good = served(&client, &refusing(&name, &tenant, "a", "good", &json!({}))).await?;
        let mut broken = refusing(&name, &tenant, "a", "broken", &json!({}));
        broken["spec"]["rego"] =
            json!("package bailiwick\n\ndeny contains \"broken\" if {\n  input.request ==\n}\n");
        write(&client, &broken).await?;
        let now = condition(&client, &name, ("Ready", "False", "Invalid")).await?;
        ensure!(active(&now) == active(&good), "{}", now.data["status"]);
        let error = &now.data["status"]["errors"][0];
        ensure!(error["field"] == "spec.rego" && error["line"] == 5, "{error}");
        condition(&client, &name, ("Serving", "True", "AsWritten")).await?;
        condition(&client, &name, ("Degraded", "True", "Invalid")).await?;
        ensure!(refused(&client, &ns, "a").await?.contains("good"));

        // One that no parser reads, because of how deep it is, keeps nobody from reading the others.
        let deep = unique("deep");
        let parameters = json!({ "parameters": { "a": "DEEP" } });
        let text = refusing(&deep, &tenant, "b", "deep", &parameters).to_string();
        let text = text.replace("\"DEEP\"", &format!("{}1{}", "[".repeat(400), "]".repeat(400)));
        cluster
            .kubectl_with_input(&["create", "-f", "-"], &text)
            .await?
            .ok()?;
        let field = "jsonpath={.status.errors[*].field}";
        eventually(SOON, "what is too deep is refused", async || {
            let told = cluster.kubectl(&["get", "tnp", &deep, "-o", field]).await?.ok()?;
            ensure!(told == "spec.parameters", "{told}");
            Ok(())
        })
        .await?;

        for component in [Component::Webhook, Component::Operator] {
            bailiwick.crash(component).await?;
            bailiwick.start(component).await?;
            bailiwick.wait_until_ready().await?;
            ensure!(refused(&client, &ns, "a").await?.contains("good"));
            put(&client, &ns, "b").await?;
        }
        condition(&client, &name, ("Degraded", "True", "Invalid")).await?;

        // Mended it serves, and the revision before it is kept.
        served(&client, &refusing(&name, &tenant, "a", "mended", &json!({}))).await?;
        ensure!(refused(&client, &ns, "a").await?.contains("mended"));
        let kept = revisions(&client)
            .list(&ListParams::default().labels(&format!("bailiwick.dev/policy={name}")))
            .await?;
        ensure!(kept.items.len() == 2, "{:?}", kept.items);

        // A policy that is gone decides nothing, and nothing is left of it.
        cluster.kubectl(&["delete", "tnp", &deep]).await?.ok()?;
        policies(&client).delete(&name, &DeleteParams::default()).await?;
        eventually(SOON, "the policy is gone", async || {
            put(&client, &ns, "a").await?;
            let left = revisions(&client)
                .list(&ListParams::default().labels("bailiwick.dev/policy"))
                .await?;
            ensure!(left.items.is_empty(), "{:?}", left.items);
            Ok(())
        })
        .await
    })
}

#[test]
fn a_rollback_is_one_command() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (tenant, ns) = home(&installed.cluster, "back").await?;
        let name = unique("back");
        let first = served(&client, &refusing(&name, &tenant, "a", "first", &json!({}))).await?;
        served(&client, &refusing(&name, &tenant, "b", "second", &json!({}))).await?;
        put(&client, &ns, "a").await?;
        let patch = format!("{{\"spec\":{{\"revision\":\"{}\"}}}}", active(&first));
        let command = ["patch", "tnp", &name, "--type=merge", "-p", &patch];
        installed.cluster.kubectl(&command).await?.ok()?;
        let now = condition(&client, &name, ("Ready", "True", "Pinned")).await?;
        ensure!(active(&now) == active(&first), "{}", now.data["status"]);
        ensure!(refused(&client, &ns, "a").await?.contains("first"));
        put(&client, &ns, "b").await?;

        // What is not kept can't be gone back to, and what decides goes on.
        let unknown = json!({ "spec": { "revision": "0123456789ab" } });
        let params = PatchParams::default();
        policies(&client)
            .patch(&name, &params, &Patch::Merge(&unknown))
            .await?;
        let now = condition(&client, &name, ("Ready", "False", "UnknownRevision")).await?;
        ensure!(active(&now) == active(&first), "{}", now.data["status"]);
        ensure!(refused(&client, &ns, "a").await?.contains("first"));

        let forward = json!({ "spec": { "revision": null } });
        policies(&client)
            .patch(&name, &params, &Patch::Merge(&forward))
            .await?;
        condition(&client, &name, ("Ready", "True", "AsWritten")).await?;
        ensure!(refused(&client, &ns, "b").await?.contains("second"));
        put(&client, &ns, "a").await?;
        Ok(())
    })
}

#[test]
fn a_replica_that_can_not_load_a_revision_holds_it_back() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let client = cluster.client();
        let (tenant, ns) = home(cluster, "held").await?;
        let name = unique("held");
        let good = served(&client, &refusing(&name, &tenant, "a", "good", &json!({}))).await?;
        // A third webhook, of another version, that serves the first revision and can't load what comes.
        let webhook = cluster.client_as("system:serviceaccount:bailiwick-system:bailiwick-webhook", &[])?;
        let leases: Api<Lease> = Api::namespaced(webhook, bailiwick_e2e::install::NAMESPACE);
        let third = |failed: &str| {
            let details = if failed.is_empty() {
                json!({ "process": "p" })
            } else {
                json!({ "process": "p", "failed": { failed: "spec.rego:1:1: not with me" } })
            };
            serde_json::from_value::<Lease>(json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {
                    "name": "third", "labels": { "bailiwick.dev/replica": "webhook" },
                    "annotations": {
                        "bailiwick.dev/serving": active(&good),
                        "bailiwick.dev/policy-report": details.to_string(),
                    },
                },
                "spec": { "holderIdentity": "third", "leaseDurationSeconds": 60, "renewTime": "2026-01-01T00:00:00.000000Z" },
            }))
        };
        leases.create(&PostParams::default(), &third("")?).await?;
        eventually(SOON, "the third replica counts", async || {
            let now = policies(&client).get(&name).await?;
            let replicas = now.data["status"]["replicas"].as_array().map_or(0, Vec::len);
            ensure!(replicas == 3, "{}", now.data["status"]);
            Ok(())
        })
        .await?;
        // The Lease of one that was killed long ago goes, by how long it was to last; the third's stays.
        let mut dead = third("")?;
        dead.metadata.name = Some("dead".to_owned());
        if let Some(spec) = &mut dead.spec {
            (spec.holder_identity, spec.lease_duration_seconds) = (Some("dead".to_owned()), Some(1));
        }
        leases.create(&PostParams::default(), &dead).await?;
        eventually(SOON, "what a dead webhook left behind goes", async || {
            ensure!(leases.get_opt("dead").await?.is_none(), "it is still there");
            Ok(())
        })
        .await?;
        ensure!(leases.get_opt("third").await?.is_some(), "the third's went, too");
        write(&client, &refusing(&name, &tenant, "a", "next", &json!({}))).await?;
        let now = condition(&client, &name, ("Ready", "False", "Loading")).await?;
        let candidate = now.data["status"]["candidateRevision"]
            .as_str()
            .context("a candidate")?
            .to_owned();
        leases
            .patch(
                "third",
                &PatchParams::default(),
                &Patch::Merge(&third(&candidate)?),
            )
            .await?;
        let now = condition(&client, &name, ("Ready", "False", "LoadFailed")).await?;
        ensure!(active(&now) == active(&good), "{}", now.data["status"]);
        let message = now.data["status"]["conditions"].to_string();
        ensure!(
            message.contains("third can't load") && message.contains("not with me"),
            "{message}"
        );
        ensure!(refused(&client, &ns, "a").await?.contains("good"));

        leases.delete("third", &DeleteParams::default()).await?;
        condition(&client, &name, ("Ready", "True", "AsWritten")).await?;
        ensure!(refused(&client, &ns, "a").await?.contains("next"));

        // A replica that dies without a word is waited for no longer than its Lease lasts.
        bailiwick.crash(Component::Webhook).await?;
        write(&client, &refusing(&name, &tenant, "a", "last", &json!({}))).await?;
        super::condition_within(
            &client,
            &name,
            ("Ready", "False", "NoReplica"),
            Duration::from_mins(1),
        )
        .await?;
        bailiwick.start(Component::Webhook).await?;
        bailiwick.wait_until_ready().await?;
        condition(&client, &name, ("Ready", "True", "AsWritten")).await?;
        ensure!(refused(&client, &ns, "a").await?.contains("last"));
        Ok(())
    })
}

#[test]
fn the_history_is_as_long_as_it_may_be() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (tenant, _) = home(&installed.cluster, "history").await?;
        let name = unique("history");
        let more = json!({ "revisionHistoryLimit": 2 });
        let mut names = Vec::new();
        for i in 0..5 {
            let policy = served(&client, &refusing(&name, &tenant, "a", &format!("{i}"), &more)).await?;
            names.push(active(&policy));
        }
        let selector = ListParams::default().labels(&format!("bailiwick.dev/policy={name}"));
        eventually(SOON, "three revisions are left", async || {
            let mut left = revisions(&client).list(&selector).await?.items;
            left.sort_by_key(|it| it.revision);
            let left: Vec<String> = left
                .iter()
                .filter_map(|it| it.labels().get("bailiwick.dev/policy-revision").cloned())
                .collect();
            ensure!(left == names[2..], "{left:?} of {names:?}");
            Ok(())
        })
        .await?;
        // Nobody but the operator takes one away.
        let one = format!("{name}-{}", names[4]);
        objects::denied(
            revisions(&client).delete(&one, &DeleteParams::default()).await,
            "BW-RECORD",
        )?;
        Ok(())
    })
}

fn revisions(client: &kube::Client) -> Api<ControllerRevision> {
    Api::namespaced(client.clone(), bailiwick_e2e::install::NAMESPACE)
}

//! Candidates: compared after the answer, deciding for some namespaces, taken back when they do too much.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::wait::eventually;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use super::{active, condition, condition_within, home, policies, put, refused, refusing, served, write};
use crate::fixture::{SOON, on_own_cluster, on_shared_cluster, ready_tenant, unique};
use crate::steps::tenant;

#[test]
fn a_shadow_decides_nothing_and_tells_what_would_change() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (tenant, ns) = home(&installed.cluster, "shadow").await?;
        let name = unique("shadow");
        served(&client, &refusing(&name, &tenant, "a", "old", &json!({}))).await?;
        let shadow = json!({ "rollout": { "mode": "Shadow" } });
        write(&client, &refusing(&name, &tenant, "b", "new", &shadow)).await?;
        let now = condition(&client, &name, ("Ready", "True", "RollingOut")).await?;
        let candidate = now.data["status"]["candidateRevision"].clone();
        // The webhooks hear of the stage a moment after the status says so: a count tells.
        eventually(
            SOON,
            "newly denied, newly allowed and the same are counted",
            async || {
                put(&client, &ns, "b").await?;
                ensure!(refused(&client, &ns, "a").await?.contains("old"));
                put(&client, &ns, "c").await?;
                let now = policies(&client).get(&name).await?;
                let shadow = &now.data["status"]["shadow"];
                let count = |it: &str| shadow["counts"][it].as_i64().unwrap_or(0);
                ensure!(shadow["revision"] == candidate, "{shadow}");
                ensure!(
                    count("newlyDenied") > 0
                        && count("newlyAllowed") > 0
                        && count("evaluated") > count("newlyDenied") + count("newlyAllowed")
                        && count("errors") == 0,
                    "{shadow}"
                );
                let samples = shadow["samples"].to_string();
                ensure!(
                    samples.contains("NewlyDenied")
                        && samples.contains("NewlyAllowed")
                        && samples.contains(&ns),
                    "{samples}"
                );
                Ok(())
            },
        )
        .await?;
        // Released, it decides.
        served(&client, &refusing(&name, &tenant, "b", "new", &json!({}))).await?;
        ensure!(refused(&client, &ns, "b").await?.contains("new"));
        put(&client, &ns, "a").await?;
        Ok(())
    })
}

#[test]
fn a_candidate_that_does_too_much_is_taken_back() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (tenant, ns) = home(&installed.cluster, "halted").await?;
        let name = unique("halted");
        let good = served(&client, &refusing(&name, &tenant, "a", "old", &json!({}))).await?;
        let all = json!({ "rollout": { "mode": "Percent", "percent": 100, "maxNewlyDenied": 3 } });
        write(&client, &refusing(&name, &tenant, "b", "new", &all)).await?;
        condition(&client, &name, ("Ready", "True", "RollingOut")).await?;
        let mut denials = 0;
        eventually(Duration::from_mins(1), "it is halted", async || {
            if put(&client, &ns, "b").await.is_err() {
                denials += 1;
            }
            let now = policies(&client).get(&name).await?;
            let halted = now.data["status"]["halted"]["message"]
                .as_str()
                .unwrap_or_default();
            ensure!(
                halted.contains("maxNewlyDenied allows 3"),
                "{}",
                now.data["status"]
            );
            Ok(())
        })
        .await?;
        ensure!(denials > 3, "{denials} denials");
        let now = condition(&client, &name, ("Degraded", "True", "Halted")).await?;
        ensure!(active(&now) == active(&good), "{}", now.data["status"]);
        condition(&client, &name, ("Ready", "False", "Halted")).await?;
        eventually(SOON, "the old revision decides again", async || {
            put(&client, &ns, "b").await?;
            ensure!(refused(&client, &ns, "a").await?.contains("old"));
            Ok(())
        })
        .await?;

        // One error is one too many.
        let mut failing = refusing(&name, &tenant, "b", "new", &all);
        failing["spec"]["rego"] = json!(
            "package bailiwick\n\ndeny contains \"odd\" if to_number(input.request.object.data.n) > 1\n"
        );
        write(&client, &failing).await?;
        condition(&client, &name, ("Ready", "True", "RollingOut")).await?;
        eventually(Duration::from_mins(1), "it is halted", async || {
            let _ = put(&client, &ns, "n").await;
            let now = policies(&client).get(&name).await?;
            let halted = now.data["status"]["halted"]["message"]
                .as_str()
                .unwrap_or_default();
            ensure!(halted.contains("maxErrors allows 0"), "{}", now.data["status"]);
            Ok(())
        })
        .await?;
        // Changed, it gets another chance.
        served(&client, &refusing(&name, &tenant, "b", "mended", &json!({}))).await?;
        ensure!(refused(&client, &ns, "b").await?.contains("mended"));
        Ok(())
    })
}

#[test]
fn percent_hits_its_share_of_a_thousand_namespaces_and_stays_put() -> Result<()> {
    on_own_cluster(async |cluster, _| {
        let client = cluster.client();
        let names: Vec<String> = (0..1000).map(|i| format!("share-{i}")).collect();
        let halves = names.chunks(500).zip(["share-a", "share-b"]);
        let tenants = halves.map(|(names, name)| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let yaml = tenant(name, &names, "");
            async move { ready_tenant(cluster, &yaml, Duration::from_mins(8)).await }
        });
        futures::future::try_join_all(tenants).await?;

        let policy = |percent: i32| {
            let rollout = json!({
                "tenants": null, "tenantSelector": {},
                "rollout": { "mode": "Percent", "percent": percent },
            });
            let mut policy = refusing("share", "share-a", "a", "new", &rollout);
            policy["spec"].as_object_mut().map(|it| it.remove("tenants"));
            policy
        };
        let denied = async || -> Result<BTreeSet<&String>> {
            let asked = futures::stream::iter(&names).map(async |namespace| {
                let denied = put(&client, namespace, "a").await;
                put(&client, namespace, "b").await?;
                match denied {
                    Ok(()) => Ok::<_, anyhow::Error>(None),
                    Err(kube::Error::Api(status)) if status.message.contains("BW-POLICY") => {
                        Ok(Some(namespace))
                    }
                    Err(error) => Err(error.into()),
                }
            });
            asked
                .buffer_unordered(8)
                .try_filter_map(async |it| Ok(it))
                .try_collect()
                .await
        };
        let minute = Duration::from_mins(1);
        write(&client, &policy(10)).await?;
        condition_within(&client, "share", ("Ready", "True", "RollingOut"), minute).await?;
        let ten = eventually(minute, "the candidate decides", async || {
            let ten = denied().await?;
            ensure!(!ten.is_empty(), "nobody is refused");
            Ok(ten)
        })
        .await?;
        // Three standard deviations of 1,000 draws.
        ensure!((72..=128).contains(&ten.len()), "{} of 1,000", ten.len());
        ensure!(denied().await? == ten, "some moved");
        write(&client, &policy(30)).await?;
        let thirty = eventually(minute, "the larger share", async || {
            let thirty = denied().await?;
            ensure!(thirty.len() > ten.len(), "{}", thirty.len());
            Ok(thirty)
        })
        .await?;
        ensure!((257..=343).contains(&thirty.len()), "{} of 1,000", thirty.len());
        ensure!(thirty.is_superset(&ten), "some left");
        let first = *ten.first().context("one")?;
        ensure!(refused(&client, first, "a").await?.contains("new"));
        Ok(())
    })
}

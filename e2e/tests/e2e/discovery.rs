//! Each resource that a webhook or a policy names exists: a typo there would guard nothing, and nobody would notice.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::cluster::Cluster;
use serde_json::Value;

use crate::fixture::on_shared_cluster;

/// `group/resource` of all that the API server serves, in any version.
async fn served(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let raw = async |path: String| -> Result<Value> {
        let output = cluster.kubectl(&["get", "--raw", &path]).await?.ok()?;
        Ok(serde_json::from_str(&output)?)
    };
    let mut paths = vec![(String::new(), "/api/v1".to_owned())];
    for group in raw("/apis".to_owned()).await?["groups"]
        .as_array()
        .context("no groups")?
    {
        let name = group["name"].as_str().unwrap_or_default();
        for version in group["versions"].as_array().into_iter().flatten() {
            let version = version["groupVersion"].as_str().unwrap_or_default();
            paths.push((name.to_owned(), format!("/apis/{version}")));
        }
    }
    let mut served = BTreeSet::new();
    for (group, path) in paths {
        let list = raw(path).await?;
        let names = list["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|it| it["name"].as_str());
        served.extend(names.map(|name| format!("{group}/{name}")));
    }
    Ok(served)
}

#[test]
fn every_resource_that_is_guarded_exists() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let served = served(cluster).await?;
        ensure!(!served.contains("/namespace/finalize") && served.contains("/namespaces/finalize"));
        let mut checked = 0;
        for kind in [
            "validatingwebhookconfigurations",
            "validatingadmissionpolicies",
            "mutatingadmissionpolicies",
        ] {
            let output = cluster.kubectl(&["get", kind, "-o", "json"]).await?.ok()?;
            let list: Value = serde_json::from_str(&output)?;
            for object in list["items"].as_array().into_iter().flatten() {
                let webhooks = object["webhooks"].as_array().into_iter().flatten();
                let of_webhooks = webhooks.flat_map(|it| it["rules"].as_array().into_iter().flatten());
                let of_policy = object["spec"]["matchConstraints"]["resourceRules"]
                    .as_array()
                    .into_iter()
                    .flatten();
                for rule in of_webhooks.chain(of_policy) {
                    for group in rule["apiGroups"].as_array().into_iter().flatten() {
                        for resource in rule["resources"].as_array().into_iter().flatten() {
                            let (group, resource) =
                                (group.as_str().unwrap_or("?"), resource.as_str().unwrap_or("?"));
                            if group == "*" || resource.starts_with('*') {
                                continue;
                            }
                            // The Gateway API is installed where somebody wants it.
                            if group == "gateway.networking.k8s.io" {
                                continue;
                            }
                            let name = format!("{group}/{resource}");
                            ensure!(
                                served.contains(&name),
                                "{} names {name}, which is not served",
                                object["metadata"]["name"]
                            );
                            checked += 1;
                        }
                    }
                }
            }
        }
        ensure!(checked > 30, "only {checked} names");
        Ok(())
    })
}

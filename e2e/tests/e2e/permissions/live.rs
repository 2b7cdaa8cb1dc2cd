//! What the ServiceAccounts may do, asked of the API server with their own tokens.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::install::NAMESPACE;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SelfSubjectRulesReview,
    SelfSubjectRulesReviewSpec,
};
use kube::{Api, Client, api::PostParams};

use super::{OPERATOR, WEBHOOK, recorded, rights};
use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    steps::tenant,
};

/// What is needed, and beside it what would be too much.
const ACCESS: &str = include_str!("access.txt");

/// What the API server says that the client may do in a namespace.
async fn rules_in(client: &Client, namespace: &str) -> Result<BTreeSet<String>> {
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    let answer = Api::<SelfSubjectRulesReview>::all(client.clone())
        .create(&PostParams::default(), &review)
        .await?;
    let status = serde_json::to_value(answer.status.context("no answer")?)?;
    ensure!(status["incomplete"] == false, "{status}");
    let all = ["resourceRules", "nonResourceRules"];
    let rules = all.iter().filter_map(|it| status[*it].as_array()).flatten();
    Ok(rules.flat_map(rights).collect())
}

#[test]
fn the_api_server_grants_what_is_on_record_and_no_more() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let (name, ns) = (unique("rights"), unique("rights-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], ""), SOON).await?;
        // What everybody may, such as discovery, is what a ServiceAccount with nothing may.
        let nobody = cluster.client_as_service_account("kube-public", "nobody").await?;
        for account in [OPERATOR, WEBHOOK] {
            let client = cluster.client_as_service_account(NAMESPACE, account).await?;
            let recorded = recorded(account)?;
            let of = |scope: &str| -> BTreeSet<String> {
                let lines = recorded.lines().filter_map(|it| it.strip_prefix(scope));
                lines.map(str::to_owned).collect()
            };
            for namespace in [NAMESPACE, &ns, "kube-system", "default"] {
                let everybody = rules_in(&nobody, namespace).await?;
                let found = rules_in(&client, namespace).await?;
                let found: BTreeSet<_> = found.difference(&everybody).cloned().collect();
                let mut wanted = of("cluster: ");
                if namespace == NAMESPACE {
                    wanted.extend(of("own namespace: "));
                }
                ensure!(!wanted.is_empty(), "nothing is on record for {account}");
                ensure!(
                    found == wanted,
                    "{account} in {namespace}: {found:#?}, not {wanted:#?}"
                );
            }
        }
        Ok(())
    })
}

#[test]
fn what_would_be_too_much_is_refused_beside_what_is_needed() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let (name, ns) = (unique("access"), unique("access-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], ""), SOON).await?;
        let mut clients = BTreeMap::new();
        for (short, account) in [("operator", OPERATOR), ("webhook", WEBHOOK)] {
            let client = cluster.client_as_service_account(NAMESPACE, account).await?;
            clients.insert(short, client);
        }
        let text = |it: &str| (!matches!(it, "" | "-")).then(|| it.replace("$T", &ns));
        let mut wrong = Vec::new();
        let rows: Vec<&str> = ACCESS.lines().filter(|it| !it.starts_with('#')).collect();
        ensure!(rows.len() > 30, "{rows:?}");
        for row in rows {
            let columns: Vec<&str> = row.split_whitespace().collect();
            let [account, expected, verb, group, resource, object, namespace] = columns[..] else {
                bail!("not a row of access.txt: {row}");
            };
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(ResourceAttributes {
                        verb: text(verb),
                        group: text(group),
                        resource: text(resource),
                        subresource: text(subresource),
                        name: text(object),
                        namespace: text(namespace),
                        ..ResourceAttributes::default()
                    }),
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            let client = clients.get(account).context("no client")?;
            let answer = Api::<SelfSubjectAccessReview>::all(client.clone())
                .create(&PostParams::default(), &review)
                .await?;
            let allowed = answer.status.context("no answer")?.allowed;
            if allowed != (expected == "yes") {
                wrong.push(row);
            }
        }
        ensure!(wrong.is_empty(), "otherwise than here: {wrong:#?}");
        Ok(())
    })
}

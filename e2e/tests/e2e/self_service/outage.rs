//! With the webhook down, or the policies new to what they know, no namespace is made that is nobody's.

use std::time::Duration;

use anyhow::{Result, ensure};
use bailiwick_e2e::{install::Component, wait::eventually};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use serde_json::json;

use super::{create, owner, plain, serving, taken, welcome};
use crate::{
    fixture::{SOON, on_own_cluster, ready_tenant, unique},
    steps::namespaces,
};

#[test]
fn with_the_webhook_down_owners_make_nothing() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let admin = cluster.client();
        let name = unique("down");
        ready_tenant(cluster, &serving(&name, 5, "", ""), SOON).await?;
        let owner = owner(cluster, &name)?;
        let all: Api<Namespace> = Api::all(owner.clone());
        let before = format!("{name}-before");
        welcome(&owner, &before).await?;
        create(&owner, &before).await?;
        taken(cluster, &name, &before).await?;

        bailiwick.crash(Component::Webhook).await?;
        let made = json!({ "name": format!("{name}-a") });
        let labelled = json!({ "name": format!("{name}-a"), "labels": { "bailiwick.dev/tenant": name } });
        for metadata in [&made, &labelled] {
            let refused = all.create(&PostParams::default(), &plain(metadata)).await;
            let text = refused.map_or_else(|error| error.to_string(), |_| "it was made".to_owned());
            ensure!(
                text.contains("failed calling webhook") && text.contains("bailiwick"),
                "{text}"
            );
        }
        // While the API server doesn't know the index's kind, nothing is stamped, and nothing is let be.
        cluster.restart_apiserver().await?;
        let refused = eventually(
            Duration::from_mins(1),
            "the API server answers",
            async || match all.create(&PostParams::default(), &plain(&made)).await {
                Ok(_) => Ok("it was made".to_owned()),
                Err(kube::Error::Api(status))
                    if status.message.contains("ailiwick") || status.message.contains("BW-") =>
                {
                    Ok(status.message.clone())
                }
                Err(error) => Err(error.into()),
            },
        )
        .await?;
        ensure!(
            refused.contains("BW-NS-SELFSERVICE")
                || refused.contains("failed calling webhook")
                || refused.contains("failed to configure policy"),
            "{refused}"
        );
        ensure!(
            namespaces(&admin).get_opt(&format!("{name}-a")).await?.is_none(),
            "it was made"
        );
        // The platform's own is nobody's business.
        create(&admin, &format!("{name}-platform")).await?;

        bailiwick.start(Component::Webhook).await?;
        bailiwick.wait_until_ready().await?;
        let after = format!("{name}-b");
        eventually(Duration::from_mins(2), "it may be made again", async || {
            Ok(create(&owner, &after).await.map(drop)?)
        })
        .await?;
        taken(cluster, &name, &after).await
    })
}

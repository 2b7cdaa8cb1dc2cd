//! The harness itself: Bailiwick's processes behave as the chart's Deployments would on a node.

use anyhow::{Result, ensure};
use bailiwick_e2e::{install::Component, kubelet::Replica, supervisor::Exit, wait::eventually};
use serde_json::json;

use crate::fixture::{SOON, on_own_cluster};

#[test]
fn replicas_are_restarted_and_rolled_out_as_on_a_node() -> Result<()> {
    on_own_cluster(async |_, bailiwick| {
        let webhook = bailiwick.webhook(0)?;
        let pid = webhook.pid();
        webhook.kill().await?;
        eventually(SOON, "the webhook is started again", async || {
            ensure!(
                webhook.is_ready() && webhook.pid() != pid,
                "{}",
                webhook.describe()
            );
            Ok(())
        })
        .await?;
        ensure!(
            webhook.restarts() == 1 && webhook.last_exit() == Some(Exit::Signal(9)),
            "{}",
            webhook.describe()
        );

        ensure!(
            webhook.stop().await? == Some(Exit::Code(0)),
            "{}",
            webhook.describe()
        );
        ensure!(!webhook.is_ready(), "ready without a process");
        webhook.start();
        webhook.wait_until_ready(SOON).await?;

        webhook.pause().await?;
        eventually(SOON, "a paused webhook isn't ready", async || {
            ensure!(!webhook.is_ready(), "{}", webhook.describe());
            Ok(())
        })
        .await?;
        webhook.resume().await?;
        webhook.wait_until_ready(SOON).await?;

        let names = |component| {
            bailiwick
                .replicas(component)
                .iter()
                .map(Replica::name)
                .collect::<Vec<_>>()
        };
        let before = names(Component::Webhook);
        bailiwick.rolling_restart(Component::Webhook).await?;
        let after = names(Component::Webhook);
        ensure!(
            after.len() == 2 && !after.iter().any(|it| before.contains(it)),
            "{before:?} {after:?}"
        );

        bailiwick.crash(Component::Webhook).await?;
        bailiwick.start(Component::Webhook).await?;
        ensure!(names(Component::Webhook) == after, "the same Pods, started again");

        bailiwick
            .upgrade(json!({ "operator": { "replicas": 1 } }))
            .await?;
        ensure!(
            bailiwick.replicas(Component::Operator).len() == 1,
            "one operator is left"
        );
        ensure!(!bailiwick.operator(0)?.metrics().await?.is_empty(), "no metrics");
        ensure!(
            bailiwick.leader().await?.name() == bailiwick.operator(0)?.name(),
            "it leads"
        );
        Ok(())
    })
}

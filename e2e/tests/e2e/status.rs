//! Whoever waits for a Tenant is told the truth: before the operator saw it, when it is right, and when it isn't.

use anyhow::{Result, ensure};
use bailiwick_e2e::{cluster::Cluster, install::Component, objects};

use crate::{
    fixture::{SOON, on_own_cluster, unique},
    steps::{condition, tenant, tenants},
};

/// `kubectl wait` for a Tenant, and whether that came true.
async fn waited(cluster: &Cluster, tenant: &str, condition: &str, timeout: &str) -> Result<bool> {
    let (resource, condition, timeout) = (
        format!("tenant/{tenant}"),
        format!("--for=condition={condition}"),
        format!("--timeout={timeout}"),
    );
    let output = cluster
        .kubectl(&["wait", &resource, &condition, &timeout])
        .await?;
    ensure!(
        output.success() || output.stderr.contains("timed out waiting for the condition"),
        "{output}"
    );
    Ok(output.success())
}

#[test]
fn a_tenant_is_not_ready_before_the_operator_saw_it() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let client = cluster.client();
        let (right, wrong) = (unique("right"), unique("wrong"));
        let (ns, foreign) = (unique("right-ns"), unique("foreign"));
        let yaml = format!("{{ apiVersion: v1, kind: Namespace, metadata: {{ name: {foreign} }} }}");
        objects::create(&client, &yaml).await?;
        bailiwick.crash(Component::Operator).await?;
        for (name, namespace) in [(&right, &ns), (&wrong, &foreign)] {
            let made = objects::create(&client, &tenant(name, &[namespace], "")).await?;
            for now in [made[0].clone(), tenants(&client).get(name).await?] {
                let status = &now.data["status"];
                ensure!(
                    status["observedGeneration"] == -1
                        && status["conditions"].as_array().is_none_or(Vec::is_empty),
                    "{status}"
                );
            }
            for condition in ["Ready", "Ready=False", "Stalled"] {
                ensure!(!waited(cluster, name, condition, "1s").await?, "{condition}");
            }
        }

        bailiwick.start(Component::Operator).await?;
        ensure!(waited(cluster, &right, "Ready", "60s").await?, "never Ready");
        for (type_, status) in [("Ready", "True"), ("Reconciling", "False"), ("Stalled", "False")] {
            condition(cluster, &right, type_, status, "AllApplied", SOON).await?;
        }
        // One that somebody has to put right is told apart from one that is still being worked on.
        ensure!(waited(cluster, &wrong, "Stalled", "60s").await?, "never Stalled");
        for (type_, status) in [("Ready", "False"), ("Reconciling", "False"), ("Stalled", "True")] {
            condition(cluster, &wrong, type_, status, "NamespaceNotOwned", SOON).await?;
        }
        ensure!(
            !waited(cluster, &wrong, "Ready", "1s").await?,
            "Ready and Stalled"
        );
        Ok(())
    })
}

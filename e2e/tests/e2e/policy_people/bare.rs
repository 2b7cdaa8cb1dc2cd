//! The same where the API server fills in nothing, and where no operator runs.

use anyhow::{Result, ensure};
use bailiwick_e2e::{
    checkout,
    cluster::{Cluster, ClusterOptions},
    install::{Bailiwick, InstallOptions, NAMESPACE, RELEASE},
    wait::eventually,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use super::{
    APPROVALS, AUTHOR, POLICIES, approval, author, known, pass, policies, policy, refused, revision,
    revisions, step,
};
use crate::{
    fixture::{SOON, on_bare_cluster},
    requests::{Callers, OPERATOR},
    steps::TENANT_LABEL,
};

#[test]
fn where_nobody_is_filled_in_people_name_themselves() -> Result<()> {
    on_bare_cluster(ClusterOptions::default(), async |cluster| {
        let options = InstallOptions {
            values: json!({ "podLabelStamping": false }),
            ..InstallOptions::default()
        };
        let _bailiwick = Bailiwick::install(cluster, options).await?;
        let mut callers = Callers::new(cluster);
        let mut signed = policy("signed", "a");
        signed["metadata"]["annotations"] = json!({ AUTHOR: "platform-admin" });
        known(cluster, &signed, || approval("own", Some("platform-admin"))).await?;
        let own = approval("own", Some("platform-admin"));
        let all = policies(&cluster.client());

        let mut forged = signed.clone();
        forged["metadata"]["annotations"] = json!({ AUTHOR: "alice" });
        for (object, found) in [(policy("signed", "a"), "is missing"), (forged, "is \"alice\"")] {
            let told = refused(
                &mut callers,
                &step("platform-admin", "create", POLICIES, object),
                "BW-POLICY-AUTHOR",
            )
            .await?;
            ensure!(
                told.contains(found) && told.contains("it must be \"platform-admin\""),
                "{told}"
            );
        }
        ensure!(all.get_opt("signed").await?.is_none(), "it was stored");
        pass(&mut callers, &step("platform-admin", "create", POLICIES, signed)).await?;
        let path = format!("{POLICIES}/signed");
        let mut change = json!({ "spec": { "rego": "package bailiwick # b" } });
        refused(
            &mut callers,
            &step("bob", "merge", &path, change.clone()),
            "BW-POLICY-AUTHOR",
        )
        .await?;
        let rollout = json!({ "spec": { "rollout": { "mode": "Shadow" } } });
        pass(&mut callers, &step("bob", "merge", &path, rollout)).await?;
        change["metadata"]["annotations"] = json!({ AUTHOR: "bob" });
        pass(&mut callers, &step("bob", "merge", &path, change)).await?;
        ensure!(author(&all.get("signed").await?) == Some("bob"));

        for (approver, found) in [(None, "is missing"), (Some("alice"), "is \"alice\"")] {
            let new = step("platform-admin", "create", APPROVALS, approval("own", approver));
            let told = refused(&mut callers, &new, "BW-POLICY-APPROVER").await?;
            ensure!(told.contains(found), "{told}");
        }
        pass(&mut callers, &step("platform-admin", "create", APPROVALS, own)).await?;
        Ok(())
    })
}

/// No operator runs here, so that nobody but this test writes what is the operator's.
#[test]
fn without_an_operator_its_part_stays_and_ends_with_the_namespace() -> Result<()> {
    on_bare_cluster(ClusterOptions::default(), async |cluster| {
        upgrades_leave_the_rules_of_policies_alone(cluster).await?;
        revisions_end_with_their_namespace(cluster).await
    })
}

async fn upgrades_leave_the_rules_of_policies_alone(cluster: &Cluster) -> Result<()> {
    let client = cluster.client();
    let chart = checkout::root().join("charts/bailiwick").display().to_string();
    let release = [RELEASE, &chart, "-n", NAMESPACE];
    let install = [&["install"], &release[..], &["--create-namespace"]].concat();
    cluster.helm(&install).await?.ok()?;
    let mut callers = Callers::new(cluster);
    let namespace = json!({ "metadata": { "name": "acme-dev", "labels": { TENANT_LABEL: "acme", "bailiwick.dev/pod-label": "Verify" } } });
    pass(
        &mut callers,
        &step("operator", "create", "/api/v1/namespaces", namespace),
    )
    .await?;
    let config = json!({ "metadata": { "name": "c" } });
    let new = step(
        "alice",
        "create",
        "/api/v1/namespaces/acme-dev/configmaps",
        config,
    );
    callers.send(&new, "dryRun=All", &[]).await??;

    let path = format!("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{RELEASE}");
    let rules = json!([{
        "apiGroups": [""], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["configmaps"], "scope": "Namespaced",
    }]);
    let apply = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": RELEASE },
        "webhooks": [{ "name": "policies.bailiwick.dev", "rules": rules }],
    });
    let operator = cluster.client_as(OPERATOR, &[])?;
    let unforced = http::Request::patch(format!("{path}?fieldManager=bailiwick-operator"))
        .header("content-type", "application/apply-patch+yaml")
        .body(apply.to_string().into_bytes())?;
    operator.request::<Value>(unforced).await?;
    let asked = async |callers: &mut Callers<'_>| {
        eventually(SOON, "the webhook is asked", async || {
                let answer = callers.send(&new, "dryRun=All", &[]).await?;
                let is_asked = matches!(&answer, Err(kube::Error::Api(status))
                    if status.code == 500 && status.message.contains("failed calling webhook \"policies.bailiwick.dev\""));
                ensure!(is_asked, "{answer:?}");
                Ok(())
            })
            .await
    };
    asked(&mut callers).await?;
    // What isn't listed passes without it, and so does the same outside of tenants.
    let secret = step(
        "alice",
        "create",
        "/api/v1/namespaces/acme-dev/secrets",
        json!({ "metadata": { "name": "s" } }),
    );
    callers.send(&secret, "dryRun=All", &[]).await??;
    let outside = step(
        "alice",
        "create",
        "/api/v1/namespaces/default/configmaps",
        new.body.clone(),
    );
    callers.send(&outside, "dryRun=All", &[]).await??;

    // An upgrade neither takes the rules away nor trips over them, whichever way helm writes.
    for (values, way) in [("webhook.replicas=1", "true"), ("webhook.replicas=3", "false")] {
        let upgrade = [
            &["upgrade"],
            &release[..],
            &["--set", values, "--server-side", way],
        ]
        .concat();
        cluster.helm(&upgrade).await?.ok()?;
        let now: Value = client
            .request(http::Request::get(&path).body(Vec::new())?)
            .await?;
        let entries = now["webhooks"].as_array().cloned().unwrap_or_default();
        let entry = entries.iter().find(|it| it["name"] == "policies.bailiwick.dev");
        ensure!(entry.is_some_and(|it| it["rules"] == rules), "{now}");
        asked(&mut callers).await?;
    }
    Ok(())
}

async fn revisions_end_with_their_namespace(cluster: &Cluster) -> Result<()> {
    let mut callers = Callers::new(cluster);
    let ours = json!({ "bailiwick.dev/policy": "some" });
    pass(
        &mut callers,
        &step("operator", "create", revisions(), revision("r", &ours)),
    )
    .await?;
    let gone = step(
        "system:serviceaccount:kube-system:namespace-controller",
        "delete",
        format!("{}/r", revisions()),
        Value::Null,
    );
    refused(&mut callers, &gone, "BW-RECORD").await?;
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    namespaces.delete(NAMESPACE, &DeleteParams::default()).await?;
    eventually(SOON, "the namespace has ended", async || {
        let left = namespaces.get_opt(NAMESPACE).await?;
        ensure!(left.is_none(), "{left:?}");
        Ok(())
    })
    .await
}

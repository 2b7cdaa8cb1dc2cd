//! Certificates rotate under load, and no call fails; those that somebody else makes are followed just so.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{
    cluster::ClusterOptions,
    install::{Bailiwick, Component, InstallOptions},
    objects,
    wait::eventually,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::PostParams;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    fixture::{SOON, on_bare_cluster, on_own_cluster, ready_tenant, unique},
    steps::{counted, tenant},
};

/// A request that the webhook has to be asked about, over and over; gives how many passed.
async fn requests(client: kube::Client, ns: String, stop: CancellationToken) -> Result<usize> {
    let mut passed = 0;
    while !stop.is_cancelled() {
        let name = unique("role");
        let role = format!(
            "{{ apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{ name: {name}, namespace: {ns} }}, rules: [{{ apiGroups: [''], resources: [pods], verbs: [get] }}] }}"
        );
        objects::create(&client, &role)
            .await
            .with_context(|| format!("after {passed} requests"))?;
        passed += 1;
    }
    Ok(passed)
}

#[test]
fn ca_and_leaf_rotate_under_load_without_a_failed_request() -> Result<()> {
    on_bare_cluster(ClusterOptions::default(), async |cluster| {
        let values = json!({ "certificates": { "caLifetimeSeconds": 60, "leafLifetimeSeconds": 12 } });
        let options = InstallOptions {
            values,
            ..InstallOptions::default()
        };
        let _bailiwick = Bailiwick::install(cluster, options).await?;
        let (name, ns) = (unique("certs"), unique("certs-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], ""), SOON).await?;
        let secrets: Api<Secret> = Api::namespaced(cluster.client(), "bailiwick-system");
        let issuer = async || {
            let secret = secrets.get("bailiwick-webhook-tls").await?;
            secret
                .data
                .and_then(|it| it.get("ca.crt").cloned())
                .context("no ca.crt")
        };
        let first = issuer().await?;
        let stop = CancellationToken::new();
        let load = tokio::spawn(requests(cluster.client(), ns.clone(), stop.clone()));
        let rotated = eventually(
            Duration::from_mins(2),
            "a leaf of another CA serves",
            async || {
                ensure!(!load.is_finished(), "a request failed");
                ensure!(issuer().await? != first, "still the first CA");
                Ok(())
            },
        )
        .await;
        // A little longer, on the new one alone.
        if rotated.is_ok() {
            let second = issuer().await?;
            let leaf = async || {
                Ok::<_, anyhow::Error>(
                    secrets
                        .get("bailiwick-webhook-tls")
                        .await?
                        .metadata
                        .resource_version,
                )
            };
            let now = leaf().await?;
            eventually(SOON, "the next leaf serves", async || {
                ensure!(!load.is_finished() && leaf().await? != now, "not yet");
                Ok(())
            })
            .await?;
            ensure!(second != first, "the first CA came back");
        }
        stop.cancel();
        let passed = load.await??;
        rotated?;
        ensure!(passed > 50, "only {passed} requests were made");
        Ok(())
    })
}

#[test]
fn a_rolling_restart_of_the_webhook_fails_no_request_and_misses_none() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let (name, ns) = (unique("roll"), unique("roll-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], ""), SOON).await?;
        let stop = CancellationToken::new();
        let load = tokio::spawn(requests(cluster.client(), ns.clone(), stop.clone()));
        bailiwick.rolling_restart(Component::Webhook).await?;
        stop.cancel();
        let passed = load.await??;
        ensure!(passed > 20, "only {passed} requests were made");
        Ok(())
    })
}

#[test]
fn a_replica_that_the_api_server_would_not_trust_is_not_ready() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client());
        let bundles = async || {
            let configuration = configurations.get("bailiwick").await?;
            let bundles = configuration.webhooks.into_iter().flatten();
            Ok::<_, anyhow::Error>(bundles.map(|it| it.client_config.ca_bundle).collect::<Vec<_>>())
        };
        let ours = bundles().await?;
        let webhook = bailiwick.webhook(0)?;
        let answer = webhook.get("/readyz").await?;
        ensure!(answer.status == 200, "{answer:?}");

        // Nobody puts it back meanwhile.
        bailiwick.crash(Component::Operator).await?;
        let mut foreign = configurations.get("bailiwick").await?;
        let roots: Api<ConfigMap> = Api::namespaced(cluster.client(), "kube-system");
        let root = roots.get("kube-root-ca.crt").await?.data;
        let root = root.and_then(|mut it| it.remove("ca.crt")).context("no ca.crt")?;
        let last = foreign
            .webhooks
            .iter_mut()
            .flatten()
            .last()
            .context("no webhooks")?;
        last.client_config.ca_bundle = Some(ByteString(root.into_bytes()));
        configurations
            .replace("bailiwick", &PostParams::default(), &foreign)
            .await?;
        eventually(SOON, "the replica is not ready", async || {
            let answer = webhook.get("/readyz").await?;
            ensure!(
                answer.status == 503
                    && answer
                        .body
                        .contains("caBundle: ValidatingWebhookConfiguration 'bailiwick'"),
                "{answer:?}"
            );
            Ok(())
        })
        .await?;

        // The operator puts it back, and the replica is ready again.
        bailiwick.start(Component::Operator).await?;
        eventually(
            SOON,
            "the caBundle is put back and the replica ready",
            async || {
                ensure!(bundles().await? == ours, "still foreign");
                let answer = webhook.get("/readyz").await?;
                ensure!(answer.status == 200, "{answer:?}");
                Ok(())
            },
        )
        .await
    })
}

/// The Secret that somebody else fills, as cert-manager does, with a new leaf that ends with this year.
fn foreign_leaf(ca: &CertifiedIssuer<'_, KeyPair>, year: i32) -> Result<Value> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()])?;
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let leaf = params.signed_by(&key, ca)?;
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": "bailiwick-webhook-tls", "namespace": "bailiwick-system" },
        "stringData": { "tls.crt": leaf.pem(), "tls.key": key.serialize_pem(), "ca.crt": ca.pem() },
    }))
}

#[test]
fn certificates_of_another_authority_are_served_and_followed() -> Result<()> {
    on_bare_cluster(ClusterOptions::default(), async |cluster| {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let client = cluster.client();
        objects::create(
            &client,
            "{ apiVersion: v1, kind: Namespace, metadata: { name: bailiwick-system } }",
        )
        .await?;
        objects::create(&client, &foreign_leaf(&ca, 2090)?.to_string()).await?;
        let bundle = serde_json::to_value(ByteString(ca.pem().into_bytes()))?;
        let options = InstallOptions {
            values: json!({ "webhook": { "caBundle": bundle } }),
            ..InstallOptions::default()
        };
        let bailiwick = Bailiwick::install(cluster, options).await?;
        let (name, ns) = (unique("foreign"), unique("foreign-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], ""), SOON).await?;
        objects::denied(
            objects::create(&client, &tenant(&unique("second"), &[&ns], "")).await,
            "BW-TENANT-NAMESPACE",
        )?;

        let secrets: Api<Secret> = Api::namespaced(client.clone(), "bailiwick-system");
        let renewed: Secret = serde_json::from_value(foreign_leaf(&ca, 2091)?)?;
        secrets
            .replace("bailiwick-webhook-tls", &PostParams::default(), &renewed)
            .await?;
        let webhook = bailiwick.webhook(0)?;
        eventually(SOON, "the renewed leaf serves", async || {
            let metrics = webhook.metrics().await?;
            let end = counted(
                &metrics,
                "bailiwick_webhook_certificate_expiration_timestamp_seconds",
            );
            // The first second of 2091.
            ensure!((end - 3_818_448_000.0).abs() < 1.0, "{end}");
            Ok(())
        })
        .await?;
        objects::denied(
            objects::create(&client, &tenant(&unique("third"), &[&ns], "")).await,
            "BW-TENANT-NAMESPACE",
        )?;
        // The operator made no authority of its own, and left alone what isn't its.
        ensure!(secrets.get_opt("bailiwick-webhook-ca").await?.is_none());
        let now = secrets.get("bailiwick-webhook-tls").await?.data;
        let certificate = |it: &Secret| it.string_data.as_ref().and_then(|it| it.get("tls.crt").cloned());
        let served = now.and_then(|it| it.get("tls.crt").map(|it| it.0.clone()));
        ensure!(served == certificate(&renewed).map(String::into_bytes));
        Ok(())
    })
}

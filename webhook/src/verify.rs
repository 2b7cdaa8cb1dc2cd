//! `bailiwick-webhook verify`: asks the installed webhook as the API server does.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use bailiwick_runtime::{client, tls};
use http::Request;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::{Api, Client, Config};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};

use crate::args::VerifyArgs;

/// The rule of the verdict that has to be a denial.
const RULE: &str = "BW-TENANT-INVALID";

/// Gets one verdict that has to be an allowance and one that has to be a denial, and says so.
///
/// The address is the Service's and the CA is the live configuration's, so a success shows that kube-proxy, certificates and
/// decisions are as the API server needs them.
///
/// # Errors
/// When the configuration has no caBundle, when the webhook can't be reached or isn't trusted, and when a verdict is
/// another than expected.
#[allow(clippy::print_stdout, reason = "a command says what it found")]
pub async fn verify(args: &VerifyArgs) -> Result<()> {
    tls::install_provider()?;
    let name = &args.webhook_configuration;
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client::client(client::config().await?)?);
    let configuration = api
        .get(name)
        .await
        .with_context(|| format!("get ValidatingWebhookConfiguration {name}"))?;
    let message = check(&trusting(&configuration, args)?).await?;
    println!(
        "The webhook at {}:{} is trusted and decides: it allowed a Pod, and refused a Tenant: {message}",
        args.host, args.port
    );
    Ok(())
}

/// Gets both verdicts, and gives the message of the denial.
async fn check(webhook: &Client) -> Result<String> {
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "verify", "namespace": "default" } });
    let answer = ask(webhook, "", "pods", "Pod", Some("default"), pod).await?;
    ensure!(
        answer["allowed"] == true,
        "a Pod outside all tenants was refused: {answer}"
    );
    let tenant = json!({
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "verify" },
        "spec": { "namespaces": { "declared": [{ "name": "kube-system" }] } },
    });
    let answer = ask(webhook, "bailiwick.dev", "tenants", "Tenant", None, tenant).await?;
    let message = answer["status"]["message"].as_str().unwrap_or_default();
    ensure!(
        answer["allowed"] == false && message.contains(RULE),
        "a Tenant that declares kube-system was not refused by {RULE}: {answer}"
    );
    Ok(message.to_owned())
}

/// A client of the webhook that trusts whom the API server trusts.
fn trusting(configuration: &ValidatingWebhookConfiguration, args: &VerifyArgs) -> Result<Client> {
    let webhooks = configuration.webhooks.iter().flatten();
    let mut bundles = webhooks.filter_map(|it| it.client_config.ca_bundle.as_ref());
    let Some(bundle) = bundles.find(|it| !it.0.is_empty()) else {
        bail!(
            "ValidatingWebhookConfiguration {} has no caBundle yet: is an operator or cert-manager running?",
            args.webhook_configuration
        );
    };
    let roots = CertificateDer::pem_slice_iter(&bundle.0).map(|it| it.map(|it| it.to_vec()));
    let address = SocketAddr::new(args.host, args.port);
    let mut config = Config::new(format!("https://{address}").parse()?);
    config.root_cert = Some(roots.collect::<Result<_, _>>().context("read the caBundle")?);
    config.tls_server_name = Some(args.server_name.clone());
    // Whoever asks wants to know now.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// The `response` to a review of a creation.
async fn ask(
    webhook: &Client,
    group: &str,
    resource: &str,
    kind: &str,
    namespace: Option<&str>,
    object: Value,
) -> Result<Value> {
    let version = if group.is_empty() { "v1" } else { "v1alpha1" };
    let mut request = json!({
        "uid": "verify",
        "kind": { "group": group, "version": version, "kind": kind },
        "resource": { "group": group, "version": version, "resource": resource },
        "name": "verify",
        "operation": "CREATE",
        "userInfo": { "username": "bailiwick:verify", "groups": ["system:authenticated"] },
        "object": object,
        "dryRun": true,
    });
    if let Some(namespace) = namespace {
        request["namespace"] = json!(namespace);
    }
    let review =
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request });
    let request = Request::post("/validate?timeout=3s")
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&review)?)?;
    let mut answer: Value = webhook
        .request(request)
        .await
        .context("ask the webhook through its Service, trusting the caBundle")?;
    let response = answer["response"].take();
    ensure!(
        response["uid"] == "verify",
        "not the answer to the review: {response}"
    );
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::Arc;

    use axum::{Router, routing::post};
    use bailiwick_runtime::serve;
    use bailiwick_runtime::tls::{HotLeaf, Leaf, server_config};
    use bytes::Bytes;
    use k8s_openapi::ByteString;
    use k8s_openapi::api::admissionregistration::v1::{ValidatingWebhook, WebhookClientConfig};
    use rcgen::{CertifiedKey, KeyPair};
    use tokio_util::sync::CancellationToken;

    use super::*;

    const SERVER: &str = "webhook.test";

    /// A webhook that judges reviews like this. It ends with the test's runtime.
    async fn webhook(certificate: &CertifiedKey<KeyPair>, judge: fn(&Value) -> Value) -> VerifyArgs {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let leaf = Arc::new(HotLeaf::default());
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let (pem, key) = (certificate.cert.pem(), certificate.signing_key.serialize_pem());
        leaf.set(&Leaf::from_pem(pem.as_bytes(), key.as_bytes(), i64::try_from(now).unwrap()).unwrap());
        let tls = Arc::new(server_config(leaf).unwrap());
        let answer = move |body: Bytes| async move {
            let review: Value = serde_json::from_slice(&body).unwrap();
            let mut response = judge(&review["request"]);
            response["uid"] = review["request"]["uid"].clone();
            json!({ "response": response }).to_string()
        };
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let router = Router::new().route("/validate", post(answer));
        tokio::spawn(serve::serve(address, tls, router, CancellationToken::new()));
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
        VerifyArgs {
            host: address.ip(),
            port: address.port(),
            server_name: SERVER.to_owned(),
            webhook_configuration: "bailiwick".to_owned(),
        }
    }

    fn certificate() -> CertifiedKey<KeyPair> {
        rcgen::generate_simple_self_signed([SERVER.to_owned()]).unwrap()
    }

    fn configuration(bundle: Option<&str>) -> ValidatingWebhookConfiguration {
        let client_config = WebhookClientConfig {
            ca_bundle: bundle.map(|it| ByteString(it.as_bytes().to_vec())),
            ..WebhookClientConfig::default()
        };
        let webhook = ValidatingWebhook {
            client_config,
            ..ValidatingWebhook::default()
        };
        ValidatingWebhookConfiguration {
            webhooks: Some(vec![webhook]),
            ..ValidatingWebhookConfiguration::default()
        }
    }

    fn as_it_should(request: &Value) -> Value {
        if request["kind"]["kind"] == "Tenant" {
            json!({ "allowed": false, "status": { "message": format!("{RULE}: no") } })
        } else {
            json!({ "allowed": true })
        }
    }

    async fn verdict(judge: fn(&Value) -> Value) -> Result<String> {
        let certificate = certificate();
        let args = webhook(&certificate, judge).await;
        check(&trusting(&configuration(Some(&certificate.cert.pem())), &args)?).await
    }

    #[tokio::test]
    async fn two_right_verdicts_from_a_trusted_webhook_will_do() {
        assert_eq!(verdict(as_it_should).await.unwrap(), format!("{RULE}: no"));
    }

    #[tokio::test]
    async fn wrong_verdicts_are_told() {
        let all = verdict(|_| json!({ "allowed": true })).await.unwrap_err();
        assert!(all.to_string().contains("was not refused by"), "{all}");
        let other = |request: &Value| {
            let mut response = as_it_should(request);
            response["status"] = json!({ "message": "BW-ANOTHER: no" });
            response
        };
        let other = verdict(other).await.unwrap_err();
        assert!(other.to_string().contains("was not refused by"), "{other}");
        let none = verdict(|_| json!({ "allowed": false })).await.unwrap_err();
        assert!(none.to_string().contains("a Pod outside all tenants"), "{none}");
    }

    #[tokio::test]
    async fn a_webhook_that_the_ca_bundle_doesnt_trust_is_told() {
        let args = webhook(&certificate(), as_it_should).await;
        let another = configuration(Some(&certificate().cert.pem()));
        let error = check(&trusting(&another, &args).unwrap()).await.unwrap_err();
        let text = format!("{error:?}");
        assert!(
            text.contains("trusting the caBundle") && text.contains("certificate"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_missing_or_broken_ca_bundle_is_told() {
        let args = webhook(&certificate(), as_it_should).await;
        for bundle in [None, Some("")] {
            let error = trusting(&configuration(bundle), &args).err().unwrap();
            assert!(error.to_string().contains("has no caBundle yet"), "{error}");
        }
        let broken = configuration(Some("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----"));
        let error = trusting(&broken, &args).err().unwrap();
        assert!(error.to_string().contains("read the caBundle"), "{error}");
    }
}

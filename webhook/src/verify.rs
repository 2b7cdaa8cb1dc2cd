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
    let webhook = webhook(args).await?;
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "verify", "namespace": "default" } });
    let answer = ask(&webhook, "", "pods", "Pod", Some("default"), pod).await?;
    ensure!(
        answer["allowed"] == true,
        "a Pod outside all tenants was refused: {answer}"
    );
    let tenant = json!({
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "verify" },
        "spec": { "namespaces": { "declared": [{ "name": "kube-system" }] } },
    });
    let answer = ask(&webhook, "bailiwick.dev", "tenants", "Tenant", None, tenant).await?;
    let message = answer["status"]["message"].as_str().unwrap_or_default();
    ensure!(
        answer["allowed"] == false && message.contains(RULE),
        "a Tenant that declares kube-system was not refused by {RULE}: {answer}"
    );
    println!(
        "The webhook at {}:{} is trusted and decides: it allowed a Pod, and refused a Tenant: {message}",
        args.host, args.port
    );
    Ok(())
}

/// A client of the webhook that trusts whom the API server trusts.
async fn webhook(args: &VerifyArgs) -> Result<Client> {
    let name = &args.webhook_configuration;
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client::client(client::config().await?)?);
    let configuration = api
        .get(name)
        .await
        .with_context(|| format!("get ValidatingWebhookConfiguration {name}"))?;
    let webhooks = configuration.webhooks.unwrap_or_default();
    let bundle = webhooks.into_iter().find_map(|it| it.client_config.ca_bundle);
    let Some(bundle) = bundle.filter(|it| !it.0.is_empty()) else {
        bail!(
            "ValidatingWebhookConfiguration {name} has no caBundle yet: is an operator or cert-manager running?"
        );
    };
    let roots = CertificateDer::pem_slice_iter(&bundle.0).map(|it| it.map(|it| it.to_vec()));
    let address = SocketAddr::new(args.host, args.port);
    let mut config = Config::new(format!("https://{address}").parse()?);
    config.root_cert = Some(roots.collect::<Result<_, _>>().context("read the caBundle")?);
    config.tls_server_name = Some(args.server_name.clone());
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
    let mut answer: Value = webhook.request(request).await.context("ask the webhook")?;
    let response = answer["response"].take();
    ensure!(
        response["uid"] == "verify",
        "not the answer to the review: {response}"
    );
    Ok(response)
}

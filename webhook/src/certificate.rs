//! The serving certificate: follows its Secret, and tells whether the API server would trust it.

use std::sync::Arc;
use std::time::Duration;

use bailiwick_runtime::admin::Readiness;
use bailiwick_runtime::tls::{HotLeaf, Leaf};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::{self, Lookup, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::args::WebhookArgs;
use crate::metrics::Metrics;
use crate::{CA_BUNDLE, CERTIFICATE};

/// How often the clock is looked at: a certificate also ends when nothing changes.
const CLOCK: Duration = Duration::from_secs(10);

/// Follows the Secret and the webhook configuration for ever.
///
/// # Errors
/// When a watch ends, which it never should.
pub(crate) async fn follow(
    client: Client,
    args: WebhookArgs,
    leaf: Arc<HotLeaf>,
    readiness: Readiness,
    metrics: Metrics,
) -> anyhow::Result<()> {
    let changed = Arc::new(Notify::new());
    let mut tasks = JoinSet::new();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &args.common.namespace);
    let secret = follow_one(&mut tasks, secrets, &args.common.tls_secret, &changed);
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client);
    let configuration = follow_one(
        &mut tasks,
        configurations,
        &args.common.webhook_configuration,
        &changed,
    );
    let mut in_use: Option<Pair> = None;
    loop {
        let now = Timestamp::now().as_second();
        let problem = renew(&secret, &mut in_use, &leaf, &metrics, now);
        readiness.set(
            CERTIFICATE,
            problem.map(|it| format!("Secret '{}': {it}", args.common.tls_secret)),
        );
        let problem = match &in_use {
            None => Some("no certificate yet".to_owned()),
            Some(pair) => untrusted(&configuration, &pair.ca),
        };
        readiness.set(
            CA_BUNDLE,
            problem.map(|it| {
                format!(
                    "ValidatingWebhookConfiguration '{}': {it}",
                    args.common.webhook_configuration
                )
            }),
        );
        tokio::select! {
            () = changed.notified() => {}
            () = tokio::time::sleep(CLOCK) => {}
            _ = tasks.join_next() => anyhow::bail!("a watch ended"),
        }
    }
}

/// The Secret's contents as they are in use.
struct Pair {
    certificate: Vec<u8>,
    ca: Vec<u8>,
    not_after: i64,
}

/// Puts the Secret's certificate in use if it is a new one. What can't be used is not used; the old one stays.
fn renew(
    secret: &Store<Secret>,
    in_use: &mut Option<Pair>,
    leaf: &HotLeaf,
    metrics: &Metrics,
    now: i64,
) -> Option<String> {
    let state = secret.state();
    let data = state.first().and_then(|it| it.data.as_ref());
    let read = |key: &str| {
        data.and_then(|it| it.get(key))
            .map(|ByteString(bytes)| bytes.as_slice())
    };
    let problem = match (read("tls.crt"), read("tls.key"), read("ca.crt")) {
        (Some(certificate), Some(key), Some(ca)) => {
            let is_known = in_use
                .as_ref()
                .is_some_and(|it| it.certificate == certificate && it.ca == ca);
            if is_known {
                None
            } else {
                match Leaf::from_pem(certificate, key, now) {
                    Ok(new) => {
                        leaf.set(&new);
                        metrics.certificate_expiry.set(new.not_after);
                        tracing::info!(not_after = new.not_after, "A new certificate is in use");
                        *in_use = Some(Pair {
                            certificate: certificate.to_vec(),
                            ca: ca.to_vec(),
                            not_after: new.not_after,
                        });
                        None
                    }
                    Err(error) => Some(error.to_string()),
                }
            }
        }
        _ => Some("tls.crt, tls.key and ca.crt are not all there yet".to_owned()),
    };
    match in_use {
        Some(pair) if now >= pair.not_after => Some("the certificate has ended".to_owned()),
        // The certificate in use is still good; what is wrong with the next one is logged, and is no reason to
        // leave the Service.
        Some(_) => {
            if let Some(problem) = problem {
                tracing::error!(
                    problem,
                    "The Secret's certificate can't be used; the one before stays in use"
                );
            }
            None
        }
        None => problem,
    }
}

/// Why the API server would not trust this replica, if so.
fn untrusted(configuration: &Store<ValidatingWebhookConfiguration>, ca: &[u8]) -> Option<String> {
    let state = configuration.state();
    let Some(configuration) = state.first() else {
        return Some("does not exist yet".to_owned());
    };
    let webhooks = configuration.webhooks.as_deref().unwrap_or_default();
    if webhooks.is_empty() {
        return Some("has no webhooks: nobody is asked".to_owned());
    }
    let issuers: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(ca)
        .filter_map(Result::ok)
        .collect();
    for webhook in webhooks {
        let bundle = webhook
            .client_config
            .ca_bundle
            .as_ref()
            .map(|it| it.0.as_slice())
            .unwrap_or_default();
        let trusted: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(bundle)
            .filter_map(Result::ok)
            .collect();
        if !issuers.iter().any(|it| trusted.contains(it)) {
            return Some(format!(
                "webhook '{}' has no caBundle with this replica's issuer yet",
                webhook.name
            ));
        }
    }
    None
}

fn follow_one<K>(tasks: &mut JoinSet<()>, api: Api<K>, name: &str, changed: &Arc<Notify>) -> Store<K>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    K: Send + Sync + 'static,
{
    let (store, writer) = reflector::store::<K>();
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let stream = reflector::reflector(writer, watcher(api, config));
    let changed = changed.clone();
    tasks.spawn(async move {
        let stream = stream
            .inspect_err(|error| {
                tracing::warn!(%error, kind = %<K as Resource>::kind(&()), "A watch failed; it begins again");
            })
            .default_backoff();
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            if event.is_ok() {
                changed.notify_one();
            }
        }
    });
    store
}

#[cfg(test)]
mod tests;

//! The webhook's certificates: a CA of our own, leaves that it signs, and the caBundle that makes the API server
//! trust them. Nothing has to be restarted, and there is no moment at which a leaf in use is not trusted.
//!
//! What to do next is a pure function of what is there ([`plan`]); this module reads, does one step, and looks
//! again. The clock is looked at, never a timer trusted: a machine may have slept.

mod pki;
mod plan;

use std::collections::BTreeMap;
use std::time::Duration;

use bailiwick_crds::labels;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::args::OperatorArgs;
use crate::metrics::Metrics;
use plan::{Authority, Lifetimes, State, Step, next_step};

/// The field manager of the caBundle alone: the chart owns the rest of the webhook configuration.
const CA_BUNDLE_MANAGER: &str = "bailiwick-operator-cabundle";
/// How long to wait before looking again when there is nothing to do, and after a failure.
const LOOK: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the certificates good, for ever.
///
/// # Errors
/// Never; the signature is that of all tasks.
pub(crate) async fn keep(client: Client, args: OperatorArgs, metrics: Metrics) -> anyhow::Result<()> {
    let keeper = Keeper {
        secrets: Api::namespaced(client.clone(), &args.common.namespace),
        configurations: Api::all(client),
        lifetimes: Lifetimes {
            ca: args.ca_lifetime_seconds,
            leaf: args.leaf_lifetime_seconds,
        },
        args,
        metrics,
    };
    loop {
        let wait = match keeper.step().await {
            Ok(Step::Nothing) => LOOK,
            Ok(step) => {
                tracing::info!(step = step.as_str(), "The webhook's certificates moved on");
                Duration::ZERO
            }
            Err(error) => {
                tracing::warn!(%error, "The webhook's certificates could not be looked after");
                RETRY
            }
        };
        tokio::time::sleep(wait).await;
    }
}

struct Keeper {
    secrets: Api<Secret>,
    configurations: Api<ValidatingWebhookConfiguration>,
    lifetimes: Lifetimes,
    args: OperatorArgs,
    metrics: Metrics,
}

impl Keeper {
    async fn step(&self) -> anyhow::Result<Step> {
        let now = Timestamp::now().as_second();
        let ca_secret = self.secrets.get_opt(&self.args.ca_secret).await?;
        let tls_secret = self.secrets.get_opt(&self.args.common.tls_secret).await?;
        let configuration = self
            .configurations
            .get_opt(&self.args.common.webhook_configuration)
            .await?;
        let state = State {
            authority: authority(ca_secret.as_ref()),
            leaf: tls_secret.as_ref().and_then(leaf),
            bundles: configuration.as_ref().map(bundles),
            names: self.args.certificate_names.clone(),
        };
        if let Some(current) = &state.authority.current {
            self.metrics.ca_expiry.set(current.not_after);
        }
        let step = next_step(&state, self.lifetimes, now);
        match &step {
            Step::Nothing => {}
            Step::WriteAuthority(change) => {
                let authority = pki::change(&state.authority, *change, self.lifetimes, now)?;
                self.write(&self.args.ca_secret, ca_secret, authority.to_data())
                    .await?;
            }
            Step::PublishBundle(bundle) => self.publish(configuration.as_ref(), bundle).await?,
            Step::IssueLeaf => {
                let data = pki::leaf(&state.authority, &state.names, self.lifetimes, now)?;
                self.write(&self.args.common.tls_secret, tls_secret, data).await?;
            }
        }
        Ok(step)
    }

    /// Writes a Secret on the version that was read: of two writers one gets a conflict.
    async fn write(
        &self,
        name: &str,
        old: Option<Secret>,
        data: BTreeMap<String, Vec<u8>>,
    ) -> anyhow::Result<()> {
        let params = PostParams {
            field_manager: Some(labels::OPERATOR.to_owned()),
            ..PostParams::default()
        };
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(
                    [(
                        "app.kubernetes.io/managed-by".to_owned(),
                        labels::OPERATOR.to_owned(),
                    )]
                    .into(),
                ),
                resource_version: old.as_ref().and_then(|it| it.metadata.resource_version.clone()),
                ..ObjectMeta::default()
            },
            data: Some(
                data.into_iter()
                    .map(|(key, value)| (key, ByteString(value)))
                    .collect(),
            ),
            type_: old
                .as_ref()
                .map_or_else(|| Some("Opaque".to_owned()), |it| it.type_.clone()),
            ..Secret::default()
        };
        self.metrics
            .wrote("Secret", if old.is_some() { "replace" } else { "create" });
        match old {
            Some(_) => self.secrets.replace(name, &params, &secret).await?,
            None => self.secrets.create(&params, &secret).await?,
        };
        Ok(())
    }

    /// Sets the caBundle of each webhook, and nothing else of them.
    async fn publish(
        &self,
        configuration: Option<&ValidatingWebhookConfiguration>,
        bundle: &str,
    ) -> anyhow::Result<()> {
        let name = &self.args.common.webhook_configuration;
        let webhooks = configuration
            .and_then(|it| it.webhooks.as_ref())
            .into_iter()
            .flatten();
        let webhooks: Vec<_> = webhooks
            .map(|it| json!({"name": it.name, "clientConfig": {"caBundle": ByteString(bundle.as_bytes().to_vec())}}))
            .collect();
        let applied = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": webhooks,
        });
        let params = PatchParams::apply(CA_BUNDLE_MANAGER).force();
        self.metrics.wrote("ValidatingWebhookConfiguration", "apply");
        self.configurations
            .patch(name, &params, &Patch::Apply(&applied))
            .await?;
        Ok(())
    }
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    let ByteString(bytes) = secret.data.as_ref()?.get(key)?;
    String::from_utf8(bytes.clone()).ok()
}

fn authority(secret: Option<&Secret>) -> Authority {
    let Some(secret) = secret else {
        return Authority::default();
    };
    let key_pair = |name: &str| {
        let (certificate, key) = (
            text(secret, &format!("{name}.crt"))?,
            text(secret, &format!("{name}.key"))?,
        );
        pki::Ca::read(certificate, key)
    };
    Authority {
        current: key_pair("ca"),
        next: key_pair("next"),
        previous: text(secret, "previous.crt"),
        previous_until: text(secret, "previous.until")
            .and_then(|it| it.parse().ok())
            .unwrap_or_default(),
    }
}

fn leaf(secret: &Secret) -> Option<plan::Leaf> {
    pki::read_leaf(&text(secret, "tls.crt")?, text(secret, "ca.crt")?)
}

fn bundles(configuration: &ValidatingWebhookConfiguration) -> Vec<String> {
    let webhooks = configuration.webhooks.iter().flatten();
    webhooks
        .map(|it| {
            let bytes = it
                .client_config
                .ca_bundle
                .as_ref()
                .map(|it| it.0.clone())
                .unwrap_or_default();
            String::from_utf8(bytes).unwrap_or_default()
        })
        .collect()
}

//! The webhook's command line.

use std::net::{IpAddr, SocketAddr};

use bailiwick_runtime::args::CommonArgs;
use clap::{Args, Parser, Subcommand};

/// The Bailiwick admission webhook.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "bailiwick-webhook",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What it does instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of the server.
    #[command(flatten)]
    pub webhook: WebhookArgs,
}

/// What the binary does instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Asks the installed webhook for two verdicts, by its Service and with the CA that the API server trusts; `helm test` runs it.
    Verify(VerifyArgs),
}

/// Flags of `verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Address of the webhook's Service.
    #[arg(long, env = "BAILIWICK_WEBHOOK_SERVICE_HOST")]
    pub host: IpAddr,
    /// Port of the webhook's Service.
    #[arg(long, env = "BAILIWICK_WEBHOOK_SERVICE_PORT", default_value_t = 443)]
    pub port: u16,
    /// Name that the webhook's certificate is for.
    #[arg(long)]
    pub server_name: String,
    /// Name of Bailiwick's ValidatingWebhookConfiguration.
    #[arg(long, env = "BAILIWICK_WEBHOOK_CONFIGURATION", default_value = "bailiwick")]
    pub webhook_configuration: String,
}

/// Flags of the server.
#[derive(Clone, Debug, Args)]
pub struct WebhookArgs {
    /// Flags of both servers.
    #[command(flatten)]
    pub common: CommonArgs,
    /// TLS address of /validate.
    #[arg(long, env = "BAILIWICK_LISTEN", default_value = "0.0.0.0:9443")]
    pub listen: SocketAddr,
    /// How long it serves on after SIGTERM while /readyz says no, in seconds.
    #[arg(long, env = "BAILIWICK_SHUTDOWN_DELAY_SECONDS", default_value_t = 5)]
    pub shutdown_delay_seconds: u64,
}

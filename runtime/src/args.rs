//! The command line that both servers share.

use std::net::SocketAddr;

use bailiwick_core::config::Config;
use clap::Args;

/// Flags of both servers. Each has an environment variable, so that a Deployment can use the downward API.
#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    /// Bailiwick's own namespace.
    #[arg(long, env = "POD_NAMESPACE", default_value = "bailiwick-system")]
    pub namespace: String,
    /// Identity of this replica, in the Lease, in logs and in events.
    #[arg(long, env = "POD_NAME", default_value = "bailiwick")]
    pub pod_name: String,
    /// Address of /healthz, /readyz and /metrics, over HTTP.
    #[arg(long, env = "BAILIWICK_ADMIN_ADDRESS", default_value = "0.0.0.0:8080")]
    pub admin_address: SocketAddr,
    /// Which events are logged: error, warn, info, debug, trace, or a tracing filter.
    #[arg(long, env = "BAILIWICK_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// How events are logged.
    #[arg(long, env = "BAILIWICK_LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,
    /// The configuration document, as YAML text.
    #[arg(long, env = "BAILIWICK_CONFIG", default_value = "", value_parser = parse_config, hide_env_values = true)]
    pub config: Config,
    /// Name of Bailiwick's ValidatingWebhookConfiguration.
    #[arg(long, env = "BAILIWICK_WEBHOOK_CONFIGURATION", default_value = "bailiwick")]
    pub webhook_configuration: String,
    /// Secret with the webhook's tls.crt, tls.key and ca.crt, in Bailiwick's namespace.
    #[arg(long, env = "BAILIWICK_TLS_SECRET", default_value = "bailiwick-webhook-tls")]
    pub tls_secret: String,
}

/// How events are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

fn parse_config(text: &str) -> Result<Config, String> {
    Config::from_yaml(text)
}

//! The webhook's command line.

use std::net::SocketAddr;

use bailiwick_runtime::args::CommonArgs;
use clap::Parser;

/// The Bailiwick admission webhook.
#[derive(Clone, Debug, Parser)]
#[command(name = "bailiwick-webhook", version, about)]
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

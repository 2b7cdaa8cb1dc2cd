//! The operator's command line.

use bailiwick_runtime::args::CommonArgs;
use clap::{Parser, ValueEnum};

/// The Bailiwick operator.
#[derive(Clone, Debug, Parser)]
#[command(name = "bailiwick-operator", version, about)]
pub struct OperatorArgs {
    /// Flags of both servers.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Who makes the webhook's certificates.
    #[arg(
        long,
        env = "BAILIWICK_CERTIFICATES",
        value_enum,
        default_value = "SelfSigned"
    )]
    pub certificates: CertificateSource,
    /// Secret with the CA's keys, in Bailiwick's namespace. The webhook can't read it.
    #[arg(long, env = "BAILIWICK_CA_SECRET", default_value = "bailiwick-webhook-ca")]
    pub ca_secret: String,
    /// DNS names and IP addresses of the webhook's certificate, separated by commas.
    #[arg(long, env = "BAILIWICK_CERTIFICATE_NAMES", value_delimiter = ',')]
    pub certificate_names: Vec<String>,
    /// How long a CA lives, in seconds. It is replaced when a third is left.
    #[arg(long, env = "BAILIWICK_CA_LIFETIME_SECONDS", default_value_t = 365 * 86_400, value_parser = clap::value_parser!(i64).range(20..=3650 * 86_400))]
    pub ca_lifetime_seconds: i64,
    /// How long a certificate lives, in seconds. It is replaced when a third is left.
    #[arg(long, env = "BAILIWICK_LEAF_LIFETIME_SECONDS", default_value_t = 7 * 86_400, value_parser = clap::value_parser!(i64).range(10..=365 * 86_400))]
    pub leaf_lifetime_seconds: i64,
    /// Name of the Lease, in Bailiwick's namespace.
    #[arg(long, env = "BAILIWICK_LEASE", default_value = "bailiwick-operator")]
    pub lease: String,
    /// How long the Lease holds without a renewal, in seconds.
    #[arg(long, env = "BAILIWICK_LEASE_DURATION_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=600))]
    pub lease_duration_seconds: u64,
    /// How many Tenants are worked on at a time.
    #[arg(long, env = "BAILIWICK_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
}

/// Who makes the webhook's certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum CertificateSource {
    /// This operator, with a CA of its own.
    SelfSigned,
    /// Somebody else, such as cert-manager: Secret and caBundle are filled by it.
    External,
}

//! `bailiwick policy …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::live::client::ClusterArgs;

/// The commands about policies.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Print the TenantPolicy that says the same as a ConstraintTemplate and a Constraint of Gatekeeper
    ///
    /// The Rego stays as it is. What a TenantPolicy can't say is refused by name where leaving it out would change what
    /// is refused, and noted on the standard error where it wouldn't.
    ///
    /// Exits with 0 when it is printed, with 2 when it can't be made.
    Import {
        /// File with the ConstraintTemplate
        #[arg(value_name = "TEMPLATE")]
        template: PathBuf,
        /// File with the Constraint
        #[arg(value_name = "CONSTRAINT")]
        constraint: PathBuf,
    },
    /// List the revisions of a policy: who wrote and approved them, and which decides
    History(HistoryArgs),
    /// Show what differs between two revisions of a policy
    ///
    /// Without revisions: what would change when the candidate becomes active. A revision is named by its number, the first
    /// digits of its name, `active` or `candidate`.
    ///
    /// Exits with 0 when they say the same, with 1 when they differ, and with 2 when that can't be told.
    Diff(DiffArgs),
    /// Approve the candidate of a policy, in your own name
    ///
    /// Shows what would change, asks, and creates a PolicyApproval of the candidate's whole digest.
    ///
    /// Exits with 0 when it is approved, and with 2 when it is not.
    Approve(ApproveArgs),
    /// Hold a policy at an earlier revision, or let it follow what is written again
    ///
    /// Sets spec.revision. Where the policy comes from Git, write it there instead.
    Rollback(RollbackArgs),
    /// Say what a revision would refuse of what there is, beside the one that decides now
    ///
    /// Takes the candidate of a policy, or the policy of a file, and judges the objects in the tenants' namespaces as if they
    /// were created now; or recorded AdmissionReviews.
    ///
    /// Exits with 0 when there is no difference, with 1 when there are some, and with 2 when that can't be told.
    Replay(ReplayArgs),
}

/// The flags of `policy history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Name of the TenantPolicy
    #[arg(value_name = "NAME")]
    pub name: String,
    /// How to show the result
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "table")]
    pub output: TableOrJson,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// The flags of `policy diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Name of the TenantPolicy
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Revision to begin with; without it the active one
    #[arg(value_name = "FROM")]
    pub from: Option<String>,
    /// Revision to end with; without it the candidate
    #[arg(value_name = "TO", conflicts_with = "file")]
    pub to: Option<String>,
    /// File with the TenantPolicy to end with
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// The flags of `policy approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// Name of the TenantPolicy
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Digest that you have reviewed, or at least its first 12 digits; refused when the candidate is another one by now
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<String>,
    /// Don't ask
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// The flags of `policy rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Name of the TenantPolicy
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Revision to go back to; without it the one before the active one
    #[arg(long, value_name = "REVISION", conflicts_with = "undo")]
    pub to: Option<String>,
    /// Follow what is written again
    #[arg(long)]
    pub undo: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// The flags of `policy replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Name of the TenantPolicy whose candidate is tried
    #[arg(value_name = "NAME", required_unless_present = "file")]
    pub name: Option<String>,
    /// File with the TenantPolicy that is tried instead, or - for the standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// File with AdmissionReviews, one JSON document per line, instead of the live objects
    #[arg(long, value_name = "FILE")]
    pub reviews: Option<PathBuf>,
    /// How to show the result
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "table")]
    pub output: TableOrJson,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// How something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TableOrJson {
    /// Lines for people.
    Table,
    /// One JSON document; the schema is in docs/cli.md.
    Json,
}

//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::live::client::ClusterArgs;

/// Kubernetes multi-tenancy: the cluster's verdicts, before anything reaches the cluster.
#[derive(Debug, Parser)]
#[command(name = "bailiwick", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what Bailiwick would refuse of some manifests, without a cluster
    ///
    /// Reads Tenants and whatever belongs to them from files, folders or the standard input, and puts each object to
    /// the decision that admission makes. Give it all Tenants of the cluster: what it is not told about, it can't judge.
    ///
    /// Exits with 0 when nothing is refused, with 1 when something is, and otherwise with 2 when something can't be
    /// told or could not be read.
    Check(CheckArgs),
    /// Say why policies refuse an object, or don't: which rules ran, the lines that decided, the values they saw
    ///
    /// Takes manifests, as check does, or the name of an object in the cluster. A line or a value is shown only where it
    /// is certain that it decided.
    ///
    /// Exits with 0 when everything is explained, whatever the verdict, and with 2 when something could not be read.
    Explain(ExplainArgs),
    /// Compile policies in Rego and run their tests, without a cluster
    ///
    /// Takes folders (all *.rego files in one are one policy, the *_test.rego files its tests), single *.rego files, and
    /// ConstraintTemplates of Gatekeeper. A test is a rule whose name begins with test_, as for `opa test`.
    ///
    /// Exits with 0 when each test passed, with 1 when one did not, and otherwise with 2 when a policy can't be compiled,
    /// something could not be read, or there was no test.
    Test(TestArgs),
    /// Bring policies into a cluster, and see to them there
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Print the completion script of a shell
    Completions {
        /// The shell.
        shell: Shell,
    },
}

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

/// The flags of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// File or folder with manifests (*.yaml, *.yml, *.json, folders within folders), or - for the standard input
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    pub filename: Vec<PathBuf>,
    /// How to show the result
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
    /// Namespace of objects that say none
    #[arg(short = 'n', long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Configuration document of the cluster: what the chart keeps under config.yaml in its ConfigMap
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Kind of the object, such as service, svc or deployments.apps; with -f, only this object is explained
    #[arg(value_name = "KIND", required_unless_present = "filename", requires = "name")]
    pub kind: Option<String>,
    /// Name of the object
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// File or folder with manifests, Tenants and TenantPolicies, as for check; without it the cluster is asked
    #[arg(short = 'f', long = "filename", value_name = "PATH", num_args = 1..)]
    pub filename: Vec<PathBuf>,
    /// How to show the result
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "text")]
    pub output: ExplainOutput,
    /// Namespace of the object, and of manifests that say none
    #[arg(short = 'n', long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Configuration document of the cluster, for manifests
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// User whose request it would be; nobody in particular unless said
    #[arg(long = "as", value_name = "USER", conflicts_with = "filename")]
    pub user: Option<String>,
    /// Group of that user
    #[arg(long = "as-group", value_name = "GROUP", requires = "user")]
    pub groups: Vec<String>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// How an explanation is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExplainOutput {
    /// Lines for people.
    Text,
    /// One JSON document; the schema is in docs/cli.md.
    Json,
}

/// The flags of `test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Folder, *.rego file or ConstraintTemplate
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// How to show the result
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "table")]
    pub output: TestOutput,
    /// Dialect of *.rego files; a ConstraintTemplate says its own
    #[arg(long, value_name = "VERSION", default_value = "v1")]
    pub rego_version: RegoVersion,
    /// Longest time of one test, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub timeout: u64,
}

/// How the outcome of tests is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TestOutput {
    /// What failed or can't be compiled, and why.
    Table,
    /// Every test, and the lines that no test reached.
    Wide,
    /// One JSON document; the schema is in docs/cli.md.
    Json,
    /// The XML of JUnit, which CI systems show.
    Junit,
}

/// A dialect of Rego.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RegoVersion {
    /// With `if` and `contains`, as OPA 1.0 reads it.
    V1,
    /// As OPA read it before 1.0.
    V0,
}

/// How a result is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// What is denied or can't be told, and why.
    Table,
    /// Every object, with columns and tenants.
    Wide,
    /// One JSON document; the schema is in docs/cli.md.
    Json,
}

//! The command line.

mod policy;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use self::policy::{
    ApproveArgs, DiffArgs, HistoryArgs, PolicyCommand, ReplayArgs, RollbackArgs, TableOrJson,
};
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

//! Benchmarks anyone can run: `make bench`.
//!
//! Every figure that is compared is a ratio measured in this one run; absolute figures are this machine's.
//! 1. one decision in process,
//! 2. one evaluation of a policy beside OPA's Go library, and decisions with many policies,
//! 3. the webhook over HTTP/2 and TLS beside a server that reads the same body and does nothing, without a policy and with one,
//! 4. edits of a policy, from the API server's answer to the last webhook, and a thousand policies,
//! 5. a hundred Tenants with three namespaces each, from `kubectl apply` to Ready, beside a bare client that
//!    writes the same objects.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its figures"
)]

mod decision;
mod figures;
mod load;
mod policies;
mod tenants;
mod webhook;

use std::process::ExitCode;

use bailiwick_e2e::cluster::{Cluster, ClusterOptions};
use bailiwick_e2e::install::{Bailiwick, InstallOptions};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    bailiwick_runtime::tls::install_provider()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => {}
        [webhook::FLOOR_ARGUMENT, certificate, key] => return webhook::serve_floor(certificate, key).await,
        other => anyhow::bail!("unexpected arguments {other:?}; the benchmarks take none"),
    }
    println!("One decision in process");
    decision::run()?;
    println!("\nPolicies in process");
    on_enough_stack(policies::beside_opa)?;
    on_enough_stack(policies::in_numbers)?;
    println!("\nOn a real control plane");
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let bailiwick = Bailiwick::install(&cluster, InstallOptions::default()).await?;
    let result = async {
        webhook::run(&cluster, &bailiwick).await?;
        policies::on_cluster(&cluster, &bailiwick).await?;
        tenants::run(&cluster, &bailiwick).await
    }
    .await;
    cluster.stop().await?;
    result
}

/// Policies are compiled and evaluated on threads with much stack.
fn on_enough_stack(run: fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let thread = std::thread::Builder::new()
        .stack_size(bailiwick_core::rego::STACK)
        .spawn(run)?;
    thread
        .join()
        .map_err(|_| anyhow::anyhow!("a benchmark panicked"))?
}

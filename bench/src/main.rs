//! Benchmarks anyone can run: `make bench`, or some of them: `make bench ONLY="edits tenants"`.
//!
//! Every figure that is compared is a ratio measured in this one run; absolute figures are this machine's.
//! 1. one decision in process,
//! 2. one evaluation of a policy beside OPA's Go library, and decisions with many policies,
//! 3. the webhook over HTTP/2 and TLS beside a server that reads the same body and does nothing, without a policy and with one,
//! 4. edits of a policy, from the API server's answer to the last webhook, and a thousand policies,
//! 5. a tenant's requests while another floods the API server, with a tier and without,
//! 6. a hundred Tenants with three namespaces each, from `kubectl apply` to Ready, beside a bare client that
//!    writes the same objects.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its figures"
)]

mod decision;
mod fairness;
mod figures;
mod load;
mod policies;
mod tenants;
mod webhook;

use std::process::ExitCode;

use anyhow::Context as _;
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

/// A part of the benchmarks, by the name that the command line gives it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Decision,
    Policies,
    Webhook,
    Edits,
    Fairness,
    Tenants,
}

impl Part {
    const ALL: [(&str, Self); 6] = [
        ("decision", Self::Decision),
        ("policies", Self::Policies),
        ("webhook", Self::Webhook),
        ("edits", Self::Edits),
        ("fairness", Self::Fairness),
        ("tenants", Self::Tenants),
    ];

    fn needs_cluster(self) -> bool {
        matches!(self, Self::Webhook | Self::Edits | Self::Fairness | Self::Tenants)
    }

    fn of(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.iter().find(|(it, _)| *it == name);
        found.map(|(_, it)| *it).with_context(|| {
            let names = Self::ALL.map(|(it, _)| it).join(", ");
            format!("there is no benchmark {name:?}: the names are {names}; without a name, all run")
        })
    }
}

async fn run() -> anyhow::Result<()> {
    bailiwick_runtime::tls::install_provider()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let parts = match arguments.as_slice() {
        [] => Part::ALL.iter().map(|(_, it)| *it).collect(),
        [webhook::FLOOR_ARGUMENT, certificate, key] => return webhook::serve_floor(certificate, key).await,
        names => names
            .iter()
            .map(|it| Part::of(it))
            .collect::<anyhow::Result<Vec<_>>>()?,
    };
    if parts.contains(&Part::Decision) {
        println!("One decision in process");
        decision::run()?;
    }
    if parts.contains(&Part::Policies) {
        println!("Policies in process");
        on_enough_stack(policies::beside_opa)?;
        on_enough_stack(policies::in_numbers)?;
    }
    if !parts.iter().any(|it| it.needs_cluster()) {
        return Ok(());
    }
    eprintln!("starting a control plane and installing Bailiwick on it");
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    // The binaries that `make bench` built with this one: by themselves cargo would build them once more, with other features.
    let options = InstallOptions {
        programs: std::env::current_exe()?.parent().map(Into::into),
        ..InstallOptions::default()
    };
    let bailiwick = Bailiwick::install(&cluster, options).await?;
    let result = async {
        if parts.contains(&Part::Webhook) {
            println!("The webhook over HTTP/2 and TLS");
            webhook::run(&cluster, &bailiwick).await?;
        }
        if parts.contains(&Part::Edits) {
            println!("Policies on a control plane");
            policies::on_cluster(&cluster, &bailiwick).await?;
        }
        if parts.contains(&Part::Fairness) {
            println!("One tenant's requests beside another's flood");
            fairness::run(&cluster).await?;
        }
        if parts.contains(&Part::Tenants) {
            println!("Tenants on a control plane");
            tenants::run(&cluster, &bailiwick).await?;
        }
        Ok(())
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

//! The webhook's binary: arguments in, exit code out.
#![allow(
    clippy::print_stderr,
    reason = "an error before logging is set up goes to stderr"
)]

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = bailiwick_webhook::Cli::parse();
    let result = match cli.command {
        None => bailiwick_webhook::run(cli.webhook).await,
        Some(bailiwick_webhook::Command::Verify(args)) => bailiwick_webhook::verify(&args).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bailiwick-webhook: {error:#}");
            ExitCode::FAILURE
        }
    }
}

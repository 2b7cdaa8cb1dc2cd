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
    match bailiwick_webhook::run(bailiwick_webhook::WebhookArgs::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bailiwick-webhook: {error:#}");
            ExitCode::FAILURE
        }
    }
}

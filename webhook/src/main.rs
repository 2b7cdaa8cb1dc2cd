//! The webhook's binary: arguments in, exit code out.
#![allow(
    clippy::print_stderr,
    reason = "an error before logging is set up goes to stderr"
)]

use std::process::ExitCode;

use bailiwick_core::rego::STACK;
use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = bailiwick_webhook::Cli::parse();
    let run = async {
        match cli.command {
            None => bailiwick_webhook::run(cli.webhook).await,
            Some(bailiwick_webhook::Command::Verify(args)) => bailiwick_webhook::verify(&args).await,
        }
    };
    // Any of them may compile or evaluate a policy. Stack that isn't used takes no memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK)
        .enable_all()
        .build();
    let result = runtime.map_err(Into::into).and_then(|it| {
        it.block_on(async {
            // The thread that blocks here is the process's first, whose stack nobody chose.
            tokio::spawn(run).await?
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bailiwick-webhook: {error:#}");
            ExitCode::FAILURE
        }
    }
}

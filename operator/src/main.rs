//! The operator's binary: arguments in, exit code out.
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
    let args = bailiwick_operator::OperatorArgs::parse();
    // Policies are compiled on threads that are made for it. Stack that isn't used takes no memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK)
        .enable_all()
        .build();
    let result = runtime
        .map_err(Into::into)
        .and_then(|it| it.block_on(bailiwick_operator::run(args)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bailiwick-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

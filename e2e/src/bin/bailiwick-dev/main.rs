//! A local control plane with Bailiwick in it, for people: what `make up`, `make demo` and `make down` call.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to its user"
)]

mod daemon;
mod demo;
mod down;
mod instance;
mod up;

use std::{env, io, path::PathBuf, process::ExitCode};

use anyhow::Result;
use bailiwick_e2e::{binaries, checkout, supervisor};
use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use instance::Instance;

/// Runs Bailiwick on a Kubernetes control plane of its own, on this machine, without containers.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Folder of the cluster, instead of `.bailiwick` in the checkout: for several at a time.
    #[arg(long, global = true, env = "BAILIWICK_DIRECTORY")]
    directory: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts the control plane, installs the chart, waits until it is ready. Harmless when it runs already.
    Up {
        /// Port of the API server on 127.0.0.1, instead of any free one.
        #[arg(long, env = "BAILIWICK_API_PORT")]
        api_port: Option<u16>,
    },
    /// Ends everything that `up` started, also what a crash left, and forgets all data.
    Down,
    /// Prints the path of the kubeconfig of the running cluster.
    Kubeconfig,
    /// Shows with real kubectl calls what Bailiwick does; exits with 0 only if each came out as stated.
    Demo,
    /// Builds etcd, kube-apiserver, kube-controller-manager, kubectl and helm, unless they are there.
    BuildControlPlane,
    /// The process behind `up`; not for people.
    #[command(hide = true)]
    Run {
        #[arg(long)]
        api_port: Option<u16>,
    },
    /// Owns the processes of one cluster; not for people.
    #[command(hide = true)]
    Supervise,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match runtime(&arguments.command) {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let result = runtime.block_on(run(arguments));
    // A thread may be blocked on stdin, and nobody waits for it.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn runtime(command: &Command) -> io::Result<Runtime> {
    match command {
        // It relies on having one thread.
        Command::Supervise => Builder::new_current_thread().enable_all().build(),
        Command::Up { .. }
        | Command::Down
        | Command::Kubeconfig
        | Command::Demo
        | Command::BuildControlPlane
        | Command::Run { .. } => Builder::new_multi_thread().enable_all().build(),
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let directory = match arguments.directory {
        Some(directory) => env::current_dir()?.join(directory),
        None => checkout::root().join(".bailiwick"),
    };
    let instance = Instance::at(directory);
    match arguments.command {
        Command::Up { api_port } => up::up(&instance, api_port).await,
        Command::Down => down::down(&instance).await,
        Command::Kubeconfig => {
            println!("{}", instance.running()?.kubeconfig().display());
            Ok(())
        }
        Command::Demo => demo::demo(&instance).await,
        Command::BuildControlPlane => binaries::binaries().await.map(drop),
        Command::Run { api_port } => daemon::run(&instance, api_port).await,
        Command::Supervise => supervisor::supervise().await,
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

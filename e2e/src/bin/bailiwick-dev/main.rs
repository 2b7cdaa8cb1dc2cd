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

use std::{io, process::ExitCode};

use anyhow::Result;
use bailiwick_e2e::{binaries, checkout, supervisor};
use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use instance::Instance;

/// Runs Bailiwick on a Kubernetes control plane of its own, on this machine, without containers.
#[derive(Debug, Parser)]
#[command(version)]
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
    let command = Command::parse();
    let runtime = match runtime(&command) {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let result = runtime.block_on(run(command));
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

async fn run(command: Command) -> Result<()> {
    let instance = Instance::at(checkout::root().join(".bailiwick"));
    match command {
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

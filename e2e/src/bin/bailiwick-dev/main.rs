//! A local control plane with Bailiwick in it, for people: what the targets of the Makefile call.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to its user"
)]

mod daemon;
mod demo;
mod down;
mod figures;
mod instance;
mod up;

use std::{env, io, path::PathBuf, process::ExitCode};

use anyhow::Result;
use bailiwick_e2e::{binaries, checkout, supervisor};
use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use daemon::Setup;
use instance::{Instance, Kind};

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
    /// Starts the same with a real node, as root: kubelet and containerd run the chart's own Pods from an image.
    NodeUp {
        /// Archive of the image; made as `image` does if not given.
        #[arg(long)]
        image: Option<PathBuf>,
    },
    /// Ends everything that `node-up` started, also what a crash left, and forgets all data.
    NodeDown,
    /// Prints what Bailiwick costs on a real node: memory and CPU at rest and with tenants, image size, time to the first verdict.
    NodeFigures {
        /// Archive of the image; made as `image` does if not given.
        #[arg(long)]
        image: Option<PathBuf>,
        /// How many tenants.
        #[arg(long, default_value_t = 100)]
        tenants: u32,
    },
    /// Builds the image with buildah and writes it to an archive, for a registry, a node or `docker load`.
    Image {
        /// Where to.
        archive: PathBuf,
    },
    /// Ends everything that `up` started, also what a crash left, and forgets all data.
    Down,
    /// Prints the path of the kubeconfig of the running cluster.
    Kubeconfig {
        /// Of the one with a node.
        #[arg(long)]
        node: bool,
    },
    /// Shows with real kubectl calls what Bailiwick does; exits with 0 only if each came out as stated.
    Demo,
    /// Builds etcd, kube-apiserver, kube-controller-manager, kubectl and helm, unless they are there.
    BuildControlPlane,
    /// The process behind `up`; not for people.
    #[command(hide = true)]
    Run {
        #[arg(long)]
        api_port: Option<u16>,
        /// Archive of the image, for a cluster with a node.
        #[arg(long)]
        image: Option<PathBuf>,
    },
    /// Owns the processes of one cluster; not for people.
    #[command(hide = true)]
    Supervise {
        #[arg(long)]
        slot: Option<u8>,
    },
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
        Command::Supervise { .. } => Builder::new_current_thread().enable_all().build(),
        Command::Up { .. }
        | Command::Down
        | Command::Kubeconfig { .. }
        | Command::Demo
        | Command::NodeUp { .. }
        | Command::NodeDown
        | Command::NodeFigures { .. }
        | Command::Image { .. }
        | Command::BuildControlPlane
        | Command::Run { .. } => Builder::new_multi_thread().enable_all().build(),
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let kind = match &arguments.command {
        Command::NodeUp { .. }
        | Command::NodeDown
        | Command::NodeFigures { .. }
        | Command::Kubeconfig { node: true }
        | Command::Run { image: Some(_), .. } => Kind::Node,
        _ => Kind::ControlPlane,
    };
    let directory = match arguments.directory {
        Some(directory) => env::current_dir()?.join(directory),
        None => checkout::root().join(kind.folder()),
    };
    let instance = Instance::at(directory, kind);
    match arguments.command {
        Command::Up { api_port } => up::up(&instance, &Setup::ControlPlane { api_port }).await,
        Command::NodeUp { image } => up::node_up(&instance, image).await,
        Command::Down | Command::NodeDown => down::down(&instance).await,
        Command::Image { archive } => up::image(&env::current_dir()?.join(archive)).await,
        Command::NodeFigures { image, tenants } => figures::figures(image, tenants).await,
        Command::Kubeconfig { .. } => {
            println!("{}", instance.running()?.kubeconfig().display());
            Ok(())
        }
        Command::Demo => demo::demo(&instance).await,
        Command::BuildControlPlane => binaries::binaries().await.map(drop),
        Command::Run {
            image: Some(image), ..
        } => daemon::run(&instance, &Setup::Node { image }).await,
        Command::Run {
            api_port,
            image: None,
        } => daemon::run(&instance, &Setup::ControlPlane { api_port }).await,
        Command::Supervise { slot } => supervisor::supervise(slot).await,
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

//! `up`: from nothing to a cluster with Bailiwick in it.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{
    binaries, checkout,
    node::{self, Profile},
    progress::Step,
    wait::eventually,
};

use crate::{
    daemon::{Report, Setup},
    down,
    instance::{Instance, Kind, State},
};

/// Starts what isn't running, and says how to use it.
pub(crate) async fn up(instance: &Instance, setup: &Setup) -> Result<()> {
    ensure_up(instance, setup).await?;
    println!("{}", instructions(instance)?);
    Ok(())
}

/// The same with a node, which runs the image of this archive, or of the checkout.
pub(crate) async fn node_up(instance: &Instance, image: Option<PathBuf>) -> Result<()> {
    if let Some(missing) = node::missing() {
        bail!("{missing}");
    }
    if instance.state() == State::Running {
        println!("The cluster runs already.\n{}", instructions(instance)?);
        return Ok(());
    }
    let image = if let Some(image) = image {
        let image = env::current_dir()?.join(image);
        ensure!(
            image.is_file(),
            "there is no archive {}: make one with `make image`",
            image.display()
        );
        node::check_visible("the archive", &image)?;
        image
    } else {
        let archive = checkout::target_directory()?.join("image.tar");
        node::check_visible("the archive (CARGO_TARGET_DIR)", &archive)?;
        self::image(&archive).await?;
        archive
    };
    up(instance, &Setup::Node { image }).await
}

/// Builds the image as it is shipped, and writes it to an archive.
pub(crate) async fn image(archive: &Path) -> Result<()> {
    if let Some(missing) = node::missing_for_image() {
        bail!("{missing}");
    }
    let binaries = node::static_binaries(Profile::Release).await?;
    node::bailiwick_archive(&binaries, env!("CARGO_PKG_VERSION"), archive).await
}

/// Starts what isn't running.
pub(crate) async fn ensure_up(instance: &Instance, setup: &Setup) -> Result<()> {
    match instance.state() {
        State::Running => {
            println!("The cluster runs already.");
            return Ok(());
        }
        State::Starting => return wait_for_the_other(instance).await,
        State::Stale => {
            println!(
                "Cleaning up: {}",
                instance.epitaph().lines().next().unwrap_or_default()
            );
            down::clean_up(instance).await?;
        }
        State::Absent => {}
    }
    binaries::binaries().await?;
    match setup {
        Setup::ControlPlane { .. } => {
            let building = Step::start("building Bailiwick");
            checkout::build().await?;
            building.done();
        }
        Setup::Node { .. } => drop(binaries::node_binaries().await?),
    }
    start_daemon(instance, setup)
}

/// Somebody else has begun: their cluster is as good as ours.
async fn wait_for_the_other(instance: &Instance) -> Result<()> {
    let step = Step::start(format!(
        "waiting for the `{}` that is going on",
        instance.kind().up()
    ));
    eventually(
        Duration::from_mins(5),
        "the cluster that somebody else is starting is ready",
        async || {
            ensure!(
                instance.state() != State::Starting,
                "it is still starting: see {}",
                instance.log().display()
            );
            Ok(())
        },
    )
    .await?;
    instance.running()?;
    step.done();
    Ok(())
}

fn start_daemon(instance: &Instance, setup: &Setup) -> Result<()> {
    fs::create_dir_all(instance.directory()).context("create the cluster's folder")?;
    let log = File::create(instance.log()).context("create the daemon's log")?;
    let mut command = Command::new(env::current_exe().context("find the path of this program")?);
    command.arg("run").arg("--directory").arg(instance.directory());
    match setup {
        Setup::ControlPlane { api_port } => {
            command.args(api_port.map(|port| format!("--api-port={port}")));
        }
        Setup::Node { image } => {
            command.arg("--image").arg(image);
        }
    }
    let mut daemon = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        // Ctrl-C at the terminal is for `up`, not for the cluster.
        .process_group(0)
        .spawn()
        .context("start the daemon")?;
    let reports = BufReader::new(daemon.stdout.take().context("the daemon has no stdout")?);
    let mut step: Option<Step> = None;
    for line in reports.lines() {
        let line = line.context("listen to the daemon")?;
        match serde_json::from_str(&line).with_context(|| format!("from the daemon: {line}"))? {
            Report::Step(title) => {
                finish(&mut step);
                step = Some(Step::start(title));
            }
            Report::Ready => {
                finish(&mut step);
                return Ok(());
            }
            Report::Failed(cause) => bail!("{cause}"),
        }
    }
    let log = fs::read_to_string(instance.log()).unwrap_or_default();
    bail!(
        "the daemon ended before the cluster was ready; see {}\n{}",
        instance.log().display(),
        log.trim()
    )
}

fn finish(step: &mut Option<Step>) {
    if let Some(step) = step.take() {
        step.done();
    }
}

fn instructions(instance: &Instance) -> Result<String> {
    let here = |path: &Path| path.display().to_string();
    let more = match instance.kind() {
        Kind::ControlPlane => "`make demo` shows more.",
        Kind::Node => {
            "`kubectl get pods -A` shows what runs; images come as archives (README.md), nothing is pulled."
        }
    };
    Ok(format!(
        "
Bailiwick runs on Kubernetes {version}. To use it:

  export KUBECONFIG={kubeconfig} PATH={programs}:$PATH

Three commands to try, from {root}:

  kubectl apply -f examples/acme.yaml && kubectl wait --for=condition=Ready tenant/acme
  kubectl get namespaces,networkpolicies,rolebindings -A -l bailiwick.dev/tenant=acme
  kubectl label namespace acme-dev bailiwick.dev/tenant-        # refused, even to you

{more} The logs are in {logs}. `{down}` ends it all.",
        down = instance.kind().down(),
        version = binaries::kubernetes_version()?,
        kubeconfig = here(&instance.kubeconfig()),
        programs = here(&instance.programs()),
        root = here(checkout::root()),
        logs = here(&instance.directory().join("logs")),
    ))
}

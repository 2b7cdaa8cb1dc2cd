//! `bailiwick-dev`, which `make up`, `make kubeconfig` and `make down` call.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{
    checkout,
    supervisor::{Signal, signals},
    wait::eventually,
};

use crate::fixture::runtime;

/// A cluster of its own in a folder of its own, which is ended whatever the test does.
struct Dev {
    directory: PathBuf,
}

impl Dev {
    fn new() -> Result<Self> {
        let directory = checkout::scratch_directory()?.join(format!("dev-{}", std::process::id()));
        Ok(Self { directory })
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        Command::new(env!("CARGO_BIN_EXE_bailiwick-dev"))
            .args(arguments)
            .env("BAILIWICK_DIRECTORY", &self.directory)
            .output()
            .context("run bailiwick-dev")
    }

    /// stdout of a command that must succeed.
    fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        ensure!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// stderr of a command that must fail.
    fn error(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        ensure!(
            !output.status.success(),
            "{arguments:?} succeeded: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(String::from_utf8(output.stderr)?)
    }

    /// The processes whose command line names the folder, or whose slot is the cluster's.
    fn processes(&self) -> Result<Vec<(u32, String)>> {
        let folder = self.directory.display().to_string();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
            let Some(pid) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else {
                continue;
            };
            let text = |name: &str| {
                fs::read(entry.path().join(name)).map(|it| String::from_utf8_lossy(&it).into_owned())
            };
            let (Ok(command), Ok(environment)) = (text("cmdline"), text("environ")) else {
                continue;
            };
            if command.contains(&folder) || environment.contains(&folder) {
                found.push((pid, command.replace('\0', " ")));
            }
        }
        Ok(found)
    }

    fn pid_of(&self, part: &str) -> Result<u32> {
        let found = self
            .processes()?
            .into_iter()
            .find(|(_, command)| command.contains(part));
        found
            .map(|it| it.0)
            .with_context(|| format!("no process with {part}"))
    }

    fn wait_until_nothing_runs(&self) -> Result<()> {
        runtime()?.block_on(eventually(
            Duration::from_secs(10),
            "nothing is left over",
            async || {
                let processes = self.processes()?;
                ensure!(processes.is_empty(), "{processes:?}");
                Ok(())
            },
        ))
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // The test has failed already if this matters.
        let _ = self.run(&["down"]);
    }
}

#[test]
fn up_is_harmless_twice_and_down_leaves_nothing_whatever_happened() -> Result<()> {
    let dev = Dev::new()?;
    ensure!(
        dev.error(&["kubeconfig"])?.contains("start one with `make up`"),
        "nothing runs"
    );
    ensure!(
        dev.ok(&["down"])?.contains("No cluster is running"),
        "down without up"
    );

    let said = dev.ok(&["up"])?;
    let kubeconfig = dev.ok(&["kubeconfig"])?;
    ensure!(
        kubeconfig == format!("{}\n", dev.directory.join("kubeconfig").display()),
        "{kubeconfig}"
    );
    ensure!(said.contains(kubeconfig.trim()), "{said}");
    let nodes = Command::new(dev.directory.join("bin/kubectl"))
        .args(["get", "nodes", "-o", "name", "--kubeconfig", kubeconfig.trim()])
        .output()?;
    ensure!(nodes.stdout == b"node/localhost\n", "{nodes:?}");
    ensure!(dev.ok(&["up"])?.contains("runs already"), "twice is harmless");
    the_printed_commands_do_what_they_say(&said)?;

    // A crash of the daemon takes everything along; `up` and `down` know what to do.
    signals::send(Signal::Kill, &[dev.pid_of("bailiwick-dev run")?])?;
    runtime()?.block_on(eventually(
        Duration::from_secs(10),
        "the crash is noticed",
        async || {
            ensure!(
                dev.error(&["kubeconfig"])?
                    .contains("Start another one with `make up`")
            );
            Ok(())
        },
    ))?;
    dev.wait_until_nothing_runs()?;
    ensure!(dev.ok(&["up"])?.contains("Cleaning up"), "a crash is cleaned up");

    // It ends with 0 only if each of its steps came out as stated.
    let shown = dev.ok(&["demo"])?;
    ensure!(shown.contains("BW-NS-IDENTITY"), "{shown}");

    // A component's death is told with its name.
    signals::send(Signal::Kill, &[dev.pid_of("etcd --data-dir")?])?;
    runtime()?.block_on(eventually(
        Duration::from_secs(10),
        "the death of etcd is told",
        async || {
            let error = dev.error(&["kubeconfig"])?;
            ensure!(error.contains("etcd is dead (signal 9)"), "{error}");
            Ok(())
        },
    ))?;
    ensure!(dev.ok(&["down"])?.contains("Cleaned up"), "down after a death");
    dev.wait_until_nothing_runs()?;
    ensure!(!dev.directory.exists(), "{} is left", dev.directory.display());
    Ok(())
}

/// Runs the three commands that `up` prints, in a shell, after the line that it prints for that.
fn the_printed_commands_do_what_they_say(said: &str) -> Result<()> {
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    let export = lines.iter().find(|it| it.starts_with("export KUBECONFIG="));
    let export = export.with_context(|| format!("nothing to export in: {said}"))?;
    let commands: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|it| it.starts_with("kubectl "))
        .collect();
    let [apply, get, label] = commands[..] else {
        bail!("not three commands: {said}");
    };
    let shell = |command: &str| {
        let script = format!("{export}\n{command}");
        let output = Command::new("sh")
            .args(["-c", &script])
            .current_dir(checkout::root())
            .output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let both = text(&output.stdout) + &text(&output.stderr);
        Ok::<_, anyhow::Error>((output.status.success(), both))
    };
    let (worked, text) = shell(apply)?;
    ensure!(
        worked && text.contains("tenant.bailiwick.dev/acme condition met"),
        "{text}"
    );
    let (worked, before) = shell(get)?;
    for part in [
        "namespace/acme-dev",
        "networkpolicy.networking.k8s.io/bailiwick-default-deny",
        "rolebinding.rbac.authorization.k8s.io/bailiwick:bailiwick-admin",
    ] {
        ensure!(worked && before.contains(part), "no {part}: {before}");
    }
    let (worked, text) = shell(label)?;
    ensure!(!worked && text.contains("BW-NS-IDENTITY"), "{text}");
    let namespaces = |text: &str| text.matches("namespace/").count();
    let (_, after) = shell(get)?;
    ensure!(namespaces(&after) == namespaces(&before), "{after}");
    Ok(())
}

#[test]
fn a_missing_go_toolchain_is_explained() -> Result<()> {
    let cache = checkout::scratch_directory()?.join(format!("no-go-{}", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_bailiwick-dev"))
        .arg("build-control-plane")
        .env("BAILIWICK_CACHE", &cache)
        .env("PATH", "/nowhere")
        .env_remove("KUBEBUILDER_ASSETS")
        .output()?;
    remove(&cache)?;
    let error = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{error}");
    ensure!(
        error.contains("there is no `go` on PATH") && error.contains("https://go.dev/dl/"),
        "{error}"
    );
    Ok(())
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    Ok(())
}

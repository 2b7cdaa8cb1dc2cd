//! Where things lie in the checkout, and the Rust binaries that the harness runs.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use tokio::{process::Command, sync::OnceCell};

/// The top of the checkout.
pub fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// The folder of the binaries built beside this one, such as `target/debug`.
pub fn binary_directory() -> Result<PathBuf> {
    let own = env::current_exe().context("find the path of this program")?;
    let directory = own.parent().context("find the folder of this program")?;
    Ok(match directory.file_name() {
        // Test binaries lie one level deeper.
        Some(name) if name == "deps" => directory.parent().unwrap_or(directory).to_owned(),
        _ => directory.to_owned(),
    })
}

/// A folder for files that a run of the harness leaves behind, such as logs.
pub fn scratch_directory() -> Result<PathBuf> {
    Ok(target_directory()?.join("clusters"))
}

/// Builds Bailiwick's own binaries, in the profile of this one, and gives the folder that they are in.
///
/// Once per process: cargo decides what is stale.
pub async fn build() -> Result<&'static Path> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT.get_or_try_init(run_cargo_build).await.map(PathBuf::as_path)
}

/// The packages whose binaries a cluster runs. Not the whole workspace: that might replace the very program that builds.
pub(crate) const PROGRAM_PACKAGES: [&str; 3] = [
    "--package=bailiwick-operator",
    "--package=bailiwick-webhook",
    "--package=bailiwick-cli",
];

/// cargo in the checkout, as a person would run it.
///
/// Under `cargo test` and `cargo run` the environment names the package that runs. Build scripts that watch those variables
/// (ring's does) would run again, and everything above them would be compiled again, each time.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let of_a_package = name.to_str().is_some_and(|it| {
            it.starts_with("CARGO_PKG_")
                || it.starts_with("CARGO_MANIFEST_")
                || matches!(
                    it,
                    "CARGO_CRATE_NAME" | "CARGO_BIN_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR"
                )
        });
        if of_a_package {
            command.env_remove(name);
        }
    }
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// The folder that cargo builds into, such as `target`.
pub fn target_directory() -> Result<PathBuf> {
    let binaries = binary_directory()?;
    Ok(binaries.parent().unwrap_or(&binaries).to_owned())
}

async fn run_cargo_build() -> Result<PathBuf> {
    let directory = binary_directory()?;
    let profile = match directory.file_name().and_then(|it| it.to_str()) {
        None | Some("debug") => "dev",
        Some(profile) => profile,
    };
    let output = cargo()
        .args(["build", "--quiet", "--locked", "--bins", "--profile", profile])
        .args(PROGRAM_PACKAGES)
        .output()
        .await
        .context("run cargo: is the Rust toolchain on PATH? See https://rustup.rs")?;
    if !output.status.success() {
        bail!("cargo build failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(directory)
}

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
    let binaries = binary_directory()?;
    Ok(binaries.parent().unwrap_or(&binaries).join("clusters"))
}

/// Builds Bailiwick's own binaries, in the profile of this one, and gives the folder that they are in.
///
/// Once per process: cargo decides what is stale.
pub async fn build() -> Result<&'static Path> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT.get_or_try_init(run_cargo_build).await.map(PathBuf::as_path)
}

async fn run_cargo_build() -> Result<PathBuf> {
    let directory = binary_directory()?;
    let profile = match directory.file_name().and_then(|it| it.to_str()) {
        None | Some("debug") => "dev",
        Some(profile) => profile,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Only what the cluster runs: a build of the whole workspace might replace this very program.
    let output = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package=bailiwick-operator",
            "--package=bailiwick-webhook",
            "--package=bailiwick-cli",
            "--bins",
            "--profile",
            profile,
        ])
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .await
        .context("run cargo: is the Rust toolchain on PATH? See https://rustup.rs")?;
    if !output.status.success() {
        bail!("cargo build failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(directory)
}

//! The checkout's source under another version, to upgrade to.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use super::image::TARGET;
use crate::{checkout, progress::Step};

/// Builds Bailiwick's binaries for the image as this version, from a copy of the source in `directory`, and gives the
/// folder they are in.
pub async fn static_binaries_of_version(version: &str, directory: &Path) -> Result<PathBuf> {
    let step = Step::start(format!("building Bailiwick {version}"));
    let source = directory.join("source");
    if source.exists() {
        fs::remove_dir_all(&source).with_context(|| format!("remove {}", source.display()))?;
    }
    copy_source(&source, version)?;
    let target = directory.join("target");
    let output = checkout::cargo()
        .current_dir(&source)
        // The same dependencies aren't built a second time.
        .env("CARGO_BUILD_BUILD_DIR", checkout::target_directory()?)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--offline",
            "--bins",
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(&target)
        .args(checkout::PROGRAM_PACKAGES)
        .output()
        .await
        .context("run cargo")?;
    if !output.status.success() {
        bail!(
            "version {version} can't be built: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    step.done();
    Ok(target.join(TARGET).join("debug"))
}

/// Copies the workspace, with another version in its manifest and its lock file.
fn copy_source(source: &Path, version: &str) -> Result<()> {
    let root = checkout::root();
    fs::create_dir_all(source).with_context(|| format!("create {}", source.display()))?;
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file() {
            copy(&path, &source.join(path.file_name().unwrap_or_default()))?;
        }
    }
    // Packs are a part of the programs.
    copy(&root.join("policies"), &source.join("policies"))?;
    let own = concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"");
    let other = format!("version = \"{version}\"");
    let toolchain = "rust-toolchain.toml";
    fs::copy(root.join(toolchain), source.join(toolchain))?;
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    ensure!(manifest.contains(own), "Cargo.toml has no {own}");
    fs::write(source.join("Cargo.toml"), manifest.replacen(own, &other, 1))?;
    let lock = fs::read_to_string(root.join("Cargo.lock"))?;
    let packages: Vec<_> = lock
        .split("[[package]]")
        .map(|it| {
            if it.trim_start().starts_with("name = \"bailiwick-") {
                it.replacen(own, &other, 1)
            } else {
                it.to_owned()
            }
        })
        .collect();
    fs::write(source.join("Cargo.lock"), packages.join("[[package]]"))?;
    Ok(())
}

/// Copies a folder with all in it.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

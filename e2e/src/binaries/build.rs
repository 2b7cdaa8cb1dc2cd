//! Builds a pinned program with the Go toolchain.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{Pin, Program};
use crate::progress::Step;

/// Builds `program` into `directory`; the caller holds the lock of that folder.
pub(super) fn build(pin: &Pin, program: &Program, directory: &Path) -> Result<PathBuf> {
    let binary = directory.join(program.name);
    // Whoever held the lock before may have built it.
    if binary.exists() {
        return Ok(binary);
    }
    let step = Step::start(format!(
        "building {} {} (once; kept in {})",
        program.name,
        pin.version,
        directory.display()
    ));
    let unfinished = directory.join(format!(".{}.{}", program.name, process::id()));
    let output = Command::new("go")
        .arg("build")
        .args(["-trimpath", "-ldflags", &pin.linker_flags, "-o"])
        .args([&unfinished])
        .arg(program.package)
        .current_dir(&pin.directory)
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
            "Go is needed once, to build the local control plane ({} {}), and there is no `go` on PATH.\n\
             Install the version in {} or later from https://go.dev/dl/, or set KUBEBUILDER_ASSETS to a folder \
             that holds {} {}.",
            program.name,
            pin.version,
            pin.directory.join("go.mod").display(),
            program.name,
            pin.version,
        ),
        Err(error) => return Err(error).context("run go"),
    };
    if !output.status.success() {
        // A partial file, if any; the failure to report is the build's.
        let _ = fs::remove_file(&unfinished);
        bail!(
            "building {} {} failed. It needs the Go modules that {} names: check GOPROXY and the network.\n{}",
            program.name,
            pin.version,
            pin.directory.join("go.mod").display(),
            last_lines(&String::from_utf8_lossy(&output.stderr)),
        );
    }
    // Renamed whole: nobody ever sees half a binary.
    fs::rename(&unfinished, &binary).with_context(|| format!("move {} into place", binary.display()))?;
    step.done();
    Ok(binary)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

//! Commands and what they print, as written in Markdown: in `tests/transcripts`, in the examples and in the
//! documentation. `UPDATE=1` writes what they print now.
//!
//! A block that begins with three backticks and `console` holds lines with `$ ` and a command, each followed by its
//! output, standard error first. The commands run in the file's own folder, with the built `bailiwick` in the PATH.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs the commands of a file, relative to this crate.
#[track_caller]
fn check(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let written = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let now = replayed(&written, path.parent().unwrap());
    if std::env::var_os("UPDATE").is_some() && now != written {
        std::fs::write(&path, &now).unwrap();
    }
    assert!(written.contains("```console\n"), "{file} has no commands");
    assert!(
        now == written,
        "{file} is not what is printed (UPDATE=1 writes it); now:\n{now}"
    );
}

/// The text with the output of its commands as it is now.
fn replayed(text: &str, folder: &Path) -> String {
    let mut replayed = String::new();
    let mut in_block = false;
    for line in text.lines() {
        let command = line.strip_prefix("$ ").filter(|_| in_block);
        if line.starts_with("```") {
            in_block = line == "```console";
        }
        if !in_block || command.is_some() || line == "```console" {
            replayed.push_str(line);
            replayed.push('\n');
        }
        if let Some(command) = command {
            replayed.push_str(&run(command, folder));
        }
    }
    replayed
}

fn run(command: &str, folder: &Path) -> String {
    let bailiwick = PathBuf::from(env!("CARGO_BIN_EXE_bailiwick"));
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .current_dir(folder)
        .env(
            "PATH",
            format!("{}:{path}", bailiwick.parent().unwrap().display()),
        )
        .env("COLUMNS", "120")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn verdicts_in_each_format() {
    check("tests/transcripts/formats/README.md");
}

#[test]
fn what_cannot_be_told() {
    check("tests/transcripts/unknown/README.md");
}

#[test]
fn what_cannot_be_read() {
    check("tests/transcripts/unread/README.md");
}

#[test]
fn manifests_from_a_pipe() {
    check("tests/transcripts/pipes/README.md");
}

#[test]
fn the_configuration_of_the_cluster() {
    check("tests/transcripts/config/README.md");
}

#[test]
fn policies() {
    check("tests/transcripts/policies/README.md");
}

#[test]
fn advice() {
    check("tests/transcripts/notes/README.md");
}

#[test]
fn the_command_line() {
    check("tests/transcripts/usage/README.md");
}

#[test]
fn the_examples() {
    check("../examples/check/README.md");
    check("../examples/policies/tenant-policies/README.md");
}

#[test]
fn the_documentation() {
    check("../docs/cli.md");
    check("../docs/policies.md");
}

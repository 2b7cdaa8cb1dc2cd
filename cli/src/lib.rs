//! The `bailiwick` command: the cluster's verdicts in Git.
//!
//! It decides nothing itself: manifests become requests, and `bailiwick_core::decide` answers them as it does in
//! the cluster.

pub mod args;
pub mod check;
mod commands;
pub mod explain;
pub mod live;
pub mod policy;
pub mod report;
pub mod test;
pub mod yaml;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::args::{Cli, Command, PolicyCommand};

/// Where the command reads and writes.
pub struct Streams<'a> {
    /// Manifests, for `-f -`.
    pub stdin: &'a mut dyn Read,
    /// Data.
    pub stdout: &'a mut dyn Write,
    /// Talk.
    pub stderr: &'a mut dyn Write,
}

/// Something is refused, unreadable or used wrongly.
const FAILED: u8 = 2;

/// Runs the command; the result is its exit code.
///
/// # Errors
/// When its output can't be written.
pub fn run(arguments: impl IntoIterator<Item = OsString>, streams: &mut Streams<'_>) -> io::Result<u8> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = Cli::command().bin_name(called_as(arguments.first()));
    let parsed = command
        .try_get_matches_from_mut(&arguments)
        .and_then(|it| Cli::from_arg_matches(&it));
    match parsed {
        Err(error) => {
            let out = if error.use_stderr() {
                &mut streams.stderr
            } else {
                &mut streams.stdout
            };
            write!(out, "{}", error.render())?;
            Ok(u8::try_from(error.exit_code()).unwrap_or(FAILED))
        }
        Ok(Cli {
            command: Command::Check(arguments),
        }) => commands::check(&arguments, streams),
        Ok(Cli {
            command: Command::Explain(arguments),
        }) => commands::explain(&arguments, streams),
        Ok(Cli {
            command: Command::Test(arguments),
        }) => commands::test(&arguments, streams),
        Ok(Cli {
            command: Command::Policy(PolicyCommand::Import { template, constraint }),
        }) => commands::import(&template, &constraint, streams),
        Ok(Cli {
            command: Command::Policy(command),
        }) => match commands::in_cluster(&command, streams) {
            Ok(code) => Ok(code),
            Err(problem) => {
                writeln!(streams.stderr, "error: {}", report::printable(&problem))?;
                Ok(FAILED)
            }
        },
        Ok(Cli {
            command: Command::Completions { shell },
        }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), binary(arguments.first()), &mut script);
            streams.stdout.write_all(&script)?;
            Ok(0)
        }
    }
}

/// The name of the binary, which is what a shell completes.
fn binary(argument: Option<&OsString>) -> &'static str {
    let name = argument.and_then(|it| Path::new(it).file_stem());
    if name.is_some_and(|it| it == "kubectl-bailiwick") {
        "kubectl-bailiwick"
    } else {
        "bailiwick"
    }
}

/// As a plugin of kubectl the command is called `kubectl bailiwick`.
fn called_as(argument: Option<&OsString>) -> &'static str {
    match binary(argument) {
        "kubectl-bailiwick" => "kubectl bailiwick",
        other => other,
    }
}

/// The time in Unix seconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Whoever reads no further has the verdict all the same.
fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], expected: &str) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut streams = Streams {
            stdin: &mut io::empty(),
            stdout: &mut stdout,
            stderr: &mut stderr,
        };
        let code = run(arguments.iter().map(OsString::from), &mut streams).unwrap();
        let shown = format!("{code} {}", String::from_utf8(stdout).unwrap());
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn a_plugin_of_kubectl_shows_how_kubectl_calls_it() {
        check(
            &["/usr/bin/kubectl-bailiwick", "--help"],
            "Usage: kubectl bailiwick <COMMAND>",
        );
        check(
            &["kubectl-bailiwick", "check", "--help"],
            "Usage: kubectl bailiwick check",
        );
        check(
            &["kubectl-bailiwick", "policy", "approve", "--help"],
            "Usage: kubectl bailiwick policy approve",
        );
        check(&["/usr/bin/bailiwick", "--help"], "Usage: bailiwick <COMMAND>");
        check(&[], "2 ");
    }

    #[test]
    fn every_shell_gets_its_completions() {
        for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
            for (binary, expected) in [
                ("bailiwick", "bailiwick"),
                ("kubectl-bailiwick", "kubectl-bailiwick"),
            ] {
                check(&[binary, "completions", shell], expected);
                for command in ["check", "explain", "replay", "rollback", "--bailiwick-namespace"] {
                    check(&[binary, "completions", shell], command.trim_start_matches('-'));
                }
            }
        }
        check(&["bailiwick", "completions", "tcsh"], "2 ");
    }
}

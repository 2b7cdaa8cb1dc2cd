//! The `bailiwick` command: the cluster's verdicts in Git.
//!
//! It decides nothing itself: manifests become requests, and `bailiwick_core::decide` answers them as it does in
//! the cluster.

pub mod args;
pub mod check;
pub mod explain;
pub mod live;
pub mod policy;
pub mod report;
pub mod test;
pub mod yaml;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bailiwick_core::config::Config;
use bailiwick_core::rego::Language;
use clap::{CommandFactory as _, FromArgMatches as _};

use crate::args::{
    CheckArgs, Cli, Command, ExplainArgs, ExplainOutput, Output, PolicyCommand, RegoVersion, TestArgs,
    TestOutput,
};
use crate::check::source;
use crate::check::stack::with_stack;
use crate::live::client::Connected;
use crate::report::table::{self, Width};

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
        }) => check(&arguments, streams),
        Ok(Cli {
            command: Command::Explain(arguments),
        }) => explain(&arguments, streams),
        Ok(Cli {
            command: Command::Test(arguments),
        }) => test(&arguments, streams),
        Ok(Cli {
            command: Command::Policy(PolicyCommand::Import { template, constraint }),
        }) => import(&template, &constraint, streams),
        Ok(Cli {
            command: Command::Policy(command),
        }) => match in_cluster(&command, streams) {
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

fn check(arguments: &CheckArgs, streams: &mut Streams<'_>) -> io::Result<u8> {
    let config = match read_config(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(problem) => {
            writeln!(streams.stderr, "error: {problem}")?;
            return Ok(FAILED);
        }
    };
    let options = check::Options {
        paths: arguments.filename.clone(),
        namespace: arguments.namespace.clone(),
        config,
        now: now(),
    };
    let report = check::check(&options, streams.stdin);
    for note in &report.notes {
        writeln!(streams.stderr, "note: {}", report::printable(note))?;
    }
    for unread in &report.unread {
        writeln!(streams.stderr, "error: {}", report::unread(unread))?;
    }
    let doubt = check::doubt::Doubt::NoTenants;
    if report
        .objects
        .iter()
        .any(|it| it.judgement.doubts.contains(&doubt))
    {
        writeln!(streams.stderr, "error: {}; {}", doubt.message(), doubt.fix())?;
    }
    unless_closed(match arguments.output {
        Output::Table => table::write(&report, Width::Problems, streams.stdout),
        Output::Wide => table::write(&report, Width::Everything, streams.stdout),
        Output::Json => report::json::write(&report, streams.stdout),
    })?;
    Ok(report.exit_code())
}

fn explain(arguments: &ExplainArgs, streams: &mut Streams<'_>) -> io::Result<u8> {
    let config = match read_config(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(problem) => {
            writeln!(streams.stderr, "error: {problem}")?;
            return Ok(FAILED);
        }
    };
    let options = check::Options {
        paths: arguments.filename.clone(),
        namespace: arguments.namespace.clone(),
        config,
        now: now(),
    };
    let asked = arguments.kind.clone().zip(arguments.name.clone());
    let report = match asked {
        Some((kind, name)) if arguments.filename.is_empty() => {
            let asked = explain::live::Asked {
                kind,
                name,
                namespace: arguments.namespace.clone(),
                user: arguments.user.clone(),
                groups: arguments.groups.clone(),
                bailiwick_namespace: arguments.cluster.bailiwick_namespace.clone(),
                now: options.now,
            };
            let explained = Connected::to(&arguments.cluster)
                .and_then(|api| with_stack(move || explain::live::explain(&api, &asked))?);
            match explained {
                Ok(report) => report,
                Err(problem) => {
                    writeln!(streams.stderr, "error: {}", report::printable(&problem))?;
                    return Ok(FAILED);
                }
            }
        }
        asked => explain::files::explain(&options, &asked, streams.stdin),
    };
    for unread in &report.unread {
        writeln!(streams.stderr, "error: {}", report::unread(unread))?;
    }
    unless_closed(match arguments.output {
        ExplainOutput::Text => explain::report::text(&report, streams.stdout),
        ExplainOutput::Json => explain::report::json(&report, streams.stdout),
    })?;
    Ok(report.exit_code())
}

fn test(arguments: &TestArgs, streams: &mut Streams<'_>) -> io::Result<u8> {
    let report = test::test(&test::Options {
        paths: arguments.paths.clone(),
        language: match arguments.rego_version {
            RegoVersion::V1 => Language::V1,
            RegoVersion::V0 => Language::V0,
        },
        limit: Duration::from_millis(arguments.timeout),
    });
    for unread in &report.unread {
        writeln!(streams.stderr, "error: {}", report::unread(unread))?;
    }
    unless_closed(match arguments.output {
        TestOutput::Table => test::report::table(&report, test::report::Width::Problems, streams.stdout),
        TestOutput::Wide => test::report::table(&report, test::report::Width::Everything, streams.stdout),
        TestOutput::Json => test::report::json(&report, streams.stdout),
        TestOutput::Junit => test::report::junit(&report, streams.stdout),
    })?;
    Ok(report.exit_code())
}

/// The commands that need a cluster.
fn in_cluster(command: &PolicyCommand, streams: &mut Streams<'_>) -> Result<u8, String> {
    use policy::run;
    match command {
        PolicyCommand::History(it) => run::history(&Connected::to(&it.cluster)?, it, streams),
        PolicyCommand::Diff(it) => run::diff(&Connected::to(&it.cluster)?, it, streams),
        PolicyCommand::Approve(it) => run::approve(&Connected::to(&it.cluster)?, it, streams),
        PolicyCommand::Rollback(it) => run::rollback(&Connected::to(&it.cluster)?, it, streams),
        PolicyCommand::Replay(it) => {
            let is_terminal = io::stderr().is_terminal();
            let mut tell = |resource: &str, seen: usize| {
                if is_terminal {
                    // Nobody is told where this can't be written.
                    let _ = write!(io::stderr(), "\r{resource}: {seen}\u{1b}[K");
                }
            };
            let api = Connected::to(&it.cluster)?;
            let code = run::replay(&api, it, now(), &mut tell, streams);
            if is_terminal {
                let _ = write!(io::stderr(), "\r\u{1b}[K");
            }
            code
        }
        PolicyCommand::Import { .. } => Ok(FAILED),
    }
}

fn import(template: &Path, constraint: &Path, streams: &mut Streams<'_>) -> io::Result<u8> {
    let mut texts = Vec::new();
    for path in [template, constraint] {
        match source::Input::File(path.to_owned()).read(streams.stdin) {
            Ok(text) => texts.push((source::show(path), text)),
            Err(unread) => {
                writeln!(streams.stderr, "error: {}", report::unread(&unread))?;
                return Ok(FAILED);
            }
        }
    }
    let [(template, template_text), (constraint, constraint_text)] = texts.as_slice() else {
        return Ok(FAILED);
    };
    match policy::import::import((template, template_text), (constraint, constraint_text)) {
        Ok(imported) => {
            for note in &imported.notes {
                writeln!(streams.stderr, "note: {}", report::printable(note))?;
            }
            unless_closed(write!(streams.stdout, "{}", yaml::to_string(&imported.policy)))?;
            Ok(0)
        }
        Err(problems) => {
            for problem in problems {
                writeln!(streams.stderr, "error: {}", report::printable(&problem))?;
            }
            Ok(FAILED)
        }
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

fn read_config(path: Option<&Path>) -> Result<Config, String> {
    let Some(path) = path else {
        return Ok(Config::default());
    };
    let name = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{name}: {}", source::reason(&error)))?;
    Config::from_yaml(&text).map_err(|error| {
        let line = error.lines().next().unwrap_or_default();
        format!("{name}: {}", line.replacen(": error: ", ": ", 1))
    })
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

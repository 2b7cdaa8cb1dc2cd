//! The commands, from their flags to what is written where.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use bailiwick_core::config::Config;
use bailiwick_core::rego::Language;

use crate::args::{
    CheckArgs, ExplainArgs, ExplainOutput, Output, PolicyCommand, RegoVersion, TestArgs, TestOutput,
};
use crate::check::source;
use crate::check::stack::with_stack;
use crate::live::client::Connected;
use crate::report::table::{self, Width};
use crate::{FAILED, Streams, check, explain, now, policy, report, test, unless_closed, yaml};

pub(crate) fn check(arguments: &CheckArgs, streams: &mut Streams<'_>) -> io::Result<u8> {
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

pub(crate) fn explain(arguments: &ExplainArgs, streams: &mut Streams<'_>) -> io::Result<u8> {
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

pub(crate) fn test(arguments: &TestArgs, streams: &mut Streams<'_>) -> io::Result<u8> {
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
pub(crate) fn in_cluster(command: &PolicyCommand, streams: &mut Streams<'_>) -> Result<u8, String> {
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

pub(crate) fn import(template: &Path, constraint: &Path, streams: &mut Streams<'_>) -> io::Result<u8> {
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

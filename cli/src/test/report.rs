//! How the outcome of tests is shown: a table, JSON, or JUnit's XML.

use std::io::{self, Write};

use bailiwick_core::rego::{Coverage, Problem, TestOutcome};
use serde_json::{Value, json};

use super::{Report, Tested};
use crate::report::printable;

/// Whether passed tests and covered lines are shown, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// What needs attention.
    Problems,
    /// Everything.
    Everything,
}

/// Writes lines for people.
///
/// # Errors
/// When the output can't be written.
pub fn table(report: &Report, width: Width, out: &mut dyn Write) -> io::Result<()> {
    for policy in &report.policies {
        match &policy.outcome {
            Err(problems) => {
                for problem in problems {
                    writeln!(out, "BROKEN  {}", printable(&problem.to_string()))?;
                }
            }
            Ok(results) => {
                for result in results {
                    let (word, why) = match &result.outcome {
                        TestOutcome::Passed if width == Width::Problems => continue,
                        TestOutcome::Passed => ("passed", String::new()),
                        TestOutcome::Skipped => ("skipped", String::new()),
                        TestOutcome::Failed => ("FAILED", ": it is not true".to_owned()),
                        TestOutcome::Errored(error) => ("FAILED", format!(": {error}")),
                    };
                    let line = format!("{word:<8}{} {}{why}", policy.name, result.name);
                    writeln!(out, "{}", printable(&line))?;
                    for print in &result.prints {
                        writeln!(out, "        {}", printable(print))?;
                    }
                }
                if results.is_empty() {
                    writeln!(out, "no test {}", printable(&policy.name))?;
                }
            }
        }
        if width == Width::Everything {
            for file in &policy.coverage {
                writeln!(out, "covered {} {}", printable(&file.file), covered(file))?;
            }
        }
    }
    let counts = report.counts();
    let broken = if counts.broken > 0 {
        format!(", {} policies can't be compiled", counts.broken)
    } else {
        String::new()
    };
    writeln!(
        out,
        "{} policies: {} tests passed, {} failed, {} skipped{broken}",
        report.policies.len(),
        counts.passed,
        counts.failed,
        counts.skipped
    )
}

fn covered(file: &Coverage) -> String {
    let (reached, all) = (file.covered.len(), file.covered.len() + file.not_covered.len());
    let missed: Vec<String> = file.not_covered.iter().map(u32::to_string).collect();
    if missed.is_empty() {
        format!("{reached} of {all} lines")
    } else {
        format!("{reached} of {all} lines; not: {}", missed.join(", "))
    }
}

/// Writes one JSON document; its schema is in `docs/cli.md`.
///
/// # Errors
/// When the output can't be written.
pub fn json(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let counts = report.counts();
    let policies: Vec<Value> = report.policies.iter().map(policy).collect();
    let unread = report
        .unread
        .iter()
        .map(|it| json!({ "file": it.file, "message": it.message }));
    let document = json!({
        "schemaVersion": 1,
        "exitCode": report.exit_code(),
        "summary": {
            "policies": report.policies.len(),
            "passed": counts.passed,
            "failed": counts.failed,
            "skipped": counts.skipped,
            "broken": counts.broken,
        },
        "policies": policies,
        "unread": unread.collect::<Vec<_>>(),
    });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn policy(policy: &Tested) -> Value {
    let (problems, tests): (&[Problem], _) = match &policy.outcome {
        Ok(results) => (&[], results.as_slice()),
        Err(problems) => (problems, &[]),
    };
    let tests = tests.iter().map(|it| {
        let (outcome, message) = match &it.outcome {
            TestOutcome::Passed => ("Passed", None),
            TestOutcome::Failed => ("Failed", None),
            TestOutcome::Skipped => ("Skipped", None),
            TestOutcome::Errored(error) => ("Failed", Some(error.to_string())),
        };
        json!({ "name": it.name, "outcome": outcome, "message": message, "prints": it.prints })
    });
    let coverage = policy.coverage.iter();
    let coverage =
        coverage.map(|it| json!({ "file": it.file, "covered": it.covered, "notCovered": it.not_covered }));
    json!({
        "name": policy.name,
        "problems": problems,
        "tests": tests.collect::<Vec<_>>(),
        "coverage": coverage.collect::<Vec<_>>(),
    })
}

/// Writes JUnit's XML, which CI systems show.
///
/// # Errors
/// When the output can't be written.
pub fn junit(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(out, r#"<testsuites name="bailiwick test">"#)?;
    for policy in &report.policies {
        suite(policy, out)?;
    }
    for unread in &report.unread {
        let (file, message) = (xml(&unread.file), xml(&unread.message));
        writeln!(
            out,
            r#"  <testsuite name="{file}" tests="1" failures="0" errors="1" skipped="0">"#
        )?;
        writeln!(
            out,
            r#"    <testcase name="read" classname="{file}"><error message="{message}"/></testcase>"#
        )?;
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}

fn suite(policy: &Tested, out: &mut dyn Write) -> io::Result<()> {
    let name = xml(&policy.name);
    let seconds = policy.elapsed.as_secs_f64();
    let cases: Vec<(String, String)> = match &policy.outcome {
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            vec![(
                "compile".to_owned(),
                format!(r#"<error message="{}"/>"#, xml(&lines.join("\n"))),
            )]
        }
        Ok(results) => results
            .iter()
            .map(|it| (it.name.clone(), case(&it.outcome)))
            .collect(),
    };
    let count = |tag: &str| cases.iter().filter(|(_, it)| it.starts_with(tag)).count();
    writeln!(
        out,
        r#"  <testsuite name="{name}" tests="{}" failures="{}" errors="{}" skipped="{}" time="{seconds:.3}">"#,
        cases.len(),
        count("<failure"),
        count("<error"),
        count("<skipped")
    )?;
    for (test, body) in &cases {
        writeln!(
            out,
            r#"    <testcase name="{}" classname="{name}">{body}</testcase>"#,
            xml(test)
        )?;
    }
    writeln!(out, "  </testsuite>")
}

fn case(outcome: &TestOutcome) -> String {
    match outcome {
        TestOutcome::Passed => String::new(),
        TestOutcome::Skipped => "<skipped/>".to_owned(),
        TestOutcome::Failed => r#"<failure message="it is not true"/>"#.to_owned(),
        TestOutcome::Errored(error) => format!(r#"<failure message="{}"/>"#, xml(&error.to_string())),
    }
}

/// Text for an attribute: XML has no way to write most control characters.
fn xml(text: &str) -> String {
    let escaped = text.chars().map(|it| match it {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\n' => "&#10;".to_owned(),
        it if it.is_control() || matches!(it, '\u{fffe}' | '\u{ffff}') => "\u{fffd}".to_owned(),
        it => it.to_string(),
    });
    escaped.collect()
}

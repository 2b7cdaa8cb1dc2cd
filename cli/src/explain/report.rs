//! Explanations for people and for programs.

use std::io::{self, Write};

use bailiwick_core::policy::explain::{Considered, Outcome, Told};
use serde_json::{Value, json};

use super::{Explained, Part, Report, not_judged, word};
use crate::check::Verdict;
use crate::check::policies::Sources;
use crate::report::{object, printable};

/// The longest value that is shown, in characters.
const MAX_VALUE: usize = 120;

/// Writes lines for people.
///
/// # Errors
/// When they can't be written.
pub fn text(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for (i, explained) in report.objects.iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        let mut lines = Vec::new();
        one(explained, &report.sources, &mut lines);
        for line in lines {
            writeln!(out, "{}", printable(&line))?;
        }
    }
    Ok(())
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Denied => "denied",
        Verdict::CannotTell => "can't tell",
        Verdict::Clean => "clean",
        Verdict::NotJudged => "not judged",
    }
}

fn one(explained: &Explained, sources: &Sources, lines: &mut Vec<String>) {
    let place = explained.place.as_ref().map(|it| format!(" ({it})"));
    let tenant = explained.tenant.as_ref().map(|it| format!(" of tenant {it}"));
    lines.push(format!(
        "{}{}{}: {}",
        object(&explained.id),
        place.unwrap_or_default(),
        tenant.unwrap_or_default(),
        verdict(explained.verdict)
    ));
    for finding in &explained.built_in {
        lines.push(format!("  denied by a built-in rule: {finding}"));
    }
    for doubt in &explained.doubts {
        lines.push(format!("  can't tell: {doubt}"));
    }
    for part in &explained.parts {
        let what = match part.prefix.as_str() {
            "" => "it".to_owned(),
            prefix => format!("the {} of its {prefix}", part.kind),
        };
        for considered in &part.considered {
            if let Outcome::Judged { rules, said } = &considered.outcome {
                let revision = considered.revision.as_deref().unwrap_or_default();
                lines.push(format!(
                    "  {}@{revision} judged {what} by {}: {}",
                    considered.policy,
                    rules.join(", "),
                    if said.is_empty() {
                        "nothing to object to"
                    } else {
                        "it objects"
                    }
                ));
                for told in said {
                    say(&considered.policy, &part.prefix, told, sources, lines);
                }
            }
        }
    }
    for (policy, why) in unjudged(&explained.parts) {
        lines.push(format!("  {policy} did not judge it: {why}"));
    }
}

/// The policies that judged no part, with why they didn't judge the object itself.
fn unjudged(parts: &[Part]) -> Vec<(&str, &str)> {
    let judged = |policy: &str| {
        let all = parts.iter().flat_map(|it| &it.considered);
        all.filter(|it| it.policy == policy)
            .any(|it| matches!(it.outcome, Outcome::Judged { .. }))
    };
    // Of a controller, the part that is itself comes last.
    let itself = parts.iter().rev().find(|it| it.prefix.is_empty());
    let considered: &[Considered] = itself.map(|it| it.considered.as_slice()).unwrap_or_default();
    not_judged(considered).filter(|it| !judged(it.0)).collect()
}

fn say(policy: &str, prefix: &str, told: &Told, sources: &Sources, lines: &mut Vec<String>) {
    let finding = &told.finding;
    let rule = finding
        .source
        .as_ref()
        .map(|it| it.rule.as_str())
        .unwrap_or_default();
    let by = if rule.is_empty() {
        String::new()
    } else {
        format!(" by {rule}")
    };
    lines.push(format!("    {}{by}: {}", word(told.enforcement), finding.found));
    if let Some(exception) = &told.exception {
        lines.push(format!("      exception: {exception}"));
    }
    if !finding.field.is_empty() {
        let dot = if prefix.is_empty() { "" } else { "." };
        lines.push(format!("      field: {prefix}{dot}{}", finding.field));
    }
    for because in &told.because {
        lines.push(format!(
            "      rule at {}",
            sources.place(policy, &because.file, because.line)
        ));
        for condition in &because.conditions {
            let place = sources.place(policy, &because.file, condition.line);
            lines.push(format!("        {place}: {}", condition.text));
        }
        for seen in &because.seen {
            lines.push(match &seen.value {
                Some(value) => format!("          {} = {}", seen.path, short(value)),
                None => format!("          {} is absent", seen.path),
            });
        }
    }
    if !finding.fix.is_empty() {
        lines.push(format!("      fix: {}", finding.fix));
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= MAX_VALUE {
        return text;
    }
    let mut cut: String = text.chars().take(MAX_VALUE).collect();
    cut.push('…');
    cut
}

/// Writes one JSON document; its schema is in `docs/cli.md`.
///
/// # Errors
/// When it can't be written.
pub fn json(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let unread = report
        .unread
        .iter()
        .map(|it| json!({"file": it.file, "message": it.message}));
    let objects = report.objects.iter().map(|it| as_json(it, &report.sources));
    let document = json!({
        "schemaVersion": 1,
        "exitCode": report.exit_code(),
        "objects": objects.collect::<Vec<_>>(),
        "unread": unread.collect::<Vec<_>>(),
    });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn as_json(explained: &Explained, sources: &Sources) -> Value {
    let id = &explained.id;
    let part = |it: &Part| {
        let policies = it.considered.iter().map(|it| considered(it, sources));
        json!({"kind": it.kind, "prefix": it.prefix, "policies": policies.collect::<Vec<_>>()})
    };
    json!({
        "apiVersion": id.api_version(),
        "kind": id.kind,
        "namespace": id.namespace,
        "name": id.name,
        "place": explained.place,
        "tenant": explained.tenant,
        "verdict": match explained.verdict {
            Verdict::Denied => "Denied",
            Verdict::CannotTell => "CannotTell",
            Verdict::Clean => "Clean",
            Verdict::NotJudged => "NotJudged",
        },
        "builtIn": explained.built_in,
        "unknown": explained.doubts,
        "parts": explained.parts.iter().map(part).collect::<Vec<_>>(),
    })
}

fn considered(considered: &Considered, sources: &Sources) -> Value {
    let policy = &considered.policy;
    match &considered.outcome {
        Outcome::NotJudged(why) => {
            json!({"policy": policy, "revision": considered.revision, "judged": false, "why": why})
        }
        Outcome::Judged { rules, said } => {
            let said = said.iter().map(|told| {
                let because = told.because.iter().map(|it| {
                    let conditions = it.conditions.iter().map(|condition| {
                        let place = sources.place(policy, &it.file, condition.line);
                        json!({"source": it.file, "line": condition.line, "place": place, "text": condition.text})
                    });
                    json!({
                        "source": it.file,
                        "line": it.line,
                        "place": sources.place(policy, &it.file, it.line),
                        "conditions": conditions.collect::<Vec<_>>(),
                        "seen": it.seen,
                    })
                });
                json!({
                    "outcome": word(told.enforcement),
                    "finding": told.finding,
                    "exception": told.exception,
                    "because": because.collect::<Vec<_>>(),
                })
            });
            json!({
                "policy": policy,
                "revision": considered.revision,
                "judged": true,
                "rules": rules,
                "said": said.collect::<Vec<_>>(),
            })
        }
    }
}

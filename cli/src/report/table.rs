//! A report for people: a row for each finding, what was found and what to do below it, a summary at the end.

use std::collections::BTreeMap;
use std::io::{self, Write};

use bailiwick_core::finding::Finding;

use super::{object, printable};
use crate::check::doubt::Doubt;
use crate::check::node::Position;
use crate::check::{Checked, Report, Verdict};

/// How much the table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// What is denied, and what can't be told.
    Problems,
    /// Every object, with its column and tenant.
    Everything,
}

struct Row {
    cells: Vec<String>,
    below: Vec<(&'static str, String)>,
}

/// Writes the table.
///
/// # Errors
/// When it can't be written.
pub fn write(report: &Report, width: Width, out: &mut dyn Write) -> io::Result<()> {
    let rows: Vec<Row> = report.objects.iter().flat_map(|it| rows(it, width)).collect();
    if !rows.is_empty() {
        let header = match width {
            Width::Problems => vec!["FILE:LINE", "OBJECT", "RULE"],
            Width::Everything => vec!["FILE:LINE:COLUMN", "TENANT", "OBJECT", "VERDICT", "RULE"],
        };
        let header: Vec<String> = header.into_iter().map(str::to_owned).collect();
        let widths: Vec<usize> = (0..header.len())
            .map(|i| {
                let cells = rows.iter().map(|it| &it.cells).chain([&header]);
                cells.map(|it| it[i].chars().count()).max().unwrap_or_default()
            })
            .collect();
        line(&header, &widths, out)?;
        for row in &rows {
            line(&row.cells, &widths, out)?;
            for (label, text) in &row.below {
                writeln!(out, "    {:<9}{}", format!("{label}:"), printable(text))?;
            }
        }
        writeln!(out)?;
    }
    writeln!(out, "{}", summary(report))
}

fn line(cells: &[String], widths: &[usize], out: &mut dyn Write) -> io::Result<()> {
    let padded = cells.iter().zip(widths).map(|(cell, width)| {
        let missing = width.saturating_sub(cell.chars().count());
        format!("{cell}{}", " ".repeat(missing))
    });
    let text = padded.collect::<Vec<_>>().join("  ");
    writeln!(out, "{}", text.trim_end())
}

fn rows(checked: &Checked, width: Width) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let judgement = &checked.judgement;
    for (verdict, findings) in [
        ("denied", &judgement.findings),
        ("warning", &judgement.warnings),
        ("audited", &judgement.audited),
        ("excepted", &judgement.excepted),
    ] {
        if verdict == "excepted" && width == Width::Problems {
            continue;
        }
        rows.extend(findings.iter().map(|placed| Row {
            cells: cells(checked, width, placed.at, verdict, &rule(&placed.finding)),
            below: below(checked, &placed.finding),
        }));
    }
    // That there is no Tenant is said once, not at every object.
    let doubts = checked
        .judgement
        .doubts
        .iter()
        .filter(|it| **it != Doubt::NoTenants);
    for doubt in doubts {
        rows.push(Row {
            cells: cells(checked, width, checked.manifest.at, "can't tell", "can't tell"),
            below: vec![("unknown", doubt.message()), ("fix", doubt.fix().to_owned())],
        });
    }
    if rows.is_empty() && width == Width::Everything {
        let verdict = match checked.verdict() {
            Verdict::Denied => "denied",
            Verdict::CannotTell => "can't tell",
            Verdict::Clean => "clean",
            Verdict::NotJudged => "not judged",
        };
        rows.push(Row {
            cells: cells(checked, width, checked.manifest.at, verdict, "-"),
            below: Vec::new(),
        });
    }
    rows
}

fn cells(checked: &Checked, width: Width, at: Position, verdict: &str, rule: &str) -> Vec<String> {
    let file = printable(&checked.manifest.file);
    let object = object(&checked.manifest.id);
    match width {
        Width::Problems => {
            let rule = match verdict {
                "warning" | "audited" => format!("{rule} ({verdict})"),
                _ => rule.to_owned(),
            };
            vec![format!("{file}:{}", at.line), object, rule]
        }
        Width::Everything => vec![
            format!("{file}:{}:{}", at.line, at.column),
            checked.judgement.tenant.clone().unwrap_or_else(|| "-".to_owned()),
            object,
            verdict.to_owned(),
            if rule == verdict { "-" } else { rule }.to_owned(),
        ],
    }
}

/// The rule; of a policy, with its revision.
fn rule(finding: &Finding) -> String {
    match &finding.source {
        Some(it) => format!("{} {}@{}", finding.rule, it.policy, it.revision),
        None => finding.rule.to_string(),
    }
}

fn below(checked: &Checked, finding: &Finding) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(origin) = &checked.manifest.origin {
        lines.push(("from", origin.clone()));
    }
    if !finding.field.is_empty() {
        lines.push(("field", finding.field.clone()));
    }
    lines.push(("found", finding.found.clone()));
    lines.push(("allowed", finding.allowed.clone()));
    lines.push(("fix", finding.fix.clone()));
    // A policy may leave it at saying what is wrong.
    lines.retain(|it| !it.1.is_empty());
    lines
}

fn summary(report: &Report) -> String {
    let mut parts = Vec::new();
    for (verdict, text) in [
        (Verdict::Denied, "denied"),
        (Verdict::CannotTell, "can't tell"),
        (Verdict::Clean, "clean"),
    ] {
        let count = report.count(verdict);
        if count > 0 || verdict == Verdict::Clean {
            parts.push(format!("{count} {text}"));
        }
    }
    let not_judged = report.count(Verdict::NotJudged);
    if not_judged > 0 {
        parts.push(format!("{not_judged} not judged ({})", kinds(report)));
    }
    for (what, count) in [
        ("warning", report.said(|it| &it.warnings)),
        ("audited finding", report.said(|it| &it.audited)),
        ("excepted finding", report.said(|it| &it.excepted)),
    ] {
        if count > 0 {
            parts.push(counted(count, what));
        }
    }
    if !report.unread.is_empty() {
        parts.push(format!("{} not read", report.unread.len()));
    }
    let policies = match report.policies {
        0 => String::new(),
        1 => ", 1 TenantPolicy".to_owned(),
        many => format!(", {many} TenantPolicies"),
    };
    format!(
        "{} in {}, {}{policies}: {}",
        counted(report.objects.len(), "object"),
        counted(report.files, "file"),
        counted(report.tenants, "Tenant"),
        parts.join(", ")
    )
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The kinds that no rule decides, the most frequent first.
fn kinds(report: &Report) -> String {
    const SHOWN: usize = 5;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for checked in report
        .objects
        .iter()
        .filter(|it| it.verdict() == Verdict::NotJudged)
    {
        *counts.entry(&checked.manifest.id.kind).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
    let mut shown: Vec<String> = counts
        .iter()
        .take(SHOWN)
        .map(|(kind, count)| format!("{} {count}", printable(kind)))
        .collect();
    if counts.len() > SHOWN {
        shown.push(format!("and {} more kinds", counts.len() - SHOWN));
    }
    shown.join(", ")
}

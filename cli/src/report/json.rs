//! A report for programs. The schema is documented in `docs/cli.md`; within a `schemaVersion` it only grows.

use std::collections::BTreeSet;
use std::io::{self, Write};

use bailiwick_core::finding::{RuleId, Source};
use serde::Serialize;

use crate::check::judge::Placed;
use crate::check::node::Position;
use crate::check::{Checked, Report, Verdict};

/// The version of the schema.
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    schema_version: u32,
    exit_code: u8,
    summary: Summary,
    objects: Vec<Object<'a>>,
    unread: Vec<Unread<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    files: usize,
    tenants: usize,
    policies: usize,
    objects: usize,
    denied: usize,
    cannot_tell: usize,
    clean: usize,
    not_judged: usize,
    warnings: usize,
    audited: usize,
    excepted: usize,
    unread: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    api_version: String,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    file: &'a str,
    document: usize,
    #[serde(flatten)]
    at: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Finding<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Finding<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    audited: Vec<Finding<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    excepted: Vec<Finding<'a>>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    policies: &'a BTreeSet<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<Unknown>,
}

#[derive(Serialize)]
struct Place {
    line: u64,
    column: u64,
}

#[derive(Serialize)]
struct Finding<'a> {
    rule: RuleId,
    #[serde(flatten)]
    at: Place,
    field: &'a str,
    found: &'a str,
    allowed: &'a str,
    fix: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a Source>,
}

#[derive(Serialize)]
struct Unknown {
    message: String,
    fix: &'static str,
}

#[derive(Serialize)]
struct Unread<'a> {
    file: &'a str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    at: Option<Place>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<&'a str>,
}

/// Writes the report as one JSON document.
///
/// # Errors
/// When it can't be written.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &document(report))?;
    writeln!(out)
}

fn document(report: &Report) -> Document<'_> {
    let unread = report.unread.iter().map(|it| Unread {
        file: &it.file,
        at: it.at.map(place),
        message: &it.message,
        fix: it.fix.as_deref(),
    });
    Document {
        schema_version: SCHEMA_VERSION,
        exit_code: report.exit_code(),
        summary: Summary {
            files: report.files,
            tenants: report.tenants,
            policies: report.policies,
            objects: report.objects.len(),
            denied: report.count(Verdict::Denied),
            cannot_tell: report.count(Verdict::CannotTell),
            clean: report.count(Verdict::Clean),
            not_judged: report.count(Verdict::NotJudged),
            warnings: report.said(|it| &it.warnings),
            audited: report.said(|it| &it.audited),
            excepted: report.said(|it| &it.excepted),
            unread: report.unread.len(),
        },
        objects: report.objects.iter().map(object).collect(),
        unread: unread.collect(),
        notes: &report.notes,
    }
}

fn object(checked: &Checked) -> Object<'_> {
    let manifest = &checked.manifest;
    let judgement = &checked.judgement;
    let unknown = checked.judgement.doubts.iter().map(|it| Unknown {
        message: it.message(),
        fix: it.fix(),
    });
    Object {
        api_version: manifest.id.api_version(),
        kind: &manifest.id.kind,
        namespace: manifest.id.namespace.as_deref(),
        name: &manifest.id.name,
        file: &manifest.file,
        document: manifest.document,
        at: place(manifest.at),
        origin: manifest.origin.as_deref(),
        tenant: checked.judgement.tenant.as_deref(),
        verdict: match checked.verdict() {
            Verdict::Denied => "Denied",
            Verdict::CannotTell => "CannotTell",
            Verdict::Clean => "Clean",
            Verdict::NotJudged => "NotJudged",
        },
        findings: findings(&judgement.findings),
        warnings: findings(&judgement.warnings),
        audited: findings(&judgement.audited),
        excepted: findings(&judgement.excepted),
        policies: &judgement.policies,
        unknown: unknown.collect(),
    }
}

fn findings(placed: &[Placed]) -> Vec<Finding<'_>> {
    placed
        .iter()
        .map(|Placed { at, finding }| Finding {
            rule: finding.rule,
            at: place(*at),
            field: &finding.field,
            found: &finding.found,
            allowed: &finding.allowed,
            fix: &finding.fix,
            source: finding.source.as_deref(),
        })
        .collect()
}

fn place(at: Position) -> Place {
    Place {
        line: at.line,
        column: at.column,
    }
}

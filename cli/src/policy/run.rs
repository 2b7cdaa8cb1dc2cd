//! The commands about policies of a cluster. An error is a sentence for the standard error.

use std::path::Path;

use bailiwick_core::policy::{Content, StoredRevision};
use bailiwick_crds::v1alpha1::TenantPolicy;

use super::replay::{self, Replay};
use super::stored::{Side, Stored, path};
use super::{approve, diff, history, rollback};
use crate::args::{ApproveArgs, DiffArgs, HistoryArgs, ReplayArgs, RollbackArgs, TableOrJson};
use crate::check::source::Input;
use crate::check::stack::with_stack;
use crate::check::{document, source};
use crate::live::policies::compiled;
use crate::live::{Api, BAILIWICK, Write, Written, kinds, needed};
use crate::report::{printable, unread};
use crate::{FAILED, Streams, unless_closed};

type Outcome = Result<u8, String>;

fn written(result: std::io::Result<()>) -> Result<(), String> {
    unless_closed(result).map_err(|error| format!("the output can't be written: {error}"))
}

/// `bailiwick policy history`.
///
/// # Errors
/// Why there is none.
pub fn history(api: &dyn Api, arguments: &HistoryArgs, streams: &mut Streams<'_>) -> Outcome {
    let name = &arguments.name;
    let policy: TenantPolicy = needed(api, &path(name), &format!("TenantPolicy '{name}'"))?;
    written(match arguments.output {
        TableOrJson::Table => history::table(&policy, streams.stdout),
        TableOrJson::Json => history::json(&policy, streams.stdout),
    })?;
    Ok(0)
}

/// `bailiwick policy diff`: 0 where both say the same, 1 where they differ.
///
/// # Errors
/// Why they can't be compared.
pub fn diff(api: &dyn Api, arguments: &DiffArgs, streams: &mut Streams<'_>) -> Outcome {
    let stored = Stored::read(api, &arguments.name, &arguments.cluster.bailiwick_namespace)?;
    let (from, to) = match &arguments.file {
        None => diff::sides(&stored, arguments.from.as_deref(), arguments.to.as_deref())?,
        Some(file) => {
            let written = of_file(file, streams)?;
            if written.policy != arguments.name {
                return Err(format!(
                    "{} holds TenantPolicy '{}', not '{}'",
                    file.display(),
                    written.policy,
                    arguments.name
                ));
            }
            let to = Side {
                name: source::show(file),
                content: written.content,
            };
            match (&arguments.from, stored.active()) {
                (None, None) => (
                    Side {
                        name: "nothing".to_owned(),
                        content: Content::default(),
                    },
                    to,
                ),
                (from, _) => (stored.side(from.as_deref().unwrap_or("active"))?, to),
            }
        }
    };
    let text = diff::unified(&from, &to);
    written(write!(streams.stdout, "{}", lines(&text)))?;
    Ok(u8::from(!text.is_empty()))
}

/// A text of several lines for a terminal.
fn lines(text: &str) -> String {
    let mut shown = String::new();
    for line in text.lines() {
        shown.push_str(&printable(&line.replace('\t', "    ")));
        shown.push('\n');
    }
    shown
}

/// `bailiwick policy approve`.
///
/// # Errors
/// Why it is not approved.
pub fn approve(api: &dyn Api, arguments: &ApproveArgs, streams: &mut Streams<'_>) -> Outcome {
    let stored = Stored::read(api, &arguments.name, &arguments.cluster.bailiwick_namespace)?;
    let user = approve::whoami(api)?;
    let plan = approve::plan(&stored, &user, arguments.digest.as_deref())?;
    let (from, to) = diff::sides(&stored, None, Some(&plan.revision))?;
    written(write!(streams.stdout, "{}", lines(&diff::unified(&from, &to))))?;
    for note in &plan.notes {
        written(writeln!(streams.stderr, "note: {}", printable(note)))?;
    }
    let question = format!(
        "approve revision {} of {} as '{user}'",
        plan.revision, arguments.name
    );
    if !arguments.yes && !confirmed(&question, streams)? {
        written(writeln!(streams.stderr, "nothing was approved"))?;
        return Ok(FAILED);
    }
    let done = api.write(
        Write::Create,
        &format!("{BAILIWICK}/policyapprovals"),
        &plan.approval,
    )?;
    let already = if done == Written::Exists { " already" } else { "" };
    written(writeln!(
        streams.stdout,
        "revision {} of {} is approved{already} by {}",
        plan.revision,
        arguments.name,
        printable(&user)
    ))?;
    Ok(0)
}

/// Asks; only `y` and `yes` are a yes.
fn confirmed(question: &str, streams: &mut Streams<'_>) -> Result<bool, String> {
    written(write!(streams.stderr, "{}? [y/N] ", printable(question)))?;
    written(streams.stderr.flush())?;
    let mut answer = Vec::new();
    let mut byte = [0];
    // The rest of the input is somebody else's.
    while answer.len() < 16 && streams.stdin.read(&mut byte).unwrap_or(0) == 1 && byte != [b'\n'] {
        answer.extend(byte);
    }
    let answer = String::from_utf8_lossy(&answer).trim().to_lowercase();
    Ok(answer == "y" || answer == "yes")
}

/// `bailiwick policy rollback`.
///
/// # Errors
/// Why it is not rolled back.
pub fn rollback(api: &dyn Api, arguments: &RollbackArgs, streams: &mut Streams<'_>) -> Outcome {
    let stored = Stored::read(api, &arguments.name, &arguments.cluster.bailiwick_namespace)?;
    let wish = match &arguments.to {
        _ if arguments.undo => rollback::Wish::Undo,
        Some(to) => rollback::Wish::To(to),
        None => rollback::Wish::Before,
    };
    let plan = rollback::plan(&stored, wish)?;
    if let Some(patch) = &plan.patch {
        api.write(Write::Merge, &path(&arguments.name), patch)?;
    }
    written(writeln!(streams.stdout, "{}", printable(&plan.says)))?;
    Ok(0)
}

/// `bailiwick policy replay`: 0 without differences, 1 with some. `tell` hears how far it is.
///
/// # Errors
/// Why it can't be told.
pub fn replay(
    api: &(dyn Api + Sync),
    arguments: &ReplayArgs,
    now: i64,
    tell: &mut (dyn FnMut(&str, usize) + Send),
    streams: &mut Streams<'_>,
) -> Outcome {
    let file = arguments
        .file
        .as_deref()
        .map(|it| of_file(it, streams))
        .transpose()?;
    let name = match (&arguments.name, &file) {
        (Some(name), Some(file)) if *name != file.policy => {
            return Err(format!(
                "the file holds TenantPolicy '{}', not '{name}'",
                file.policy
            ));
        }
        (Some(name), _) => name.clone(),
        (None, Some(file)) => file.policy.clone(),
        (None, None) => return Err("name a policy, or give one with -f".to_owned()),
    };
    let there = api.get(&path(&name))?.is_some();
    let stored = if there || file.is_none() {
        Some(Stored::read(api, &name, &arguments.cluster.bailiwick_namespace)?)
    } else {
        None
    };
    let candidate = match (&file, &stored) {
        (Some(file), _) => file.clone(),
        (None, Some(stored)) => stored.kept(&stored.named("candidate")?)?.clone(),
        (None, None) => return Err(format!("there is no TenantPolicy '{name}'")),
    };
    let active = stored
        .as_ref()
        .and_then(|it| it.active().map(|name| it.kept(name)));
    let active = active.transpose()?.cloned();
    let reviews = match &arguments.reviews {
        Some(path) => Some(
            Input::File(path.clone())
                .read(streams.stdin)
                .map_err(|it| unread(&it))?,
        ),
        None => None,
    };
    let report = with_stack(move || -> Result<replay::Report, String> {
        let candidate = compiled(&candidate)?;
        let active = active.as_ref().map(compiled).transpose()?;
        let (tenants, namespaces, unread) = replay::cluster(api)?;
        let mut replay = Replay::new(tenants, &namespaces, active, candidate, now);
        replay.cannot(unread);
        match reviews {
            None => replay::live(api, &mut replay, &kinds::discover(api)?, tell)?,
            Some(text) => {
                let lines = text.lines().enumerate().filter(|it| !it.1.trim().is_empty());
                for (i, line) in lines {
                    replay.review(line, || format!("line {}", i + 1));
                }
            }
        }
        Ok(replay.finish())
    })??;
    for it in &report.unread {
        written(writeln!(streams.stderr, "error: {}", printable(it)))?;
    }
    written(match arguments.output {
        TableOrJson::Table => replay::report::table(&report, streams.stdout),
        TableOrJson::Json => replay::report::json(&report, streams.stdout),
    })?;
    Ok(report.exit_code())
}

/// The TenantPolicy of a file, as a revision that is not kept anywhere.
fn of_file(file: &Path, streams: &mut Streams<'_>) -> Result<StoredRevision, String> {
    let input = if file.as_os_str() == "-" {
        Input::Stdin
    } else {
        Input::File(file.to_owned())
    };
    let shown = input.name();
    let text = input.read(streams.stdin).map_err(|it| unread(&it))?;
    let (documents, problems) = document::read(&shown, &text);
    if let Some(problem) = problems.first() {
        return Err(unread(problem));
    }
    let is_policy =
        |it: &document::Document| it.root.get("kind").and_then(|it| it.text()) == Some("TenantPolicy");
    let mut policies = documents.iter().filter(|it| is_policy(it));
    let (Some(one), None) = (policies.next(), policies.next()) else {
        return Err(format!("{shown}: one TenantPolicy is expected in it"));
    };
    let policy: TenantPolicy = serde_json::from_value(one.root.to_json()).map_err(|error| {
        format!("{shown}: the TenantPolicy can't be read: {error}; `bailiwick check` says more")
    })?;
    let name = policy.metadata.name.clone().unwrap_or_default();
    let content = Content::of(&policy.spec).map_err(|errors| {
        let first = errors.into_iter().next().unwrap_or_default();
        format!("{shown}: {}: {}", first.field, first.message)
    })?;
    Ok(StoredRevision::new(&name, "", content))
}

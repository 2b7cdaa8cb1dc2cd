//! From sources to something that can be evaluated.

use std::panic::{AssertUnwindSafe, catch_unwind};

use regorus::{Engine, PolicyLengthConfig, Value};

use super::builtins;
use super::check::{self, Checked};
use super::limits;
use super::problem::Problem;
use super::source::{Convention, Language, Source};
use super::violation::Severity;

/// A compiled policy. Evaluating it doesn't change it.
#[derive(Clone)]
pub struct Policy {
    pub(super) engine: Engine,
    pub(super) convention: Convention,
    pub(super) entries: Vec<Entry>,
    pub(super) parameters: Value,
    pub(super) name: String,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("convention", &self.convention)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

/// A rule that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) severity: Severity,
}

impl Policy {
    /// Compiles a policy: its own source first, then libraries that it imports.
    ///
    /// # Errors
    /// All that is wrong, each with its place.
    pub fn compile(
        language: Language,
        sources: &[Source],
        parameters: &serde_json::Value,
    ) -> Result<Self, Vec<Problem>> {
        let checked = check(language, sources)?;
        guarded(sources, || {
            let rewritten = rewrite(sources, &checked);
            let mut engine = engine(language, &rewritten, parameters)?;
            prepare(&mut engine, &checked, sources)?;
            Ok(Self {
                engine,
                convention: checked.convention,
                entries: entries(&checked),
                parameters: Value::from(parameters.clone()),
                name: sources.first().map(|it| it.name.clone()).unwrap_or_default(),
            })
        })
    }

    /// Whose way of writing the policy follows.
    pub fn convention(&self) -> Convention {
        self.convention
    }
}

/// Runs what the engine may give up in: a panic of it is a problem of the policy.
pub(super) fn guarded<T>(
    sources: &[Source],
    run: impl FnOnce() -> Result<T, Vec<Problem>>,
) -> Result<T, Vec<Problem>> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        let file = sources.first().map(|it| it.name.as_str()).unwrap_or_default();
        Err(vec![Problem::at(
            file,
            (0, 0),
            "the engine gave up on this policy: simplify it",
        )])
    })
}

/// Parses and checks sources.
pub(super) fn check(language: Language, sources: &[Source]) -> Result<Checked, Vec<Problem>> {
    let problems: Vec<Problem> = sources.iter().filter_map(|it| limits::check(it).err()).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    guarded(sources, || {
        let mut engine = engine(language, sources, &serde_json::Value::Null)?;
        let files: Vec<&str> = sources.iter().map(|it| it.name.as_str()).collect();
        check::check(&files, engine.get_modules())
    })
}

/// An engine with these sources, the parameters below `data.parameters`.
pub(super) fn engine(
    language: Language,
    sources: &[Source],
    parameters: &serde_json::Value,
) -> Result<Engine, Vec<Problem>> {
    let mut engine = Engine::new();
    engine.set_rego_v0(language == Language::V0);
    engine.set_gather_prints(true);
    engine.set_policy_length_config(PolicyLengthConfig::default());
    let mut problems = Vec::new();
    for source in sources {
        if let Err(error) = engine.add_policy(source.name.clone(), source.text.clone()) {
            problems.push(Problem::of_engine(&source.name, &error));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let data = Value::from(serde_json::json!({ "parameters": parameters }));
    engine
        .add_data(data)
        .map_err(|it| vec![Problem::of_engine("parameters", &it)])?;
    Ok(engine)
}

/// Sets the engine's bounds and makes it ready, so that clones of it need nothing more.
pub(super) fn prepare(
    engine: &mut Engine,
    checked: &Checked,
    sources: &[Source],
) -> Result<(), Vec<Problem>> {
    let file = sources.first().map(|it| it.name.as_str()).unwrap_or_default();
    let of_engine = |error: anyhow::Error| vec![Problem::of_engine(file, &error)];
    let is_strict = checked.convention == Convention::Bailiwick;
    engine.set_strict_builtin_errors(is_strict);
    builtins::bound(engine, checked.builtins.iter().map(String::as_str), is_strict).map_err(of_engine)?;
    for entry in entries(checked) {
        engine
            .compile_with_entrypoint(&entry.path.into())
            .map_err(of_engine)?;
    }
    Ok(())
}

fn entries(checked: &Checked) -> Vec<Entry> {
    let entry = |name: &String| Entry {
        path: rule_path(checked, name),
        severity: if name.starts_with("warn") {
            Severity::Warn
        } else {
            Severity::Deny
        },
        name: name.clone(),
    };
    checked.entries.iter().map(entry).collect()
}

/// The path by which the engine finds a rule of the policy.
pub(super) fn rule_path(checked: &Checked, rule: &str) -> String {
    let is_plain = |it: &str| {
        it.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
            && it.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
    };
    let mut path = String::from("data");
    for part in checked.package.iter().skip(1).map(String::as_str).chain([rule]) {
        if is_plain(part) {
            path.push('.');
            path.push_str(part);
        } else {
            path.push('[');
            path.push_str(&serde_json::Value::from(part).to_string());
            path.push(']');
        }
    }
    path
}

/// Lets facts come with the input: the engine prepares itself anew when `data` changes, which takes longer than a
/// decision. `data.bailiwick.tenant` and what it becomes have the same length, so that places stay right.
pub(super) fn rewrite(sources: &[Source], checked: &Checked) -> Vec<Source> {
    let mut rewritten = sources.to_vec();
    for (module, start, end) in &checked.facts {
        if let Some(source) = rewritten.get_mut(*module)
            && let Some(name) = source
                .text
                .get(*start..*end)
                .and_then(|it| it.strip_prefix("data.bailiwick."))
        {
            let fact = format!("input.bailiwick{name}");
            source.text.replace_range(*start..*end, &fact);
        }
    }
    rewritten
}

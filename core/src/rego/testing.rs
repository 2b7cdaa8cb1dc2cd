//! The tests that a policy brings along, as `opa test` runs them.

use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use super::evaluate::{EvaluationError, STEPS, failed};
use super::policy::{self, Policy};
use super::problem::Problem;
use super::source::{Language, Source};

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestOutcome {
    /// It is true.
    Passed,
    /// It is false or undefined.
    Failed,
    /// It could not be evaluated.
    Errored(EvaluationError),
    /// Its name begins with `todo_`.
    Skipped,
}

/// A test and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// Name of the rule.
    pub name: String,
    /// How it ended.
    pub outcome: TestOutcome,
    /// What was printed.
    pub prints: Vec<String>,
}

/// The lines of a source that its tests reached, and those that they didn't, counted from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Name of the source.
    pub file: String,
    /// Lines that were evaluated.
    pub covered: Vec<u32>,
    /// Lines that could have been.
    pub not_covered: Vec<u32>,
}

/// Runs the rules whose names begin with `test_`; sources are those of [`Policy::compile`], tests included.
///
/// # Errors
/// What keeps the policy from being compiled.
pub fn run_tests(
    language: Language,
    sources: &[Source],
    parameters: &serde_json::Value,
    limit: Duration,
) -> Result<(Vec<TestResult>, Vec<Coverage>), Vec<Problem>> {
    // What can't be served can't be tested.
    Policy::compile(language, sources, parameters)?;
    let checked = policy::check(language, sources)?;
    policy::guarded(sources, || {
        let mut engine = policy::engine(language, sources, parameters)?;
        policy::prepare(&mut engine, &checked, sources)?;
        engine.set_execution_timer_config(ExecutionTimerConfig {
            limit,
            check_interval: STEPS,
        });
        engine.set_enable_coverage(true);
        let file = sources.first().map(|it| it.name.as_str()).unwrap_or_default();
        let run = |name: &String| {
            let outcome = if name.starts_with("todo_") {
                TestOutcome::Skipped
            } else {
                outcome(&mut engine, &policy::rule_path(&checked, name), file, limit)
            };
            TestResult {
                name: name.clone(),
                outcome,
                prints: engine.take_prints().unwrap_or_default(),
            }
        };
        let results = checked.tests.iter().map(run).collect();
        Ok((results, coverage(&engine)))
    })
}

fn outcome(engine: &mut Engine, path: &str, file: &str, limit: Duration) -> TestOutcome {
    match engine.eval_rule(path.to_owned()) {
        Ok(Value::Bool(true)) => TestOutcome::Passed,
        Ok(_) => TestOutcome::Failed,
        Err(error) => TestOutcome::Errored(failed(file, &error, limit)),
    }
}

fn coverage(engine: &Engine) -> Vec<Coverage> {
    let Ok(report) = engine.get_coverage_report() else {
        return Vec::new();
    };
    let file = |it: regorus::coverage::File| Coverage {
        file: it.path,
        covered: it.covered.into_iter().collect(),
        not_covered: it.not_covered.into_iter().collect(),
    };
    report.files.into_iter().map(file).collect()
}

//! The trial of a revision before it may serve: it compiles, and its tests pass.

use std::time::Duration;

use bailiwick_crds::v1alpha1::{Expectation, MatchOperation, PolicyError, PolicyTest};
use serde_json::{Map, Value, json};

use super::content::{Content, error};
use super::revision::of_problem;
use crate::finding::{Finding, RuleId};
use crate::rego::{self, Document, EvaluationError, Facts, Review, Severity, TestOutcome};

/// The longest time of one test. Longer than that of an evaluation, because it says nothing of the machine.
const LIMIT: Duration = Duration::from_secs(1);

/// Why a policy, as it is written, is not to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It is no policy, or does not compile.
    Invalid(Vec<PolicyError>),
    /// It compiles, and tests fail.
    Tests(Vec<PolicyError>),
    /// It compiles, and tests fail, some because they took too long: on a machine with more time they might pass.
    Slow(Vec<PolicyError>),
}

impl Failed {
    /// What is wrong.
    pub fn errors(&self) -> &[PolicyError] {
        let (Self::Invalid(errors) | Self::Tests(errors) | Self::Slow(errors)) = self;
        errors
    }
}

/// What is wrong with a policy, as a finding about it.
pub fn finding(error: &PolicyError) -> Finding {
    let found = match (error.line, error.column) {
        (Some(line), Some(column)) => format!("line {line}, column {column}: {}", error.message),
        (Some(line), None) => format!("line {line}: {}", error.message),
        _ => error.message.clone(),
    };
    Finding::new(
        RuleId::PolicyInvalid,
        &error.field,
        found,
        "policies that compile and pass their tests",
        "correct it; until then the last good revision decides",
    )
}

/// Compiles a policy and runs its tests, on a thread with [`rego::STACK`].
///
/// # Errors
/// All that is wrong.
pub fn try_out(content: &Content) -> Result<(), Failed> {
    let sources = content.rego_sources();
    let parameters = Value::Object(content.parameters.clone());
    let problems = |it: Vec<rego::Problem>| Failed::Invalid(it.iter().map(of_problem).collect());
    let policy = rego::Policy::compile(content.language(), &sources, &parameters).map_err(problems)?;
    let mut failures = Vec::new();
    let mut is_slow = false;
    for (i, test) in content.tests.iter().enumerate() {
        let other;
        let policy = match &test.parameters {
            None => &policy,
            Some(it) => {
                let parameters = Value::Object(it.clone());
                other = rego::Policy::compile(content.language(), &sources, &parameters).map_err(problems)?;
                &other
            }
        };
        if let Err(reason) = passes(policy, test) {
            let message = match reason {
                Miss::Otherwise(message) => message,
                Miss::Error(error) => {
                    is_slow |= matches!(error, EvaluationError::Timeout(_));
                    error.to_string()
                }
            };
            failures.push(error(
                format!("spec.tests[{i}]"),
                format!("test '{}': {message}", test.name),
            ));
        }
    }
    // A pack's own tests are run where it is built.
    if content.pack.is_none() {
        let (results, _) =
            rego::run_tests(content.language(), &sources, &parameters, LIMIT).map_err(problems)?;
        for result in results {
            let message = match result.outcome {
                TestOutcome::Passed | TestOutcome::Skipped => continue,
                TestOutcome::Failed => "is not true".to_owned(),
                TestOutcome::Errored(error) => {
                    is_slow |= matches!(error, EvaluationError::Timeout(_));
                    error.to_string()
                }
            };
            failures.push(error("spec.rego", format!("test {}: {message}", result.name)));
        }
    }
    match (failures.is_empty(), is_slow) {
        (true, _) => Ok(()),
        (false, false) => Err(Failed::Tests(failures)),
        (false, true) => Err(Failed::Slow(failures)),
    }
}

/// Why a test does not pass.
enum Miss {
    /// It came out otherwise.
    Otherwise(String),
    /// It did not come out.
    Error(EvaluationError),
}

impl From<String> for Miss {
    fn from(message: String) -> Self {
        Self::Otherwise(message)
    }
}

/// Whether a test comes out as expected.
fn passes(policy: &rego::Policy, test: &PolicyTest) -> Result<(), Miss> {
    let document = |object: &Map<String, Value>| {
        Document::parse(&Value::Object(object.clone()).to_string()).map_err(|it| format!("the object: {it}"))
    };
    let old = test.old_object.as_ref().map(document).transpose()?;
    let operation = match test.operation {
        Some(operation) => operation,
        None if old.is_some() => MatchOperation::Update,
        None => MatchOperation::Create,
    };
    let (object, old) = match operation {
        MatchOperation::Delete => (None, Some(old.map_or_else(|| document(&test.object), Ok)?)),
        _ => (Some(document(&test.object)?), old),
    };
    let envelope = envelope(&test.object, operation);
    let namespace = json!({"name": envelope.get("namespace"), "labels": {}, "annotations": {}});
    let facts = Facts::new(&json!({"name": "test", "labels": {}}), &namespace);
    let review = Review::new(&envelope, object, old);
    let evaluation = policy.evaluate(&review, &facts, LIMIT).map_err(Miss::Error)?;
    let denied = evaluation
        .violations
        .iter()
        .any(|it| it.severity == Severity::Deny);
    let came = match (denied, evaluation.violations.is_empty()) {
        (true, _) => Expectation::Deny,
        (false, false) => Expectation::Warn,
        (false, true) => Expectation::Allow,
    };
    let messages: Vec<&str> = evaluation
        .violations
        .iter()
        .map(|it| it.message.as_str())
        .collect();
    let said = if messages.is_empty() {
        String::new()
    } else {
        format!(" ({})", messages.join("; "))
    };
    if came != test.expect {
        return Err(Miss::Otherwise(format!(
            "expected {:?}, and it came to {came:?}{said}",
            test.expect
        )));
    }
    match &test.message {
        Some(wanted) if !messages.iter().any(|it| it.contains(wanted.as_str())) => {
            Err(Miss::Otherwise(format!(
                "expected a message with '{wanted}', and it said{}",
                if said.is_empty() { " nothing" } else { &said }
            )))
        }
        _ => Ok(()),
    }
}

/// The admission request of an object that somebody wrote down.
pub fn envelope(object: &Map<String, Value>, operation: MatchOperation) -> Value {
    let text = |pointer: &[&str]| {
        let mut at = object.get(*pointer.first()?)?;
        for key in pointer.iter().skip(1) {
            at = at.get(key)?;
        }
        at.as_str()
    };
    let api_version = text(&["apiVersion"]).unwrap_or_default();
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let kind = text(&["kind"]).unwrap_or_default();
    json!({
        "uid": "test",
        "kind": {"group": group, "version": version, "kind": kind},
        "resource": {"group": group, "version": version, "resource": format!("{}s", kind.to_lowercase())},
        "name": text(&["metadata", "name"]).unwrap_or_default(),
        "namespace": text(&["metadata", "namespace"]).unwrap_or("test"),
        "operation": operation,
        "userInfo": {"username": "test", "groups": []},
        "dryRun": false,
    })
}

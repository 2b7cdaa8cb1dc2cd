//! One evaluation.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use regorus::utils::limits::{ExecutionTimerConfig, monotonic_now};
use regorus::value::Object;
use regorus::{LimitError, Value};

use super::input::{Facts, Review};
use super::policy::Policy;
use super::problem::Problem;
use super::source::Convention;
use super::violation::{self, Violation};

/// How much stack the engine needs for the deepest policy that compiles, in bytes. Threads that compile or evaluate need
/// as much.
pub const STACK: usize = 16 * 1024 * 1024;

/// How many steps the engine takes between two looks at the clock. A step is short, what builtins may do is bounded, and a
/// look costs as much as a step: at each one, a third of the time goes to the clock.
pub(super) const STEPS: NonZeroU32 = NonZeroU32::new(8).unwrap();

/// What a policy said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// What it objects to, in a stable order.
    pub violations: Vec<Violation>,
    /// What it printed, for its author.
    pub prints: Vec<String>,
}

/// Why there is no answer. The caller refuses the request, as far as the policy refuses anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// It took longer than its limit.
    #[error("the policy took longer than its {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The engine ended it.
    #[error("{0}")]
    Failed(Problem),
    /// The engine gave up.
    #[error("the engine gave up on this policy")]
    GaveUp,
    /// A rule's value can't be read.
    #[error("the rule {rule} is {found}; it must be a set of strings, or of objects with a string `msg`")]
    Unreadable {
        /// The rule.
        rule: String,
        /// What it is.
        found: String,
    },
}

/// Runs something and tells how long it took, by the clock that the engine ends evaluations by.
pub fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let begin = monotonic_now();
    let result = run();
    let took = monotonic_now()
        .zip(begin)
        .map(|(now, begin)| now.saturating_sub(begin));
    (result, took.unwrap_or_default())
}

impl Policy {
    /// Evaluates a request, within `limit` and on a thread with [`STACK`].
    ///
    /// # Errors
    /// When there is no answer.
    pub fn evaluate(
        &self,
        review: &Review,
        facts: &Facts,
        limit: Duration,
    ) -> Result<Evaluation, EvaluationError> {
        catch_unwind(AssertUnwindSafe(|| self.run(review, facts, limit)))
            .unwrap_or(Err(EvaluationError::GaveUp))
    }

    fn run(&self, review: &Review, facts: &Facts, limit: Duration) -> Result<Evaluation, EvaluationError> {
        let mut engine = self.engine.clone();
        engine.set_execution_timer_config(ExecutionTimerConfig {
            limit,
            check_interval: STEPS,
        });
        engine.set_input(self.input(review, facts));
        let mut violations = Vec::new();
        for entry in &self.entries {
            let value = engine
                .eval_rule(entry.path.clone())
                .map_err(|it| failed(&self.name, &it, limit))?;
            let read = violation::read(&entry.name, entry.severity, &value);
            violations.extend(read.map_err(|found| EvaluationError::Unreadable {
                rule: entry.name.clone(),
                found,
            })?);
        }
        violations.sort();
        Ok(Evaluation {
            violations,
            prints: engine.take_prints().unwrap_or_default(),
        })
    }

    pub(super) fn input(&self, review: &Review, facts: &Facts) -> Value {
        let mut input = match (self.convention, &review.object) {
            (Convention::Conftest, Value::Object(object)) => object.as_ref().clone(),
            (Convention::Conftest, _) => Object::new(),
            (Convention::Bailiwick, _) => {
                Object::from_iter([(Value::from("request"), review.request.clone())])
            }
            (Convention::Gatekeeper, _) => Object::from_iter([
                (Value::from("review"), review.request.clone()),
                (Value::from("parameters"), self.parameters.clone()),
            ]),
        };
        input.insert(Value::from("bailiwicktenant"), facts.tenant.clone());
        input.insert(Value::from("bailiwicknamespace"), facts.namespace.clone());
        Value::from(input)
    }
}

pub(super) fn failed(name: &str, error: &anyhow::Error, limit: Duration) -> EvaluationError {
    match error.downcast_ref::<LimitError>() {
        Some(LimitError::TimeLimitExceeded { .. }) => EvaluationError::Timeout(limit),
        _ => EvaluationError::Failed(Problem::of_engine(name, error)),
    }
}

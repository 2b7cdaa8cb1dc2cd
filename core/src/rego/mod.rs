//! Policies in Rego: compiled, checked and evaluated. Nothing outside this folder names the engine (regorus).
//!
//! A [`Policy`] is compiled once and evaluated from many threads. What the engine can't bound is refused when it is
//! compiled, with file, line and column; what is left is bounded when it runs, and whatever goes wrong then is an
//! [`EvaluationError`], which the caller counts as a denial.

mod builtins;
mod check;
mod evaluate;
mod explain;
mod input;
mod limits;
mod names;
mod policy;
mod problem;
mod source;
mod testing;
mod violation;

pub use check::MAX_DEPTH;
pub use evaluate::{Evaluation, EvaluationError, STACK, timed};
pub use explain::{Because, Condition, Seen};
pub use input::{Document, Facts, MAX_VALUES, Review};
pub use limits::{MAX_OPERATORS, MAX_SOURCE};
pub use policy::Policy;
pub use problem::Problem;
pub use source::{Convention, Language, Source};
pub use testing::{Coverage, TestOutcome, TestResult, run_tests};
pub use violation::{Severity, Violation};

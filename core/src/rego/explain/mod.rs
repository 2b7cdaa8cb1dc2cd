//! Why a policy objects: which definition of a rule came true, by which conditions, and what they looked at.
//!
//! The engine tells which lines it evaluated, and a line that was evaluated need not have decided anything. So each
//! definition is evaluated once more by itself, as a rule that also tells what its variables were when it came true. What
//! can't be told exactly is not told.

mod look;
mod probe;
mod seen;

use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use super::evaluate::STEPS;
use super::input::{Facts, Review};
use super::policy::{self, Policy};
use super::source::{Language, Source};
use super::violation::{self, Violation};
use probe::Probe;

/// One way in which a rule came true.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Because {
    /// Name of the source.
    pub file: String,
    /// Where the definition of the rule begins.
    pub line: u32,
    /// The conditions that held, in the order of the source.
    pub conditions: Vec<Condition>,
    /// What they looked at.
    pub seen: Vec<Seen>,
}

/// A condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Condition {
    /// Its line.
    pub line: u32,
    /// Its text, on one line.
    pub text: String,
}

/// A value that a condition looked at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Seen {
    /// Where it is: a path that begins with `input` or `data`, or else a variable of the rule.
    pub path: String,
    /// The value; none where there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
}

/// The most ways that are told of one violation.
const MAX_WAYS: usize = 4;

impl Policy {
    /// The names of the rules that decide.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|it| it.name.as_str())
    }

    /// The ways in which violations came true, each with the violation. `sources` and `language` are those that the policy
    /// was compiled from; on a thread with [`super::STACK`].
    pub fn explain(
        &self,
        language: Language,
        sources: &[Source],
        review: &Review,
        facts: &Facts,
        limit: Duration,
    ) -> Vec<(Violation, Because)> {
        let parameters = serde_json::to_value(&self.parameters).unwrap_or_default();
        let told = policy::guarded(sources, || {
            let (mut engine, probes) = prepared(language, sources, &parameters)?;
            engine.set_execution_timer_config(ExecutionTimerConfig {
                limit,
                check_interval: STEPS,
            });
            let input = self.input(review, facts);
            engine.set_input(input.clone());
            let mut told: Vec<(Violation, Because)> = Vec::new();
            for probe in &probes {
                for (violation, because) in self.tell(&mut engine, probe, &input) {
                    let ways = told.iter().filter(|it| it.0 == violation);
                    if ways.clone().count() < MAX_WAYS && ways.clone().all(|it| it.1 != because) {
                        told.push((violation, because));
                    }
                }
            }
            Ok(told)
        });
        told.unwrap_or_default()
    }

    fn tell(&self, engine: &mut Engine, probe: &Probe, input: &Value) -> Vec<(Violation, Because)> {
        let severity = self.entries.iter().find(|it| it.name == probe.rule);
        let (Some(severity), Ok(Value::Set(ways))) = (
            severity.map(|it| it.severity),
            engine.eval_rule(probe.path.clone()),
        ) else {
            return Vec::new();
        };
        let way = |way: &Value| {
            let Value::Object(members) = way else { return None };
            let value = members.get(&Value::from("value"))?;
            let locals = members.get(&Value::from("locals"))?;
            // The value of a set's rule is one of its elements.
            let element = match value {
                Value::Bool(_) if !probe.is_set => value.clone(),
                other => Value::from(
                    [other.clone()]
                        .into_iter()
                        .collect::<std::collections::BTreeSet<_>>(),
                ),
            };
            let violation = violation::read(&probe.rule, severity, &element)
                .ok()?
                .into_iter()
                .next()?;
            let because = Because {
                file: probe.file.clone(),
                line: probe.line,
                conditions: probe.conditions.clone(),
                seen: seen::all(&probe.looked_at, locals, input, &self.parameters),
            };
            Some((violation, because))
        };
        ways.iter().filter_map(way).collect()
    }
}

/// An engine with the policy and its probes.
fn prepared(
    language: Language,
    sources: &[Source],
    parameters: &serde_json::Value,
) -> Result<(Engine, Vec<Probe>), Vec<super::Problem>> {
    let checked = policy::check(language, sources)?;
    let written = sources;
    let mut sources = policy::rewrite(written, &checked);
    let probes = {
        let mut engine = policy::engine(language, &sources, parameters)?;
        probe::all(&checked, engine.get_modules(), written, language)
    };
    for probe in &probes {
        if let Some(source) = sources.get_mut(probe.module) {
            source.text.push_str(&probe.text);
        }
    }
    let mut engine = policy::engine(language, &sources, parameters)?;
    policy::prepare(&mut engine, &checked, &sources)?;
    Ok((engine, probes))
}

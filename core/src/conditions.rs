//! Conditions, after the Kubernetes API conventions.

use std::fmt::Display;

use bailiwick_crds::v1alpha1::{ConditionType, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The longest message that the schema of a Condition takes.
const MAX_MESSAGE: usize = 32_000;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody knows yet.
    Unknown,
}

impl Holds {
    /// As a condition's `status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What is to be said about one condition, of a Tenant or of another kind with types and reasons of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said<T = ConditionType, R = Reason> {
    /// Which condition.
    pub type_: T,
    /// Whether it holds.
    pub holds: Holds,
    /// Why, in a word.
    pub reason: R,
    /// Why, in a sentence.
    pub message: String,
}

/// Sets conditions, keeping the transition time of those whose status is unchanged.
///
/// `now` is the time of this observation, `generation` the `metadata.generation` that it is about.
#[allow(
    clippy::needless_pass_by_value,
    reason = "a time is small, and callers have no other use for it"
)]
pub fn set<T: Display, R: Display>(
    conditions: &mut Vec<Condition>,
    said: impl IntoIterator<Item = Said<T, R>>,
    generation: i64,
    now: Time,
) {
    for Said {
        type_,
        holds,
        reason,
        message,
    } in said
    {
        let type_ = type_.to_string();
        let old = conditions.iter().position(|it| it.type_ == type_);
        let since = old
            .and_then(|i| conditions.get(i))
            .filter(|it| it.status == holds.as_str())
            .map_or_else(|| now.clone(), |it| it.last_transition_time.clone());
        let condition = Condition {
            type_,
            status: holds.as_str().to_owned(),
            reason: reason.to_string(),
            message: message.chars().take(MAX_MESSAGE).collect(),
            observed_generation: Some(generation),
            last_transition_time: since,
        };
        match old.and_then(|i| conditions.get_mut(i)) {
            Some(place) => *place = condition,
            None => conditions.push(condition),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        serde_json::from_value(serde_json::Value::from(text)).unwrap()
    }

    fn ready(holds: Holds) -> Vec<Said> {
        vec![Said {
            type_: ConditionType::Ready,
            holds,
            reason: Reason::AllApplied,
            message: "m".to_owned(),
        }]
    }

    #[test]
    fn the_transition_time_moves_with_the_status_only() {
        let mut conditions = Vec::new();
        set(&mut conditions, ready(Holds::True), 1, at("2026-01-01T00:00:00Z"));
        set(&mut conditions, ready(Holds::True), 2, at("2026-01-02T00:00:00Z"));
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].observed_generation, Some(2));
        assert_eq!(conditions[0].last_transition_time, at("2026-01-01T00:00:00Z"));
        set(
            &mut conditions,
            ready(Holds::False),
            2,
            at("2026-01-03T00:00:00Z"),
        );
        assert_eq!(conditions[0].last_transition_time, at("2026-01-03T00:00:00Z"));
    }
}

//! Which rules decide, which test, and whose convention a policy follows.

use regorus::unstable::Module;

use super::{Check, Convention, place};

/// Whether a rule is a test, as `opa test` names them.
pub(in crate::rego) fn is_test(rule: &str) -> bool {
    rule.starts_with("test_") || rule.starts_with("todo_test_")
}

/// Whether a rule decides: `deny`, `warn` or `violation`, alone or with a suffix, as conftest names them.
fn is_entry(rule: &str) -> bool {
    ["deny", "warn", "violation"]
        .iter()
        .filter_map(|it| rule.strip_prefix(it))
        .any(|it| it.is_empty() || it.starts_with('_'))
}

impl Check<'_> {
    /// The rules that decide, as the policy's own convention names them.
    pub(super) fn entry_points(&mut self, policy: &Module) -> Option<(Convention, Vec<String>)> {
        let names = self.names.first()?;
        let entries: Vec<String> = names.rules.iter().filter(|it| is_entry(it)).cloned().collect();
        let package: Vec<&str> = names.package.iter().skip(1).map(String::as_str).collect();
        let has_violation = entries.iter().any(|it| it.starts_with("violation"));
        let convention = match package.as_slice() {
            ["bailiwick"] => Convention::Bailiwick,
            ["main"] => Convention::Conftest,
            _ if has_violation => Convention::Gatekeeper,
            other => {
                let message = format!(
                    "package {} is not one that decides: write `package bailiwick` with `deny` or `warn`, `package main` for a conftest policy, or `violation` for a Gatekeeper one",
                    other.join(".")
                );
                self.problem(0, place(&policy.package.span), message);
                return None;
            }
        };
        let functions: Vec<&String> = entries
            .iter()
            .filter(|it| {
                self.functions
                    .contains_key(&[names.package.as_slice(), std::slice::from_ref(*it)].concat())
            })
            .collect();
        if let Some(function) = functions.first() {
            let message = format!(
                "{function} is a function; what decides is a rule such as `deny contains msg if {{ … }}`"
            );
            self.problem(0, place(&policy.package.span), message);
            return None;
        }
        if entries.is_empty() {
            self.problem(
                0,
                place(&policy.package.span),
                "there is no rule that decides: add `deny contains msg if { … }`, `warn` or `violation`",
            );
            return None;
        }
        Some((convention, entries))
    }
}

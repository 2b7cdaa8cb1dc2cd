//! What a policy answers.

use regorus::Value;

/// Whether a violation is meant to refuse or to warn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Severity {
    /// From `deny` and `violation`.
    Deny,
    /// From `warn`.
    Warn,
}

/// One thing that a policy objects to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Violation {
    /// The rule that said so, such as `deny`.
    pub rule: String,
    /// Whether it refuses or warns.
    pub severity: Severity,
    /// What is wrong: `msg` of an object, or the string itself.
    pub message: String,
    /// Where in the object, if the policy says so.
    pub field: Option<String>,
    /// What to do, if the policy says so.
    pub fix: Option<String>,
}

/// The most violations of one rule that are told.
const MAX_VIOLATIONS: usize = 16;
/// The longest text that is told, in characters.
const MAX_TEXT: usize = 1024;

/// Reads the value of a rule.
///
/// # Errors
/// What was found instead of something that can be read.
pub(super) fn read(rule: &str, severity: Severity, value: &Value) -> Result<Vec<Violation>, String> {
    let one = |message: String, field, fix| Violation {
        rule: rule.to_owned(),
        severity,
        message: cut(&message),
        field,
        fix,
    };
    let item = |value: &Value| match value {
        Value::String(message) => Ok(one(message.to_string(), None, None)),
        Value::Object(members) => {
            let text = |name: &str| match members.get(&Value::from(name)) {
                Some(Value::String(text)) => Some(cut(text)),
                _ => None,
            };
            let message = text("msg").or_else(|| text("message"));
            let message = message.ok_or("an object without a string `msg`")?;
            Ok(one(message, text("field"), text("fix")))
        }
        other => Err(format!("{} among its values", kind(other))),
    };
    match value {
        Value::Undefined | Value::Bool(false) => Ok(Vec::new()),
        Value::Bool(true) => Ok(vec![one(format!("the rule {rule} is true"), None, None)]),
        Value::String(_) => Ok(vec![item(value)?]),
        Value::Set(items) => items.iter().take(MAX_VIOLATIONS).map(item).collect(),
        Value::Array(items) => items.iter().take(MAX_VIOLATIONS).map(item).collect(),
        Value::Object(members) if members.is_empty() => Ok(Vec::new()),
        other => Err(kind(other).to_owned()),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Set(_) => "a set",
        Value::Object(_) => "an object",
        Value::Undefined => "nothing",
    }
}

//! What a condition looked at, found again in the input.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{Expr, Ref};

use super::Seen;

/// A place that a condition looks at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Looked {
    pub(super) base: Base,
    pub(super) steps: Vec<Step>,
}

/// Where a place begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Base {
    Input,
    Parameters,
    /// A variable of which nothing but its value is known.
    Local(String),
    /// A variable that stands for a place.
    Alias(String, Box<Alias>),
}

/// The place that a variable stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Alias(pub(super) Looked);

/// A step further.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Key(String),
    Number(usize),
    /// The value of a variable.
    Local(String),
    /// The value at another place.
    Found(Box<Looked>),
    /// To the one member that equals a variable.
    Holding(String),
}

/// The step that an index makes; none where it can't be told.
pub(super) fn step(
    index: &Ref<Expr>,
    wildcards: &BTreeMap<u32, String>,
    locals: &BTreeSet<String>,
) -> Option<Step> {
    match index.as_ref() {
        Expr::String { value, .. } | Expr::RawString { value, .. } => match value {
            Value::String(text) => Some(Step::Key(text.to_string())),
            _ => None,
        },
        Expr::Number { value, .. } => usize::try_from(value.as_u64().ok()?).ok().map(Step::Number),
        Expr::Var { span, .. } if span.text() == "_" => wildcards.get(&span.start).cloned().map(Step::Local),
        Expr::Var { span, .. } if locals.contains(span.text()) => Some(Step::Local(span.text().to_owned())),
        _ => None,
    }
}

/// The most values that are told.
const MAX_SEEN: usize = 16;

/// The values at all places, each once.
pub(super) fn all(looked: &[Looked], locals: &Value, input: &Value, parameters: &Value) -> Vec<Seen> {
    let world = World {
        locals,
        input,
        parameters,
    };
    let mut seen: Vec<Seen> = Vec::new();
    for found in looked.iter().filter_map(|it| world.find(it)) {
        let is_told = seen.iter().any(|it| it.path == found.path);
        if !is_told && seen.len() < MAX_SEEN {
            seen.push(found);
        }
    }
    seen
}

struct World<'a> {
    locals: &'a Value,
    input: &'a Value,
    parameters: &'a Value,
}

/// A path with the value there.
type At = (String, Option<Value>);

impl World<'_> {
    fn find(&self, looked: &Looked) -> Option<Seen> {
        let (path, value) = self.walk(looked)?;
        // The whole input, or a whole document of it, says nothing.
        let is_too_much = [
            "input",
            "input.request",
            "input.review",
            "input.request.object",
            "input.review.object",
        ];
        if is_too_much.contains(&path.as_str()) {
            return None;
        }
        let value = value.map(|it| serde_json::to_value(&it)).transpose().ok()?;
        Some(Seen {
            path: named(&path),
            value,
        })
    }

    fn walk(&self, looked: &Looked) -> Option<At> {
        let mut at = match &looked.base {
            Base::Input => ("input".to_owned(), Some(self.input.clone())),
            Base::Parameters => ("data.parameters".to_owned(), Some(self.parameters.clone())),
            Base::Local(name) => (name.clone(), Some(self.local(name)?.clone())),
            Base::Alias(name, alias) => match self.walk(&alias.0) {
                Some((path, Some(value))) if self.local(name) == Some(&value) => (path, Some(value)),
                _ => (name.clone(), Some(self.local(name)?.clone())),
            },
        };
        for step in &looked.steps {
            at = self.go(at, step)?;
        }
        Some(at)
    }

    fn local(&self, name: &str) -> Option<&Value> {
        member(self.locals, &Value::from(name))
    }

    fn go(&self, (path, value): At, step: &Step) -> Option<At> {
        let key = match step {
            Step::Key(key) => Value::from(key.as_str()),
            Step::Number(index) => Value::from(u64::try_from(*index).ok()?),
            Step::Local(name) => self.local(name)?.clone(),
            Step::Found(looked) => self.walk(looked)?.1?,
            Step::Holding(name) => only_key(value.as_ref()?, self.local(name)?)?,
        };
        let below = value.as_ref().and_then(|it| member(it, &key)).cloned();
        Some((push(path, &key)?, below))
    }
}

fn member<'a>(value: &'a Value, key: &Value) -> Option<&'a Value> {
    match (value, key) {
        (Value::Object(members), key) => members.get(key),
        (Value::Array(items), Value::Number(_)) => items.get(usize::try_from(key.as_u64().ok()?).ok()?),
        _ => None,
    }
}

/// The key of the one member that equals a value.
fn only_key(collection: &Value, value: &Value) -> Option<Value> {
    let mut keys: Vec<Value> = match collection {
        Value::Array(items) => {
            let equal = items.iter().enumerate().filter(|it| it.1 == value);
            equal
                .filter_map(|it| u64::try_from(it.0).ok())
                .map(Value::from)
                .collect()
        }
        Value::Object(members) => members
            .iter()
            .filter(|it| it.1 == value)
            .map(|it| it.0.clone())
            .collect(),
        _ => return None,
    };
    match keys.len() {
        1 => keys.pop(),
        _ => None,
    }
}

fn push(mut path: String, key: &Value) -> Option<String> {
    match key {
        Value::String(key) => {
            let is_name = !key.is_empty() && key.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
            if is_name {
                path.push('.');
                path.push_str(key);
            } else {
                path.push_str("['");
                path.push_str(key);
                path.push_str("']");
            }
        }
        Value::Number(_) => {
            path.push('[');
            path.push_str(&key.as_u64().ok()?.to_string());
            path.push(']');
        }
        _ => return None,
    }
    Some(path)
}

/// Facts come with the input, and are called what the policy calls them.
fn named(path: &str) -> String {
    for fact in super::super::check::FACTS {
        if let Some(rest) = path.strip_prefix(&format!("input.bailiwick{fact}")) {
            return format!("data.bailiwick.{fact}{rest}");
        }
    }
    path.to_owned()
}

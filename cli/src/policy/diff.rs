//! `bailiwick policy diff`: what differs between two revisions, source by source, as reviewers read it.

use std::collections::BTreeSet;

use bailiwick_core::policy::Content;
use serde_json::Value;
use similar::TextDiff;

use super::stored::{Side, Stored};
use crate::yaml;

/// The two sides that are meant; without names, what decides and what is to follow.
///
/// # Errors
/// Why one of them is not there.
pub fn sides(stored: &Stored, from: Option<&str>, to: Option<&str>) -> Result<(Side, Side), String> {
    let to = stored.side(to.unwrap_or("candidate"))?;
    let from = match (from, stored.active()) {
        (Some(from), _) => stored.side(from)?,
        (None, Some(_)) => stored.side("active")?,
        (None, None) => Side {
            name: "nothing".to_owned(),
            content: Content::default(),
        },
    };
    Ok((from, to))
}

/// A unified diff of the sources and of everything else; empty where both say the same.
pub fn unified(from: &Side, to: &Side) -> String {
    let fields: BTreeSet<&String> = [from, to]
        .iter()
        .flat_map(|it| it.content.sources.iter().map(|it| &it.field))
        .collect();
    let mut text = one(from, to, "spec", &rest(&from.content), &rest(&to.content));
    for field in fields {
        let source = |side: &Side| {
            let found = side.content.sources.iter().find(|it| it.field == *field);
            found.map(|it| it.text.clone()).unwrap_or_default()
        };
        text.push_str(&one(from, to, field, &source(from), &source(to)));
    }
    text
}

fn one(from: &Side, to: &Side, field: &str, before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    TextDiff::from_lines(before, after)
        .unified_diff()
        .header(&format!("{field} {}", from.name), &format!("{field} {}", to.name))
        .to_string()
}

/// All but the sources, as YAML.
fn rest(content: &Content) -> String {
    if *content == Content::default() {
        return String::new();
    }
    let mut value = serde_json::to_value(content).unwrap_or_default();
    if let Value::Object(members) = &mut value {
        members.remove("sources");
    }
    yaml::to_string(&value)
}

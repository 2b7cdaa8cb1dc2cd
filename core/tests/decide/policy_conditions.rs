//! `docs/policies.md` explains every condition of a policy and every reason, as `docs/conditions.md` does for Tenants.

use std::fs;
use std::path::Path;

use bailiwick_crds::v1alpha1::{PolicyConditionType, PolicyReason};

fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policies.md");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn headings<'a>(text: &'a str, chapter: &str) -> Vec<&'a str> {
    text.lines()
        .skip_while(|it| *it != format!("## {chapter}"))
        .skip(1)
        .take_while(|it| !it.starts_with("## "))
        .filter_map(|it| it.strip_prefix("### "))
        .collect()
}

fn section<'a>(text: &'a str, chapter: &str, heading: &str) -> &'a str {
    let text = &text[text.find(&format!("\n## {chapter}\n")).unwrap()..];
    let begin = text.find(&format!("\n### {heading}\n")).unwrap() + 5;
    let rest = &text[begin..];
    rest.find("\n##").map_or(rest, |end| &rest[..end])
}

#[test]
fn every_type_and_every_reason_has_a_heading_and_no_heading_is_stale() {
    let text = text();
    assert_eq!(
        headings(&text, "Conditions"),
        PolicyConditionType::ALL.map(|it| it.to_string())
    );
    assert_eq!(
        headings(&text, "Reasons"),
        PolicyReason::ALL.map(|it| it.to_string())
    );
}

#[test]
fn every_type_lists_its_reasons_and_no_others() {
    let text = text();
    for type_ in PolicyConditionType::ALL {
        let listed: Vec<&str> = section(&text, "Conditions", &type_.to_string())
            .lines()
            .filter(|it| it.starts_with("- "))
            .collect();
        let expected: Vec<String> = type_
            .reasons()
            .iter()
            .map(|(status, reasons)| {
                let reasons: Vec<String> = reasons.iter().map(|it| format!("`{it}`")).collect();
                format!("- `{status}`: {}", reasons.join(", "))
            })
            .collect();
        assert_eq!(listed, expected, "{type_}");
    }
}

#[test]
fn every_reason_says_what_to_do_and_is_some_types() {
    let text = text();
    for reason in PolicyReason::ALL {
        let section = section(&text, "Reasons", &reason.to_string());
        assert!(section.contains("**What to do.**"), "{reason}");
        let is_given = PolicyConditionType::ALL
            .into_iter()
            .flat_map(PolicyConditionType::reasons)
            .any(|(_, reasons)| reasons.contains(&reason));
        assert!(is_given, "{reason} is no type's");
    }
}

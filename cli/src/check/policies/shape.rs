//! The CEL rules of a TenantPolicy's schema, in words of their own.

use bailiwick_core::finding::{Finding, RuleId};
use bailiwick_crds::v1alpha1::{RolloutMode, TenantPolicySpec};

fn wrong(field: &str, found: impl Into<String>, allowed: &str, fix: &str) -> Finding {
    Finding::new(RuleId::PolicyInvalid, field, found, allowed, fix)
}

/// What is wrong with the name.
pub(super) fn name(name: &str) -> Option<Finding> {
    let is_alphanumeric = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    let is_label = name.starts_with(is_alphanumeric)
        && name.ends_with(is_alphanumeric)
        && name.chars().all(|it| is_alphanumeric(it) || it == '-');
    (!is_label || name.len() > 63).then(|| {
        wrong(
            "metadata.name",
            format!("'{name}'"),
            "at most 63 lower case letters, digits and '-', beginning and ending with a letter or digit",
            "choose another name",
        )
    })
}

/// What members of the spec, each right by itself, say wrong together. That of `tenants` and `tenantSelector` one must be
/// set, and `match` with `rego`, is said by the policy's content.
pub(super) fn rules(spec: &TenantPolicySpec) -> Vec<Finding> {
    let mut found = Vec::new();
    if spec.rego.is_some() && spec.pack.is_some() {
        found.push(wrong(
            "spec.pack",
            "a pack beside rego",
            "exactly one of rego and pack",
            "remove one of the two",
        ));
    }
    if spec.rego.is_none() {
        for (field, is_there) in [
            ("spec.libs", spec.libs.is_some()),
            ("spec.regoVersion", spec.rego_version.is_some()),
        ] {
            if is_there {
                found.push(wrong(
                    field,
                    "set without rego",
                    "set with rego only: a pack brings its own",
                    "remove it",
                ));
            }
        }
    }
    let rollout = spec.rollout.clone().unwrap_or_default();
    if (rollout.mode == RolloutMode::Percent) != rollout.percent.is_some() {
        found.push(wrong(
            "spec.rollout.percent",
            match rollout.percent {
                Some(percent) => format!("{percent} with mode {:?}", rollout.mode),
                None => "nothing with mode Percent".to_owned(),
            },
            "set with mode Percent, and only then",
            "set both, or neither",
        ));
    }
    found
}

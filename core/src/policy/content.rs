//! What a revision of a policy holds: all that its verdicts depend on, and what is needed to approve it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bailiwick_crds::v1alpha1::{
    Enforcement, Exception, Match, MatchOperation, PackRef, PolicyError, PolicyTest, RegoVersion,
    TenantPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{pack, schema};
use crate::rego::{Language, Source};
use crate::review::{Operation, Request};
use crate::selector;

/// The longest time of one evaluation where the policy says none, in milliseconds.
const EVALUATION_MILLISECONDS: i32 = 50;

/// How deep parameters and the objects of tests may be nested: less than what the API server would store.
const LEVELS: usize = 64;

/// What a revision holds. Two policies with the same content and name have the same digest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// The tenants that the policy is for, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<String>>,
    /// The tenants that the policy is for, by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_selector: Option<LabelSelector>,
    /// Which requests it judges.
    #[serde(rename = "match")]
    pub match_: Match,
    /// What becomes of a violation.
    pub enforcement: Enforcement,
    /// What the policy reads as its parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// The dialect of the sources.
    pub rego_version: RegoVersion,
    /// The policy, then what it imports. A pack's source is here, so that a kept revision needs no pack.
    pub sources: Vec<SourceText>,
    /// The pack that the sources are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackRef>,
    /// Tests that must pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<PolicyTest>,
    /// The longest time of one evaluation.
    pub evaluation_milliseconds: i32,
    /// How many approvals it, and what follows it, needs.
    pub required_approvals: i32,
    /// Namespaces that it lets be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exception>,
}

/// A source and where it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceText {
    /// The field of the spec, such as `spec.rego`, or the pack.
    pub field: String,
    /// The text.
    pub text: String,
}

/// What is wrong with a field of a policy.
pub(super) fn error(field: impl Into<String>, message: impl Into<String>) -> PolicyError {
    PolicyError {
        field: field.into().chars().take(253).collect(),
        line: None,
        column: None,
        message: message.into().chars().take(2048).collect(),
    }
}

/// What is nested deeper than anything that reads it goes.
fn too_deep(spec: &TenantPolicySpec) -> Vec<PolicyError> {
    let mut all: Vec<(String, Option<&Map<String, Value>>)> =
        vec![("spec.parameters".to_owned(), spec.parameters.as_ref())];
    for (i, test) in spec.tests.iter().enumerate() {
        let field = |name: &str| format!("spec.tests[{i}].{name}");
        all.push((field("object"), Some(&test.object)));
        all.push((field("oldObject"), test.old_object.as_ref()));
        all.push((field("parameters"), test.parameters.as_ref()));
    }
    let is_shallow = |it: &Map<String, Value>| it.values().all(|it| is_within(it, LEVELS));
    all.into_iter()
        .filter(|(_, it)| !it.is_none_or(is_shallow))
        .map(|(field, _)| {
            let message =
                format!("is nested deeper than {LEVELS} levels; at most {LEVELS} are allowed: flatten it");
            error(field, message)
        })
        .collect()
}

/// Whether a value has no more than so many levels.
fn is_within(value: &Value, levels: usize) -> bool {
    let Some(left) = levels.checked_sub(1) else {
        return false;
    };
    match value {
        Value::Array(items) => items.iter().all(|it| is_within(it, left)),
        Value::Object(members) => members.values().all(|it| is_within(it, left)),
        _ => true,
    }
}

impl Content {
    /// The content of a policy as it is written.
    ///
    /// # Errors
    /// Everything that keeps it from being one, by field.
    pub fn of(spec: &TenantPolicySpec) -> Result<Self, Vec<PolicyError>> {
        let mut errors = Vec::new();
        let mut pack_match = None;
        let mut sources = Vec::new();
        errors.extend(too_deep(spec));
        if !errors.is_empty() {
            return Err(errors);
        }
        let parameters = spec.parameters.clone().unwrap_or_default();
        if let Some(rego) = &spec.rego {
            let text = |field: String, text: &String| SourceText {
                field,
                text: text.clone(),
            };
            sources.push(text("spec.rego".to_owned(), rego));
            let libs = spec.libs.iter().flatten().enumerate();
            sources.extend(libs.map(|(i, lib)| text(format!("spec.libs[{i}]"), lib)));
        }
        if let Some(PackRef { name, version }) = &spec.pack {
            match pack::find(name, version) {
                Ok(pack) => {
                    let misfits = schema::check(&pack.manifest.parameters, &parameters);
                    errors.extend(
                        misfits
                            .into_iter()
                            .map(|(path, message)| error(format!("spec.parameters.{path}"), message)),
                    );
                    pack_match = Some(pack.manifest.match_.clone());
                    sources.push(SourceText {
                        field: format!("pack {name} {version}"),
                        text: pack.rego.to_owned(),
                    });
                }
                Err(message) => errors.push(error("spec.pack", message)),
            }
        }
        let match_ = spec.match_.clone().or(pack_match);
        if match_.is_none() && errors.is_empty() {
            errors.push(error(
                "spec.match",
                "is missing: it says which requests the policy judges",
            ));
        }
        let match_ = match_.unwrap_or_default();
        for (field, selector) in [
            ("spec.tenantSelector", &spec.tenant_selector),
            ("spec.match.namespaceSelector", &match_.namespace_selector),
        ] {
            if let Some((path, reason)) = selector.as_ref().and_then(selector::problem) {
                errors.push(error(format!("{field}.{path}"), reason));
            }
        }
        if spec.tenants.is_some() == spec.tenant_selector.is_some() {
            errors.push(error(
                "spec",
                "exactly one of tenants and tenantSelector must be set",
            ));
        }
        if sources.is_empty() && errors.is_empty() {
            errors.push(error("spec", "exactly one of rego and pack must be set"));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            tenants: spec.tenants.clone(),
            tenant_selector: spec.tenant_selector.clone(),
            match_,
            enforcement: spec.enforcement,
            parameters,
            rego_version: spec.rego_version.unwrap_or_default(),
            sources,
            pack: spec.pack.clone(),
            tests: spec.tests.clone(),
            evaluation_milliseconds: spec
                .limits
                .as_ref()
                .and_then(|it| it.evaluation_milliseconds)
                .unwrap_or(EVALUATION_MILLISECONDS),
            required_approvals: spec.approvals.as_ref().map_or(0, |it| it.required),
            exceptions: spec.exceptions.clone(),
        })
    }

    /// The digest of this content as one of this policy: SHA-256 in hexadecimal digits.
    pub fn digest(&self, policy: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(b"bailiwick.dev/v1alpha1 TenantPolicy\0");
        hash.update(policy.as_bytes());
        hash.update(b"\0");
        hash.update(serde_json::to_vec(self).unwrap_or_default());
        hash.finalize().iter().fold(String::new(), |mut text, byte| {
            // Writing to a String never fails.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Whether the policy is for this tenant. `labels` are those of its Tenant object; none where that is not known.
    /// Without them a selector that asks for labels can't tell.
    pub fn is_for(&self, tenant: &str, labels: Option<&BTreeMap<String, String>>) -> Option<bool> {
        if let Some(tenants) = &self.tenants {
            return Some(tenants.iter().any(|it| it == tenant));
        }
        let Some(selector) = &self.tenant_selector else {
            return Some(false);
        };
        let asks = selector.match_labels.as_ref().is_some_and(|it| !it.is_empty())
            || selector
                .match_expressions
                .as_ref()
                .is_some_and(|it| !it.is_empty());
        match labels {
            Some(labels) => Some(selector::matches(selector, labels)),
            None => (!asks).then_some(true),
        }
    }

    /// Whether it judges a request in a namespace with these labels.
    pub fn judges(&self, request: &Request<'_>, labels: &BTreeMap<String, String>) -> bool {
        let operation = match request.operation {
            Operation::Create => MatchOperation::Create,
            Operation::Update => MatchOperation::Update,
            Operation::Delete => MatchOperation::Delete,
            Operation::Connect => MatchOperation::Connect,
        };
        self.match_.operations.contains(&operation)
            && request.sub_resource.as_deref() != Some("status")
            && self.takes(&request.kind.group, &request.kind.kind)
            && self
                .match_
                .namespace_selector
                .as_ref()
                .is_none_or(|it| selector::matches(it, labels))
    }

    /// Whether objects of a kind are judged.
    pub fn takes(&self, group: &str, kind: &str) -> bool {
        self.match_
            .resources
            .iter()
            .any(|it| it.groups.iter().any(|it| it == group) && it.kinds.iter().any(|it| it == kind))
    }

    /// The exception that lets an object be, at a time in Unix seconds.
    pub fn exception(&self, namespace: &str, name: &str, now: i64) -> Option<&Exception> {
        self.exceptions.iter().find(|it| {
            it.until.0.as_second() > now
                && it.namespaces.iter().any(|it| it == namespace)
                && it
                    .objects
                    .as_ref()
                    .is_none_or(|it| !name.is_empty() && it.iter().any(|it| it == name))
        })
    }

    pub(super) fn language(&self) -> Language {
        match self.rego_version {
            RegoVersion::V1 => Language::V1,
            RegoVersion::V0 => Language::V0,
        }
    }

    pub(super) fn rego_sources(&self) -> Vec<Source> {
        self.sources
            .iter()
            .map(|it| Source::new(&it.field, &it.text))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_too_deep_is_refused_by_field() {
        let nested = |levels: usize| {
            let mut value = json!(1);
            for _ in 0..levels {
                value = json!([{ "a": value }]);
            }
            value
        };
        let of = |parameters: &Value, object: &Value| {
            let spec = json!({
                "tenants": ["acme"], "enforcement": "Deny", "parameters": { "a": parameters },
                "match": { "resources": [{ "groups": [""], "kinds": ["Pod"] }] }, "rego": "package bailiwick\n",
                "tests": [{ "name": "t", "object": { "a": object }, "expect": "Allow" }],
            });
            let content = Content::of(&serde_json::from_value(spec).unwrap());
            content
                .map(|_| ())
                .map_err(|it| it.into_iter().map(|it| it.field).collect::<Vec<_>>())
        };
        let (deepest, deeper) = (nested(31), nested(32));
        assert_eq!(of(&deepest, &deepest), Ok(()));
        assert_eq!(of(&deeper, &deepest), Err(vec!["spec.parameters".to_owned()]));
        assert_eq!(
            of(&deepest, &deeper),
            Err(vec!["spec.tests[0].object".to_owned()])
        );
    }
}

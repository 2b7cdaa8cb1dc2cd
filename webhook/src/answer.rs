//! The answer to an AdmissionReview.

use std::collections::BTreeMap;

use bailiwick_core::decide::Decision;
use bailiwick_core::finding::Finding;
use bailiwick_core::policy::Ran;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionReview<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(rename = "status")]
    outcome: &'static str,
    code: u16,
    reason: &'static str,
    message: String,
    details: Details,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    causes: Vec<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
}

#[derive(Serialize)]
struct Cause {
    reason: &'static str,
    field: String,
    message: String,
}

/// The body that answers a review with a decision.
///
/// A denial is a 403, each finding one of its causes. One that may pass a moment later is a 503 with
/// `retryAfterSeconds`, which clients follow by themselves.
pub fn answer(uid: &str, decision: &Decision) -> Vec<u8> {
    let review = AdmissionReview {
        api_version: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: Response {
            uid,
            allowed: decision.allowed(),
            status: (!decision.allowed()).then(|| status(decision)),
            warnings: decision.warnings.iter().map(ToString::to_string).collect(),
            audit_annotations: annotations(uid, decision),
        },
    };
    serde_json::to_vec(&review).unwrap_or_default()
}

fn status(decision: &Decision) -> Status {
    let retriable = decision.is_retriable();
    let causes = decision.findings.iter().map(|it| Cause {
        reason: it.rule.as_str(),
        field: it.field.clone(),
        message: it.to_string(),
    });
    Status {
        outcome: "Failure",
        code: if retriable { 503 } else { 403 },
        reason: if retriable {
            "ServiceUnavailable"
        } else {
            "Forbidden"
        },
        message: decision.message(),
        details: Details {
            causes: causes.collect(),
            retry_after_seconds: retriable.then_some(1),
        },
    }
}

/// The API server puts the webhook's name before each key.
fn annotations(uid: &str, decision: &Decision) -> BTreeMap<&'static str, String> {
    let mut annotations = BTreeMap::new();
    if let Some(tenant) = &decision.tenant {
        annotations.insert("tenant", tenant.clone());
    }
    if !decision.allowed() {
        let mut rules: Vec<&str> = decision.findings.iter().map(|it| it.rule.as_str()).collect();
        rules.dedup();
        annotations.insert("rules", rules.join(","));
        annotations.insert("decision-id", uid.to_owned());
    }
    let said = |findings: &[Finding]| {
        findings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    };
    for (key, findings) in [
        ("warnings", &decision.warnings),
        ("audit", &decision.audited),
        ("excepted", &decision.excepted),
    ] {
        if !findings.is_empty() {
            annotations.insert(key, said(findings));
        }
    }
    if !decision.ran.is_empty() {
        let revisions: Vec<String> = decision.ran.iter().map(revision).collect();
        annotations.insert("revisions", revisions.join(", "));
    }
    annotations
}

/// A revision that decided, and whose it is.
fn revision(ran: &Ran) -> String {
    let Ran {
        policy,
        revision,
        author,
        approved_by,
        ..
    } = ran;
    let approved = if approved_by.is_empty() {
        String::new()
    } else {
        format!(" approved by {}", approved_by.join(" and "))
    };
    format!("{policy}@{revision} by {author}{approved}")
}

#[cfg(test)]
mod tests {
    use bailiwick_core::finding::RuleId;
    use serde_json::Value;

    use super::*;

    fn value(findings: Vec<Finding>) -> Value {
        let decision = Decision {
            tenant: Some("acme".to_owned()),
            findings,
            ..Decision::default()
        };
        serde_json::from_slice(&answer("u", &decision)).unwrap()
    }

    #[test]
    fn an_allowance_says_no_more_than_needed() {
        let value = value(Vec::new());
        assert_eq!(
            value["response"],
            serde_json::json!({"uid": "u", "allowed": true, "auditAnnotations": {"tenant": "acme"}})
        );
    }

    #[test]
    fn a_denial_is_a_403_with_each_finding_as_a_cause() {
        let finding = |rule| Finding::new(rule, "f", "found", "allowed", "fix");
        let value = value(vec![finding(RuleId::PodLabel), finding(RuleId::Managed)]);
        let status = &value["response"]["status"];
        assert_eq!(status["code"], 403);
        assert_eq!(status["reason"], "Forbidden");
        assert_eq!(status["details"]["causes"][1]["reason"], "BW-MANAGED");
        assert_eq!(
            value["response"]["auditAnnotations"]["rules"],
            "BW-POD-LABEL,BW-MANAGED"
        );
        let message = status["message"].as_str().unwrap();
        assert!(
            message.contains("[1] BW-POD-LABEL") && message.contains("[2] BW-MANAGED"),
            "{message}"
        );
    }

    #[test]
    fn what_may_pass_later_is_a_503_to_be_retried() {
        let value = value(vec![Finding::new(
            RuleId::Undecided,
            "f",
            "found",
            "allowed",
            "fix",
        )]);
        assert_eq!(value["response"]["status"]["code"], 503);
        assert_eq!(value["response"]["status"]["details"]["retryAfterSeconds"], 1);
        assert_eq!(value["response"]["allowed"], false);
    }
}

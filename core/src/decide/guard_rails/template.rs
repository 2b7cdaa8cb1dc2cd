//! Controllers of Pods, judged by their templates.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::pod::{self, Stage};
use super::{Judge, Rails, Side, below, claim};
use crate::decide::{Findings, read};
use crate::grants::null_is_empty;

/// What has its template beside `spec`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PodTemplate<'a> {
    #[serde(borrow)]
    template: Option<Template<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec<'a> {
    #[serde(borrow)]
    template: Option<Template<'a>>,
    #[serde(borrow)]
    job_template: Option<JobTemplate<'a>>,
    /// Of a StatefulSet.
    #[serde(deserialize_with = "null_is_empty")]
    volume_claim_templates: Vec<claim::Claim>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobTemplate<'a> {
    #[serde(borrow)]
    spec: Option<JobSpec<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobSpec<'a> {
    #[serde(borrow)]
    template: Option<Template<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Template<'a> {
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
}

/// The rules of a kind that makes Pods.
pub(super) fn judge_of(group: &str, path: &str) -> Option<Judge> {
    let makes_pods = matches!(
        (group, path),
        ("", "replicationcontrollers" | "podtemplates")
            | (
                "apps",
                "deployments" | "statefulsets" | "daemonsets" | "replicasets"
            )
            | ("batch", "jobs" | "cronjobs")
    );
    makes_pods.then_some(judge as Judge)
}

fn judge(rails: &Rails<'_>, side: &Side<'_>) -> Findings {
    let spec: Spec<'_> = side.spec()?;
    let mut own = None;
    if rails.request.resource.resource == "podtemplates" {
        own = read::<PodTemplate<'_>>(side.raw, "request.object")?.template;
    }
    let of_job = spec
        .job_template
        .and_then(|it| it.spec)
        .and_then(|it| it.template);
    let templates = [
        ("template", own),
        ("spec.template", spec.template),
        ("spec.jobTemplate.spec.template", of_job),
    ];
    let stage = if rails.request.resource.resource == "daemonsets" {
        Stage::PinnedTemplate
    } else {
        Stage::Template
    };
    let mut findings = Vec::new();
    for (prefix, template) in templates {
        let raw = template.and_then(|it| it.spec);
        findings.extend(below(prefix, pod::judge_spec(rails, raw, stage)?));
    }
    for (i, claim) in spec.volume_claim_templates.iter().enumerate() {
        let prefix = format!("spec.volumeClaimTemplates[{i}]");
        findings.extend(below(&prefix, claim::judge_template(rails, claim)));
    }
    Ok(findings)
}

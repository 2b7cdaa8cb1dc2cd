//! Ingresses: of which class, and for which names.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Rails, Side, host, shown};
use crate::decide::Findings;
use crate::finding::{Finding, RuleId};
use crate::grants::null_is_empty;
use crate::review::Metadata;

/// Where a class stood before the field existed; controllers still look at it.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    ingress_class_name: Option<String>,
    default_backend: Option<IgnoredAny>,
    #[serde(deserialize_with = "null_is_empty")]
    rules: Vec<Rule>,
    #[serde(deserialize_with = "null_is_empty")]
    tls: Vec<Tls>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rule {
    host: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tls {
    #[serde(deserialize_with = "null_is_empty")]
    hosts: Vec<String>,
}

pub(super) fn judge(rails: &Rails<'_>, side: &Side<'_>) -> Findings {
    let spec: Spec = side.spec()?;
    let mut findings = class(rails, spec.ingress_class_name.as_deref(), side.metadata);
    for (i, rule) in spec.rules.iter().enumerate() {
        let name = rule.host.as_deref().unwrap_or_default();
        findings.extend(host::judge(rails, format!("spec.rules[{i}].host"), name));
    }
    // What answers where no rule does.
    if spec.default_backend.is_some() {
        findings.extend(host::judge(rails, "spec.defaultBackend".to_owned(), ""));
    }
    for (i, tls) in spec.tls.iter().enumerate() {
        findings.extend(host::judge_all(
            rails,
            &format!("spec.tls[{i}].hosts"),
            &tls.hosts,
        ));
    }
    findings.extend(host::annotated(rails, side.metadata));
    Ok(findings)
}

/// With a list an Ingress has to name one of it: controllers may take what names none.
fn class(rails: &Rails<'_>, field: Option<&str>, metadata: &Metadata<'_>) -> Vec<Finding> {
    let Some(list) = rails.list(|it| it.ingress_classes.as_ref()) else {
        return Vec::new();
    };
    let annotation = metadata.annotations.get(CLASS_ANNOTATION).map(|it| &**it);
    let named = [
        (
            "spec.ingressClassName".to_owned(),
            field.or_else(|| annotation.is_none().then_some("")),
        ),
        (format!("metadata.annotations['{CLASS_ANNOTATION}']"), annotation),
    ];
    let is_listed = |it: &str| list.iter().any(|listed| listed == it);
    named
        .into_iter()
        .filter_map(|(field, name)| Some((field, name?)))
        .filter(|(_, name)| !is_listed(name))
        .map(|(field, name)| {
            rails.not_listed(
                RuleId::IngressClass,
                field,
                shown(name),
                list,
                "spec.workloads.ingressClasses",
            )
        })
        .collect()
}

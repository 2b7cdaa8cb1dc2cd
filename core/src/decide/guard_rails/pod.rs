//! Pods: where their images come from, and on which terms and nodes they run.

use bailiwick_crds::v1alpha1::{AllowedToleration, TaintEffect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{Rails, Side, claim, placement};
use crate::decide::{Findings, Stop, read};
use crate::finding::{Finding, RuleId, some_of};
use crate::grants::null_is_empty;
use crate::image::{Repository, Source};

/// What the rules read of a Pod. The lists stay text until a rule needs them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::decide) struct Spec<'a> {
    #[serde(borrow)]
    containers: Option<&'a RawValue>,
    #[serde(borrow)]
    init_containers: Option<&'a RawValue>,
    #[serde(borrow)]
    ephemeral_containers: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) volumes: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) node_selector: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) affinity: Option<&'a RawValue>,
    node_name: Option<String>,
    priority_class_name: Option<String>,
    runtime_class_name: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    tolerations: Vec<Toleration>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    image: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Volume {
    image: Option<ImageVolume>,
    ephemeral: Option<Ephemeral>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ImageVolume {
    reference: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ephemeral {
    volume_claim_template: Option<claim::Claim>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Toleration {
    key: Option<String>,
    operator: Option<String>,
    value: Option<String>,
    effect: Option<String>,
}

/// Whether what is empty may still be filled in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The object as it will be stored.
    Final,
    /// A template of which objects will be made, which are judged in turn.
    Template,
    /// A template of Pods whose nodes are chosen before anything is filled in.
    PinnedTemplate,
}

pub(super) fn judge(rails: &Rails<'_>, side: &Side<'_>) -> Findings {
    side.pod.map_or_else(
        || judge_spec(rails, side.spec, Stage::Final),
        |spec| judge_read(rails, spec, Stage::Final),
    )
}

/// Judges the `spec` of a Pod, or of a template.
pub(super) fn judge_spec(rails: &Rails<'_>, raw: Option<&RawValue>, stage: Stage) -> Findings {
    if raw.is_none() {
        return Ok(Vec::new());
    }
    judge_read(rails, &read(raw, "spec")?, stage)
}

fn judge_read(rails: &Rails<'_>, spec: &Spec<'_>, stage: Stage) -> Findings {
    let mut findings = Vec::new();
    images(rails, spec, stage, &mut findings)?;
    findings.extend(priority(rails, spec));
    findings.extend(runtime(rails, spec));
    findings.extend(node(spec));
    let tolerations = spec.tolerations.iter().enumerate();
    findings.extend(tolerations.filter_map(|(i, it)| toleration(rails, i, it)));
    ephemeral_claims(rails, spec, &mut findings)?;
    findings.extend(placement::judge_pod(rails, spec, stage)?);
    Ok(findings)
}

pub(super) fn items<T: DeserializeOwned>(raw: Option<&RawValue>, field: &str) -> Result<Vec<T>, Stop> {
    raw.map_or_else(|| Ok(Vec::new()), |it| super::list_of(it, field))
}

/// Each image, wherever it is named, comes from a registry of the Tenant's.
fn images(rails: &Rails<'_>, spec: &Spec<'_>, stage: Stage, findings: &mut Vec<Finding>) -> Result<(), Stop> {
    let Some(registries) = rails.list(|it| it.registries.as_ref()) else {
        return Ok(());
    };
    let sources: Vec<Source> = registries.iter().filter_map(|it| Source::parse(it)).collect();
    let mut check = |field: String, image: Option<&str>| {
        let image = image.unwrap_or_default();
        if image.is_empty() && stage != Stage::Final {
            return;
        }
        let found = match Repository::parse(image) {
            Some(it) if sources.iter().any(|source| source.holds(&it)) => return,
            Some(it) => format!("'{image}', from {}/{}", it.registry, it.path),
            None => format!("'{image}', which is no reference of an image"),
        };
        findings.push(rails.not_listed(
            RuleId::ImageRegistry,
            field,
            found,
            registries,
            "spec.workloads.registries",
        ));
    };
    for (name, raw) in [
        ("initContainers", spec.init_containers),
        ("containers", spec.containers),
        ("ephemeralContainers", spec.ephemeral_containers),
    ] {
        let containers: Vec<Container> = items(raw, "spec.containers")?;
        for (i, container) in containers.iter().enumerate() {
            check(format!("spec.{name}[{i}].image"), container.image.as_deref());
        }
    }
    let volumes: Vec<Volume> = items(spec.volumes, "spec.volumes")?;
    for (i, volume) in volumes.iter().enumerate() {
        if let Some(image) = &volume.image {
            check(
                format!("spec.volumes[{i}].image.reference"),
                image.reference.as_deref(),
            );
        }
    }
    Ok(())
}

/// The priority of what keeps the cluster running is never a tenant's: its Pods would push those out.
fn priority(rails: &Rails<'_>, spec: &Spec<'_>) -> Option<Finding> {
    const FIELD: &str = "spec.priorityClassName";
    let name = spec.priority_class_name.as_deref().filter(|it| !it.is_empty())?;
    if name.starts_with("system-") {
        return Some(Finding::new(
            RuleId::PriorityClass,
            FIELD,
            format!("'{name}'"),
            "no PriorityClass that begins with 'system-'",
            "choose another PriorityClass: these are for what keeps the cluster itself running",
        ));
    }
    let list = rails.list(|it| it.priority_classes.as_ref())?;
    let is_listed = list.iter().any(|it| it == name);
    (!is_listed).then(|| {
        rails.not_listed(
            RuleId::PriorityClass,
            FIELD,
            format!("'{name}'"),
            list,
            "spec.workloads.priorityClasses",
        )
    })
}

/// With a list a Pod has to name one of it: without a RuntimeClass it would run outside any sandbox.
fn runtime(rails: &Rails<'_>, spec: &Spec<'_>) -> Option<Finding> {
    let list = rails.list(|it| it.runtime_classes.as_ref())?;
    let name = spec.runtime_class_name.as_deref().unwrap_or_default();
    let passes = list.iter().any(|it| it == name) || (name.is_empty() && list.is_empty());
    (!passes).then(|| {
        rails.not_listed(
            RuleId::RuntimeClass,
            "spec.runtimeClassName",
            super::shown(name),
            list,
            "spec.workloads.runtimeClasses",
        )
    })
}

/// A Pod that names its node passes by the scheduler, by taints and by whatever else says who runs where.
fn node(spec: &Spec<'_>) -> Option<Finding> {
    let name = spec.node_name.as_deref().filter(|it| !it.is_empty())?;
    Some(Finding::new(
        RuleId::PodNodeName,
        "spec.nodeName",
        format!("'{name}'"),
        "no node: the scheduler chooses one",
        "leave nodeName out; nodeSelector and affinity say what kind of node it has to be",
    ))
}

/// The taints of Kubernetes itself, which each DaemonSet and each Pod tolerates for a while.
const NODE_CONDITIONS: &str = "node.kubernetes.io/";
const CONTROL_PLANE: [&str; 2] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
];

fn toleration(rails: &Rails<'_>, i: usize, toleration: &Toleration) -> Option<Finding> {
    let key = toleration.key.as_deref().unwrap_or_default();
    let listed = rails.workloads.and_then(|it| it.tolerations.as_ref());
    let placement = rails.spec.and_then(|it| it.placement.as_ref());
    let is_placed = placement.is_some_and(|it| it.tolerations.iter().any(|it| permits(it, toleration)));
    let is_own = key.starts_with(NODE_CONDITIONS);
    let is_listed = listed.is_some_and(|it| it.iter().any(|it| permits(it, toleration)));
    let is_everything = key.is_empty() || CONTROL_PLANE.contains(&key);
    if is_own || is_listed || is_placed || (listed.is_none() && !is_everything) {
        return None;
    }
    let allowed = match listed {
        Some(listed) => format!(
            "{NODE_CONDITIONS}* and {}",
            some_of(listed.iter().map(|it| &it.key))
        ),
        None => "tolerations of one taint by its key, but for the control plane's".to_owned(),
    };
    Some(Finding::new(
        RuleId::PodToleration,
        format!("spec.tolerations[{i}]"),
        described(toleration),
        allowed,
        format!(
            "name the taints that the Pods have to tolerate, or let the platform add to spec.workloads.tolerations of Tenant '{}'",
            rails.tenant
        ),
    ))
}

/// Whether all that is tolerated is allowed: what is left out stands for everything, on both sides.
fn permits(allowed: &AllowedToleration, toleration: &Toleration) -> bool {
    let given = |it: &Option<String>| it.clone().filter(|it| !it.is_empty());
    let exists = toleration.operator.as_deref() == Some("Exists");
    let value = (!exists).then(|| toleration.value.clone().unwrap_or_default());
    let effect = allowed.effect.map(|it| match it {
        TaintEffect::NoSchedule => "NoSchedule",
        TaintEffect::PreferNoSchedule => "PreferNoSchedule",
        TaintEffect::NoExecute => "NoExecute",
    });
    // Operators that compare (Lt, Gt) stand for more than one value.
    let is_equal = matches!(toleration.operator.as_deref(), None | Some("" | "Equal"));
    toleration.key.as_ref() == Some(&allowed.key)
        && (allowed.value.is_none() || (is_equal && value == allowed.value))
        && (effect.is_none() || given(&toleration.effect).as_deref() == effect)
}

fn described(toleration: &Toleration) -> String {
    let text = |it: &Option<String>| it.clone().filter(|it| !it.is_empty());
    let key = match text(&toleration.key) {
        Some(key) => format!("'{key}'"),
        None => "every taint".to_owned(),
    };
    let value = match text(&toleration.operator).as_deref() {
        Some("Exists") => String::new(),
        operator => format!(
            " {} '{}'",
            operator.unwrap_or("Equal"),
            text(&toleration.value).unwrap_or_default()
        ),
    };
    let effect = text(&toleration.effect).map(|it| format!(", effect {it}"));
    format!("{key}{value}{}", effect.unwrap_or_default())
}

/// The claims of generic ephemeral volumes are made by a controller, which nobody watches.
fn ephemeral_claims(rails: &Rails<'_>, spec: &Spec<'_>, findings: &mut Vec<Finding>) -> Result<(), Stop> {
    let may_claim = spec
        .volumes
        .is_some_and(|it| it.get().contains("volumeClaimTemplate"));
    if !may_claim {
        return Ok(());
    }
    let volumes: Vec<Volume> = items(spec.volumes, "spec.volumes")?;
    for (i, volume) in volumes.iter().enumerate() {
        let claim = volume
            .ephemeral
            .as_ref()
            .and_then(|it| it.volume_claim_template.as_ref());
        if let Some(claim) = claim {
            let prefix = format!("spec.volumes[{i}].ephemeral.volumeClaimTemplate");
            findings.extend(super::below(&prefix, claim::judge_template(rails, claim)));
        }
    }
    Ok(())
}

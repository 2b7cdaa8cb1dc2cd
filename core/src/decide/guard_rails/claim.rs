//! PersistentVolumeClaims: of which class, and whose data.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::pod::Stage;
use super::{Rails, Side, placement, shown};
use crate::decide::{CONTROLLER_MANAGER, Findings};
use crate::finding::{Finding, RuleId};
use crate::placement::Placed;
use crate::review::Operation;

/// Who binds claims to volumes.
const BINDER: &str = "system:serviceaccount:kube-system:persistent-volume-binder";
/// Where a class stood before the field existed; it still comes first.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// The template of a claim.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Claim {
    metadata: Option<Annotated>,
    spec: Option<Spec>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotated {
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    storage_class_name: Option<String>,
    volume_name: Option<String>,
    data_source_ref: Option<DataSource>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DataSource {
    kind: String,
    name: String,
    namespace: Option<String>,
}

pub(super) fn judge(rails: &Rails<'_>, side: &Side<'_>) -> Findings {
    let annotation = side.metadata.annotations.get(CLASS_ANNOTATION).map(|it| &**it);
    let spec: Spec = side.spec()?;
    let mut findings = judge_spec(rails, annotation, &spec, Stage::Final);
    let annotation = |key: &str| side.metadata.annotations.get(key).map(ToString::to_string);
    findings.extend(placement::judge_selected_node(rails, annotation));
    let may_be_bound = findings.iter().all(|it| it.rule != RuleId::ClaimVolume);
    let volume = spec.volume_name.filter(|it| !it.is_empty() && may_be_bound);
    if let Some(volume) = volume
        && bound_before(rails).as_ref() != Some(&volume)
    {
        findings.extend(placement::judge_bound(rails, &volume)?);
    }
    Ok(findings)
}

/// The volume that the claim was bound to before the request.
fn bound_before(rails: &Rails<'_>) -> Option<String> {
    let old: Claim = serde_json::from_str(rails.request.old_object?.get()).ok()?;
    old.spec?.volume_name
}

/// Judges a template of claims.
pub(super) fn judge_template(rails: &Rails<'_>, claim: &Claim) -> Vec<Finding> {
    let none = Spec::default();
    let spec = claim.spec.as_ref().unwrap_or(&none);
    let annotations = claim.metadata.as_ref().and_then(|it| it.annotations.as_ref());
    let annotation = annotations
        .and_then(|it| it.get(CLASS_ANNOTATION))
        .map(String::as_str);
    let mut findings = judge_spec(rails, annotation, spec, Stage::Template);
    findings.extend(placement::judge_selected_node(rails, |key| {
        annotations.and_then(|it| it.get(key)).cloned()
    }));
    findings
}

fn judge_spec(rails: &Rails<'_>, annotation: Option<&str>, spec: &Spec, stage: Stage) -> Vec<Finding> {
    let field = match annotation {
        Some(_) => format!("metadata.annotations['{CLASS_ANNOTATION}']"),
        None => "spec.storageClassName".to_owned(),
    };
    let class = annotation.or(spec.storage_class_name.as_deref());
    let findings = [
        class_of(rails, field.clone(), class, stage),
        placement::judge_class(rails, field, class),
        volume(rails, spec),
        source(rails, spec),
    ];
    findings.into_iter().flatten().collect()
}

/// With a list a claim has to name one of it. Without a class it takes any volume that is free, or waits for the
/// cluster's default.
fn class_of(rails: &Rails<'_>, field: String, class: Option<&str>, stage: Stage) -> Option<Finding> {
    let list = rails.list(|it| it.storage_classes.as_ref())?;
    let is_listed = class.is_some_and(|class| list.iter().any(|it| it == class));
    let is_filled_in_later = class.is_none() && stage == Stage::Template;
    (!is_listed && !is_filled_in_later).then(|| {
        let found = class.map_or_else(|| shown(""), |it| format!("'{it}'"));
        rails.not_listed(
            RuleId::StorageClass,
            field,
            found,
            list,
            "spec.workloads.storageClasses",
        )
    })
}

/// Whoever names a volume gets it, if it is free: what another tenant released for one. The platform says on the
/// volume whose it is.
fn volume(rails: &Rails<'_>, spec: &Spec) -> Option<Finding> {
    let name = spec.volume_name.as_deref().filter(|it| !it.is_empty())?;
    let user = &*rails.request.user_info.username;
    let is_binder = matches!(user, CONTROLLER_MANAGER | BINDER);
    if is_binder && rails.request.operation == Operation::Update {
        return None;
    }
    Some(Finding::new(
        RuleId::ClaimVolume,
        "spec.volumeName",
        format!("'{name}'"),
        "no volume: the cluster binds one",
        "leave volumeName out, and let the platform name this claim in spec.claimRef of the PersistentVolume",
    ))
}

/// Data comes from the tenant's own namespaces.
fn source(rails: &Rails<'_>, spec: &Spec) -> Option<Finding> {
    let source = spec.data_source_ref.as_ref()?;
    let namespace = source.namespace.as_deref().filter(|it| !it.is_empty())?;
    let is_own =
        namespace == rails.request.namespace || rails.snapshot.tenant_of(namespace) == Some(rails.tenant);
    // What lies within some regions doesn't leave them by a namespace that is excepted.
    let leaves = Placed::in_namespace(rails.snapshot, namespace).is_some_and(|it| !it.within.is_anywhere())
        && rails.placed().is_none();
    if is_own && leaves {
        return Some(Finding::new(
            RuleId::VolumeRegion,
            "spec.dataSourceRef.namespace",
            format!("{} '{}' of Namespace '{namespace}'", source.kind, source.name),
            format!(
                "data of Namespaces that spec.placement.exceptions of Tenant '{}' lists, too",
                rails.tenant
            ),
            "take the data from such a Namespace",
        ));
    }
    (!is_own).then(|| {
        Finding::new(
            RuleId::ClaimSource,
            "spec.dataSourceRef.namespace",
            format!("{} '{}' of Namespace '{namespace}'", source.kind, source.name),
            format!("data of tenant '{}'", rails.tenant),
            "take the data from a Namespace of the tenant's own",
        )
    })
}

//! Placement: Pods stay on the tenant's nodes, and its data within its regions.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Rails;
use super::pod::{Spec, Stage, items};
use crate::decide::{Findings, Stop, read, volume};
use crate::finding::{Finding, RuleId, some_of};
use crate::placement::{Placed, Proof, REGION, Term, Terms};
use crate::review::Operation;
use crate::snapshot::Need;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Affinity {
    node_affinity: Option<NodeAffinity>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<Terms>,
}

const TERMS: &str =
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";

#[derive(Default, Deserialize)]
#[serde(default)]
struct Csi {
    driver: Option<String>,
}

/// Volumes that hold what is on the Pod's node or in the API server, and those that are judged as claims. Of the others,
/// such as `nfs`, nobody can tell where their data is.
const VOLUMES: [&str; 11] = [
    "name",
    "configMap",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "gitRepo",
    "hostPath",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// What a Pod is judged by.
struct Judge<'a> {
    rails: &'a Rails<'a>,
    placed: &'a Placed,
    selector: BTreeMap<String, String>,
    /// Of the required node affinity.
    terms: Vec<Term>,
    stage: Stage,
}

/// Judges where a Pod, or one of a template, runs and keeps its data.
pub(super) fn judge_pod(rails: &Rails<'_>, spec: &Spec<'_>, stage: Stage) -> Findings {
    let Some(placed) = rails.placed() else {
        return Ok(Vec::new());
    };
    let selector = spec
        .node_selector
        .map_or_else(|| Ok(BTreeMap::new()), |it| read(Some(it), "spec.nodeSelector"))?;
    let affinity: Affinity = spec
        .affinity
        .map_or_else(|| Ok(Affinity::default()), |it| read(Some(it), "spec.affinity"))?;
    let required = affinity.node_affinity.and_then(|it| it.required);
    let judge = Judge {
        rails,
        placed: &placed,
        selector,
        terms: required.unwrap_or_default().node_selector_terms,
        stage,
    };
    let mut findings = judge.nodes();
    if !placed.within.is_anywhere() {
        findings.extend(judge.region());
        let volumes: Vec<BTreeMap<String, Box<RawValue>>> = items(spec.volumes, "spec.volumes")?;
        findings.extend(inline_volumes(rails, &placed, &volumes));
    }
    Ok(findings)
}

impl Judge<'_> {
    /// Whether the cluster fills in what Pods leave open.
    fn fills_in(&self) -> bool {
        self.rails.snapshot.config.pod_label_stamping
    }

    /// Whether what is left open here comes to be filled in.
    fn may_be_open(&self) -> bool {
        self.fills_in() && self.stage == Stage::Template
    }

    /// What to do, beside setting it.
    fn otherwise(&self, is_there: bool) -> &'static str {
        match (self.fills_in(), self.stage, is_there) {
            (true, Stage::Final, false) => "; or try again in a moment: the API server fills it in",
            (true, Stage::Template, true) => ", or leave it out: it is filled in",
            // What was filled in may be what a placement said before.
            (true, Stage::Final, true) => {
                ", or leave it out: it is filled in; if you did, try again in a moment"
            }
            _ => "",
        }
    }

    /// The labels of the tenant's nodes, but for the region's.
    fn nodes(&self) -> Vec<Finding> {
        let is_region = |key: &str| key == REGION && !self.placed.within.is_anywhere();
        let own = self.placed.node_selector.iter().filter(|it| !is_region(it.0));
        let wrong = own.filter(|(key, value)| match self.selector.get(*key) {
            Some(found) => found != *value,
            None => !self.may_be_open(),
        });
        wrong
            .map(|(key, value)| {
                let found = self.selector.get(key).map(String::as_str);
                let of = self.rails.tenant;
                Finding::new(
                    RuleId::PodPlacement,
                    format!("spec.nodeSelector['{key}']"),
                    super::super::shown(found),
                    format!("'{value}': spec.placement.nodeSelector of Tenant '{of}'"),
                    format!("set it to '{value}'{}", self.otherwise(found.is_some())),
                )
            })
            .collect()
    }

    /// The node selector proves a region, or each term of the node affinity does.
    fn region(&self) -> Vec<Finding> {
        let within = &self.placed.within;
        let proofs = || self.selector.iter().map(|it| (it, within.label(it.0, it.1)));
        if let Some(((key, value), _)) = proofs().find(|it| it.1 == Proof::Outside) {
            let field = format!("spec.nodeSelector['{key}']");
            return vec![self.outside(field, Some(format!("'{value}'")))];
        }
        let is_selected = proofs().any(|it| it.1 == Proof::Inside);
        let is_possible = self.terms.iter().any(|it| within.term(it) != Proof::Outside);
        if is_selected && (self.terms.is_empty() || is_possible) {
            return Vec::new();
        }
        if self.terms.is_empty() && !self.may_be_open() {
            return vec![self.outside("spec.nodeSelector", None)];
        }
        let wrong = self
            .terms
            .iter()
            .enumerate()
            .filter(|(_, it)| match within.term(it) {
                Proof::Inside => false,
                Proof::Nothing => !self.may_be_open(),
                Proof::Outside => true,
            });
        wrong
            .map(|(i, term)| {
                let told = term.match_expressions.iter().find(|it| within.tells(&it.key));
                let found = told.map(|it| format!("{} {} {}", it.key, it.operator, some_of(&it.values)));
                self.outside(format!("{TERMS}[{i}]"), found)
            })
            .collect()
    }

    fn outside(&self, field: impl Into<String>, found: Option<String>) -> Finding {
        let regions = some_of(self.placed.within.regions());
        let otherwise = self.otherwise(found.is_some());
        Finding::new(
            RuleId::PodPlacement,
            field,
            found.unwrap_or_else(|| "nodes anywhere".to_owned()),
            format!(
                "nodes in {regions}: spec.placement.regions of Tenant '{}'",
                self.rails.tenant
            ),
            format!("ask for one of these by the label {REGION}{otherwise}"),
        )
    }
}

fn inline_volumes(
    rails: &Rails<'_>,
    placed: &Placed,
    volumes: &[BTreeMap<String, Box<RawValue>>],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (i, volume) in volumes.iter().enumerate() {
        for (kind, content) in volume.iter().filter(|it| !VOLUMES.contains(&it.0.as_str())) {
            let driver = (kind == "csi")
                .then(|| serde_json::from_str::<Csi>(content.get()).unwrap_or_default())
                .and_then(|it| it.driver);
            if driver
                .as_ref()
                .is_some_and(|it| placed.except_csi_drivers.contains(it))
            {
                continue;
            }
            let of = driver.map_or_else(|| format!("type {kind}"), |it| format!("CSI driver '{it}'"));
            findings.push(Finding::new(
                RuleId::VolumeRegion,
                format!("spec.volumes[{i}].{kind}"),
                format!("a volume of {of}, of which nobody can tell where it is"),
                format!(
                    "data within {}: spec.placement.regions of Tenant '{}'",
                    some_of(placed.within.regions()),
                    rails.tenant
                ),
                format!(
                    "let the platform make a PersistentVolume of it, and use it by a PersistentVolumeClaim; a CSI driver whose data is \
                     within can be listed in spec.placement.exceptions of Tenant '{}'",
                    rails.tenant
                ),
            ));
        }
    }
    findings
}

/// Volumes of the class of a claim can come to lie within the regions.
pub(super) fn judge_class(rails: &Rails<'_>, field: String, class: Option<&str>) -> Option<Finding> {
    let class = class?;
    let placed = rails.placed()?;
    // Of a class that isn't there no volumes are made; those that are there are judged when they are bound.
    let facts = rails.snapshot.storage_classes.get(class)?;
    if placed.within.is_anywhere()
        || placed.except_storage_classes.contains(class)
        || facts.may_be(&placed.within)
    {
        return None;
    }
    let terms: Vec<String> = facts.topologies.iter().map(volume::shown).collect();
    let found = match terms.as_slice() {
        [] => "whose volumes are made anywhere before a Pod asks for them".to_owned(),
        _ => format!("whose volumes lie where {}", terms.join(" or ")),
    };
    Some(Finding::new(
        RuleId::VolumeRegion,
        field,
        format!("'{class}', {found}"),
        volume::allowed(&placed, rails.tenant),
        format!(
            "choose a StorageClass with allowedTopologies there, or with volumeBindingMode WaitForFirstConsumer; or let the \
             platform add '{class}' to spec.placement.exceptions of Tenant '{}'",
            rails.tenant
        ),
    ))
}

/// Who makes a volume for a claim reads there on which node the claim's Pod will run, and makes it where that node is.
const SELECTED_NODE: [&str; 2] = [
    "volume.kubernetes.io/selected-node",
    "volume.alpha.kubernetes.io/selected-node",
];

/// The node where a claim's volume is made is chosen by the scheduler, as for its Pods.
pub(super) fn judge_selected_node(
    rails: &Rails<'_>,
    annotation: impl Fn(&str) -> Option<String>,
) -> Vec<Finding> {
    let of_regions = rails.placed().is_some_and(|it| !it.within.is_anywhere());
    let by_scheduler = rails.request.operation == Operation::Update
        && rails.snapshot.tenants_of(&rails.request.user_info).is_empty();
    if !of_regions || by_scheduler {
        return Vec::new();
    }
    let found = SELECTED_NODE
        .iter()
        .filter_map(|key| Some((key, annotation(key)?)));
    found
        .map(|(key, node)| {
            Finding::new(
                RuleId::VolumeRegion,
                format!("metadata.annotations['{key}']"),
                format!("'{node}'"),
                "no such annotation: the scheduler sets it to the node of the Pod that uses the claim",
                "leave it out",
            )
        })
        .collect()
}

/// The volume that a claim is bound to lies within the regions.
pub(super) fn judge_bound(rails: &Rails<'_>, name: &str) -> Result<Option<Finding>, Stop> {
    let Some(placed) = rails.placed().filter(|it| !it.within.is_anywhere()) else {
        return Ok(None);
    };
    let need = Need::PersistentVolume(name.to_owned());
    match rails.snapshot.volumes.get(name) {
        Some(facts) if placed.holds(facts) => Ok(None),
        Some(facts) => Ok(Some(volume::outside(
            "spec.volumeName",
            &format!("'{name}'"),
            facts,
            &placed,
            rails.tenant,
        ))),
        None if rails.snapshot.missing.contains(&need) => Ok(Some(Finding::new(
            RuleId::Undecided,
            "spec.volumeName",
            format!("PersistentVolume '{name}', which does not exist"),
            "a PersistentVolume that exists",
            "try again once it does",
        ))),
        None => Err(Stop::Needs(need)),
    }
}

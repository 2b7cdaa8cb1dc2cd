//! Placement: what a Tenant's `spec.placement` comes to in a cluster, and what proves that something is within it.
//!
//! Nobody looks at nodes. That a Pod or a volume stays within some regions is proved by what it asks of its node: a
//! label that only nodes within them have. A region has such a label by itself; which zones are in it the platform says
//! (`topology.zones` of the configuration).

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_crds::v1alpha1::{AllowedToleration, IndexedPlacement, TenantSpec};
use k8s_openapi::api::core::v1::{NodeSelector, PersistentVolume};
use k8s_openapi::api::storage::v1::StorageClass;
use serde::Deserialize;

use crate::config::Topology;
use crate::grants::null_is_empty;
use crate::snapshot::Snapshot;

/// Label of nodes with the name of their region.
pub const REGION: &str = "topology.kubernetes.io/region";
/// What it was called before Kubernetes 1.17; volumes from then still name it.
const FORMER_REGION: &str = "failure-domain.beta.kubernetes.io/region";
/// Likewise of the zone.
const FORMER_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";

/// What a placement comes to in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// What the nodes of all Pods match, the region among it where there is one.
    pub node_selector: BTreeMap<String, String>,
    /// What all Pods tolerate.
    pub tolerations: Vec<AllowedToleration>,
    /// Labels of nodes that prove the region.
    pub within: Within,
    /// StorageClasses whose data is taken to be within the regions.
    pub except_storage_classes: BTreeSet<String>,
    /// CSI drivers of which Pods may name volumes themselves.
    pub except_csi_drivers: BTreeSet<String>,
    /// Namespaces that are placed nowhere.
    pub except_namespaces: BTreeSet<String>,
}

/// Labels of nodes by key, with the values that only nodes within the regions have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Within {
    /// None: everything is within.
    regions: Option<Vec<String>>,
    labels: Labels,
}

type Labels = BTreeMap<String, BTreeSet<String>>;

/// What one label proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The node is within the regions.
    Inside,
    /// The node is not known to be within the regions, though the label tells of a place.
    Outside,
    /// The label tells of no place.
    Nothing,
}

impl Placed {
    /// What the placement of a Tenant comes to, if it has one. Of the namespaces that it excepts those count that it declares:
    /// nobody else makes them.
    pub fn of(tenant: &TenantSpec, topology: &Topology) -> Option<Self> {
        let placement = tenant.placement.as_ref()?;
        let mut placed = Self {
            node_selector: placement.node_selector.clone(),
            tolerations: placement.tolerations.clone(),
            within: Within::of(placement.regions.as_deref(), topology),
            ..Self::default()
        };
        if let Some([one]) = placement.regions.as_deref() {
            placed.node_selector.insert(REGION.to_owned(), one.clone());
        }
        let declared = tenant.namespaces.iter().flat_map(|it| &it.declared);
        let declared: BTreeSet<&str> = declared.map(|it| it.name.as_str()).collect();
        for exception in &placement.exceptions {
            let is_own = |it: &&String| declared.contains(it.as_str());
            placed
                .except_namespaces
                .extend(exception.namespaces.iter().filter(is_own).cloned());
            placed
                .except_storage_classes
                .extend(exception.storage_classes.iter().cloned());
            placed
                .except_csi_drivers
                .extend(exception.csi_drivers.iter().cloned());
        }
        Some(placed)
    }

    /// Where what lives in a namespace runs and lies; none where its Tenant doesn't say, or excepts the namespace.
    pub fn in_namespace(snapshot: &Snapshot, namespace: &str) -> Option<Self> {
        let tenant = snapshot.tenants.by_name.get(snapshot.tenant_of(namespace)?)?;
        let placed = Self::of(&tenant.spec, &snapshot.config.topology)?;
        (!placed.except_namespaces.contains(namespace)).then_some(placed)
    }

    /// The same in the shape that the native policies look up, beside [`topology`].
    pub fn indexed(&self) -> IndexedPlacement {
        let list = |of: &BTreeSet<String>| of.iter().cloned().collect();
        IndexedPlacement {
            node_selector: self.node_selector.clone(),
            regions: self.within.regions.clone(),
            tolerations: self.tolerations.clone(),
            except_storage_classes: list(&self.except_storage_classes),
            except_namespaces: list(&self.except_namespaces),
        }
    }
}

/// What proves each of these regions, in the shape that the native policies look up: once, however many Tenants name it.
pub fn topology<'a>(
    regions: impl IntoIterator<Item = &'a String>,
    topology: &Topology,
) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
    let of = |region: &String| {
        let labels = labels_of(region, topology).into_iter();
        labels.map(|(key, it)| (key, it.into_iter().collect())).collect()
    };
    regions.into_iter().map(|it| (it.clone(), of(it))).collect()
}

fn labels_of(region: &str, topology: &Topology) -> Labels {
    let mut labels = Labels::new();
    for key in [REGION, FORMER_REGION] {
        labels
            .entry(key.to_owned())
            .or_default()
            .insert(region.to_owned());
    }
    for zone in topology.zones.get(region).into_iter().flatten() {
        for key in topology.zone_keys.iter().map(String::as_str).chain([FORMER_ZONE]) {
            labels.entry(key.to_owned()).or_default().insert(zone.clone());
        }
    }
    labels
}

impl Within {
    fn of(regions: Option<&[String]>, topology: &Topology) -> Self {
        let mut labels = Labels::new();
        for region in regions.into_iter().flatten() {
            for (key, values) in labels_of(region, topology) {
                labels.entry(key).or_default().extend(values);
            }
        }
        // Where there are regions and none of them is known, nothing is within.
        if regions.is_some() {
            labels.entry(REGION.to_owned()).or_default();
        }
        Self {
            regions: regions.map(<[String]>::to_vec),
            labels,
        }
    }

    /// Whether there are no regions, so that everything is within.
    pub fn is_anywhere(&self) -> bool {
        self.regions.is_none()
    }

    /// Whether a label tells of a place.
    pub fn tells(&self, key: &str) -> bool {
        self.labels.contains_key(key)
    }

    /// The regions.
    pub fn regions(&self) -> &[String] {
        self.regions.as_deref().unwrap_or_default()
    }

    /// What a label of a node proves.
    pub fn label(&self, key: &str, value: &str) -> Proof {
        match self.labels.get(key) {
            None => Proof::Nothing,
            Some(values) if values.contains(value) => Proof::Inside,
            Some(_) => Proof::Outside,
        }
    }

    /// What one of the terms of a node selector proves: inside if any of its expressions does, and outside if any
    /// leaves no node within.
    pub fn term(&self, term: &Term) -> Proof {
        // A term without content matches no node at all.
        if term.is_empty() {
            return Proof::Inside;
        }
        let mut proof = Proof::Nothing;
        for it in &term.match_expressions {
            match self.expression(it) {
                Proof::Inside => return Proof::Inside,
                Proof::Outside => proof = Proof::Outside,
                Proof::Nothing => {}
            }
        }
        proof
    }

    fn expression(&self, it: &Expression) -> Proof {
        let Some(values) = self
            .labels
            .get(&it.key)
            .filter(|_| it.operator == "In" && !it.values.is_empty())
        else {
            return Proof::Nothing;
        };
        if it.values.iter().all(|it| values.contains(it)) {
            Proof::Inside
        } else if it.values.iter().any(|it| values.contains(it)) {
            Proof::Nothing
        } else {
            Proof::Outside
        }
    }

    /// Whether each of the terms, of which one has to match, proves a node within.
    pub fn holds(&self, terms: &[Term]) -> bool {
        !terms.is_empty() && terms.iter().all(|it| self.term(it) == Proof::Inside)
    }
}

/// A node selector: of its terms one has to match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terms {
    /// The terms.
    #[serde(deserialize_with = "null_is_empty")]
    pub node_selector_terms: Vec<Term>,
}

/// A term of a node selector: all of it has to match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Term {
    /// Of the node's labels.
    #[serde(deserialize_with = "null_is_empty")]
    pub match_expressions: Vec<Expression>,
    /// Of the node's fields: its name.
    #[serde(deserialize_with = "null_is_empty")]
    pub match_fields: Vec<Expression>,
}

impl Term {
    /// Whether it has no content.
    pub fn is_empty(&self) -> bool {
        self.match_expressions.is_empty() && self.match_fields.is_empty()
    }
}

/// What is asked of one label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Expression {
    /// Key of the label.
    pub key: String,
    /// In, `NotIn`, Exists, `DoesNotExist`, Gt or Lt.
    pub operator: String,
    /// What it compares with.
    #[serde(deserialize_with = "null_is_empty")]
    pub values: Vec<String>,
}

fn terms_of(selector: &NodeSelector) -> Vec<Term> {
    let expressions = |list: Option<&Vec<k8s_openapi::api::core::v1::NodeSelectorRequirement>>| {
        let each = list.into_iter().flatten();
        each.map(|it| Expression {
            key: it.key.clone(),
            operator: it.operator.clone(),
            values: it.values.clone().unwrap_or_default(),
        })
        .collect()
    };
    let terms = selector.node_selector_terms.iter();
    terms
        .map(|it| Term {
            match_expressions: expressions(it.match_expressions.as_ref()),
            match_fields: expressions(it.match_fields.as_ref()),
        })
        .collect()
}

/// What a decision knows of a StorageClass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassFacts {
    /// Whether a volume is made where the first Pod that uses it will run.
    pub waits_for_consumer: bool,
    /// Where its volumes may be; none: anywhere.
    pub topologies: Vec<Term>,
}

impl From<&StorageClass> for ClassFacts {
    fn from(class: &StorageClass) -> Self {
        let topologies = class.allowed_topologies.iter().flatten();
        Self {
            waits_for_consumer: class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
            topologies: topologies
                .map(|it| Term {
                    match_expressions: it
                        .match_label_expressions
                        .iter()
                        .flatten()
                        .map(|it| Expression {
                            key: it.key.clone(),
                            operator: "In".to_owned(),
                            values: it.values.clone(),
                        })
                        .collect(),
                    match_fields: Vec::new(),
                })
                // To a provisioner that is no topology at all.
                .filter(|it| !it.is_empty())
                .collect(),
        }
    }
}

impl ClassFacts {
    /// Whether volumes of the class can come to lie within. Of one that is made where its Pod runs, the Pod's placement
    /// chooses among the topologies; any other has to be within whichever is chosen.
    pub fn may_be(&self, within: &Within) -> bool {
        if self.waits_for_consumer {
            let outside = |it: &Term| within.term(it) == Proof::Outside;
            self.topologies.is_empty() || !self.topologies.iter().all(outside)
        } else {
            within.holds(&self.topologies)
        }
    }
}

/// What a decision knows of a PersistentVolume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeFacts {
    /// Its class; empty: none.
    pub storage_class: String,
    /// From which nodes it can be reached; none: from all.
    pub terms: Vec<Term>,
}

impl From<&PersistentVolume> for VolumeFacts {
    fn from(volume: &PersistentVolume) -> Self {
        let spec = volume.spec.as_ref();
        let required = spec.and_then(|it| it.node_affinity.as_ref()?.required.as_ref());
        Self {
            storage_class: spec
                .and_then(|it| it.storage_class_name.clone())
                .unwrap_or_default(),
            terms: required.map(terms_of).unwrap_or_default(),
        }
    }
}

impl Placed {
    /// Whether a volume lies within the regions, or is excepted.
    pub fn holds(&self, volume: &VolumeFacts) -> bool {
        self.within.is_anywhere()
            || self.except_storage_classes.contains(&volume.storage_class)
            || self.within.holds(&volume.terms)
    }
}

mod fill;
pub use fill::fill;

#[cfg(test)]
mod tests;

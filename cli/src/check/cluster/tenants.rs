//! What the Tenants make: their Namespaces, as the operator labels them, and the objects in them.

use std::collections::BTreeMap;

use bailiwick_core::config::Config;
use bailiwick_core::identity::Standing;
use bailiwick_core::ownership::{Claim, NamespaceFacts, claims};
use bailiwick_core::plan::{self, Plan, Stay};
use bailiwick_core::snapshot::Snapshot;
use bailiwick_core::validate::{ValidTenant, validate};
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{PodLabel, Tenant};
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};

use super::{Key, key, of_kind};
use crate::check::manifest::Manifest;

/// What the operator makes of the Tenants.
#[derive(Default)]
pub(super) struct Made {
    pub(super) namespaces: BTreeMap<String, NamespaceFacts>,
    pub(super) objects: BTreeMap<Key, Value>,
}

/// The Namespaces of the files and those that are always there, none of them a tenant's yet.
///
/// A label that only the operator may set is left out: whoever writes it is refused.
pub(super) fn written(manifests: &[Manifest], config: &Config) -> BTreeMap<String, NamespaceFacts> {
    let always = ["default", "kube-node-lease", "kube-public", "kube-system"].map(str::to_owned);
    let mut namespaces: BTreeMap<String, NamespaceFacts> = always
        .into_iter()
        .chain([config.namespace.clone()])
        .chain(config.reserved_namespaces.clone())
        .map(|name| (name, NamespaceFacts::default()))
        .collect();
    // A namespace that no Tenant may take is nobody's, whether the files hold it or not.
    let named = manifests.iter().filter_map(|it| it.id.namespace.clone());
    let reserved = named.filter(|it| config.is_reserved_namespace(it));
    namespaces.extend(reserved.map(|it| (it, NamespaceFacts::default())));
    for (manifest, namespace) in of_kind::<Namespace>(manifests, "Namespace") {
        let mut facts = NamespaceFacts::from(&namespace);
        facts.uid.clear();
        facts.terminating = false;
        facts.labels.retain(|key, _| !labels::is_guarded_everywhere(key));
        namespaces.insert(manifest.id.name.clone(), facts);
    }
    namespaces
}

/// The Namespaces of the files that carry a tenant's label, as those do that owners make by self-service.
pub(super) fn labelled(manifests: &[Manifest]) -> BTreeMap<String, String> {
    of_kind::<Namespace>(manifests, "Namespace")
        .filter_map(|(manifest, namespace)| {
            let tenant = namespace.metadata.labels?.remove(labels::TENANT)?;
            Some((manifest.id.name.clone(), tenant))
        })
        .collect()
}

/// What the operator makes, when it meets the Tenants in an empty cluster, and these Namespaces that owners made.
pub(super) fn made(snapshot: &Snapshot, labelled: &BTreeMap<String, String>) -> Made {
    let mut made = Made::default();
    let all = &snapshot.tenants.by_name;
    let none = BTreeMap::new();
    for tenant in all.values() {
        let claims = claims(tenant, all.values().map(|it| &**it), &none, &snapshot.config);
        let own: Vec<&str> = claims
            .iter()
            .filter(|(_, claim)| **claim == Claim::Create)
            .map(|(name, _)| name.as_str())
            .collect();
        match validate(tenant, &snapshot.config) {
            Ok(valid) => {
                let by_owners = by_self_service(&valid, labelled, snapshot);
                made.add(plan_of(&valid, &own, &by_owners, snapshot));
            }
            Err(_) => made
                .namespaces
                .extend(as_if_valid(tenant, &own, &snapshot.config)),
        }
    }
    made
}

/// The Namespaces with a tenant's label that are its own to give. Whether there may be so many is told of each of them.
fn by_self_service<'a>(
    tenant: &ValidTenant,
    labelled: &'a BTreeMap<String, String>,
    snapshot: &Snapshot,
) -> Vec<&'a str> {
    let tenants = &snapshot.tenants;
    let is_its_own = |name: &str| {
        tenants.prefixes.gives(&tenant.name, name)
            && !tenants.declared.contains_key(name)
            && !snapshot.config.is_reserved_namespace(name)
    };
    let of_tenant = labelled
        .iter()
        .filter(|(name, label)| **label == tenant.name && is_its_own(name));
    of_tenant.map(|(name, _)| name.as_str()).collect()
}

fn plan_of(tenant: &ValidTenant, namespaces: &[&str], by_owners: &[&str], snapshot: &Snapshot) -> Plan {
    let declared = namespaces.iter().map(|it| (*it, Stay::Declared));
    let by_owners = by_owners.iter().map(|it| (*it, Stay::SelfService));
    let stays = declared.chain(by_owners);
    plan::plan(tenant, stays, &snapshot.config, |subject| {
        match snapshot.standing(subject) {
            Standing::Tenants(tenants) => tenants.iter().all(|it| *it == tenant.name),
            _ => true,
        }
    })
}

impl Made {
    fn add(&mut self, plan: Plan) {
        for (name, planned) in plan.namespaces {
            for object in planned.locks.iter().chain(&planned.doors) {
                let value = object.to_value();
                let group = value["apiVersion"].as_str().unwrap_or_default();
                let group = group.rsplit_once('/').map_or("", |it| it.0);
                let key = key(group, object.kind().as_str(), &name, object.name());
                self.objects.insert(key, value);
            }
            let namespace = json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": planned.labels},
            });
            self.objects.insert(key("", "Namespace", "", &name), namespace);
            let facts = NamespaceFacts {
                labels: planned.labels,
                ..NamespaceFacts::default()
            };
            self.namespaces.insert(name, facts);
        }
    }
}

/// The Namespaces of a Tenant that is refused, as they will be once it is corrected: its workloads are worth a
/// verdict meanwhile.
fn as_if_valid(tenant: &Tenant, namespaces: &[&str], config: &Config) -> Vec<(String, NamespaceFacts)> {
    let default = if config.pod_label_stamping {
        PodLabel::Stamp
    } else {
        PodLabel::Require
    };
    let mode = match tenant.spec.pod_label.unwrap_or(default) {
        PodLabel::Stamp => "Stamp",
        PodLabel::Require => "Require",
        PodLabel::Verify => "Verify",
    };
    let name = tenant.metadata.name.clone().unwrap_or_default();
    let facts = NamespaceFacts {
        labels: BTreeMap::from([
            (labels::TENANT.to_owned(), name),
            (labels::POD_LABEL.to_owned(), mode.to_owned()),
        ]),
        ..NamespaceFacts::default()
    };
    namespaces
        .iter()
        .filter(|it| !config.is_reserved_namespace(it))
        .map(|it| ((*it).to_owned(), facts.clone()))
        .collect()
}

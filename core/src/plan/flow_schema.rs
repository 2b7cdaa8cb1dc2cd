//! How the API server tells a tenant's requests from others, and shares its time (API priority and fairness).
//!
//! Each tenant with a tier has one FlowSchema, without a distinguisher: all its requests are one flow, however many of its
//! people and ServiceAccounts send them. The tier's priority level deals its seats out to flows, and refuses (429) a flow
//! that has filled its queues. So a tenant that floods the API server waits for itself.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_crds::labels;
use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaSpec, GroupSubject, NonResourcePolicyRule, PolicyRulesWithSubjects,
    PriorityLevelConfigurationReference, ResourcePolicyRule, Subject as FlowSubject, UserSubject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::identity::{self, Pattern, Space};
use crate::snapshot::Snapshot;
use crate::validate::{ValidTenant, examine};

/// After Kubernetes' own FlowSchemas for nodes, controllers and leader election (at most 1000), and before those that
/// take whoever is left (`service-accounts` at 9000, `global-default` at 9900).
const PRECEDENCE: i32 = 8000;

/// The name of a tenant's FlowSchema. Different tenants have different ones.
pub fn name(tenant: &str) -> String {
    format!("bailiwick-tenant-{tenant}")
}

/// The FlowSchemas there should be, by name.
pub fn flow_schemas(snapshot: &Snapshot) -> BTreeMap<String, FlowSchema> {
    let mut namespaces: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for namespace in snapshot.namespaces.keys() {
        if let Some(tenant) = snapshot.tenant_of(namespace) {
            namespaces.entry(tenant).or_default().push(namespace);
        }
    }
    let schemas = snapshot.tenants.by_name.values().filter_map(|tenant| {
        let tenant = examine(tenant, &snapshot.config).sound;
        let tier = tenant.tier.as_deref()?;
        let namespaces = namespaces.remove(tenant.name.as_str()).unwrap_or_default();
        let subjects = subjects(&tenant, &namespaces, snapshot);
        (!subjects.is_empty()).then(|| (name(&tenant.name), schema(&tenant, tier, subjects)))
    });
    schemas.collect()
}

/// Whom the API server can recognise as this tenant's and no other's. It knows no prefixes, so who belongs to the tenant by
/// a prefix only is recognised where the Tenant gives them access by name.
fn subjects(tenant: &ValidTenant, namespaces: &[&str], snapshot: &Snapshot) -> Vec<FlowSubject> {
    let claimed = tenant.claims.iter().filter_map(|claim| match &claim.pattern {
        Pattern::Exact(name) => Some((claim.space, name.clone())),
        Pattern::Prefix(_) => None,
    });
    let named = tenant.access.iter().flat_map(|it| &it.subjects).map(|it| {
        let (space, name) = identity::Subject::from(it).name();
        (space, name.into_owned())
    });
    let accounts = namespaces
        .iter()
        .map(|it| (Space::Group, identity::service_accounts_group(it)));
    let is_ours = |(space, name): &(Space, String)| {
        let subject = match space {
            Space::User => identity::Subject::User(name),
            Space::Group => identity::Subject::Group(name),
        };
        snapshot.standing(subject).is_only(&tenant.name)
    };
    let all: BTreeSet<(Space, String)> = claimed.chain(named).chain(accounts).filter(is_ours).collect();
    let subject = |(space, name): (Space, String)| match space {
        Space::User => FlowSubject {
            kind: "User".to_owned(),
            user: Some(UserSubject { name }),
            ..FlowSubject::default()
        },
        Space::Group => FlowSubject {
            kind: "Group".to_owned(),
            group: Some(GroupSubject { name }),
            ..FlowSubject::default()
        },
    };
    all.into_iter().map(subject).collect()
}

fn schema(tenant: &ValidTenant, tier: &str, subjects: Vec<FlowSubject>) -> FlowSchema {
    let all = || vec!["*".to_owned()];
    FlowSchema {
        metadata: ObjectMeta {
            name: Some(name(&tenant.name)),
            labels: Some(BTreeMap::from([
                (labels::TENANT.to_owned(), tenant.name.clone()),
                (labels::MANAGED_BY.to_owned(), labels::OPERATOR.to_owned()),
            ])),
            ..ObjectMeta::default()
        },
        spec: FlowSchemaSpec {
            distinguisher_method: None,
            matching_precedence: Some(PRECEDENCE),
            priority_level_configuration: PriorityLevelConfigurationReference {
                name: format!("bailiwick-{tier}"),
            },
            rules: Some(vec![PolicyRulesWithSubjects {
                subjects,
                resource_rules: Some(vec![ResourcePolicyRule {
                    api_groups: all(),
                    cluster_scope: Some(true),
                    namespaces: Some(all()),
                    resources: all(),
                    verbs: all(),
                }]),
                non_resource_rules: Some(vec![NonResourcePolicyRule {
                    non_resource_urls: all(),
                    verbs: all(),
                }]),
            }]),
        },
        status: None,
    }
}

/// The paths at which a FlowSchema is not as planned. Its status is the API server's.
pub fn difference(planned: &FlowSchema, found: &FlowSchema) -> Vec<String> {
    let metadata = &found.metadata;
    let kept = [
        ("metadata.labels", metadata.labels == planned.metadata.labels),
        (
            "metadata.ownerReferences",
            metadata.owner_references.as_ref().is_none_or(Vec::is_empty),
        ),
        (
            "metadata.finalizers",
            metadata.finalizers.as_ref().is_none_or(Vec::is_empty),
        ),
        ("spec", found.spec == planned.spec),
    ];
    let changed = kept.into_iter().filter(|(_, is_kept)| !is_kept);
    changed.map(|(path, _)| path.to_owned()).collect()
}

#[cfg(test)]
mod tests;

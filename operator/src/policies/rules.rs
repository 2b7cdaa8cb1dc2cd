//! Which requests the API server sends to the webhooks for the policies: the `rules` of one entry of the
//! ValidatingWebhookConfiguration, computed from the policies that there are. A cluster without policies sends nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick_core::policy::Content;
use bailiwick_core::policy::life::{Kept, UnknownKinds};
use bailiwick_crds::v1alpha1::{Match, MatchOperation, TenantPolicy};
use k8s_openapi::api::admissionregistration::v1::{RuleWithOperations, ValidatingWebhookConfiguration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::context::Context;

/// The webhook entry whose rules are ours.
const ENTRY: &str = "policies.bailiwick.dev";
/// The entry that is asked for all tenants' namespaces anyway.
const BUILT_IN: &str = "tenant-namespaces.bailiwick.dev";
/// The field manager of the rules alone.
const MANAGER: &str = "bailiwick-operator-rules";
/// How long what is known of the cluster's kinds is believed, and how soon it is asked again for one that is missing.
const BELIEVED: Duration = Duration::from_mins(1);
const ASKED_AGAIN: Duration = Duration::from_secs(10);

/// Keeps the rules.
pub(super) struct Rules {
    client: Client,
    configurations: Api<ValidatingWebhookConfiguration>,
    name: String,
    groups: BTreeMap<String, Group>,
    is_missing: bool,
    failed: bool,
}

/// What the cluster knows of an API group.
struct Group {
    /// Resources by version, the preferred one first.
    versions: Vec<(String, Vec<APIResource>)>,
    asked: Instant,
}

impl Rules {
    pub(super) fn new(client: Client, configuration: &str) -> Self {
        Self {
            configurations: Api::all(client.clone()),
            client,
            name: configuration.to_owned(),
            groups: BTreeMap::new(),
            is_missing: false,
            failed: false,
        }
    }

    /// Whether it is time to ask the cluster again for kinds that it didn't know.
    pub(super) fn is_due(&self) -> bool {
        let last = self.groups.values().map(|it| it.asked).max();
        self.is_missing && last.is_none_or(|it| it.elapsed() > ASKED_AGAIN)
    }

    /// Whether the last write failed.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    /// Brings the rules to what the policies need. Tells which kinds of which policy the cluster doesn't know.
    pub(super) async fn keep(
        &mut self,
        policies: &[Arc<TenantPolicy>],
        revisions: &BTreeMap<String, BTreeMap<String, Kept>>,
        some_unreadable: bool,
        configuration: Option<&ValidatingWebhookConfiguration>,
        context: &Context,
    ) -> BTreeMap<String, UnknownKinds> {
        self.failed = false;
        let needs = needs(policies, revisions);
        self.learn(&needs).await;
        let mut unknown = BTreeMap::new();
        let mut wanted = Wanted::new();
        for (policy, matches) in &needs {
            let mut own = Wanted::new();
            let missing: BTreeSet<String> = matches
                .iter()
                .flat_map(|it| add(it, &self.groups, &mut own))
                .collect();
            if !missing.is_empty() {
                let unknown_kinds = UnknownKinds {
                    kinds: missing.into_iter().collect(),
                    are_all: own.is_empty(),
                };
                unknown.insert(policy.clone(), unknown_kinds);
            }
            for (resource, operations) in own {
                wanted.entry(resource).or_default().extend(operations);
            }
        }
        self.is_missing = !unknown.is_empty();
        if let Some(configuration) = configuration
            && let Err(error) = self
                .write(
                    wanted,
                    // What is not known must not take a rule away.
                    self.failed || self.is_missing || some_unreadable,
                    configuration,
                    context,
                )
                .await
        {
            self.failed = true;
            tracing::error!(%error, "The webhook's rules for policies were not written; it is tried again");
        }
        unknown
    }

    /// Asks for the kinds of API groups that nobody asked for lately.
    async fn learn(&mut self, needs: &BTreeMap<String, Vec<Match>>) {
        let patience = if self.is_missing { ASKED_AGAIN } else { BELIEVED };
        // Kinds such as Eviction and Scale are subresources of other groups than their own.
        let parents = [String::new(), "apps".to_owned()];
        let mut groups: BTreeSet<&String> = needs
            .values()
            .flatten()
            .flat_map(|it| &it.resources)
            .flat_map(|it| &it.groups)
            .collect();
        if !groups.is_empty() {
            groups.extend(&parents);
        }
        for group in groups {
            if self
                .groups
                .get(group)
                .is_none_or(|it| it.asked.elapsed() > patience)
            {
                match ask(&self.client, group).await {
                    Ok(known) => {
                        self.groups.insert(group.clone(), known);
                    }
                    Err(error) => {
                        self.failed = true;
                        tracing::warn!(%error, group, "The kinds of an API group could not be read");
                    }
                }
            }
        }
    }

    async fn write(
        &self,
        wanted: Wanted,
        only_add: bool,
        configuration: &ValidatingWebhookConfiguration,
        context: &Context,
    ) -> Result<(), kube::Error> {
        let rules_of = |name: &str| {
            let mut entries = configuration.webhooks.iter().flatten();
            entries
                .find(|it| it.name == name)
                .map(|it| it.rules.clone().unwrap_or_default())
        };
        let rules = to_rules(without(wanted, &rules_of(BUILT_IN).unwrap_or_default()));
        let Some(live) = rules_of(ENTRY) else {
            tracing::error!(
                entry = ENTRY,
                "The webhook configuration lacks the entry for policies: restore it with `helm upgrade`"
            );
            return Ok(());
        };
        let rules = if only_add { union(&live, rules) } else { rules };
        if live == rules {
            return Ok(());
        }
        let applied = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self.name},
            "webhooks": [{"name": ENTRY, "rules": rules}],
        });
        context.metrics.wrote("ValidatingWebhookConfiguration", "apply");
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&applied);
        self.configurations
            .patch(&self.name, &params, &patch)
            .await
            .map(|_| ())
    }
}

/// What the policies match: what decides, what is to decide, and what is written.
fn needs(
    policies: &[Arc<TenantPolicy>],
    revisions: &BTreeMap<String, BTreeMap<String, Kept>>,
) -> BTreeMap<String, Vec<Match>> {
    let mut needs: BTreeMap<String, Vec<Match>> = BTreeMap::new();
    for policy in policies {
        let name = policy.name_any();
        let status = policy.status.clone().unwrap_or_default();
        let pinned = policy.spec.revision.clone();
        let kept = revisions.get(&name);
        let of_revisions = [status.active_revision, status.candidate_revision, pinned]
            .into_iter()
            .flatten()
            .filter_map(|it| Some(kept?.get(&it)?.stored.content.match_.clone()));
        let written = Content::of(&policy.spec).ok().map(|it| it.match_);
        needs.entry(name).or_default().extend(of_revisions.chain(written));
    }
    needs
}

/// Group, version and resource to operations.
type Wanted = BTreeMap<(String, String, String), BTreeSet<MatchOperation>>;

/// Adds what one policy matches. Tells the kinds that the cluster doesn't know.
fn add(match_: &Match, groups: &BTreeMap<String, Group>, rules: &mut Wanted) -> Vec<String> {
    let mut missing = Vec::new();
    for wanted in &match_.resources {
        for kind in &wanted.kinds {
            for group in &wanted.groups {
                let found = groups.iter().flat_map(|(name, known)| {
                    let versions = known.versions.iter();
                    versions
                        .filter_map(move |(version, resources)| {
                            let of_kind: Vec<&APIResource> = resources
                                .iter()
                                .filter(|it| {
                                    it.kind == *kind && it.namespaced && !it.name.ends_with("/status")
                                })
                                .filter(|it| it.group.as_deref().unwrap_or(name) == group)
                                .collect();
                            (!of_kind.is_empty()).then_some((name, version, of_kind))
                        })
                        // One version is enough: the API server converts the others to it.
                        .take(1)
                });
                let mut is_known = false;
                for (name, version, resources) in found {
                    for resource in resources {
                        let operations = match_.operations.iter().filter(|it| takes(resource, **it));
                        let mut operations = operations.copied().peekable();
                        if operations.peek().is_some() {
                            is_known = true;
                            let key = (name.clone(), version.clone(), resource.name.clone());
                            rules.entry(key).or_default().extend(operations);
                        }
                    }
                }
                if !is_known {
                    let of = if group.is_empty() { "the core group" } else { group };
                    missing.push(format!("{kind} of {of}"));
                }
            }
        }
    }
    missing
}

/// Whether a resource can be asked for an operation.
fn takes(resource: &APIResource, operation: MatchOperation) -> bool {
    let has = |verbs: &[&str]| resource.verbs.iter().any(|it| verbs.contains(&it.as_str()));
    match operation {
        MatchOperation::Create => has(&["create"]),
        MatchOperation::Update => has(&["update", "patch"]),
        MatchOperation::Delete => has(&["delete", "deletecollection"]),
        // A connection is opened by get or by create on a subresource; a rule for one that can't be connected does no harm.
        MatchOperation::Connect => resource.name.contains('/') && has(&["get", "create"]),
    }
}

fn to_rules(wanted: Wanted) -> Vec<RuleWithOperations> {
    // Resources of the same group, version and operations share a rule.
    let mut merged: BTreeMap<(String, String, BTreeSet<MatchOperation>), Vec<String>> = BTreeMap::new();
    for ((group, version, resource), operations) in wanted {
        merged
            .entry((group, version, operations))
            .or_default()
            .push(resource);
    }
    let rule = |((group, version, operations), resources): ((String, String, BTreeSet<_>), Vec<String>)| {
        RuleWithOperations {
            api_groups: Some(vec![group]),
            api_versions: Some(vec![version]),
            operations: Some(operations.into_iter().map(name_of).collect()),
            resources: Some(resources),
            scope: Some("Namespaced".to_owned()),
        }
    };
    merged.into_iter().map(rule).collect()
}

fn name_of(operation: MatchOperation) -> String {
    match operation {
        MatchOperation::Create => "CREATE",
        MatchOperation::Update => "UPDATE",
        MatchOperation::Delete => "DELETE",
        MatchOperation::Connect => "CONNECT",
    }
    .to_owned()
}

/// What is wanted, without what other rules send already: each request is to be judged once.
fn without(wanted: Wanted, others: &[RuleWithOperations]) -> Wanted {
    let has = |all: &Option<Vec<String>>, it: &str| all.iter().flatten().any(|one| one == it || one == "*");
    let left = |((group, version, resource), mut operations): ((String, String, String), BTreeSet<_>)| {
        operations.retain(|operation| {
            !others.iter().any(|it| {
                has(&it.api_groups, &group)
                    && has(&it.api_versions, &version)
                    && has(&it.resources, &resource)
                    && has(&it.operations, &name_of(*operation))
            })
        });
        (!operations.is_empty()).then_some(((group, version, resource), operations))
    };
    wanted.into_iter().filter_map(left).collect()
}

/// The live rules, and those that they lack.
fn union(live: &[RuleWithOperations], rules: Vec<RuleWithOperations>) -> Vec<RuleWithOperations> {
    let lacking = rules.into_iter().filter(|it| !live.contains(it));
    live.iter().cloned().chain(lacking).collect()
}

/// Asks the API server for the kinds of a group.
async fn ask(client: &Client, group: &str) -> Result<Group, kube::Error> {
    let mut versions = Vec::new();
    if group.is_empty() {
        let all = client.list_core_api_resources("v1").await?;
        versions.push(("v1".to_owned(), all.resources));
    } else {
        let groups = client.list_api_groups().await?;
        if let Some(found) = groups.groups.into_iter().find(|it| it.name == group) {
            let preferred = found.preferred_version.map(|it| it.version);
            let mut names: Vec<String> = found.versions.into_iter().map(|it| it.version).collect();
            names.sort_by_key(|it| Some(it) != preferred.as_ref());
            for version in names {
                let all = client
                    .list_api_group_resources(&format!("{group}/{version}"))
                    .await?;
                versions.push((version, all.resources));
            }
        }
    }
    Ok(Group {
        versions,
        asked: Instant::now(),
    })
}

#[cfg(test)]
mod tests;

//! What a decision knows of the cluster: an immutable value, made of parts that are replaced one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bailiwick_crds::v1alpha1::Tenant;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1 as rbac;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::config::Config;
use crate::grants::Rule;
use crate::hostname::Hostnames;
use crate::identity::{self, Identities, Standing, Subject};
use crate::ownership::{NamespaceFacts, precedence};
use crate::placement::{ClassFacts, VolumeFacts};
use crate::policy::Policies;
use crate::review::UserInfo;
use crate::selector;
use crate::self_service::Prefixes;

/// What a decision knows. Cloning it is cheap.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The configuration.
    pub config: Arc<Config>,
    /// The Tenants.
    pub tenants: Arc<Tenants>,
    /// The Namespaces.
    pub namespaces: Arc<BTreeMap<String, NamespaceFacts>>,
    /// Roles and bindings.
    pub rbac: Arc<Rbac>,
    /// The policies.
    pub policies: Arc<Policies>,
    /// The StorageClasses.
    pub storage_classes: Arc<BTreeMap<String, ClassFacts>>,
    /// The PersistentVolumes that were asked for.
    pub volumes: Arc<BTreeMap<String, VolumeFacts>>,
    /// What was asked for and is known not to exist.
    pub missing: Arc<BTreeSet<Need>>,
}

/// Something that a decision needs and the snapshot does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A Namespace.
    Namespace(String),
    /// A ClusterRole.
    ClusterRole(String),
    /// A Role.
    Role {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A PersistentVolume.
    PersistentVolume(String),
}

/// All Tenants.
#[derive(Clone, Debug, Default)]
pub struct Tenants {
    /// By name.
    pub by_name: BTreeMap<String, Arc<Tenant>>,
    /// Their people.
    pub identities: Identities,
    /// The hostnames that they were granted.
    pub hostnames: Hostnames,
    /// The prefixes of their self-service.
    pub prefixes: Prefixes,
    /// Namespace to the tenants that declare it.
    pub declared: BTreeMap<String, BTreeSet<String>>,
    /// Namespace to the one of them that comes first.
    first: HashMap<String, String>,
    /// Namespace and UID to the tenant that has it on record.
    recorded: HashMap<String, BTreeMap<String, String>>,
}

impl Tenants {
    /// Indexes Tenants.
    pub fn collect(tenants: impl IntoIterator<Item = Arc<Tenant>>) -> Self {
        let by_name: BTreeMap<String, Arc<Tenant>> = tenants
            .into_iter()
            .map(|it| (it.metadata.name.clone().unwrap_or_default(), it))
            .collect();
        let specs = by_name.iter().map(|(name, tenant)| (name.as_str(), &tenant.spec));
        let live = by_name
            .iter()
            .filter(|(_, it)| it.metadata.deletion_timestamp.is_none());
        let mut tenants = Self {
            prefixes: Prefixes::collect(live.map(|(name, tenant)| (name.as_str(), &tenant.spec))),
            identities: Identities::collect(specs.clone()),
            hostnames: Hostnames::collect(specs.filter_map(|(name, spec)| {
                let granted = spec.workloads.as_ref()?.hostnames.as_ref()?;
                Some((name, granted.as_slice()))
            })),
            ..Self::default()
        };
        let mut in_order: Vec<(&String, &Arc<Tenant>)> = by_name.iter().collect();
        in_order.sort_by_key(|(_, it)| precedence(it));
        for (name, tenant) in in_order {
            let live = tenant.metadata.deletion_timestamp.is_none();
            let declared = tenant.spec.namespaces.iter().flat_map(|it| &it.declared);
            for namespace in declared.filter(|_| live).map(|it| &it.name) {
                tenants
                    .declared
                    .entry(namespace.clone())
                    .or_default()
                    .insert(name.clone());
                tenants
                    .first
                    .entry(namespace.clone())
                    .or_insert_with(|| name.clone());
            }
            for record in tenant.status.iter().flat_map(|it| &it.namespaces) {
                let by_uid = tenants.recorded.entry(record.name.clone()).or_default();
                by_uid.entry(record.uid.clone()).or_insert_with(|| name.clone());
            }
        }
        Self { by_name, ..tenants }
    }
}

/// Roles and bindings, indexed by what decisions ask.
#[derive(Clone, Debug, Default)]
pub struct Rbac {
    /// ClusterRoles by name.
    pub cluster_roles: HashMap<String, RoleFacts>,
    /// Roles by namespace and name.
    pub roles: HashMap<String, HashMap<String, Vec<Rule>>>,
    /// Bindings by the ClusterRole they refer to.
    pub by_cluster_role: HashMap<String, Vec<BindingFacts>>,
}

/// A ClusterRole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoleFacts {
    /// Its labels, which aggregation selects on.
    pub labels: BTreeMap<String, String>,
    /// Its rules.
    pub rules: Vec<Rule>,
    /// The selectors of its aggregationRule.
    pub aggregates: Vec<LabelSelector>,
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingFacts {
    /// The namespace of a RoleBinding; none for a ClusterRoleBinding.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Whom it binds.
    pub subjects: Vec<SubjectRef>,
}

/// A subject of a binding, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(default)]
pub struct SubjectRef {
    /// User, Group or ServiceAccount.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The namespace of a ServiceAccount.
    pub namespace: String,
}

impl SubjectRef {
    /// The subject as a binding of this namespace means it: a ServiceAccount without a namespace is one of the
    /// RoleBinding's own.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        if self.kind == "ServiceAccount" && self.namespace.is_empty() {
            namespace.clone_into(&mut self.namespace);
        }
        self
    }

    /// The subject, unless its kind is unknown.
    pub fn subject(&self) -> Option<Subject<'_>> {
        match self.kind.as_str() {
            "User" => Some(Subject::User(&self.name)),
            "Group" => Some(Subject::Group(&self.name)),
            "ServiceAccount" => Some(Subject::ServiceAccount {
                namespace: &self.namespace,
                name: &self.name,
            }),
            _ => None,
        }
    }
}

impl Snapshot {
    /// The tenant that a namespace belongs to: by record, by label, or, while it doesn't exist yet, by declaration.
    /// Neither label nor declaration makes a reserved namespace a tenant's.
    pub fn tenant_of(&self, namespace: &str) -> Option<&str> {
        let facts = self.namespaces.get(namespace);
        let unrecorded = || match facts {
            _ if self.config.is_reserved_namespace(namespace) => None,
            Some(facts) => facts.labelled(),
            None => self.tenants.first.get(namespace).map(String::as_str),
        };
        self.recorded_tenant_of(namespace).or_else(unrecorded)
    }

    /// The tenant that has an existing namespace on record.
    pub fn recorded_tenant_of(&self, namespace: &str) -> Option<&str> {
        let facts = self.namespaces.get(namespace)?;
        let recorded = self.tenants.recorded.get(namespace)?.get(&facts.uid)?;
        Some(recorded)
    }

    /// Whether a namespace carries a tenant's label that the tenant's operator has not followed yet: nothing is made in it.
    pub fn is_waiting(&self, namespace: &str) -> bool {
        let waits = |facts: &NamespaceFacts| {
            let tenant = facts.labelled()?;
            let declares = self.tenants.declared.get(namespace)?.contains(tenant);
            Some(!declares)
        };
        let facts = self.namespaces.get(namespace);
        facts.is_some_and(|it| {
            it.labelled()
                .is_some_and(|it| self.tenants.by_name.contains_key(it))
                && !it.is_locked()
                && !self.config.is_reserved_namespace(namespace)
                && waits(it).unwrap_or(true)
                && self.recorded_tenant_of(namespace).is_none()
        })
    }

    /// The tenants that the sender of a request belongs to. That a tenant has a ServiceAccount in a namespace of the platform
    /// makes none of the others there its own.
    pub fn tenants_of(&self, user: &UserInfo<'_>) -> BTreeSet<&str> {
        let mut tenants = BTreeSet::new();
        let mut add = |standing| {
            if let Standing::Tenants(of) = standing {
                tenants.extend(of);
            }
        };
        add(self.standing(Subject::User(&user.username)));
        for group in user.groups.iter().flatten() {
            match identity::service_accounts_of(group) {
                None => add(self.standing(Subject::Group(group))),
                Some(namespace) => add(self
                    .tenant_of(namespace)
                    .map_or(Standing::Unclaimed, |it| Standing::Tenants([it].into()))),
            }
        }
        tenants
    }

    /// The namespaces whose tenant is gone: nobody may enter them any more.
    pub fn left_behind(&self) -> BTreeSet<&str> {
        let is_gone = |it: &&String| {
            let tenant = self.tenant_of(it);
            tenant.is_some_and(|it| !self.tenants.by_name.contains_key(it))
        };
        self.namespaces
            .keys()
            .filter(is_gone)
            .map(String::as_str)
            .collect()
    }

    /// Where a subject stands.
    pub fn standing(&self, subject: Subject<'_>) -> Standing<'_> {
        self.tenants.identities.standing(
            subject,
            |namespace| self.tenant_of(namespace),
            &self.config.platform_subjects,
        )
    }

    /// Whether a binding's subject is, or is among its members, a tenant's.
    pub fn reaches_tenants(&self, subject: &SubjectRef) -> bool {
        subject
            .subject()
            .is_some_and(|it| self.standing(it).reaches_tenants())
    }

    /// Whether a binding's subject is, or is among its members, this tenant's.
    pub fn reaches(&self, subject: &SubjectRef, tenant: &str) -> bool {
        let standing = subject.subject().map(|it| self.standing(it));
        match standing {
            Some(Standing::Tenants(tenants)) => tenants.contains(tenant),
            Some(Standing::Everybody) => true,
            Some(Standing::Platform | Standing::Unclaimed) | None => false,
        }
    }

    /// The rules of a ClusterRole, with those that aggregation adds or is about to add, over however many steps.
    pub fn effective_rules(&self, role: &RoleFacts) -> Vec<Rule> {
        let mut reached: BTreeMap<&str, &RoleFacts> = BTreeMap::new();
        let mut open = vec![role];
        open.retain(|it| !it.aggregates.is_empty());
        while let Some(aggregating) = open.pop() {
            for (name, other) in &self.rbac.cluster_roles {
                let selects = |it| selector::matches(it, &other.labels);
                if aggregating.aggregates.iter().any(selects) && reached.insert(name, other).is_none() {
                    open.extend((!other.aggregates.is_empty()).then_some(other));
                }
            }
        }
        let mut known: HashSet<&Rule> = HashSet::new();
        let all = std::iter::once(role).chain(reached.into_values());
        all.flat_map(|it| &it.rules)
            .filter(|it| known.insert(it))
            .cloned()
            .collect()
    }

    /// This snapshot with one more Namespace.
    #[must_use]
    pub fn with_namespace(mut self, name: String, facts: NamespaceFacts) -> Self {
        Arc::make_mut(&mut self.namespaces).insert(name, facts);
        self
    }

    /// This snapshot with one more ClusterRole.
    #[must_use]
    pub fn with_cluster_role(mut self, name: String, role: RoleFacts) -> Self {
        Arc::make_mut(&mut self.rbac).cluster_roles.insert(name, role);
        self
    }

    /// This snapshot with one more Role.
    #[must_use]
    pub fn with_role(mut self, namespace: String, name: String, rules: Vec<Rule>) -> Self {
        Arc::make_mut(&mut self.rbac)
            .roles
            .entry(namespace)
            .or_default()
            .insert(name, rules);
        self
    }

    /// This snapshot with one more PersistentVolume.
    #[must_use]
    pub fn with_volume(mut self, name: String, volume: VolumeFacts) -> Self {
        Arc::make_mut(&mut self.volumes).insert(name, volume);
        self
    }

    /// This snapshot with the knowledge that something does not exist.
    #[must_use]
    pub fn without(mut self, need: Need) -> Self {
        Arc::make_mut(&mut self.missing).insert(need);
        self
    }
}

impl Rbac {
    /// Adds a ClusterRoleBinding or RoleBinding.
    pub fn bind(&mut self, cluster_role: String, binding: BindingFacts) {
        self.by_cluster_role
            .entry(cluster_role)
            .or_default()
            .push(binding);
    }
}

fn labels(metadata: &ObjectMeta) -> BTreeMap<String, String> {
    metadata.labels.clone().unwrap_or_default()
}

fn annotations(metadata: &ObjectMeta) -> BTreeMap<String, String> {
    let all = metadata.annotations.iter().flatten();
    all.filter(|it| it.0 != bailiwick_crds::labels::LAST_APPLIED)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

impl From<&Namespace> for NamespaceFacts {
    fn from(namespace: &Namespace) -> Self {
        let metadata = &namespace.metadata;
        let annotation = |key| metadata.annotations.as_ref().and_then(|it| it.get(key)).cloned();
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            labels: labels(metadata),
            annotations: annotations(metadata),
            adopt_by: annotation(bailiwick_crds::labels::ADOPT_BY),
            made_for: annotation(bailiwick_crds::labels::TENANT_UID),
            owner_references: metadata
                .owner_references
                .as_ref()
                .is_some_and(|it| !it.is_empty()),
            terminating: metadata.deletion_timestamp.is_some(),
            created: metadata.creation_timestamp.as_ref().map(|it| it.0),
        }
    }
}

impl From<&rbac::PolicyRule> for Rule {
    fn from(rule: &rbac::PolicyRule) -> Self {
        Self {
            api_groups: rule.api_groups.clone().unwrap_or_default(),
            resources: rule.resources.clone().unwrap_or_default(),
            resource_names: rule.resource_names.clone().unwrap_or_default(),
            verbs: rule.verbs.clone(),
            non_resource_urls: rule.non_resource_urls.clone().unwrap_or_default(),
        }
    }
}

/// The rules of a Role or ClusterRole.
pub fn rules(rules: Option<&Vec<rbac::PolicyRule>>) -> Vec<Rule> {
    rules.into_iter().flatten().map(Rule::from).collect()
}

impl From<&rbac::ClusterRole> for RoleFacts {
    fn from(role: &rbac::ClusterRole) -> Self {
        Self {
            labels: labels(&role.metadata),
            rules: rules(role.rules.as_ref()),
            aggregates: role
                .aggregation_rule
                .as_ref()
                .and_then(|it| it.cluster_role_selectors.clone())
                .unwrap_or_default(),
        }
    }
}

impl From<&rbac::Subject> for SubjectRef {
    fn from(subject: &rbac::Subject) -> Self {
        Self {
            kind: subject.kind.clone(),
            name: subject.name.clone(),
            namespace: subject.namespace.clone().unwrap_or_default(),
        }
    }
}

/// The facts of a binding and the ClusterRole it refers to; none when it refers to a Role.
pub fn binding(
    metadata: &ObjectMeta,
    role_ref: &rbac::RoleRef,
    subjects: Option<&Vec<rbac::Subject>>,
) -> Option<(String, BindingFacts)> {
    (role_ref.kind == "ClusterRole").then(|| {
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let subjects = subjects.into_iter().flatten();
        let facts = BindingFacts {
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone().unwrap_or_default(),
            subjects: subjects
                .map(|it| SubjectRef::from(it).within(namespace))
                .collect(),
        };
        (role_ref.name.clone(), facts)
    })
}

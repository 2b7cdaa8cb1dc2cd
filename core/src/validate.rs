//! A Tenant as written becomes a [`ValidTenant`], or all that is wrong with it.
//!
//! The CRD's schema refuses most of this already, natively. It is said again here because the schema can't see
//! the configuration, because `bailiwick check` has no API server, and because a Tenant stored under an older
//! schema must not slip through.
//!
//! A Tenant that became invalid is still there. [`examine`] tells what of it can be carried out: what would open
//! something and is wrong is left out, and what would close something is kept as it is.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{
    Access, DeclaredNamespace, DeletionPolicy, Egress, Network, PodLabel, PodSecurityLevel, Quota,
    SelfService, Subject, SubjectKind, Tenant, TenantSpec,
};
use ipnet::IpNet;

use crate::config::Config;
use crate::finding::{Finding, RuleId, some_of};
use crate::identity::{Claim, claims_of, is_namespace, is_object_name};
use crate::{network, selector};

/// What of a Tenant can be carried out: all of it, where [`validate`] made it. Only this module makes one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ValidTenant {
    /// Its name.
    pub name: String,
    /// Its UID; empty offline.
    pub uid: String,
    /// Who administers it.
    pub owners: Vec<Subject>,
    /// Its subjects.
    pub claims: BTreeSet<Claim>,
    /// Further bindings.
    pub access: Vec<Access>,
    /// The declared namespaces, by name, without those whose declaration is wrong.
    pub namespaces: BTreeMap<String, DeclaredNamespace>,
    /// What its owners may do about namespaces by themselves; none if it is wrong.
    pub self_service: Option<SelfService>,
    /// Exceptions from network isolation.
    pub network: Network,
    /// The networks of `network.egress.toCIDRs`, parsed.
    pub to_cidrs: Vec<IpNet>,
    /// The hostnames that it was granted.
    pub hostnames: Vec<String>,
    /// Quota and limits; none if they are wrong: then what there is stays, for nobody knows the right ones.
    pub quota: Option<Quota>,
    /// The enforced Pod Security level.
    pub pod_security: PodSecurityLevel,
    /// How the tenant label comes onto Pods.
    pub pod_label: PodLabel,
    /// The tier by which the API server shares its time with it.
    pub tier: Option<String>,
    /// Whether what lives in its namespaces may be read only.
    pub suspended: bool,
    /// What becomes of the namespaces.
    pub deletion_policy: DeletionPolicy,
}

impl ValidTenant {
    /// The egress exceptions, with their defaults.
    pub fn egress(&self) -> Egress {
        self.network.egress.clone().unwrap_or_default()
    }
}

/// A Tenant, valid or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Examined {
    /// What of it can be carried out.
    pub sound: ValidTenant,
    /// What is wrong with the rest; none when the Tenant is valid.
    pub problems: Vec<Finding>,
}

/// Checks a Tenant by itself: what it says, not how it fits the others.
///
/// # Errors
/// Every problem at once, each with its field.
pub fn validate(tenant: &Tenant, config: &Config) -> Result<ValidTenant, Vec<Finding>> {
    let Examined { sound, problems } = examine(tenant, config);
    if problems.is_empty() {
        Ok(sound)
    } else {
        Err(problems)
    }
}

/// Checks a Tenant by itself, and tells what can be carried out whatever is wrong with the rest.
pub fn examine(tenant: &Tenant, config: &Config) -> Examined {
    let name = tenant.metadata.name.clone().unwrap_or_default();
    let spec = &tenant.spec;
    let mut problems = Problems::default();
    check_name(&name, &mut problems);
    let owners = spec.owners.iter().enumerate().filter(|(i, owner)| {
        problems.none_in(|it| check_owner(&format!("spec.owners[{i}]"), owner, config, it))
    });
    let owners = owners.map(|(_, owner)| owner.clone()).collect();
    check_identities(spec, &mut problems);
    let access = check_access(spec, config, &mut problems);
    let namespaces = check_namespaces(spec, config, &mut problems);
    let self_service = own_namespaces::check(spec, config, &mut problems);
    let (network, to_cidrs) = check_network(&name, spec, config, &mut problems);
    let hostnames = workloads::check(spec, config, &mut problems);
    let quota = problems
        .none_in(|it| limits::check(spec, it))
        .then(|| spec.quota.clone().unwrap_or_default());
    let pod_label = check_pod_label(spec, config, &mut problems);
    let tier = check_priority(spec, config, &mut problems);
    placement::check(spec, config, &mut problems);
    let sound = ValidTenant {
        name,
        uid: tenant.metadata.uid.clone().unwrap_or_default(),
        owners,
        claims: claims_of(spec),
        access,
        namespaces,
        self_service,
        network,
        to_cidrs,
        hostnames,
        quota,
        pod_security: spec.pod_security.unwrap_or_default().enforce,
        pod_label,
        tier,
        suspended: spec.suspended.unwrap_or_default(),
        deletion_policy: spec.deletion_policy.unwrap_or_default(),
    };
    Examined {
        sound,
        problems: problems.0,
    }
}

#[derive(Default)]
struct Problems(Vec<Finding>);

impl Problems {
    /// Whether a check finds nothing.
    fn none_in(&mut self, check: impl FnOnce(&mut Self)) -> bool {
        let before = self.0.len();
        check(self);
        self.0.len() == before
    }

    fn add(
        &mut self,
        field: impl Into<String>,
        found: impl Into<String>,
        allowed: impl Into<String>,
        fix: &str,
    ) {
        self.0
            .push(Finding::new(RuleId::TenantInvalid, field, found, allowed, fix));
    }
}

const RESERVED_NAMES: [&str; 5] = ["default", "system", "platform", "none", "kube"];

fn check_name(name: &str, problems: &mut Problems) {
    const FIELD: &str = "metadata.name";
    let label = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !label || name.len() > 40 {
        problems.add(
            FIELD,
            format!("'{name}'"),
            "a DNS label of at most 40 characters that begins with a letter",
            "choose another name",
        );
    }
    if RESERVED_NAMES.contains(&name) || name.starts_with("kube-") || name.starts_with("bailiwick") {
        problems.add(
            FIELD,
            format!("'{name}' is reserved"),
            "any name but 'default', 'system', 'platform', 'none', 'kube', 'kube-*' and 'bailiwick*'",
            "choose another name",
        );
    }
}

/// What an owner is called becomes the tenant's, so it is nobody whom the cluster itself runs by.
fn check_owner(field: &str, owner: &Subject, config: &Config, problems: &mut Problems) {
    check_subject(field, owner, problems);
    if let Some(namespace) = &owner.namespace
        && (namespace.starts_with("kube-") || *namespace == config.namespace)
    {
        problems.add(
            format!("{field}.namespace"),
            format!("'{namespace}', whose ServiceAccounts are the cluster's own"),
            "a ServiceAccount outside 'kube-*' and Bailiwick's own namespace",
            "give the tenant a ServiceAccount in another namespace",
        );
    }
}

fn check_subject(field: &str, subject: &Subject, problems: &mut Problems) {
    let Subject {
        kind,
        name,
        namespace,
    } = subject;
    let name_field = format!("{field}.name");
    match (kind, namespace.as_deref()) {
        (SubjectKind::ServiceAccount, None | Some("")) => problems.add(
            format!("{field}.namespace"),
            "nothing, for a ServiceAccount",
            "the namespace of the ServiceAccount",
            "add the namespace",
        ),
        (SubjectKind::User | SubjectKind::Group, Some(found)) => problems.add(
            format!("{field}.namespace"),
            format!("'{found}', for a {kind:?}"),
            "a namespace for kind ServiceAccount only",
            "remove the namespace",
        ),
        _ => {}
    }
    if *kind == SubjectKind::ServiceAccount {
        // A colon would make one user name of two ServiceAccounts.
        let namespace = namespace.as_deref().unwrap_or_default();
        if !namespace.is_empty() && !is_namespace(namespace) {
            problems.add(
                format!("{field}.namespace"),
                format!("'{namespace}'"),
                "the name of a Namespace",
                "correct the name",
            );
        }
        if !is_object_name(name) {
            problems.add(
                &name_field,
                format!("'{name}'"),
                "the name of a ServiceAccount: lower case letters, digits, '-' and '.'",
                "correct the name",
            );
        }
        return;
    }
    if name.starts_with("system:") {
        problems.add(
            &name_field,
            format!("'{name}', which is Kubernetes' own"),
            "a user or group of your identity provider, or kind ServiceAccount",
            "name somebody who belongs to this tenant alone",
        );
    }
    if name.contains('*') {
        problems.add(
            &name_field,
            format!("'{name}'"),
            "an exact name",
            "put a prefix into spec.identities",
        );
    }
    check_written_name(&name_field, name, problems);
}

/// Names are compared byte by byte, so a name that looks like another one is a mistake at best.
fn check_written_name(field: &str, name: &str, problems: &mut Problems) {
    let printable = name.chars().all(|c| (' '..='~').contains(&c));
    if name.is_empty() || name.len() > 253 || !printable || name.trim() != name {
        problems.add(
            field,
            format!("'{name}'"),
            "1 to 253 printable ASCII characters without white space at either end",
            "write the name as the API server shows it (`kubectl auth whoami`)",
        );
    }
}

fn check_identities(spec: &TenantSpec, problems: &mut Problems) {
    let Some(identities) = &spec.identities else {
        return;
    };
    let users = identities
        .users
        .iter()
        .enumerate()
        .map(|(i, it)| (format!("spec.identities.users[{i}]"), it));
    let groups = identities
        .groups
        .iter()
        .enumerate()
        .map(|(i, it)| (format!("spec.identities.groups[{i}]"), it));
    for (field, name) in users.chain(groups) {
        let stem = name.strip_suffix('*').unwrap_or(name);
        check_written_name(&field, name, problems);
        if stem.contains('*') || stem.is_empty() {
            problems.add(
                &field,
                format!("'{name}'"),
                "an exact name, or a prefix ending in one '*'",
                "name this tenant's prefix, such as 'oidc:acme:*'",
            );
        } else if stem.starts_with("system:") || (stem.len() < name.len() && "system:".starts_with(stem)) {
            problems.add(
                &field,
                format!("'{name}', which reaches Kubernetes' own names"),
                "names that do not begin with 'system:'",
                "name users and groups of your identity provider; list ServiceAccounts under spec.owners",
            );
        }
    }
}

/// What of the access can be given.
fn check_access(spec: &TenantSpec, config: &Config, problems: &mut Problems) -> Vec<Access> {
    let mut given = Vec::new();
    for (i, access) in spec.access.iter().enumerate() {
        let is_sound = problems.none_in(|it| check_grant(i, access, config, it));
        let subjects = access.subjects.iter().enumerate().filter(|(j, subject)| {
            problems.none_in(|it| check_subject(&format!("spec.access[{i}].subjects[{j}]"), subject, it))
        });
        let subjects: Vec<Subject> = subjects.map(|(_, it)| it.clone()).collect();
        if is_sound && !subjects.is_empty() {
            given.push(Access {
                subjects,
                ..access.clone()
            });
        }
    }
    given
}

fn check_grant(i: usize, access: &Access, config: &Config, problems: &mut Problems) {
    if !config.bindable_cluster_roles.contains(&access.cluster_role) {
        problems.add(
            format!("spec.access[{i}].clusterRole"),
            format!("'{}'", access.cluster_role),
            format!("one of {}", some_of(&config.bindable_cluster_roles)),
            "choose one of these, or let the platform add it to config.bindableClusterRoles of the chart",
        );
    }
    if access.subjects.is_empty() {
        problems.add(
            format!("spec.access[{i}].subjects"),
            "none",
            "at least one",
            "add who gets the role",
        );
    }
    if let Some((path, reason)) = access.namespace_selector.as_ref().and_then(selector::problem) {
        problems.add(
            format!("spec.access[{i}].namespaceSelector.{path}"),
            reason,
            "a label selector as Kubernetes defines it",
            "correct the selector",
        );
    }
}

fn check_namespaces(
    spec: &TenantSpec,
    config: &Config,
    problems: &mut Problems,
) -> BTreeMap<String, DeclaredNamespace> {
    let mut namespaces = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (i, declared) in spec.namespaces.iter().flat_map(|it| &it.declared).enumerate() {
        let field = format!("spec.namespaces.declared[{i}]");
        let is_sound = problems.none_in(|it| check_namespace(&field, declared, config, it));
        if !seen.insert(&declared.name) {
            problems.add(
                format!("{field}.name"),
                format!("'{}' a second time", declared.name),
                "each namespace once",
                "remove one of the two",
            );
            namespaces.remove(&declared.name);
        } else if is_sound {
            namespaces.insert(declared.name.clone(), declared.clone());
        }
    }
    namespaces
}

fn check_namespace(field: &str, declared: &DeclaredNamespace, config: &Config, problems: &mut Problems) {
    let name = &declared.name;
    let name_field = format!("{field}.name");
    if !is_namespace(name) {
        problems.add(
            &name_field,
            format!("'{name}'"),
            "a DNS label of at most 63 characters",
            "choose another name",
        );
    }
    if config.is_reserved_namespace(name) {
        problems.add(
            &name_field,
            format!("'{name}' is reserved"),
            "a namespace that isn't 'default', 'kube-*', Bailiwick's own or in config.reservedNamespaces",
            "choose another name",
        );
    }
    for key in declared.labels.keys().filter(|key| decides_isolation(key)) {
        problems.add(
            format!("{field}.labels['{key}']"),
            format!("'{key}', which decides isolation"),
            "labels without the prefixes 'bailiwick.dev/', 'pod-security.kubernetes.io/', 'kubernetes.io/'",
            "remove the label; Pod security is set by spec.podSecurity",
        );
    }
    for (key, value) in &declared.labels {
        if !(selector::is_key(key) && selector::is_value(value)) {
            problems.add(
                    format!("{field}.labels['{key}']"),
                    format!("'{key}: {value}'"),
                    "a label as Kubernetes defines it: name and value of at most 63 letters, digits, '-', '_' and '.'",
                    "correct the label",
                );
        }
    }
}

fn decides_isolation(key: &str) -> bool {
    key.starts_with(labels::PREFIX)
        || key.starts_with(labels::POD_SECURITY_PREFIX)
        || key.starts_with("kubernetes.io/")
        || key == labels::DEVICE_ADMIN_ACCESS
}

/// The exceptions that can be made, and their networks.
fn check_network(
    tenant: &str,
    spec: &TenantSpec,
    config: &Config,
    problems: &mut Problems,
) -> (Network, Vec<IpNet>) {
    let mut network = spec.network.clone().unwrap_or_default();
    let mut to_cidrs = Vec::new();
    if let Some(ingress) = &mut network.ingress {
        check_peers("ingress.fromTenants", tenant, &mut ingress.from_tenants, problems);
        sound(&mut ingress.from_namespaces, |i, namespace| {
            let is_sound = is_namespace(namespace);
            if !is_sound {
                problems.add(
                    format!("spec.network.ingress.fromNamespaces[{i}]"),
                    format!("'{namespace}'"),
                    "the name of a platform namespace",
                    "name one namespace, such as ingress-nginx",
                );
            }
            is_sound
        });
    }
    if let Some(egress) = &mut network.egress {
        check_peers("egress.toTenants", tenant, &mut egress.to_tenants, problems);
        for (i, text) in egress.to_cidrs.iter().enumerate() {
            let field = format!("spec.network.egress.toCIDRs[{i}]");
            let mut net = None;
            if problems.none_in(|it| net = check_cidr(&field, text, egress.internet, config, it)) {
                to_cidrs.extend(net);
            }
        }
    }
    (network, to_cidrs)
}

fn check_peers(path: &str, tenant: &str, peers: &mut Vec<String>, problems: &mut Problems) {
    sound(peers, |i, peer| {
        let is_sound = peer != tenant && is_namespace(peer);
        if !is_sound {
            problems.add(
                format!("spec.network.{path}[{i}]"),
                format!("'{peer}'"),
                "the name of another Tenant",
                "name the other Tenant; traffic inside a tenant is open anyway",
            );
        }
        is_sound
    });
}

/// Leaves out the items of a list that are not sound.
fn sound(items: &mut Vec<String>, mut is_sound: impl FnMut(usize, &str) -> bool) {
    let mut place = 0..;
    items.retain(|it| is_sound(place.next().unwrap_or_default(), it));
}

/// The parsed network, unless it is wrong or says no more than `internet: true` does.
fn check_cidr(
    field: &str,
    text: &str,
    internet: bool,
    config: &Config,
    problems: &mut Problems,
) -> Option<IpNet> {
    let net = match text.parse::<IpNet>() {
        Ok(net) if net.trunc() == net => net,
        _ => {
            problems.add(
                field,
                format!("'{text}'"),
                "a network in CIDR notation with no host bits set",
                "write it like 10.20.0.0/16 or 2001:db8::/48",
            );
            return None;
        }
    };
    if net.prefix_len() < 8 {
        if internet && net.prefix_len() == 0 {
            return None;
        }
        problems.add(
            field,
            format!("'{text}', which is the Internet or a large part of it"),
            "networks of /8 or smaller",
            "write 'internet: true' to reach the Internet, or name the networks",
        );
        return None;
    }
    if let Some(never) = network::never_open(&net) {
        problems.add(
            field,
            format!("'{text}', which touches {never}"),
            "networks outside link-local, loopback and multicast ranges",
            "leave out the metadata service and the node's own addresses",
        );
    }
    if let Some(own) = config.cluster_cidrs.iter().find(|it| network::overlap(it, &net)) {
        problems.add(
            field,
            format!("'{text}', which touches the cluster's own range {own}"),
            "networks outside the cluster",
            "use toTenants, or ingress.fromTenants on the other side, for traffic inside the cluster",
        );
    }
    Some(net)
}

/// How the label comes onto Pods. Where nothing stamps it Pods must carry it themselves.
fn check_pod_label(spec: &TenantSpec, config: &Config, problems: &mut Problems) -> PodLabel {
    if spec.pod_label == Some(PodLabel::Stamp) && !config.pod_label_stamping {
        problems.add(
            "spec.podLabel",
            "'Stamp', on a cluster without MutatingAdmissionPolicy",
            "'Require' or 'Verify'",
            "choose Require, or upgrade the cluster to Kubernetes 1.36",
        );
    }
    match spec.pod_label {
        Some(mode @ (PodLabel::Require | PodLabel::Verify)) => mode,
        Some(PodLabel::Stamp) | None if config.pod_label_stamping => PodLabel::Stamp,
        Some(PodLabel::Stamp) | None => PodLabel::Require,
    }
}

fn check_priority(spec: &TenantSpec, config: &Config, problems: &mut Problems) -> Option<String> {
    let fairness = &config.api_fairness;
    let Some(priority) = &spec.priority else {
        return fairness.default_tier.clone();
    };
    if fairness.tiers.contains(&priority.tier) {
        return Some(priority.tier.clone());
    }
    problems.add(
        "spec.priority.tier",
        format!("'{}'", priority.tier),
        if fairness.tiers.is_empty() {
            "none: the platform has made no tiers".to_owned()
        } else {
            format!("one of {}", some_of(&fairness.tiers))
        },
        "choose one of these or leave spec.priority out, or let the platform add the tier to apiFairness.tiers of the chart",
    );
    None
}

mod limits;
mod own_namespaces;
mod placement;
mod quota;
mod workloads;

#[cfg(test)]
mod tests;

//! How far access really reaches, whoever allowed it.
//!
//! Admission judges changes: a binding that is older than a Tenant passed when it was nobody's business. What it
//! grants today is told here, from the bindings as they are.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use crate::config::PlatformSubjects;
use crate::grants::{self, Rule};
use crate::identity::{Identities, Standing, Subject, service_account_namespace, service_accounts_group};
use crate::ownership::{Claim, Hindrance};
use crate::snapshot::{Snapshot, SubjectRef, rules};
use crate::stock;

/// A RoleBinding or ClusterRoleBinding as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The namespace of a RoleBinding; none for a ClusterRoleBinding.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The ClusterRole it refers to; none for a Role, which stays in its namespace.
    pub cluster_role: Option<String>,
    /// Whom it binds.
    pub subjects: Vec<SubjectRef>,
}

/// The bindings that undo the isolation of tenants: by tenant, each in words.
pub type Strays = BTreeMap<String, Vec<String>>;

/// Finds the bindings that let strangers into a tenant's namespaces, or a tenant's subjects out of them.
///
/// `bound` are all bindings but the managed ones, which are as their Tenant declares.
pub fn strays<'a>(snapshot: &Snapshot, bound: impl IntoIterator<Item = &'a Bound>) -> Strays {
    let mut strays = Strays::new();
    let mut harms = HashMap::new();
    for binding in bound {
        match &binding.namespace {
            Some(namespace) => within(snapshot, namespace, binding, &mut strays),
            None => cluster_wide(snapshot, binding, &mut harms, &mut strays),
        }
    }
    for texts in strays.values_mut() {
        texts.sort();
    }
    strays
}

/// A RoleBinding in a tenant's namespace: nobody but its own subjects and the platform's, and nothing that escapes.
fn within(snapshot: &Snapshot, namespace: &str, binding: &Bound, strays: &mut Strays) {
    let Some(tenant) = snapshot.tenant_of(namespace) else {
        return;
    };
    let mut tell = |what: String| {
        let text = format!("RoleBinding {namespace}/{} {what}", binding.name);
        strays.entry(tenant.to_owned()).or_default().push(text);
    };
    let mut is_inside = false;
    for subject in binding.subjects.iter().filter_map(SubjectRef::subject) {
        let standing = snapshot.standing(subject);
        match &standing {
            Standing::Platform => {}
            _ if standing.is_only(tenant) => is_inside = true,
            _ => tell(format!("lets in {subject}")),
        }
    }
    let role = binding.cluster_role.as_ref();
    let facts = role.and_then(|it| snapshot.rbac.cluster_roles.get(it));
    if let (true, Some(role), Some(facts)) = (is_inside, role, facts)
        && let Some(escape) = snapshot.effective_rules(facts).iter().find_map(grants::escape)
    {
        tell(format!("grants '{escape}' by ClusterRole {role}"));
    }
}

/// A ClusterRoleBinding: nothing but discovery for tenants' subjects. A ClusterRole that does not exist grants
/// nothing today.
fn cluster_wide<'a>(
    snapshot: &Snapshot,
    binding: &'a Bound,
    harms: &mut HashMap<&'a str, Option<String>>,
    strays: &mut Strays,
) {
    let Some(role) = &binding.cluster_role else { return };
    for subject in binding.subjects.iter().filter_map(SubjectRef::subject) {
        let standing = snapshot.standing(subject);
        if !standing.reaches_tenants() {
            continue;
        }
        let harm = harms.entry(role).or_insert_with(|| harm(snapshot, role));
        let Some(harm) = harm else { return };
        let text = format!(
            "ClusterRoleBinding {} grants {subject} {harm} by ClusterRole {role}, in every namespace",
            binding.name
        );
        let mut tell = |tenant: &str| strays.entry(tenant.to_owned()).or_default().push(text.clone());
        match standing {
            Standing::Tenants(tenants) => tenants.into_iter().for_each(tell),
            Standing::Everybody => snapshot.tenants.by_name.keys().for_each(|it| tell(it)),
            Standing::Platform | Standing::Unclaimed => {}
        }
    }
}

/// Namespaces that their owners made are not taken while a binding that is not in `tenant` grants something to their
/// ServiceAccounts: it was made when there was no such namespace, and then names whoever comes to have it.
pub fn hold_back(claims: &mut BTreeMap<String, Claim>, tenant: &str, snapshot: &Snapshot, bound: &[Bound]) {
    for (namespace, claim) in claims.iter_mut().filter(|(_, it)| **it == Claim::Take) {
        let found = bound
            .iter()
            .find(|it| reaches_accounts(it, namespace, tenant, snapshot));
        if let Some(Bound { namespace, name, .. }) = found {
            let binding = match namespace {
                Some(namespace) => format!("RoleBinding {namespace}/{name}"),
                None => format!("ClusterRoleBinding {name}"),
            };
            *claim = Claim::Wait(Hindrance::Bound(binding));
        }
    }
}

/// Whether a binding grants something outside the tenant to ServiceAccounts of a namespace.
fn reaches_accounts(binding: &Bound, namespace: &str, tenant: &str, snapshot: &Snapshot) -> bool {
    let is_inside = binding
        .namespace
        .as_deref()
        .is_some_and(|it| it == namespace || snapshot.tenant_of(it) == Some(tenant));
    let names_it = |it: Subject<'_>| match it {
        Subject::ServiceAccount { namespace: of, .. } => of == namespace,
        Subject::User(user) => service_account_namespace(user) == Some(namespace),
        Subject::Group(group) => *group == service_accounts_group(namespace),
    };
    !is_inside
        && binding
            .subjects
            .iter()
            .filter_map(SubjectRef::subject)
            .any(names_it)
        && match (&binding.namespace, &binding.cluster_role) {
            (None, Some(role)) => harm(snapshot, role).is_some(),
            _ => true,
        }
}

/// What a ClusterRole grants beyond discovery and what Kubernetes itself gives everybody, if anything.
fn harm(snapshot: &Snapshot, role: &str) -> Option<String> {
    let facts = snapshot.rbac.cluster_roles.get(role)?;
    let rules = snapshot.effective_rules(facts);
    let also = [snapshot.config.harmless_permissions.as_slice(), &EVERYBODYS].concat();
    let is_harmful = |it: &&_| !grants::is_harmless(it, &also);
    rules.iter().find(is_harmful).map(grants::describe)
}

/// What Kubernetes gives everybody at its first start: nobody made a mistake there.
static EVERYBODYS: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let stock = stock::kubernetes().unwrap_or_default();
    let (identities, platform) = (Identities::default(), PlatformSubjects::default());
    let is_everybody = |it: &_| {
        let subject = SubjectRef::from(it);
        let standing = subject
            .subject()
            .map(|it| identities.standing(it, |_| None, &platform));
        standing == Some(Standing::Everybody)
    };
    let bound = stock
        .cluster_role_bindings
        .iter()
        .filter(|it| it.subjects.iter().flatten().any(is_everybody));
    let roles = bound.filter_map(|binding| {
        let is_it = |it: &&_| named(it) == Some(&binding.role_ref.name);
        stock.cluster_roles.iter().find(is_it)
    });
    roles.flat_map(|it| rules(it.rules.as_ref())).collect()
});

fn named(role: &k8s_openapi::api::rbac::v1::ClusterRole) -> Option<&String> {
    role.metadata.name.as_ref()
}

#[cfg(test)]
mod tests;

//! The one answer to "which tenant does this subject belong to?".
//!
//! Names are compared byte by byte: nothing is trimmed, folded or normalised, because the API server and its
//! authenticators don't do so either.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;

use bailiwick_crds::v1alpha1::{SubjectKind, TenantSpec};
use serde::{Deserialize, Serialize};

/// A name, or all names with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Pattern {
    /// This name only.
    Exact(String),
    /// Every name that begins so; written with a `*` at the end.
    Prefix(String),
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(text),
        }
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl Pattern {
    /// Whether the name is one of the pattern's.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }

    /// Whether some name is both patterns'.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(name), pattern) | (pattern, Self::Exact(name)) => pattern.matches(name),
            (Self::Prefix(a), Self::Prefix(b)) => a.starts_with(b.as_str()) || b.starts_with(a.as_str()),
        }
    }
}

/// Users and groups are named apart; a ServiceAccount is the user `system:serviceaccount:<namespace>:<name>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// User names.
    User,
    /// Group names.
    Group,
}

/// What a tenant claims: a pattern in one of the two name spaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Users or groups.
    pub space: Space,
    /// Which of them.
    pub pattern: Pattern,
}

impl Claim {
    /// Whether some subject would belong to both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.space == other.space && self.pattern.overlaps(&other.pattern)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.space {
            Space::User => "User",
            Space::Group => "Group",
        };
        write!(f, "{kind} {}", self.pattern)
    }
}

/// The user name of a ServiceAccount.
pub fn service_account_user(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
const SERVICE_ACCOUNTS_PREFIX: &str = "system:serviceaccounts:";

/// The namespace of the ServiceAccount that a user name denotes. Only a name that Kubernetes itself can make
/// counts: `system:serviceaccount:ns:a:b`, `system:serviceaccount::a` and `system:serviceaccount:NS:a` are the
/// names of users like any other.
pub(crate) fn service_account_namespace(user: &str) -> Option<&str> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    (is_namespace(namespace) && is_object_name(name)).then_some(namespace)
}

/// The group of all ServiceAccounts of a namespace.
pub(crate) fn service_accounts_group(namespace: &str) -> String {
    format!("{SERVICE_ACCOUNTS_PREFIX}{namespace}")
}

/// The namespace of whose ServiceAccounts a group is the group.
pub(crate) fn service_accounts_of(group: &str) -> Option<&str> {
    let namespace = group.strip_prefix(SERVICE_ACCOUNTS_PREFIX);
    namespace.filter(|it| is_namespace(it))
}

/// Whether a Namespace may have this name.
pub(crate) fn is_namespace(name: &str) -> bool {
    is_object_name(name) && name.len() <= 63 && !name.contains('.')
}

/// Whether an object may have this name: a DNS subdomain.
pub(crate) fn is_object_name(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |it: &str| {
        it.starts_with(alphanumeric)
            && it.ends_with(alphanumeric)
            && it.chars().all(|c| alphanumeric(c) || c == '-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Groups and users that everybody has, tenants' subjects among them.
const EVERYBODY_GROUPS: [&str; 3] = [
    "system:authenticated",
    "system:unauthenticated",
    "system:serviceaccounts",
];
const EVERYBODY_USERS: [&str; 1] = ["system:anonymous"];

/// A subject of a binding, or the sender of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A user by name; ServiceAccounts come as users too.
    User(&'a str),
    /// A group by name.
    Group(&'a str),
    /// A ServiceAccount of a namespace.
    ServiceAccount {
        /// Its namespace.
        namespace: &'a str,
        /// Its name.
        name: &'a str,
    },
}

impl<'a> From<&'a bailiwick_crds::v1alpha1::Subject> for Subject<'a> {
    fn from(subject: &'a bailiwick_crds::v1alpha1::Subject) -> Self {
        match subject.kind {
            SubjectKind::User => Self::User(&subject.name),
            SubjectKind::Group => Self::Group(&subject.name),
            SubjectKind::ServiceAccount => Self::ServiceAccount {
                namespace: subject.namespace.as_deref().unwrap_or_default(),
                name: &subject.name,
            },
        }
    }
}

impl<'a> Subject<'a> {
    /// What it is called, among users or among groups.
    pub fn name(&self) -> (Space, Cow<'a, str>) {
        match *self {
            Self::User(name) => (Space::User, Cow::Borrowed(name)),
            Self::Group(name) => (Space::Group, Cow::Borrowed(name)),
            Self::ServiceAccount { namespace, name } => {
                (Space::User, Cow::Owned(service_account_user(namespace, name)))
            }
        }
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "User '{name}'"),
            Self::Group(name) => write!(f, "Group '{name}'"),
            Self::ServiceAccount { namespace, name } => write!(f, "ServiceAccount '{namespace}/{name}'"),
        }
    }
}

/// Where a subject stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// It belongs to these tenants: one, or several when they claim it both.
    Tenants(BTreeSet<&'a str>),
    /// It stands for everybody, tenants' subjects among them.
    Everybody,
    /// It is the platform's: configured, or a ServiceAccount of a namespace that is no tenant's.
    Platform,
    /// Nobody has claimed it.
    Unclaimed,
}

impl Standing<'_> {
    /// Whether a tenant's subject is, or is among, this subject.
    pub fn reaches_tenants(&self) -> bool {
        matches!(self, Self::Tenants(_) | Self::Everybody)
    }

    /// Whether it belongs to this tenant and to no other.
    pub fn is_only(&self, tenant: &str) -> bool {
        matches!(self, Self::Tenants(tenants) if tenants.len() == 1 && tenants.contains(tenant))
    }
}

/// The claims of a Tenant as written, valid or not: a Tenant that became invalid still owns its people.
pub fn claims_of(spec: &TenantSpec) -> BTreeSet<Claim> {
    let owners = spec.owners.iter().map(|owner| {
        let (space, name) = Subject::from(owner).name();
        let pattern = Pattern::Exact(name.into_owned());
        Claim { space, pattern }
    });
    let identities = spec.identities.iter().flat_map(|identities| {
        let users = identities.users.iter().map(|it| (Space::User, it));
        let groups = identities.groups.iter().map(|it| (Space::Group, it));
        users.chain(groups).map(|(space, name)| Claim {
            space,
            pattern: Pattern::from(name.clone()),
        })
    });
    owners.chain(identities).collect()
}

/// All claims of all tenants, for look-up.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    users: Names,
    groups: Names,
}

#[derive(Clone, Debug, Default)]
struct Names {
    exact: BTreeMap<String, BTreeSet<String>>,
    prefixes: BTreeMap<String, BTreeSet<String>>,
    longest_prefix: usize,
}

impl Names {
    fn insert(&mut self, pattern: &Pattern, tenant: &str) {
        let (map, key) = match pattern {
            Pattern::Exact(name) => (&mut self.exact, name),
            Pattern::Prefix(prefix) => {
                self.longest_prefix = self.longest_prefix.max(prefix.len());
                (&mut self.prefixes, prefix)
            }
        };
        map.entry(key.clone()).or_default().insert(tenant.to_owned());
    }

    fn tenants_of(&self, name: &str) -> BTreeSet<&str> {
        let exact = self.exact.get(name).into_iter().flatten();
        exact.chain(self.wider(name)).map(String::as_str).collect()
    }

    /// Who claims a prefix of this name. It costs one search for each length that a prefix may have, however
    /// many prefixes there are and however long the name is.
    fn wider<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a String> {
        (0..=name.len().min(self.longest_prefix))
            .filter_map(|end| name.get(..end))
            .filter_map(|prefix| self.prefixes.get(prefix))
            .flatten()
    }

    /// Who claims names that begin so.
    fn narrower<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a String> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        [&self.exact, &self.prefixes].into_iter().flat_map(move |names| {
            names
                .range::<str, _>(from)
                .take_while(move |(name, _)| name.starts_with(prefix))
                .flat_map(|(_, tenants)| tenants)
        })
    }
}

impl Identities {
    /// Collects the claims of tenants, each with its name.
    pub fn collect<'a>(tenants: impl IntoIterator<Item = (&'a str, &'a TenantSpec)>) -> Self {
        let mut identities = Self::default();
        for (tenant, spec) in tenants {
            for claim in claims_of(spec) {
                identities.names_mut(claim.space).insert(&claim.pattern, tenant);
            }
        }
        identities
    }

    fn names_mut(&mut self, space: Space) -> &mut Names {
        match space {
            Space::User => &mut self.users,
            Space::Group => &mut self.groups,
        }
    }

    fn names(&self, space: Space) -> &Names {
        match space {
            Space::User => &self.users,
            Space::Group => &self.groups,
        }
    }

    /// Every claim with the tenants that make it, in order of space, exactness and name.
    pub fn claims(&self) -> impl Iterator<Item = (Claim, &BTreeSet<String>)> {
        [Space::User, Space::Group].into_iter().flat_map(move |space| {
            let names = self.names(space);
            let exact = names
                .exact
                .iter()
                .map(|(name, tenants)| (Pattern::Exact(name.clone()), tenants));
            let prefixes = names
                .prefixes
                .iter()
                .map(|(prefix, tenants)| (Pattern::Prefix(prefix.clone()), tenants));
            exact
                .chain(prefixes)
                .map(move |(pattern, tenants)| (Claim { space, pattern }, tenants))
        })
    }

    /// The tenants that claim a subject which `claim` claims too.
    pub fn claimants(&self, claim: &Claim) -> BTreeSet<&str> {
        let names = self.names(claim.space);
        match &claim.pattern {
            Pattern::Exact(name) => names.tenants_of(name),
            Pattern::Prefix(prefix) => names
                .narrower(prefix)
                .chain(names.wider(prefix))
                .map(String::as_str)
                .collect(),
        }
    }

    /// The tenants, other than `tenant`, that claim a subject which `claim` claims too.
    pub fn rivals(&self, tenant: &str, claim: &Claim) -> BTreeSet<&str> {
        let mut tenants = self.claimants(claim);
        tenants.remove(tenant);
        tenants
    }

    /// Where a subject stands.
    ///
    /// `tenant_of` answers to which tenant a namespace belongs; `platform` are the configured platform subjects.
    pub fn standing<'a>(
        &'a self,
        subject: Subject<'_>,
        tenant_of: impl Fn(&str) -> Option<&'a str>,
        platform: &crate::config::PlatformSubjects,
    ) -> Standing<'a> {
        let (space, name) = subject.name();
        let (everybody, patterns): (&[&str], _) = match space {
            Space::User => (&EVERYBODY_USERS, &platform.users),
            Space::Group => (&EVERYBODY_GROUPS, &platform.groups),
        };
        if everybody.contains(&&*name) {
            return Standing::Everybody;
        }
        let mut tenants = self.names(space).tenants_of(&name);
        let namespace = match space {
            Space::User => service_account_namespace(&name),
            Space::Group => service_accounts_of(&name),
        };
        if let Some(namespace) = namespace {
            tenants.extend(tenant_of(namespace));
            if space == Space::Group {
                // A tenant's ServiceAccount may live in a namespace that is no tenant's: the group has it too.
                tenants.extend(self.claimants(&Claim {
                    space: Space::User,
                    pattern: Pattern::Prefix(service_account_user(namespace, "")),
                }));
            }
        }
        if !tenants.is_empty() {
            Standing::Tenants(tenants)
        } else if namespace.is_some() || patterns.iter().any(|it| it.matches(&name)) {
            Standing::Platform
        } else {
            Standing::Unclaimed
        }
    }
}

#[cfg(test)]
mod tests;

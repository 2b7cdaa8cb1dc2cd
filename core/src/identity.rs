//! The one answer to "which tenant does this subject belong to?".
//!
//! Names are compared byte by byte: nothing is trimmed, folded or normalised, because the API server and its
//! authenticators don't do so either.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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
    let owners = spec.owners.iter().map(|owner| match owner.kind {
        SubjectKind::User => Claim {
            space: Space::User,
            pattern: Pattern::Exact(owner.name.clone()),
        },
        SubjectKind::Group => Claim {
            space: Space::Group,
            pattern: Pattern::Exact(owner.name.clone()),
        },
        SubjectKind::ServiceAccount => Claim {
            space: Space::User,
            pattern: Pattern::Exact(service_account_user(
                owner.namespace.as_deref().unwrap_or_default(),
                &owner.name,
            )),
        },
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
}

impl Names {
    fn insert(&mut self, pattern: &Pattern, tenant: &str) {
        let (map, key) = match pattern {
            Pattern::Exact(name) => (&mut self.exact, name),
            Pattern::Prefix(prefix) => (&mut self.prefixes, prefix),
        };
        map.entry(key.clone()).or_default().insert(tenant.to_owned());
    }

    /// A look-up costs one search for each length of the name, however many prefixes there are.
    fn tenants_of(&self, name: &str) -> BTreeSet<&str> {
        let exact = self.exact.get(name);
        let prefixes = if self.prefixes.is_empty() { 0 } else { name.len() };
        let by_prefix = (0..=prefixes)
            .filter_map(|end| name.get(..end))
            .filter_map(|prefix| self.prefixes.get(prefix));
        exact
            .into_iter()
            .chain(by_prefix)
            .flatten()
            .map(String::as_str)
            .collect()
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

    /// The tenants, other than `tenant`, that claim a subject which `claim` claims too.
    pub fn rivals(&self, tenant: &str, claim: &Claim) -> BTreeSet<&str> {
        let names = self.names(claim.space);
        let tenants: BTreeSet<&str> = match &claim.pattern {
            Pattern::Exact(name) => names.tenants_of(name),
            Pattern::Prefix(prefix) => {
                let below = |map: &'_ BTreeMap<String, BTreeSet<String>>| {
                    map.range::<str, _>((
                        std::ops::Bound::Included(prefix.as_str()),
                        std::ops::Bound::Unbounded,
                    ))
                    .take_while(|(name, _)| name.starts_with(prefix.as_str()))
                    .map(|(name, _)| name.clone())
                    .collect::<Vec<_>>()
                };
                let narrower = below(&names.exact)
                    .into_iter()
                    .filter_map(|it| names.exact.get(&it))
                    .chain(
                        below(&names.prefixes)
                            .into_iter()
                            .filter_map(|it| names.prefixes.get(&it)),
                    )
                    .flatten()
                    .map(String::as_str);
                let wider = (0..=prefix.len())
                    .filter_map(|end| prefix.get(..end))
                    .filter_map(|it| names.prefixes.get(it))
                    .flatten()
                    .map(String::as_str);
                narrower.chain(wider).collect()
            }
        };
        tenants.into_iter().filter(|it| *it != tenant).collect()
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
        let (space, name) = match subject {
            Subject::ServiceAccount { namespace, name } => {
                return self.service_account(namespace, name, tenant_of);
            }
            Subject::User(user) => {
                if let Some((namespace, name)) = user
                    .strip_prefix(SERVICE_ACCOUNT_PREFIX)
                    .and_then(|it| it.split_once(':'))
                {
                    return self.service_account(namespace, name, tenant_of);
                }
                if EVERYBODY_USERS.contains(&user) {
                    return Standing::Everybody;
                }
                (Space::User, user)
            }
            Subject::Group(group) => {
                if let Some(namespace) = group.strip_prefix(SERVICE_ACCOUNTS_PREFIX) {
                    return match tenant_of(namespace) {
                        Some(tenant) => Standing::Tenants(BTreeSet::from([tenant])),
                        None => Standing::Platform,
                    };
                }
                if EVERYBODY_GROUPS.contains(&group) {
                    return Standing::Everybody;
                }
                (Space::Group, group)
            }
        };
        let tenants = self.names(space).tenants_of(name);
        if !tenants.is_empty() {
            return Standing::Tenants(tenants);
        }
        let patterns = match space {
            Space::User => &platform.users,
            Space::Group => &platform.groups,
        };
        if patterns.iter().any(|it| it.matches(name)) {
            Standing::Platform
        } else {
            Standing::Unclaimed
        }
    }

    fn service_account<'a>(
        &'a self,
        namespace: &str,
        name: &str,
        tenant_of: impl Fn(&str) -> Option<&'a str>,
    ) -> Standing<'a> {
        let mut tenants = self.users.tenants_of(&service_account_user(namespace, name));
        tenants.extend(tenant_of(namespace));
        if tenants.is_empty() {
            Standing::Platform
        } else {
            Standing::Tenants(tenants)
        }
    }
}

#[cfg(test)]
mod tests;

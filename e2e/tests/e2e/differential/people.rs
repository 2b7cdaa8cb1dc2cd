//! Who asks, and the namespaces that they ask about.

/// The tenants whose owners may make namespaces now: such a namespace is stamped.
pub(super) const SERVING: [&str; 2] = ["serve", "full"];

/// Whose a requester is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Of {
    Nobody,
    One(&'static str),
    Several,
}

type Requester = (&'static str, &'static [&'static str], Of);

const OWN_ACCOUNTS: &[&str] = &["system:serviceaccounts", "system:serviceaccounts:serve-base"];
const PLAIN_ACCOUNTS: &[&str] = &["system:serviceaccounts", "system:serviceaccounts:diff-plain"];

/// Who asks, in which groups.
pub(super) const REQUESTERS: [Requester; 17] = [
    ("platform-admin", &[], Of::Nobody),
    ("diff-owner", &[], Of::One("diff")),
    ("operator", &[], Of::Nobody),
    (
        "system:serviceaccount:kube-system:namespace-controller",
        &[],
        Of::Nobody,
    ),
    ("serve-owner", &[], Of::One("serve")),
    // One of the tenant's people who is no owner.
    ("serve-dev", &[], Of::One("serve")),
    ("somebody", &["serve-admins"], Of::One("serve")),
    (
        "system:serviceaccount:serve-base:robot",
        OWN_ACCOUNTS,
        Of::One("serve"),
    ),
    // An owner who lives in a namespace of the platform, and a neighbour there.
    (
        "system:serviceaccount:diff-plain:bot",
        PLAIN_ACCOUNTS,
        Of::One("serve"),
    ),
    (
        "system:serviceaccount:diff-plain:robot",
        PLAIN_ACCOUNTS,
        Of::Nobody,
    ),
    ("between", &["serve-admins", "oidc:diff:devs"], Of::Several),
    ("full-owner", &[], Of::One("full")),
    ("halt-owner", &[], Of::One("halt")),
    (
        "system:serviceaccount:kube-system:replicaset-controller",
        &[],
        Of::Nobody,
    ),
    ("system:kube-controller-manager", &[], Of::Nobody),
    ("system:node:n", &["system:nodes"], Of::Nobody),
    ("system:apiserver", &[], Of::Nobody),
];

pub(super) fn of(user: &str, groups: &[String]) -> Of {
    let found = REQUESTERS
        .iter()
        .find(|(name, in_groups, _)| *name == user && groups.iter().eq(in_groups.iter()));
    found.map_or(Of::Nobody, |it| it.2)
}

/// The namespaces, and the tenant whose label each has.
pub(super) const NAMESPACES: [(&str, Option<&str>); 11] = [
    ("diff-stamp", Some("diff")),
    ("diff-verify", Some("diff")),
    ("diff-other", Some("other")),
    ("diff-plain", None),
    ("serve-base", Some("serve")),
    ("serve-made", Some("serve")),
    ("serve-ending", Some("serve")),
    ("full-first", Some("full")),
    ("full-late", Some("full")),
    ("halt-base", Some("halt")),
    ("kube-system", None),
];
/// Where there are objects to be changed, in each of them the same.
pub(super) const FURNISHED: [&str; 5] = [
    "diff-stamp",
    "diff-plain",
    "serve-base",
    "serve-made",
    "halt-base",
];

pub(super) fn is_labelled(namespace: &str) -> bool {
    NAMESPACES
        .iter()
        .any(|(name, tenant)| *name == namespace && tenant.is_some())
}

/// Whether nothing has this name.
pub(super) fn is_new(name: &str) -> bool {
    name == "new" || name.ends_with("-new")
}

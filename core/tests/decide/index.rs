//! The TenancyIndex says of each name and namespace what `decide` would.

use std::collections::BTreeMap;

use bailiwick_core::index::index;

use crate::cluster::cluster;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn namespaces_have_their_tenants() {
    let index = index(&cluster());
    assert_eq!(
        index.namespaces,
        map(&[
            ("acme-bare", "acme"),
            ("acme-dev", "acme"),
            ("acme-end", "acme"),
            ("acme-lab", "acme"),
            ("acme-new", "acme"),
            ("acme-odd", "acme"),
            ("acme-old", "acme"),
            ("acme-prod", "acme"),
            ("contested", "globex"),
            ("empty", ""),
            ("ghost", "ghost"),
            ("globex-prod", "globex"),
            ("taken", "acme"),
        ])
    );
    assert_eq!(
        index.declared,
        map(&[
            ("acme-dev", "acme"),
            ("acme-lab", "acme"),
            ("acme-prod", "acme"),
            ("contested", "globex"),
            ("globex-prod", "globex"),
        ])
    );
}

#[test]
fn names_have_their_tenants_and_shared_ones_are_marked() {
    let index = index(&cluster());
    assert_eq!(
        index.users,
        map(&[
            ("alice", "acme"),
            ("bob", "globex"),
            ("system:serviceaccount:ci:deployer", "acme")
        ])
    );
    assert_eq!(
        index.groups,
        map(&[
            ("oidc:acme:admin", "acme"),
            ("shared", "acme"),
            ("system:serviceaccounts:ci", "acme")
        ])
    );
    let prefixes = |claims: &[bailiwick_crds::v1alpha1::PrefixClaim]| -> BTreeMap<String, String> {
        claims
            .iter()
            .map(|it| (it.prefix.clone(), it.tenant.clone()))
            .collect()
    };
    assert_eq!(prefixes(&index.user_prefixes), map(&[("acme-", "acme")]));
    assert_eq!(
        prefixes(&index.group_prefixes),
        map(&[("oidc:acme:", "acme"), ("oidc:globex:", "globex")])
    );
    assert_eq!(index.ambiguous.groups, ["shared"]);
    assert!(index.ambiguous.users.is_empty());
    assert_eq!(index.platform.users, ["robot"]);
    assert_eq!(index.platform.user_prefixes, ["sre-"]);
    assert_eq!(index.platform.group_prefixes, ["oidc:platform:"]);
}

#[test]
fn roles_are_known_by_what_they_grant_and_to_whom() {
    let index = index(&cluster());
    let names = |roles: &BTreeMap<String, bool>| roles.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&index.harmless_cluster_roles),
        ["empty", "system:basic-user", "system:discovery"]
    );
    assert_eq!(
        names(&index.cluster_bound_roles),
        ["future-wide", "system:discovery"]
    );
    assert_eq!(
        names(&index.tenant_bound_roles),
        ["future", "local", "top", "view"]
    );
}

#[test]
fn the_same_snapshot_gives_the_same_index() {
    assert_eq!(index(&cluster()), index(&cluster()));
}

//! Laws of what rules grant: compared with a model that lists every single permission.

use bailiwick_core::grants::{Rule, added, covers, escape, is_harmless};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::cases;

const VERBS: [&str; 9] = [
    "get",
    "create",
    "update",
    "bind",
    "escalate",
    "impersonate",
    "impersonate:user-info",
    "impersonate-on:x:get",
    "*",
];
const GROUPS: [&str; 7] = [
    "",
    "apps",
    "rbac.authorization.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "bailiwick.dev",
    "*",
];
const RESOURCES: [&str; 16] = [
    "pods",
    "pods/status",
    "pods/binding",
    "nodes/proxy",
    "*/proxy",
    "*/status",
    "roles",
    "clusterroles",
    "users",
    "userextras/scopes",
    "serviceaccounts",
    "selfsubjectaccessreviews",
    "resourcequotas",
    "endpoints",
    "tenants",
    "*",
];
const NAMES: [&str; 3] = ["x", "y", "z"];
const URLS: [&str; 7] = [
    "/api",
    "/api/*",
    "/apis",
    "/version",
    "/metrics",
    "/api/v1/x",
    "*",
];

fn some(of: &'static [&'static str], at_most: usize) -> impl Strategy<Value = Vec<String>> {
    subsequence(of, 0..=at_most)
        .prop_shuffle()
        .prop_map(|it| it.into_iter().map(str::to_owned).collect())
}

fn rule() -> impl Strategy<Value = Rule> {
    let resource = (
        some(&VERBS, 3),
        some(&GROUPS, 2),
        some(&RESOURCES, 3),
        some(&NAMES, 2),
    );
    let resource = resource.prop_map(|(verbs, api_groups, resources, resource_names)| Rule {
        api_groups,
        resources,
        resource_names,
        verbs,
        ..Rule::default()
    });
    let url = (some(&["get", "post", "*"], 2), some(&URLS, 3)).prop_map(|(verbs, non_resource_urls)| Rule {
        verbs,
        non_resource_urls,
        ..Rule::default()
    });
    prop_oneof![4 => resource, 1 => url]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    proptest::collection::vec(rule(), 0..4)
}

/// A rule that grants no more: each list is a part of what it was, in another order.
fn narrower(rule: Rule) -> impl Strategy<Value = Rule> {
    let part = |list: Vec<String>| {
        let all = list.len();
        subsequence(list, 0..=all).prop_shuffle()
    };
    let names = if rule.resource_names.is_empty() {
        some(&NAMES, 2).boxed()
    } else {
        let all = rule.resource_names.len();
        subsequence(rule.resource_names, 1..=all).boxed()
    };
    (
        part(rule.verbs),
        part(rule.api_groups),
        part(rule.resources),
        names,
        part(rule.non_resource_urls),
    )
        .prop_map(
            |(verbs, api_groups, resources, resource_names, non_resource_urls)| Rule {
                api_groups,
                resources,
                resource_names,
                verbs,
                non_resource_urls,
            },
        )
}

fn narrower_twice() -> impl Strategy<Value = (Rule, Rule, Rule)> {
    rule()
        .prop_flat_map(|it| (Just(it.clone()), narrower(it)))
        .prop_flat_map(|(wide, it)| (Just(wide), Just(it.clone()), narrower(it)))
}

/// A rule that grants something more.
fn wider(rule: &Rule, list: usize, value: usize) -> Rule {
    let mut rule = rule.clone();
    let pick = |of: &[&str]| of[value % of.len()].to_owned();
    match list % 5 {
        0 => rule.verbs.push(pick(&VERBS)),
        1 => rule.api_groups.push(pick(&GROUPS)),
        2 => rule.resources.push(pick(&RESOURCES)),
        3 if rule.resource_names.is_empty() => rule.verbs.insert(0, pick(&VERBS)),
        3 => rule.resource_names.push(pick(&NAMES)),
        _ if rule.resources.is_empty() => rule.non_resource_urls.push(pick(&URLS)),
        _ => rule.resource_names.clear(),
    }
    rule
}

/// One request that RBAC is asked about.
#[derive(Clone, Copy, Debug)]
enum Permission {
    Resource {
        verb: &'static str,
        group: &'static str,
        resource: &'static str,
        name: &'static str,
    },
    Url {
        verb: &'static str,
        url: &'static str,
    },
}

/// Every request over the words that the rules are made of, and over some that they are not.
fn permissions() -> impl Iterator<Item = Permission> {
    let verbs = [
        "get",
        "create",
        "update",
        "bind",
        "escalate",
        "impersonate",
        "impersonate:user-info",
        "other",
    ];
    let groups = [
        "",
        "apps",
        "rbac.authorization.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "bailiwick.dev",
        "other",
    ];
    let resources = [
        "pods",
        "pods/status",
        "pods/binding",
        "pods/proxy",
        "nodes/proxy",
        "roles",
        "clusterroles",
        "users",
        "userextras/scopes",
        "serviceaccounts",
        "selfsubjectaccessreviews",
        "resourcequotas",
        "endpoints",
        "tenants",
        "other",
        "other/status",
    ];
    let of_resources = verbs.into_iter().flat_map(move |verb| {
        groups.into_iter().flat_map(move |group| {
            resources.into_iter().flat_map(move |resource| {
                ["x", "other", ""].map(|name| Permission::Resource {
                    verb,
                    group,
                    resource,
                    name,
                })
            })
        })
    });
    let of_urls = ["get", "post", "other"].into_iter().flat_map(|verb| {
        [
            "/api",
            "/api/",
            "/api/v1/x",
            "/apis",
            "/version",
            "/metrics",
            "/other",
        ]
        .map(|url| Permission::Url { verb, url })
    });
    of_resources.chain(of_urls)
}

/// RBAC's own rule, as `k8s.io/component-helpers/auth/rbac/validation` and the authorizer have it.
fn allows(rule: &Rule, permission: Permission) -> bool {
    let has = |list: &[String], wanted: &str| list.iter().any(|it| it == "*" || it == wanted);
    match permission {
        Permission::Resource {
            verb,
            group,
            resource,
            name,
        } => {
            let sub = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
            has(&rule.verbs, verb)
                && has(&rule.api_groups, group)
                && (has(&rule.resources, resource) || sub.is_some_and(|it| rule.resources.contains(&it)))
                && (rule.resource_names.is_empty() || rule.resource_names.iter().any(|it| it == name))
        }
        Permission::Url { verb, url } => {
            let covers = |it: &String| {
                it == "*" || it == url || it.strip_suffix('*').is_some_and(|it| url.starts_with(it))
            };
            has(&rule.verbs, verb) && rule.non_resource_urls.iter().any(covers)
        }
    }
}

fn any_allows(rules: &[Rule], permission: Permission) -> bool {
    rules.iter().any(|it| allows(it, permission))
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn what_is_covered_allows_nothing_new(granted in rules(), rule in rule()) {
        if covers(&granted, &rule) {
            for permission in permissions() {
                prop_assert!(!allows(&rule, permission) || any_allows(&granted, permission), "{permission:?}");
            }
        }
    }

    #[test]
    fn what_is_not_added_was_allowed_before(old in rules(), new in rules()) {
        let added: Vec<Rule> = added(&old, &new).into_iter().cloned().collect();
        for permission in permissions() {
            if any_allows(&new, permission) && !any_allows(&old, permission) {
                prop_assert!(any_allows(&added, permission), "{permission:?}");
            }
        }
    }

    #[test]
    fn covering_is_reflexive_and_transitive((wide, middle, narrow) in narrower_twice(), others in rules()) {
        let reversed = Rule { verbs: wide.verbs.iter().rev().cloned().collect(), ..wide.clone() };
        prop_assert!(covers(std::slice::from_ref(&reversed), &wide));
        prop_assert!(covers(std::slice::from_ref(&wide), &middle));
        prop_assert!(covers(std::slice::from_ref(&middle), &narrow));
        prop_assert!(covers(std::slice::from_ref(&wide), &narrow));
        let all: Vec<Rule> = others.iter().cloned().chain([wide]).collect();
        prop_assert!(covers(&all, &narrow));
    }

    #[test]
    fn covering_is_transitive_over_any_rules(a in rules(), b in rules(), c in rule()) {
        if b.iter().all(|it| covers(&a, it)) && covers(&b, &c) {
            prop_assert!(covers(&a, &c));
        }
    }

    #[test]
    fn more_permissions_never_escape_less(rule in rule(), list in 0..5_usize, value in 0..16_usize) {
        let wider = wider(&rule, list, value);
        if escape(&rule).is_some() {
            prop_assert!(escape(&wider).is_some(), "{wider:?}");
        }
    }

    #[test]
    fn more_permissions_are_never_more_harmless(rule in rule(), list in 0..5_usize, value in 0..16_usize, also in rules()) {
        let wider = wider(&rule, list, value);
        for also in [&[][..], &also] {
            if !is_harmless(&rule, also) {
                prop_assert!(!is_harmless(&wider, also), "{wider:?}");
            }
        }
    }

    #[test]
    fn the_order_of_what_a_rule_lists_is_irrelevant(rule in rule()) {
        let turned = |list: &Vec<String>| list.iter().rev().cloned().collect();
        let reversed = Rule {
            api_groups: turned(&rule.api_groups),
            resources: turned(&rule.resources),
            resource_names: turned(&rule.resource_names),
            verbs: turned(&rule.verbs),
            non_resource_urls: turned(&rule.non_resource_urls),
        };
        prop_assert_eq!(escape(&rule).is_some(), escape(&reversed).is_some());
        prop_assert_eq!(is_harmless(&rule, &[]), is_harmless(&reversed, &[]));
    }

    #[test]
    fn what_is_harmless_is_discovery_and_never_escapes(rule in rule()) {
        if is_harmless(&rule, &[]) {
            prop_assert_eq!(escape(&rule), None);
            for permission in permissions().filter(|it| allows(&rule, *it)) {
                let known = match permission {
                    Permission::Resource { verb, group, resource, .. } => {
                        (verb, group, resource) == ("create", "authorization.k8s.io", "selfsubjectaccessreviews")
                    }
                    Permission::Url { verb, url } => verb == "get" && url != "/metrics" && url != "/other",
                };
                prop_assert!(known, "{permission:?}");
            }
        }
    }

    #[test]
    fn a_wildcard_escapes_like_what_it_stands_for(
        (group, resource, verb) in select(vec![
            ("", "pods/binding", "create"),
            ("", "bindings", "create"),
            ("", "pods/status", "update"),
            ("", "namespaces/finalize", "update"),
            ("", "resourcequotas", "delete"),
            ("", "limitranges", "patch"),
            ("", "endpoints", "update"),
            ("discovery.k8s.io", "endpointslices", "create"),
            ("rbac.authorization.k8s.io", "roles", "bind"),
            ("rbac.authorization.k8s.io", "roles", "escalate"),
        ]),
        wild in proptest::bits::u8::ANY,
    ) {
        let rule = Rule {
            api_groups: vec![if wild & 1 == 0 { group } else { "*" }.to_owned()],
            resources: vec![if wild & 2 == 0 { resource } else { "*" }.to_owned()],
            verbs: vec![if wild & 4 == 0 { verb } else { "*" }.to_owned()],
            resource_names: if wild & 8 == 0 { Vec::new() } else { vec!["x".to_owned()] },
            ..Rule::default()
        };
        prop_assert!(escape(&rule).is_some(), "{rule:?}");
    }
}

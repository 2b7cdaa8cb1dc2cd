//! What RBAC rules really grant.
//!
//! Two questions are answered, by looking at permissions and never at a role's name:
//! is a rule [harmless](is_harmless) in everybody's hands cluster-wide, and does it [escape](escape) the
//! namespace it is granted in?

use serde::{Deserialize, Serialize};

/// An RBAC PolicyRule. Absent and `null` lists are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// API groups, `*` for all.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Resources and subresources, `*` for all.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Names; none means all.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Verbs, `*` for all.
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<String>,
    /// Paths outside the resources, with `*` at the end for all below.
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "null_is_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub non_resource_urls: Vec<String>,
}

/// A Role that exists without rules is sent as `rules: null`.
pub(crate) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

/// What discovery needs: the paths that `system:discovery`, `system:public-info-viewer` and
/// `system:service-account-issuer-discovery` grant in Kubernetes 1.37.
pub const DISCOVERY_URLS: [&str; 15] = [
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/readyz",
    "/openapi",
    "/openapi/*",
    "/version",
    "/version/",
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/",
    "/openid/v1/jwks",
    "/openid/v1/jwks/",
];

/// What `system:basic-user` grants: questions about oneself.
const SELF_REVIEWS: [(&str, &str); 3] = [
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
];

/// Whether a rule may be given to every tenant's subjects cluster-wide: it grants discovery, questions about
/// oneself, or what `also` (from the configuration) lists.
pub fn is_harmless(rule: &Rule, also: &[Rule]) -> bool {
    if also.iter().any(|it| covers(std::slice::from_ref(it), rule)) {
        return true;
    }
    let urls = rule
        .non_resource_urls
        .iter()
        .all(|it| DISCOVERY_URLS.contains(&it.as_str()))
        && (rule.non_resource_urls.is_empty() || rule.verbs.iter().all(|it| it == "get"));
    let resources = rule.resources.is_empty()
        || (rule.verbs.iter().all(|it| it == "create")
            && rule.api_groups.iter().all(|group| {
                rule.resources
                    .iter()
                    .all(|resource| SELF_REVIEWS.contains(&(group.as_str(), resource.as_str())))
            }));
    urls && resources
}

/// Verbs that change something.
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// Whatever the verb: a proxy is asked with each, and no list of them is complete.
const ANY: [&str; 0] = [];

/// API group, resource and verbs.
type Permission = (&'static str, &'static str, &'static [&'static str]);

/// Permissions that reach out of the namespace they are granted in, or undo what isolates it.
///
/// Endpoints are among them because whoever forwards for two tenants, such as an ingress controller, takes them
/// at their word (CVE-2021-25740).
const ESCAPES: [Permission; 14] = [
    ("", "bindings", &["create"]),
    ("", "pods/binding", &["create"]),
    ("", "pods/status", &WRITES),
    ("", "namespaces", &WRITES),
    ("", "namespaces/status", &WRITES),
    ("", "namespaces/finalize", &WRITES),
    ("", "resourcequotas", &WRITES),
    ("", "resourcequotas/status", &WRITES),
    ("", "limitranges", &WRITES),
    ("", "endpoints", &WRITES),
    ("discovery.k8s.io", "endpointslices", &WRITES),
    ("rbac.authorization.k8s.io", "roles", &["escalate", "bind"]),
    // Last, because they say less: a Binding is only ever created.
    ("", "bindings", &WRITES),
    ("", "pods/binding", &WRITES),
];

/// Cluster-scoped permissions: a RoleBinding makes nothing of them, a ClusterRoleBinding does. They count where
/// they are named; a `*` among the resources counts by what it means inside a namespace.
const CLUSTER_SCOPED: [Permission; 22] = [
    ("", "persistentvolumes", &WRITES),
    ("", "nodes", &WRITES),
    ("", "nodes/status", &WRITES),
    ("", "nodes/proxy", &ANY),
    ("", "*/proxy", &ANY),
    (
        "rbac.authorization.k8s.io",
        "clusterroles",
        &[
            "escalate",
            "bind",
            "create",
            "update",
            "patch",
            "delete",
            "deletecollection",
        ],
    ),
    ("rbac.authorization.k8s.io", "clusterrolebindings", &WRITES),
    (
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        &WRITES,
    ),
    (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        &WRITES,
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        &WRITES,
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
        &WRITES,
    ),
    (
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicies",
        &WRITES,
    ),
    (
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings",
        &WRITES,
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions", &WRITES),
    ("apiregistration.k8s.io", "apiservices", &WRITES),
    (
        "certificates.k8s.io",
        "certificatesigningrequests/approval",
        &WRITES,
    ),
    ("bailiwick.dev", "tenants", &WRITES),
    ("bailiwick.dev", "tenants/status", &WRITES),
    ("bailiwick.dev", "tenancyindices", &WRITES),
    ("bailiwick.dev", "tenantpolicies", &WRITES),
    ("bailiwick.dev", "tenantpolicies/status", &WRITES),
    ("bailiwick.dev", "policyapprovals", &WRITES),
];

/// What `*` among the verbs lets one impersonate, beside ServiceAccounts, which stay in their namespace.
const IMPERSONATION: [Permission; 6] = [
    ("", "users", &["impersonate"]),
    ("", "groups", &["impersonate"]),
    ("", "userextras", &["impersonate"]),
    ("authentication.k8s.io", "uids", &["impersonate"]),
    ("authentication.k8s.io", "userextras", &["impersonate"]),
    ("authentication.k8s.io", "users", &["impersonate"]),
];

/// Whether a resource as granted is, or includes, the one that is looked for.
type Covers = fn(&str, &str) -> bool;

/// The first permission of a rule that reaches out of its namespace, as `verb group/resource`, if any.
pub fn escape(rule: &Rule) -> Option<String> {
    let matched: [(&[Permission], Covers); 3] = [
        (&ESCAPES, resource_covers),
        (&CLUSTER_SCOPED, |granted, wanted| granted == wanted),
        (&IMPERSONATION, |granted, wanted| {
            let whole = granted.split_once('/').map_or(granted, |(it, _)| it);
            resource_covers(granted, wanted) || whole == wanted
        }),
    ];
    for (permissions, covers) in matched {
        for (group, resource, verbs) in permissions {
            if any_or(&rule.api_groups, group)
                && rule.resources.iter().any(|it| covers(it, resource))
                && let Some(verb) = first_verb(rule, verbs)
            {
                return Some(shown(verb, group, resource));
            }
        }
    }
    named_verb(rule)
}

/// The first of these verbs that a rule has. Where none is named each counts.
fn first_verb<'a>(rule: &'a Rule, verbs: &'a [&str]) -> Option<&'a str> {
    if verbs.is_empty() {
        return rule.verbs.first().map(String::as_str);
    }
    verbs.iter().find(|verb| any_or(&rule.verbs, verb)).copied()
}

/// Verbs that reach out on whatever they are granted; not by `*`, which others grant without meaning them.
fn named_verb(rule: &Rule) -> Option<String> {
    let group = rule.api_groups.first()?;
    let reaches_out = |verb: &str, resource: &str| match verb {
        "bind" | "escalate" => true,
        "impersonate" => resource != "serviceaccounts",
        // Constrained impersonation (KEP-5284) has a verb for each kind of identity.
        other => other.starts_with("impersonate"),
    };
    rule.resources.iter().find_map(|resource| {
        let verb = rule.verbs.iter().find(|it| reaches_out(it, resource))?;
        Some(shown(verb, group, resource))
    })
}

fn shown(verb: &str, group: &str, resource: &str) -> String {
    let slash = if group.is_empty() { "" } else { "/" };
    format!("{verb} {group}{slash}{resource}")
}

fn any_or(list: &[String], wanted: &str) -> bool {
    list.iter().any(|it| it == "*" || it == wanted)
}

/// RBAC's match: `*`, the same, or `*/subresource`.
fn resource_covers(granted: &str, wanted: &str) -> bool {
    granted == "*"
        || granted == wanted
        || granted.strip_prefix("*/").is_some_and(|sub| {
            wanted
                .split_once('/')
                .is_some_and(|(_, wanted_sub)| wanted_sub == sub)
        })
}

fn url_covers(granted: &str, wanted: &str) -> bool {
    granted == "*"
        || granted == wanted
        || granted
            .strip_suffix('*')
            .is_some_and(|prefix| wanted.starts_with(prefix))
}

/// How many comparisons a question about rules may cost: beyond that, rules count as not covered.
const MAX_COMPARISONS: usize = 10_000_000;

/// Whether every permission of `rule` is granted by one of `granted`.
pub fn covers(granted: &[Rule], rule: &Rule) -> bool {
    let mut budget = MAX_COMPARISONS;
    covers_within(&mut budget, granted, rule)
}

/// As [`covers`], at the cost of a budget.
fn covers_within(budget: &mut usize, granted: &[Rule], rule: &Rule) -> bool {
    if granted.contains(rule) {
        return true;
    }
    let names: Vec<Option<&str>> = if rule.resource_names.is_empty() {
        vec![None]
    } else {
        rule.resource_names.iter().map(|it| Some(it.as_str())).collect()
    };
    let targets = rule
        .api_groups
        .len()
        .saturating_mul(rule.resources.len())
        .saturating_mul(names.len())
        .saturating_add(rule.non_resource_urls.len());
    let sizes = granted.iter().map(|it| {
        let lists = [
            &it.verbs,
            &it.api_groups,
            &it.resources,
            &it.resource_names,
            &it.non_resource_urls,
        ];
        lists.into_iter().map(Vec::len).fold(1, usize::saturating_add)
    });
    let cost = sizes
        .fold(0, usize::saturating_add)
        .saturating_mul(targets)
        .saturating_mul(rule.verbs.len());
    let Some(rest) = budget.checked_sub(cost) else {
        return false;
    };
    *budget = rest;
    let urls = rule.verbs.iter().all(|verb| {
        rule.non_resource_urls.iter().all(|url| {
            granted
                .iter()
                .any(|it| any_or(&it.verbs, verb) && it.non_resource_urls.iter().any(|g| url_covers(g, url)))
        })
    });
    let resource = |verb: &str, group: &str, resource: &str, name: Option<&str>| {
        granted.iter().any(|it| {
            any_or(&it.verbs, verb)
                && any_or(&it.api_groups, group)
                && it.resources.iter().any(|g| resource_covers(g, resource))
                && (it.resource_names.is_empty()
                    || name.is_some_and(|name| it.resource_names.iter().any(|g| g == name)))
        })
    };
    let resources = rule.verbs.iter().all(|verb| {
        rule.api_groups.iter().all(|group| {
            rule.resources
                .iter()
                .all(|res| names.iter().all(|name| resource(verb, group, res, *name)))
        })
    });
    urls && resources
}

/// The rules of `new` that grant something `old` does not.
pub fn added<'a>(old: &[Rule], new: &'a [Rule]) -> Vec<&'a Rule> {
    let mut budget = MAX_COMPARISONS;
    new.iter()
        .filter(|rule| !covers_within(&mut budget, old, rule))
        .collect()
}

/// A rule in few words, for a message.
pub fn describe(rule: &Rule) -> String {
    if !rule.non_resource_urls.is_empty() {
        return format!("{} on {}", rule.verbs.join(","), rule.non_resource_urls.join(","));
    }
    let groups: Vec<&str> = rule
        .api_groups
        .iter()
        .map(|it| if it.is_empty() { "core" } else { it })
        .collect();
    format!(
        "{} on {} of API group {}",
        rule.verbs.join(","),
        rule.resources.join(","),
        groups.join(",")
    )
}

#[cfg(test)]
mod tests;

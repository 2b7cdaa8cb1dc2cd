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
pub const DISCOVERY_URLS: [&str; 17] = [
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
    "/healthz/",
    "/readyz/",
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
        && (rule.non_resource_urls.is_empty() || rule.verbs.iter().all(|it| it == "get" || it == "head"));
    let resources = rule.resources.is_empty()
        || (rule.verbs.iter().all(|it| it == "create")
            && rule.api_groups.iter().all(|group| {
                rule.resources
                    .iter()
                    .all(|resource| SELF_REVIEWS.contains(&(group.as_str(), resource.as_str())))
            }));
    let mixed = !rule.non_resource_urls.is_empty() && !rule.resources.is_empty();
    urls && resources && !mixed
}

/// Verbs that change something.
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// Permissions that reach out of the namespace they are granted in, or undo what isolates it.
const ESCAPES: [(&str, &str, &[&str]); 10] = [
    ("", "bindings", &["create"]),
    ("", "pods/binding", &["create"]),
    ("", "pods/status", &WRITES),
    ("", "namespaces", &WRITES),
    ("", "namespaces/status", &WRITES),
    ("", "namespaces/finalize", &WRITES),
    ("", "resourcequotas", &WRITES),
    ("", "resourcequotas/status", &WRITES),
    ("", "limitranges", &WRITES),
    ("rbac.authorization.k8s.io", "roles", &["escalate", "bind"]),
];

/// Cluster-scoped permissions: a RoleBinding makes nothing of them, a ClusterRoleBinding does. They count where
/// they are named; a `*` among the resources counts by what it means inside a namespace.
const CLUSTER_SCOPED: [(&str, &str, &[&str]); 17] = [
    ("", "persistentvolumes", &WRITES),
    ("", "nodes", &WRITES),
    ("", "nodes/status", &WRITES),
    ("", "nodes/proxy", &["get", "create", "update", "patch", "delete"]),
    (
        "rbac.authorization.k8s.io",
        "clusterroles",
        &["escalate", "bind", "create", "update", "patch", "delete"],
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
    ("bailiwick.dev", "tenancyindices", &WRITES),
];

/// What may be impersonated: nothing but ServiceAccounts, which stay in their namespace.
const IMPERSONATION: [(&str, &str); 6] = [
    ("", "users"),
    ("", "groups"),
    ("", "userextras"),
    ("authentication.k8s.io", "uids"),
    ("authentication.k8s.io", "userextras"),
    ("authentication.k8s.io", "users"),
];

/// The first permission of a rule that reaches out of its namespace, as `verb group/resource`, if any.
pub fn escape(rule: &Rule) -> Option<String> {
    let named = |group: &str, resource: &str| {
        any_or(&rule.api_groups, group) && rule.resources.iter().any(|it| resource_covers(it, resource))
    };
    let shown = |verb: &str, group: &str, resource: &str| {
        let slash = if group.is_empty() { "" } else { "/" };
        format!("{verb} {group}{slash}{resource}")
    };
    let spelled = |group: &str, resource: &str| {
        any_or(&rule.api_groups, group) && rule.resources.iter().any(|it| it == resource)
    };
    let namespaced = ESCAPES
        .iter()
        .filter(|(group, resource, _)| named(group, resource));
    let cluster_scoped = CLUSTER_SCOPED
        .iter()
        .filter(|(group, resource, _)| spelled(group, resource));
    for (group, resource, verbs) in namespaced.chain(cluster_scoped) {
        if let Some(verb) = verbs.iter().find(|verb| any_or(&rule.verbs, verb)) {
            return Some(shown(verb, group, resource));
        }
    }
    let impersonates = rule
        .verbs
        .iter()
        .find(|it| *it == "*" || it.starts_with("impersonate"));
    if let Some(verb) = impersonates {
        for (group, resource) in IMPERSONATION {
            if named(group, resource) || (resource == "userextras" && extras(rule)) {
                return Some(shown(
                    if verb == "*" { "impersonate" } else { verb },
                    group,
                    resource,
                ));
            }
        }
        if verb != "*" && verb != "impersonate" {
            // Constrained impersonation (KEP-5284) has a verb for each kind of identity.
            return Some(format!("{verb} {}", rule.resources.join(",")));
        }
    }
    None
}

fn extras(rule: &Rule) -> bool {
    rule.resources.iter().any(|it| it.starts_with("userextras/"))
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

/// Rules larger than this many permissions are taken as not covered: the answer must stay cheap.
const MAX_PERMISSIONS: usize = 20_000;

/// Whether every permission of `rule` is granted by one of `granted`.
pub fn covers(granted: &[Rule], rule: &Rule) -> bool {
    if granted.contains(rule) {
        return true;
    }
    let names: Vec<Option<&str>> = if rule.resource_names.is_empty() {
        vec![None]
    } else {
        rule.resource_names.iter().map(|it| Some(it.as_str())).collect()
    };
    let permissions = rule
        .verbs
        .len()
        .saturating_mul(rule.api_groups.len().max(1))
        .saturating_mul(
            rule.resources
                .len()
                .saturating_add(rule.non_resource_urls.len())
                .max(1),
        )
        .saturating_mul(names.len());
    if permissions > MAX_PERMISSIONS {
        return false;
    }
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
    new.iter().filter(|rule| !covers(old, rule)).collect()
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

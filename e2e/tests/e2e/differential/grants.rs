//! Rules of roles that are put together by chance.

use serde_json::{Value, json};

use super::chance::Chance;

pub(super) const VERBS: [&str; 15] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "bind",
    "escalate",
    "impersonate",
    "impersonate:user-info",
    "impersonate-on:user-info:get",
    "use",
    "*",
];
pub(super) const URLS: [&str; 10] = [
    "/api",
    "/api/*",
    "/apis/apps/v1",
    "/version",
    "/openapi/v3",
    "/metrics",
    "/healthz",
    "/healthz/etcd",
    "/logs/*",
    "*",
];

/// A rule of a role, of whatever may or may not lead out of a tenant.
pub(super) fn rule(chance: &mut Chance) -> Value {
    const GROUPS: [&str; 14] = [
        "",
        "",
        "",
        "apps",
        "rbac.authorization.k8s.io",
        "bailiwick.dev",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "admissionregistration.k8s.io",
        "discovery.k8s.io",
        "certificates.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "*",
    ];
    const RESOURCES: [&str; 49] = [
        "configmaps",
        "pods",
        "pods/status",
        "pods/binding",
        "pods/exec",
        "bindings",
        "namespaces",
        "namespaces/status",
        "namespaces/finalize",
        "resourcequotas",
        "resourcequotas/status",
        "limitranges",
        "endpoints",
        "endpointslices",
        "nodes",
        "nodes/proxy",
        "nodes/status",
        "services/proxy",
        "persistentvolumes",
        "roles",
        "rolebindings",
        "clusterroles",
        "clusterrolebindings",
        "users",
        "groups",
        "uids",
        "userextras",
        "userextras/scopes",
        "serviceaccounts",
        "serviceaccounts/token",
        "tenants",
        "tenants/status",
        "tenancyindices",
        "tenantpolicies",
        "policyapprovals",
        "selfsubjectaccessreviews",
        "selfsubjectrulesreviews",
        "selfsubjectreviews",
        "validatingwebhookconfigurations",
        "mutatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "customresourcedefinitions",
        "apiservices",
        "certificatesigningrequests/approval",
        "*",
        "*/status",
        "*/scale",
        "*/proxy",
        "*/binding",
    ];
    // A part of what some of the roles have, or a little more.
    if chance.is_so(15) {
        let (resources, verbs) = (
            &["limitranges", "configmaps", "pods/status", "roles"],
            &["create", "update", "get", "bind"],
        );
        return json!({
            "apiGroups": [chance.one(&["", "rbac.authorization.k8s.io", "apps"])],
            "resources": [chance.one(resources)], "verbs": chance.some(2, verbs), "resourceNames": chance.some(3, &["a", "b", "c"]),
        });
    }
    if chance.is_so(12) {
        let verbs = chance.some(2, &["get", "get", "post", "*"]);
        return json!({ "nonResourceURLs": chance.some(2, &URLS), "verbs": verbs });
    }
    let mut rule = json!({
        "apiGroups": chance.some(2, &GROUPS), "resources": chance.some(2, &RESOURCES), "verbs": chance.some(2, &VERBS),
    });
    if chance.is_so(15) {
        rule["resourceNames"] = json!(chance.some(2, &["a", "b", "diff-cluster"]));
    }
    rule
}

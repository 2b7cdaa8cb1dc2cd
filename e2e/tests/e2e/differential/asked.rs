//! Whether the API server asks the webhook at all. Its rules, selectors and matchConditions keep some requests out, for which the
//! native policies are the only guard. Told here once more, by hand: a rule that the chart lost would be a disagreement.

use super::people::{self, Of};
use crate::{requests::Step, steps::TENANT_LABEL};

/// What a request is about, read off its path.
#[derive(Debug, PartialEq)]
pub(super) struct Target<'a> {
    pub(super) group: &'a str,
    /// Empty for what is cluster-scoped, Namespaces included.
    pub(super) namespace: &'a str,
    /// With the subresource, such as `pods/status`.
    pub(super) resource: String,
    pub(super) name: &'a str,
}

impl<'a> Target<'a> {
    pub(super) fn of(path: &'a str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let mut parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let named = parts.first() == Some(&"apis");
        let group = if named { parts[1] } else { "" };
        parts.drain(..if named { 3 } else { 2 });
        let is_namespaced = parts.first() == Some(&"namespaces")
            && parts
                .get(2)
                .is_some_and(|it| !matches!(*it, "status" | "finalize"));
        let namespace = if is_namespaced { parts[1] } else { "" };
        parts.drain(..if is_namespaced { 2 } else { 0 });
        let part = |i: usize| parts.get(i).copied().unwrap_or_default();
        let resource = match part(2) {
            "" => part(0).to_owned(),
            sub => format!("{}/{sub}", part(0)),
        };
        Self {
            group,
            namespace,
            resource,
            name: part(1),
        }
    }
}

/// The operations that the webhook is asked about in tenants' namespaces: Create, Update, Delete.
const IN_NAMESPACES: [(&str, &[&str], &str); 13] = [
    ("", &["pods"], "CU"),
    (
        "",
        &["pods/ephemeralcontainers", "pods/resize", "pods/status"],
        "U",
    ),
    ("", &["pods/binding", "bindings"], "C"),
    ("", &["resourcequotas", "limitranges"], "CUD"),
    ("rbac.authorization.k8s.io", &["roles", "rolebindings"], "CUD"),
    ("networking.k8s.io", &["networkpolicies"], "CUD"),
    ("", &["services", "persistentvolumeclaims"], "CU"),
    ("networking.k8s.io", &["ingresses"], "CU"),
    ("", &["replicationcontrollers", "podtemplates"], "CU"),
    ("apps", &["deployments", "statefulsets", "daemonsets"], "CU"),
    ("apps", &["replicasets"], "C"),
    ("batch", &["cronjobs"], "CU"),
    ("batch", &["jobs"], "C"),
];

const CONTROLLERS: &str = "system:serviceaccount:kube-system:";
const MANAGER: &str = "system:kube-controller-manager";
const NAMESPACE_CONTROLLER: &str = "system:serviceaccount:kube-system:namespace-controller";

pub(super) fn is_asked(step: &Step) -> bool {
    let target = Target::of(&step.path);
    let user = step.user.as_str();
    let operation = operation(step, &target);
    let is_exempt = match target.group {
        "bailiwick.dev" => user == "operator",
        _ => matches!(user, "operator" | "system:apiserver"),
    };
    if is_exempt {
        return false;
    }
    match (target.group, target.namespace, target.resource.as_str()) {
        ("", "", "namespaces" | "namespaces/status" | "namespaces/finalize") => {
            operation != 'D'
                && !matches!(user, MANAGER | NAMESPACE_CONTROLLER)
                && (people::is_labelled(target.name) || is_labelled_by(step, operation))
        }
        ("", "", _) => false,
        // Of bindings of system components alone nobody is asked.
        ("rbac.authorization.k8s.io", "", "clusterrolebindings") => {
            operation != 'D' && names_a_possible_tenant(step)
        }
        ("rbac.authorization.k8s.io", "", _) | ("bailiwick.dev", "", "tenantpolicies") => operation != 'D',
        ("bailiwick.dev", "", "policyapprovals") => operation == 'C',
        (group, namespace, resource) => {
            let is_cleanup = operation == 'D' && matches!(user, MANAGER | NAMESPACE_CONTROLLER);
            let is_report = resource == "pods/status"
                && (matches!(user, MANAGER | "system:kube-scheduler") || user.starts_with(CONTROLLERS));
            let is_of_a_node = step.groups.iter().any(|it| it == "system:nodes");
            people::is_labelled(namespace)
                && !is_cleanup
                && !is_report
                && !is_of_a_node
                && IN_NAMESPACES.iter().any(|(of, resources, operations)| {
                    *of == group && resources.contains(&resource) && operations.contains(operation)
                })
        }
    }
}

fn operation(step: &Step, target: &Target<'_>) -> char {
    match step.verb.as_str() {
        "create" => 'C',
        // What is called new isn't there.
        "apply" if people::is_new(target.name) => 'C',
        "delete" | "deletecollection" => 'D',
        _ => 'U',
    }
}

/// Whether a Namespace has the label after the request: it was written, or stamped.
fn is_labelled_by(step: &Step, operation: char) -> bool {
    let is_stamped = operation == 'C'
        && matches!(people::of(&step.user, &step.groups), Of::One(tenant) if people::SERVING.contains(&tenant));
    let pointer = format!("/metadata/labels/{}", TENANT_LABEL.replace('/', "~1"));
    let mut operations = step.body.as_array().into_iter().flatten();
    let last = operations.rfind(|it| it["path"] == pointer.as_str());
    let is_added = last.is_some_and(|it| it["op"] == "add");
    is_stamped || is_added || step.body["metadata"]["labels"][TENANT_LABEL].is_string()
}

fn names_a_possible_tenant(step: &Step) -> bool {
    let subjects = step.body["subjects"].as_array();
    subjects.is_none_or(|all| {
        all.iter().any(|it| match it["kind"].as_str() {
            Some("ServiceAccount") => !matches!(
                it["namespace"].as_str(),
                Some("kube-system" | "kube-public" | "kube-node-lease" | "bailiwick-system")
            ),
            kind => {
                !(kind == Some("User")
                    && it["name"]
                        .as_str()
                        .unwrap_or_default()
                        .starts_with("system:kube-"))
            }
        })
    })
}

#[test]
fn a_path_tells_what_a_request_is_about() {
    let target = |group, namespace, resource: &str, name| Target {
        group,
        namespace,
        resource: resource.to_owned(),
        name,
    };
    for (path, expected) in [
        ("/api/v1/namespaces", target("", "", "namespaces", "")),
        ("/api/v1/namespaces/a", target("", "", "namespaces", "a")),
        (
            "/api/v1/namespaces/a/status",
            target("", "", "namespaces/status", "a"),
        ),
        ("/api/v1/namespaces/a/pods", target("", "a", "pods", "")),
        (
            "/api/v1/namespaces/a/pods/p/status",
            target("", "a", "pods/status", "p"),
        ),
        (
            "/apis/apps/v1/namespaces/a/deployments/d",
            target("apps", "a", "deployments", "d"),
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/c",
            target("rbac.authorization.k8s.io", "", "clusterroles", "c"),
        ),
    ] {
        assert_eq!(Target::of(path), expected, "{path}");
    }
}

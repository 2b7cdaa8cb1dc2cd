//! Requests that are products of small tables, so that every combination is there, also those that nobody would write down.

use serde_json::{Value, json};

use super::{
    grants,
    kinds::{ALL, KINDS, RBAC, SUBJECTS, binding, pod, policy, subject},
    people::{NAMESPACES, REQUESTERS, SERVING},
    step,
};
use crate::{
    requests::{Rights, Step},
    steps::{MANAGED, TENANT_LABEL},
};

/// The platform's, an owner, a controller, the operator.
const FEW: [&str; 4] = [
    "platform-admin",
    "diff-owner",
    "system:serviceaccount:kube-system:namespace-controller",
    "operator",
];
/// Namespaces of tenants without self-service, and one of nobody's.
const DECLARED: [&str; 4] = ["diff-stamp", "diff-verify", "diff-other", "diff-plain"];
const TENANT_VALUES: [Option<&str>; 5] = [None, Some("diff"), Some("other"), Some("nobody"), Some("")];
const ROLES: [&str; 4] = ["view", "system:discovery", "cluster-admin", "diff-absent"];

pub(super) fn all() -> Vec<Step> {
    [
        pods(),
        namespaces(),
        new_namespaces(),
        own_rights(),
        managed(),
        closed_and_suspended(),
        bindings(),
        cluster_roles(),
        policies(),
    ]
    .concat()
}

fn product<A: Clone, B: Clone>(left: &[A], right: &[B]) -> Vec<(A, B)> {
    let pairs = left
        .iter()
        .flat_map(|a| right.iter().map(move |b| (a.clone(), b.clone())));
    pairs.collect()
}

/// Labels of one key, or none.
fn labels(key: &str, value: Option<&str>) -> Value {
    value.map_or_else(|| json!({}), |it| json!({ key: it }))
}

/// The writes that set one label of an existing object, or take it off.
fn label_writes(user: &str, path: &str, types: (&str, &str), key: &str, value: Option<&str>) -> Vec<Step> {
    let merge = json!({ "metadata": { "labels": { key: value } } });
    let pointer = format!("/metadata/labels/{}", key.replace('/', "~1"));
    let operation = match value {
        Some(value) => json!([{ "op": "add", "path": pointer, "value": value }]),
        None => json!([{ "op": "remove", "path": pointer }]),
    };
    let mut writes = vec![
        step(user, "merge", path, merge.clone()),
        step(user, "strategic", path, merge),
        step(user, "json", path, operation),
    ];
    if value.is_some() {
        let whole =
            json!({ "apiVersion": types.0, "kind": types.1, "metadata": { "labels": { key: value } } });
        writes.push(step(user, "apply", path, whole));
    }
    writes
}

fn pods() -> Vec<Step> {
    let mut steps = Vec::new();
    for namespace in DECLARED.iter().take(3) {
        let all = format!("{ALL}/{namespace}/pods");
        for (user, label) in product(&FEW[..3], &TENANT_VALUES) {
            let new = pod("new", &labels(TENANT_LABEL, label));
            steps.push(step(user, "create", &all, new));
            // In the second one of the tenant the mode differs, which matters to new Pods.
            let parts = ["", "/status", "/ephemeralcontainers", "/resize"];
            let parts = if *namespace == "diff-verify" {
                &parts[..1]
            } else {
                &parts
            };
            for subresource in parts {
                let path = format!("{all}/old{subresource}");
                steps.extend(label_writes(user, &path, ("v1", "Pod"), TENANT_LABEL, label));
            }
            let binding = json!({
                "apiVersion": "v1", "kind": "Binding",
                "metadata": { "name": "old", "labels": labels(TENANT_LABEL, label) },
                "target": { "apiVersion": "v1", "kind": "Node", "name": "n" },
            });
            let bind = format!("{all}/old/binding");
            steps.push(step(user, "create", bind, binding.clone()));
            steps.push(step(
                user,
                "create",
                format!("{ALL}/{namespace}/bindings"),
                binding,
            ));
        }
    }
    steps
}

fn namespaces() -> Vec<Step> {
    let keys: [(&str, &[Option<&str>]); 6] = [
        (TENANT_LABEL, &TENANT_VALUES),
        ("bailiwick.dev/pod-label", &[None, Some("Verify"), Some("Stamp")]),
        (
            "pod-security.kubernetes.io/enforce",
            &[None, Some("privileged"), Some("baseline")],
        ),
        ("pod-security.kubernetes.io/warn", &[None, Some("restricted")]),
        ("resource.kubernetes.io/admin-access", &[None, Some("true")]),
        ("team", &[None, Some("x")]),
    ];
    let mut steps = Vec::new();
    for (user, (key, values)) in product(&FEW[..2], &keys) {
        for value in values {
            let new = json!({ "metadata": { "name": "diff-new", "labels": labels(key, *value) } });
            steps.push(step(user, "create", ALL, new));
            for (namespace, subresource) in product(&DECLARED, &["", "/status"]) {
                let path = format!("{ALL}/{namespace}{subresource}");
                steps.extend(label_writes(user, &path, ("v1", "Namespace"), key, *value));
            }
            // As a whole, with this label and no other.
            for (namespace, subresource) in product(&DECLARED, &["", "/finalize"]) {
                let whole = json!({
                    "apiVersion": "v1", "kind": "Namespace",
                    "metadata": { "name": namespace, "labels": labels(key, *value) },
                    "spec": { "finalizers": ["kubernetes"] },
                });
                let path = format!("{ALL}/{namespace}{subresource}");
                steps.push(step(user, "replace", path, whole));
            }
        }
    }
    let owner = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "00000000-0000-0000-0000-000000000001" }]);
    for ((user, _, _), (namespace, _)) in product(&REQUESTERS, &NAMESPACES) {
        let path = format!("{ALL}/{namespace}");
        let body = json!({ "metadata": { "ownerReferences": owner } });
        steps.push(step(user, "merge", &path, body));
        let consent = json!({ "metadata": { "annotations": { "bailiwick.dev/adopt-by": "diff" } } });
        steps.push(step(user, "merge", &path, consent));
        steps.push(step(user, "delete", &path, Value::Null));
    }
    steps
}

/// Everybody makes namespaces with each label, and with none.
fn new_namespaces() -> Vec<Step> {
    let values = [
        None,
        Some("serve"),
        Some("full"),
        Some("halt"),
        Some("diff"),
        Some(""),
    ];
    let mut steps = Vec::new();
    for ((user, _, _), value) in product(&REQUESTERS, &values) {
        for name in ["serve-new", "full-new", "halt-new", "diff-new"] {
            let new = json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": { "name": name, "labels": labels(TENANT_LABEL, value) },
            });
            if name == "serve-new" {
                steps.push(step(user, "apply", format!("{ALL}/{name}"), new.clone()));
            }
            steps.push(step(user, "create", ALL, new));
        }
        let generated =
            json!({ "metadata": { "generateName": "serve-", "labels": labels(TENANT_LABEL, value) } });
        steps.push(step(user, "create", ALL, generated));
    }
    steps
}

/// Owners with the rights that RBAC gives them: they are marked as creators.
fn own_rights() -> Vec<Step> {
    let mut steps = Vec::new();
    for (tenant, value) in product(&SERVING, &[None, Some("serve"), Some("full"), Some("diff")]) {
        let user = format!("{tenant}-owner");
        for name in ["serve-new", "full-new", "diff-new"] {
            let new = json!({ "metadata": { "name": name, "labels": labels(TENANT_LABEL, value) } });
            steps.push(step(&user, "create", ALL, new));
        }
        for (namespace, (key, value)) in product(
            &["serve-base", "serve-made", "full-first", "full-late"],
            &[
                ("team", Some("x")),
                ("other", Some("x")),
                (TENANT_LABEL, value),
                ("team", None),
            ],
        ) {
            let path = format!("{ALL}/{namespace}");
            steps.extend(label_writes(&user, &path, ("v1", "Namespace"), key, value));
            let body = json!({ "metadata": { "annotations": { key: value } } });
            steps.push(step(&user, "merge", &path, body));
            steps.push(step(&user, "delete", path, Value::Null));
        }
    }
    for step in &mut steps {
        step.rights = Rights::Own;
    }
    steps
}

/// Managed objects and, beside each, one that a tenant could have made.
fn managed() -> Vec<Step> {
    let mut steps = Vec::new();
    for kind in &KINDS {
        let all = kind.all("diff-stamp");
        let names = [kind.kept("diff-stamp"), "own"];
        // Of the kinds that the operator makes by everybody, of the others by the platform.
        let users = if kind.is_made() { &FEW[..] } else { &FEW[..1] };
        for user in users {
            for (key, value) in [
                (MANAGED, None),
                (MANAGED, Some("bailiwick-operator")),
                (MANAGED, Some("x")),
                (TENANT_LABEL, None),
                (TENANT_LABEL, Some("x")),
            ] {
                let labels = labels(key, value);
                steps.push(step(user, "create", &all, kind.object("new", &labels)));
                for name in names {
                    let path = format!("{all}/{name}");
                    steps.extend(label_writes(user, &path, kind.types, key, value));
                    steps.push(step(user, "replace", path, kind.object(name, &labels)));
                }
            }
            for name in names {
                let path = format!("{all}/{name}");
                steps.push(step(user, "merge", &path, kind.change()));
                let note = json!({ "metadata": { "annotations": { "note": "x" } } });
                steps.push(step(user, "merge", &path, note));
                steps.push(step(user, "delete", &path, Value::Null));
            }
            steps.push(step(user, "deletecollection", &all, Value::Null));
        }
    }
    steps
}

/// Everybody writes where the tenant is suspended, where it has not taken the namespace yet and, beside them, where it has.
fn closed_and_suspended() -> Vec<Step> {
    let mut steps = Vec::new();
    for ((user, _, _), namespace) in product(&REQUESTERS, &["halt-base", "full-late", "serve-base"]) {
        for kind in &KINDS {
            let all = kind.all(namespace);
            steps.push(step(user, "create", &all, kind.object("new", &json!({}))));
            // Nothing is in the one that waits.
            if namespace == "halt-base" {
                let own = format!("{all}/own");
                steps.push(step(user, "merge", &own, kind.change()));
                steps.push(step(user, "delete", own, Value::Null));
            }
        }
        // Everywhere since the namespace was made.
        let root = format!("{ALL}/{namespace}/configmaps/kube-root-ca.crt");
        let note = json!({ "metadata": { "annotations": { "note": "x" } } });
        steps.push(step(user, "merge", root, note));
    }
    steps
}

fn bindings() -> Vec<Step> {
    let system = ("ServiceAccount", "kube-system", "cni");
    let mut steps = Vec::new();
    for (role, one) in product(&ROLES, &SUBJECTS) {
        let cluster = format!("{RBAC}/clusterrolebindings");
        for subjects in [&[one][..], &[system, one]] {
            let new = binding("new", role, subjects);
            steps.push(step("platform-admin", "create", &cluster, new));
        }
        for namespace in ["diff-stamp", "diff-other"] {
            let all = format!("{RBAC}/namespaces/{namespace}/rolebindings");
            let one_alone = binding("new", role, &[one]);
            steps.push(step("platform-admin", "create", &all, one_alone));
            let both = binding("new", role, &[system, one]);
            steps.push(step("diff-owner", "create", &all, both));
        }
    }
    for one in SUBJECTS {
        let change = json!({ "subjects": [subject(system), subject(one)] });
        let wide = format!("{RBAC}/clusterrolebindings/diff-old");
        steps.push(step("platform-admin", "merge", wide, change.clone()));
        let own = format!("{RBAC}/namespaces/diff-stamp/rolebindings/own");
        steps.push(step("platform-admin", "merge", &own, change));
        let whole = binding("own", "view", &[system, one]);
        steps.push(step("platform-admin", "replace", own, whole));
    }
    steps
}

fn cluster_roles() -> Vec<Step> {
    let rules = [
        json!({ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }),
        json!({ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }),
        json!({ "apiGroups": [""], "resources": ["namespaces"], "verbs": ["patch"] }),
        json!({ "apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["update"] }),
        json!({ "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["escalate"] }),
        json!({ "apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"] }),
        json!({ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }),
        json!({ "nonResourceURLs": ["/version"], "verbs": ["get"] }),
        json!({ "nonResourceURLs": ["/metrics"], "verbs": ["get"] }),
        json!({ "apiGroups": ["bailiwick.dev"], "resources": ["tenants"], "verbs": ["get"] }),
    ];
    let mut steps = Vec::new();
    let mut write = |role: &str, rules: &[Value]| {
        let path = format!("{RBAC}/clusterroles/{role}");
        steps.push(step("platform-admin", "merge", path, json!({ "rules": rules })));
    };
    for (role, (first, second)) in product(&["diff-cluster", "diff-tenant"], &product(&rules, &rules)) {
        write(role, &[first, second]);
    }
    // Each permission alone.
    for ((group, resource), verb) in product(&PERMISSIONS, &grants::VERBS) {
        let rule = json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb] });
        write("diff-tenant", &[rule]);
    }
    for (resource, verb) in product(&["*", "*/status", "pods", "limitranges"], &grants::VERBS) {
        let rule = json!({ "apiGroups": ["*"], "resources": [resource], "verbs": [verb], "resourceNames": ["a", "b"] });
        write("diff-tenant", &[rule]);
    }
    for (url, verb) in product(&grants::URLS, &["get", "post", "*"]) {
        let rule = json!({ "nonResourceURLs": [url], "verbs": [verb] });
        write("diff-cluster", &[rule]);
    }
    steps
}

/// What may lead out of a tenant, and what is beside it.
const PERMISSIONS: [(&str, &str); 44] = [
    ("", "*"),
    ("", "*/binding"),
    ("", "*/proxy"),
    ("", "*/scale"),
    ("", "*/status"),
    ("", "bindings"),
    ("", "configmaps"),
    ("", "endpoints"),
    ("", "groups"),
    ("", "limitranges"),
    ("", "namespaces"),
    ("", "namespaces/finalize"),
    ("", "namespaces/status"),
    ("", "nodes"),
    ("", "nodes/proxy"),
    ("", "nodes/status"),
    ("", "persistentvolumes"),
    ("", "pods/binding"),
    ("", "pods/exec"),
    ("", "pods/status"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("", "userextras/scopes"),
    ("", "users"),
    ("apps", "*"),
    ("authentication.k8s.io", "*"),
    ("authentication.k8s.io", "uids"),
    ("authentication.k8s.io", "userextras"),
    ("authentication.k8s.io", "users"),
    ("admissionregistration.k8s.io", "*"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "apiservices"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("bailiwick.dev", "tenantpolicies"),
    ("bailiwick.dev", "tenants"),
    ("bailiwick.dev", "tenants/status"),
    ("certificates.k8s.io", "certificatesigningrequests/approval"),
    ("discovery.k8s.io", "endpointslices"),
    ("rbac.authorization.k8s.io", "*"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "roles"),
];

/// Everybody writes policies and approvals.
fn policies() -> Vec<Step> {
    let group = "/apis/bailiwick.dev/v1alpha1";
    let mut steps = Vec::new();
    for ((user, _, _), name) in product(&REQUESTERS, &["diff-one", "diff-two"]) {
        steps.push(step(
            user,
            "create",
            format!("{group}/tenantpolicies"),
            policy(user, name),
        ));
        let path = format!("{group}/tenantpolicies/{name}-new");
        steps.push(step(user, "apply", path, policy(user, &format!("{name}-new"))));
        for approver in [user, "platform-admin", "serve-owner", "nobody"] {
            let approval = json!({
                "apiVersion": "bailiwick.dev/v1alpha1", "kind": "PolicyApproval", "metadata": { "name": name },
                "spec": { "policy": name, "digest": "0".repeat(64), "approver": approver },
            });
            steps.push(step(user, "create", format!("{group}/policyapprovals"), approval));
        }
    }
    steps
}

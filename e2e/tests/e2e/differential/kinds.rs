//! The kinds of objects that the requests are about, one of each.

use serde_json::{Value, json};

use super::people::is_labelled;
use crate::requests::OPERATOR;

/// A kind of object in namespaces.
pub(super) struct Kind {
    pub(super) root: &'static str,
    pub(super) resource: &'static str,
    pub(super) types: (&'static str, &'static str),
    /// What it has beside its metadata, as JSON.
    content: &'static str,
    /// A change of that.
    change: &'static str,
    /// The operator's own in `diff-stamp`, of the kinds that it makes. It takes away what else has its label.
    managed: Option<&'static str>,
}

const fn kind(
    root: &'static str,
    resource: &'static str,
    types: (&'static str, &'static str),
    content: &'static str,
    change: &'static str,
) -> Kind {
    Kind {
        root,
        resource,
        types,
        content,
        change,
        managed: None,
    }
}

pub(super) const ALL: &str = "/api/v1/namespaces";
const CORE: &str = "/api/v1";
pub(super) const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const NETWORKING: &str = "/apis/networking.k8s.io/v1";

pub(super) const KINDS: [Kind; 13] = [
    Kind {
        managed: Some("bailiwick-default-deny"),
        ..kind(
            NETWORKING,
            "networkpolicies",
            ("networking.k8s.io/v1", "NetworkPolicy"),
            r#"{ "spec": { "podSelector": {}, "policyTypes": ["Ingress"] } }"#,
            r#"{ "spec": { "egress": [{}] } }"#,
        )
    },
    Kind {
        managed: Some("bailiwick"),
        ..kind(
            CORE,
            "resourcequotas",
            ("v1", "ResourceQuota"),
            r#"{ "spec": { "hard": { "count/secrets": "5" } } }"#,
            r#"{ "spec": { "hard": { "pods": "9" } } }"#,
        )
    },
    Kind {
        managed: Some("bailiwick"),
        ..kind(
            CORE,
            "limitranges",
            ("v1", "LimitRange"),
            r#"{ "spec": { "limits": [] } }"#,
            r#"{ "spec": { "limits": [{ "type": "Pod", "max": { "cpu": "9" } }] } }"#,
        )
    },
    Kind {
        managed: Some("bailiwick:bailiwick-admin"),
        ..kind(
            RBAC,
            "rolebindings",
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            r#"{ "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" } }"#,
            r#"{ "subjects": [{ "kind": "ServiceAccount", "namespace": "kube-system", "name": "cni" }] }"#,
        )
    },
    kind(
        RBAC,
        "roles",
        ("rbac.authorization.k8s.io/v1", "Role"),
        r#"{ "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }] }"#,
        r#"{ "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] }] }"#,
    ),
    kind(
        CORE,
        "configmaps",
        ("v1", "ConfigMap"),
        r#"{ "data": { "a": "b" } }"#,
        r#"{ "data": { "a": "c" } }"#,
    ),
    kind(
        CORE,
        "secrets",
        ("v1", "Secret"),
        r#"{ "data": { "a": "YQ==" } }"#,
        r#"{ "data": { "a": "Yg==" } }"#,
    ),
    kind(
        CORE,
        "serviceaccounts",
        ("v1", "ServiceAccount"),
        "{}",
        r#"{ "automountServiceAccountToken": false }"#,
    ),
    kind(
        CORE,
        "services",
        ("v1", "Service"),
        r#"{ "spec": { "ports": [{ "port": 80 }] } }"#,
        r#"{ "spec": { "sessionAffinity": "ClientIP" } }"#,
    ),
    kind(
        CORE,
        "persistentvolumeclaims",
        ("v1", "PersistentVolumeClaim"),
        r#"{ "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } }"#,
        r#"{ "metadata": { "annotations": { "note": "x" } } }"#,
    ),
    kind(
        "/apis/apps/v1",
        "deployments",
        ("apps/v1", "Deployment"),
        r#"{ "spec": { "replicas": 0, "selector": { "matchLabels": { "app": "a" } }, "template": { "metadata": { "labels": { "app": "a" } }, "spec": { "containers": [{ "name": "c", "image": "example.invalid/c" }] } } } }"#,
        r#"{ "spec": { "paused": true } }"#,
    ),
    kind(
        NETWORKING,
        "ingresses",
        ("networking.k8s.io/v1", "Ingress"),
        r#"{ "spec": { "defaultBackend": { "service": { "name": "a", "port": { "number": 80 } } } } }"#,
        r#"{ "spec": { "defaultBackend": { "service": { "name": "b", "port": { "number": 80 } } } } }"#,
    ),
    kind(
        "/apis/coordination.k8s.io/v1",
        "leases",
        ("coordination.k8s.io/v1", "Lease"),
        r#"{ "spec": { "holderIdentity": "a" } }"#,
        r#"{ "spec": { "holderIdentity": "b" } }"#,
    ),
];

impl Kind {
    pub(super) fn all(&self, namespace: &str) -> String {
        format!("{}/namespaces/{namespace}/{}", self.root, self.resource)
    }

    /// Whether the operator makes such objects.
    pub(super) fn is_made(&self) -> bool {
        self.managed.is_some()
    }

    /// A whole object.
    pub(super) fn object(&self, name: &str, labels: &Value) -> Value {
        let mut object: Value = serde_json::from_str(self.content).unwrap_or_default();
        object["apiVersion"] = json!(self.types.0);
        object["kind"] = json!(self.types.1);
        object["metadata"] = json!({ "name": name, "labels": labels });
        object
    }

    /// A merge patch of what it has beside its metadata.
    pub(super) fn change(&self) -> Value {
        serde_json::from_str(self.change).unwrap_or_default()
    }

    /// The one that is labelled as managed.
    pub(super) fn kept(&self, namespace: &str) -> &'static str {
        self.managed.filter(|_| is_labelled(namespace)).unwrap_or("kept")
    }
}

pub(super) fn pod(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": labels },
        "spec": { "containers": [{ "name": "c", "image": "example.invalid/c" }], "automountServiceAccountToken": false, "serviceAccountName": "robot" },
    })
}

/// A TenantPolicy with its author, which is stamped as well where that works by now.
pub(super) fn policy(author: &str, name: &str) -> Value {
    let author = if author == "operator" { OPERATOR } else { author };
    json!({
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "TenantPolicy",
        "metadata": { "name": name, "annotations": { "bailiwick.dev/changed-by": author } },
        "spec": {
            "tenants": ["diff"], "match": { "resources": [{ "groups": [""], "kinds": ["Pod"] }] },
            "rego": "package bailiwick\n\ndeny contains \"no\" if false\n",
        },
    })
}

pub(super) type Subject = (&'static str, &'static str, &'static str);

/// Subjects of bindings: the tenants', nobody's, everybody, the system's, and names that only look alike.
pub(super) const SUBJECTS: [Subject; 32] = [
    ("User", "", "diff-owner"),
    ("User", "", "Diff-Owner"),
    ("User", "", "other-owner"),
    ("User", "", "oidc:diff:x"),
    ("User", "", "oidc:dif"),
    ("User", "", "system:anonymous"),
    ("User", "", "system:serviceaccount:diff-stamp:robot"),
    ("User", "", "system:serviceaccount:diff-stamp:"),
    ("Group", "", "diff-owner"),
    ("Group", "", "oidc:diff:devs"),
    ("Group", "", "system:serviceaccounts:diff-other"),
    ("Group", "", "system:authenticated"),
    ("Group", "", "system:masters"),
    ("ServiceAccount", "diff-stamp", "robot"),
    ("ServiceAccount", "diff-plain", "robot"),
    ("ServiceAccount", "kube-system", "cni"),
    ("User", "", "serve-owner"),
    ("User", "", "serve-dev"),
    ("User", "", "oidc:diff:"),
    ("User", "", " diff-owner"),
    ("User", "", "system:kube-proxy"),
    ("User", "", "system:serviceaccount:diff-plain:bot"),
    ("User", "", "system:serviceaccount:diff-stamp:a:b"),
    ("User", "", "system:serviceaccount:diff-stamp:a..b"),
    ("User", "", "system:serviceaccount:Diff-Stamp:robot"),
    ("Group", "", "serve-admins"),
    ("Group", "", "system:serviceaccounts"),
    ("Group", "", "system:serviceaccounts:diff-plain"),
    ("Group", "", "system:serviceaccounts:serve-made"),
    ("Group", "", "system:unauthenticated"),
    ("ServiceAccount", "diff-plain", "bot"),
    ("ServiceAccount", "serve-made", "robot"),
];

pub(super) fn subject(of: Subject) -> Value {
    let (kind, namespace, name) = of;
    match kind {
        "ServiceAccount" => json!({ "kind": kind, "namespace": namespace, "name": name }),
        _ => json!({ "kind": kind, "apiGroup": "rbac.authorization.k8s.io", "name": name }),
    }
}

pub(super) fn binding(name: &str, role: &str, subjects: &[Subject]) -> Value {
    json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": subjects.iter().map(|it| subject(*it)).collect::<Vec<_>>(),
    })
}

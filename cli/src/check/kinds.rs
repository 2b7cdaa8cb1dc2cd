//! The kinds that rules decide, and under which resource.

/// How a kind is judged.
#[derive(Debug, PartialEq, Eq)]
pub struct Judged {
    /// API group of the kind.
    pub group: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The resource that a request about it names.
    pub resource: &'static str,
    /// Whether it lives in a namespace.
    pub namespaced: bool,
    /// Where its Pod template is, if it is judged by the Pods that it will make.
    pub template: &'static [&'static str],
}

const CORE: &str = "";
const APPS: &str = "apps";
const BATCH: &str = "batch";
const GATEWAY: &str = "gateway.networking.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const TEMPLATE: &[&str] = &["spec", "template"];

/// API group of Bailiwick's own kinds.
pub const BAILIWICK: &str = "bailiwick.dev";

const JUDGED: [Judged; 29] = [
    in_namespace(CORE, "Pod", "pods"),
    makes_pods(CORE, "PodTemplate", &["template"]),
    makes_pods(CORE, "ReplicationController", TEMPLATE),
    makes_pods(APPS, "Deployment", TEMPLATE),
    makes_pods(APPS, "StatefulSet", TEMPLATE),
    makes_pods(APPS, "DaemonSet", TEMPLATE),
    makes_pods(APPS, "ReplicaSet", TEMPLATE),
    makes_pods(BATCH, "Job", TEMPLATE),
    makes_pods(BATCH, "CronJob", &["spec", "jobTemplate", "spec", "template"]),
    in_namespace(CORE, "Binding", "bindings"),
    in_namespace(CORE, "ResourceQuota", "resourcequotas"),
    in_namespace(CORE, "LimitRange", "limitranges"),
    in_namespace("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
    in_namespace(CORE, "Service", "services"),
    in_namespace(CORE, "PersistentVolumeClaim", "persistentvolumeclaims"),
    in_namespace("networking.k8s.io", "Ingress", "ingresses"),
    in_namespace(GATEWAY, "HTTPRoute", "httproutes"),
    in_namespace(GATEWAY, "GRPCRoute", "grpcroutes"),
    in_namespace(GATEWAY, "TLSRoute", "tlsroutes"),
    in_namespace(GATEWAY, "Gateway", "gateways"),
    in_namespace(GATEWAY, "ListenerSet", "listenersets"),
    in_namespace(RBAC, "Role", "roles"),
    in_namespace(RBAC, "RoleBinding", "rolebindings"),
    in_cluster(RBAC, "ClusterRole", "clusterroles"),
    in_cluster(RBAC, "ClusterRoleBinding", "clusterrolebindings"),
    in_cluster(CORE, "Namespace", "namespaces"),
    in_cluster(CORE, "PersistentVolume", "persistentvolumes"),
    in_cluster(BAILIWICK, "Tenant", "tenants"),
    in_cluster(BAILIWICK, "TenantPolicy", "tenantpolicies"),
];

const fn in_namespace(group: &'static str, kind: &'static str, resource: &'static str) -> Judged {
    Judged {
        group,
        kind,
        resource,
        namespaced: true,
        template: &[],
    }
}

const fn in_cluster(group: &'static str, kind: &'static str, resource: &'static str) -> Judged {
    Judged {
        namespaced: false,
        ..in_namespace(group, kind, resource)
    }
}

const fn makes_pods(group: &'static str, kind: &'static str, template: &'static [&'static str]) -> Judged {
    Judged {
        template,
        ..in_namespace(group, kind, "pods")
    }
}

/// The resource of a kind, as its authors probably named it: the plural.
pub fn resource(kind: &str) -> String {
    let kind = kind.to_lowercase();
    let ends = |suffixes: &[&str]| suffixes.iter().any(|it| kind.ends_with(it));
    match kind.strip_suffix('y') {
        _ if kind == "endpoints" => kind,
        Some(stem) if !ends(&["ay", "ey", "oy", "uy"]) => format!("{stem}ies"),
        _ if ends(&["s", "x", "ch", "sh"]) => format!("{kind}es"),
        _ => format!("{kind}s"),
    }
}

/// How a kind is judged; none when no rule decides it.
pub fn judged(group: &str, kind: &str) -> Option<&'static Judged> {
    JUDGED.iter().find(|it| it.group == group && it.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_group_too() {
        assert_eq!(judged("apps", "Deployment").unwrap().resource, "pods");
        assert_eq!(judged("", "Deployment"), None);
        assert_eq!(judged("capsule.clastix.io", "Tenant"), None);
        assert_eq!(judged("", "ConfigMap"), None);
    }

    #[test]
    fn a_resource_is_the_plural_of_its_kind() {
        for (kind, expected) in [
            ("Service", "services"),
            ("Ingress", "ingresses"),
            ("NetworkPolicy", "networkpolicies"),
            ("Gateway", "gateways"),
            ("Endpoints", "endpoints"),
            ("Switch", "switches"),
        ] {
            assert_eq!(resource(kind), expected);
        }
        for it in JUDGED.iter().filter(|it| it.template.is_empty()) {
            assert_eq!(resource(it.kind), it.resource);
        }
    }
}

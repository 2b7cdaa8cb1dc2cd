//! The cluster that the cases are about, and how a case is put.

use std::sync::{Arc, LazyLock};

use bailiwick_core::config::Config;
use bailiwick_core::decide::{Outcome, decide};
use bailiwick_core::ownership::NamespaceFacts;
use bailiwick_core::policy::Moment;
use bailiwick_core::review::parse;
use bailiwick_core::snapshot::{self, Need, Rbac, RoleFacts, Snapshot, Tenants};
use bailiwick_crds::v1alpha1::{Tenant, TenantSpec};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Two tenants that share a group by mistake, their namespaces in each mode, and what surrounds them.
const TENANTS: &str = r#"
- metadata: {name: acme, uid: t-acme, creationTimestamp: "2026-01-01T00:00:00Z"}
  spec:
    owners:
      - {kind: User, name: alice}
      - {kind: Group, name: "oidc:acme:admin"}
      - {kind: ServiceAccount, name: deployer, namespace: ci}
    identities: {users: ["acme-*"], groups: ["oidc:acme:*", shared]}
    access: [{clusterRole: view, subjects: [{kind: Group, name: auditors}]}]
    network: {ingress: {fromNamespaces: [ingress]}}
    namespaces:
      declared: [{name: acme-prod}, {name: acme-dev}, {name: acme-lab}, {name: acme-new}, {name: contested}, {name: kube-lost}]
      selfService: {prefix: acme-, max: 3, labels: [team], annotations: [acme.example/contact]}
  status:
    namespaces:
      - {name: acme-old, uid: u-acme-old, origin: Retained}
      - {name: acme-bare, uid: u-acme-bare, origin: Declared}
      - {name: taken, uid: u-taken, origin: Declared}
      - {name: reborn, uid: u-former, origin: Declared}
      - {name: contested, uid: u-former, origin: Declared}
- metadata: {name: globex, uid: t-globex, creationTimestamp: "2026-01-02T00:00:00Z"}
  spec:
    owners: [{kind: User, name: bob}]
    identities: {groups: ["oidc:globex:*", shared]}
    namespaces: {declared: [{name: globex-prod}, {name: contested}]}
  status:
    namespaces: [{name: contested, uid: u-contested, origin: Declared}]
"#;

const NAMESPACES: &str = "
- {name: acme-prod, labels: {$T: acme, $MODE: Stamp}}
- {name: acme-dev, labels: {$T: acme, $MODE: Require}}
- {name: acme-lab, labels: {$T: acme, $MODE: Verify}}
- {name: acme-odd, labels: {$T: acme, $MODE: verify}}
- {name: acme-old, labels: {$T: acme}}
- {name: acme-bare}
- {name: acme-end, labels: {$T: acme, $MODE: Stamp}, deletionTimestamp: '2026-01-03T00:00:00Z'}
- {name: frozen, labels: {$T: acme, $MODE: Stamp, $SUSPENDED: 'true'}}
- {name: globex-prod, labels: {$T: globex}}
- {name: contested, labels: {$T: globex}}
- {name: reborn}
- {name: acme-fresh, labels: {$T: acme}}
- {name: ghost, labels: {$T: ghost}}
- {name: empty, labels: {$T: ''}}
- {name: kube-system, labels: {$T: acme}}
- {name: argocd, labels: {$T: acme}}
- {name: taken}
- {name: shop}
- {name: ci}
";

const CLUSTER_ROLES: &str = r#"
- {metadata: {name: view}, rules: [{apiGroups: [""], resources: [pods], verbs: [get, list]}]}
- {metadata: {name: cluster-admin}, rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}, {nonResourceURLs: ["*"], verbs: ["*"]}]}
- {metadata: {name: "system:discovery"}, rules: [{nonResourceURLs: [/api, "/api/*", /version], verbs: [get]}]}
- {metadata: {name: "system:basic-user"}, rules: [{apiGroups: [authorization.k8s.io], resources: [selfsubjectaccessreviews], verbs: [create]}]}
- {metadata: {name: empty}}
- {metadata: {name: part, labels: {into: whole}}, rules: [{apiGroups: [""], resources: [configmaps], verbs: [get]}]}
- {metadata: {name: whole, labels: {into: top}}, aggregationRule: {clusterRoleSelectors: [{matchLabels: {into: whole}}]}}
- {metadata: {name: top}, aggregationRule: {clusterRoleSelectors: [{matchLabels: {into: top}}]}}
- {metadata: {name: sharp, labels: {into: sharpened}}, rules: [{apiGroups: [""], resources: [pods/binding], verbs: [create]}]}
- {metadata: {name: sharpened, labels: {into: twice}}, aggregationRule: {clusterRoleSelectors: [{matchLabels: {into: sharpened}}]}}
- {metadata: {name: twice}, aggregationRule: {clusterRoleSelectors: [{matchLabels: {into: twice}}]}}
- {metadata: {name: either}, aggregationRule: {clusterRoleSelectors: [{matchLabels: {into: nothing}}, {matchLabels: {into: sharpened}}]}}
- {metadata: {name: free}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}
"#;

const ROLES: &str = r#"
- {metadata: {namespace: acme-prod, name: reader}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}
- {metadata: {namespace: acme-prod, name: binder}, rules: [{apiGroups: [""], resources: [pods/binding], verbs: [create]}]}
"#;

const CLUSTER_ROLE_BINDINGS: &str = r#"
- {metadata: {name: odd}, roleRef: {kind: ClusterRole, name: free}, subjects: [{kind: Robot, name: alice}]}
- {metadata: {name: discovery}, roleRef: {kind: ClusterRole, name: "system:discovery"}, subjects: [{kind: Group, name: sre}, {kind: Group, name: "system:authenticated"}]}
- {metadata: {name: future}, roleRef: {kind: ClusterRole, name: future-wide}, subjects: [{kind: User, name: alice}]}
- {metadata: {name: admins}, roleRef: {kind: ClusterRole, name: free}, subjects: [{kind: Group, name: sre}]}
"#;

const ROLE_BINDINGS: &str = r#"
- {metadata: {namespace: acme-prod, name: viewers}, roleRef: {kind: ClusterRole, name: view}, subjects: [{kind: Group, name: sre}, {kind: Group, name: "oidc:acme:dev"}]}
- {metadata: {namespace: acme-prod, name: tops}, roleRef: {kind: ClusterRole, name: top}, subjects: [{kind: User, name: alice}]}
- {metadata: {namespace: acme-prod, name: local}, roleRef: {kind: ClusterRole, name: local}, subjects: [{kind: ServiceAccount, name: app}]}
- {metadata: {namespace: acme-prod, name: future}, roleRef: {kind: ClusterRole, name: future}, subjects: [{kind: User, name: alice}]}
- {metadata: {namespace: acme-prod, name: ops}, roleRef: {kind: ClusterRole, name: free}, subjects: [{kind: User, name: sre-1}]}
- {metadata: {namespace: shop, name: shop}, roleRef: {kind: ClusterRole, name: free}, subjects: [{kind: User, name: alice}]}
"#;

/// The user who sends a request when nobody else is named: no tenant's subject and not exempt.
pub(crate) const ADMIN: &str = "platform-admin";
pub(crate) const OPERATOR: &str = "system:serviceaccount:bailiwick-system:bailiwick-operator";

/// What is expected of a request that may pass.
pub(crate) const PASS: &str = "";

static CLUSTER: LazyLock<Snapshot> = LazyLock::new(build);

/// The cluster.
pub(crate) fn cluster() -> Snapshot {
    CLUSTER.clone()
}

fn build() -> Snapshot {
    let config = "
platformSubjects: {users: ['sre-*', robot], groups: [sre, 'oidc:platform:*']}
reservedNamespaces: [argocd, taken]
";
    let tenants: Vec<Tenant> = list(TENANTS, |it| {
        it["apiVersion"] = json!("bailiwick.dev/v1alpha1");
        it["kind"] = json!("Tenant");
    });
    let namespaces: Vec<Namespace> = list(NAMESPACES, |it| {
        let mut metadata = it.take();
        metadata["uid"] = json!(format!("u-{}", metadata["name"].as_str().unwrap()));
        *it = json!({"metadata": metadata});
    });
    let group = |it: &mut Value| it["roleRef"]["apiGroup"] = json!("rbac.authorization.k8s.io");
    let mut rbac = Rbac::default();
    for role in list::<ClusterRole>(CLUSTER_ROLES, |_| ()) {
        rbac.cluster_roles
            .insert(role.metadata.name.clone().unwrap(), RoleFacts::from(&role));
    }
    for role in list::<Role>(ROLES, |_| ()) {
        let of_namespace = rbac
            .roles
            .entry(role.metadata.namespace.clone().unwrap())
            .or_default();
        of_namespace.insert(
            role.metadata.name.clone().unwrap(),
            snapshot::rules(role.rules.as_ref()),
        );
    }
    for it in list::<ClusterRoleBinding>(CLUSTER_ROLE_BINDINGS, group) {
        let (role, facts) = snapshot::binding(&it.metadata, &it.role_ref, it.subjects.as_ref()).unwrap();
        rbac.bind(role, facts);
    }
    for it in list::<RoleBinding>(ROLE_BINDINGS, group) {
        let (role, facts) = snapshot::binding(&it.metadata, &it.role_ref, it.subjects.as_ref()).unwrap();
        rbac.bind(role, facts);
    }
    Snapshot {
        config: Arc::new(Config::from_yaml(config).unwrap()),
        tenants: Arc::new(Tenants::collect(tenants.into_iter().map(Arc::new))),
        namespaces: Arc::new(
            namespaces
                .iter()
                .map(|it| (it.metadata.name.clone().unwrap(), NamespaceFacts::from(it)))
                .collect(),
        ),
        rbac: Arc::new(rbac),
        ..Snapshot::default()
    }
}

/// A cluster in which a Tenant says something else.
pub(crate) fn with_spec(snapshot: &Snapshot, tenant: &str, spec: &str) -> Snapshot {
    let mut snapshot = snapshot.clone();
    let mut all = snapshot.tenants.by_name.clone();
    let mut changed = all
        .get(tenant)
        .map_or_else(|| Tenant::new(tenant, TenantSpec::default()), |it| (**it).clone());
    changed.spec = serde_json::from_value(yaml(spec)).unwrap();
    all.insert(tenant.to_owned(), Arc::new(changed));
    snapshot.tenants = Arc::new(Tenants::collect(all.into_values()));
    snapshot
}

fn list<T: DeserializeOwned>(text: &str, complete: impl Fn(&mut Value)) -> Vec<T> {
    let Value::Array(items) = yaml(text) else {
        panic!("not a list: {text}")
    };
    items
        .into_iter()
        .map(|mut it| {
            complete(&mut it);
            serde_json::from_value(it).unwrap()
        })
        .collect()
}

/// YAML in which `$T` and its like stand for our labels and annotations.
pub(crate) fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(&long(text)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn long(text: &str) -> String {
    [
        ("label($T)", "metadata.labels['bailiwick.dev/tenant']"),
        ("label($M)", "metadata.labels['bailiwick.dev/managed-by']"),
        ("label($MODE)", "metadata.labels['bailiwick.dev/pod-label']"),
        (
            "annotation($ADOPT)",
            "metadata.annotations['bailiwick.dev/adopt-by']",
        ),
        ("$T", "bailiwick.dev/tenant"),
        ("$MODE", "bailiwick.dev/pod-label"),
        ("$M", "bailiwick.dev/managed-by"),
        ("$ADOPT", "bailiwick.dev/adopt-by"),
        ("$SUSPENDED", "bailiwick.dev/suspended"),
        ("$PSA", "pod-security.kubernetes.io"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (short, long)| text.replace(short, long))
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    operation: &'static str,
    path: String,
    namespace: String,
    name: String,
    user: String,
    groups: Vec<String>,
    old: Value,
    new: Value,
    dry: bool,
}

impl Ask {
    fn new(operation: &'static str, path: &str, old: Value, new: Value) -> Self {
        let metadata = if new.is_null() {
            &old["metadata"]
        } else {
            &new["metadata"]
        };
        let text = |member: &str| metadata[member].as_str().unwrap_or_default().to_owned();
        Self {
            operation,
            path: path.to_owned(),
            namespace: text("namespace"),
            name: text("name"),
            user: ADMIN.to_owned(),
            groups: vec!["system:authenticated".to_owned()],
            old,
            new,
            dry: false,
        }
    }

    /// CREATE, with the object as YAML.
    pub(crate) fn create(path: &str, new: &str) -> Self {
        Self::new("CREATE", path, Value::Null, yaml(new))
    }

    /// UPDATE, from one to the other.
    pub(crate) fn update(path: &str, old: &str, new: &str) -> Self {
        Self::new("UPDATE", path, yaml(old), yaml(new))
    }

    /// DELETE.
    pub(crate) fn delete(path: &str, old: &str) -> Self {
        Self::new("DELETE", path, yaml(old), Value::Null)
    }

    /// CONNECT.
    pub(crate) fn connect(path: &str) -> Self {
        Self::new("CONNECT", path, Value::Null, json!({"kind": "PodExecOptions"}))
    }

    /// By another path to the same object.
    pub(crate) fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Without anything being stored.
    pub(crate) fn dry(mut self) -> Self {
        self.dry = true;
        self
    }

    /// In this namespace.
    pub(crate) fn within(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// As this user.
    pub(crate) fn by(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// As a member of this group.
    pub(crate) fn of(mut self, group: &str) -> Self {
        self.groups.push(group.to_owned());
        self
    }

    /// As the API server sends a deletion of a collection, or a creation with `generateName`.
    pub(crate) fn nameless(mut self) -> Self {
        self.name.clear();
        self
    }

    /// The AdmissionReview.
    pub(crate) fn review(&self) -> Value {
        let (path, sub) = self.path.split_once('/').unwrap_or((&self.path, ""));
        let group = match path {
            "tenants" | "tenancyindices" | "tenantpolicies" | "policyapprovals" => "bailiwick.dev",
            "networkpolicies" | "ingresses" => "networking.k8s.io",
            "deployments" | "statefulsets" | "daemonsets" | "replicasets" => "apps",
            "jobs" | "cronjobs" => "batch",
            "httproutes" | "grpcroutes" | "tlsroutes" | "gateways" | "listenersets" => {
                "gateway.networking.k8s.io"
            }
            "leases" => "coordination.k8s.io",
            "localsubjectaccessreviews" => "authorization.k8s.io",
            "roles" | "rolebindings" | "clusterroles" | "clusterrolebindings" => "rbac.authorization.k8s.io",
            _ => "",
        };
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "u",
                "kind": {"group": group, "version": "v1", "kind": kind(path)},
                "resource": {"group": group, "version": "v1", "resource": path},
                "subResource": sub,
                "name": self.name,
                "namespace": self.namespace,
                "operation": self.operation,
                "userInfo": {"username": self.user, "groups": self.groups},
                "object": self.new,
                "oldObject": self.old,
                "dryRun": self.dry,
                "options": null,
            },
        })
    }
}

/// The kind of a resource, where a message shows it.
fn kind(resource: &str) -> &str {
    match resource {
        "tenants" => "Tenant",
        "tenancyindices" => "TenancyIndex",
        "tenantpolicies" => "TenantPolicy",
        "policyapprovals" => "PolicyApproval",
        "deployments" => "Deployment",
        other => other,
    }
}

/// What is decided: the rules and fields of all findings, or what is needed.
pub(crate) fn outcome(snapshot: &Snapshot, review: &Value) -> String {
    let body = review.to_string();
    let request = parse(body.as_bytes()).unwrap();
    match decide(snapshot, &request, &Moment::default()) {
        Outcome::Needs(Need::Namespace(name)) => format!("needs Namespace {name}"),
        Outcome::Needs(Need::ClusterRole(name)) => format!("needs ClusterRole {name}"),
        Outcome::Needs(Need::Role { namespace, name }) => format!("needs Role {namespace}/{name}"),
        Outcome::Needs(Need::PersistentVolume(name)) => format!("needs PersistentVolume {name}"),
        Outcome::Decided(decision) => {
            let findings = decision
                .findings
                .iter()
                .map(|it| format!("{} {}", it.rule, it.field));
            findings.collect::<Vec<_>>().join("; ")
        }
    }
}

/// The request has this outcome.
#[track_caller]
pub(crate) fn check(ask: &Ask, expected: &str) {
    check_in(&CLUSTER, ask, expected);
}

/// As [`check`], in another cluster.
#[track_caller]
pub(crate) fn check_in(snapshot: &Snapshot, ask: &Ask, expected: &str) {
    assert_eq!(outcome(snapshot, &ask.review()), long(expected), "{ask:#?}");
}

/// What a request is warned of, in words.
pub(crate) fn warnings(snapshot: &Snapshot, ask: &Ask) -> Vec<String> {
    let body = ask.review().to_string();
    let request = parse(body.as_bytes()).unwrap();
    match decide(snapshot, &request, &Moment::default()) {
        Outcome::Needs(need) => panic!("needs {need:?}"),
        Outcome::Decided(decision) => decision.warnings.iter().map(ToString::to_string).collect(),
    }
}

//! Manifests with good and bad fields in every mixture: the same ones in every run.

use serde_json::{Value, json};

use super::super::kinds::binding;
use crate::steps::{MANAGED, TENANT_LABEL};

/// Subjects of bindings: two tenants', nobody's, everybody, the system's.
const SUBJECTS: [(&str, &str, &str); 9] = [
    ("User", "", "red-owner"),
    ("User", "", "green-owner"),
    ("User", "", "oidc:red:ann"),
    ("User", "", "stranger"),
    ("Group", "", "oidc:red:dev"),
    ("Group", "", "system:authenticated"),
    ("ServiceAccount", "offline-gold", "robot"),
    ("ServiceAccount", "offline-verify", "robot"),
    ("ServiceAccount", "kube-system", "cni"),
];
const NAMESPACES: [&str; 6] = [
    "offline-gold",
    "offline-silver",
    "offline-require",
    "offline-verify",
    "offline-adopted",
    "offline-plain",
];
/// How many objects of each kind.
const COUNTS: [(&str, usize); 10] = [
    ("Pod", 60),
    ("Deployment", 40),
    ("CronJob", 12),
    ("Service", 48),
    ("Ingress", 32),
    ("ConfigMap", 32),
    ("RoleBinding", 32),
    ("Role", 12),
    ("Namespace", 16),
    ("NetworkPolicy", 8),
];

/// Pseudorandom choices (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let count = u64::try_from(from.len()).unwrap_or(1);
        let at = usize::try_from(self.next() % count).unwrap_or(0);
        from[at].clone()
    }

    /// True in one of `of` cases.
    fn rarely(&mut self, of: u64) -> bool {
        self.next().is_multiple_of(of)
    }
}

/// The manifests, each with a name of its own.
pub(super) fn manifests() -> Vec<Value> {
    let mut dice = Dice(20_261_127);
    let mut all = Vec::new();
    for (kind, count) in COUNTS {
        for i in 0..count {
            let name = format!("offline-{}-{i}", kind.to_lowercase());
            let namespace = dice.pick(&NAMESPACES);
            let mut object = match kind {
                "Pod" => pod(&mut dice),
                "Deployment" => deployment(&mut dice),
                "CronJob" => cron_job(&mut dice),
                "Service" => service(&mut dice),
                "Ingress" => ingress(&mut dice),
                "ConfigMap" => config_map(&mut dice),
                "RoleBinding" => role_binding(&mut dice),
                "Role" => role(&mut dice),
                "Namespace" => namespace_manifest(&mut dice),
                _ => network_policy(&mut dice),
            };
            object["kind"] = json!(kind);
            object["metadata"]["name"] = json!(name);
            if kind != "Namespace" {
                object["metadata"]["namespace"] = json!(namespace);
            }
            all.push(object);
        }
    }
    all
}

/// Tenant labels of Pods and Namespaces.
const LABELS_OF_PODS: [Option<&str>; 5] = [
    None,
    None,
    Some("offline-red"),
    Some("offline-blue"),
    Some("offline-green"),
];

fn labels(dice: &mut Dice) -> Value {
    let mut labels = json!({ "app": "x" });
    if let Some(tenant) = dice.pick(&LABELS_OF_PODS) {
        labels[TENANT_LABEL] = json!(tenant);
    }
    if dice.rarely(2) {
        labels["owner"] = json!("ada");
    }
    labels
}

fn container(dice: &mut Dice, name: &str) -> Value {
    let images = [
        "registry.example.com/app:1",
        "registry.example.com/offline-green/app:1",
        "registry.example.com/offline-red/app",
        "nginx:1.29",
        "ghcr.io/a/b:latest",
    ];
    let mut container = json!({ "name": name, "image": dice.pick(&images) });
    if dice.rarely(2) {
        container["resources"] = json!({
            "requests": { "cpu": "100m", "memory": "64Mi" },
            "limits": { "cpu": "200m", "memory": "64Mi" },
        });
    }
    if dice.rarely(2) {
        container["readinessProbe"] = json!({ "httpGet": { "path": "/", "port": 8080 } });
    }
    let contexts = [
        json!({}),
        json!({ "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } }),
        json!({ "readOnlyRootFilesystem": false, "capabilities": { "drop": ["ALL"], "add": ["CHOWN"] } }),
        json!({ "capabilities": { "add": ["NET_BIND_SERVICE"] } }),
    ];
    container["securityContext"] = dice.pick(&contexts);
    container
}

fn pod(dice: &mut Dice) -> Value {
    let mut containers = vec![container(dice, "a")];
    if dice.rarely(3) {
        containers.push(container(dice, "b"));
    }
    let mut spec = json!({ "containers": containers });
    if dice.rarely(2) {
        spec["automountServiceAccountToken"] = json!(false);
    }
    json!({ "apiVersion": "v1", "metadata": { "labels": labels(dice) }, "spec": spec })
}

/// A Pod as a template.
fn template(dice: &mut Dice) -> Value {
    let Value::Object(mut pod) = pod(dice) else {
        return Value::Null;
    };
    pod.remove("apiVersion");
    Value::Object(pod)
}

fn deployment(dice: &mut Dice) -> Value {
    json!({
        "apiVersion": "apps/v1", "metadata": {},
        // What is left out the API server fills in, and policies see it there.
        "spec": { "replicas": dice.pick(&[1, 2, 3]), "selector": { "matchLabels": { "app": "x" } }, "template": template(dice) },
    })
}

fn cron_job(dice: &mut Dice) -> Value {
    let mut template = template(dice);
    template["spec"]["restartPolicy"] = json!("Never");
    let mut spec = json!({ "schedule": "@daily", "jobTemplate": { "spec": { "template": template } } });
    if dice.rarely(2) {
        spec["startingDeadlineSeconds"] = json!(60);
    }
    json!({ "apiVersion": "batch/v1", "metadata": {}, "spec": spec })
}

fn service(dice: &mut Dice) -> Value {
    let ports = json!([{ "port": 80, "protocol": "TCP" }]);
    let spec = match dice.pick(&[0, 1, 2, 3, 4, 5]) {
        0 => json!({ "ports": ports }),
        1 => json!({ "ports": ports, "type": "ClusterIP", "externalIPs": ["203.0.113.7"] }),
        2 => json!({ "ports": ports, "type": "NodePort" }),
        3 => json!({ "ports": ports, "type": "LoadBalancer" }),
        4 => {
            json!({ "ports": ports, "type": "LoadBalancer", "loadBalancerSourceRanges": ["203.0.113.0/24"] })
        }
        _ => json!({ "type": "ExternalName", "externalName": "example.com" }),
    };
    json!({ "apiVersion": "v1", "metadata": { "labels": labels(dice) }, "spec": spec })
}

fn ingress(dice: &mut Dice) -> Value {
    let backend = json!({ "service": { "name": "x", "port": { "number": 80 } } });
    let path = json!({ "path": "/", "pathType": "Prefix", "backend": backend });
    let host = dice.pick(&[
        "a.offline-red.example.com",
        "b.offline-green.example.com",
        "offline-red.example.com",
        "evil.example.org",
    ]);
    let mut spec = json!({ "rules": [{ "host": host, "http": { "paths": [path] } }] });
    match dice.pick(&[0, 1, 2]) {
        0 => spec["tls"] = json!([{ "hosts": [host], "secretName": "x" }]),
        1 => spec = json!({ "defaultBackend": backend }),
        _ => {}
    }
    let mut metadata = json!({});
    if dice.rarely(4) {
        metadata["annotations"] = json!({ "nginx.ingress.kubernetes.io/server-alias": "a.offline-red.example.com,evil.example.org" });
    }
    json!({ "apiVersion": "networking.k8s.io/v1", "metadata": metadata, "spec": spec })
}

fn config_map(dice: &mut Dice) -> Value {
    let weight = dice.pick(&["2", "7", "heavy", ""]);
    let data = if weight.is_empty() {
        json!({})
    } else {
        json!({ "weight": weight })
    };
    json!({ "apiVersion": "v1", "metadata": { "labels": labels(dice) }, "data": data })
}

fn role_binding(dice: &mut Dice) -> Value {
    let role = dice.pick(&[
        "view",
        "edit",
        "system:discovery",
        "cluster-admin",
        "cluster-admin",
    ]);
    let mut subjects = vec![dice.pick(&SUBJECTS)];
    if dice.rarely(3) {
        subjects.push(dice.pick(&SUBJECTS));
    }
    let mut object = binding("", role, &subjects);
    object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
    object
}

fn role(dice: &mut Dice) -> Value {
    let rules = [
        json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }]),
        json!([{ "apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["update"] }]),
        json!([{ "apiGroups": [""], "resources": ["namespaces/finalize"], "verbs": ["update"] }]),
        json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]),
    ];
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {}, "rules": dice.pick(&rules) })
}

fn namespace_manifest(dice: &mut Dice) -> Value {
    let mut labels = json!({});
    for (key, values) in [
        (TENANT_LABEL, [None, Some("offline-red"), Some("nobody")]),
        ("bailiwick.dev/pod-label", [None, None, Some("Verify")]),
        (
            "pod-security.kubernetes.io/enforce",
            [None, Some("privileged"), Some("baseline")],
        ),
        ("team", [None, Some("moss"), Some("fern")]),
    ] {
        if let Some(value) = dice.pick(&values) {
            labels[key] = json!(value);
        }
    }
    json!({ "apiVersion": "v1", "metadata": { "labels": labels } })
}

fn network_policy(dice: &mut Dice) -> Value {
    let mut metadata = json!({});
    if dice.rarely(2) {
        metadata["labels"] = json!({ MANAGED: "bailiwick-operator" });
    }
    json!({ "apiVersion": "networking.k8s.io/v1", "metadata": metadata, "spec": { "podSelector": {}, "policyTypes": ["Ingress"] } })
}

//! What a Tenant asks for is what is in its namespaces, word for word.

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::wait::eventually;
use serde_json::{Value, json};

use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    managed::{essence, objects},
    steps::namespaces,
};

/// `$T` is the tenant, `$P` and `$D` its namespaces, `$N` its neighbour.
const TENANT: &str = "{
    metadata: { name: $T },
    spec: {
        owners: [{ kind: Group, name: $T-admins }],
        access: [
            { clusterRole: edit, subjects: [{ kind: User, name: $T-dev }, { kind: ServiceAccount, name: robot, namespace: $P }] },
            { clusterRole: view, subjects: [{ kind: Group, name: $T-audit }], namespaceSelector: { matchLabels: { stage: prod } } },
        ],
        namespaces: { declared: [{ name: $P, labels: { stage: prod } }, { name: $D }] },
        network: {
            ingress: { fromTenants: [$N], fromNamespaces: [ingress-nginx] },
            egress: { toTenants: [$N], toCIDRs: [192.0.2.0/24, '2001:db8::/32'], dns: true },
        },
        quota: {
            namespace: { pods: 5, requests.cpu: 1500m },
            limits: [{ type: Container, max: { cpu: 2 }, default: { cpu: 500m } }],
        },
        podSecurity: { enforce: restricted },
        podLabel: Require,
    },
}";

fn subject(kind: &str, name: &str) -> Value {
    json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name })
}

fn binding(role: &str, subjects: &Value) -> (String, Value) {
    let role_ref = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role });
    (
        format!("RoleBinding bailiwick:{role}"),
        json!({ "roleRef": role_ref, "subjects": subjects }),
    )
}

fn by(key: &str, value: &str) -> Value {
    json!({ "namespaceSelector": { "matchLabels": { key: value } } })
}

/// What both namespaces have.
fn everywhere(tenant: &str, neighbour: &str, prod: &str) -> Vec<(String, Value)> {
    let label = "bailiwick.dev/tenant";
    let name = "kubernetes.io/metadata.name";
    let dns = json!({
        "namespaceSelector": { "matchLabels": { name: "kube-system" } },
        "podSelector": { "matchLabels": { "k8s-app": "kube-dns" } },
    });
    let both = json!(["Ingress", "Egress"]);
    let robot = json!({ "kind": "ServiceAccount", "name": "robot", "namespace": prod });
    vec![
        (
            "NetworkPolicy bailiwick-default-deny".to_owned(),
            json!({ "spec": { "podSelector": {}, "policyTypes": both } }),
        ),
        (
            "NetworkPolicy bailiwick-allow".to_owned(),
            json!({ "spec": {
                "podSelector": {},
                "policyTypes": both,
                "ingress": [{ "from": [by(label, tenant), by(label, neighbour), by(name, "ingress-nginx")] }],
                "egress": [
                    { "to": [
                        by(label, tenant),
                        by(label, neighbour),
                        { "ipBlock": { "cidr": "192.0.2.0/24" } },
                        { "ipBlock": { "cidr": "2001:db8::/32" } },
                    ] },
                    { "to": [dns], "ports": [{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }] },
                ],
            } }),
        ),
        (
            "ResourceQuota bailiwick".to_owned(),
            json!({ "spec": { "hard": { "pods": "5", "requests.cpu": "1500m" } } }),
        ),
        (
            "LimitRange bailiwick".to_owned(),
            json!({ "spec": { "limits": [{
                "type": "Container",
                "max": { "cpu": "2" },
                "default": { "cpu": "500m" },
                "defaultRequest": { "cpu": "500m" },
            }] } }),
        ),
        binding(
            "bailiwick-admin",
            &json!([subject("Group", &format!("{tenant}-admins"))]),
        ),
        binding("edit", &json!([subject("User", &format!("{tenant}-dev")), robot])),
    ]
}

#[test]
fn everything_in_a_tenants_spec_is_on_the_api_server() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (name, neighbour) = (unique("content"), unique("neighbour"));
        let (prod, dev) = (unique("prod"), unique("dev"));
        let yaml = TENANT
            .replace("$T", &name)
            .replace("$N", &neighbour)
            .replace("$P", &prod)
            .replace("$D", &dev);
        ready_tenant(cluster, &yaml, SOON).await?;
        let audit = binding("view", &json!([subject("Group", &format!("{name}-audit"))]));
        for (ns, more) in [(&prod, vec![audit]), (&dev, vec![])] {
            let mut found = objects(&client, ns).await?;
            for (key, mut wanted) in everywhere(&name, &neighbour, &prod).into_iter().chain(more) {
                let object = found.remove(&key).with_context(|| format!("{ns} has no {key}"))?;
                let mut is = essence(&object);
                let metadata = is["metadata"].take();
                wanted["metadata"] = Value::Null;
                ensure!(is == wanted, "{ns}: {key} is {is}, not {wanted}");
                ensure!(
                    metadata["labels"]
                        == json!({ "bailiwick.dev/tenant": name, "bailiwick.dev/managed-by": "bailiwick-operator" }),
                    "{ns}: {key}: {metadata}"
                );
            }
            ensure!(found.is_empty(), "{ns} has {:?}, too", found.keys());

            let mut labels = json!({
                "bailiwick.dev/tenant": name,
                "bailiwick.dev/pod-label": "Require",
                "kubernetes.io/metadata.name": ns,
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/enforce-version": "latest",
                "pod-security.kubernetes.io/audit": "restricted",
                "pod-security.kubernetes.io/warn": "restricted",
            });
            if *ns == prod {
                labels["stage"] = json!("prod");
            }
            let now = namespaces(&client).get(ns).await?.metadata.labels;
            ensure!(json!(now) == labels, "{ns}: {now:?}");
        }
        // The quota holds, which its controller says.
        eventually(SOON, "the quota is counted", async || {
            let now = objects(&client, &prod).await?;
            let status = &now["ResourceQuota bailiwick"].data["status"];
            ensure!(status["hard"]["pods"] == "5", "{status}");
            Ok(())
        })
        .await
    })
}

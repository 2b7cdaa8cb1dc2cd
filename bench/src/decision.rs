//! One decision: parse, decide, nothing else.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use bailiwick_core::decide::{Outcome, decide};
use bailiwick_core::ownership::NamespaceFacts;
use bailiwick_core::policy::Moment;
use bailiwick_core::review;
use bailiwick_core::snapshot::{Snapshot, Tenants};
use serde_json::json;

/// A snapshot with so many tenants of three namespaces each.
pub(crate) fn snapshot(tenants: usize) -> Result<Snapshot> {
    let mut all = Vec::new();
    let mut snapshot = Snapshot::default();
    let namespaces = Arc::make_mut(&mut snapshot.namespaces);
    for i in 0..tenants {
        let name = format!("tenant-{i}");
        let declared: Vec<_> = (0..3).map(|j| json!({ "name": format!("{name}-{j}") })).collect();
        let tenant = json!({
            "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": name },
            "spec": {
                "owners": [{ "kind": "Group", "name": format!("oidc:{name}:admin") }],
                "identities": { "groups": [format!("oidc:{name}:*")] },
                "namespaces": { "declared": declared },
            },
        });
        all.push(Arc::new(serde_json::from_value(tenant)?));
        for j in 0..3 {
            let labels = [
                ("bailiwick.dev/tenant".to_owned(), name.clone()),
                ("bailiwick.dev/pod-label".to_owned(), "Stamp".to_owned()),
            ];
            let facts = NamespaceFacts {
                labels: labels.into(),
                ..NamespaceFacts::default()
            };
            namespaces.insert(format!("{name}-{j}"), facts);
        }
    }
    snapshot.tenants = Arc::new(Tenants::collect(all));
    Ok(snapshot)
}

/// A Pod of two containers with managedFields, 6 to 7 KB as an API server sends it.
pub(crate) fn review_body(namespace: &str, tenant: &str) -> Vec<u8> {
    let container = |name: &str| {
        json!({
            "name": name, "image": "registry.example.com/team/app:1.2.3", "imagePullPolicy": "IfNotPresent",
            "env": (0..6).map(|i| json!({ "name": format!("VARIABLE_{i}"), "value": "some value of usual length" })).collect::<Vec<_>>(),
            "resources": { "limits": { "cpu": "1", "memory": "512Mi" }, "requests": { "cpu": "100m", "memory": "128Mi" } },
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "runAsNonRoot": true },
            "volumeMounts": [{ "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": "kube-api-access", "readOnly": true }],
        })
    };
    let fields: serde_json::Map<_, _> = (0..40)
        .map(|i| {
            (
                format!("f:field{i}"),
                json!({ ".": {}, "f:name": {}, "f:value": {} }),
            )
        })
        .collect();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "app-5d4f8c7b9-x2x2x", "namespace": namespace, "uid": "0b0b0b0b-1111-2222-3333-444444444444",
            "labels": { "app": "app", "pod-template-hash": "5d4f8c7b9", "bailiwick.dev/tenant": tenant },
            "managedFields": [{ "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields }],
        },
        "spec": { "containers": [container("app"), container("sidecar")], "initContainers": [container("init")], "serviceAccountName": "default" },
    });
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "name": "app-5d4f8c7b9-x2x2x", "namespace": namespace, "operation": "CREATE",
            "userInfo": { "username": "system:serviceaccount:kube-system:replicaset-controller", "groups": ["system:serviceaccounts", "system:authenticated"] },
            "object": pod, "dryRun": false,
        },
    });
    review.to_string().into_bytes()
}

/// What a tenant says of its workloads.
#[derive(Clone, Copy)]
enum Rails {
    None,
    All,
    Placed,
}

/// The snapshot in which a tenant says so.
fn with_rails(mut snapshot: Snapshot, tenant: &str, rails: Rails) -> Result<Snapshot> {
    let mut tenants = snapshot.tenants.by_name.clone();
    let mut changed = (**tenants.get(tenant).context("no such tenant")?).clone();
    let more = match rails {
        Rails::None => json!({}),
        Rails::All => json!({ "workloads": {
            "registries": ["registry.example.com", "ghcr.io/acme"], "storageClasses": ["fast"], "priorityClasses": [],
            "ingressClasses": ["internal"], "hostnames": ["*.acme.example"], "tolerations": [],
            "services": { "loadBalancer": false, "nodePort": false },
        } }),
        Rails::Placed => json!({ "placement": { "regions": ["eu-1"] } }),
    };
    let mut spec = serde_json::to_value(&changed.spec)?;
    spec.as_object_mut()
        .context("no object")?
        .extend(more.as_object().cloned().unwrap_or_default());
    changed.spec = serde_json::from_value(spec)?;
    tenants.insert(tenant.to_owned(), Arc::new(changed));
    snapshot.tenants = Arc::new(Tenants::collect(tenants.into_values()));
    Ok(snapshot)
}

pub(crate) fn run() -> Result<()> {
    for tenants in [10, 1000] {
        let best = best(&snapshot(tenants)?, &review_body("tenant-3-1", "tenant-3"))?;
        println!("  {tenants:>5} tenants: {best:>8.0} ns (best of 5 × 20,000)");
    }
    let all = snapshot(1000)?;
    let body = review_body("tenant-3-1", "tenant-3");
    // The same Pod where no guard rail is looked at, because its namespace is no tenant's.
    let outside = String::from_utf8(review_body("nobodys", "tenant-3"))?
        .replace(r#","bailiwick.dev/tenant":"tenant-3""#, "")
        .replace(r#""bailiwick.dev/tenant":"tenant-3","#, "")
        .into_bytes();
    let mut nobodys = all.clone();
    Arc::make_mut(&mut nobodys.namespaces).insert("nobodys".to_owned(), NamespaceFacts::default());
    let placed = String::from_utf8(body.clone())?
        .replace(
            r#""serviceAccountName":"default""#,
            r#""nodeSelector":{"topology.kubernetes.io/region":"eu-1"},"serviceAccountName":"default""#,
        )
        .into_bytes();
    let cases = [
        ("a Pod of nobody's", nobodys, outside),
        (
            "of a tenant without guard rails",
            with_rails(all.clone(), "tenant-3", Rails::None)?,
            body.clone(),
        ),
        (
            "of a tenant with all of them",
            with_rails(all.clone(), "tenant-3", Rails::All)?,
            body,
        ),
        (
            "of a tenant with a placement",
            with_rails(all, "tenant-3", Rails::Placed)?,
            placed,
        ),
    ];
    let mut base = None;
    for (name, snapshot, body) in cases {
        let best = best(&snapshot, &body)?;
        let base = *base.get_or_insert(best);
        println!("  {name}: {best:>8.0} ns, {:.2} times the first", best / base);
    }
    Ok(())
}

/// How long the review of a Pod that may pass takes to parse and decide, in nanoseconds.
fn best(snapshot: &Snapshot, body: &[u8]) -> Result<f64> {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let rounds = 20_000_u32;
        let begin = Instant::now();
        for _ in 0..rounds {
            let request = review::parse(black_box(body))?;
            let Outcome::Decided(decision) = decide(snapshot, &request, &Moment::default()) else {
                anyhow::bail!("undecided")
            };
            let why = || decision.message();
            decision.allowed().then_some(()).with_context(why)?;
        }
        best = best.min(begin.elapsed().as_secs_f64() * 1e9 / f64::from(rounds));
    }
    Ok(best)
}

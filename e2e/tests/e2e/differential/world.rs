//! The tenants, people and objects that the requests are about.
//!
//! `diff` and `other` have declared namespaces only. Owners of `serve` make some by themselves, `full` has one more than it may,
//! which waits, and `halt` is suspended.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, wait::eventually};
use http::Request;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{
    kinds::{ALL, KINDS, RBAC, binding, pod, policy},
    people::{FURNISHED, NAMESPACES},
    step,
    verdict::Verdict,
};
use crate::{
    fixture::{SOON, ready_tenant},
    requests::{Callers, Step},
    steps::{MANAGED, TENANT_LABEL, condition, namespace_label, tenant, tenants},
};

/// The API server looks for new kinds, parameters among them, every half minute.
const UNTIL_KINDS_ARE_KNOWN: Duration = Duration::from_mins(2);

/// A Tenant with self-service, and more of its spec as flow YAML.
fn serving(name: &str, declared: &str, max: u32, more: &str) -> String {
    format!(
        "{{ apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: {{ name: {name} }}, spec: {{ namespaces: {{ declared: [{declared}], selfService: {{ prefix: {name}-, max: {max}, labels: [team], annotations: [acme.example/contact] }} }}, {more} }} }}"
    )
}

pub(super) async fn tenants_are_ready(cluster: &Cluster) -> Result<()> {
    let diff = "identities: { users: [\"oidc:diff:*\"], groups: [\"oidc:diff:*\"] }, ";
    let serve = "owners: [{ kind: User, name: serve-owner }, { kind: Group, name: serve-admins }, { kind: ServiceAccount, namespace: diff-plain, name: bot }], identities: { users: [serve-dev] }, ";
    let quota = "quota: { namespace: { count/secrets: \"9\" }, limits: [{ type: Container, default: { cpu: 100m } }] }";
    let serve = format!("{serve}{quota}");
    let owner = |name: &str| format!("owners: [{{ kind: User, name: {name}-owner }}], {quota}");
    for yaml in [
        tenant("diff", &["diff-stamp", "diff-verify"], &format!("{diff}{quota}")),
        tenant("other", &["diff-other"], "podLabel: Verify"),
        serving("serve", "{ name: serve-base }", 20, &serve),
        serving("full", "", 1, &owner("full")),
        serving("halt", "{ name: halt-base }", 9, &owner("halt")),
    ] {
        ready_tenant(cluster, &yaml, SOON).await?;
    }
    Ok(())
}

/// Makes everything that is to be there, by requests that no layer looks at, and waits until both know of it.
pub(super) async fn is_furnished(
    cluster: &Cluster,
    callers: &mut Callers<'_>,
    nobody: &[String],
) -> Result<()> {
    let client = cluster.client();
    let taken = async |namespace: &str| {
        eventually(SOON, &format!("{namespace} is taken"), async || {
            let mode = namespace_label(&client, namespace, "bailiwick.dev/pod-label").await?;
            mode.map(drop).context("no mode of Pod labels yet")
        })
        .await
    };
    make(callers, nobody, &[new_namespace("diff-plain", &json!({}))]).await?;
    for (tenant, name) in [
        ("serve", "serve-made"),
        ("serve", "serve-ending"),
        ("full", "full-first"),
    ] {
        let new = new_namespace(name, &json!({ TENANT_LABEL: tenant }));
        make(callers, nobody, &[new]).await?;
        taken(name).await?;
    }
    let late = new_namespace("full-late", &json!({ TENANT_LABEL: "full" }));
    make(callers, nobody, &[late]).await?;
    condition(
        cluster,
        "full",
        "NamespacesReady",
        "False",
        "NamespaceWaiting",
        SOON,
    )
    .await?;
    make(callers, nobody, &objects()).await?;
    let suspend = Patch::Merge(json!({ "spec": { "suspended": true } }));
    let all = tenants(&client);
    all.patch("halt", &PatchParams::default(), &suspend).await?;
    eventually(SOON, "halt-base is suspended", async || {
        let label = namespace_label(&client, "halt-base", "bailiwick.dev/suspended").await?;
        label.map(drop).context("no label yet")
    })
    .await?;
    eventually(SOON, "the index tells of all that", async || {
        let index = cluster
            .kubectl(&["get", "tenancyindex", "bailiwick", "-o", "json"])
            .await?
            .ok()?;
        let index: Value = serde_json::from_str(&index)?;
        let spec = &index["spec"];
        ensure!(
            spec["clusterBoundRoles"]["diff-cluster"] == true
                && spec["clusterBoundRoles"]["diff-unborn"] == true
                && spec["tenantBoundRoles"]["diff-tenant"] == true
                && spec["namespaces"]["full-late"] == "full"
                && spec["selfService"]["serve"].is_object()
                && spec["selfService"]["halt"].is_null(),
            "{spec}"
        );
        Ok(())
    })
    .await
}

async fn make(callers: &mut Callers<'_>, nobody: &[String], steps: &[Step]) -> Result<()> {
    for step in steps {
        eventually(SOON, &format!("{} is made", step.path), async || {
            match callers.send(step, "", nobody).await? {
                // By an attempt whose answer was not waited for.
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
                result => Ok(result?),
            }
        })
        .await?;
    }
    Ok(())
}

/// Requests that show, by being refused, that a layer knows the tenants: with the rule that refuses them.
pub(super) fn probes() -> Vec<(Step, &'static str)> {
    let map = |namespace: &str| {
        let path = format!("/api/v1/namespaces/{namespace}/services");
        let body = json!({ "metadata": { "name": "new" }, "spec": { "ports": [{ "port": 80 }] } });
        step("platform-admin", "create", path, body)
    };
    let nodes = json!([{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }]);
    let unborn = json!({ "metadata": { "name": "diff-unborn" }, "rules": nodes });
    let label = json!({ "metadata": { "labels": { "x": "x" } } });
    let mut probes = vec![
        (map("full-late"), "BW-NS-CLOSED"),
        (map("halt-base"), "BW-SUSPENDED"),
        (
            step("platform-admin", "create", format!("{RBAC}/clusterroles"), unborn),
            "BW-CR-WIDEN",
        ),
        (
            step(
                "serve-owner",
                "merge",
                "/api/v1/namespaces/serve-ending",
                label.clone(),
            ),
            "BW-NS-METADATA",
        ),
        (
            step("halt-owner", "create", ALL, {
                json!({ "metadata": { "name": "halt-new", "labels": { TENANT_LABEL: "halt" } } })
            }),
            "BW-NS-SELFSERVICE",
        ),
        (
            step(
                "serve-owner",
                "create",
                "/apis/bailiwick.dev/v1alpha1/tenantpolicies",
                policy("serve-owner", "new"),
            ),
            "BW-POLICY-AUTHOR",
        ),
    ];
    for (namespace, tenant) in NAMESPACES {
        if tenant.is_some() && !matches!(namespace, "full-late" | "halt-base" | "serve-ending") {
            let all = format!("{RBAC}/namespaces/{namespace}/rolebindings");
            let body = binding("new", "view", &[("User", "", "nobody")]);
            probes.push((step("platform-admin", "create", all, body), "BW-RB-SUBJECT"));
        }
    }
    probes
}

/// Waits until a layer refuses what shows that it knows all; the other one is muted.
pub(super) async fn is_known(callers: &mut Callers<'_>, without: &[String]) -> Result<()> {
    for (step, rule) in probes() {
        let what = format!("{} {} is refused by {rule}", step.verb, step.path);
        eventually(UNTIL_KINDS_ARE_KNOWN, &what, async || {
            let verdict = Verdict::of(callers.send(&step, "dryRun=All", without).await?)?;
            ensure!(verdict.shared_rules().contains(rule), "{verdict:?}");
            Ok(())
        })
        .await?;
    }
    let unlabelled = json!({ "metadata": { "name": "serve-new" } });
    let stamped = step("serve-owner", "create", ALL, unlabelled);
    let what = "an owner's namespace is stamped, and allowed";
    eventually(UNTIL_KINDS_ARE_KNOWN, what, async || {
        Ok(callers.send(&stamped, "dryRun=All", without).await??)
    })
    .await
}

fn new_namespace(name: &str, labels: &Value) -> Step {
    let body = json!({ "metadata": { "name": name, "labels": labels } });
    step("platform-admin", "create", ALL, body)
}

/// What the requests work on, beside what the operator made.
fn objects() -> Vec<Step> {
    let create = |path: String, body: Value| step("platform-admin", "create", path, body);
    let role = |name: &str, rules: Value| json!({ "metadata": { "name": name }, "rules": rules });
    let reads = json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }]);
    // More than may be added: what is a part of it may be written again.
    let held = json!([
        { "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] },
        { "apiGroups": [""], "resources": ["limitranges"], "verbs": ["create", "update"], "resourceNames": ["a"] },
        { "apiGroups": [""], "resources": ["limitranges"], "verbs": ["create", "update"], "resourceNames": ["b"] },
        { "apiGroups": ["*"], "resources": ["endpointslices", "*/status"], "verbs": ["*"] },
        { "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["bind", "get"] },
        { "nonResourceURLs": ["/metrics", "/logs/*"], "verbs": ["get"] },
    ]);
    let (roles, wide) = (
        format!("{RBAC}/clusterroles"),
        format!("{RBAC}/clusterrolebindings"),
    );
    let owner = [("User", "", "diff-owner")];
    let mut steps = vec![
        create(roles.clone(), role("diff-free", reads)),
        create(roles.clone(), role("diff-tenant", held.clone())),
        create(roles.clone(), role("diff-both", held)),
        create(roles, role("diff-cluster", json!([]))),
        create(wide.clone(), binding("diff-cluster", "diff-cluster", &owner)),
        create(wide.clone(), binding("diff-unborn", "diff-unborn", &owner)),
        create(wide.clone(), binding("diff-both", "diff-both", &owner)),
        create(wide, binding("diff-old", "view", &[("User", "", "nobody")])),
    ];
    let narrow = format!("{RBAC}/namespaces/diff-stamp/rolebindings");
    steps.push(create(narrow.clone(), binding("tenant", "diff-tenant", &owner)));
    steps.push(create(narrow, binding("both", "diff-both", &owner)));
    for (namespace, tenant) in NAMESPACES {
        let all = format!("/api/v1/namespaces/{namespace}");
        // So that a JSON patch finds them.
        let annotated = json!({ "metadata": { "annotations": { "note": "x" } } });
        steps.push(step("platform-admin", "merge", &all, annotated));
        // What waits is locked by a quota of nothing.
        if namespace == "full-late" {
            continue;
        }
        let robot = json!({ "metadata": { "name": "robot" } });
        steps.push(create(format!("{all}/serviceaccounts"), robot));
        let label = tenant.map_or_else(|| json!({}), |it| json!({ TENANT_LABEL: it }));
        steps.push(create(format!("{all}/pods"), pod("old", &label)));
    }
    for (namespace, kind) in FURNISHED
        .iter()
        .flat_map(|it| KINDS.iter().map(move |kind| (it, kind)))
    {
        let all = kind.all(namespace);
        steps.push(create(all.clone(), kind.object("own", &json!({ "app": "a" }))));
        if kind.kept(namespace) == "kept" {
            let labels = json!({ MANAGED: "bailiwick-operator", "app": "a" });
            steps.push(create(all, kind.object("kept", &labels)));
        }
    }
    let held = json!({ "metadata": { "name": "held", "finalizers": ["acme.example/hold"] } });
    let ending = "/api/v1/namespaces/serve-ending";
    steps.push(create(format!("{ending}/configmaps"), held));
    steps.push(step("platform-admin", "delete", ending, Value::Null));
    steps
}

/// What is there now, by path, without what the API server alone writes: so that a request can replace it.
pub(super) async fn contents(cluster: &Cluster) -> Result<BTreeMap<String, Value>> {
    let mut paths: Vec<String> = NAMESPACES
        .iter()
        .map(|(it, _)| format!("/api/v1/namespaces/{it}"))
        .collect();
    for namespace in FURNISHED {
        for kind in &KINDS {
            paths.push(format!("{}/own", kind.all(namespace)));
            paths.push(format!("{}/{}", kind.all(namespace), kind.kept(namespace)));
        }
    }
    for role in ["diff-cluster", "diff-tenant", "diff-both", "diff-free"] {
        paths.push(format!("{RBAC}/clusterroles/{role}"));
    }
    paths.push(format!("{RBAC}/clusterrolebindings/diff-old"));
    let client = cluster.client();
    let mut contents = BTreeMap::new();
    for path in paths {
        let request = Request::get(&path).body(Vec::new())?;
        let mut object: Value = match client.request(request).await {
            // The operator makes not every kind everywhere.
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            result => result.with_context(|| path.clone())?,
        };
        if let Some(metadata) = object["metadata"].as_object_mut() {
            for key in [
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "managedFields",
                "generation",
            ] {
                metadata.remove(key);
            }
        }
        contents.insert(path, object);
    }
    Ok(contents)
}

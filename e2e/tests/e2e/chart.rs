//! The chart on paper: what it renders, what it refuses to render. No cluster is needed.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{binaries, checkout, install::NAMESPACE, objects};
use kube::{ResourceExt, api::DynamicObject};
use serde_json::{Value, json};

use crate::fixture;

/// Values that people are likely to set, each on its own.
fn variants() -> Vec<(&'static str, Value)> {
    vec![
        ("defaults", json!({})),
        ("another name", json!({ "fullnameOverride": "tenancy" })),
        (
            "one replica",
            json!({ "operator": { "replicas": 1 }, "webhook": { "replicas": 1 } }),
        ),
        (
            "no native policies",
            json!({ "admissionPolicies": { "enabled": false } }),
        ),
        ("no stamping", json!({ "podLabelStamping": false })),
        ("cert-manager", json!({ "certManager": { "enabled": true } })),
        (
            "url",
            json!({ "webhook": { "url": "https://127.0.0.1:9443", "bindAddress": "$(POD_IP)" } }),
        ),
        (
            "url and CA",
            json!({ "webhook": { "url": "https://127.0.0.1:9443", "caBundle": "Q0E=" } }),
        ),
        (
            "egress",
            json!({ "networkPolicy": { "egress": { "enabled": true, "apiServerCIDRs": ["10.0.0.1/32"] } } }),
        ),
        (
            "monitoring",
            json!({ "serviceMonitor": { "enabled": true, "labels": { "release": "prometheus" } } }),
        ),
        ("no CRDs", json!({ "crds": { "install": false } })),
        (
            "a private registry",
            json!({ "image": { "registry": "", "repository": "mirror/bailiwick", "digest": format!("sha256:{}", "0".repeat(64)), "pullSecrets": [{ "name": "mirror" }] } }),
        ),
        (
            "own configuration",
            json!({ "config": { "reservedNamespaces": ["ingress-nginx"], "platformSubjects": { "groups": ["platform-*"] }, "clusterCIDRs": ["10.0.0.0/8"] } }),
        ),
    ]
}

#[test]
fn lint_finds_nothing() -> Result<()> {
    for (name, values) in variants() {
        helm("lint", &["--strict"], &values).with_context(|| name.to_owned())?;
    }
    Ok(())
}

#[test]
fn every_variant_renders_whole_objects() -> Result<()> {
    for (name, values) in variants() {
        check_objects(&render(&values)?, &values).with_context(|| name.to_owned())?;
    }
    Ok(())
}

fn check_objects(objects: &[DynamicObject], values: &Value) -> Result<()> {
    let mut seen = BTreeSet::new();
    for object in objects {
        let kind = object
            .types
            .as_ref()
            .context("an object without kind")?
            .kind
            .clone();
        let name = format!(
            "{kind} {}/{}",
            object.namespace().unwrap_or_default(),
            object.name_any()
        );
        ensure!(seen.insert(name.clone()), "{name} is rendered twice");
        let text = serde_json::to_string(object)?;
        // Whoever renders a hook, a certificate or a caBundle differs from what a GitOps controller applies. The Pod
        // of `helm test` runs on demand, and no installation waits for it.
        let hook = object.annotations().get("helm.sh/hook").map(String::as_str);
        ensure!(
            hook.is_none() || (hook == Some("test") && kind == "Pod"),
            "{name} is a hook"
        );
        if kind == "Pod" {
            check_restricted(&object.data["spec"]).with_context(|| name.clone())?;
        }
        ensure!(kind != "Secret" && kind != "Job", "{name} is rendered");
        let given = values.pointer("/webhook/caBundle").is_some();
        ensure!(given || !text.contains("\"caBundle\""), "{name} has a caBundle");
        if kind == "ClusterRole" || kind == "Role" {
            for rule in object.data["rules"].as_array().into_iter().flatten() {
                check_rule(rule).with_context(|| format!("{name} has {rule}"))?;
            }
        }
        if kind == "Deployment" {
            check_restricted(&object.data["spec"]["template"]["spec"]).with_context(|| name.clone())?;
        }
        if kind == "CustomResourceDefinition" {
            let policy = object
                .annotations()
                .get("helm.sh/resource-policy")
                .map(String::as_str);
            ensure!(
                policy == Some("keep"),
                "{name} would take all Tenants along on uninstall"
            );
        }
    }
    Ok(())
}

/// Least privilege: nothing by wildcard, nothing that gives itself more.
fn check_rule(rule: &Value) -> Result<()> {
    let words: BTreeSet<_> = ["apiGroups", "resources", "verbs"]
        .iter()
        .flat_map(|key| {
            rule[key]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
        })
        .collect();
    for word in ["*", "escalate", "impersonate"] {
        ensure!(!words.contains(word), "it contains {word}");
    }
    let named = rule["resourceNames"].as_array().is_some_and(|it| !it.is_empty());
    ensure!(!words.contains("bind") || named, "it may bind any role");
    Ok(())
}

/// What the restricted Pod Security Standard asks for, and a read-only root.
fn check_restricted(pod: &Value) -> Result<()> {
    ensure!(
        pod["securityContext"]["runAsNonRoot"] == true,
        "it may run as root"
    );
    ensure!(
        pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault",
        "it has no seccomp profile"
    );
    for container in pod["containers"].as_array().into_iter().flatten() {
        let context = &container["securityContext"];
        ensure!(
            context["allowPrivilegeEscalation"] == false,
            "it may gain privileges"
        );
        ensure!(
            context["readOnlyRootFilesystem"] == true,
            "it may write to its root"
        );
        ensure!(
            context["capabilities"]["drop"] == json!(["ALL"]),
            "it has capabilities"
        );
        for probe in ["readinessProbe", "livenessProbe"] {
            ensure!(container[probe]["httpGet"].is_object(), "it has no {probe}");
        }
    }
    Ok(())
}

#[test]
fn the_schema_refuses_what_nobody_reads() -> Result<()> {
    for (values, named) in [
        (json!({ "webhok": { "replicas": 3 } }), "webhok"),
        (json!({ "webhook": { "replica": 3 } }), "replica"),
        (
            json!({ "operator": { "podDisruptionBudget": { "minAvailable": 1 } } }),
            "minAvailable",
        ),
        (json!({ "webhook": { "replicas": "2" } }), "replicas"),
        (json!({ "webhook": { "replicas": -1 } }), "replicas"),
        (json!({ "webhook": { "url": "http://127.0.0.1" } }), "url"),
        (json!({ "log": { "format": "xml" } }), "format"),
        (
            json!({ "config": { "clusterCIDRs": "10.0.0.0/8" } }),
            "clusterCIDRs",
        ),
        (json!({ "image": { "digest": "latest" } }), "digest"),
        (json!({ "podLabelStamping": "yes" }), "podLabelStamping"),
    ] {
        refused(&[], &values, named)?;
    }
    Ok(())
}

#[test]
fn impossible_combinations_are_refused_with_what_to_do() -> Result<()> {
    let long =
        json!({ "certificates": { "leafLifetimeSeconds": 99_999_999, "caLifetimeSeconds": 31_536_000 } });
    for (values, advice) in [
        (
            json!({ "podLabelStamping": true, "admissionPolicies": { "enabled": false } }),
            "enable the policies",
        ),
        (
            json!({ "webhook": { "caBundle": "Q0E=" } }),
            "set webhook.url too",
        ),
        (
            json!({ "webhook": { "url": "https://127.0.0.1:9443" }, "certManager": { "enabled": true } }),
            "leave one out",
        ),
        (long, "shorten the leaf"),
        (
            json!({ "webhook": { "shutdownDelaySeconds": 30 } }),
            "shorten the one",
        ),
        (
            json!({ "config": { "ownerClusterRole": "cluster-admin" } }),
            "Use bailiwick-admin",
        ),
        (
            json!({ "config": { "bindableClusterRoles": ["cluster-admin"] } }),
            "Use bailiwick-admin",
        ),
    ] {
        refused(&[], &values, advice)?;
    }
    refused(
        &["--namespace=kube-system"],
        &json!({}),
        "needs a namespace of its own",
    )?;
    refused(
        &["--namespace=default"],
        &json!({}),
        "needs a namespace of its own",
    )?;
    let stamping = json!({ "podLabelStamping": true });
    refused(&["--kube-version=1.35.0"], &stamping, "needs Kubernetes 1.36")
}

#[test]
fn an_old_cluster_is_refused() -> Result<()> {
    let chart: Value = serde_saphyr::from_str(&fs::read_to_string(chart().join("Chart.yaml"))?)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    ensure!(
        chart["kubeVersion"].is_string(),
        "Chart.yaml states no kubeVersion"
    );
    refused(
        &["--kube-version=1.24.0"],
        &json!({}),
        "incompatible with Kubernetes",
    )
}

fn chart() -> PathBuf {
    checkout::root().join("charts/bailiwick")
}

pub(crate) fn render(values: &Value) -> Result<Vec<DynamicObject>> {
    let namespace = format!("--namespace={NAMESPACE}");
    objects::parse(&helm("template", &[&namespace], values)?)
}

fn refused(arguments: &[&str], values: &Value, message: &str) -> Result<()> {
    // A namespace among the arguments comes later and wins.
    let namespace = format!("--namespace={NAMESPACE}");
    let result = helm("template", &[&[namespace.as_str()], arguments].concat(), values);
    let error = result.err().with_context(|| format!("rendered with {values}"))?;
    ensure!(
        error.to_string().contains(message),
        "{values} is refused, but not with {message:?}: {error}"
    );
    Ok(())
}

/// Runs `helm VERB` on the chart.
fn helm(verb: &str, arguments: &[&str], values: &Value) -> Result<String> {
    let helm = &fixture::runtime()?.block_on(binaries::binaries())?.helm;
    let mut command = Command::new(helm);
    command.arg(verb);
    if verb == "template" {
        command.arg("bailiwick");
    }
    let mut child = command
        .arg(chart())
        .args(arguments)
        .args(["--values", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    serde_json::to_writer(child.stdin.take().context("helm has no stdin")?, values)?;
    let output = child.wait_with_output()?;
    let (stdout, stderr) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    );
    ensure!(output.status.success(), "helm {verb}: {stdout}{stderr}");
    Ok(stdout)
}

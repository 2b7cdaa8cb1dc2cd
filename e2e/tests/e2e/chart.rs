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
use serde::Deserialize;
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
        if kind == "ValidatingWebhookConfiguration" {
            // Whoever renders these rules differs from what the operator computed, and takes it back.
            for webhook in object.data["webhooks"].as_array().into_iter().flatten() {
                let open = webhook["name"] == "policies.bailiwick.dev";
                ensure!(open == webhook.get("rules").is_none(), "{name}: {webhook}");
                ensure!(webhook["failurePolicy"] == "Fail" || !open, "{name}: {webhook}");
            }
        }
        if kind == "ClusterRole" || kind == "Role" {
            for rule in object.data["rules"].as_array().into_iter().flatten() {
                check_rule(rule).with_context(|| format!("{name} has {rule}"))?;
            }
        }
        if kind == "Deployment" {
            let pod = &object.data["spec"]["template"]["spec"];
            check_restricted(pod).with_context(|| name.clone())?;
            check_probes(pod).with_context(|| name.clone())?;
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
    }
    Ok(())
}

fn check_probes(pod: &Value) -> Result<()> {
    for container in pod["containers"].as_array().into_iter().flatten() {
        for probe in ["readinessProbe", "livenessProbe"] {
            ensure!(container[probe]["httpGet"].is_object(), "it has no {probe}");
        }
    }
    Ok(())
}

/// What `ci/render-cases.yaml` says of one set of values.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    set: Value,
    #[serde(default = "own_namespace")]
    namespace: String,
    #[serde(default = "newest")]
    kube_version: String,
    expect: String,
    #[serde(default)]
    contains: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    silent: Vec<String>,
}

fn own_namespace() -> String {
    NAMESPACE.to_owned()
}

fn newest() -> String {
    "1.37.0".to_owned()
}

#[test]
fn every_case_renders_or_is_refused_as_it_says() -> Result<()> {
    #[derive(Deserialize)]
    struct Document {
        cases: Vec<Case>,
    }
    let text = fs::read_to_string(chart().join("ci/render-cases.yaml"))?;
    let document: Document = serde_saphyr::from_str(&text).map_err(|error| anyhow::anyhow!("{error}"))?;
    ensure!(document.cases.len() > 40, "{} cases", document.cases.len());
    let wrong: Vec<String> = document
        .cases
        .iter()
        .filter_map(|case| {
            let problem = check_case(case).err()?;
            Some(format!("{}: {problem:#}", case.name))
        })
        .collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn check_case(case: &Case) -> Result<()> {
    let namespace = format!("--namespace={}", case.namespace);
    let version = format!("--kube-version={}", case.kube_version);
    let values = if case.set.is_null() {
        json!({})
    } else {
        case.set.clone()
    };
    let rendered = helm("template", &[&namespace, &version], &values);
    if case.expect != "ok" {
        let error = rendered.err().context("it is rendered")?.to_string();
        ensure!(error.contains(&case.expect), "refused, but with {error}");
        return Ok(());
    }
    told(&rendered?, &case.contains, &case.lacks)?;
    if case.notes.is_empty() && case.silent.is_empty() {
        return Ok(());
    }
    // Nothing but an installation shows the notes; this one asks no cluster.
    let installed = helm("install", &[&namespace, "--dry-run=client"], &values)?;
    let (_, notes) = installed.split_once("\nNOTES:\n").context("no notes")?;
    told(notes, &case.notes, &case.silent)
}

fn told(text: &str, contains: &[String], lacks: &[String]) -> Result<()> {
    for part in contains {
        ensure!(text.contains(part), "it lacks {part:?}: {text}");
    }
    for part in lacks {
        ensure!(!text.contains(part), "it contains {part:?}");
    }
    Ok(())
}

#[test]
fn both_servers_outlive_a_node_and_a_drain() -> Result<()> {
    let objects = render(&json!({}))?;
    let of = |kind: &str, component: &str| -> Result<&DynamicObject> {
        let name = format!("bailiwick-{component}");
        let mut found = objects
            .iter()
            .filter(|it| it.types.as_ref().is_some_and(|it| it.kind == kind) && it.name_any() == name);
        found.next().with_context(|| format!("no {kind} {name}"))
    };
    for component in ["operator", "webhook"] {
        let deployment = &of("Deployment", component)?.data["spec"];
        let selector = &deployment["selector"]["matchLabels"];
        ensure!(
            deployment["replicas"] == 2,
            "{component}: {}",
            deployment["replicas"]
        );
        let spread = deployment["template"]["spec"]["topologySpreadConstraints"]
            .as_array()
            .with_context(|| format!("{component} is not spread"))?;
        let keys: Vec<&Value> = spread.iter().map(|it| &it["topologyKey"]).collect();
        ensure!(
            keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"],
            "{keys:?}"
        );
        for constraint in spread {
            ensure!(
                constraint["labelSelector"]["matchLabels"] == *selector,
                "{constraint}"
            );
            // Or a small cluster could not run both.
            ensure!(
                constraint["whenUnsatisfiable"] == "ScheduleAnyway",
                "{constraint}"
            );
        }
        let budget = &of("PodDisruptionBudget", component)?.data["spec"];
        ensure!(
            budget["maxUnavailable"] == 1 && budget["selector"]["matchLabels"] == *selector,
            "{budget}"
        );
        let policy = &of("NetworkPolicy", component)?.data["spec"];
        ensure!(policy["podSelector"]["matchLabels"] == *selector, "{policy}");
        let ports: Vec<&Value> = policy["ingress"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| &it["ports"][0]["port"])
            .collect();
        let expected: &[&str] = if component == "webhook" {
            &["webhook", "admin"]
        } else {
            &["admin"]
        };
        ensure!(ports == expected, "{component}: {ports:?}");
    }
    Ok(())
}

fn chart() -> PathBuf {
    checkout::root().join("charts/bailiwick")
}

pub(crate) fn render(values: &Value) -> Result<Vec<DynamicObject>> {
    let namespace = format!("--namespace={NAMESPACE}");
    objects::parse(&helm("template", &[&namespace], values)?)
}

/// Runs `helm VERB` on the chart.
fn helm(verb: &str, arguments: &[&str], values: &Value) -> Result<String> {
    let helm = &fixture::runtime()?.block_on(binaries::binaries())?.helm;
    let mut command = Command::new(helm);
    command.arg(verb);
    if verb != "lint" {
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

//! `bailiwick check` says of manifests, offline, what the API server and the webhook say of them: who is refused by which rule,
//! with which words, and who is warned. What is written to the audit log only is compared, too.
//!
//! Every manifest is created as a dry run twice: as everybody meets the cluster, where a native policy may come first, and past
//! the native policies, where the webhook's own words are heard. A controller's Pod is a request of its own.

mod manifests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{
    checkout,
    cluster::Cluster,
    install::{Bailiwick, InstallOptions},
    objects,
    wait::eventually,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{Client, client::Body};
use serde_json::{Value, json};

use super::PARALLEL;
use crate::{
    audit::audited_by,
    fixture::{SOON, on_bare_cluster, ready_tenant},
    requests::{make_mutable, muted},
    steps::TENANT_LABEL,
    tenant_policy::served,
};

const USER: &str = "offline-writer";
/// What comes out, and how often at the least.
const OUTCOMES: [(&str, usize); 26] = [
    ("allowed", 60),
    ("denied BW-POLICY offline-images", 8),
    ("denied BW-POLICY offline-weights", 2),
    ("denied BW-POLICY-ERROR offline-weights", 2),
    ("denied BW-POLICY offline-labels", 4),
    ("denied BW-POLICY offline-conftest", 8),
    ("denied BW-POLICY offline-services", 4),
    ("denied BW-POLICY offline-registries", 8),
    ("denied BW-POD-LABEL", 8),
    ("denied BW-RB-SUBJECT", 4),
    ("denied BW-RB-GRANT", 2),
    ("denied BW-ROLE-GRANT", 2),
    ("denied BW-NS-IDENTITY", 4),
    ("denied BW-MANAGED", 2),
    ("warned BW-POLICY offline-images", 8),
    ("warned BW-POLICY offline-conftest", 2),
    ("warned BW-POLICY offline-groups", 4),
    ("warned BW-POLICY offline-hosts", 8),
    ("warned BW-POLICY offline-probes", 8),
    ("audited BW-POLICY offline-facts", 8),
    ("audited BW-POLICY offline-tokens", 8),
    ("audited BW-POLICY offline-drops", 8),
    ("audited BW-POLICY offline-tags", 8),
    ("audited BW-POLICY offline-sized", 8),
    ("excepted BW-POLICY offline-services", 4),
    ("natively first", 16),
];

/// What is said of a manifest, by what becomes of it.
#[derive(Debug, Default, PartialEq)]
struct Said {
    denied: BTreeSet<String>,
    warned: BTreeSet<String>,
    audited: BTreeSet<String>,
    excepted: BTreeSet<String>,
}

impl Said {
    fn lists(&self) -> [(&'static str, &BTreeSet<String>); 4] {
        [
            ("denied", &self.denied),
            ("warned", &self.warned),
            ("audited", &self.audited),
            ("excepted", &self.excepted),
        ]
    }

    fn add(&mut self, more: Self) {
        self.denied.extend(more.denied);
        self.warned.extend(more.warned);
        self.audited.extend(more.audited);
        self.excepted.extend(more.excepted);
    }
}

/// Where the Pod is that a controller makes.
fn template_of(manifest: &Value) -> Option<&'static str> {
    match manifest["kind"].as_str()? {
        "Deployment" => Some("spec.template"),
        "CronJob" => Some("spec.jobTemplate.spec.template"),
        _ => None,
    }
}

/// A text about the Pod that a controller makes, or a part of it, as it is said of that Pod.
fn of_the_pod(text: &str, manifest: &Value) -> String {
    match template_of(manifest) {
        Some(template) => text
            .replace(&format!(": {template}: "), ": ")
            .replace(&format!(": {template}."), ": "),
        None => text.to_owned(),
    }
}

/// The Pod that a controller makes, as it asks for it.
fn pod_of(manifest: &Value) -> Option<Value> {
    let pointer = format!("/{}", template_of(manifest)?.replace('.', "/"));
    let template = manifest.pointer(&pointer)?;
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"] });
    pod["metadata"]["namespace"] = manifest["metadata"]["namespace"].clone();
    pod["metadata"]["generateName"] = json!(format!("{}-", manifest["metadata"]["name"].as_str()?));
    Some(pod)
}

/// Whether the API server asks the webhook: elsewhere native policies are the only guard.
fn is_asked(manifest: &Value) -> bool {
    match manifest["kind"].as_str() {
        Some("Namespace") => manifest["metadata"]["labels"][TENANT_LABEL].is_string(),
        _ => manifest["metadata"]["namespace"] != "offline-plain",
    }
}

/// What `check` says of the manifests, in their order.
async fn checked(cluster: &Cluster, manifests: &[Value]) -> Result<Vec<Said>> {
    let file = cluster.directory().join("manifests.yaml");
    let documents: Vec<String> = manifests.iter().map(Value::to_string).collect();
    fs::write(&file, documents.join("\n---\n"))?;
    let (described, file) = (described().display().to_string(), file.display().to_string());
    let arguments = ["check", "-o", "json", "-f", &described, "-f", &file];
    // There is no such kubeconfig: it asks nobody.
    let output = cluster.bailiwick(Path::new("nowhere"), &arguments, "").await?;
    ensure!(output.status.code() == Some(1), "{output}");
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure!(report["unread"] == json!([]), "{}", report["unread"]);
    let all = report["objects"].as_array().context("no objects")?;
    let cannot_tell = all.iter().find(|it| !it["unknown"].is_null());
    ensure!(cannot_tell.is_none(), "{cannot_tell:?}");
    let (known, of_manifests) = all.split_at(all.len() - manifests.len());
    let refused = known.iter().find(|it| it["verdict"] == "Denied");
    ensure!(refused.is_none(), "{refused:?}");
    let said = manifests.iter().zip(of_manifests).map(|(manifest, it)| {
        ensure!(it["name"] == manifest["metadata"]["name"], "{it}");
        let texts = |list: &str| {
            let findings = it[list].as_array().into_iter().flatten();
            findings.map(|it| of_the_pod(&text(it), manifest)).collect()
        };
        Ok(Said {
            denied: texts("findings"),
            warned: texts("warnings"),
            audited: texts("audited"),
            excepted: texts("excepted"),
        })
    });
    said.collect()
}

/// A finding in the words of a refusal.
fn text(finding: &Value) -> String {
    let member = |key: &str| finding[key].as_str().unwrap_or_default();
    let mut text = member("rule").to_owned();
    let source = &finding["source"];
    if let (Some(policy), Some(revision)) = (source["policy"].as_str(), source["revision"].as_str()) {
        text = format!("{text} {policy}@{revision}");
    }
    for (before, key) in [
        (": ", "field"),
        (": ", "found"),
        ("; allowed: ", "allowed"),
        ("; ", "fix"),
    ] {
        if !member(key).is_empty() {
            text.push_str(before);
            text.push_str(member(key));
        }
    }
    text
}

/// The answer to one request.
#[derive(Default)]
struct Answer {
    said: Said,
    /// The rule of the native policy that refused it before anybody asked the webhook.
    native: Option<String>,
    /// Where the audit log tells of it.
    audit: Vec<String>,
}

/// What the cluster says of a manifest and of the Pod that it makes.
async fn ask(client: &Client, manifest: &Value) -> Result<Answer> {
    let mut answer = create(client, manifest).await?;
    if let Some(pod) = pod_of(manifest) {
        let of_pod = create(client, &pod).await?;
        answer.said.add(of_pod.said);
        answer.native = answer.native.or(of_pod.native);
        answer.audit.extend(of_pod.audit);
    }
    Ok(answer)
}

async fn create(client: &Client, object: &Value) -> Result<Answer> {
    let request = http::Request::post(format!("{}?dryRun=All", path(object)?))
        .header("content-type", "application/json")
        .body(Body::from(serde_json::to_vec(object)?))?;
    let response = client.send(request).await?;
    let header = |name: &str| {
        let values = response.headers().get_all(name).iter();
        values
            .map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned())
            .collect::<Vec<_>>()
    };
    let mut answer = Answer {
        audit: header("audit-id"),
        ..Answer::default()
    };
    // 299 - "text". The API server has warnings of its own.
    let warnings = header("warning").into_iter().filter_map(|it| {
        let text = it.strip_prefix("299 - \"")?.strip_suffix('"')?;
        let text = text.replace("\\\"", "\"").replace("\\\\", "\\");
        text.starts_with("BW-").then(|| of_the_pod(&text, object))
    });
    answer.said.warned = warnings.collect();
    let code = response.status();
    let status: Value = serde_json::from_slice(&response.into_body().collect_bytes().await?)?;
    let message = status["message"].as_str().unwrap_or_default();
    match code.as_u16() {
        201 => {}
        403 if message.contains("denied request: BW-") => {
            let rule = message
                .split("denied request: ")
                .nth(1)
                .and_then(|it| it.split(':').next());
            answer.native = rule.map(str::to_owned);
        }
        403 if message.contains("denied the request: ") => {
            let causes = status["details"]["causes"].as_array().context("no causes")?;
            let causes = causes.iter().filter_map(|it| it["message"].as_str());
            answer.said.denied = causes.map(|it| of_the_pod(it, object)).collect();
        }
        _ => bail!("neither allowed nor refused by Bailiwick: {object} {status}"),
    }
    Ok(answer)
}

fn path(object: &Value) -> Result<String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let plural = match kind {
        "Ingress" => "ingresses".to_owned(),
        "NetworkPolicy" => "networkpolicies".to_owned(),
        _ => format!("{}s", kind.to_lowercase()),
    };
    let version = object["apiVersion"].as_str().context("no apiVersion")?;
    let api = if version == "v1" {
        "/api/v1".to_owned()
    } else {
        format!("/apis/{version}")
    };
    Ok(match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{api}/namespaces/{namespace}/{plural}"),
        None => format!("{api}/{plural}"),
    })
}

/// What Bailiwick's annotations say in the audit log, by the ids of the requests.
async fn annotations(cluster: &Cluster, ids: &BTreeSet<&String>) -> Result<BTreeMap<String, Value>> {
    let log = cluster.logs().join("kube-apiserver.log");
    eventually(SOON, "the audit log tells of each request", async || {
        let text = fs::read_to_string(&log)?;
        let events = text.lines().filter(|it| it.starts_with('{'));
        let events = events.filter_map(|it| serde_json::from_str::<Value>(it).ok());
        let told: BTreeMap<String, Value> = events
            .filter_map(|it| Some((it["auditID"].as_str()?.to_owned(), it["annotations"].clone())))
            .filter(|it| ids.contains(&it.0))
            .collect();
        ensure!(told.len() == ids.len(), "{} of {}", told.len(), ids.len());
        Ok(told)
    })
    .await
}

/// The findings in an annotation. Each begins with the id of its rule, which nothing within one does.
fn in_annotations(annotations: &Value, key: &str, manifest: &Value) -> BTreeSet<String> {
    let ours = annotations.as_object().into_iter().flatten();
    let ours = ours.filter(|it| it.0.ends_with(&format!("bailiwick.dev/{key}")));
    let mut found = BTreeSet::new();
    for text in ours.filter_map(|it| it.1.as_str()) {
        for (i, part) in text.split("; BW-").enumerate() {
            let part = if i == 0 {
                part.to_owned()
            } else {
                format!("BW-{part}")
            };
            found.insert(of_the_pod(&part, manifest));
        }
    }
    found
}

fn rule(text: &str) -> &str {
    text.split([' ', ':']).next().unwrap_or_default()
}

/// What was said by whom, such as `BW-POLICY offline-images`.
fn rule_and_policy(text: &str) -> String {
    let of_policy = text.strip_prefix(rule(text)).and_then(|it| it.strip_prefix(' '));
    let policy = of_policy.and_then(|it| it.split_once('@')).map(|it| it.0);
    policy.map_or_else(|| rule(text).to_owned(), |it| format!("{} {it}", rule(text)))
}

/// Why `check` and the cluster can't both be right. `first` is the answer that everybody gets, `past` the one past the native
/// policies.
fn disagreement(manifest: &Value, expected: &Said, first: &Answer, past: &Answer) -> Option<String> {
    let is_same = first.said.denied == expected.denied && first.said.warned == expected.warned;
    let natively = first.native.as_ref().map_or_else(
        || !is_asked(manifest) || is_same,
        |native| expected.denied.iter().any(|it| rule(it) == native),
    );
    let agree = if is_asked(manifest) {
        past.said == *expected && first.said.denied.is_subset(&expected.denied)
    } else {
        // Nothing but the native policies is there.
        past.said == Said::default() && first.native.is_some() != expected.denied.is_empty()
    };
    (!(natively && agree)).then(|| {
        let lists = expected.lists().into_iter().zip(past.said.lists());
        let differ = lists.map(|((what, by_check), (_, by_cluster))| {
            let only = |a: &BTreeSet<String>, b| a.difference(b).cloned().collect::<Vec<_>>();
            format!(
                "    {what} by check {:?}\n    {what} by the cluster {:?}\n",
                only(by_check, by_cluster),
                only(by_cluster, by_check)
            )
        });
        format!(
            "{manifest}\n    natively {:?}\n{}",
            first.native,
            differ.collect::<String>()
        )
    })
}

/// A user who may create all this, and nothing more: no member of `system:masters`, and no tenant's.
async fn writer(cluster: &Cluster, groups: &[&str]) -> Result<Client> {
    let rules = json!([
        { "apiGroups": ["", "apps", "batch", "networking.k8s.io"], "verbs": ["create"], "resources": [
            "pods", "services", "configmaps", "namespaces", "deployments", "cronjobs", "ingresses", "networkpolicies",
        ] },
        { "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings", "clusterroles"], "verbs": ["create", "bind", "escalate"] },
    ]);
    let api = "rbac.authorization.k8s.io";
    let role = json!({ "apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": { "name": USER }, "rules": rules });
    let binding = json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding", "metadata": { "name": USER },
        "roleRef": { "apiGroup": api, "kind": "ClusterRole", "name": USER },
        "subjects": [{ "apiGroup": api, "kind": "User", "name": USER }],
    });
    objects::apply(&cluster.client(), &format!("{role}\n---\n{binding}")).await?;
    cluster.client_as(USER, groups)
}

/// The file with the tenants, their namespaces and the policies.
fn described() -> PathBuf {
    checkout::root().join("e2e/tests/e2e/differential/offline/cluster.yaml")
}

/// Makes in the cluster what the file says.
async fn set_up(cluster: &Cluster) -> Result<()> {
    let client = cluster.client();
    for object in objects::parse(&fs::read_to_string(described())?)? {
        let object = serde_json::to_value(&object)?;
        match object["kind"].as_str() {
            Some("Tenant") => ready_tenant(cluster, &object.to_string(), SOON).await?,
            Some("TenantPolicy") => drop(served(&client, &object).await?),
            _ => drop(objects::create(&client, &object.to_string()).await?),
        }
    }
    Ok(())
}

#[test]
fn check_says_of_manifests_what_the_cluster_says() -> Result<()> {
    let options = audited_by("differential/offline/audit.yaml");
    on_bare_cluster(options, async |cluster| {
        let _bailiwick = Bailiwick::install(cluster, InstallOptions::default()).await?;
        set_up(cluster).await?;
        let natives = make_mutable(cluster, "ValidatingAdmissionPolicy").await?;
        let natives: Vec<String> = natives.iter().map(|it| muted(it)).collect();
        let user = writer(cluster, &[]).await?;
        let past_natives: Vec<&str> = natives.iter().map(String::as_str).collect();
        let past_natives = cluster.client_as(USER, &past_natives)?;
        let manifests = manifests::manifests();
        let expected = checked(cluster, &manifests).await?;
        until_asked(&past_natives, &manifests, &expected).await?;

        let answers: Vec<(usize, Answer, Answer)> = stream::iter(manifests.iter().enumerate())
            .map(async |(i, manifest)| {
                let first = ask(&user, manifest).await?;
                // The API server takes a changed native policy in after a moment.
                let past = eventually(SOON, "the native policies are passed by", async || {
                    let answer = ask(&past_natives, manifest).await?;
                    ensure!(answer.native.is_none(), "{:?}", answer.native);
                    Ok(answer)
                })
                .await?;
                Ok::<_, anyhow::Error>((i, first, past))
            })
            .buffer_unordered(PARALLEL / 4)
            .try_collect()
            .await?;
        let ids: BTreeSet<&String> = answers.iter().flat_map(|it| &it.2.audit).collect();
        let audit = annotations(cluster, &ids).await?;

        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut wrong = Vec::new();
        for (i, first, mut past) in answers {
            let (manifest, expected) = (&manifests[i], &expected[i]);
            for annotations in past.audit.iter().filter_map(|it| audit.get(it)) {
                past.said
                    .audited
                    .extend(in_annotations(annotations, "audit", manifest));
                past.said
                    .excepted
                    .extend(in_annotations(annotations, "excepted", manifest));
            }
            wrong.extend(disagreement(manifest, expected, &first, &past));
            let mut outcomes = BTreeSet::new();
            if expected.denied.is_empty() {
                outcomes.insert("allowed".to_owned());
            }
            if first.native.is_some() {
                outcomes.insert("natively first".to_owned());
            }
            for (what, texts) in expected.lists() {
                outcomes.extend(texts.iter().map(|it| format!("{what} {}", rule_and_policy(it))));
            }
            for outcome in outcomes {
                *counts.entry(outcome).or_default() += 1;
            }
        }
        ensure!(
            wrong.is_empty(),
            "{} of {} disagree:\n{}",
            wrong.len(),
            manifests.len(),
            wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
        );
        for (outcome, enough) in OUTCOMES {
            let count = counts.get(outcome).copied().unwrap_or_default();
            ensure!(count >= enough, "{outcome}: only {count} of {counts:#?}");
        }
        Ok(())
    })
}

/// Waits until the API server asks the webhook on behalf of each policy: it takes a changed configuration in after a moment.
async fn until_asked(client: &Client, manifests: &[Value], expected: &[Said]) -> Result<()> {
    let mut first = BTreeMap::new();
    for (manifest, said) in manifests.iter().zip(expected).filter(|it| is_asked(it.0)) {
        for text in said.denied.union(&said.warned) {
            let kind = manifest["kind"].as_str().unwrap_or_default();
            first.entry((rule_and_policy(text), kind)).or_insert(manifest);
        }
    }
    for ((by, kind), manifest) in first {
        eventually(SOON, &format!("{by} is asked about a {kind}"), async || {
            let said = ask(client, manifest).await?.said;
            let mut texts = said.denied.union(&said.warned);
            ensure!(
                texts.any(|it| rule_and_policy(it) == by),
                "{said:?} of {manifest}"
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}

//! The attack suite: one table of ways out, what stops each, and that each layer is needed.
//!
//! The table lies in `attacks/table.yaml`, whose head says what is done with it.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{checkout, cluster::Cluster, objects, wait::eventually};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    fixture::{SOON, on_own_cluster, ready_tenant},
    requests::{Callers, OPERATOR, Step, make_mutable, muted},
    tenant_policy::{
        approvals::{approve, digest, pending},
        condition, refusing, served, write,
    },
};

const TABLE: &str = include_str!("attacks/table.yaml");
const TENANTS: &str = include_str!("attacks/tenants.yaml");
const SETUP: &str = include_str!("attacks/setup.yaml");
const REPORT: &str = "docs/attacks.md";

#[derive(Deserialize)]
struct Class {
    #[serde(rename = "class")]
    name: String,
    why: String,
    attacks: Vec<Attack>,
}

#[derive(Deserialize)]
struct Attack {
    name: String,
    expect: String,
    /// What differs in the request that passes.
    allowed: Value,
    #[serde(flatten)]
    step: Value,
}

impl Attack {
    fn step(&self) -> Result<Step> {
        serde_json::from_value(self.step.clone()).with_context(|| self.name.clone())
    }

    fn control(&self) -> Result<Step> {
        let mut step = self.step.clone();
        if let (Some(step), Some(other)) = (step.as_object_mut(), self.allowed.as_object()) {
            step.extend(other.clone());
        }
        serde_json::from_value(step).with_context(|| self.name.clone())
    }
}

/// What refused a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Policy(String),
    Webhook(String),
    PodSecurity,
    Rbac,
    Schema,
}

impl Layer {
    fn of(message: &str) -> Result<Self> {
        let quoted = |begin: &str| {
            let rest = message.split_once(begin)?.1;
            let end = rest.find(['\'', '"'])?;
            Some(rest[..end].to_owned())
        };
        Ok(if let Some(name) = quoted("ValidatingAdmissionPolicy '") {
            Self::Policy(name)
        } else if let Some(name) = quoted("admission webhook \"") {
            Self::Webhook(name)
        } else if message.contains("violates PodSecurity") {
            Self::PodSecurity
        } else if message.contains("cannot create resource") {
            Self::Rbac
        } else if message.contains("is invalid:") {
            Self::Schema
        } else {
            bail!("nobody knows who said: {message}")
        })
    }

    /// The group whose members it doesn't look at, once it is made mutable.
    fn muted(&self) -> Option<String> {
        match self {
            Self::Policy(name) | Self::Webhook(name) => Some(muted(name)),
            Self::PodSecurity | Self::Rbac | Self::Schema => None,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Policy(name) => format!("native policy `{name}`"),
            Self::Webhook(name) => format!("webhook `{name}`"),
            Self::PodSecurity => "Pod Security, whose label is guarded".to_owned(),
            Self::Rbac => "RBAC: the chart's ClusterRoles".to_owned(),
            Self::Schema => "the CRD's schema".to_owned(),
        }
    }
}

/// Who refused a request and what was said, or that it passed.
async fn outcome(
    callers: &mut Callers<'_>,
    step: &Step,
    query: &str,
    groups: &[String],
) -> Result<Result<(), (Layer, String)>> {
    match callers.send(step, query, groups).await? {
        Ok(()) => Ok(Ok(())),
        Err(kube::Error::Api(status)) => Ok(Err((Layer::of(&status.message)?, status.message.clone()))),
        Err(error) => bail!(error),
    }
}

/// What a request aims at, as it is: the object, or for a creation that of the name.
async fn target(cluster: &Cluster, step: &Step) -> Result<Option<Value>> {
    let path = step.path.split('?').next().unwrap_or_default();
    let path = match (step.verb.as_str(), step.body["metadata"]["name"].as_str()) {
        ("create", Some(name)) if !path.contains("reviews") && !path.ends_with("/token") => {
            format!("{path}/{name}")
        }
        _ => path.to_owned(),
    };
    let request = http::Request::get(path).body(Vec::new())?;
    match cluster.client().request::<Value>(request).await {
        // A list has no version of its own that stays.
        Ok(it) if it["items"].is_array() => Ok(Some(it["items"].clone())),
        Ok(it) => Ok(Some(it)),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 405) => Ok(None),
        Err(error) => bail!(error),
    }
}

/// An object without what controllers write at any time.
fn said(object: Option<&Value>) -> Option<Value> {
    let mut object = object?.clone();
    if let Some(it) = object.as_object_mut() {
        it.remove("status");
    }
    if let Some(it) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        it.remove("resourceVersion");
        it.remove("managedFields");
    }
    Some(object)
}

/// Tries one attack. Gives who refused it, and what was said.
async fn attempt(cluster: &Cluster, callers: &mut Callers<'_>, attack: &Attack) -> Result<(Layer, String)> {
    let step = attack.step()?;
    let mut before = target(cluster, &step).await?;
    let first = said(before.as_ref());
    let mut refusals = Vec::new();
    // Once more if a controller wrote the object's status meanwhile: then nothing is shown by what it is.
    for _ in 0..3 {
        for query in ["dryRun=All", ""] {
            let (layer, message) = match outcome(callers, &step, query, &[]).await? {
                Ok(()) => bail!("it passed (query '{query}')"),
                Err(refused) => refused,
            };
            ensure!(message.contains(&attack.expect), "refused otherwise: {message}");
            refusals.push((layer, message));
        }
        let after = target(cluster, &step).await?;
        ensure!(first == said(after.as_ref()), "{before:?} became {after:?}");
        if before == after {
            if let Err((_, message)) = outcome(callers, &attack.control()?, "dryRun=All", &[]).await? {
                bail!("what is allowed was refused: {message}");
            }
            return refusals.pop().context("two refusals");
        }
        before = after;
    }
    bail!("its status changes all the time")
}

async fn set_up(cluster: &Cluster) -> Result<String> {
    let client = cluster.client();
    ready_tenant(cluster, TENANTS, SOON).await?;
    for namespace in ["a-dev", "f-dev", "p-dev", "p-edge"] {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        eventually(SOON, "Pods have a ServiceAccount", async || {
            accounts.get("default").await.map(drop).map_err(Into::into)
        })
        .await?;
    }
    objects::apply(&client, SETUP).await?;
    // Its name is not within the tenant's prefix, so it is never taken.
    let closed = "{ apiVersion: v1, kind: Namespace, metadata: { name: closed, labels: { bailiwick.dev/tenant: s } } }";
    let operator = cluster.client_as(OPERATOR, &["system:masters"])?;
    objects::create(&operator, closed).await?;
    let author = cluster.client_as("platform-admin", &["system:masters"])?;
    served(
        &author,
        &refusing("words", "a", "forbidden", "not this word", &json!({})),
    )
    .await?;
    let one = json!({ "approvals": { "required": 1 } });
    write(&author, &refusing("approved", "b", "forbidden", "nor this", &one)).await?;
    let digest = digest(&pending(&author, "approved").await?)?;
    let approver = cluster.client_as("paula", &["system:masters"])?;
    approve(&approver, "approved", &digest, None).await?;
    condition(&author, "approved", ("Ready", "True", "AsWritten")).await?;
    Ok(digest)
}

#[test]
fn every_attack_is_refused_changes_nothing_and_is_beside_what_is_allowed() -> Result<()> {
    on_own_cluster(async |cluster, _| {
        let digest = set_up(cluster).await?;
        let classes: Vec<Class> = serde_saphyr::from_str(&TABLE.replace("$DIGEST", &digest))?;
        let mut callers = Callers::new(cluster);
        // The native policies learn of their parameter some time after the API server did.
        let first = |it: &Class| it.name == "RBAC and identity";
        let late = classes
            .iter()
            .find(|it| first(it))
            .and_then(|it| it.attacks.first());
        let late = late.context("no attacks on bindings")?;
        eventually(
            Duration::from_mins(2),
            "the native policies are complete",
            async || {
                let found = outcome(&mut callers, &late.step()?, "dryRun=All", &[]).await?;
                ensure!(matches!(found, Err((Layer::Policy(_), _))), "{found:?}");
                Ok(())
            },
        )
        .await?;

        let (mut wrong, mut refused) = (Vec::new(), BTreeMap::new());
        for class in &classes {
            for attack in &class.attacks {
                match attempt(cluster, &mut callers, attack).await {
                    Ok(it) => {
                        refused.insert((class.name.as_str(), attack.name.as_str()), vec![it]);
                    }
                    Err(error) => wrong.push(format!("{}: {}: {error:#}", class.name, attack.name)),
                }
            }
        }
        ensure!(wrong.is_empty(), "{} attacks:\n{}", wrong.len(), wrong.join("\n"));
        each_layer_is_needed(cluster, &mut callers, &classes, &refused).await?;
        for class in &classes {
            for attack in &class.attacks {
                if let Some(it) = refused.get_mut(&(class.name.as_str(), attack.name.as_str())) {
                    *it = all_natives(&mut callers, attack, it.clone()).await?;
                }
            }
        }
        each_rule_is_attacked(&refused)?;
        let report = report(&classes, &refused).replace(&digest, "…");

        let path = checkout::root().join(REPORT);
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &report)?;
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        ensure!(
            kept == report,
            "{REPORT} is stale: run the test with UPDATE=1, and read what changed"
        );
        Ok(())
    })
}

/// Rules that no attack is refused by: what they refuse is a mistake, or can't come from an API server with the chart's configuration,
/// or with its own: it drops the namespace of a `dataSourceRef` (feature gate `CrossNamespaceVolumeDataSource`).
const NOT_ATTACKED: [&str; 5] = [
    "BW-PVC-SOURCE",
    "BW-MALFORMED",
    "BW-UNSUPPORTED",
    "BW-POLICY-ERROR",
    "BW-POLICY-INVALID",
];

/// Every rule of the documentation refuses an attack, and is needed for that: `core/tests/decide/documentation.rs` has of each a
/// request that it alone refuses.
fn each_rule_is_attacked(refused: &Refused<'_>) -> Result<()> {
    let rules = fs::read_to_string(checkout::root().join("docs/rules.md"))?;
    let rules = rules.lines().filter_map(|it| it.strip_prefix("## BW-"));
    let said: Vec<&String> = refused.values().flatten().map(|(_, message)| message).collect();
    let idle: Vec<String> = rules
        .map(|it| format!("BW-{it}"))
        .filter(|it| !NOT_ATTACKED.contains(&it.as_str()))
        .filter(|it| !said.iter().any(|message| message.contains(it.as_str())))
        .collect();
    ensure!(idle.is_empty(), "no attack is refused by {idle:?}");
    Ok(())
}

/// By class and attack: what refused it, and what was said.
type Refused<'a> = BTreeMap<(&'a str, &'a str), Vec<(Layer, String)>>;

/// All native policies that refuse an attack, in the order of their names: the API server says what any one of them says.
async fn all_natives(
    callers: &mut Callers<'_>,
    attack: &Attack,
    mut found: Vec<(Layer, String)>,
) -> Result<Vec<(Layer, String)>> {
    if !matches!(found.as_slice(), [(Layer::Policy(_), _)]) {
        return Ok(found);
    }
    loop {
        let without: Vec<String> = found.iter().filter_map(|(it, _)| it.muted()).collect();
        match outcome(callers, &attack.step()?, "dryRun=All", &without).await? {
            Err((layer @ Layer::Policy(_), message)) => {
                ensure!(
                    found.iter().all(|(it, _)| *it != layer),
                    "{}: {layer:?} can't be switched off",
                    attack.name
                );
                found.push((layer, message));
            }
            _ => break,
        }
    }
    found.sort();
    Ok(found)
}

/// Switches each native policy and each rule of the webhook off: an attack that it refused comes out otherwise.
async fn each_layer_is_needed(
    cluster: &Cluster,
    callers: &mut Callers<'_>,
    classes: &[Class],
    refused: &Refused<'_>,
) -> Result<()> {
    let mut layers: Vec<Layer> = make_mutable(cluster, "ValidatingAdmissionPolicy")
        .await?
        .into_iter()
        .map(Layer::Policy)
        .collect();
    layers.extend(mutable_webhooks(cluster).await?.into_iter().map(Layer::Webhook));
    let mut second = Vec::new();
    for layer in layers {
        let its_own: Vec<&Attack> = attacks(classes, refused)
            .filter(|(_, by)| **by == layer)
            .map(|(it, _)| it)
            .collect();
        if its_own.is_empty() {
            second.push(layer);
            continue;
        }
        let without: Vec<String> = layer.muted().into_iter().collect();
        eventually(
            SOON,
            &format!("an attack comes out otherwise without {layer:?}"),
            async || {
                for attack in &its_own {
                    let now = outcome(callers, &attack.step()?, "dryRun=All", &without).await?;
                    if !matches!(now, Err((by, _)) if by == layer) {
                        return Ok(());
                    }
                }
                bail!("{} attacks come out the same", its_own.len())
            },
        )
        .await?;
    }
    // What refuses nothing that another layer wouldn't has refused first is the second line: it holds without the first.
    for layer in second {
        eventually(
            SOON,
            &format!("{layer:?} refuses what the first line lets pass"),
            async || {
                for (attack, by) in attacks(classes, refused) {
                    let step = attack.step()?;
                    let first: Vec<String> = by.muted().into_iter().collect();
                    let both: Vec<String> = first.iter().cloned().chain(layer.muted()).collect();
                    let alone = outcome(callers, &step, "dryRun=All", &first).await?;
                    if matches!(alone, Err((by, _)) if by == layer) {
                        let now = outcome(callers, &step, "dryRun=All", &both).await?;
                        ensure!(
                            !matches!(&now, Err((by, _)) if *by == layer),
                            "{}: it is refused all the same",
                            attack.name
                        );
                        return Ok(());
                    }
                }
                bail!("it refuses no attack at all")
            },
        )
        .await?;
    }
    Ok(())
}

/// The attacks, and what refused each.
fn attacks<'a>(
    classes: &'a [Class],
    refused: &'a Refused<'_>,
) -> impl Iterator<Item = (&'a Attack, &'a Layer)> {
    classes.iter().flat_map(move |class| {
        class.attacks.iter().filter_map(move |attack| {
            let (by, _) = refused
                .get(&(class.name.as_str(), attack.name.as_str()))?
                .first()?;
            Some((attack, by))
        })
    })
}

/// Lets members of `muted(name)` pass by each of the webhook's rules, by itself. Gives their names.
async fn mutable_webhooks(cluster: &Cluster) -> Result<Vec<String>> {
    let types = GroupVersionKind::gvk(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
    );
    let api: Api<DynamicObject> = Api::all_with(cluster.client(), &ApiResource::from_gvk(&types));
    let mut names = Vec::new();
    eventually(SOON, "the webhook's rules can be switched off", async || {
        let mut found = api.get("bailiwick").await?;
        names.clear();
        for webhook in found.data["webhooks"].as_array_mut().into_iter().flatten() {
            let name = webhook["name"].as_str().unwrap_or_default().to_owned();
            let condition = json!({
                "name": "not-muted",
                "expression": format!("!('{}' in request.userInfo.groups)", muted(&name)),
            });
            match webhook["matchConditions"].as_array_mut() {
                Some(conditions) => conditions.push(condition),
                None => webhook["matchConditions"] = json!([condition]),
            }
            names.push(name);
        }
        found.metadata.managed_fields = None;
        // The operator writes its part of it, too.
        api.replace("bailiwick", &PostParams::default(), &found).await?;
        Ok(())
    })
    .await?;
    Ok(names)
}

fn report(classes: &[Class], refused: &Refused<'_>) -> String {
    let mut text = String::from(
        "# Attacks, and what refuses each\n\n\
         Written by `e2e/tests/e2e/attacks.rs` from a run against a real API server. Each was tried with dry run and without,\n\
         changed nothing, and stands beside a request that differs in the attack only and passes; with each native policy and\n\
         each rule of the webhook switched off, some of the answers change. The requests are in\n\
         [`table.yaml`](../e2e/tests/e2e/attacks/table.yaml), the rules in [rules.md](rules.md), what is not promised in\n\
         [threat-model.md](threat-model.md).\n\n\
         Where two layers would refuse, the one that is asked first is named: native policies before the webhook. Where several\n\
         native policies would, all are named, and the API server says what any one of them says.\n",
    );
    for Class { name, why, attacks } in classes {
        let _ = write!(text, "\n## {name}\n\n{why}.\n\n");
        text.push_str("| attack | request | refused by | says |\n|---|---|---|---|\n");
        for attack in attacks {
            let Some(by_all) = refused.get(&(name.as_str(), attack.name.as_str())) else {
                continue;
            };
            let Some((_, message)) = by_all.first() else {
                continue;
            };
            let layers: Vec<String> = by_all.iter().map(|(it, _)| it.shown()).collect();
            let (verb, path) = (&attack.step["verb"], &attack.step["path"]);
            let by = attack.step["as"].as_str().unwrap_or("platform-admin");
            let said = message
                .split_once("denied request: ")
                .or_else(|| message.split_once("denied the request: "))
                .map_or(message.as_str(), |(_, it)| it);
            let mut said: String = said.split('\n').next().unwrap_or_default().replace('|', "\\|");
            // What the API server generated is another each time.
            if let Some(begin) = attack.step["body"]["metadata"]["generateName"].as_str()
                && let Some(at) = said.find(begin)
            {
                let end = said.len().min(at + begin.len() + 5);
                said.replace_range(at + begin.len()..end, "…");
            }
            let _ = writeln!(
                text,
                "| {} | `{}` `{}` as {by} | {} | {said} |",
                attack.name,
                verb.as_str().unwrap_or_default(),
                path.as_str().unwrap_or_default(),
                layers.join(" and ")
            );
        }
    }
    text
}

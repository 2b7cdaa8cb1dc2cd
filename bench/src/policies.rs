//! Policies in Rego: beside OPA's Go library, in growing numbers, and from an edit to the last webhook.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bailiwick_core::decide::{Outcome, decide};
use bailiwick_core::policy::{Active, Content, Moment, Policies, Revision, Served, StoredRevision};
use bailiwick_core::rego::{Document, Facts, Language, Policy, Review, Source};
use bailiwick_core::review;
use bailiwick_core::snapshot::Snapshot;
use bailiwick_e2e::cluster::Cluster;
use bailiwick_e2e::install::Bailiwick;
use futures::StreamExt as _;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::decision::{review_body, snapshot};
use crate::figures::memory;

const REGO: &str = include_str!("policy.rego");

/// The best of some rounds, in nanoseconds for one.
fn best(count: u32, mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let begin = Instant::now();
        for _ in 0..count {
            run()?;
        }
        best = best.min(begin.elapsed().as_secs_f64() * 1e9 / f64::from(count));
    }
    Ok(best)
}

/// One evaluation, of an input that is parsed and of one that is bytes, beside OPA on the same source and input.
pub(crate) fn beside_opa() -> Result<()> {
    let body: Value = serde_json::from_slice(&review_body("tenant-3-1", "tenant-3"))?;
    let mut request = body.get("request").cloned().context("a request")?;
    let input = json!({ "request": request }).to_string();
    let object = request
        .get_mut("object")
        .map(Value::take)
        .unwrap_or_default()
        .to_string();
    let limit = Duration::from_secs(1);
    let sources = [Source::new("policy.rego", REGO)];
    let policy =
        Policy::compile(Language::V1, &sources, &json!({})).map_err(|it| anyhow::anyhow!("{it:?}"))?;
    let facts = Facts::new(&json!({ "name": "tenant-3" }), &json!({}));
    let review =
        |object: &str| -> Result<Review> { Ok(Review::new(&request, Some(Document::parse(object)?), None)) };
    let parsed = review(&object)?;
    let findings = policy.evaluate(&parsed, &facts, limit)?.violations.len();
    let ours = best(2_000, || {
        black_box(policy.evaluate(&parsed, &facts, limit)?);
        Ok(())
    })?;
    let whole = best(2_000, || {
        black_box(policy.evaluate(&review(black_box(&object))?, &facts, limit)?);
        Ok(())
    })?;
    println!(
        "  three rules, input of {} bytes, {findings} findings:",
        input.len()
    );
    match opa(&input, findings) {
        Ok((parsed, bytes)) => {
            println!(
                "    input parsed: {ours:>8.0} ns; OPA {parsed:>8.0} ns; {:.1} times as fast",
                parsed / ours
            );
            println!(
                "    from bytes:   {whole:>8.0} ns; OPA {bytes:>8.0} ns; {:.1} times as fast",
                bytes / whole
            );
        }
        Err(error) => {
            println!("    {ours:.0} ns parsed, {whole:.0} ns from bytes; not beside OPA: {error:#}");
        }
    }
    Ok(())
}

/// OPA's times for the same, built from `bench/opa` with the Go toolchain.
fn opa(input: &str, findings: usize) -> Result<(f64, f64)> {
    let directory = tempfile::tempdir()?;
    let [policy, input_file, program] =
        ["policy.rego", "input.json", "opa"].map(|it| directory.path().join(it));
    std::fs::write(&policy, REGO)?;
    std::fs::write(&input_file, input)?;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/opa");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(folder)
        .env("CGO_ENABLED", "0")
        .output()
        .context("run go")?;
    ensure!(
        built.status.success(),
        "go build: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    let ran = Command::new(&program)
        .arg(&policy)
        .arg(&input_file)
        .arg(findings.to_string())
        .output()?;
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = String::from_utf8(ran.stdout)?;
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    match numbers.as_slice() {
        [parsed, bytes] => Ok((*parsed, *bytes)),
        _ => bail!("it printed {text}"),
    }
}

fn spec(tenant: &str, rego: &str) -> Value {
    json!({
        "tenants": [tenant],
        "match": { "resources": [{ "groups": [""], "kinds": ["Pod"] }] },
        "rego": rego,
        // Time is what is measured, not what ends a policy on a busy machine.
        "limits": { "evaluationMilliseconds": 1000 },
    })
}

fn served(name: &str, tenant: &str, rego: &str) -> Result<Arc<Served>> {
    let content = Content::of(&serde_json::from_value(spec(tenant, rego))?);
    let content = content.map_err(|it| anyhow::anyhow!("{it:?}"))?;
    let revision = Revision::compile(StoredRevision::new(name, "bench", content));
    Ok(Arc::new(Served {
        policy: name.to_owned(),
        active: Some(Active::Loaded(Arc::new(
            revision.map_err(|it| anyhow::anyhow!("{it:?}"))?,
        ))),
        candidate: None,
        approved_by: BTreeMap::new(),
    }))
}

/// A small policy that finds nothing.
fn small(i: usize) -> String {
    format!(
        "package bailiwick\n\ndeny contains \"no {i}\" if input.request.object.metadata.labels.forbidden{i}\n"
    )
}

/// Whole decisions: with policies on the tenant, and with policies of other tenants.
pub(crate) fn in_numbers() -> Result<()> {
    let body = review_body("tenant-3-1", "tenant-3");
    let tenants = snapshot(1000)?;
    let decided = |snapshot: &Snapshot, count: u32| {
        best(count, || {
            let request = review::parse(black_box(&body))?;
            match decide(snapshot, &request, &Moment::default()) {
                Outcome::Decided(it) if it.allowed() => Ok(()),
                other => bail!("{other:?}"),
            }
        })
    };
    let with = |all: Vec<Arc<Served>>| {
        let mut snapshot = tenants.clone();
        snapshot.policies = Arc::new(Policies::collect(all, &snapshot.tenants));
        snapshot
    };
    let none = decided(&tenants, 20_000)?;
    println!("  no policy: {none:.0} ns");
    let rules = decided(&with(vec![served("rules", "tenant-3", REGO)?]), 2_000)?;
    println!("  one of three rules that finds nothing: {rules:.0} ns");
    let own = |count: usize| {
        (0..count)
            .map(|i| served(&format!("own-{i}"), "tenant-3", &small(i)))
            .collect::<Result<Vec<_>>>()
    };
    for (count, rounds) in [(1, 5_000), (10, 1_000), (100, 100)] {
        let time = decided(&with(own(count)?), rounds)?;
        println!("  {count:>3} small ones on the tenant: {time:.0} ns");
    }
    let others = (0..10_000).map(|i| {
        served(
            &format!("other-{i}"),
            &format!("tenant-{}", 4 + i % 900),
            &small(i),
        )
    });
    let others: Vec<_> = others.collect::<Result<_>>()?;
    let alone = decided(&with(own(10)?), 1_000)?;
    let crowded = decided(&with(own(10)?.into_iter().chain(others).collect()), 1_000)?;
    println!(
        "  10 on the tenant and 10,000 of others: {crowded:.0} ns, {:.2} times as long as without the others",
        crowded / alone
    );
    Ok(())
}

fn policies(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("bailiwick.dev", "v1alpha1", "TenantPolicy");
    let resource = ApiResource {
        plural: "tenantpolicies".to_owned(),
        ..ApiResource::from_gvk(&kind)
    };
    Api::all_with(client.clone(), &resource)
}

async fn write(client: &Client, name: &str, spec: &Value) -> Result<i64> {
    let policy = json!({
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "TenantPolicy", "metadata": { "name": name }, "spec": spec,
    });
    let params = PatchParams::apply("bailiwick-bench").force();
    let written = policies(client)
        .patch(name, &params, &Patch::Apply(&policy))
        .await?;
    written.metadata.generation.context("a generation")
}

fn is_served(policy: &DynamicObject, generation: i64) -> bool {
    let conditions = policy
        .data
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    conditions.into_iter().flatten().any(|it| {
        it.get("type") == Some(&json!("Ready"))
            && it.get("status") == Some(&json!("True"))
            && it.get("observedGeneration") == Some(&json!(generation))
    })
}

/// From the answer to an edit to the status that says that the last webhook serves it.
async fn edits(client: &Client) -> Result<()> {
    const EDITS: usize = 100;
    let config = watcher::Config::default().fields("metadata.name=edited");
    let events = watcher(policies(client), config)
        .default_backoff()
        .touched_objects();
    let mut events = std::pin::pin!(events);
    let mut times = Vec::new();
    for i in 0..EDITS {
        if i % 25 == 0 {
            eprintln!("  edit {i} of {EDITS}");
        }
        let spec = spec("bench", &small(i));
        let generation = write(client, "edited", &spec).await?;
        let begin = Instant::now();
        let served = async {
            while let Some(event) = events.next().await {
                if is_served(&event?, generation) {
                    return Ok(());
                }
            }
            bail!("the watch ended")
        };
        tokio::time::timeout(Duration::from_secs(30), served)
            .await
            .context("an edit was not served")??;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| {
        times
            .get((times.len() - 1) * share / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "  from an edit to the last of two webhooks, {EDITS} times: P50 {:.0} ms, P99 {:.0} ms, longest {:.0} ms",
        at(50),
        at(99),
        at(100)
    );
    policies(client)
        .delete("edited", &DeleteParams::default())
        .await?;
    Ok(())
}

/// The policies of the cluster, and what they take.
pub(crate) async fn on_cluster(cluster: &Cluster, bailiwick: &Bailiwick) -> Result<()> {
    const MANY: usize = 1000;
    let client = cluster.client();
    edits(&client).await?;
    let [webhook, operator] = [bailiwick.webhook(0)?, bailiwick.operator(0)?].map(|it| it.pid());
    let (webhook, operator) = (webhook.context("no webhook")?, operator.context("no operator")?);
    let before = (memory(webhook)?, memory(operator)?);
    let begin = Instant::now();
    let written = futures::stream::iter(0..MANY).map(async |i| {
        write(
            &client,
            &format!("many-{i}"),
            &spec(&format!("tenant-{}", i % 100), &small(i)),
        )
        .await
    });
    let written: Vec<_> = written.buffer_unordered(8).collect().await;
    written.into_iter().collect::<Result<Vec<_>>>()?;
    eprintln!("  {MANY} written after {:.1} s", begin.elapsed().as_secs_f64());
    let mut told = Instant::now();
    loop {
        let all = policies(&client).list(&ListParams::default()).await?;
        let served = all.items.iter().filter(|it| is_served(it, 1)).count();
        if served >= MANY {
            break;
        }
        ensure!(
            begin.elapsed() < Duration::from_mins(5),
            "{served} of {MANY} are served"
        );
        if told.elapsed() > Duration::from_secs(5) {
            told = Instant::now();
            eprintln!("  {served} of {MANY} are served");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!(
        "  {MANY} small policies written and served after {:.1} s; webhook {} -> {}, operator {} -> {}",
        begin.elapsed().as_secs_f64(),
        before.0,
        memory(webhook)?,
        before.1,
        memory(operator)?
    );
    let params = DeleteParams::default();
    policies(&client)
        .delete_collection(&params, &ListParams::default())
        .await?;
    Ok(())
}

/// Puts the policy of three rules on the tenant of the webhook's benchmark, and waits until it serves.
pub(crate) async fn switch_on(client: &Client, tenant: &str) -> Result<()> {
    let generation = write(client, "three-rules", &spec(tenant, REGO)).await?;
    let begin = Instant::now();
    while !is_served(&policies(client).get("three-rules").await?, generation) {
        ensure!(
            begin.elapsed() < Duration::from_secs(30),
            "the policy is not served"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Takes it away again.
pub(crate) async fn switch_off(client: &Client) -> Result<()> {
    policies(client)
        .delete("three-rules", &DeleteParams::default())
        .await?;
    Ok(())
}

//! Native policies and webhook give the same verdict on the same requests, in the area that both decide.
//!
//! Ten thousand requests and more are sent twice each as a dry run: as somebody whom the webhook doesn't look at, and as somebody
//! whom the native policies don't look at. The first are products of small tables, so that every combination is there; the others
//! are put together by chance, from a seed that a failure tells:
//!
//! - `BAILIWICK_DIFFERENTIAL_SEED=7` makes others, and `BAILIWICK_DIFFERENTIAL_REQUESTS=100000` more of them.
//! - A request is told as a case of the chart's `ci/policy-cases.yaml`, where it can be kept.

mod asked;
mod chance;
mod change;
mod grants;
mod kinds;
mod made;
mod offline;
mod people;
mod tables;
mod verdict;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    env, fs,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{checkout, wait::eventually};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use self::{
    asked::Target,
    made::Maker,
    verdict::{Answer, Verdict},
};
use crate::{
    fixture::{SOON, on_own_cluster},
    requests::{Callers, Rights, Step, make_mutable, muted, send},
};

/// How many requests are under way at a time.
const PARALLEL: usize = 16;
/// How many different requests there are, and how many of them are put together by chance, at the least.
const REQUESTS: usize = 10_200;
const BY_CHANCE: usize = 2_000;
const SEED: u64 = 6;

/// The rules that both layers hold: how many requests each refuses in both of them, and how many of the same verb on the same
/// resource of the same namespace, or cluster-wide, pass both, at the least.
const SHARED: [(&str, usize, usize); 15] = [
    ("BW-NS-IDENTITY", 800, 400),
    ("BW-NS-OWNERREF", 150, 400),
    ("BW-NS-ADOPT", 80, 400),
    ("BW-NS-SELFSERVICE", 80, 100),
    ("BW-NS-METADATA", 200, 400),
    ("BW-NS-CLOSED", 80, 25),
    ("BW-POD-LABEL", 150, 60),
    ("BW-BINDING-LABEL", 50, 15),
    ("BW-MANAGED", 500, 400),
    ("BW-SUSPENDED", 200, 80),
    ("BW-RB-SUBJECT", 400, 150),
    ("BW-CRB-SUBJECT", 120, 120),
    ("BW-CR-WIDEN", 600, 300),
    ("BW-POLICY-AUTHOR", 40, 25),
    ("BW-POLICY-APPROVER", 100, 8),
];
/// Said by `docs/rules.md` to be native, too, and compared nowhere: it is the schema of the CustomResourceDefinition.
const BY_SCHEMA: [&str; 1] = ["BW-TENANT-INVALID"];
/// Likewise: natively it is held for PersistentVolumes, of which the webhook is not asked.
const OF_OTHER_OBJECTS: [&str; 1] = ["BW-VOLUME-REGION"];

/// How many requests of each verb are refused, and how many are allowed, at the least.
const VERBS: [(&str, usize); 8] = [
    ("create", 500),
    ("replace", 200),
    ("merge", 500),
    ("json", 200),
    ("strategic", 250),
    ("apply", 250),
    ("delete", 100),
    ("deletecollection", 3),
];

fn step(user: &str, verb: &str, path: impl Into<String>, body: Value) -> Step {
    let groups = people::REQUESTERS.iter().find(|it| it.0 == user);
    let groups = groups.map(|it| it.1).unwrap_or_default();
    Step {
        user: user.to_owned(),
        groups: groups.iter().map(|it| (*it).to_owned()).collect(),
        verb: verb.to_owned(),
        path: path.into(),
        body,
        rights: Rights::All,
    }
}

/// A request as a line of the chart's `ci/policy-cases.yaml`.
fn case(step: &Step) -> String {
    let mut case = json!({ "as": step.user, "verb": step.verb, "path": step.path });
    if !step.groups.is_empty() {
        case["groups"] = json!(step.groups);
    }
    if !step.body.is_null() {
        case["body"] = step.body.clone();
    }
    if step.rights == Rights::Own {
        case["rights"] = json!("own");
    }
    case.to_string()
}

fn number(variable: &str) -> Result<Option<u64>> {
    let text = env::var(variable).ok();
    text.map(|it| {
        it.parse()
            .with_context(|| format!("{variable}={it} is no number"))
    })
    .transpose()
}

/// All requests, each once.
fn requests(seed: u64, count: usize, contents: &BTreeMap<String, Value>) -> Vec<Step> {
    let mut steps = tables::all();
    let mut known = HashSet::new();
    steps.retain(|it| known.insert(case(it)));
    let count = count.max(steps.len().saturating_add(BY_CHANCE));
    let maker = Maker { seed, contents };
    let mut by_chance = (0..).map(|number| maker.request(number));
    while steps.len() < count {
        steps.extend(by_chance.next().filter(|it| known.insert(case(it))));
    }
    steps
}

#[test]
fn native_policies_and_webhook_agree() -> Result<()> {
    on_own_cluster(async |cluster, _| {
        let seed = number("BAILIWICK_DIFFERENTIAL_SEED")?.unwrap_or(SEED);
        let count = number("BAILIWICK_DIFFERENTIAL_REQUESTS")?.map(usize::try_from);
        let count = count.transpose()?.unwrap_or(REQUESTS);
        let mut callers = Callers::new(cluster);
        world::tenants_are_ready(cluster).await?;
        let natives = make_mutable(cluster, "ValidatingAdmissionPolicy").await?;
        let webhooks = make_mutable(cluster, "ValidatingWebhookConfiguration").await?;
        let without_natives: Vec<String> = natives.iter().map(|it| muted(it)).collect();
        let without_webhooks: Vec<String> = webhooks.iter().map(|it| muted(it)).collect();
        let nobody: Vec<String> = without_natives.iter().chain(&without_webhooks).cloned().collect();
        world::is_furnished(cluster, &mut callers, &nobody).await?;
        world::is_known(&mut callers, &without_natives).await?;
        world::is_known(&mut callers, &without_webhooks).await?;
        // Each layer alone refused these; with both off, nobody does.
        for (probe, rule) in world::probes() {
            eventually(SOON, "the layers can be switched off", async || {
                let verdict = Verdict::of(callers.send(&probe, "dryRun=All", &nobody).await?)?;
                ensure!(!verdict.is_denied(), "{rule}: {verdict:?}");
                Ok(())
            })
            .await?;
        }

        let contents = world::contents(cluster).await?;
        let steps = requests(seed, count, &contents);
        let begin = Instant::now();
        let answers = ask(&mut callers, &steps, &without_webhooks, &without_natives).await?;
        println!(
            "{} requests from seed {seed} took {:?}",
            steps.len(),
            begin.elapsed()
        );
        let wrong: Vec<String> = answers
            .iter()
            .filter_map(|it| Some(format!("{}\n    {}", case(it.step), it.disagreement()?)))
            .collect();
        let first: Vec<String> = wrong.iter().take(40).cloned().collect();
        ensure!(
            wrong.is_empty(),
            "{} of {} disagree; to repeat it: BAILIWICK_DIFFERENTIAL_SEED={seed} BAILIWICK_DIFFERENTIAL_REQUESTS={count} \
             cargo test --locked -p bailiwick-e2e --test e2e native_policies_and_webhook_agree\n{}",
            wrong.len(),
            steps.len(),
            first.join("\n")
        );
        ensure!(steps.len() >= 10_000, "only {} requests", steps.len());
        for line in [enough_of_each_verb(&answers)?, enough_of_each_rule(&answers)?].concat() {
            println!("{line}");
        }
        Ok(())
    })
}

/// Sends every request past one layer and past the other one.
async fn ask<'a>(
    callers: &mut Callers<'_>,
    steps: &'a [Step],
    without_webhooks: &[String],
    without_natives: &[String],
) -> Result<Vec<Answer<'a>>> {
    let mut work = Vec::new();
    for step in steps {
        let native = callers.client(step, without_webhooks)?;
        let webhook = callers.client(step, without_natives)?;
        work.push(async move {
            let native = Verdict::of(send(native, step, "dryRun=All").await?).with_context(|| case(step))?;
            let webhook =
                Verdict::of(send(webhook, step, "dryRun=All").await?).with_context(|| case(step))?;
            let natives = vec![native];
            Ok::<_, anyhow::Error>(Answer {
                step,
                natives,
                webhook,
            })
        });
    }
    let mut answers: Vec<Answer<'a>> = stream::iter(work)
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    // What the native policies behind the first ones say.
    loop {
        let mut work = Vec::new();
        for (i, answer) in answers.iter().enumerate() {
            let Some(past) = answer.to_be_passed() else {
                continue;
            };
            let step = answer.step;
            let past: Vec<String> = past.into_iter().map(muted).collect();
            let client = callers.client(step, &[without_webhooks, &past].concat())?;
            work.push(async move {
                let next =
                    Verdict::of(send(client, step, "dryRun=All").await?).with_context(|| case(step))?;
                Ok::<_, anyhow::Error>((i, next))
            });
        }
        if work.is_empty() {
            return Ok(answers);
        }
        let next: Vec<_> = stream::iter(work)
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        for (i, verdict) in next {
            answers[i].natives.push(verdict);
        }
    }
}

/// How many there are of each verb, a line each.
fn enough_of_each_verb(answers: &[Answer<'_>]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for (verb, enough) in VERBS {
        let of_verb = || answers.iter().filter(|it| it.step.verb == verb);
        let refused = of_verb().filter(|it| it.native().is_denied()).count();
        let allowed = of_verb().filter(|it| it.is_allowed()).count();
        let all = of_verb().count();
        lines.push(format!(
            "{verb}: {refused} refused and {allowed} allowed of {all}"
        ));
        ensure!(
            refused >= enough && allowed >= enough,
            "{refused} refused and {allowed} allowed of {all} by {verb}: the requests say too little"
        );
    }
    Ok(lines)
}

/// How many there are of each rule, a line each.
fn enough_of_each_rule(answers: &[Answer<'_>]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let like = |step: &Step| {
        let target = Target::of(&step.path);
        format!("{} {} {}", step.verb, target.namespace, target.resource)
    };
    let mut allowed: BTreeMap<String, usize> = BTreeMap::new();
    for answer in answers.iter().filter(|it| it.is_let_pass()) {
        *allowed.entry(like(answer.step)).or_default() += 1;
    }
    for (rule, enough_refused, enough_allowed) in SHARED {
        let refused = answers.iter().filter(|it| it.by_both().contains(rule));
        let (count, places) = refused.fold((0, BTreeSet::new()), |(count, mut places), it| {
            places.insert(like(it.step));
            (count + 1, places)
        });
        let beside: usize = places.iter().filter_map(|it| allowed.get(it)).sum();
        lines.push(format!(
            "{rule}: {count} refused by both, {beside} like them allowed"
        ));
        ensure!(
            count >= enough_refused && beside >= enough_allowed,
            "{count} refused by {rule} in both layers, and {beside} like them allowed: the requests say too little"
        );
    }
    Ok(lines)
}

/// A rule that is held natively and by the webhook is compared.
#[test]
fn all_rules_that_both_layers_hold_are_compared() -> Result<()> {
    let path = checkout::root().join("docs/rules.md");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let held = text.split("\n## ").skip(1).filter_map(|section| {
        let rule = section.lines().next()?;
        let (_, place) = section.rsplit_once("**Where.** ")?;
        let by_both = (place.contains("native") || place.contains("API server")) && place.contains("webhook");
        (rule.starts_with("BW-") && by_both).then_some(rule)
    });
    let held: BTreeSet<&str> = held.collect();
    let elsewhere = BY_SCHEMA.into_iter().chain(OF_OTHER_OBJECTS);
    let compared: BTreeSet<&str> = SHARED.iter().map(|it| it.0).chain(elsewhere).collect();
    ensure!(held == compared, "held by both {held:?}, compared {compared:?}");
    Ok(())
}

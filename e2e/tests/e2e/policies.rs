//! The chart's native policies alone: no operator, no webhook.
//!
//! The cases lie with the chart, in `ci/policy-cases.yaml`, whose head describes them.

use std::{fs, time::Duration};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bailiwick_e2e::{
    checkout,
    cluster::{Cluster, ClusterOptions},
    install::{NAMESPACE, RELEASE},
    wait::eventually,
};
use serde::Deserialize;

use crate::{
    fixture::{SOON, on_bare_cluster},
    requests::{Callers, OPERATOR, Step, make_mutable, muted},
};

/// The API server looks for new kinds of parameters every half minute.
const UNTIL_PARAMETERS_ARE_KNOWN: Duration = Duration::from_mins(2);

#[derive(Deserialize)]
struct Document {
    setup: Vec<Step>,
    later: Vec<Step>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    expect: String,
    #[serde(flatten)]
    step: Step,
}

#[test]
fn native_policies_decide_every_case_without_the_webhook() -> Result<()> {
    on_bare_cluster(ClusterOptions::default(), async |cluster| {
        let chart = checkout::root().join("charts/bailiwick");
        let path = chart.join("ci/policy-cases.yaml");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let text = text
            .replace("$OPERATOR", OPERATOR)
            .replace("$NAMESPACE", NAMESPACE);
        let document = document(&text)?;

        let chart = chart.display().to_string();
        cluster
            .helm(&["install", RELEASE, &chart, "-n", NAMESPACE, "--create-namespace"])
            .await?
            .ok()?;
        cluster
            .kubectl(&["delete", "validatingwebhookconfiguration", RELEASE])
            .await?
            .ok()?;
        let mut callers = Callers::new(cluster);
        set_up(&mut callers, &document.setup).await?;
        let first = document.cases.first().context("no cases")?;
        eventually(
            UNTIL_PARAMETERS_ARE_KNOWN,
            "the policies know their parameter",
            async || {
                check(&mut callers, first, &[])
                    .await?
                    .map_or(Ok(()), |it| bail!("{it}"))
            },
        )
        .await?;
        // A mutating policy learns of a new kind later still.
        let first = document.later.first().context("nothing to set up later")?;
        eventually(
            UNTIL_PARAMETERS_ARE_KNOWN,
            "a new kind can be mutated",
            async || Ok(callers.send(first, "dryRun=All", &[]).await??),
        )
        .await?;
        set_up(&mut callers, &document.later).await?;
        let mut wrong = Vec::new();
        for case in &document.cases {
            wrong.extend(check(&mut callers, case, &[]).await?);
        }
        ensure!(
            wrong.is_empty(),
            "{} of {}:\n{}",
            wrong.len(),
            document.cases.len(),
            wrong.join("\n")
        );
        each_policy_is_needed(cluster, &mut callers, &document.cases).await
    })
}

async fn set_up(callers: &mut Callers<'_>, steps: &[Step]) -> Result<()> {
    for step in steps {
        let sent = callers.send(step, "", &[]).await?;
        sent.with_context(|| format!("set up {} {}", step.verb, step.path))?;
    }
    Ok(())
}

/// With a policy switched off, a case that it refuses comes out otherwise: none of them is there in vain, and none of
/// their tests either.
async fn each_policy_is_needed(cluster: &Cluster, callers: &mut Callers<'_>, cases: &[Case]) -> Result<()> {
    let policies = make_mutable(cluster, "ValidatingAdmissionPolicy").await?;
    ensure!(policies.len() == 21, "{policies:?}");
    for name in policies {
        let text = cluster
            .kubectl(&["get", "validatingadmissionpolicy", &name, "-o", "json"])
            .await?
            .ok()?;
        let its_own: Vec<_> = cases
            .iter()
            .filter(|it| text.contains(&format!("{}:", it.expect)))
            .collect();
        ensure!(!its_own.is_empty(), "no case is refused by {name}");
        let without = [muted(&name)];
        // A changed policy is in force after a moment.
        eventually(SOON, &format!("a case fails without {name}"), async || {
            for case in &its_own {
                if check(callers, case, &without).await?.is_some() {
                    return Ok(());
                }
            }
            bail!("{} cases come out the same", its_own.len())
        })
        .await?;
    }
    Ok(())
}

/// What is wrong with the answer to a case, if anything, when the sender is in more groups.
async fn check(callers: &mut Callers<'_>, case: &Case, groups: &[String]) -> Result<Option<String>> {
    let answer = callers.send(&case.step, "dryRun=All", groups).await?;
    let (code, message) = match &answer {
        Ok(()) => (200, ""),
        Err(kube::Error::Api(status)) => (status.code, status.message.as_str()),
        Err(error) => bail!("{}: {error}", case.name),
    };
    let as_expected = match case.expect.as_str() {
        "allow" => code == 200,
        "invalid" => code == 422,
        rule => code == 403 && message.contains(rule),
    };
    Ok((!as_expected).then(|| format!("{}: expected {}, got {code} {message}", case.name, case.expect)))
}

fn document(text: &str) -> Result<Document> {
    // The cases share much: more aliases to an anchor than a reader of strangers' YAML puts up with.
    // And `n` is a name, not a boolean.
    let budget = serde_saphyr::budget! { enforce_alias_anchor_ratio: false };
    let options = serde_saphyr::options! { budget: budget, strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| anyhow!("{error}"))
}

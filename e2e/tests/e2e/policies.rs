//! The chart's native policies alone: no operator, no webhook.
//!
//! The cases lie with the chart, in `ci/policy-cases.yaml`, whose head describes them.

use std::{collections::HashMap, fs, time::Duration};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bailiwick_e2e::{
    checkout,
    cluster::{Cluster, ClusterOptions},
    install::{NAMESPACE, RELEASE},
    wait::eventually,
};
use http::{Method, Request};
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use crate::fixture::on_bare_cluster;

const OPERATOR: &str = "system:serviceaccount:bailiwick-system:bailiwick-operator";
/// The API server looks for new kinds of parameters every half minute.
const UNTIL_PARAMETERS_ARE_KNOWN: Duration = Duration::from_mins(2);

#[derive(Deserialize)]
struct Document {
    setup: Vec<Step>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    expect: String,
    #[serde(flatten)]
    step: Step,
}

/// One request.
#[derive(Deserialize)]
struct Step {
    #[serde(rename = "as", default = "admin")]
    user: String,
    #[serde(default)]
    groups: Vec<String>,
    verb: String,
    path: String,
    #[serde(default)]
    body: Value,
}

fn admin() -> String {
    "platform-admin".to_owned()
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
        let mut callers = Callers {
            cluster,
            clients: HashMap::new(),
        };
        for step in &document.setup {
            callers
                .send(step, "")
                .await?
                .with_context(|| format!("set up {} {}", step.verb, step.path))?;
        }
        let first = document.cases.first().context("no cases")?;
        eventually(
            UNTIL_PARAMETERS_ARE_KNOWN,
            "the policies know their parameter",
            async || callers.check(first).await?.map_or(Ok(()), |it| bail!("{it}")),
        )
        .await?;
        let mut wrong = Vec::new();
        for case in &document.cases {
            wrong.extend(callers.check(case).await?);
        }
        ensure!(
            wrong.is_empty(),
            "{} of {}:\n{}",
            wrong.len(),
            document.cases.len(),
            wrong.join("\n")
        );
        Ok(())
    })
}

fn document(text: &str) -> Result<Document> {
    // The cases share much: more aliases to an anchor than a reader of strangers' YAML puts up with.
    // And `n` is a name, not a boolean.
    let budget = serde_saphyr::budget! { enforce_alias_anchor_ratio: false };
    let options = serde_saphyr::options! { budget: budget, strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| anyhow!("{error}"))
}

struct Callers<'a> {
    cluster: &'a Cluster,
    clients: HashMap<(String, Vec<String>), Client>,
}

impl Callers<'_> {
    /// What is wrong with the answer to a case, if anything.
    async fn check(&mut self, case: &Case) -> Result<Option<String>> {
        let answer = self.send(&case.step, "dryRun=All").await?;
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

    async fn send(&mut self, step: &Step, query: &str) -> Result<kube::Result<()>> {
        let (method, content_type, query) = match step.verb.as_str() {
            "create" => (Method::POST, "application/json", query.to_owned()),
            "replace" => (Method::PUT, "application/json", query.to_owned()),
            "merge" => (Method::PATCH, "application/merge-patch+json", query.to_owned()),
            "json" => (Method::PATCH, "application/json-patch+json", query.to_owned()),
            "strategic" => (
                Method::PATCH,
                "application/strategic-merge-patch+json",
                query.to_owned(),
            ),
            "apply" => (
                Method::PATCH,
                "application/apply-patch+yaml",
                format!("fieldManager=cases&force=true&{query}"),
            ),
            "delete" | "deletecollection" => (Method::DELETE, "application/json", query.to_owned()),
            verb => bail!("unknown verb {verb}"),
        };
        let body = if step.body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(&step.body)?
        };
        let separator = if step.path.contains('?') { '&' } else { '?' };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{separator}{query}", step.path))
            .header("content-type", content_type)
            .body(body)?;
        Ok(self.client(step)?.request::<Value>(request).await.map(drop))
    }

    fn client(&mut self, step: &Step) -> Result<Client> {
        let user = if step.user == "operator" {
            OPERATOR
        } else {
            &step.user
        };
        let key = (user.to_owned(), step.groups.clone());
        if let Some(client) = self.clients.get(&key) {
            return Ok(client.clone());
        }
        // Whatever the user, RBAC shall not be what refuses.
        let groups: Vec<_> = step
            .groups
            .iter()
            .map(String::as_str)
            .chain(["system:masters"])
            .collect();
        let client = self.cluster.client_as(user, &groups)?;
        self.clients.insert(key, client.clone());
        Ok(client)
    }
}

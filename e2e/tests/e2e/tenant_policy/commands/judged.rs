//! `replay` and `explain`, of objects that are there.

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, objects, wait::eventually};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use super::{Person, candidate, file, state};
use crate::{
    fixture::{SOON, on_shared_cluster, unique},
    tenant_policy::{active, condition, home, put, refusing, served, write},
};

/// Stores a ConfigMap with these keys; gives it as it is stored.
async fn store(client: &Client, namespace: &str, name: &str, keys: &[&str]) -> Result<ConfigMap> {
    let data: Value = keys.iter().map(|it| ((*it).to_owned(), json!("x"))).collect();
    let map = json!({ "metadata": { "name": name }, "data": data });
    let all: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    Ok(all
        .create(&PostParams::default(), &serde_json::from_value(map)?)
        .await?)
}

/// ConfigMaps of a tenant, and beside them the same of another.
struct Stored {
    tenant: String,
    ns: String,
    maps: Vec<ConfigMap>,
}

impl Stored {
    async fn new(cluster: &Cluster) -> Result<Self> {
        let client = cluster.client();
        let (tenant, ns) = home(cluster, "replayed").await?;
        let (_, other_ns) = home(cluster, "beside").await?;
        let mut maps = Vec::new();
        for (map, keys) in [
            ("only-a", &["a"][..]),
            ("only-b", &["b"]),
            ("both", &["a", "b"]),
            ("none", &[]),
        ] {
            store(&client, &other_ns, map, keys).await?;
            maps.push(store(&client, &ns, map, keys).await?);
        }
        // Kubernetes puts one of its own into each namespace.
        let all: Api<ConfigMap> = Api::namespaced(client, &ns);
        eventually(SOON, "there is the cluster's certificate", async || {
            Ok(all.get("kube-root-ca.crt").await?)
        })
        .await?;
        Ok(Self { tenant, ns, maps })
    }

    /// The policy that refuses a word.
    fn policy(&self, name: &str, word: &str, more: &Value) -> Value {
        refusing(name, &self.tenant, word, &format!("no {word}"), more)
    }

    /// The reviews of their creation, as they might have been recorded.
    fn reviews(&self) -> String {
        let reviews = self.maps.iter().map(|map| {
            let request = json!({
                "uid": "u", "operation": "CREATE", "namespace": self.ns, "name": map.metadata.name, "object": map,
                "kind": { "group": "", "version": "v1", "kind": "ConfigMap" },
                "resource": { "group": "", "version": "v1", "resource": "configmaps" },
                "userInfo": { "username": "somebody" },
            });
            json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request })
                .to_string()
        });
        reviews.collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn replay_compares_a_candidate_over_what_there_is() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let stored = Stored::new(cluster).await?;
        let (ns, name) = (&stored.ns, unique("replayed"));
        let first = active(&served(&client, &stored.policy(&name, "a", &json!({}))).await?);
        let ann = Person::mighty(cluster, "ann")?;
        let replay = format!("policy replay {name}");
        ann.fails(&replay, "has no candidate").await?;
        let shadow = json!({ "rollout": { "mode": "Shadow" } });
        write(&client, &stored.policy(&name, "b", &shadow)).await?;
        let now = condition(&client, &name, ("Ready", "True", "RollingOut")).await?;
        let (second, _) = candidate(&now)?;
        let before = state(&client, &name).await?;

        let told = ann.run(1, &replay, "").await?;
        let lines = told.stdout.lines();
        let lines: Vec<String> = lines
            .map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        let expected = [
            "OBJECT DIFFERENCE MESSAGE".to_owned(),
            format!("ConfigMap {ns}/only-a newly allowed no a"),
            format!("ConfigMap {ns}/only-b newly denied no b"),
            String::new(),
            format!(
                "{name}: {second} beside {first}: 5 evaluated, 1 newly denied, 1 newly allowed, 0 errors"
            ),
        ];
        ensure!(lines == expected && told.stderr.is_empty(), "{told}");
        let told = ann.run(1, &format!("{replay} -o json"), "").await?.stdout;
        let told: Value = serde_json::from_str(&told)?;
        let summary = json!({ "evaluated": 5, "newlyDenied": 1, "newlyAllowed": 1, "errors": 0 });
        ensure!(told["summary"] == summary, "{told}");
        ann.fails("policy replay nobodys", "there is no TenantPolicy 'nobodys'")
            .await?;

        // It needs to list what it compares.
        let reader = Person::new(cluster, "reader", &[])?;
        reader.becomes("bailiwick-policy-approver").await?;
        reader.reads_revisions().await?;
        reader.may(1, &format!("policy diff {name}")).await?;
        reader.fails(&replay, "cannot list resource").await?;
        reader.becomes("cluster-admin").await?;
        reader.may(1, &replay).await?;

        ensure!(state(&client, &name).await? == before, "something was written");
        let all: Api<ConfigMap> = Api::namespaced(client, ns);
        for map in stored.maps {
            let now = all.get(map.metadata.name.as_deref().unwrap_or_default()).await?;
            ensure!(now == map, "{now:?}");
        }
        Ok(())
    })
}

#[test]
fn replay_compares_a_file_and_what_was_recorded() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let stored = Stored::new(cluster).await?;
        let name = unique("recorded");
        served(&client, &stored.policy(&name, "a", &json!({}))).await?;
        let before = state(&client, &name).await?;
        let ann = Person::mighty(cluster, "ann")?;
        let reviews = stored.reviews();
        let recorded = file(cluster, &format!("{name}.jsonl"), &reviews)?;
        let broken = file(
            cluster,
            &format!("{name}-broken.jsonl"),
            &format!("{reviews}\n{{}}\n"),
        )?;

        for (word, code, denied, allowed) in [("a", 0, 0, 0), ("b", 1, 1, 1), ("c", 1, 0, 2)] {
            let policy = stored.policy(&name, word, &json!({})).to_string();
            for (more, evaluated) in [(String::new(), 5), (format!(" --reviews {recorded}"), 4)] {
                let told = ann
                    .run(code, &format!("policy replay -f -{more}"), &policy)
                    .await?;
                let summary = format!(
                    ": {evaluated} evaluated, {denied} newly denied, {allowed} newly allowed, 0 errors\n"
                );
                ensure!(
                    told.stdout.ends_with(&summary) && told.stderr.is_empty(),
                    "{told}"
                );
            }
        }
        // What nobody has applied yet is compared with nothing.
        let new = stored.policy(&unique("unapplied"), "a", &json!({})).to_string();
        let told = ann.run(1, "policy replay -f -", &new).await?.stdout;
        ensure!(
            told.contains(" beside nothing: 5 evaluated, 2 newly denied"),
            "{told}"
        );

        let same = stored.policy(&name, "a", &json!({})).to_string();
        let told = ann
            .run(2, &format!("policy replay -f - --reviews {broken}"), &same)
            .await?;
        ensure!(
            told.stderr.starts_with("error: line 5: ") && told.stdout.contains(": 4 evaluated"),
            "{told}"
        );
        ann.fails(
            &format!("policy replay {name} --reviews nowhere.jsonl"),
            "has no candidate",
        )
        .await?;
        let absent = ann
            .run(2, "policy replay -f - --reviews nowhere.jsonl", &same)
            .await?;
        ensure!(absent.stderr.contains("nowhere.jsonl"), "{absent}");
        let other = format!("policy replay other-{name} -f -");
        let told = ann.run(2, &other, &same).await?.stderr;
        ensure!(
            told.contains(&format!("the file holds TenantPolicy '{name}'")),
            "{told}"
        );
        ensure!(state(&client, &name).await? == before, "something was written");
        Ok(())
    })
}

#[test]
fn explain_says_of_an_object_what_its_user_would_hear() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (tenant, ns) = home(cluster, "explained").await?;
        let name = unique("explained");
        store(&client, &ns, "settings", &["a"]).await?;
        let rego = "package bailiwick\n\ndeny contains msg if {\n  input.request.object.data.a\n  input.request.userInfo.username != \"keeper\"\n  not \"keepers\" in input.request.userInfo.groups\n  msg := sprintf(\"not for %s\", [input.request.userInfo.username])\n}\n";
        let policy = refusing(&name, &tenant, "a", "no", &json!({ "rego": rego }));
        let revision = active(&served(&client, &policy).await?);
        let before = state(&client, &name).await?;
        let explain = format!("explain configmap settings -n {ns}");
        let person = Person::mighty(cluster, "ann")?;

        for (who, user, groups) in [
            ("--as stranger", "stranger", &["system:masters"][..]),
            ("--as keeper", "keeper", &["system:masters"]),
            (
                "--as stranger --as-group keepers",
                "stranger",
                &["system:masters", "keepers"],
            ),
        ] {
            let told = person.run(0, &format!("{explain} {who}"), "").await?.stdout;
            let answer = put(&cluster.client_as(user, groups)?, &ns, "a").await;
            if who == "--as stranger" {
                let status = objects::denied(answer, "BW-POLICY")?;
                ensure!(status.message.contains("not for stranger"), "{}", status.message);
                let expected = format!(
                    "ConfigMap {ns}/settings of tenant {tenant}: denied\n  {name}@{revision} judged it by deny: it objects\n    denied by deny: not for stranger\n      rule at spec.rego:3\n"
                );
                ensure!(told.starts_with(&expected), "{told}");
                ensure!(
                    told.contains("input.request.object.data.a = \"x\"")
                        && told.contains("spec.rego:5: input.request.userInfo.username != \"keeper\""),
                    "{told}"
                );
            } else {
                answer?;
                let expected = format!(
                    "ConfigMap {ns}/settings of tenant {tenant}: clean\n  {name}@{revision} judged it by deny: nothing to object to\n"
                );
                ensure!(told.starts_with(&expected), "{told}");
            }
        }
        let told = person
            .run(0, &format!("{explain} -o json --as stranger"), "")
            .await?
            .stdout;
        let told: Value = serde_json::from_str(&told)?;
        let said = &told["objects"][0]["parts"][0]["policies"];
        let said = said
            .as_array()
            .into_iter()
            .flatten()
            .find(|it| it["policy"] == name.as_str());
        let said = said.context("the policy is not named")?;
        ensure!(
            told["objects"][0]["verdict"] == "Denied"
                && said["said"][0]["finding"]["found"] == "not for stranger",
            "{told}"
        );

        let absent = explain.replace("settings", "absent");
        person
            .fails(&absent, &format!("there is no ConfigMap {ns}/absent"))
            .await?;
        person
            .fails("explain configmap settings", "name one with -n")
            .await?;
        person
            .fails(
                &explain.replace("configmap", "configmop"),
                "did you mean configmap?",
            )
            .await?;
        let reader = Person::new(cluster, "reader", &[])?;
        reader
            .fails(&explain, "cannot get resource \"configmaps\"")
            .await?;
        reader.becomes("view").await?;
        reader.becomes("bailiwick-policy-approver").await?;
        let denied = "cannot get resource \"tenants\"";
        eventually(SOON, "it is the Tenant that can't be read", async || {
            reader.fails(&explain, denied).await
        })
        .await?;
        reader.becomes("cluster-admin").await?;
        reader.may(0, &explain).await?;
        ensure!(state(&client, &name).await? == before, "something was written");
        Ok(())
    })
}

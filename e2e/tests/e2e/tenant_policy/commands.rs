//! The commands about policies of a cluster: the real program, a kubeconfig, and what is stored before and after.

mod judged;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{
    cluster::{Cluster, Output},
    install::NAMESPACE,
    objects,
    wait::eventually,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::{Value, json};

use super::{active, condition, home, policies, put, refused, refusing, served, write};
use crate::fixture::{SOON, on_shared_cluster, unique};

const RBAC: &str = "rbac.authorization.k8s.io";

/// Somebody with a kubeconfig.
struct Person<'a> {
    cluster: &'a Cluster,
    name: String,
    kubeconfig: PathBuf,
}

impl<'a> Person<'a> {
    fn new(cluster: &'a Cluster, stem: &str, groups: &[&str]) -> Result<Self> {
        let name = unique(stem);
        let kubeconfig = cluster.kubeconfig_as(&name, groups)?;
        Ok(Self {
            cluster,
            name,
            kubeconfig,
        })
    }

    /// Somebody who may do everything.
    fn mighty(cluster: &'a Cluster, stem: &str) -> Result<Self> {
        Self::new(cluster, stem, &["system:masters"])
    }

    fn client(&self) -> Result<Client> {
        self.cluster.client_as(&self.name, &["system:masters"])
    }

    /// Runs the command, which ends with this code.
    async fn run(&self, code: i32, words: &str, input: &str) -> Result<Output> {
        let words: Vec<&str> = words.split(' ').collect();
        let output = self.cluster.bailiwick(&self.kubeconfig, &words, input).await?;
        ensure!(
            output.status.code() == Some(code),
            "{output}where {code} is expected"
        );
        Ok(output)
    }

    /// Runs a command that gives nothing but a complaint with this in it.
    async fn fails(&self, words: &str, says: &str) -> Result<()> {
        let output = self.run(2, words, "").await?;
        let is_one_line = output.stderr.starts_with("error: ") && output.stderr.lines().count() == 1;
        ensure!(
            output.stdout.is_empty() && is_one_line && output.stderr.contains(says),
            "{output}where '{says}' is expected"
        );
        Ok(())
    }

    /// Gives one of the chart's roles.
    async fn becomes(&self, role: &str) -> Result<()> {
        let role_ref = json!({ "apiGroup": RBAC, "kind": "ClusterRole", "name": role });
        self.bind(
            "ClusterRoleBinding",
            &json!({ "name": format!("{}-{role}", self.name) }),
            &role_ref,
        )
        .await
    }

    /// Lets somebody read the revisions.
    async fn reads_revisions(&self) -> Result<()> {
        let metadata = json!({ "name": self.name, "namespace": NAMESPACE });
        let role = json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": metadata,
            "rules": [{ "apiGroups": ["apps"], "resources": ["controllerrevisions"], "verbs": ["list"] }],
        });
        objects::apply(&self.cluster.client(), &role.to_string()).await?;
        let role_ref = json!({ "apiGroup": RBAC, "kind": "Role", "name": self.name });
        self.bind("RoleBinding", &metadata, &role_ref).await
    }

    async fn bind(&self, kind: &str, metadata: &Value, role_ref: &Value) -> Result<()> {
        let binding = json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": kind, "metadata": metadata, "roleRef": role_ref,
            "subjects": [{ "apiGroup": RBAC, "kind": "User", "name": self.name }],
        });
        objects::apply(&self.cluster.client(), &binding.to_string()).await?;
        Ok(())
    }

    /// Waits until the API server knows of what somebody may do.
    async fn may(&self, code: i32, words: &str) -> Result<()> {
        eventually(SOON, &format!("{} may {words}", self.name), async || {
            self.run(code, words, "").await.map(drop)
        })
        .await
    }
}

fn file(cluster: &Cluster, name: &str, content: &str) -> Result<String> {
    let path = cluster.directory().join(name);
    fs::write(&path, content)?;
    Ok(path.display().to_string())
}

async fn approvals(client: &Client, policy: &str) -> Result<Vec<Value>> {
    let kind = GroupVersionKind::gvk("bailiwick.dev", "v1alpha1", "PolicyApproval");
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let all = all.list(&ListParams::default()).await?.items;
    let specs = all.into_iter().map(|it| it.data["spec"].clone());
    Ok(specs.filter(|it| it["policy"] == policy).collect())
}

/// What the commands that only read leave alone: what is written, what decides, and what is to.
async fn state(client: &Client, name: &str) -> Result<Value> {
    let now = policies(client).get(name).await?;
    let status = &now.data["status"];
    Ok(json!([
        now.data["spec"],
        now.metadata.annotations,
        status["activeRevision"],
        status["candidateRevision"],
        approvals(client, name).await?,
    ]))
}

fn candidate(policy: &DynamicObject) -> Result<(String, String)> {
    let member = |key: &str| {
        let text = policy.data["status"][key].as_str().map(str::to_owned);
        text.with_context(|| policy.data["status"].to_string())
    };
    Ok((member("candidateRevision")?, member("candidateDigest")?))
}

#[test]
fn history_and_diff_tell_what_is_kept() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (tenant, _) = home(cluster, "kept").await?;
        let name = unique("kept");
        let (ann, bob) = (Person::mighty(cluster, "ann")?, Person::mighty(cluster, "bob")?);
        let version = |said: &str, more: &Value| refusing(&name, &tenant, "a", said, more);
        let first = active(&served(&ann.client()?, &version("first", &json!({}))).await?);
        let second = active(&served(&bob.client()?, &version("second", &json!({}))).await?);
        let third = version("third", &json!({ "approvals": { "required": 1 } }));
        write(&ann.client()?, &third).await?;
        let now = condition(&client, &name, ("Ready", "False", "ApprovalsMissing")).await?;
        let (candidate, _) = candidate(&now)?;
        let before = state(&client, &name).await?;

        let told = bob.run(0, &format!("policy history {name}"), "").await?.stdout;
        let rows: Vec<Vec<&str>> = told
            .lines()
            .map(|it| it.split_whitespace().take(5).collect())
            .collect();
        ensure!(
            rows == [
                vec!["NUMBER", "REVISION", "STATE", "AUTHOR", "APPROVED"],
                vec!["3", &candidate, "candidate,", "Pending", &ann.name],
                vec!["2", &second, "active", &bob.name, "-"],
                vec!["1", &first, "-", &ann.name, "-"],
            ],
            "{told}"
        );
        let json = bob.run(0, &format!("policy history {name} -o json"), "").await?;
        let json: Value = serde_json::from_str(&json.stdout)?;
        let states = json["revisions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| &it["state"]);
        ensure!(states.eq(["candidate, Pending", "active", "-"].iter()), "{json}");

        let told = bob.run(1, &format!("policy diff {name}"), "").await?.stdout;
        for line in [
            format!("--- spec.rego {second} (active)"),
            format!("+++ spec.rego {candidate} (candidate)"),
            "-requiredApprovals: 0".to_owned(),
            "+requiredApprovals: 1".to_owned(),
        ] {
            ensure!(told.lines().any(|it| it == line), "{line} in {told}");
        }
        let said = |sign: &str, word: &str| format!("\n{sign}deny contains {{\"msg\": \"{word}\"");
        ensure!(
            told.contains(&said("-", "second")) && told.contains(&said("+", "third")),
            "{told}"
        );
        let told = bob
            .run(1, &format!("policy diff {name} 1 {}", &second[..6]), "")
            .await?
            .stdout;
        ensure!(
            told.contains(&said("-", "first")) && told.contains(&said("+", "second")),
            "{told}"
        );
        let told = bob.run(0, &format!("policy diff {name} 2 active"), "").await?;
        ensure!(told.stdout.is_empty() && told.stderr.is_empty(), "{told}");
        // With a file, before it is applied.
        for (said, code) in [("second", 0), ("fourth", 1)] {
            let file = file(
                cluster,
                &format!("{name}-{said}.yaml"),
                &version(said, &json!({})).to_string(),
            )?;
            bob.run(code, &format!("policy diff {name} -f {file}"), "")
                .await?;
        }

        bob.fails("policy history nobodys", "there is no TenantPolicy 'nobodys'")
            .await?;
        bob.fails("policy diff nobodys", "there is no TenantPolicy 'nobodys'")
            .await?;
        bob.fails(
            &format!("policy diff {name} 9"),
            "'9' is no revision of TenantPolicy",
        )
        .await?;
        bob.fails(
            &format!("policy diff {name} 1 0123456789ab"),
            "is no revision of TenantPolicy",
        )
        .await?;
        ensure!(state(&client, &name).await? == before, "something was written");
        Ok(())
    })
}

#[test]
fn who_may_read_is_for_rbac_to_say() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let (tenant, _) = home(cluster, "read").await?;
        let name = unique("read");
        served(
            &cluster.client(),
            &refusing(&name, &tenant, "a", "no", &json!({})),
        )
        .await?;
        let [history, diff] = ["history", "diff"].map(|it| format!("policy {it} {name}"));
        let diff = format!("{diff} 1 active");
        let reader = Person::new(cluster, "reader", &[])?;
        for words in [
            &history,
            &diff,
            &format!("policy replay {name}"),
            &format!("policy rollback {name}"),
        ] {
            reader
                .fails(words, &format!("User \"{}\" cannot get", reader.name))
                .await?;
        }
        // The role lets them read policies; the revisions are in Bailiwick's own namespace.
        reader.becomes("bailiwick-policy-approver").await?;
        reader.may(0, &history).await?;
        reader.fails(&diff, &format!("cannot list resource \"controllerrevisions\" in API group \"apps\" in the namespace \"{NAMESPACE}\"")).await?;
        reader.reads_revisions().await?;
        reader.may(0, &diff).await?;
        reader
            .fails(&format!("{diff} --bailiwick-namespace elsewhere"), "elsewhere")
            .await?;

        // The kubeconfig of the command line comes first.
        let kubeconfig = reader.kubeconfig.display();
        let nobody = Person {
            kubeconfig: PathBuf::from("nowhere"),
            name: String::new(),
            cluster,
        };
        nobody
            .fails(&history, "name a kubeconfig with --kubeconfig or KUBECONFIG")
            .await?;
        nobody
            .run(
                0,
                &format!("{history} --kubeconfig {kubeconfig} --context bailiwick"),
                "",
            )
            .await?;
        nobody
            .fails(
                &format!("{history} --kubeconfig {kubeconfig} --context other"),
                "other",
            )
            .await
    })
}

#[test]
fn approve_is_in_ones_own_name_and_of_what_was_reviewed() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (tenant, ns) = home(cluster, "approve").await?;
        let name = unique("approve");
        let ann = Person::mighty(cluster, "ann")?;
        let [bob, cy, reader] = ["bob", "cy", "reader"].map(|it| Person::new(cluster, it, &[]));
        let (bob, cy, reader) = (bob?, cy?, reader?);
        let two = json!({ "approvals": { "required": 2 } });
        write(&ann.client()?, &refusing(&name, &tenant, "a", "first", &two)).await?;
        let pending = condition(&client, &name, ("Ready", "False", "ApprovalsMissing")).await?;
        let (revision, digest) = candidate(&pending)?;
        for person in [&bob, &cy, &reader] {
            let role = if person.name == reader.name {
                "view"
            } else {
                "bailiwick-policy-approver"
            };
            person.becomes(role).await?;
            person.reads_revisions().await?;
        }
        let (words, diff) = (
            format!("policy approve {name} --yes"),
            format!("policy diff {name}"),
        );
        bob.may(1, &diff).await?;
        cy.may(1, &diff).await?;

        // By the author, by who may not, by a tenant's owner, of something else, and by who says no.
        ann.fails(&words, "nobody approves what is their own").await?;
        reader
            .fails(&words, "cannot get resource \"tenantpolicies\"")
            .await?;
        let owner = Person {
            name: format!("{tenant}-owner"),
            kubeconfig: cluster.kubeconfig_as(&format!("{tenant}-owner"), &["system:masters"])?,
            cluster,
        };
        let told = owner.run(2, &words, "").await?.stderr;
        ensure!(told.contains("BW-POLICY-APPROVER"), "{told}");
        bob.fails(&format!("{words} --digest {}", "0".repeat(12)), "review it again")
            .await?;
        bob.fails(
            "policy approve nobodys --yes",
            "there is no TenantPolicy 'nobodys'",
        )
        .await?;
        for answer in ["", "no\n"] {
            let told = bob.run(2, &format!("policy approve {name}"), answer).await?;
            ensure!(told.stderr.ends_with("? [y/N] nothing was approved\n"), "{told}");
        }
        ensure!(
            approvals(&client, &name).await?.is_empty(),
            "something was approved"
        );
        put(&client, &ns, "a").await?;

        let reviewed = format!("policy approve {name} --digest {}", &digest[..12]);
        let told = bob.run(0, &reviewed, "yes\n").await?;
        ensure!(
            told.stdout.contains("\n+deny contains {\"msg\": \"first\"")
                && told.stdout.ends_with(&format!(
                    "revision {revision} of {name} is approved by {}\n",
                    bob.name
                ))
                && told.stderr.contains("needs 2 approvals and has 0"),
            "{told}"
        );
        let told = bob.run(0, &words, "").await?.stdout;
        ensure!(
            told.ends_with(&format!("is approved already by {}\n", bob.name)),
            "{told}"
        );
        let given = |by: &Person<'_>| json!({ "policy": name, "digest": digest, "approver": by.name });
        ensure!(approvals(&client, &name).await? == [given(&bob)]);
        condition(&client, &name, ("Ready", "False", "ApprovalsMissing")).await?;
        cy.run(0, &words, "").await?;
        let now = condition(&client, &name, ("Ready", "True", "AsWritten")).await?;
        ensure!(active(&now) == revision && approvals(&client, &name).await?.len() == 2);
        ensure!(refused(&client, &ns, "a").await?.contains("first"));
        let told = bob.run(0, &format!("policy history {name}"), "").await?.stdout;
        let by = [
            format!("{}, {}", bob.name, cy.name),
            format!("{}, {}", cy.name, bob.name),
        ];
        ensure!(by.iter().any(|it| told.contains(it)), "{told}");
        bob.fails(&words, "has no candidate that waits for approvals")
            .await
    })
}

#[test]
fn rollback_goes_back_and_forth() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (tenant, ns) = home(cluster, "rolled").await?;
        let name = unique("rolled");
        let version = |said: &str| refusing(&name, &tenant, "a", said, &json!({}));
        let first = active(&served(&client, &version("first")).await?);
        let second = active(&served(&client, &version("second")).await?);
        let pinned = async || {
            Ok::<_, kube::Error>(policies(&client).get(&name).await?.data["spec"]["revision"].clone())
        };
        let (editor, reader) = (
            Person::new(cluster, "editor", &[])?,
            Person::new(cluster, "reader", &[])?,
        );
        for (person, role) in [
            (&editor, "bailiwick-policy-editor"),
            (&reader, "bailiwick-policy-approver"),
        ] {
            person.becomes(role).await?;
            person.reads_revisions().await?;
            person.may(1, &format!("policy diff {name} 1 2")).await?;
        }
        let rollback = format!("policy rollback {name}");

        reader
            .fails(&rollback, "cannot patch resource \"tenantpolicies\"")
            .await?;
        editor
            .fails("policy rollback nobodys", "there is no TenantPolicy 'nobodys'")
            .await?;
        editor
            .fails(
                &format!("{rollback} --to 9"),
                "'9' is no revision of TenantPolicy",
            )
            .await?;
        let told = editor.run(0, &format!("{rollback} --undo"), "").await?.stdout;
        ensure!(told.contains("follows what is written already"), "{told}");
        ensure!(pinned().await?.is_null(), "it was held");
        ensure!(refused(&client, &ns, "a").await?.contains("second"));

        let told = editor.run(0, &rollback, "").await?.stdout;
        ensure!(
            told == format!("TenantPolicy '{name}' goes back to revision {first} and is held there\n"),
            "{told}"
        );
        ensure!(pinned().await? == first.as_str());
        let now = condition(&client, &name, ("Ready", "True", "Pinned")).await?;
        ensure!(active(&now) == first && refused(&client, &ns, "a").await?.contains("first"));
        let told = editor.run(0, &format!("{rollback} --to 1"), "").await?.stdout;
        ensure!(
            told.contains(&format!("is held at revision {first} already")),
            "{told}"
        );
        editor.fails(&rollback, "keeps no revision before").await?;
        let told = editor.run(0, &format!("policy history {name}"), "").await?.stdout;
        ensure!(
            told.contains(&format!("spec.revision holds it at {first}")),
            "{told}"
        );

        let told = editor
            .run(0, &format!("{rollback} --to {}", &second[..8]), "")
            .await?
            .stdout;
        ensure!(
            told.contains(&format!("goes back to revision {second}")),
            "{told}"
        );
        eventually(SOON, "the second decides", async || {
            let now = condition(&client, &name, ("Ready", "True", "Pinned")).await?;
            ensure!(active(&now) == second, "{}", now.data["status"]);
            Ok(())
        })
        .await?;
        editor.run(0, &format!("{rollback} --undo"), "").await?;
        ensure!(pinned().await?.is_null(), "it is held");
        condition(&client, &name, ("Ready", "True", "AsWritten")).await?;
        ensure!(refused(&client, &ns, "a").await?.contains("second"));
        Ok(())
    })
}

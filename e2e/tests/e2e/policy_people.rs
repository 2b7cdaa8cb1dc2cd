//! Who writes a TenantPolicy, who approves it, and what nobody but the operator writes: as the API server alone sees to it.

mod bare;

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{
    cluster::Cluster,
    install::NAMESPACE,
    objects::{self, denied},
    wait::eventually,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    fixture::{SOON, on_shared_cluster, unique},
    requests::{Callers, Rights, Step, send},
    steps::tenant,
};

const POLICIES: &str = "/apis/bailiwick.dev/v1alpha1/tenantpolicies";
const APPROVALS: &str = "/apis/bailiwick.dev/v1alpha1/policyapprovals";
const AUTHOR: &str = "bailiwick.dev/changed-by";
/// A policy of somebody else, whose revision can be approved.
const SOME: &str = "some";
/// The digest of that revision: the same in every cluster.
static DIGEST: OnceLock<String> = OnceLock::new();
/// The API server looks for new kinds every half minute.
const UNTIL_KINDS_ARE_KNOWN: Duration = Duration::from_mins(2);

fn policy(name: &str, rego: &str) -> Value {
    json!({
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "TenantPolicy",
        "metadata": { "name": name },
        "spec": {
            "tenants": ["acme"],
            "match": { "resources": [{ "groups": [""], "kinds": ["Pod"] }] },
            "rego": format!("package bailiwick # {rego}"),
        },
    })
}

fn approval(name: &str, approver: Option<&str>) -> Value {
    let mut approval = json!({
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "PolicyApproval",
        "metadata": { "name": name },
        "spec": { "policy": SOME, "digest": DIGEST.get() },
    });
    if let Some(approver) = approver {
        approval["spec"]["approver"] = json!(approver);
    }
    approval
}

fn revision(name: &str, labels: &Value) -> Value {
    let metadata = json!({ "name": name, "namespace": NAMESPACE, "labels": labels });
    json!({ "apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "revision": 1, "data": {} })
}

fn revisions() -> String {
    format!("/apis/apps/v1/namespaces/{NAMESPACE}/controllerrevisions")
}

fn step(user: &str, verb: &str, path: impl Into<String>, body: Value) -> Step {
    Step {
        user: user.to_owned(),
        groups: Vec::new(),
        verb: verb.to_owned(),
        path: path.into(),
        body,
        rights: Rights::All,
    }
}

fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    let types = GroupVersionKind::gvk("bailiwick.dev", "v1alpha1", kind);
    Api::all_with(client.clone(), &ApiResource::from_gvk(&types))
}

fn policies(client: &Client) -> Api<DynamicObject> {
    api(client, "TenantPolicy")
}

fn author(policy: &DynamicObject) -> Option<&str> {
    let annotations = policy.metadata.annotations.as_ref()?;
    annotations.get(AUTHOR).map(String::as_str)
}

/// Waits until the API server decides these kinds: it learns of a new kind some time after the kind is served. Then there is
/// a revision that can be approved, and the webhooks know it.
async fn known(cluster: &Cluster, policy: &Value, approval_of: impl Fn() -> Value) -> Result<()> {
    let mut callers = Callers::new(cluster);
    let new = step("platform-admin", "create", POLICIES, policy.clone());
    eventually(UNTIL_KINDS_ARE_KNOWN, "the new kinds are known", async || {
        Ok(callers.send(&new, "dryRun=All", &[]).await??)
    })
    .await?;
    let mut some = self::policy(SOME, "");
    some["metadata"]["annotations"] = json!({ AUTHOR: "somebody" });
    some["spec"]["rego"] = json!("package bailiwick\n\ndeny contains \"no\" if false\n");
    some["spec"]["approvals"] = json!({ "required": 8 });
    // Tests that begin at the same time create it at the same time.
    eventually(SOON, "it is written", async || {
        kubectl(cluster, "somebody", &["apply", "-f", "-"], &some).await
    })
    .await?;
    let all = policies(&cluster.client());
    let digest = eventually(SOON, "there is a revision to approve", async || {
        let now = all.get(SOME).await?;
        let digest = now.data["status"]["candidateDigest"].as_str().map(str::to_owned);
        digest.with_context(|| now.data["status"].to_string())
    })
    .await?;
    DIGEST.get_or_init(|| digest);
    eventually(UNTIL_KINDS_ARE_KNOWN, "the webhooks know it", async || {
        let new = step("platform-admin", "create", APPROVALS, approval_of());
        Ok(callers.send(&new, "dryRun=All", &[]).await??)
    })
    .await
}

/// Runs kubectl as somebody who may do everything, with an object on its stdin.
async fn kubectl(cluster: &Cluster, user: &str, arguments: &[&str], object: &Value) -> Result<()> {
    let all = [&["--as", user, "--as-group", "system:masters"], arguments].concat();
    cluster
        .kubectl_with_input(&all, &object.to_string())
        .await?
        .ok()?;
    Ok(())
}

async fn pass(callers: &mut Callers<'_>, step: &Step) -> Result<()> {
    let answer = callers.send(step, "", &[]).await?;
    answer.with_context(|| format!("{step:?}"))
}

/// Gives the message of the refusal.
async fn refused(callers: &mut Callers<'_>, step: &Step, rule: &str) -> Result<String> {
    let status = denied(callers.send(step, "", &[]).await?, rule).with_context(|| format!("{step:?}"))?;
    Ok(status.message)
}

#[test]
fn every_way_to_change_a_policy_tells_who_did() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let mut callers = Callers::new(cluster);
        let name = unique("authored");
        known(cluster, &policy(&name, "a"), || approval(&name, None)).await?;
        let all = policies(&cluster.client());
        let mut rolled_out = policy(&name, "f");
        rolled_out["spec"]["rollout"] = json!({ "mode": "Shadow" });
        let content = json!({ "spec": { "rego": "package bailiwick # g" } }).to_string();
        let first = ["apply", "--server-side", "--field-manager", "first", "-f", "-"];
        let second = ["apply", "--server-side", "--field-manager", "second", "-f", "-"];
        let forced = [&second[..], &["--force-conflicts"]].concat();
        let merge = ["patch", "tenantpolicy", &name, "--type", "merge", "-p", &content];
        // Nobody here writes the annotation. Who changes nothing that the policy says isn't its author.
        let steps: [(&str, &[&str], Value, &str); 12] = [
            ("a", &["create", "-f", "-"], policy(&name, "a"), "a"),
            ("b", &["apply", "-f", "-"], policy(&name, "b"), "b"),
            ("c", &["apply", "-f", "-"], policy(&name, "b"), "b"),
            ("d", &second, policy(&name, "b"), "b"),
            ("d", &forced, policy(&name, "d"), "d"),
            ("d", &second, policy(&name, "d"), "d"),
            ("e", &second, policy(&name, "e"), "e"),
            ("e", &first, policy(&name, "e"), "e"),
            ("f", &["replace", "-f", "-"], policy(&name, "f"), "f"),
            ("g", &["replace", "-f", "-"], rolled_out, "f"),
            ("g", &merge, Value::Null, "g"),
            ("h", &["label", "tenantpolicy", &name, "x=y"], Value::Null, "g"),
        ];
        for (user, arguments, object, expected) in steps {
            kubectl(cluster, user, arguments, &object).await?;
            let now = all.get(&name).await?;
            ensure!(author(&now) == Some(expected), "{user} {arguments:?}: {now:?}");
        }
        // As `kubectl edit` and a client library do: the whole object, with the former author in it.
        let mut whole = serde_json::to_value(all.get(&name).await?)?;
        whole["spec"]["rego"] = json!("package bailiwick # i");
        kubectl(cluster, "i", &["replace", "-f", "-"], &whole).await?;
        let now = all.get(&name).await?;
        ensure!(author(&now) == Some("i"), "{now:?}");
        // No field manager was made the owner of what nobody wrote.
        let managers = now.metadata.managed_fields.clone().unwrap_or_default();
        let owners = managers.iter().filter(|it| {
            let fields = serde_json::to_string(&it.fields_v1).unwrap_or_default();
            fields.contains(AUTHOR)
        });
        ensure!(managers.len() > 2 && owners.count() == 0, "{managers:?}");

        // Each part of what a policy says, and beside it what only tells how it comes to serve.
        let say = [
            ("tenants", json!(["globex"])),
            (
                "match",
                json!({ "operations": ["DELETE"], "resources": [{ "groups": [""], "kinds": ["Secret"] }] }),
            ),
            ("enforcement", json!("Audit")),
            ("parameters", json!({ "x": [1] })),
            ("rego", json!("package bailiwick # j")),
            ("libs", json!(["package lib"])),
            ("regoVersion", json!("v0")),
            ("tests", json!([{ "name": "t", "object": {}, "expect": "Allow" }])),
            ("limits", json!({ "evaluationMilliseconds": 9 })),
            ("approvals", json!({ "required": 1 })),
            ("revision", json!("0123456789ab")),
            (
                "exceptions",
                json!([{ "name": "e", "namespaces": ["n"], "until": "2090-01-01T00:00:00Z", "reason": "r", "owner": "o" }]),
            ),
        ];
        let serve = [
            ("rollout", json!({ "mode": "All" })),
            ("revisionHistoryLimit", json!(3)),
        ];
        let path = format!("{POLICIES}/{name}");
        let mut last = "i".to_owned();
        for (field, value) in serve.iter().chain(&say) {
            let user = format!("of-{field}");
            let change = json!({ "spec": { *field: value } });
            pass(&mut callers, &step(&user, "merge", &path, change)).await?;
            let now = all.get(&name).await?;
            ensure!(now.data["spec"][*field] == *value, "{field}: {now:?}");
            if say.iter().any(|it| it.0 == *field) {
                last = user;
            }
            ensure!(author(&now) == Some(last.as_str()), "{field}: {now:?}");
        }
        // The two that exclude others.
        let other = json!({ "spec": { "tenants": null, "tenantSelector": {} } });
        pass(&mut callers, &step("k", "merge", &path, other)).await?;
        ensure!(author(&all.get(&name).await?) == Some("k"));
        let pack = json!({ "spec": {
            "rego": null, "libs": null, "regoVersion": null, "pack": { "name": "p", "version": "1" },
        } });
        pass(&mut callers, &step("l", "merge", &path, pack)).await?;
        ensure!(author(&all.get(&name).await?) == Some("l"));
        Ok(())
    })
}

#[test]
fn nobody_writes_another_author() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let mut callers = Callers::new(cluster);
        let name = unique("unforged");
        known(cluster, &policy(&name, "a"), || approval(&name, None)).await?;
        let all = policies(&cluster.client());
        let path = format!("{POLICIES}/{name}");
        let annotate =
            |key: &str, value: Option<&str>| json!({ "metadata": { "annotations": { key: value } } });

        // In a new policy, or with a change, it is overwritten.
        let mut forged = policy(&name, "a");
        forged["metadata"]["annotations"] = json!({ AUTHOR: "alice-of-policies" });
        pass(
            &mut callers,
            &step("mallory-of-policies", "create", POLICIES, forged),
        )
        .await?;
        ensure!(author(&all.get(&name).await?) == Some("mallory-of-policies"));
        let mut forged = annotate(AUTHOR, Some("alice-of-policies"));
        forged["spec"] = json!({ "rego": "package bailiwick # b" });
        pass(&mut callers, &step("eve", "merge", &path, forged)).await?;
        let before = all.get(&name).await?;
        ensure!(author(&before) == Some("eve"), "{before:?}");

        // By itself it is refused, also beside something that isn't what the policy says, also to the operator.
        let mut rollout = annotate(AUTHOR, Some("alice-of-policies"));
        rollout["spec"] = json!({ "rollout": { "mode": "Shadow" } });
        let by_hand = annotate(AUTHOR, Some("alice-of-policies"));
        let by_mallory = annotate(AUTHOR, Some("mallory-of-policies"));
        for (user, body) in [
            ("mallory-of-policies", &by_hand),
            ("mallory-of-policies", &by_mallory),
            ("mallory-of-policies", &rollout),
            ("operator", &by_hand),
        ] {
            let told = refused(
                &mut callers,
                &step(user, "merge", &path, body.clone()),
                "BW-POLICY-AUTHOR",
            )
            .await
            .with_context(|| format!("{user} {body}"))?;
            ensure!(told.contains("must stay \"eve\""), "{told}");
            let now = all.get(&name).await?;
            ensure!(now.metadata.generation == before.metadata.generation && author(&now) == Some("eve"));
        }
        // Taken off, it is put back.
        for body in [
            annotate(AUTHOR, None),
            json!({ "metadata": { "annotations": null } }),
        ] {
            pass(&mut callers, &step("mallory-of-policies", "merge", &path, body)).await?;
            ensure!(author(&all.get(&name).await?) == Some("eve"));
        }
        // With the status, the API server itself leaves it alone.
        let mut status = by_hand.clone();
        status["status"] = json!({ "observedGeneration": 1 });
        let path_of_status = format!("{path}/status");
        pass(&mut callers, &step("operator", "merge", path_of_status, status)).await?;
        let now = all.get(&name).await?;
        ensure!(author(&now) == Some("eve"));

        // Another annotation is anybody's, and so is the rollout.
        let mut harmless = annotate("bailiwick.dev/note", Some("alice-of-policies"));
        harmless["spec"] = rollout["spec"].clone();
        pass(
            &mut callers,
            &step("mallory-of-policies", "merge", &path, harmless),
        )
        .await?;
        let now = all.get(&name).await?;
        ensure!(author(&now) == Some("eve") && now.data["spec"]["rollout"]["mode"] == "Shadow");
        Ok(())
    })
}

#[test]
fn an_approval_is_in_the_name_of_who_gives_it() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let mut callers = Callers::new(cluster);
        let name = unique("approval");
        known(cluster, &policy(&name, "a"), || approval(&name, None)).await?;
        let all = api(&cluster.client(), "PolicyApproval");
        let new =
            |user: &str, approver: Option<&str>| step(user, "create", APPROVALS, approval(&name, approver));

        let told = refused(
            &mut callers,
            &new("bob-of-policies", Some("alice-of-policies")),
            "BW-POLICY-APPROVER",
        )
        .await?;
        ensure!(
            told.contains("is \"alice-of-policies\"; it must be \"bob-of-policies\""),
            "{told}"
        );
        ensure!(all.get_opt(&name).await?.is_none(), "it was stored");
        pass(&mut callers, &new("bob-of-policies", None)).await?;
        let before = all.get(&name).await?;
        ensure!(before.data["spec"]["approver"] == "bob-of-policies", "{before:?}");

        // It can't be taken over, nor turned to something else.
        for spec in [
            json!({ "approver": "carol-of-policies" }),
            json!({ "policy": "other" }),
            json!({ "digest": "1".repeat(64) }),
        ] {
            let change = step(
                "carol-of-policies",
                "merge",
                format!("{APPROVALS}/{name}"),
                json!({ "spec": spec }),
            );
            let refused = callers.send(&change, "", &[]).await?;
            let is_told = matches!(&refused, Err(kube::Error::Api(status))
                if status.code == 422 && status.message.contains("delete this approval and create another"));
            ensure!(is_told, "{spec}: {refused:?}");
            let now = all.get(&name).await?;
            ensure!(now.metadata.resource_version == before.metadata.resource_version);
        }
        // What is in a file without an approver can be applied and replaced again and again.
        let again = approval(&name, None);
        for (user, arguments) in [
            ("bob-of-policies", &["apply", "-f", "-"][..]),
            (
                "bob-of-policies",
                &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            ),
            (
                "carol-of-policies",
                &["apply", "--server-side", "--field-manager", "other", "-f", "-"],
            ),
            ("carol-of-policies", &["replace", "-f", "-"]),
        ] {
            kubectl(cluster, user, arguments, &again).await?;
            let now = all.get(&name).await?;
            ensure!(
                now.data["spec"] == before.data["spec"],
                "{user} {arguments:?}: {now:?}"
            );
        }
        let withdrawn = step(
            "carol-of-policies",
            "delete",
            format!("{APPROVALS}/{name}"),
            Value::Null,
        );
        pass(&mut callers, &withdrawn).await?;
        pass(&mut callers, &new("bob-of-policies", Some("bob-of-policies"))).await?;
        ensure!(all.get(&name).await?.data["spec"]["approver"] == "bob-of-policies");
        Ok(())
    })
}

fn refused_by_rbac(result: &kube::Result<()>) -> Result<()> {
    let by_rbac = matches!(result, Err(kube::Error::Api(status))
        if status.code == 403 && status.message.contains(" cannot ") && !status.message.contains("BW-"));
    ensure!(by_rbac, "{result:?}");
    Ok(())
}

fn subject(kind: &str, name: &str) -> Value {
    json!({ "kind": kind, "apiGroup": "rbac.authorization.k8s.io", "name": name })
}

/// A ClusterRoleBinding as JSON.
fn binding(name: &str, role: &str, subjects: &[Value]) -> String {
    let role_ref = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role });
    let types = ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding");
    json!({ "apiVersion": types.0, "kind": types.1, "metadata": { "name": name }, "roleRef": role_ref, "subjects": subjects })
        .to_string()
}

/// The roles are given before there is the tenant, because later they would be refused.
#[test]
fn a_tenants_people_neither_write_policies_nor_approve() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let (name, ns) = (unique("people"), unique("people-ns"));
        known(cluster, &policy(&name, "a"), || approval(&name, None)).await?;
        let (owner, group) = (format!("{name}-owner"), format!("{name}-group"));
        let (robot, stranger) = (
            format!("system:serviceaccount:{ns}:robot"),
            format!("{name}-stranger"),
        );
        let subjects = [
            subject("User", &owner),
            subject("Group", &group),
            subject("User", &robot),
            subject("User", &stranger),
        ];
        let people = [
            cluster.client_as(&owner, &[])?,
            cluster.client_as("anybody", &[&group])?,
            cluster.client_as(&robot, &[])?,
        ];
        let [editor, approver] = ["bailiwick-policy-editor", "bailiwick-policy-approver"];
        let new_policy = step("", "create", POLICIES, policy(&name, "a"));
        let new_approval = step("", "create", APPROVALS, approval(&name, None));

        // Each role lets them do its part and no other.
        for person in &people {
            for new in [&new_policy, &new_approval] {
                refused_by_rbac(&send(person.clone(), new, "dryRun=All").await?)?;
            }
        }
        objects::create(&client, &binding(&format!("{name}-1"), editor, &subjects)).await?;
        for person in &people {
            eventually(SOON, "the editor's role lets them", async || {
                Ok(send(person.clone(), &new_policy, "dryRun=All").await??)
            })
            .await?;
            refused_by_rbac(&send(person.clone(), &new_approval, "dryRun=All").await?)?;
        }
        objects::create(&client, &binding(&format!("{name}-2"), approver, &subjects)).await?;
        for person in &people {
            eventually(SOON, "the approver's role lets them", async || {
                Ok(send(person.clone(), &new_approval, "dryRun=All").await??)
            })
            .await?;
        }

        let more = format!("identities: {{ groups: [{group}] }}");
        objects::apply(&client, &tenant(&name, &[&ns], &more)).await?;
        let stranger_too = cluster.client_as(&stranger, &[])?;
        for (rule, new) in [
            ("BW-POLICY-AUTHOR", &new_policy),
            ("BW-POLICY-APPROVER", &new_approval),
        ] {
            for person in &people {
                let told = eventually(SOON, &format!("{rule} refuses them"), async || {
                    denied(send(person.clone(), new, "dryRun=All").await?, rule)
                })
                .await?;
                // The webhook knows it a moment earlier than the native policy.
                let says = ["who belongs to a tenant", "is a subject of tenant"];
                ensure!(
                    says.iter().any(|it| told.message.contains(it)),
                    "{}",
                    told.message
                );
                denied(send(person.clone(), new, "").await?, rule)?;
            }
            // Nothing is there yet: who belongs to no tenant creates it. And a tenant's people don't delete it.
            send(stranger_too.clone(), new, "").await??;
            let gone = step("", "delete", format!("{}/{name}", new.path), Value::Null);
            for person in &people {
                denied(send(person.clone(), &gone, "").await?, rule)?;
            }
            send(stranger_too.clone(), &gone, "").await??;
        }
        // From now on the roles can't be given to them either.
        for (role, late) in [(editor, format!("{name}-3")), (approver, format!("{name}-4"))] {
            let theirs = binding(&late, role, &[subject("User", &owner)]);
            denied(objects::create(&client, &theirs).await, "BW-CRB-SUBJECT")?;
            objects::create(&client, &binding(&late, role, &[subject("User", &stranger)])).await?;
        }
        Ok(())
    })
}

#[test]
fn the_record_of_policies_is_the_operators() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let client = cluster.client();
        let mut callers = Callers::new(cluster);
        let name = unique("record");
        known(cluster, &policy(&name, "a"), || approval(&name, None)).await?;
        let all = policies(&client);
        let path = format!("{POLICIES}/{name}");
        pass(
            &mut callers,
            &step("alice-of-policies", "create", POLICIES, policy(&name, "a")),
        )
        .await?;

        // The status, which says what decides and how many approvals the next revision needs.
        let status = json!({ "status": { "requiredApprovals": 7 } });
        let write = step("alice-of-policies", "merge", format!("{path}/status"), status);
        refused(&mut callers, &write, "BW-RECORD").await?;
        ensure!(all.get(&name).await?.data["status"]["requiredApprovals"] != 7);
        let operator = cluster
            .client_as_service_account(NAMESPACE, "bailiwick-operator")
            .await?;
        send(operator.clone(), &write, "").await??;

        // The revisions.
        let (ours, others) = (json!({ "bailiwick.dev/policy": name }), json!({ "policy": name }));
        let at = |it: &str| format!("{}/{it}", revisions());
        let (revision_name, other_name) = (unique("revision"), unique("other"));
        let new =
            |it: &str, labels: &Value| step("alice-of-policies", "create", revisions(), revision(it, labels));
        refused(&mut callers, &new(&revision_name, &ours), "BW-RECORD").await?;
        pass(&mut callers, &new(&other_name, &others)).await?;
        send(operator.clone(), &new(&revision_name, &ours), "").await??;
        let label =
            |value: Option<&str>| json!({ "metadata": { "labels": { "bailiwick.dev/policy": value } } });
        let note = json!({ "metadata": { "annotations": { "note": "x" } } });
        for (object, body) in [
            (&revision_name, label(None)),
            (&revision_name, label(Some("other"))),
            (&revision_name, note.clone()),
            (&other_name, label(Some(&name))),
        ] {
            let change = step("alice-of-policies", "merge", at(object), body.clone());
            refused(&mut callers, &change, "BW-RECORD")
                .await
                .with_context(|| format!("{object} {body}"))?;
        }
        refused(
            &mut callers,
            &step("alice-of-policies", "delete", at(&revision_name), Value::Null),
            "BW-RECORD",
        )
        .await?;
        let now: Value = client
            .request(http::Request::get(at(&revision_name)).body(Vec::new())?)
            .await?;
        ensure!(
            now["metadata"]["labels"] == ours && now["metadata"]["annotations"].is_null(),
            "{now}"
        );
        pass(
            &mut callers,
            &step("alice-of-policies", "merge", at(&other_name), note),
        )
        .await?;
        pass(
            &mut callers,
            &step("alice-of-policies", "delete", at(&other_name), Value::Null),
        )
        .await?;
        send(operator, &step("", "delete", at(&revision_name), Value::Null), "").await??;
        Ok(())
    })
}

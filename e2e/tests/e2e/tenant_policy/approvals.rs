//! Two people see each change of a policy that asks for it.

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, objects, wait::eventually};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, PostParams},
};
use serde_json::{Value, json};

use super::{active, condition, home, policies, put, refused, refusing, write};
use crate::fixture::{SOON, on_shared_cluster, unique};

fn approvals(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("bailiwick.dev", "v1alpha1", "PolicyApproval");
    Api::all_with(client.clone(), &ApiResource::from_gvk(&kind))
}

pub(crate) async fn approve(
    client: &Client,
    policy: &str,
    digest: &str,
    approver: Option<&str>,
) -> Result<(), kube::Error> {
    let mut spec = json!({ "policy": policy, "digest": digest });
    if let Some(approver) = approver {
        spec["approver"] = json!(approver);
    }
    let approval = serde_json::from_value(json!({
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "PolicyApproval",
        "metadata": { "name": unique("approval") }, "spec": spec,
    }))
    .map_err(kube::Error::SerdeError)?;
    approvals(client)
        .create(&PostParams::default(), &approval)
        .await
        .map(|_| ())
}

fn person(cluster: &Cluster, name: &str) -> Result<Client> {
    cluster.client_as(name, &["system:masters"])
}

pub(crate) fn digest(policy: &DynamicObject) -> Result<String> {
    let digest = policy.data["status"]["candidateDigest"].as_str();
    Ok(digest
        .with_context(|| policy.data["status"].to_string())?
        .to_owned())
}

pub(crate) async fn pending(client: &Client, name: &str) -> Result<DynamicObject> {
    condition(client, name, ("Ready", "False", "ApprovalsMissing")).await
}

#[test]
fn a_revision_serves_only_after_others_approved_exactly_it() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let (ada, bob, cy) = (
            person(cluster, "ada-of-policies")?,
            person(cluster, "bob-of-policies")?,
            person(cluster, "cy-of-policies")?,
        );
        let (tenant, ns) = home(cluster, "approved").await?;
        let owner = person(cluster, &format!("{tenant}-owner"))?;
        let name = unique("approved");
        let two = json!({ "approvals": { "required": 2 } });
        let strict = |said: &str, more: &Value| refusing(&name, &tenant, "a", said, more);
        write(&ada, &strict("first", &two)).await?;
        let first = digest(&pending(&ada, &name).await?)?;
        put(&ada, &ns, "a").await?;

        // By the author, in another's name, by a tenant's admin, for another digest, for another policy: none counts.
        let rule = "BW-POLICY-APPROVER";
        objects::denied(approve(&ada, &name, &first, None).await, rule)?;
        objects::denied(approve(&ada, &name, &first, Some("bob-of-policies")).await, rule)?;
        objects::denied(approve(&owner, &name, &first, None).await, rule)?;
        objects::denied(approve(&bob, &name, &"0".repeat(64), None).await, rule)?;
        objects::denied(approve(&bob, "other", &first, None).await, rule)?;
        approve(&bob, &name, &first, None).await?;
        // Twice by one person is once.
        approve(&bob, &name, &first, None).await?;
        let now = pending(&ada, &name).await?;
        let message = now.data["status"]["conditions"].to_string();
        eventually(SOON, "one approval is counted", async || {
            let now = pending(&ada, &name).await?;
            let revisions = now.data["status"]["revisions"][0]["approvedBy"].clone();
            ensure!(revisions == json!(["bob-of-policies"]), "{revisions}");
            Ok(())
        })
        .await?;
        ensure!(message.contains("'ada-of-policies'"), "{message}");
        put(&ada, &ns, "a").await?;
        approve(&cy, &name, &first, Some("cy-of-policies")).await?;
        condition(&ada, &name, ("Ready", "True", "AsWritten")).await?;
        let before = refused(&ada, &ns, "a").await?;
        ensure!(before.contains("first"), "{before}");
        let told = super::audited(installed, &ns, "/revisions\"").await?;
        ensure!(
            told.contains("by ada-of-policies approved by bob-of-policies and cy-of-policies"),
            "{told}"
        );

        // To soften it, or to ask for fewer approvals, is a change like any other, and so is taking it away.
        let soft = json!({ "enforcement": "Warn", "approvals": { "required": 0 } });
        write(&bob, &strict("first", &soft)).await?;
        let softened = digest(&pending(&ada, &name).await?)?;
        ensure!(softened != first, "the same digest");
        ensure!(refused(&ada, &ns, "a").await?.contains("first"));
        let deleted = policies(&bob).delete(&name, &DeleteParams::default()).await;
        let told = objects::denied(deleted, "BW-POLICY-DELETE")?.message;
        ensure!(told.contains("set spec.approvals.required to 0 first"), "{told}");
        let one = ListParams::default().fields(&format!("metadata.name={name}"));
        let all = policies(&bob)
            .delete_collection(&DeleteParams::default(), &one)
            .await;
        objects::denied(all, "BW-POLICY-DELETE")?;
        objects::denied(approve(&bob, &name, &softened, None).await, rule)?;
        approve(&ada, &name, &softened, None).await?;
        approve(&cy, &name, &softened, None).await?;
        let now = condition(&ada, &name, ("Ready", "True", "AsWritten")).await?;
        ensure!(
            now.data["status"]["requiredApprovals"] == 0,
            "{}",
            now.data["status"]
        );
        put(&ada, &ns, "a").await?;
        policies(&bob).delete(&name, &DeleteParams::default()).await?;
        Ok(())
    })
}

#[test]
fn what_was_approved_before_serves_on_while_its_successor_waits() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let (ada, bob) = (
            person(cluster, "ada-of-policies")?,
            person(cluster, "bob-of-policies")?,
        );
        let (tenant, ns) = home(cluster, "waiting").await?;
        let name = unique("waiting");
        let one = json!({ "approvals": { "required": 1 } });
        write(&ada, &refusing(&name, &tenant, "a", "first", &one)).await?;
        let first = digest(&pending(&ada, &name).await?)?;
        approve(&bob, &name, &first, None).await?;
        let served = condition(&ada, &name, ("Ready", "True", "AsWritten")).await?;
        write(&bob, &refusing(&name, &tenant, "a", "second", &one)).await?;
        let now = pending(&ada, &name).await?;
        ensure!(active(&now) == active(&served), "{}", now.data["status"]);
        ensure!(refused(&ada, &ns, "a").await?.contains("first"));
        // Bob wrote it: his word for the first says nothing of it, and Ada's is enough.
        let second = digest(&now)?;
        objects::denied(approve(&bob, &name, &second, None).await, "BW-POLICY-APPROVER")?;
        approve(&ada, &name, &second, None).await?;
        condition(&ada, &name, ("Ready", "True", "AsWritten")).await?;
        ensure!(refused(&ada, &ns, "a").await?.contains("second"));
        Ok(())
    })
}

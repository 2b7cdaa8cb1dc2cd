//! `demo`: what Bailiwick does, shown with kubectl on the real API server.
//!
//! Each step says what should come out and checks it: the demo fails when the product does something else.

mod stage;

use std::{fs, path::Path, process, time::Duration};

use anyhow::{Context, Result};
use bailiwick_e2e::{binaries, checkout};
use serde_json::Value;

use crate::{daemon::Setup, instance::Instance, up};
use stage::{Stage, explain};

/// An administrator of tenant acme, by way of her group.
const ALICE: [&str; 2] = ["--as=alice", "--as-group=oidc:acme:admin"];
/// The one identity that the guards let through. Only who may impersonate it can borrow it.
const OPERATOR: &str = "--as=system:serviceaccount:bailiwick-system:bailiwick-operator";
/// The NetworkPolicy that closes a namespace.
const DEFAULT_DENY: [&str; 4] = ["-n", "acme-dev", "networkpolicy", "bailiwick-default-deny"];

/// Starts the cluster if it doesn't run, and shows everything.
pub(crate) async fn demo(instance: &Instance) -> Result<()> {
    up::ensure_up(instance, &Setup::ControlPlane { api_port: None }).await?;
    let kubectl = binaries::binaries().await?.kubectl.clone();
    let mut stage = Stage::new(kubectl, instance.kubeconfig(), checkout::root());
    create_tenants(&mut stage).await?;
    pods(&mut stage).await?;
    bindings(&mut stage).await?;
    managed_objects(&mut stage).await?;
    namespace_label(&mut stage, &instance.directory().join("demo")).await?;
    drift(&mut stage).await?;
    stage.conclude()?;
    println!("The cluster is still there to try more: `make up` says how. `make down` ends it.");
    Ok(())
}

async fn create_tenants(stage: &mut Stage) -> Result<()> {
    stage.heading("Two tenants");
    explain("A platform engineer declares them; the operator makes their namespaces and what isolates them.");
    let files = ["-f", "examples/acme.yaml", "-f", "examples/globex.yaml"];
    stage
        .allowed(&[&["apply"], &files[..]].concat(), "both Tenants are valid")
        .await?;
    let wait = [
        "wait",
        "--for=condition=Ready",
        "--timeout=60s",
        "tenant/acme",
        "tenant/globex",
    ];
    stage.allowed(&wait, "both are Ready").await?;
    stage.show(&["get", "tenants"]).await?;
    let labels = "bailiwick.dev/tenant,pod-security.kubernetes.io/enforce";
    let tenants = ["get", "namespaces", "-l", "bailiwick.dev/tenant", "-L", labels];
    let namespaces = stage.show(&tenants).await?.stdout;
    stage.check(
        "each declared namespace exists and carries its tenant's label",
        has_row(&namespaces, &["acme-dev", "acme", "restricted"])
            && has_row(&namespaces, &["acme-prod", "acme", "restricted"])
            && has_row(&namespaces, &["globex-prod", "globex", "baseline"]),
    );
    let objects = stage.show(&[
        "get",
        "networkpolicies,rolebindings,resourcequotas,limitranges",
        "-n",
        "acme-dev",
    ]);
    let objects = objects.await?.stdout;
    stage.check(
        "traffic is denied by default; people, quota and limits are as the Tenant says",
        [
            "networkpolicy.networking.k8s.io/bailiwick-default-deny",
            "rolebinding.rbac",
            "resourcequota/",
            "limitrange/",
        ]
        .iter()
        .all(|it| objects.contains(it)),
    );
    Ok(())
}

async fn pods(stage: &mut Stage) -> Result<()> {
    stage.heading("A Pod belongs to the tenant of its namespace");
    explain("NetworkPolicies select Pods by the tenant label, so nobody may wear another tenant's.");
    let impostor = ["-n", "acme-dev", "pod", "impostor"];
    create_refused(
        stage,
        &ALICE,
        "examples/refused/pod.yaml",
        "BW-POD-LABEL",
        &impostor,
    )
    .await?;

    explain("The same Pod without that label is welcome, and is labelled as acme's on its way in.");
    let file = "examples/allowed/pod.yaml";
    create_allowed(stage, &ALICE, file).await?;
    let shown = stage
        .show(&["get", "pod", "web", "-n", "acme-dev", "--show-labels"])
        .await?
        .stdout;
    stage.check(
        "it carries bailiwick.dev/tenant=acme",
        shown.contains("bailiwick.dev/tenant=acme"),
    );
    remove(stage, file).await
}

async fn bindings(stage: &mut Stage) -> Result<()> {
    stage.heading("Rights end at the border");
    explain("alice administers acme. She would like to let in bob, who belongs to globex.");
    let bob = ["-n", "acme-dev", "rolebinding", "bob-may-look"];
    create_refused(
        stage,
        &ALICE,
        "examples/refused/role-binding.yaml",
        "BW-RB-SUBJECT",
        &bob,
    )
    .await?;
    explain("Her colleague amir belongs to acme.");
    create_allowed(stage, &ALICE, "examples/allowed/role-binding.yaml").await?;

    explain("The cluster's administrator gives a ServiceAccount of acme all rights, by mistake.");
    let deployer = ["clusterrolebinding", "acme-deployer-may-do-anything"];
    let file = "examples/refused/cluster-role-binding.yaml";
    create_refused(stage, &[], file, "BW-CRB-SUBJECT", &deployer).await?;
    explain("What counts is what the role grants: it may well look up which APIs there are.");
    create_allowed(stage, &[], "examples/allowed/cluster-role-binding.yaml").await?;

    explain("All rights in one namespace of acme's are too many still: some of them reach out.");
    let deployer = [
        "-n",
        "acme-dev",
        "rolebinding",
        "acme-deployer-may-do-anything-here",
    ];
    let file = "examples/refused/role-binding-of-everything.yaml";
    create_refused(stage, &[], file, "BW-RB-GRANT", &deployer).await?;
    explain("bailiwick-admin holds those that don't.");
    create_allowed(stage, &[], "examples/allowed/role-binding-of-a-tenants-role.yaml").await
}

async fn managed_objects(stage: &mut Stage) -> Result<()> {
    stage.heading("What isolates a tenant isn't the tenant's to remove");
    explain("alice may delete NetworkPolicies in her namespace, but not the one that closes it.");
    let delete = [&ALICE, &["delete"][..], &DEFAULT_DENY].concat();
    stage.refused(&delete, "BW-MANAGED", &DEFAULT_DENY).await?;
    explain("Nor may she pass off one of her own as managed.");
    let forged = ["-n", "acme-dev", "networkpolicy", "forged"];
    create_refused(
        stage,
        &ALICE,
        "examples/refused/network-policy.yaml",
        "BW-MANAGED",
        &forged,
    )
    .await?;
    explain("Her own ones come and go as she likes.");
    let file = "examples/allowed/network-policy.yaml";
    create_allowed(stage, &ALICE, file).await?;
    stage
        .allowed(&[&ALICE, &["delete", "-f", file][..]].concat(), "deleted")
        .await
        .map(drop)
}

async fn namespace_label(stage: &mut Stage, scratch: &Path) -> Result<()> {
    stage.heading("A namespace can't be taken out of its tenant");
    explain(
        "The label can be changed in more ways than one: here by the /finalize subresource, which many guards forget.\n\
         stripped.json is the Namespace without its tenant label, as anyone with cluster-wide rights could send it.",
    );
    fs::create_dir_all(scratch).with_context(|| format!("create {}", scratch.display()))?;
    let namespace = stage
        .object(&["namespace", "acme-dev"])
        .await?
        .context("there is no namespace acme-dev")?;
    let (stripped, labelled) = (scratch.join("stripped.json"), scratch.join("labelled.json"));
    let mut without = namespace.clone();
    without["metadata"]["labels"]
        .as_object_mut()
        .map(|it| it.remove("bailiwick.dev/tenant"));
    fs::write(&stripped, without.to_string())?;
    let mut with = namespace;
    with["metadata"]["labels"]["cost-centre"] = Value::from("42");
    fs::write(&labelled, with.to_string())?;

    let file = |path: &Path| {
        let short = path.strip_prefix(checkout::root()).unwrap_or(path);
        short.display().to_string()
    };
    let finalize = ["replace", "--raw", "/api/v1/namespaces/acme-dev/finalize", "-f"];
    let stripped = file(&stripped);
    let replace = [&finalize[..], &[stripped.as_str()]].concat();
    stage
        .refused(&replace, "BW-NS-IDENTITY", &["namespace", "acme-dev"])
        .await?;
    let label = [
        "label",
        "namespace",
        "acme-dev",
        "bailiwick.dev/tenant=globex",
        "--overwrite",
    ];
    stage
        .refused(&label, "BW-NS-IDENTITY", &["namespace", "acme-dev"])
        .await?;

    explain("The same call with a label that is nobody's business goes through.");
    let labelled = file(&labelled);
    println!(
        "  $ kubectl {} {labelled}   # prints the Namespace",
        finalize.join(" ")
    );
    let replaced = stage
        .quietly(&[&finalize[..], &[labelled.as_str()]].concat())
        .await?;
    let labelled = replaced.stdout.contains("\"cost-centre\":\"42\"");
    stage.check("accepted: cost-centre=42 is set", replaced.success() && labelled);
    Ok(())
}

async fn drift(stage: &mut Stage) -> Result<()> {
    stage.heading("What gets changed all the same is put back");
    explain(
        "Only the operator's own identity passes the guards. An administrator who may impersonate it borrows it here,\n\
         to show what happens to a change that got through.",
    );
    let before = stage
        .object(&DEFAULT_DENY)
        .await?
        .context("there is no default-deny NetworkPolicy")?;
    // Of this run: Events of an earlier one are still there.
    let intruder = format!("night-shift-{}", process::id());
    let manager = format!("--field-manager={intruder}");
    let patch = r#"{"spec":{"ingress":[{}]}}"#;
    let open = [
        &[OPERATOR, "patch"],
        &DEFAULT_DENY[..],
        &[manager.as_str(), "--type=merge", "-p", patch],
    ]
    .concat();
    stage.allowed(&open, "the namespace is open to everybody").await?;
    let closed = async |stage: &Stage| {
        let now = stage.object(&DEFAULT_DENY).await?;
        Ok(now.is_some_and(|it| it["spec"] == before["spec"]))
    };
    stage.soon(Duration::from_secs(5), "closed again", closed).await?;

    explain("It is reported, too: what changed, and by which manager.");
    let events = [
        "get",
        "events",
        "-n",
        "default",
        "--field-selector",
        "reason=DriftReverted",
        "-o",
    ];
    let columns = "custom-columns=TYPE:.type,REASON:.reason,OBJECT:.involvedObject.name,MESSAGE:.message";
    let events = [&events[..], &[columns]].concat();
    let told = async |stage: &Stage| Ok(stage.quietly(&events).await?.stdout.contains(&intruder));
    stage
        .soon(
            Duration::from_secs(5),
            "told in an Event, by the manager's name",
            told,
        )
        .await?;
    stage.show(&events).await?;

    explain("Nothing is deleted for long either.");
    let delete = [&[OPERATOR, "delete"], &DEFAULT_DENY[..]].concat();
    stage.allowed(&delete, "the NetworkPolicy is gone").await?;
    stage
        .soon(Duration::from_secs(5), "there is a new one, just like it", closed)
        .await
}

/// Shows that `who` can't create what is in `file`.
async fn create_refused(
    stage: &mut Stage,
    who: &[&str],
    file: &str,
    rule: &str,
    object: &[&str],
) -> Result<()> {
    stage
        .refused(&[who, &["create", "-f", file]].concat(), rule, object)
        .await
}

/// Shows that `who` can create what is in `file`.
async fn create_allowed(stage: &mut Stage, who: &[&str], file: &str) -> Result<()> {
    remove(stage, file).await?;
    stage
        .allowed(&[who, &["create", "-f", file]].concat(), "created")
        .await
        .map(drop)
}

/// Deletes what an earlier run may have left.
async fn remove(stage: &Stage, file: &str) -> Result<()> {
    stage
        .quietly(&[
            "delete",
            "--ignore-not-found",
            "--grace-period=0",
            "--force",
            "-f",
            file,
        ])
        .await?
        .ok()?;
    Ok(())
}

/// Whether a table has a row with exactly these words among its own, in this order.
fn has_row(table: &str, words: &[&str]) -> bool {
    table.lines().any(|line| {
        let mut own = line.split_whitespace();
        words.iter().all(|word| own.any(|it| it == *word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_rows_by_their_words() {
        let table = "NAME STATUS TENANT\nacme-dev Active acme\n";
        assert!(has_row(table, &["acme-dev", "acme"]));
        assert!(!has_row(table, &["acme", "acme-dev"]));
        assert!(!has_row(table, &["acme-dev", "globex"]));
    }
}

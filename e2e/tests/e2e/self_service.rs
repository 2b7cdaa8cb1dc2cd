//! Namespaces that tenants' owners make by themselves, as the people they are: RBAC decides here, too.

mod attacks;
mod creators;
mod ending;
mod maximum;
mod moving;
mod outage;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{cluster::Cluster, objects, wait::eventually};
use http::Request;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    steps::{TENANT_LABEL, condition, locks_and_doors, namespace_label, namespaces, tenants},
};

/// A Tenant whose owner `NAME-owner` may make namespaces that begin with `NAME-`; with more of `selfService` and of the spec.
fn serving(name: &str, max: u32, more: &str, spec: &str) -> String {
    giving(name, &format!("{name}-"), max, more, spec)
}

/// The same, with a prefix that needn't be its name.
fn giving(name: &str, prefix: &str, max: u32, more: &str, spec: &str) -> String {
    format!(
        "{{ apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: {{ name: {name} }}, spec: {{ owners: [{{ kind: User, name: {name}-owner }}], namespaces: {{ selfService: {{ prefix: {prefix}, max: {max}{more} }} }}{spec} }} }}"
    )
}

/// The owner, with the rights that RBAC gives.
fn owner(cluster: &Cluster, tenant: &str) -> Result<Client> {
    cluster.client_as(&format!("{tenant}-owner"), &[])
}

fn plain(metadata: &Value) -> Namespace {
    serde_json::from_value(json!({ "metadata": metadata })).unwrap_or_default()
}

/// What `kubectl create namespace` sends.
async fn create(client: &Client, name: &str) -> Result<Namespace, kube::Error> {
    let all: Api<Namespace> = Api::all(client.clone());
    all.create(&PostParams::default(), &plain(&json!({ "name": name })))
        .await
}

/// Waits until the owner may make namespaces, which a dry run shows.
async fn welcome(client: &Client, name: &str) -> Result<()> {
    let all: Api<Namespace> = Api::all(client.clone());
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    eventually(SOON, &format!("Namespace {name} may be made"), async || {
        all.create(&dry, &plain(&json!({ "name": name }))).await?;
        Ok(())
    })
    .await
}

/// What the Tenant's record says of a namespace.
async fn origin(client: &Client, tenant: &str, namespace: &str) -> Result<Option<String>> {
    let status = tenants(client).get(tenant).await?.data["status"]["namespaces"].clone();
    let records = status.as_array().cloned().unwrap_or_default();
    let record = records.iter().find(|it| it["name"] == namespace);
    Ok(record.and_then(|it| it["origin"].as_str()).map(str::to_owned))
}

/// Waits until the tenant has taken a namespace and its owner is in.
async fn taken(cluster: &Cluster, tenant: &str, namespace: &str) -> Result<()> {
    let client = cluster.client();
    eventually(SOON, &format!("{tenant} takes {namespace}"), async || {
        let origin = origin(&client, tenant, namespace).await?;
        ensure!(origin.as_deref() == Some("SelfService"), "{origin:?}");
        let (locks, doors) = locks_and_doors(&client, namespace).await?;
        ensure!(locks.len() == 2 && doors.len() >= 2, "{locks:?} {doors:?}");
        Ok(())
    })
    .await
}

/// Refused by RBAC, not by us.
fn forbidden<T>(result: Result<T, kube::Error>) -> Result<()> {
    match result {
        Err(kube::Error::Api(status)) => {
            ensure!(status.code == 403 && !status.message.contains("BW-"), "{status}");
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(_) => anyhow::bail!("RBAC let it pass"),
    }
}

fn map() -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": "own" } })).unwrap_or_default()
}

#[test]
fn an_owner_makes_uses_and_deletes_a_namespace_with_plain_requests() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        let name = unique("serve");
        let (ns, generated) = (format!("{name}-shop"), format!("{name}-gen-"));
        let yaml = serving(
            &name,
            2,
            ", labels: [team], annotations: [acme.example/contact]",
            "",
        );
        ready_tenant(cluster, &yaml, SOON).await?;
        let owner = owner(cluster, &name)?;
        welcome(&owner, &ns).await?;
        ensure!(
            namespaces(&admin).get_opt(&ns).await?.is_none(),
            "a dry run left {ns}"
        );

        let made = create(&owner, &ns).await?;
        ensure!(
            made.metadata
                .labels
                .and_then(|it| it.get(TENANT_LABEL).cloned())
                .as_ref()
                == Some(&name)
        );
        taken(cluster, &name, &ns).await?;
        condition(cluster, &name, "Ready", "True", "AllApplied", SOON).await?;
        let enforce = "pod-security.kubernetes.io/enforce";
        ensure!(namespace_label(&admin, &ns, enforce).await?.as_deref() == Some("baseline"));
        let maps: Api<ConfigMap> = Api::namespaced(owner.clone(), &ns);
        eventually(SOON, "the owner is in", async || {
            maps.create(&PostParams::default(), &map()).await?;
            Ok(())
        })
        .await?;

        // By generateName the API server chooses, within the prefix.
        let all: Api<Namespace> = Api::all(owner.clone());
        let second = all
            .create(
                &PostParams::default(),
                &plain(&json!({ "generateName": generated })),
            )
            .await?;
        let second = second.metadata.name.context("no name")?;
        ensure!(second.starts_with(&generated), "{second}");
        taken(cluster, &name, &second).await?;
        let full = create(&owner, &format!("{name}-third")).await;
        objects::denied(full, "BW-NS-SELFSERVICE")?;
        ensure!(
            namespaces(&admin)
                .get_opt(&format!("{name}-third"))
                .await?
                .is_none()
        );

        // Metadata: what the Tenant lists, and nothing else.
        let change = |metadata: Value| Patch::Merge(json!({ "metadata": metadata }));
        let params = PatchParams::default();
        for allowed in [
            json!({ "labels": { "team": "x" } }),
            json!({ "annotations": { "acme.example/contact": "x" } }),
        ] {
            all.patch(&ns, &params, &change(allowed)).await?;
        }
        let before = namespaces(&admin).get(&ns).await?;
        for (refused, rule) in [
            (json!({ "labels": { "other": "x" } }), "BW-NS-METADATA"),
            (
                json!({ "labels": { "admission.gatekeeper.sh/ignore": "x" } }),
                "BW-NS-METADATA",
            ),
            (json!({ "annotations": { "team": "x" } }), "BW-NS-METADATA"),
            (json!({ "finalizers": ["acme.example/stay"] }), "BW-NS-METADATA"),
            (json!({ "labels": { TENANT_LABEL: "other" } }), "BW-NS-IDENTITY"),
            (json!({ "labels": { TENANT_LABEL: null } }), "BW-NS-IDENTITY"),
            (json!({ "labels": { enforce: "privileged" } }), "BW-NS-IDENTITY"),
            (
                json!({ "annotations": { "bailiwick.dev/adopt-by": "other" } }),
                "BW-NS-ADOPT",
            ),
        ] {
            let result = all.patch(&ns, &params, &change(refused.clone())).await;
            objects::denied(result, rule).with_context(|| refused.to_string())?;
        }
        ensure!(namespaces(&admin).get(&ns).await? == before, "something changed");

        // Deletion makes room, and the record follows.
        all.delete(&ns, &DeleteParams::default()).await?;
        eventually(SOON, "it is gone, and so is its record", async || {
            ensure!(namespaces(&admin).get_opt(&ns).await?.is_none(), "still there");
            ensure!(origin(&admin, &name, &ns).await?.is_none(), "still on record");
            Ok(())
        })
        .await?;
        condition(cluster, &name, "Ready", "True", "AllApplied", SOON).await?;
        let third = format!("{name}-third");
        eventually(SOON, "there is room", async || {
            Ok(create(&owner, &third).await.map(drop)?)
        })
        .await?;
        taken(cluster, &name, &third).await
    })
}

#[test]
fn a_service_account_that_owns_a_tenant_makes_namespaces_and_its_neighbour_does_not() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let (name, ci) = (unique("robot"), unique("robot-ci"));
        let yaml = format!(
            "{{ apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: {{ name: {name} }}, spec: {{ owners: [{{ kind: ServiceAccount, name: deployer, namespace: {ci} }}], namespaces: {{ declared: [{{ name: {ci} }}], selfService: {{ prefix: {name}-, max: 2 }} }} }} }}"
        );
        ready_tenant(cluster, &yaml, SOON).await?;
        let deployer = cluster.client_as_service_account(&ci, "deployer").await?;
        let other = cluster.client_as_service_account(&ci, "other").await?;
        let ns = format!("{name}-a");
        welcome(&deployer, &ns).await?;
        forbidden(create(&other, &ns).await)?;
        create(&deployer, &ns).await?;
        taken(cluster, &name, &ns).await?;
        // With the right to create from elsewhere it is refused all the same: it is no owner.
        let robot = format!("system:serviceaccount:{ci}:other");
        let almighty = cluster.client_as(&robot, &["system:masters"])?;
        objects::denied(create(&almighty, &format!("{name}-b")).await, "BW-NS-SELFSERVICE")?;
        Ok(())
    })
}

#[test]
fn what_owners_made_stays_when_self_service_ends_and_goes_with_the_tenant() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        for (policy, is_deleted) in [("Retain", false), ("Delete", true)] {
            let name = unique("ending");
            let ns = format!("{name}-kept");
            let policy = format!(", deletionPolicy: {policy}");
            ready_tenant(cluster, &serving(&name, 1, "", &policy), SOON).await?;
            let owner = owner(cluster, &name)?;
            welcome(&owner, &ns).await?;
            create(&owner, &ns).await?;
            taken(cluster, &name, &ns).await?;

            let none = json!({ "spec": { "namespaces": { "selfService": null } } });
            let params = PatchParams::default();
            tenants(&admin)
                .patch(&name, &params, &Patch::Merge(&none))
                .await?;
            condition(cluster, &name, "Ready", "True", "AllApplied", SOON).await?;
            ensure!(origin(&admin, &name, &ns).await?.as_deref() == Some("SelfService"));
            eventually(SOON, "no more may be made", async || {
                forbidden(create(&owner, &format!("{name}-more")).await)
            })
            .await?;
            let (locks, doors) = locks_and_doors(&admin, &ns).await?;
            ensure!(locks.len() == 2 && doors.len() == 2, "{locks:?} {doors:?}");

            tenants(&admin).delete(&name, &DeleteParams::default()).await?;
            eventually(SOON, "the Tenant is gone", async || {
                ensure!(tenants(&admin).get_opt(&name).await?.is_none(), "still there");
                Ok(())
            })
            .await?;
            let left = namespaces(&admin).get_opt(&ns).await?;
            ensure!(left.is_none() == is_deleted, "{left:?}");
            if !is_deleted {
                let (locks, doors) = locks_and_doors(&admin, &ns).await?;
                ensure!(locks.len() == 2 && doors.is_empty(), "{locks:?} {doors:?}");
                // A Tenant of the same name doesn't get it by self-service: it is older.
                ready_tenant(cluster, &serving(&name, 1, "", ""), SOON).await?;
                ensure!(origin(&admin, &name, &ns).await?.is_none(), "taken");
                let (_, doors) = locks_and_doors(&admin, &ns).await?;
                ensure!(doors.is_empty(), "{doors:?}");
            }
        }
        Ok(())
    })
}

/// A request as it is.
async fn post(client: &Client, path: &str, body: &Value) -> Result<Value, kube::Error> {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}

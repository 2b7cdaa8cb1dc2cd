//! Operators die at work and fall asleep: another carries on, and of two only one writes.

use std::{pin::pin, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{
    cluster::Cluster,
    install::{Bailiwick, Component, NAMESPACE},
    kubelet::Replica,
    objects,
    wait::eventually,
};
use futures::TryStreamExt as _;
use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview, coordination::v1::Lease, core::v1::Namespace,
    networking::v1::NetworkPolicy, rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{
        DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent,
        WatchParams,
    },
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use crate::{
    fixture::{SOON, on_own_cluster, ready_tenant, unique},
    managed::{NETWORK_POLICY, api, changed, essence, versions},
    requests::OPERATOR,
    steps::{TENANT_LABEL, condition, locks_and_doors, tenant, tenants},
};

/// Enough of them for work that lasts longer than a kill.
const NAMESPACES: usize = 24;
const UNTIL_CARRIED_ON: Duration = Duration::from_mins(1);

/// Returns as soon as there is one object of a kind with the tenant's label.
async fn first<K>(client: &Client, tenant: &str) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let all: Api<K> = Api::all(client.clone());
    let params = WatchParams::default().labels(&format!("{TENANT_LABEL}={tenant}"));
    let mut events = pin!(all.watch(&params, "0").await?);
    while let Some(event) = timeout(SOON, events.try_next()).await?? {
        if matches!(event, WatchEvent::Added(_)) {
            return Ok(());
        }
    }
    bail!("the watch ended")
}

/// How many objects of a kind have the tenant's label.
async fn count<K>(client: &Client, tenant: &str) -> Result<usize>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let params = ListParams::default().labels(&format!("{TENANT_LABEL}={tenant}"));
    Ok(Api::<K>::all(client.clone()).list(&params).await?.items.len())
}

/// Kills the leader when the first object of a kind is there; gives whether some of the Tenant was missing then.
async fn killed_at_first<K>(cluster: &Cluster, bailiwick: &Bailiwick) -> Result<bool>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let client = cluster.client();
    let name = unique("killed");
    let spaces: Vec<String> = (0..NAMESPACES).map(|_| unique("killed-ns")).collect();
    let spaces: Vec<&str> = spaces.iter().map(String::as_str).collect();
    let leader = bailiwick.leader().await?;
    let killed = async {
        first::<K>(&client, &name).await?;
        leader.kill().await
    };
    let applied = async {
        let yaml = tenant(&name, &spaces, "");
        objects::apply(&client, &yaml).await
    };
    let (killed, applied) = tokio::join!(killed, applied);
    applied?;
    killed?;
    let found = [
        count::<Namespace>(&client, &name).await?,
        count::<NetworkPolicy>(&client, &name).await?,
        count::<RoleBinding>(&client, &name).await?,
    ];
    ensure!(count::<K>(&client, &name).await? > 0, "{found:?}");
    let half_done = found.iter().sum::<usize>() < 4 * NAMESPACES;
    // No door stands open without its lock, whenever the end came.
    for ns in &spaces {
        let (locks, doors) = locks_and_doors(&client, ns).await?;
        ensure!(doors.is_empty() || locks.len() == 2, "{ns}: {locks:?} {doors:?}");
    }
    condition(cluster, &name, "Ready", "True", "AllApplied", UNTIL_CARRIED_ON).await?;
    for ns in &spaces {
        let (locks, doors) = locks_and_doors(&client, ns).await?;
        ensure!(locks.len() == 2 && doors.len() == 1, "{ns}: {locks:?} {doors:?}");
    }
    Ok(half_done)
}

/// The same until a kill came in the middle.
async fn killed_in_the_middle<K>(cluster: &Cluster, bailiwick: &Bailiwick) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    for _ in 0..4 {
        if killed_at_first::<K>(cluster, bailiwick).await? {
            return Ok(());
        }
    }
    bail!(
        "all was done whenever it was killed at its first {}",
        K::kind(&())
    )
}

#[test]
fn an_operator_that_is_killed_at_work_is_carried_on_by_another() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        killed_in_the_middle::<Namespace>(cluster, bailiwick).await?;
        killed_in_the_middle::<NetworkPolicy>(cluster, bailiwick).await?;
        killed_in_the_middle::<RoleBinding>(cluster, bailiwick).await
    })
}

async fn holder(client: &Client) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let lease = leases.get("bailiwick-operator").await?;
    lease
        .spec
        .and_then(|it| it.holder_identity)
        .context("nobody holds the Lease")
}

#[test]
fn a_leader_that_was_paused_writes_no_more_when_it_comes_back() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let client = cluster.client();
        let (name, ns) = (unique("paused"), unique("paused-ns"));
        ready_tenant(cluster, &tenant(&name, &[&ns], ""), SOON).await?;
        let first = bailiwick.leader().await?;
        first.pause().await?;
        // The other one takes over when the Lease has run out, and works.
        let label = json!({ "spec": { "podSecurity": { "enforce": "restricted" } } });
        tenants(&client)
            .patch(&name, &PatchParams::default(), &Patch::Merge(&label))
            .await?;
        condition(cluster, &name, "Ready", "True", "AllApplied", UNTIL_CARRIED_ON).await?;
        let second = bailiwick.leader().await?;
        ensure!(second.name() != first.name(), "{}", first.describe());

        // Both sleep, and there is work for whoever wakes up.
        second.pause().await?;
        let policies = api(&client, NETWORK_POLICY, &ns);
        let wanted = essence(&policies.get("bailiwick-default-deny").await?);
        opened(cluster, &ns).await?;
        // Not even the Lease tells the woken one that another leads, only the time that went by.
        let rights = without_leases(&client).await?;
        let before = versions(&client).await?;
        let woken = woken_until_it_ends(&first).await;
        let after = versions(&client).await?;
        let holder = holder(&client).await?;
        let changed = changed(&before, &after);
        ensure!(changed.is_empty(), "the woken one wrote {changed:?}");
        woken?;
        ensure!(
            holder == second.name(),
            "{holder} took the Lease, so this shows nothing"
        );
        let now = policies.get("bailiwick-default-deny").await?;
        ensure!(essence(&now) != wanted, "there was nothing to write");

        // It was something that a leader writes.
        let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), NAMESPACE);
        bindings.create(&PostParams::default(), &rights).await?;
        second.resume().await?;
        eventually(UNTIL_CARRIED_ON, "a leader puts it back", async || {
            let now: DynamicObject = policies.get("bailiwick-default-deny").await?;
            ensure!(essence(&now) == wanted, "{}", essence(&now));
            Ok(())
        })
        .await?;
        let operators = bailiwick.replicas(Component::Operator);
        let leader = bailiwick.leader().await?;
        ensure!(
            operators.iter().any(|it| it.name() == leader.name()),
            "nobody leads"
        );
        Ok(())
    })
}

/// Opens the default-deny policy, past the guards, which let the operator's user by.
async fn opened(cluster: &Cluster, ns: &str) -> Result<()> {
    let params = PatchParams {
        field_manager: Some("kubectl-edit".to_owned()),
        ..PatchParams::default()
    };
    let open = json!({ "spec": { "ingress": [{}] } });
    let unasked = cluster.client_as(OPERATOR, &["system:masters"])?;
    let patched = api(&unasked, NETWORK_POLICY, ns)
        .patch("bailiwick-default-deny", &params, &Patch::Merge(&open))
        .await?;
    ensure!(
        !patched.data["spec"]["ingress"].is_null(),
        "{}",
        patched.name_any()
    );
    Ok(())
}

/// Takes the operators' rights in their own namespace away, of which the Lease is one; gives the binding.
async fn without_leases(client: &Client) -> Result<RoleBinding> {
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), NAMESPACE);
    let binding = bindings.get("bailiwick-operator").await?;
    bindings
        .delete("bailiwick-operator", &DeleteParams::default())
        .await?;
    let review = json!({
        "metadata": {},
        "spec": {
            "user": OPERATOR,
            "resourceAttributes": {
                "verb": "get", "group": "coordination.k8s.io", "resource": "leases",
                "name": "bailiwick-operator", "namespace": NAMESPACE,
            },
        },
    });
    let review: SubjectAccessReview = serde_json::from_value(review)?;
    eventually(SOON, "operators may not read their Lease", async || {
        let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await?;
        ensure!(answer.status.is_some_and(|it| !it.allowed), "they may");
        Ok(())
    })
    .await?;
    Ok(RoleBinding {
        metadata: ObjectMeta {
            name: binding.metadata.name,
            namespace: binding.metadata.namespace,
            labels: binding.metadata.labels,
            ..ObjectMeta::default()
        },
        ..binding
    })
}

async fn woken_until_it_ends(replica: &Replica) -> Result<()> {
    let pid = replica.pid();
    replica.resume().await?;
    eventually(SOON, "the paused leader ends and is started again", async || {
        ensure!(replica.pid() != pid, "{}", replica.describe());
        Ok(())
    })
    .await
}

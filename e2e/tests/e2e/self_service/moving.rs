//! A namespace moves from one Tenant to another, as Git has it: nobody has it twice, and it is never without a lock.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, ensure};
use bailiwick_e2e::{cluster::Cluster, objects, wait::eventually};
use futures::TryStreamExt as _;
use k8s_openapi::{
    api::{networking::v1::NetworkPolicy, rbac::v1::RoleBinding},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    steps::{TENANT_LABEL, condition, locks_and_doors, namespace_label, namespaces, tenant, tenants},
};

const DENY: &str = "bailiwick-default-deny";

/// What was seen of a namespace that should never be.
#[derive(Clone, Default)]
struct Witness {
    seen: Arc<Mutex<Vec<String>>>,
    states: Arc<Mutex<usize>>,
}

impl Witness {
    fn accuse(&self, what: String) {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }

    fn count(&self) {
        *self.states.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    /// Follows each state of the RoleBindings and of the NetworkPolicies that the API server ever had.
    async fn follow(
        &self,
        client: &Client,
        namespace: &str,
        people: [String; 2],
    ) -> Result<[JoinHandle<Result<()>>; 2]> {
        let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
        let listed = bindings.list(&kube::api::ListParams::default()).await?;
        let version = listed.metadata.resource_version.clone().unwrap_or_default();
        let mut now: BTreeMap<String, Vec<String>> = listed.items.iter().map(named).collect();
        let witness = self.clone();
        let doors = tokio::spawn(async move {
            let mut events = pin!(bindings.watch(&WatchParams::default(), &version).await?);
            while let Some(event) = events.try_next().await? {
                match event {
                    WatchEvent::Added(it) | WatchEvent::Modified(it) => now.extend([named(&it)]),
                    WatchEvent::Deleted(it) => drop(now.remove(&named(&it).0)),
                    _ => continue,
                }
                witness.count();
                let is_in = |who: &String| now.values().flatten().any(|it| it == who);
                if people.iter().all(is_in) {
                    witness.accuse(format!("both are in: {now:?}"));
                }
            }
            Ok(())
        });
        let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
        let listed = policies.list(&kube::api::ListParams::default()).await?;
        let version = listed.metadata.resource_version.clone().unwrap_or_default();
        ensure!(listed.items.iter().any(is_lock), "no lock to begin with");
        let witness = self.clone();
        let locks = tokio::spawn(async move {
            let mut events = pin!(policies.watch(&WatchParams::default(), &version).await?);
            while let Some(event) = events.try_next().await? {
                let (it, is_there) = match event {
                    WatchEvent::Added(it) | WatchEvent::Modified(it) => (it, true),
                    WatchEvent::Deleted(it) => (it, false),
                    _ => continue,
                };
                witness.count();
                if it.metadata.name.as_deref() == Some(DENY) && !(is_there && is_lock(&it)) {
                    witness.accuse(format!("there is no lock: {it:?}"));
                }
            }
            Ok(())
        });
        Ok([doors, locks])
    }
}

fn named(binding: &RoleBinding) -> (String, Vec<String>) {
    let subjects = binding.subjects.iter().flatten().map(|it| it.name.clone());
    (
        binding.metadata.name.clone().unwrap_or_default(),
        subjects.collect(),
    )
}

/// Denies everything that no other policy allows.
fn is_lock(policy: &NetworkPolicy) -> bool {
    policy.spec.as_ref().is_some_and(|spec| {
        let selects_all = spec
            .pod_selector
            .as_ref()
            .is_none_or(|it| *it == LabelSelector::default());
        let is_empty =
            spec.ingress.as_ref().is_none_or(Vec::is_empty) && spec.egress.as_ref().is_none_or(Vec::is_empty);
        policy.metadata.name.as_deref() == Some(DENY)
            && selects_all
            && is_empty
            && spec.policy_types.as_ref().is_some_and(|it| it.len() == 2)
    })
}

async fn declare(client: &Client, tenant: &str, namespaces: &[&str]) -> Result<(), kube::Error> {
    let declared: Vec<_> = namespaces.iter().map(|it| json!({ "name": it })).collect();
    let patch = json!({ "spec": { "namespaces": { "declared": declared } } });
    let params = PatchParams::default();
    tenants(client)
        .patch(tenant, &params, &Patch::Merge(&patch))
        .await
        .map(drop)
}

async fn consent(client: &Client, namespace: &str, to: &str) -> Result<()> {
    let consent = json!({ "metadata": { "annotations": { "bailiwick.dev/adopt-by": to } } });
    let params = PatchParams::default();
    namespaces(client)
        .patch(namespace, &params, &Patch::Merge(&consent))
        .await?;
    Ok(())
}

async fn has_moved(cluster: &Cluster, namespace: &str, to: &str) -> Result<()> {
    let admin = cluster.client();
    eventually(3 * SOON, &format!("{namespace} is {to}'s"), async || {
        let label = namespace_label(&admin, namespace, TENANT_LABEL).await?;
        ensure!(label.as_deref() == Some(to), "{label:?}");
        let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), namespace);
        let all = bindings.list(&kube::api::ListParams::default()).await?.items;
        let people: Vec<String> = all.iter().flat_map(|it| named(it).1).collect();
        ensure!(people == [format!("{to}-owner")], "{people:?}");
        Ok(())
    })
    .await?;
    condition(cluster, to, "Ready", "True", "AllApplied", SOON).await?;
    Ok(())
}

/// The order in which Git is carried out.
#[derive(Clone, Copy, Debug)]
enum Order {
    LeaveFirst,
    TakeFirst,
    ConsentLast,
}

#[test]
fn a_namespace_moves_in_either_order_and_is_never_anybodys_twice() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        for order in [Order::LeaveFirst, Order::TakeFirst, Order::ConsentLast] {
            let (first, second, ns) = (unique("mover"), unique("heir"), unique("moved"));
            ready_tenant(cluster, &tenant(&first, &[&ns], ""), SOON).await?;
            ready_tenant(cluster, &tenant(&second, &[], ""), SOON).await?;
            let witness = Witness::default();
            let people = [format!("{first}-owner"), format!("{second}-owner")];
            let following = witness.follow(&admin, &ns, people).await?;
            // Without consent nothing moves, whatever is declared.
            objects::denied(declare(&admin, &second, &[&ns]).await, "BW-TENANT-NAMESPACE")?;
            match order {
                Order::LeaveFirst => {
                    consent(&admin, &ns, &second).await?;
                    declare(&admin, &first, &[]).await?;
                    eventually(SOON, "the webhook knows of the consent", async || {
                        Ok(declare(&admin, &second, &[&ns]).await?)
                    })
                    .await?;
                }
                Order::TakeFirst => {
                    consent(&admin, &ns, &second).await?;
                    eventually(SOON, "the webhook knows of the consent", async || {
                        Ok(declare(&admin, &second, &[&ns]).await?)
                    })
                    .await?;
                    condition(cluster, &second, "Ready", "False", "NamespaceConflict", SOON).await?;
                    let (_, doors) = locks_and_doors(&admin, &ns).await?;
                    ensure!(doors.len() == 1, "{doors:?}");
                    declare(&admin, &first, &[]).await?;
                }
                Order::ConsentLast => {
                    declare(&admin, &first, &[]).await?;
                    condition(cluster, &first, "Ready", "True", "AllApplied", SOON).await?;
                    let exempt = cluster.client_as(crate::requests::OPERATOR, &["system:masters"])?;
                    declare(&exempt, &second, &[&ns]).await?;
                    condition(cluster, &second, "Ready", "False", "NamespaceConflict", SOON).await?;
                    ensure!(namespace_label(&admin, &ns, TENANT_LABEL).await?.as_ref() == Some(&first));
                    consent(&admin, &ns, &second).await?;
                }
            }
            has_moved(cluster, &ns, &second).await?;
            condition(cluster, &first, "Ready", "True", "AllApplied", SOON).await?;
            let record = tenants(&admin).get(&first).await?.data["status"]["namespaces"].clone();
            ensure!(record.as_array().is_none_or(Vec::is_empty), "{record}");
            let states = *witness.states.lock().unwrap_or_else(PoisonError::into_inner);
            let seen = witness
                .seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            for it in following {
                ensure!(!it.is_finished(), "a watch ended: nobody looked");
                it.abort();
            }
            ensure!(seen.is_empty(), "{order:?}: {seen:?}");
            // A door went, a door came, and the policies were written.
            ensure!(states >= 3, "{order:?}: {states}");
        }
        Ok(())
    })
}

#[test]
fn a_namespace_does_not_move_while_its_people_let_themselves_in() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        let (first, second, ns) = (unique("mover"), unique("heir"), unique("moved"));
        ready_tenant(cluster, &tenant(&first, &[&ns], ""), SOON).await?;
        ready_tenant(cluster, &tenant(&second, &[], ""), SOON).await?;
        let own = format!(
            "{{ apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{ name: own, namespace: {ns} }}, roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view }}, subjects: [{{ kind: User, apiGroup: rbac.authorization.k8s.io, name: {first}-owner }}] }}"
        );
        let owner = cluster.client_as(&format!("{first}-owner"), &["system:masters"])?;
        objects::create(&owner, &own).await?;
        consent(&admin, &ns, &second).await?;
        eventually(SOON, "the webhook knows of the consent", async || {
            Ok(declare(&admin, &second, &[&ns]).await?)
        })
        .await?;
        declare(&admin, &first, &[]).await?;
        let message = condition(cluster, &first, "AccessIsolated", "False", "ApplyFailed", SOON).await?;
        ensure!(message.contains("delete own"), "{message}");
        condition(cluster, &second, "Ready", "False", "NamespaceConflict", SOON).await?;
        let (locks, doors) = locks_and_doors(&admin, &ns).await?;
        ensure!(locks.len() == 2 && doors.is_empty(), "{locks:?} {doors:?}");
        ensure!(namespace_label(&admin, &ns, TENANT_LABEL).await?.as_ref() == Some(&first));
        let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), &ns);
        bindings
            .delete("own", &kube::api::DeleteParams::default())
            .await?;
        has_moved(cluster, &ns, &second).await
    })
}

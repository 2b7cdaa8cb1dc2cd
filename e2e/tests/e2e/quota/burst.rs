//! Many clients at once, and a watcher that counts.
#![allow(clippy::print_stdout, reason = "how long it took is part of what is shown")]

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{
    cluster::Cluster,
    install::{Bailiwick, Component},
    wait::eventually,
};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::{
    Api, Client, Resource,
    api::{ListParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{MAPS, enforced, exceeded, has_root_ca, is_exceeded, slices, total};
use crate::{
    fixture::{SOON, on_own_cluster, ready_tenant, unique},
    steps::{condition, tenant},
};

const CLIENTS: usize = 20;
const NAMESPACES: usize = 5;
/// Two leaders die meanwhile, and each time their Lease has to run out.
const UNTIL_FULL: Duration = Duration::from_mins(3);

/// A tenant of whose namespaces many want something.
struct Burst<'a> {
    cluster: &'a Cluster,
    tenant: String,
    namespaces: Vec<String>,
    resource: &'static str,
    limit: u64,
    full: AtomicBool,
    admitted: AtomicU64,
}

impl<'a> Burst<'a> {
    async fn begin(cluster: &'a Cluster, resource: &'static str, limit: u64) -> Result<Self> {
        let (tenant_name, namespaces) = (unique("burst"), (0..NAMESPACES).map(|_| unique("burst-ns")));
        let namespaces: Vec<String> = namespaces.collect();
        let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
        let quota = format!("quota: {{ tenant: {{ {resource}: {limit} }} }}");
        ready_tenant(cluster, &tenant(&tenant_name, &names, &quota), SOON).await?;
        for namespace in &namespaces {
            has_root_ca(&cluster.client(), namespace).await?;
            let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), namespace);
            eventually(SOON, "there is a ServiceAccount", async || {
                accounts.get("default").await?;
                Ok(())
            })
            .await?;
        }
        Ok(Self {
            cluster,
            tenant: tenant_name,
            namespaces,
            resource,
            limit,
            full: AtomicBool::new(false),
            admitted: AtomicU64::new(0),
        })
    }

    /// Creates until all is full. What isn't admitted is tried again soon.
    async fn client<K: Kind>(&self, namespace: &str, pace: Duration) -> Result<()> {
        let api = K::api(self.cluster.client(), namespace);
        while !self.full.load(Ordering::SeqCst) {
            let object = K::object(&unique("one"))?;
            match api.create(&PostParams::default(), &object).await {
                Ok(_) => {
                    self.admitted.fetch_add(1, Ordering::SeqCst);
                }
                Err(error) if is_exceeded(&error) => tokio::time::sleep(Duration::from_millis(50)).await,
                // The API server gave up to write the usage against the others.
                Err(kube::Error::Api(status)) if status.code == 409 || status.code == 429 => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(pace).await;
        }
        exceeded(
            api.create(&PostParams::default(), &K::object(&unique("late"))?)
                .await,
        )
    }

    /// How many there are.
    async fn count<K: Kind>(&self) -> Result<u64> {
        let client = self.cluster.client();
        let lists = self.namespaces.iter().map(|it| {
            let api = K::api(client.clone(), it);
            async move {
                api.list_metadata(&ListParams::default())
                    .await
                    .map(|it| it.items.len())
            }
        });
        Ok(try_join_all(lists).await?.into_iter().map(|it| it as u64).sum())
    }

    /// Looks all the time whether there is too much of anything, until it is full.
    async fn watch<K: Kind>(&self) -> Result<u64> {
        let (client, begin) = (self.cluster.client(), Instant::now());
        let mut samples = 0;
        loop {
            let slices = slices(&client, &self.tenant).await?;
            let (hard, used) = total(&slices, self.resource);
            let each: Vec<_> = slices.values().map(|it| enforced(it, self.resource)).collect();
            ensure!(
                hard <= self.limit,
                "{hard} of {} may be used: {each:?}",
                self.limit
            );
            let there = self.count::<K>().await?;
            ensure!(
                there <= self.limit,
                "there are {there} of {}: {each:?}",
                self.limit
            );
            samples += 1;
            if there == self.limit && used == self.limit {
                println!(
                    "{} are full after {:?}, {samples} samples: {each:?}",
                    self.resource,
                    begin.elapsed()
                );
                self.full.store(true, Ordering::SeqCst);
                return Ok(samples);
            }
            ensure!(
                begin.elapsed() < UNTIL_FULL,
                "{there} of {} after {UNTIL_FULL:?}: {each:?}",
                self.limit
            );
        }
    }

    /// All clients, the watcher, and what happens beside them. Most clients are in the first namespace, and quick.
    async fn run<K: Kind>(&self, beside: impl Future<Output = Result<()>>) -> Result<()> {
        let clients = (0..CLIENTS).map(|i| {
            let is_quick = i < CLIENTS - 2 * (NAMESPACES - 1);
            let namespace = if is_quick { 0 } else { 1 + i % (NAMESPACES - 1) };
            let pace = Duration::from_millis(if is_quick { 1 } else { 1000 });
            self.client::<K>(&self.namespaces[namespace], pace)
        });
        let watched = async {
            let watched = self.watch::<K>().await;
            // Nobody goes on for ever if something is wrong.
            self.full.store(true, Ordering::SeqCst);
            watched
        };
        let (clients, watched, beside) = tokio::join!(try_join_all(clients), watched, beside);
        watched?;
        clients.context("a client, when all was full")?;
        beside?;
        let admitted = self.admitted.load(Ordering::SeqCst);
        ensure!(self.count::<K>().await? == self.limit, "it did not stay so");
        ensure!(admitted <= self.limit, "{admitted} were admitted");
        Ok(())
    }
}

/// Something that is created in a burst.
trait Kind: Resource<DynamicType = ()> + Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug {
    fn api(client: Client, namespace: &str) -> Api<Self>;
    fn object(name: &str) -> Result<Self>;
}

impl Kind for ConfigMap {
    fn api(client: Client, namespace: &str) -> Api<Self> {
        Api::namespaced(client, namespace)
    }

    fn object(name: &str) -> Result<Self> {
        Ok(super::map(name))
    }
}

impl Kind for Pod {
    fn api(client: Client, namespace: &str) -> Api<Self> {
        Api::namespaced(client, namespace)
    }

    fn object(name: &str) -> Result<Self> {
        let pod = json!({ "metadata": { "name": name }, "spec": { "containers": [{ "name": "c", "image": "x" }] } });
        Ok(serde_json::from_value(pod)?)
    }
}

/// Kills whoever leads, in the middle of it.
async fn outages(burst: &Burst<'_>, bailiwick: &Bailiwick) -> Result<()> {
    for part in [4, 2] {
        eventually(
            UNTIL_FULL,
            "a part of it is used, and a leader dies",
            async || {
                let admitted = burst.admitted.load(Ordering::SeqCst);
                ensure!(admitted >= burst.limit / part, "{admitted}");
                bailiwick.leader().await?.kill().await
            },
        )
        .await?;
        println!("a leader died at {}", burst.admitted.load(Ordering::SeqCst));
    }
    Ok(())
}

#[test]
fn a_burst_with_the_webhook_down_and_operators_dying_stays_within_the_quota() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let burst = Burst::begin(cluster, MAPS, 400).await?;
        bailiwick.crash(Component::Webhook).await?;
        burst.run::<ConfigMap>(outages(&burst, bailiwick)).await?;
        condition(
            cluster,
            &burst.tenant,
            "QuotaHealthy",
            "False",
            "Exhausted",
            UNTIL_FULL,
        )
        .await?;
        Ok(())
    })
}

#[test]
fn a_burst_of_pods_stays_within_the_quota() -> Result<()> {
    on_own_cluster(async |cluster, _| {
        let burst = Burst::begin(cluster, "pods", 60).await?;
        burst.run::<Pod>(async { Ok(()) }).await
    })
}

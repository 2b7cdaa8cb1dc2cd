//! The API server shares its time among tenants: whose requests go where, and what a flood of one costs the others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{objects, wait::eventually};
use futures::StreamExt as _;
use k8s_openapi::api::{core::v1::ConfigMap, flowcontrol::v1::FlowSchema};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
    client::Body,
};
use serde_json::json;

use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    requests::OPERATOR,
    steps::{tenant, tenants},
};

const AUTHENTICATED: &str = "system:authenticated";

/// The UID of the FlowSchema by which the API server took a request of this client's.
async fn taken_by(client: &Client) -> Result<String> {
    let request = http::Request::get("/apis").body(Body::empty())?;
    let answer = client.send(request).await?;
    let header = answer.headers().get("x-kubernetes-pf-flowschema-uid");
    Ok(header.context("no FlowSchema")?.to_str()?.to_owned())
}

fn name_of(tenant: &str) -> String {
    format!("bailiwick-tenant-{tenant}")
}

#[test]
fn a_tenants_requests_are_one_flow_in_its_tier() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        let (name, ns, other) = (unique("tiered"), unique("tiered-ns"), unique("tierless"));
        let yaml = tenant(&name, &[&ns], "priority: { tier: silver }");
        ready_tenant(cluster, &yaml, SOON).await?;
        ready_tenant(cluster, &tenant(&other, &[], ""), SOON).await?;
        let schemas: Api<FlowSchema> = Api::all(admin.clone());
        let found = eventually(SOON, "the FlowSchema", async || {
            Ok(schemas.get(&name_of(&name)).await?)
        })
        .await?;
        ensure!(found.spec.priority_level_configuration.name == "bailiwick-silver");
        ensure!(schemas.get_opt(&name_of(&other)).await?.is_none());
        let uid = found.uid().context("no uid")?;

        let account = format!("system:serviceaccount:{ns}:robot");
        let accounts = format!("system:serviceaccounts:{ns}");
        let of_tenant = [
            (format!("{name}-owner"), vec![AUTHENTICATED]),
            (account, vec![AUTHENTICATED, "system:serviceaccounts", &accounts]),
        ];
        for (user, groups) in &of_tenant {
            let client = cluster.client_as(user, groups)?;
            eventually(SOON, &format!("{user} is recognised"), async || {
                let by = taken_by(&client).await?;
                ensure!(by == uid, "taken by {by}");
                Ok(())
            })
            .await?;
        }
        for user in [format!("{other}-owner"), format!("{name}-owner2")] {
            let client = cluster.client_as(&user, &[AUTHENTICATED])?;
            ensure!(taken_by(&client).await? != uid, "{user} is taken for {name}'s");
        }

        // Nobody but the operator changes it, and what is changed under its name is put back.
        let change = json!({ "spec": { "priorityLevelConfiguration": { "name": "exempt" } } });
        let refused = schemas
            .patch(&name_of(&name), &PatchParams::default(), &Patch::Merge(&change))
            .await;
        objects::denied(refused, "BW-MANAGED")?;
        let as_operator: Api<FlowSchema> = Api::all(cluster.client_as(OPERATOR, &["system:masters"])?);
        as_operator
            .patch(&name_of(&name), &PatchParams::default(), &Patch::Merge(&change))
            .await?;
        let level = async |expected: &str| {
            let what = format!("{name} is in {expected}");
            eventually(Duration::from_secs(5), &what, async || {
                let level = schemas
                    .get(&name_of(&name))
                    .await?
                    .spec
                    .priority_level_configuration
                    .name;
                ensure!(level == expected, "{level}");
                Ok(())
            })
            .await
        };
        level("bailiwick-silver").await?;

        let retier = async |priority: serde_json::Value| {
            let patch = json!({ "spec": { "priority": priority } });
            tenants(&admin)
                .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
                .await
        };
        let unknown = objects::denied(retier(json!({ "tier": "platinum" })).await, "BW-TENANT-INVALID")?;
        ensure!(unknown.message.contains("bronze"), "{}", unknown.message);
        level("bailiwick-silver").await?;
        retier(json!({ "tier": "gold" })).await?;
        level("bailiwick-gold").await?;
        retier(json!(null)).await?;
        eventually(SOON, "the FlowSchema is gone", async || {
            ensure!(schemas.get_opt(&name_of(&name)).await?.is_none(), "it is there");
            Ok(())
        })
        .await
    })
}

/// Clients that ask at a time, and how long one of them waits when it is refused.
const FLOOD: usize = 150;
const PAUSE: Duration = Duration::from_millis(500);

/// What a client met.
#[derive(Default)]
struct Met {
    answered: AtomicUsize,
    refused: AtomicUsize,
}

impl Met {
    fn count<T>(&self, result: Result<T, kube::Error>) -> Result<()> {
        match result {
            Ok(_) => self.answered.fetch_add(1, Ordering::Relaxed),
            Err(kube::Error::Api(status)) if status.code == 429 => {
                self.refused.fetch_add(1, Ordering::Relaxed)
            }
            Err(error) => bail!(error),
        };
        Ok(())
    }
}

#[test]
fn who_floods_the_api_server_is_told_to_wait_and_others_are_not() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let [flooding, other] = ["flooding", "unharmed"].map(unique);
        let tier = "priority: { tier: bronze }";
        let mut clients = Vec::new();
        for name in [&flooding, &other] {
            ready_tenant(cluster, &tenant(name, &[name], tier), SOON).await?;
            let client = cluster.client_as(&format!("{name}-owner"), &[AUTHENTICATED])?;
            let schemas: Api<FlowSchema> = Api::all(cluster.client());
            eventually(SOON, &format!("{name} is recognised"), async || {
                let uid = schemas.get(&name_of(name)).await?.uid();
                ensure!(Some(taken_by(&client).await?) == uid);
                Ok(())
            })
            .await?;
            let maps: Api<ConfigMap> = Api::namespaced(client, name);
            let map = json!({ "metadata": { "name": "large" }, "data": { "text": "x".repeat(200_000) } });
            maps.create(&PostParams::default(), &serde_json::from_value(map)?)
                .await?;
            clients.push(maps);
        }
        let [flood, calm] = clients.as_slice() else {
            bail!("two clients")
        };

        // More at once than a bronze tenant may have at work and waiting: twice its part, and four queues of ten.
        let (met, calm_met) = (Met::default(), Met::default());
        let stop = Arc::new(AtomicBool::new(false));
        let flooding = futures::stream::iter(0..FLOOD).for_each_concurrent(FLOOD, async |_| {
            while !stop.load(Ordering::Relaxed) {
                let result = flood.list(&ListParams::default()).await;
                let is_refused = result.is_err();
                // A connection that the API server closed is no answer: the flood goes on over another.
                let _ = met.count(result);
                if is_refused {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        let calmly = async {
            let result = async {
                eventually(SOON, "the flood is refused", async || {
                    let refused = met.refused.load(Ordering::Relaxed);
                    ensure!(refused >= FLOOD, "{refused} refused");
                    Ok(())
                })
                .await?;
                for _ in 0..50 {
                    calm_met.count(calm.list(&ListParams::default()).await)?;
                }
                anyhow::Ok(())
            }
            .await;
            stop.store(true, Ordering::Relaxed);
            result
        };
        let ((), result) = tokio::join!(flooding, calmly);
        result?;
        let counts = [&met.answered, &met.refused, &calm_met.answered, &calm_met.refused];
        let counts = counts.map(|it| it.load(Ordering::Relaxed));
        ensure!(
            matches!(counts, [(1..), (FLOOD..), 50, 0]),
            "answered and refused, of the flood and of the other: {counts:?}"
        );
        Ok(())
    })
}

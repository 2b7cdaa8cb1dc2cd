//! What becomes of a violation: refused, warned of, written down, or let be for a while.

use anyhow::{Result, ensure};
use bailiwick_e2e::{objects, wait::eventually};
use kube::api::DeleteParams;
use serde_json::json;

use super::{condition, home, put, refused, refusing, served};
use crate::fixture::{SOON, on_shared_cluster, unique};

#[test]
fn a_warning_passes_and_tells() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (tenant, ns) = home(&installed.cluster, "warned").await?;
        let name = unique("warned");
        let create = [
            "create",
            "configmap",
            "warned",
            "-n",
            &ns,
            "--from-literal=a=b",
            "--dry-run=server",
        ];
        served(
            &client,
            &refusing(&name, &tenant, "a", "careful", &json!({ "enforcement": "Warn" })),
        )
        .await?;
        let told = installed.cluster.kubectl(&create).await?;
        ensure!(
            told.stderr.contains("Warning: BW-POLICY") && told.stderr.contains("careful"),
            "{told:?}"
        );
        served(
            &client,
            &refusing(&name, &tenant, "a", "careful", &json!({ "enforcement": "Audit" })),
        )
        .await?;
        let silent = installed.cluster.kubectl(&create).await?;
        ensure!(
            silent.success() && !silent.stderr.contains("Warning"),
            "{silent:?}"
        );
        let told = super::audited(installed, &ns, "/audit\"").await?;
        ensure!(told.contains("careful"), "{told}");
        Ok(())
    })
}

#[test]
fn an_exception_holds_for_its_namespace_until_its_day() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (tenant, ns) = home(&installed.cluster, "excepted").await?;
        let name = unique("excepted");
        let until = |day: &str, namespace: &str| json!({ "exceptions": [{ "name": "e", "namespaces": [namespace], "until": day, "reason": "migration", "owner": "ada" }] });
        let policy = |more| refusing(&name, &tenant, "a", "no", &more);
        served(&client, &policy(until("2099-01-01T00:00:00Z", &ns))).await?;
        put(&client, &ns, "a").await?;
        let metrics = [
            installed.bailiwick.webhook(0)?.metrics().await?,
            installed.bailiwick.webhook(1)?.metrics().await?,
        ]
        .concat();
        let counted = format!("policy=\"{name}\",outcome=\"except\"");
        ensure!(metrics.contains(&counted), "{counted} is not counted");
        served(&client, &policy(until("2099-01-01T00:00:00Z", "elsewhere"))).await?;
        refused(&client, &ns, "a").await?;
        served(&client, &policy(until("2020-01-01T00:00:00Z", &ns))).await?;
        refused(&client, &ns, "a").await?;
        condition(&client, &name, ("Degraded", "True", "ExceptionEnded")).await?;
        // Without a day, a reason or an owner there is none.
        for field in ["until", "reason", "owner"] {
            let mut lacking = policy(until("2099-01-01T00:00:00Z", &ns));
            lacking["spec"]["exceptions"][0]
                .as_object_mut()
                .map(|it| it.remove(field));
            let Err(error) = super::write(&client, &lacking).await else {
                anyhow::bail!("an exception without {field}")
            };
            ensure!(format!("{error:#}").contains(field), "{error:#}");
        }
        Ok(())
    })
}

#[test]
fn a_pack_is_switched_on_by_its_name() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (tenant, ns) = home(&installed.cluster, "packed").await?;
        let name = unique("packed");
        served(
            &client,
            &json!({
                "apiVersion": "bailiwick.dev/v1alpha1", "kind": "TenantPolicy", "metadata": { "name": name },
                "spec": {
                    "tenants": [tenant],
                    "pack": { "name": "registry-allowlist", "version": "1.0.0" },
                    "parameters": { "registries": ["registry.example.com/{tenant}"] },
                    // Not what this is about, on a machine that does other things.
                    "limits": { "evaluationMilliseconds": 1000 },
                },
            }),
        )
        .await?;
        let deployment = |image: &str| {
            format!(
                "{{ apiVersion: apps/v1, kind: Deployment, metadata: {{ name: {}, namespace: {ns} }}, spec: {{ selector: {{ matchLabels: {{ a: b }} }}, template: {{ metadata: {{ labels: {{ a: b }} }}, spec: {{ containers: [{{ name: c, image: {image} }}] }} }} }} }}",
                unique("app")
            )
        };
        objects::create(
            &client,
            &deployment(&format!("registry.example.com/{tenant}/app:1")),
        )
        .await?;
        let status = objects::denied(
            objects::create(&client, &deployment("registry.example.com/other/app:1")).await,
            "BW-POLICY",
        )?;
        ensure!(
            status.message.contains("spec.template.spec.containers[0].image"),
            "{}",
            status.message
        );
        Ok(())
    })
}

#[test]
fn gatekeepers_and_conftests_policies_serve_unchanged() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (tenant, ns) = home(&installed.cluster, "brought").await?;
        let match_ = json!({ "resources": [{ "groups": [""], "kinds": ["ConfigMap"] }] });
        let gatekeeper = json!({
            "tenants": [tenant], "match": match_, "regoVersion": "v0",
            "rego": "package requiredlabels\n\nimport data.lib.labels\n\nviolation[{\"msg\": msg}] {\n  missing := labels.missing(input.review.object, input.parameters.labels)\n  count(missing) > 0\n  msg := sprintf(\"you must provide labels: %v\", [missing])\n}\n",
            "libs": ["package lib.labels\n\nmissing(object, required) = found {\n  provided := {label | object.metadata.labels[label]}\n  found := {label | label := required[_]} - provided\n}\n"],
            "parameters": { "labels": ["team"] },
        });
        let conftest = json!({
            "tenants": [tenant], "match": match_, "regoVersion": "v0",
            "rego": "package main\n\ndeny[msg] {\n  input.kind == \"ConfigMap\"\n  input.data.a\n  msg := \"no a, please\"\n}\n",
        });
        for (spec, said) in [
            (gatekeeper, "you must provide labels: {\"team\"}"),
            (conftest, "no a, please"),
        ] {
            let name = unique("brought");
            put(&client, &ns, "a").await?;
            served(
                &client,
                &json!({ "apiVersion": "bailiwick.dev/v1alpha1", "kind": "TenantPolicy", "metadata": { "name": name }, "spec": spec }),
            )
            .await?;
            let message = refused(&client, &ns, "a").await?;
            ensure!(message.contains(said), "{message}");
            super::policies(&client)
                .delete(&name, &DeleteParams::default())
                .await?;
            eventually(SOON, "the policy is gone", async || {
                Ok(put(&client, &ns, "a").await?)
            })
            .await?;
        }
        Ok(())
    })
}

/// A policy that takes its whole second, asked by more clients than there is room for, costs the tenant next door nothing.
#[test]
fn a_slow_policy_is_its_own_tenants_trouble() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (slow, slow_ns) = home(&installed.cluster, "slow").await?;
        let (quick, quick_ns) = home(&installed.cluster, "quick").await?;
        let (slow_name, quick_name) = (unique("slow"), unique("quick"));
        served(&client, &refusing(&quick_name, &quick, "a", "no", &json!({}))).await?;
        let rego = "package bailiwick\n\ndeny contains \"x\" if { input.request.object.data.a; some i in numbers.range(1, 9000); some j in numbers.range(1, 9000); i * j < 0 }\n";
        let limits = json!({ "rego": rego, "limits": { "evaluationMilliseconds": 1000 } });
        served(&client, &refusing(&slow_name, &slow, "a", "no", &limits)).await?;
        put(&client, &slow_ns, "b").await?;
        let done = std::sync::atomic::AtomicBool::new(false);
        let ask = async |_: usize| -> Result<()> {
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                // Refused: it took too long, there was no room for it, or it is not evaluated for the moment.
                ensure!(put(&client, &slow_ns, "a").await.is_err(), "it was allowed");
            }
            Ok(())
        };
        let neighbour = async || -> Result<()> {
            for _ in 0..40 {
                let begin = std::time::Instant::now();
                refused(&client, &quick_ns, "a").await?;
                put(&client, &quick_ns, "b").await?;
                ensure!(
                    begin.elapsed() < SOON / 10,
                    "two answers took {:?}",
                    begin.elapsed()
                );
            }
            condition(&client, &slow_name, ("Degraded", "True", "CircuitOpen")).await?;
            Ok(())
        };
        let both = async {
            let result = neighbour().await;
            done.store(true, std::sync::atomic::Ordering::Release);
            result
        };
        let (asking, neighbour) = tokio::join!(futures::future::try_join_all((0..8).map(ask)), both);
        neighbour?;
        asking?;
        // It is told apart from what the policy says.
        let told = objects::denied(put(&client, &slow_ns, "a").await, "BW-POLICY-ERROR")?;
        ensure!(
            told.message.contains("is not evaluated for the moment"),
            "{}",
            told.message
        );
        super::policies(&client)
            .delete(&slow_name, &DeleteParams::default())
            .await?;
        Ok(())
    })
}

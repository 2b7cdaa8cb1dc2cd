//! What can't be a Tenant is refused at apply, with the field and the reason; its near twin passes.

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{objects, wait::eventually};
use kube::api::{DeleteParams, DynamicObject};
use serde_json::json;

use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    steps::tenants,
};

/// A spec (or a name) that is refused, what the refusal names, and the nearest one that passes.
const CASES: [(&str, &[&str], &str); 20] = [
    (
        "owners: [{ kind: Group, name: 'system:masters' }]",
        &["spec.owners[0]", "system:"],
        "owners: [{ kind: Group, name: 'masters-$N' }]",
    ),
    (
        "owners: [{ kind: Group, name: 'system:authenticated' }]",
        &["spec.owners[0]", "system:"],
        "owners: [{ kind: Group, name: 'authenticated-$N' }]",
    ),
    (
        "owners: [{ kind: User, name: a-$N, namespace: b }]",
        &["spec.owners[0]", "namespace"],
        "owners: [{ kind: ServiceAccount, name: a-$N, namespace: b }]",
    ),
    (
        "owners: [{ kind: ServiceAccount, name: a-$N }]",
        &["spec.owners[0]", "namespace"],
        "owners: [{ kind: User, name: a-$N }]",
    ),
    (
        "owners: [{ kind: Robot, name: a-$N }]",
        &["spec.owners[0].kind", "Robot"],
        "owners: [{ kind: Group, name: a-$N }]",
    ),
    (
        "identities: { groups: ['*'] }",
        &["spec.identities"],
        "identities: { groups: ['x-$N-*'] }",
    ),
    (
        "identities: { users: ['sys*'] }",
        &["spec.identities", "system:"],
        "identities: { users: ['sysx-$N*'] }",
    ),
    (
        "access: [{ clusterRole: cluster-admin, subjects: [{ kind: Group, name: g-$N }] }]",
        &["spec.access[0].clusterRole", "'cluster-admin'", "'edit'"],
        "access: [{ clusterRole: edit, subjects: [{ kind: Group, name: g-$N }] }]",
    ),
    (
        "namespaces: { declared: [{ name: n-$N }, { name: n-$N }] }",
        &["spec.namespaces.declared[1]", "Duplicate"],
        "namespaces: { declared: [{ name: n-$N }, { name: m-$N }] }",
    ),
    (
        "namespaces: { declared: [{ name: kube-system }] }",
        &["spec.namespaces.declared[0].name", "reserved"],
        "namespaces: { declared: [{ name: kubesystem-$N }] }",
    ),
    (
        "namespaces: { declared: [{ name: default }] }",
        &["spec.namespaces.declared[0].name", "reserved"],
        "namespaces: { declared: [{ name: default-$N }] }",
    ),
    (
        "namespaces: { declared: [{ name: n-$N, labels: { bailiwick.dev/tenant: x } }] }",
        &["spec.namespaces.declared[0].labels", "bailiwick.dev/"],
        "namespaces: { declared: [{ name: n-$N, labels: { tenant: x } }] }",
    ),
    (
        "quota: { namespace: { requests.cpu: '4x' } }",
        &["spec.quota.namespace", "4x"],
        "quota: { namespace: { requests.cpu: '4' } }",
    ),
    (
        "quota: { namespace: { requests.cpu: '-4' } }",
        &["spec.quota.namespace", "-4"],
        "quota: { namespace: { requests.cpu: '0' } }",
    ),
    (
        "quota: { limits: [{ type: Pod, max: { memory: -1Gi } }] }",
        &["spec.quota.limits[0].max", "-1Gi"],
        "quota: { limits: [{ type: Pod, max: { memory: 1Gi } }] }",
    ),
    (
        "quota: { limits: [{ type: Container, max: { cpu: 1 }, min: { cpu: 2 } }] }",
        &["spec.quota.limits[0].min['cpu']"],
        "quota: { limits: [{ type: Container, max: { cpu: 2 }, min: { cpu: 1 } }] }",
    ),
    (
        "network: { egress: { toCIDRs: ['0.0.0.0/0'] } }",
        &["spec.network.egress.toCIDRs", "internet: true"],
        "network: { egress: { internet: true, toCIDRs: ['0.0.0.0/0'] } }",
    ),
    (
        "network: { egress: { toCIDRs: ['::/0'] } }",
        &["spec.network.egress.toCIDRs", "internet: true"],
        "network: { egress: { internet: true, toCIDRs: ['::/0'] } }",
    ),
    (
        "network: { egress: { toCIDRs: ['10.0.0.1/8'] } }",
        &["spec.network.egress.toCIDRs", "host bits"],
        "network: { egress: { toCIDRs: ['10.0.0.0/8'] } }",
    ),
    (
        "podSecurity: { enforce: privileged }",
        &["spec.podSecurity.enforce", "privileged"],
        "podSecurity: { enforce: restricted }",
    ),
];

/// A Tenant that is there, `$E`; a spec that reaches into it; what the refusal names; and the nearest one that doesn't.
const BESIDE: [(&str, &str, &[&str], &str); 6] = [
    (
        "owners: [{ kind: User, name: $E-boss }]",
        "owners: [{ kind: User, name: $E-boss }]",
        &[
            "BW-TENANT-IDENTITY",
            "spec.owners and spec.identities",
            "Tenant $E",
        ],
        "owners: [{ kind: Group, name: $E-boss }]",
    ),
    (
        "identities: { groups: ['$E-devs'] }",
        "identities: { groups: ['$E-*'] }",
        &[
            "BW-TENANT-IDENTITY",
            "spec.owners and spec.identities",
            "Tenant $E",
        ],
        "identities: { groups: ['$Ex-*'] }",
    ),
    (
        "identities: { users: ['$E-*'] }",
        "identities: { users: ['$E-dev'] }",
        &[
            "BW-TENANT-IDENTITY",
            "spec.owners and spec.identities",
            "Tenant $E",
        ],
        "identities: { users: ['$E'] }",
    ),
    (
        "identities: { groups: ['$E-*'] }",
        "identities: { groups: ['$E-devs-*'] }",
        &[
            "BW-TENANT-IDENTITY",
            "spec.owners and spec.identities",
            "Tenant $E",
        ],
        "identities: { users: ['$E-devs-*'] }",
    ),
    (
        "namespaces: { declared: [{ name: $E-ns }] }",
        "namespaces: { declared: [{ name: $N-ns }, { name: $E-ns }] }",
        &["BW-TENANT-NAMESPACE", "spec.namespaces.declared['$E-ns']", "'$E'"],
        "namespaces: { declared: [{ name: $N-ns }, { name: $E-ns2 }] }",
    ),
    (
        "namespaces: { declared: [{ name: $E-ns }] }",
        "network: { ingress: { fromNamespaces: [$E-ns] } }",
        &[
            "BW-TENANT-INVALID",
            "spec.network.ingress.fromNamespaces[0]",
            "'$E'",
        ],
        "network: { ingress: { fromTenants: [$E] } }",
    ),
];

fn named(name: &str, spec: &str) -> String {
    format!(
        "{{ apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: {{ name: {name} }}, spec: {{ {spec} }} }}"
    )
}

#[test]
fn an_impossible_tenant_is_refused_with_field_and_reason() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        for (bad, wanted, good) in CASES {
            let name = unique("input");
            let fill = |spec: &str| named(&name, &spec.replace("$N", &name));
            let Err(error) = objects::create(&client, &fill(bad)).await else {
                bail!("{bad} was accepted");
            };
            let text = format!("{error:#}");
            for part in wanted {
                ensure!(text.contains(part), "{bad}: no {part} in: {text}");
            }
            ensure!(
                tenants(&client).get_opt(&name).await?.is_none(),
                "{bad} was stored"
            );
            objects::create(&client, &fill(good))
                .await
                .with_context(|| good.to_owned())?;
        }
        Ok(())
    })
}

#[test]
fn what_is_another_tenants_is_refused_with_field_and_owner() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        for (there, bad, wanted, good) in BESIDE {
            let (existing, name) = (unique("there"), unique("beside"));
            let fill = |text: &str| text.replace("$E", &existing).replace("$N", &name);
            ready_tenant(&installed.cluster, &named(&existing, &fill(there)), SOON).await?;
            // The webhook hears of it by its own watch.
            let refused = eventually(SOON, &format!("{bad} is refused"), async || {
                let result = objects::create(&client, &named(&name, &fill(bad))).await;
                if result.is_ok() {
                    tenants(&client).delete(&name, &DeleteParams::default()).await?;
                }
                objects::denied(result, wanted[0])
            })
            .await?;
            for part in wanted {
                let text = &refused.message;
                ensure!(text.contains(&fill(part)), "{bad}: no {part} in: {text}");
            }
            ensure!(
                tenants(&client).get_opt(&name).await?.is_none(),
                "{bad} was stored"
            );
            objects::create(&client, &named(&name, &fill(good)))
                .await
                .with_context(|| good.to_owned())?;
        }
        Ok(())
    })
}

#[test]
fn an_impossible_name_is_refused() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        for name in [
            "default",
            "kube-x",
            "bailiwick",
            "system",
            "1abc",
            "a.b",
            &"a".repeat(41),
        ] {
            let result = objects::create(&client, &named(name, "")).await;
            let text = format!(
                "{:#}",
                result.err().with_context(|| format!("{name} was accepted"))?
            );
            ensure!(text.contains("metadata.name"), "{name}: {text}");
        }
        objects::create(&client, &named(&format!("{}{}", unique("a"), "a".repeat(20)), "")).await?;
        Ok(())
    })
}

#[test]
fn an_unknown_field_is_refused_by_name_or_never_stored() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let name = unique("typo");
        let yaml = named(&name, "podSecuritee: { enforce: restricted }");
        let output = installed
            .cluster
            .kubectl_with_input(&["apply", "-f", "-"], &yaml)
            .await?;
        let Err(error) = output.ok() else {
            bail!("kubectl took a typo")
        };
        let text = format!("{error:#}");
        ensure!(text.contains("spec.podSecuritee"), "{text}");

        // It is the API server that refuses, whoever the client is.
        let object = objects::parse(&yaml)?.remove(0);
        let send = async |validation: &str| {
            let uri = format!("/apis/bailiwick.dev/v1alpha1/tenants?fieldValidation={validation}");
            let request = http::Request::post(uri)
                .header("content-type", "application/json")
                .body(serde_json::to_vec(&object)?)?;
            Ok::<_, anyhow::Error>(client.request::<DynamicObject>(request).await)
        };
        let Err(kube::Error::Api(status)) = send("Strict").await? else {
            bail!("strict validation took a typo")
        };
        ensure!(
            status.code == 400 && status.message.contains("spec.podSecuritee"),
            "{}",
            status.message
        );
        ensure!(tenants(&client).get_opt(&name).await?.is_none(), "it was stored");

        // Who asks to ignore it gets a Tenant without it: closed by default, and never a field that nobody enforces.
        let stored = send("Ignore").await??;
        ensure!(stored.data["spec"] == json!({}), "{}", stored.data["spec"]);
        let unchecked = unique("typo");
        let yaml = yaml.replace(&name, &unchecked);
        installed
            .cluster
            .kubectl_with_input(&["apply", "--validate=false", "-f", "-"], &yaml)
            .await?
            .ok()?;
        let stored = tenants(&client).get(&unchecked).await?;
        ensure!(stored.data["spec"] == json!({}), "{}", stored.data["spec"]);
        Ok(())
    })
}

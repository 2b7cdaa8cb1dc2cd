//! What can't be a Tenant is refused at apply, with the field and the reason; its near twin passes.

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::objects;

use crate::{
    fixture::{on_shared_cluster, unique},
    steps::tenants,
};

/// A spec (or a name) that is refused, what the refusal names, and the nearest one that passes.
const CASES: [(&str, &[&str], &str); 17] = [
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
                anyhow::bail!("{bad} was accepted");
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
fn an_unknown_field_is_refused_by_name() -> Result<()> {
    on_shared_cluster(async |installed| {
        let yaml = named(&unique("typo"), "podSecuritee: { enforce: restricted }");
        let output = installed
            .cluster
            .kubectl_with_input(&["apply", "-f", "-"], &yaml)
            .await?;
        let Err(error) = output.ok() else {
            anyhow::bail!("a typo was accepted")
        };
        let text = format!("{error:#}");
        ensure!(text.contains("spec.podSecuritee"), "{text}");
        Ok(())
    })
}

use std::sync::Arc;

use super::*;
use crate::config::{ApiFairness, Config};
use crate::ownership::NamespaceFacts;
use crate::snapshot::Tenants;

const ACME: &str = "owners: [{kind: User, name: alice}, {kind: ServiceAccount, name: deployer, namespace: ci}], \
     identities: {users: ['acme:*'], groups: [acme-dev]}, \
     access: [{clusterRole: view, subjects: [{kind: User, name: 'acme:bob'}, {kind: User, name: auditor}, {kind: User, name: both}]}]";

fn snapshot(default_tier: Option<&str>, tenants: &[(&str, &str)]) -> Snapshot {
    let tenant = |(name, spec): &(&str, &str)| {
        let text = format!(
            "{{apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: {{name: {name}}}, spec: {{{spec}}}}}"
        );
        Arc::new(serde_saphyr::from_str(&text).unwrap())
    };
    let namespace = |name: &str, tenant: &str| {
        let facts = NamespaceFacts {
            labels: [(labels::TENANT.to_owned(), tenant.to_owned())].into(),
            ..NamespaceFacts::default()
        };
        (name.to_owned(), facts)
    };
    let namespaces = [namespace("acme-prod", "acme"), namespace("globex-prod", "globex")];
    Snapshot {
        config: Arc::new(Config {
            api_fairness: ApiFairness {
                tiers: vec!["gold".to_owned(), "silver".to_owned()],
                default_tier: default_tier.map(str::to_owned),
            },
            ..Config::default()
        }),
        tenants: Arc::new(Tenants::collect(tenants.iter().map(tenant))),
        namespaces: Arc::new(namespaces.into()),
        ..Snapshot::default()
    }
}

/// Tenant, priority level and subjects of each.
fn planned(snapshot: &Snapshot) -> Vec<(String, String, Vec<String>)> {
    let text = |it: &FlowSubject| {
        let name = it.user.as_ref().map(|it| &it.name);
        format!(
            "{} {}",
            it.kind,
            name.or_else(|| it.group.as_ref().map(|it| &it.name)).unwrap()
        )
    };
    flow_schemas(snapshot)
        .into_iter()
        .map(|(name, it)| {
            let spec = it.spec;
            assert_eq!(it.metadata.name.as_ref(), Some(&name));
            assert_eq!(spec.distinguisher_method, None);
            let rules = spec.rules.unwrap();
            assert_eq!(rules.len(), 1);
            let subjects = rules[0].subjects.iter().map(text).collect();
            (name, spec.priority_level_configuration.name, subjects)
        })
        .collect()
}

#[test]
fn whose_requests_can_be_recognised_is_the_tenants_and_nobody_elses() {
    let acme = format!("{ACME}, priority: {{tier: gold}}");
    let globex = "owners: [{kind: User, name: both}]";
    let found = planned(&snapshot(None, &[("acme", &acme), ("globex", globex)]));
    let subjects = [
        "User acme:bob",
        "User alice",
        "User system:serviceaccount:ci:deployer",
        "Group acme-dev",
        "Group system:serviceaccounts:acme-prod",
    ];
    // Not the auditor, who is nobody's, nor `both`, who is another tenant's; globex has no tier.
    assert_eq!(
        found,
        [(
            "bailiwick-tenant-acme".to_owned(),
            "bailiwick-gold".to_owned(),
            subjects.map(str::to_owned).to_vec()
        )]
    );
}

#[test]
fn a_tenant_without_a_tier_has_the_default_one() {
    let named = "priority: {tier: gold}, owners: [{kind: User, name: alice}]";
    let unnamed = "owners: [{kind: User, name: bob}]";
    let unknown = "priority: {tier: platinum}, owners: [{kind: User, name: carol}]";
    let nobody = "priority: {tier: gold}";
    let tenants = [
        ("named", named),
        ("unnamed", unnamed),
        ("unknown", unknown),
        ("nobody", nobody),
    ];
    let levels = |default| {
        let found = planned(&snapshot(default, &tenants));
        found
            .into_iter()
            .map(|(name, level, _)| format!("{name} {level}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(levels(None), ["bailiwick-tenant-named bailiwick-gold"]);
    assert_eq!(
        levels(Some("silver")),
        [
            "bailiwick-tenant-named bailiwick-gold",
            "bailiwick-tenant-unnamed bailiwick-silver"
        ]
    );
}

#[test]
fn an_account_that_another_tenant_claims_takes_its_group_along() {
    let acme = "priority: {tier: gold}, owners: [{kind: User, name: alice}]";
    let globex = "owners: [{kind: ServiceAccount, name: robot, namespace: acme-prod}]";
    let of = |tenants: &[(&str, &str)]| planned(&snapshot(None, tenants))[0].2.clone();
    let alone = of(&[("acme", acme)]);
    assert_eq!(alone, ["User alice", "Group system:serviceaccounts:acme-prod"]);
    let shared = of(&[("acme", acme), ("globex", globex)]);
    assert_eq!(shared, ["User alice"]);
}

type Change = fn(&mut FlowSchema);

#[test]
fn every_leaf_that_somebody_changes_is_a_difference() {
    let planned = flow_schemas(&snapshot(
        None,
        &[("acme", &format!("{ACME}, priority: {{tier: gold}}"))],
    ));
    let planned = &planned["bailiwick-tenant-acme"];
    let as_stored = FlowSchema {
        metadata: ObjectMeta {
            uid: Some("u".to_owned()),
            resource_version: Some("7".to_owned()),
            ..planned.metadata.clone()
        },
        status: Some(k8s_openapi::api::flowcontrol::v1::FlowSchemaStatus::default()),
        ..planned.clone()
    };
    assert_eq!(difference(planned, &as_stored), Vec::<String>::new());
    let changes: [(&str, Change); 5] = [
        ("metadata.labels", |it| it.metadata.labels = None),
        ("metadata.finalizers", |it| {
            it.metadata.finalizers = Some(vec!["x/y".to_owned()]);
        }),
        ("spec", |it| {
            it.spec.priority_level_configuration.name = "exempt".to_owned();
        }),
        ("spec", |it| {
            it.spec.matching_precedence = Some(1);
        }),
        ("spec", |it| {
            let rules = it.spec.rules.as_mut().unwrap();
            rules[0].subjects.pop();
        }),
    ];
    for (path, change) in changes {
        let mut found = as_stored.clone();
        change(&mut found);
        assert_eq!(difference(planned, &found), [path]);
    }
}

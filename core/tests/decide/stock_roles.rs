//! What the rules say of the ClusterRoles that every cluster has.

use std::sync::Arc;

use bailiwick_core::config::Config;
use bailiwick_core::grants::{escape, is_harmless};
use bailiwick_core::snapshot::{Rbac, RoleFacts, Snapshot};
use bailiwick_core::stock;

fn cluster() -> Snapshot {
    let mut rbac = Rbac::default();
    let stocks = [stock::kubernetes().unwrap(), stock::bailiwick().unwrap()];
    for role in stocks.iter().flat_map(|it| &it.cluster_roles) {
        rbac.cluster_roles
            .insert(role.metadata.name.clone().unwrap(), RoleFacts::from(role));
    }
    Snapshot {
        rbac: Arc::new(rbac),
        ..Snapshot::default()
    }
}

#[track_caller]
fn escapes(role: &str, expected: bool) {
    let cluster = cluster();
    let rules = cluster.effective_rules(&cluster.rbac.cluster_roles[role]);
    assert!(!rules.is_empty(), "{role}");
    let found = rules.iter().find_map(escape);
    assert_eq!(found.is_some(), expected, "{role}: {found:?}");
}

#[test]
fn what_tenants_may_bind_stays_inside() {
    for role in Config::default().bindable_cluster_roles {
        escapes(&role, false);
    }
}

#[test]
fn what_runs_the_cluster_does_not() {
    for role in [
        "cluster-admin",
        "system:kube-scheduler",
        "system:node",
        "system:controller:namespace-controller",
        "system:controller:resourcequota-controller",
        "system:controller:endpoint-controller",
        "system:controller:endpointslice-controller",
        "system:controller:clusterrole-aggregation-controller",
    ] {
        escapes(role, true);
    }
}

#[test]
fn discovery_is_all_that_everybody_may_have() {
    let cluster = cluster();
    let mut harmless: Vec<&str> = cluster
        .rbac
        .cluster_roles
        .iter()
        .filter(|(_, role)| {
            cluster
                .effective_rules(role)
                .iter()
                .all(|it| is_harmless(it, &[]))
        })
        .map(|(name, _)| name.as_str())
        .collect();
    harmless.sort_unstable();
    let discovery = [
        "system:basic-user",
        "system:discovery",
        "system:public-info-viewer",
        "system:service-account-issuer-discovery",
    ];
    assert_eq!(harmless, discovery);
}

#[test]
fn admin_has_what_edit_and_view_have_before_the_controller_has_filled_it_in() {
    let cluster = cluster();
    let rules = |role: &str| cluster.effective_rules(&cluster.rbac.cluster_roles[role]);
    let admin = rules("admin");
    for part in [
        "edit",
        "view",
        "system:aggregate-to-edit",
        "system:aggregate-to-view",
    ] {
        for rule in rules(part) {
            assert!(admin.contains(&rule), "{part}: {rule:?}");
        }
    }
}

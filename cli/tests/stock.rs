//! The embedded copy of the chart's ClusterRoles for tenants is what the chart says. `UPDATE=1` writes it anew.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't read its files has failed"
)]

use std::path::Path;

use serde_json::{Value, json};

const CHART: &str = "../charts/bailiwick/templates/rbac/tenant-clusterroles.yaml";
const COPY: &str = "../core/src/stock/bailiwick.json";

/// The lists of rules that each role is made of; the chart's template includes them by these names.
const ROLES: [(&str, &[&str]); 3] = [
    ("bailiwick-view", &["tenantViewRules"]),
    ("bailiwick-edit", &["tenantViewRules", "tenantEditRules"]),
    (
        "bailiwick-admin",
        &["tenantViewRules", "tenantEditRules", "tenantAdminRules"],
    ),
];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The rules between `{{- define "bailiwick.NAME" }}` and its end, which hold no template expressions.
fn rules(chart: &str, name: &str) -> Vec<Value> {
    let (_, after) = chart
        .split_once(&format!("{{{{- define \"bailiwick.{name}\" }}}}"))
        .unwrap_or_else(|| panic!("{CHART} defines no bailiwick.{name}"));
    let (rules, _) = after.split_once("{{- end").unwrap();
    serde_saphyr::from_str(rules).unwrap()
}

#[test]
fn the_charts_roles_are_the_ones_that_are_judged() {
    let chart = read(CHART);
    let roles = ROLES.map(|(name, lists)| {
        let role = format!("name: {name}\n");
        assert!(chart.contains(&role), "{CHART} has no role {name}");
        let included = chart.split(&role).nth(1).unwrap().split("---").next().unwrap();
        assert_eq!(
            included.matches("include \"bailiwick.tenant").count(),
            lists.len(),
            "{name}"
        );
        let rules: Vec<Value> = lists.iter().flat_map(|it| rules(&chart, it)).collect();
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        })
        .to_string()
    });
    let expected = format!("{{\"clusterRoles\":[\n{}\n]}}\n", roles.join(",\n"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(COPY), &expected).unwrap();
    }
    assert!(
        read(COPY) == expected,
        "{COPY} is not what {CHART} says: UPDATE=1 cargo test -p bailiwick-cli --test stock"
    );
}

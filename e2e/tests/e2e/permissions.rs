//! The permissions of Bailiwick's own ServiceAccounts, against a list that is checked in.
//!
//! Once as the chart writes them, and once as the API server understands them.

mod live;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
};

use anyhow::{Context, Result, bail, ensure};
use bailiwick_e2e::{checkout, install::NAMESPACE, objects};
use kube::{ResourceExt, api::DynamicObject};
use serde_json::{Value, json};

use crate::chart::render;

const OPERATOR: &str = "bailiwick-operator";
const WEBHOOK: &str = "bailiwick-webhook";

/// What each ServiceAccount may do, one line a right, as it is installed by default.
///
/// The lists are checked in, so that more rights are a change that a reviewer sees. `UPDATE=1` writes them.
#[test]
fn the_service_accounts_have_the_permissions_on_record() -> Result<()> {
    let objects = render(&json!({}))?;
    for account in [OPERATOR, WEBHOOK] {
        let path = checkout::root().join(format!("e2e/tests/e2e/permissions/{account}.txt"));
        let now = lines(&permissions(&objects, account)?);
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &now)?;
        }
        let recorded = recorded(account)?;
        ensure!(
            now == recorded,
            "the rights of {account} aren't those in {}; if that is meant, run this test with UPDATE=1. Now:\n{now}",
            path.display(),
        );
    }
    Ok(())
}

fn recorded(account: &str) -> Result<String> {
    let path = checkout::root().join(format!("e2e/tests/e2e/permissions/{account}.txt"));
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

fn lines(rights: &BTreeSet<String>) -> String {
    let lines: Vec<&str> = rights.iter().map(String::as_str).collect();
    lines.join("\n") + "\n"
}

/// What the chart's bindings give to a ServiceAccount. A binding that can't be followed is an error, not nothing.
fn permissions(objects: &[DynamicObject], account: &str) -> Result<BTreeSet<String>> {
    let kind = |it: &DynamicObject| it.types.as_ref().map(|it| it.kind.clone()).unwrap_or_default();
    let key = |it: &DynamicObject| (kind(it), it.namespace().unwrap_or_default(), it.name_any());
    let known: BTreeMap<_, _> = objects.iter().map(|it| (key(it), it)).collect();
    let mut rights = BTreeSet::new();
    for binding in objects.iter().filter(|it| kind(it).ends_with("RoleBinding")) {
        let name = binding.name_any();
        let namespace = binding.namespace().unwrap_or_default();
        let subjects = binding.data["subjects"].as_array();
        let bound = subjects
            .into_iter()
            .flatten()
            .map(|it| is(it, account))
            .collect::<Result<Vec<bool>>>()
            .with_context(|| format!("{} {name}", kind(binding)))?;
        if !bound.contains(&true) {
            continue;
        }
        let scope = match (kind(binding).as_str(), namespace.as_str()) {
            ("ClusterRoleBinding", _) => "cluster".to_owned(),
            (_, NAMESPACE) => "own namespace".to_owned(),
            (_, other) => format!("namespace {other}"),
        };
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let reference = &binding.data["roleRef"];
        let inside = if reference["kind"] == "Role" {
            namespace
        } else {
            String::new()
        };
        let role = known.get(&(text(&reference["kind"]), inside, text(&reference["name"])));
        let role = role.with_context(|| {
            format!("{name} binds {reference}, which isn't of this chart: nobody knows what it grants")
        })?;
        ensure!(
            role.data["aggregationRule"].is_null(),
            "{reference} grants what others write"
        );
        for rule in role.data["rules"].as_array().into_iter().flatten() {
            rights.extend(self::rights(rule).into_iter().map(|it| format!("{scope}: {it}")));
        }
    }
    Ok(rights)
}

/// Whether a subject is the ServiceAccount. The chart binds nobody but its own two.
fn is(subject: &Value, account: &str) -> Result<bool> {
    let ours = [OPERATOR, WEBHOOK].iter().any(|it| subject["name"] == **it);
    ensure!(
        ours && subject["kind"] == "ServiceAccount" && subject["namespace"] == NAMESPACE,
        "binds {subject}"
    );
    Ok(subject["name"] == account)
}

fn rights(rule: &Value) -> Vec<String> {
    let list = |key: &str| -> Vec<String> {
        let items = rule[key].as_array().into_iter().flatten();
        items.filter_map(|it| it.as_str().map(str::to_owned)).collect()
    };
    let verbs = list("verbs").join(" ");
    let only = match list("resourceNames").as_slice() {
        [] => String::new(),
        names => format!(" [{}]", names.join(" ")),
    };
    let mut found = Vec::new();
    for (resource, group) in list("resources").iter().flat_map(|resource| {
        list("apiGroups")
            .into_iter()
            .map(move |it| (resource.clone(), it))
    }) {
        let dot = if group.is_empty() { "" } else { "." };
        found.push(format!("{resource}{dot}{group}{only}: {verbs}"));
    }
    found.extend(
        list("nonResourceURLs")
            .iter()
            .map(|url| format!("URL {url}: {verbs}")),
    );
    found
}

/// A rendered chart, as far as a test of reading it needs one.
fn rendered(role_ref: &str, subject: &str, rules: &str) -> Result<Vec<DynamicObject>> {
    let yaml = format!(
        "
{{ apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{ name: r }}, rules: [{rules}] }}
---
{{ apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{ name: b, namespace: kube-system }}, roleRef: {role_ref}, subjects: [{subject}] }}
"
    );
    objects::parse(&yaml)
}

#[test]
fn no_binding_of_the_chart_is_overlooked() -> Result<()> {
    let operator = "{ kind: ServiceAccount, name: bailiwick-operator, namespace: bailiwick-system }";
    let role = "{ kind: ClusterRole, name: r }";
    let pods = "{ apiGroups: [''], resources: [pods], verbs: [get] }";
    let urls = "{ nonResourceURLs: [/metrics], verbs: [get] }";
    for (role_ref, subject, rules, expected) in [
        (role, operator, pods, Ok("namespace kube-system: pods: get\n")),
        (
            role,
            operator,
            urls,
            Ok("namespace kube-system: URL /metrics: get\n"),
        ),
        (
            "{ kind: ClusterRole, name: cluster-admin }",
            operator,
            pods,
            Err("isn't of this chart"),
        ),
        (
            "{ kind: Role, name: r }",
            operator,
            pods,
            Err("isn't of this chart"),
        ),
        (
            role,
            "{ kind: Group, name: 'system:serviceaccounts' }",
            pods,
            Err("binds"),
        ),
        (
            role,
            "{ kind: User, name: bailiwick-operator }",
            pods,
            Err("binds"),
        ),
        (
            role,
            "{ kind: ServiceAccount, name: bailiwick-operator, namespace: other }",
            pods,
            Err("binds"),
        ),
    ] {
        let found = permissions(&rendered(role_ref, subject, rules)?, OPERATOR);
        match (found, expected) {
            (Ok(found), Ok(expected)) => ensure!(lines(&found) == expected, "{found:?}"),
            (Err(error), Err(part)) => ensure!(format!("{error:#}").contains(part), "{error:#}"),
            (found, expected) => bail!("{role_ref} {subject}: {found:?}, not {expected:?}"),
        }
    }
    Ok(())
}

//! The permissions of Bailiwick's own ServiceAccounts, against a list that is checked in.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::checkout;
use kube::{ResourceExt, api::DynamicObject};
use serde_json::{Value, json};

use crate::chart::render;

/// What each ServiceAccount may do, one line a right, as it is installed by default.
///
/// The lists are checked in, so that more rights are a change that a reviewer sees. `UPDATE=1` writes them.
#[test]
fn the_service_accounts_have_the_permissions_on_record() -> Result<()> {
    let objects = render(&json!({}))?;
    for account in ["bailiwick-operator", "bailiwick-webhook"] {
        let path = checkout::root().join(format!("e2e/tests/e2e/permissions/{account}.txt"));
        let now = permissions(&objects, account).join("\n") + "\n";
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &now)?;
        }
        let recorded = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        ensure!(
            now == recorded,
            "the rights of {account} aren't those in {}; if that is meant, run this test with UPDATE=1. Now:\n{now}",
            path.display(),
        );
    }
    Ok(())
}

fn permissions(objects: &[DynamicObject], account: &str) -> Vec<String> {
    let by_kind = |wanted: &str| {
        objects
            .iter()
            .filter(|it| it.types.as_ref().is_some_and(|it| it.kind == wanted))
            .map(|it| (it.name_any(), it))
            .collect::<BTreeMap<_, _>>()
    };
    let mut lines = BTreeSet::new();
    for (role, binding, scope) in [
        ("ClusterRole", "ClusterRoleBinding", "cluster"),
        ("Role", "RoleBinding", "own namespace"),
    ] {
        let roles = by_kind(role);
        for bound in by_kind(binding).values().filter(|it| names(it, account)) {
            let Some(role) = bound.data["roleRef"]["name"]
                .as_str()
                .and_then(|it| roles.get(it))
            else {
                continue;
            };
            for rule in role.data["rules"].as_array().into_iter().flatten() {
                lines.extend(rights(rule).map(|right| format!("{scope}: {right}")));
            }
        }
    }
    lines.into_iter().collect()
}

fn names(binding: &DynamicObject, account: &str) -> bool {
    binding.data["subjects"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|it| it["name"] == account)
}

fn rights(rule: &Value) -> impl Iterator<Item = String> {
    let list = |key: &str| -> Vec<String> {
        let items = rule[key].as_array().into_iter().flatten();
        items.filter_map(|it| it.as_str().map(str::to_owned)).collect()
    };
    let (groups, resources, verbs) = (list("apiGroups"), list("resources"), list("verbs").join(" "));
    let only = match list("resourceNames").as_slice() {
        [] => String::new(),
        names => format!(" [{}]", names.join(" ")),
    };
    resources.into_iter().flat_map(move |resource| {
        let (verbs, only) = (verbs.clone(), only.clone());
        let groups = groups.clone();
        groups.into_iter().map(move |group| {
            let dot = if group.is_empty() { "" } else { "." };
            format!("{resource}{dot}{group}{only}: {verbs}")
        })
    })
}

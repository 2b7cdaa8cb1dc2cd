use std::sync::Arc;

use bailiwick_crds::labels;

use super::*;
use crate::grants::Rule;
use crate::ownership::NamespaceFacts;
use crate::snapshot::{RoleFacts, Tenants};

/// acme with alice and acme-prod, globex with bob; what `view` and `admin` of this cluster grant.
fn snapshot() -> Snapshot {
    let tenant = |name: &str, owner: &str| {
        let text = format!(
            "{{apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: {{name: {name}}}, spec: {{owners: [{{kind: User, name: {owner}}}]}}}}"
        );
        Arc::new(serde_saphyr::from_str(&text).unwrap())
    };
    let namespace = |name: &str, labelled: Option<&str>| {
        let labels = labelled.map(|it| (labels::TENANT.to_owned(), it.to_owned()));
        let facts = NamespaceFacts {
            labels: labels.into_iter().collect(),
            ..NamespaceFacts::default()
        };
        (name.to_owned(), facts)
    };
    let namespaces = [namespace("acme-prod", Some("acme")), namespace("ci", None)];
    let role = |text: &str| {
        let rules: Vec<Rule> = serde_saphyr::from_str(text).unwrap();
        RoleFacts {
            rules,
            ..RoleFacts::default()
        }
    };
    let mut snapshot = Snapshot {
        tenants: Arc::new(Tenants::collect([
            tenant("acme", "alice"),
            tenant("globex", "bob"),
        ])),
        namespaces: Arc::new(namespaces.into()),
        ..Snapshot::default()
    };
    for (name, rules) in [
        ("view", "[{apiGroups: [''], resources: [pods], verbs: [get]}]"),
        (
            "node-binder",
            "[{apiGroups: [''], resources: [pods/binding], verbs: [create]}]",
        ),
        ("discovery", "[{nonResourceURLs: [/version], verbs: [get]}]"),
    ] {
        snapshot = snapshot.with_cluster_role(name.to_owned(), role(rules));
    }
    snapshot
}

fn subject(text: &str) -> SubjectRef {
    let (kind, name) = text.split_once(' ').unwrap();
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    SubjectRef {
        kind: kind.to_owned(),
        name: name.to_owned(),
        namespace: namespace.to_owned(),
    }
}

fn bound(namespace: Option<&str>, cluster_role: Option<&str>, subjects: &[&str]) -> Bound {
    Bound {
        namespace: namespace.map(str::to_owned),
        name: "old".to_owned(),
        cluster_role: cluster_role.map(str::to_owned),
        subjects: subjects.iter().map(|it| subject(it)).collect(),
    }
}

#[track_caller]
fn check(binding: &Bound, expected: &[(&str, &str)]) {
    let found = strays(&snapshot(), [binding]);
    let found: Vec<_> = found
        .iter()
        .flat_map(|(tenant, texts)| texts.iter().map(|it| (tenant.as_str(), it.as_str())))
        .collect();
    assert_eq!(found, expected, "{binding:?}");
}

#[test]
fn a_rolebinding_lets_no_stranger_in() {
    let within = |subject: &str| bound(Some("acme-prod"), Some("view"), &[subject]);
    for insider in [
        "User alice",
        "ServiceAccount acme-prod/any",
        "ServiceAccount ci/builder",
        "Group system:serviceaccounts:acme-prod",
    ] {
        check(&within(insider), &[]);
    }
    for (stranger, shown) in [
        ("User bob", "User 'bob'"),
        ("User carol", "User 'carol'"),
        ("Group system:authenticated", "Group 'system:authenticated'"),
    ] {
        let text = format!("RoleBinding acme-prod/old lets in {shown}");
        check(&within(stranger), &[("acme", &text)]);
        // By a Role just the same.
        check(&bound(Some("acme-prod"), None, &[stranger]), &[("acme", &text)]);
        // In a namespace that is nobody's it is nobody's business.
        check(&bound(Some("ci"), Some("view"), &[stranger]), &[]);
    }
}

#[test]
fn a_rolebinding_gives_nothing_that_escapes() {
    let alice = |role| bound(Some("acme-prod"), Some(role), &["User alice"]);
    check(&alice("view"), &[]);
    check(&alice("gone"), &[]);
    let found = strays(&snapshot(), [&alice("node-binder")]);
    let text = &found["acme"][0];
    assert!(
        text.starts_with("RoleBinding acme-prod/old grants 'create"),
        "{text}"
    );
    assert!(text.ends_with("by ClusterRole node-binder"), "{text}");
    // The platform may.
    check(
        &bound(
            Some("acme-prod"),
            Some("node-binder"),
            &["ServiceAccount ci/builder"],
        ),
        &[],
    );
}

#[test]
fn a_clusterrolebinding_gives_tenants_nothing_but_discovery() {
    let wide = |role, subject: &str| bound(None, Some(role), &[subject]);
    for (role, subject) in [
        ("discovery", "User alice"),
        ("discovery", "Group system:authenticated"),
        ("gone", "User alice"),
        ("view", "User carol"),
        ("view", "ServiceAccount ci/builder"),
        ("view", "Robot alice"),
    ] {
        check(&wide(role, subject), &[]);
    }
    let text = |subject: &str| {
        format!(
            "ClusterRoleBinding old grants {subject} get on pods of API group core by ClusterRole view, in every namespace"
        )
    };
    check(&wide("view", "User alice"), &[("acme", &text("User 'alice'"))]);
    check(
        &wide("view", "ServiceAccount acme-prod/app"),
        &[("acme", &text("ServiceAccount 'acme-prod/app'"))],
    );
    let everybody = text("Group 'system:authenticated'");
    check(
        &wide("view", "Group system:authenticated"),
        &[("acme", &everybody), ("globex", &everybody)],
    );
}

#[test]
fn a_serviceaccount_of_a_namespace_that_a_tenant_takes_later_is_told_then() {
    let binding = bound(None, Some("view"), &["ServiceAccount later/app"]);
    check(&binding, &[]);
    let taken = NamespaceFacts {
        labels: [(labels::TENANT.to_owned(), "acme".to_owned())].into(),
        ..NamespaceFacts::default()
    };
    let found = strays(&snapshot().with_namespace("later".to_owned(), taken), [&binding]);
    assert_eq!(found["acme"].len(), 1, "{found:?}");
}

#[test]
fn what_kubernetes_itself_gives_everybody_is_no_stray_and_more_of_it_is() {
    let stock = crate::stock::kubernetes().unwrap();
    let mut snapshot = snapshot();
    for role in &stock.cluster_roles {
        let name = role.metadata.name.clone().unwrap();
        snapshot = snapshot.with_cluster_role(name, RoleFacts::from(role));
    }
    let mut bindings = Vec::new();
    for binding in &stock.cluster_role_bindings {
        bindings.push(Bound {
            namespace: None,
            name: binding.metadata.name.clone().unwrap(),
            cluster_role: Some(binding.role_ref.name.clone()),
            subjects: binding.subjects.iter().flatten().map(SubjectRef::from).collect(),
        });
    }
    assert!(bindings.len() > 50);
    assert_eq!(strays(&snapshot, &bindings), Strays::new());

    let widened =
        "[{apiGroups: [certificates.k8s.io], resources: [clustertrustbundles], verbs: [get, delete]}]";
    let widened = RoleFacts {
        rules: serde_saphyr::from_str(widened).unwrap(),
        ..RoleFacts::default()
    };
    let role = "system:cluster-trust-bundle-discovery".to_owned();
    let found = strays(&snapshot.with_cluster_role(role, widened), &bindings);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["acme", "globex"]);
}

#[test]
fn what_an_owner_made_waits_while_somebody_elses_binding_names_its_accounts() {
    let made = || BTreeMap::from([("acme-new".to_owned(), Claim::Take)]);
    let check = |binding: &Bound, expected: Option<&str>| {
        let mut claims = made();
        hold_back(&mut claims, "acme", &snapshot(), std::slice::from_ref(binding));
        let expected = match expected {
            Some(binding) => Claim::Wait(Hindrance::Bound(binding.to_owned())),
            None => Claim::Take,
        };
        assert_eq!(claims["acme-new"], expected, "{binding:?}");
    };
    for subject in [
        "ServiceAccount acme-new/robot",
        "User system:serviceaccount:acme-new:robot",
        "Group system:serviceaccounts:acme-new",
    ] {
        let (everywhere, there) = ("ClusterRoleBinding old", "RoleBinding ci/old");
        check(
            &bound(None, Some("view"), &["User carol", subject]),
            Some(everywhere),
        );
        check(&bound(Some("ci"), Some("view"), &[subject]), Some(there));
        check(&bound(Some("ci"), None, &[subject]), Some(there));
        // Nothing that harms, or nothing that leaves the tenant.
        check(&bound(None, Some("discovery"), &[subject]), None);
        check(&bound(None, Some("gone"), &[subject]), None);
        check(&bound(Some("acme-prod"), Some("view"), &[subject]), None);
        check(&bound(Some("acme-new"), Some("view"), &[subject]), None);
    }
    for other in [
        "ServiceAccount acme-news/robot",
        "User acme-new",
        "Group acme-new",
    ] {
        check(&bound(None, Some("view"), &[other]), None);
    }
    // What is kept already is kept.
    let mut claims = BTreeMap::from([("acme-new".to_owned(), Claim::Ending)]);
    let binding = bound(None, Some("view"), &["ServiceAccount acme-new/robot"]);
    hold_back(&mut claims, "acme", &snapshot(), &[binding]);
    assert_eq!(claims["acme-new"], Claim::Ending);
}

//! `docs/rules.md` explains every rule, and shows for each a denial as it really reads.

use std::fs;
use std::path::Path;

use bailiwick_core::decide::{Outcome, decide};
use bailiwick_core::finding::RuleId;
use bailiwick_core::review::parse;
use bailiwick_core::snapshot::Need;

use crate::cluster::{Ask, cluster};

fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.md");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A request that this rule refuses.
fn refused(rule: RuleId) -> Ask {
    let namespace = |labels: &str| format!("{{metadata: {{name: acme-prod, labels: {labels}}}}}");
    let binding = |kind: &str, role: &str, subject: &str| {
        format!(
            "{{metadata: {{name: team}}, roleRef: {{kind: {kind}, name: '{role}'}}, subjects: [{subject}]}}"
        )
    };
    let tenant = |spec: &str| format!("{{metadata: {{name: initech}}, spec: {spec}}}");
    let alice = "{kind: User, name: alice}";
    match rule {
        RuleId::NamespaceIdentity => {
            Ask::update("namespaces", &namespace("{$T: acme}"), &namespace("{$T: globex}"))
        }
        RuleId::NamespaceOwnerReference => Ask::update(
            "namespaces",
            &namespace("{$T: acme}"),
            "{metadata: {name: acme-prod, labels: {$T: acme}, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: c, uid: u}]}}",
        ),
        RuleId::NamespaceAdoption => Ask::update(
            "namespaces",
            "{metadata: {name: shop}}",
            "{metadata: {name: shop, annotations: {$ADOPT: acme}}}",
        )
        .by("alice"),
        RuleId::NamespaceDeclared => Ask::delete("namespaces", &namespace("{$T: acme}")),
        RuleId::PodLabel => {
            Ask::create("pods", "{metadata: {name: web, labels: {$T: globex}}}").within("acme-prod")
        }
        RuleId::BindingLabel => {
            Ask::create("bindings", "{metadata: {name: web, labels: {$T: globex}}}").within("acme-prod")
        }
        RuleId::Managed => Ask::delete(
            "networkpolicies",
            "{metadata: {name: bailiwick-default-deny, labels: {$M: bailiwick-operator}}}",
        )
        .within("acme-prod"),
        RuleId::RoleBindingSubject => Ask::create(
            "rolebindings",
            &binding("ClusterRole", "view", "{kind: User, name: bob}"),
        )
        .within("acme-prod"),
        RuleId::RoleBindingGrant => {
            Ask::create("rolebindings", &binding("ClusterRole", "cluster-admin", alice)).within("acme-prod")
        }
        RuleId::RoleGrant => {
            let rule = "{apiGroups: [''], resources: [pods/binding], verbs: [create]}";
            Ask::create("roles", &format!("{{metadata: {{name: r}}, rules: [{rule}]}}")).within("acme-prod")
        }
        RuleId::ClusterRoleBindingSubject => {
            Ask::create("clusterrolebindings", &binding("ClusterRole", "view", alice))
        }
        RuleId::ClusterRoleWidened => Ask::update(
            "clusterroles",
            "{metadata: {name: view}, rules: []}",
            "{metadata: {name: view}, rules: [{apiGroups: [''], resources: [resourcequotas], verbs: [delete]}]}",
        ),
        RuleId::TenantInvalid => Ask::create(
            "tenants",
            &tenant("{owners: [{kind: Group, name: 'system:masters'}]}"),
        ),
        RuleId::TenantIdentity => {
            Ask::create("tenants", &tenant("{identities: {groups: ['oidc:acme:dev']}}"))
        }
        RuleId::TenantNamespace => Ask::create(
            "tenants",
            &tenant("{namespaces: {declared: [{name: acme-prod}]}}"),
        ),
        RuleId::Record => Ask::update(
            "tenants/status",
            "{metadata: {name: acme}}",
            "{metadata: {name: acme}}",
        ),
        RuleId::Malformed => Ask::create(
            "rolebindings",
            &binding("ClusterRole", "view", "{kind: user, name: alice}"),
        )
        .within("acme-prod"),
        RuleId::Undecided => {
            Ask::create("rolebindings", &binding("ClusterRole", "gone", alice)).within("acme-prod")
        }
        RuleId::Unsupported => Ask::create("secrets", "{metadata: {name: s}}").within("acme-prod"),
    }
}

fn denial(rule: RuleId) -> String {
    let body = refused(rule).review().to_string();
    let snapshot = cluster().without(Need::ClusterRole("gone".to_owned()));
    match decide(&snapshot, &parse(body.as_bytes()).unwrap()) {
        Outcome::Decided(decision) => {
            assert!(decision.findings.iter().all(|it| it.rule == rule), "{decision:?}");
            decision.message()
        }
        Outcome::Needs(need) => panic!("{rule} needs {need:?}"),
    }
}

#[test]
fn every_rule_has_a_heading_and_no_heading_is_stale() {
    let text = text();
    let headings: Vec<&str> = text
        .lines()
        .filter_map(|it| it.strip_prefix("## "))
        .filter(|it| it.starts_with("BW-"))
        .collect();
    let rules: Vec<&str> = RuleId::ALL.iter().map(|it| it.as_str()).collect();
    assert_eq!(headings, rules, "in the order of RuleId::ALL");
}

#[test]
fn every_section_tells_all_that_is_asked() {
    let text = text();
    for rule in RuleId::ALL {
        let begin = text.find(&format!("\n## {rule}\n")).unwrap();
        let section = &text[begin + 1..];
        let section = section[3..]
            .find("\n## ")
            .map_or(section, |end| &section[..end + 3]);
        assert!(
            section.contains(rule.summary().trim()),
            "{rule} says: {}",
            rule.summary().trim()
        );
        for part in ["```text\n", "**Why.**", "**What to do.**", "**Where.**"] {
            assert!(section.contains(part), "{rule} lacks {part}");
        }
        let denial = denial(*rule);
        assert!(section.contains(&denial), "{rule} should show:\n{denial}");
    }
}

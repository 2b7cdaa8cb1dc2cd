//! What `check` says of one manifest more, in a cluster of two tenants: each refusal beside a near-identical
//! manifest that passes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

mod bindings;
mod namespaces;
mod placement;
mod pods;
mod policies;
mod tenants;
mod unknown;

use bailiwick_cli::check::{Checked, Report, Verdict, check_texts};
use bailiwick_core::config::Config;

/// Two tenants; `acme-strict` asks its Pods for the label, and `edit` is bound in acme's namespaces.
const CLUSTER: &str = "
apiVersion: bailiwick.dev/v1alpha1
kind: Tenant
metadata: {name: acme}
spec:
  owners: [{kind: Group, name: 'oidc:acme:admin'}]
  identities: {users: [amir], groups: ['oidc:acme:*']}
  access: [{clusterRole: edit, subjects: [{kind: Group, name: 'oidc:acme:dev'}]}]
  namespaces: {declared: [{name: acme-prod}, {name: acme-dev}]}
---
apiVersion: bailiwick.dev/v1alpha1
kind: Tenant
metadata: {name: globex}
spec:
  owners: [{kind: User, name: gudrun}]
  namespaces: {declared: [{name: globex-prod}]}
  podLabel: Require
---
apiVersion: bailiwick.dev/v1alpha1
kind: Tenant
metadata: {name: hooli}
spec:
  namespaces: {declared: [{name: hooli-prod}]}
  podLabel: Verify
---
apiVersion: v1
kind: Namespace
metadata: {name: shared}
";

/// Checks some manifests beside [`CLUSTER`].
fn report(manifests: &str, config: &Config) -> Report {
    check_texts(&[("cluster.yaml", CLUSTER), ("m.yaml", manifests)], None, config)
}

/// What came out for one object, as a line: `clean`, `not judged`, `can't tell: …` or `line:column RULE field, …`.
fn line(checked: &Checked) -> String {
    let findings = &checked.judgement.findings;
    let doubts = &checked.judgement.doubts;
    let mut parts: Vec<String> = findings
        .iter()
        .map(|it| {
            let finding = &it.finding;
            format!(
                "{}:{} {} {}",
                it.at.line, it.at.column, finding.rule, finding.field
            )
        })
        .collect();
    parts.extend(doubts.iter().map(|it| format!("can't tell: {}", it.message())));
    match checked.verdict() {
        Verdict::Clean => parts.push("clean".to_owned()),
        Verdict::NotJudged => parts.push("not judged".to_owned()),
        Verdict::Denied | Verdict::CannotTell => {}
    }
    parts.join(", ")
}

/// The lines of the manifests; what the cluster's own say has to be `clean`.
fn lines(manifests: &str, config: &Config) -> Vec<String> {
    let report = report(manifests, config);
    assert_eq!(report.unread, [], "{manifests}");
    let is_mine = |it: &&Checked| &*it.manifest.file == "m.yaml";
    report.objects.iter().filter(is_mine).map(line).collect()
}

/// One verdict for each manifest, in their order.
#[track_caller]
fn check(manifests: &str, expected: &[&str]) {
    assert_eq!(lines(manifests, &Config::default()), expected, "{manifests}");
}

/// The same with a configuration.
#[track_caller]
fn check_with(config: &str, manifests: &str, expected: &[&str]) {
    let config = Config::from_yaml(config).unwrap();
    assert_eq!(lines(manifests, &config), expected, "{manifests}");
}

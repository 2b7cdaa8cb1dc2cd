//! Would the verdict be another one, if a namespace that is in none of the files were some tenant's?
//!
//! A ServiceAccount belongs to the tenant of its namespace. Where that isn't known, the request is put a second
//! time with the namespace in a tenant's hands: only if the answer changes, it can't be told.

use std::collections::BTreeSet;
use std::sync::Arc;

use bailiwick_core::decide::{Outcome, decide};
use bailiwick_core::finding::{Finding, RuleId};
use bailiwick_core::ownership::NamespaceFacts;
use bailiwick_core::policy::Moment;
use bailiwick_core::snapshot::Snapshot;
use bailiwick_crds::labels;
use serde_json::Value;

use crate::check::cluster::Cluster;
use crate::check::doubt::Doubt;
use crate::check::request::Request;

/// No Tenant can have this name.
const SOMEBODY: &str = "?";

/// The namespaces on which the answer depends.
pub fn doubts(snapshot: &Snapshot, cluster: &Cluster, request: &Request, findings: &[Finding]) -> Vec<Doubt> {
    let unknown = subject_namespaces(&request.object)
        .into_iter()
        .filter(|it| !snapshot.namespaces.contains_key(it) && !snapshot.config.is_reserved_namespace(it));
    unknown
        .filter(|namespace| {
            let facts = NamespaceFacts {
                labels: [(labels::TENANT.to_owned(), SOMEBODY.to_owned())].into(),
                ..NamespaceFacts::default()
            };
            let supposed = Snapshot {
                policies: Arc::clone(&cluster.without_policies.policies),
                ..snapshot.clone()
            };
            let supposed = supposed.with_namespace(namespace.clone(), facts);
            match decide(&supposed, &request.admission(), &Moment::default()) {
                Outcome::Decided(it) => broken(&it.findings) != broken(findings),
                Outcome::Needs(_) => true,
            }
        })
        .map(Doubt::SubjectNamespace)
        .collect()
}

fn broken(findings: &[Finding]) -> BTreeSet<(RuleId, &str)> {
    // What policies say doesn't depend on whose other namespaces are.
    let own = findings.iter().filter(|it| it.source.is_none());
    own.map(|it| (it.rule, it.field.as_str())).collect()
}

/// The namespaces whose ServiceAccounts a binding names, in each of the ways to name them.
fn subject_namespaces(object: &Value) -> BTreeSet<String> {
    let subjects = object.get("subjects").and_then(Value::as_array);
    subjects
        .into_iter()
        .flatten()
        .filter_map(|subject| {
            let text = |key: &str| subject.get(key).and_then(Value::as_str);
            let name = text("name")?;
            let namespace = match text("kind")? {
                "ServiceAccount" => text("namespace")?,
                "User" => name.strip_prefix("system:serviceaccount:")?.split_once(':')?.0,
                "Group" => name.strip_prefix("system:serviceaccounts:")?,
                _ => return None,
            };
            (!namespace.is_empty()).then(|| namespace.to_owned())
        })
        .collect()
}

//! One manifest becomes one verdict: requests about it are put to `bailiwick_core::decide`, as the API server would.

use std::collections::BTreeSet;

use bailiwick_core::decide::{Outcome, decide};
use bailiwick_core::finding::{Finding, RuleId};
use bailiwick_core::policy::Moment;
use bailiwick_core::snapshot::{Need, RoleFacts, Snapshot};

use crate::check::cluster::Cluster;
use crate::check::document::is_template;
use crate::check::doubt::Doubt;
use crate::check::kinds::Judged;
use crate::check::manifest::Manifest;
use crate::check::node::{Node, Position};
use crate::check::path;
use crate::check::request::{self, Request};
use crate::check::schema::TenantSchema;
use crate::check::whatif;

/// What came out for one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The tenant that it is about, if any.
    pub tenant: Option<String>,
    /// Reasons to refuse it.
    pub findings: Vec<Placed>,
    /// What would have to be known to judge it.
    pub doubts: Vec<Doubt>,
}

/// A finding with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where its field is written.
    pub at: Position,
    /// The finding.
    pub finding: Finding,
}

/// Judges one manifest.
pub fn judge(manifest: &Manifest, cluster: &Cluster, schema: &TenantSchema) -> Judgement {
    let mut judgement = Judgement::default();
    let Some(root) = &manifest.root else {
        return judgement;
    };
    let judged = manifest.judged;
    if judged.is_some_and(|it| it.namespaced) && manifest.id.namespace.is_none() {
        judgement.doubts.push(Doubt::NoNamespace);
        return judgement;
    }
    if judged.is_some_and(|it| holds_template(it, root)) {
        judgement.doubts.push(Doubt::Template);
        return judgement;
    }
    if judged.is_some() && !cluster.has_tenants() {
        judgement.doubts.push(Doubt::NoTenants);
    }
    let is = |kind: &str| judged.is_some_and(|it| it.kind == kind);
    let mut findings = Vec::new();
    for request in request::requests(manifest, cluster) {
        // What a ClusterRole adds is seen in a cluster where no manifest has added anything yet.
        let snapshot = if is("ClusterRole") {
            &cluster.before_roles
        } else {
            &cluster.snapshot
        };
        let (tenant, found, doubts) = put(snapshot, &request);
        judgement.tenant = judgement.tenant.or(tenant);
        findings.extend(found);
        judgement.doubts.extend(doubts);
    }
    if is("Tenant") {
        merge_shape(&mut findings, schema.check(root));
    }
    let mut seen = BTreeSet::new();
    for finding in findings {
        if seen.insert((finding.rule, finding.field.clone())) {
            judgement.findings.push(place(root, finding));
        }
    }
    judgement.findings.sort_by_key(|it| it.at);
    judgement.doubts.sort();
    judgement.doubts.dedup();
    judgement
}

/// Puts one request; what is missing becomes a doubt, and what is certain all the same stays a finding.
fn put(snapshot: &Snapshot, request: &Request) -> (Option<String>, Vec<Finding>, Vec<Doubt>) {
    let mut snapshot = snapshot.clone();
    let mut doubts = Vec::new();
    loop {
        match decide(&snapshot, &request.admission(), &Moment::default()) {
            Outcome::Decided(decision) => {
                let mut findings = decision.findings;
                // The webhook is not asked about the other kinds; what is managed is guarded natively on all of them.
                findings.retain(|it| it.rule != RuleId::Unsupported);
                doubts.extend(whatif::doubts(&snapshot, request, &findings));
                for finding in &mut findings {
                    explain(finding, request);
                }
                return (decision.tenant, findings, doubts);
            }
            Outcome::Needs(need) => {
                doubts.push(Doubt::Unknown(need.clone()));
                snapshot = match need {
                    Need::Namespace(_) => return (None, Vec::new(), doubts),
                    // A role that grants nothing: what is found nevertheless holds whatever it grants.
                    Need::ClusterRole(name) => snapshot.with_cluster_role(name, RoleFacts::default()),
                    Need::Role { namespace, name } => snapshot.with_role(namespace, name, Vec::new()),
                };
            }
        }
    }
}

/// Says a finding in the terms of the file instead of the request made of it.
fn explain(finding: &mut Finding, request: &Request) {
    if finding.rule == RuleId::Malformed {
        if let Some((text, byte)) = byte_of(&finding.found) {
            finding.found = text;
            finding.field = path::at_byte(&request.object, byte);
        } else if finding.field.starts_with("request.") {
            finding.field.clear();
        }
    }
    if !request.prefix.is_empty() {
        finding.field = if finding.field.is_empty() {
            request.prefix.clone()
        } else {
            format!("{}.{}", request.prefix, finding.field)
        };
    }
}

/// serde_json's text without its position, and the byte that it names.
fn byte_of(text: &str) -> Option<(String, usize)> {
    let (text, position) = text.rsplit_once(" at line 1 column ")?;
    Some((text.to_owned(), position.parse().ok()?))
}

fn place(root: &Node, finding: Finding) -> Placed {
    Placed {
        at: path::locate(root, &finding.field, &finding.found),
        finding,
    }
}

/// Adds what is wrong with a Tenant's shape, unless the same field is reported already.
fn merge_shape(findings: &mut Vec<Finding>, shape: Vec<Finding>) {
    if !shape.is_empty() {
        // A Tenant that can't be read: the schema says why, and better.
        findings.retain(|it| it.rule != RuleId::Malformed);
    }
    let known: BTreeSet<String> = findings.iter().map(|it| it.field.clone()).collect();
    findings.extend(shape.into_iter().filter(|it| !known.contains(&it.field)));
}

/// Whether a part that decides still has to be rendered. Elsewhere in a Pod `{{ }}` may be somebody else's syntax.
fn holds_template(judged: &Judged, root: &Node) -> bool {
    if judged.resource != "pods" {
        return root.any_text(&is_template);
    }
    let labels = root
        .at_path(judged.template)
        .and_then(|it| it.at_path(&["metadata", "labels"]));
    labels.is_some_and(|it| it.any_text(&is_template))
}

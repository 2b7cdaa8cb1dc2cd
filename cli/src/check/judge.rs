//! One manifest becomes one verdict: requests about it are put to `bailiwick_core::decide`, as the API server would.

use std::collections::BTreeSet;

use bailiwick_core::decide::{Decision, Outcome, decide};
use bailiwick_core::finding::{Finding, RuleId};
use bailiwick_core::placement::VolumeFacts;
use bailiwick_core::policy::Moment;
use bailiwick_core::snapshot::{Need, RoleFacts, Snapshot};
use bailiwick_crds::labels;

use crate::check::cluster::Cluster;
use crate::check::document::is_template;
use crate::check::doubt::Doubt;
use crate::check::kinds::Judged;
use crate::check::manifest::Manifest;
use crate::check::node::{Node, Position};
use crate::check::path;
use crate::check::request::{self, Request};
use crate::check::schema::KindSchema;
use crate::check::whatif;

/// What came out for one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The tenant that it is about, if any.
    pub tenant: Option<String>,
    /// Reasons to refuse it.
    pub findings: Vec<Placed>,
    /// What policies object to without refusing it: the requester is told.
    pub warnings: Vec<Placed>,
    /// What policies object to for the audit log only.
    pub audited: Vec<Placed>,
    /// What policies object to and an exception lets be.
    pub excepted: Vec<Placed>,
    /// The policies that judged it.
    pub policies: BTreeSet<String>,
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

/// Judges one manifest. `wrong` is what is wrong with it if it is a policy.
pub fn judge(manifest: &Manifest, cluster: &Cluster, wrong: &[Placed], moment: &Moment) -> Judgement {
    let mut judgement = Judgement::default();
    let Some(root) = &manifest.root else {
        return judgement;
    };
    let judged = manifest.judged;
    let is_taken = cluster.takes(&manifest.id);
    if judged.is_none() && !is_taken && !is_labelled_managed(root) {
        return judgement;
    }
    let is_namespaced = judged.map_or(is_taken, |it| it.namespaced);
    if is_namespaced && manifest.id.namespace.is_none() {
        judgement.doubts.push(Doubt::NoNamespace);
        return judgement;
    }
    if judged.is_some_and(|it| holds_template(it, root)) {
        judgement.doubts.push(Doubt::Template);
        return judgement;
    }
    let is = |kind: &str| judged.is_some_and(|it| it.kind == kind);
    let is_about_tenants = (judged.is_some() || is_taken) && !is("TenantPolicy");
    if is_about_tenants && !cluster.has_tenants() {
        judgement.doubts.push(Doubt::NoTenants);
    }
    let mut all = Decision::default();
    for request in request::requests(manifest, cluster) {
        // What a ClusterRole adds is seen in a cluster where no manifest has added anything yet.
        let snapshot = if is("ClusterRole") {
            &cluster.before_roles
        } else if cluster.is_taken(&request) {
            &cluster.snapshot
        } else {
            &cluster.without_policies
        };
        let (decision, doubts) = put(snapshot, cluster, &request, moment);
        all.tenant = all.tenant.or(decision.tenant);
        all.findings.extend(decision.findings);
        all.warnings.extend(decision.warnings);
        all.audited.extend(decision.audited);
        all.excepted.extend(decision.excepted);
        all.ran.extend(decision.ran);
        judgement.doubts.extend(doubts);
    }
    if is("Tenant") {
        merge_shape(&mut all.findings, KindSchema::tenant().check(root));
    }
    judgement.tenant = all.tenant;
    judgement.policies = all.ran.into_iter().map(|it| it.policy).collect();
    let doubts = &mut judgement.doubts;
    judgement.findings = placed(root, all.findings, doubts);
    judgement.findings.extend_from_slice(wrong);
    judgement.warnings = placed(root, all.warnings, doubts);
    // What is refused of the Pods is not said again of their controller.
    let is_said = |it: &Placed| {
        let said = judgement.findings.iter();
        it.finding.source.is_none()
            && said
                .map(|it| &it.finding)
                .any(|said| (said.rule, &said.field) == (it.finding.rule, &it.finding.field))
    };
    judgement.warnings.retain(|it| !is_said(it));
    judgement.audited = placed(root, all.audited, doubts);
    judgement.excepted = placed(root, all.excepted, doubts);
    judgement.findings.sort_by_key(|it| it.at);
    judgement.doubts.sort();
    judgement.doubts.dedup();
    judgement
}

/// Whether it claims to be the operator's, which is refused of every kind.
fn is_labelled_managed(root: &Node) -> bool {
    root.at_path(&["metadata", "labels", labels::MANAGED_BY])
        .is_some()
}

/// Findings at their places, each once. What is said of a template says nothing of what is made of it.
fn placed(root: &Node, findings: Vec<Finding>, doubts: &mut Vec<Doubt>) -> Vec<Placed> {
    let mut seen = BTreeSet::new();
    let mut placed = Vec::new();
    for finding in findings {
        let said = finding
            .source
            .as_ref()
            .map(|it| (it.policy.clone(), finding.found.clone()));
        let is_rendered_later = |it: &Node| it.text().is_some_and(is_template);
        if is_template(&finding.found) || is_rendered_later(path::at(root, &finding.field)) {
            doubts.push(Doubt::Template);
        } else if seen.insert((finding.rule, finding.field.clone(), said)) {
            placed.push(place(root, finding));
        }
    }
    placed.sort_by_key(|it| it.at);
    placed
}

/// Puts one request; what is missing becomes a doubt, and what is certain all the same stays a finding.
fn put(snapshot: &Snapshot, cluster: &Cluster, request: &Request, moment: &Moment) -> (Decision, Vec<Doubt>) {
    let mut snapshot = snapshot.clone();
    let mut doubts = Vec::new();
    loop {
        match decide(&snapshot, &request.admission(), moment) {
            Outcome::Decided(mut decision) => {
                // The webhook is not asked about the other kinds; what is managed is guarded natively on all of them.
                // Who will approve is not known.
                decision
                    .findings
                    .retain(|it| !matches!(it.rule, RuleId::Unsupported | RuleId::PolicyApprover));
                doubts.extend(whatif::doubts(&snapshot, cluster, request, &decision.findings));
                for findings in [
                    &mut decision.findings,
                    &mut decision.warnings,
                    &mut decision.audited,
                    &mut decision.excepted,
                ] {
                    for finding in findings {
                        explain(finding, request);
                    }
                }
                return (decision, doubts);
            }
            Outcome::Needs(need) => {
                doubts.push(Doubt::Unknown(need.clone()));
                snapshot = match need {
                    Need::Namespace(_) => return (Decision::default(), doubts),
                    // A role that grants nothing: what is found nevertheless holds whatever it grants.
                    Need::ClusterRole(name) => snapshot.with_cluster_role(name, RoleFacts::default()),
                    Need::Role { namespace, name } => snapshot.with_role(namespace, name, Vec::new()),
                    Need::PersistentVolume(name) => snapshot.with_volume(name, VolumeFacts::default()),
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
pub(super) fn merge_shape(findings: &mut Vec<Finding>, shape: Vec<Finding>) {
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

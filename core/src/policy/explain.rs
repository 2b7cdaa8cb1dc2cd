//! Why policies said what they said of a request, and why others said nothing.

use std::sync::Arc;
use std::time::Duration;

use bailiwick_crds::v1alpha1::{Enforcement, MatchOperation};
use serde::Serialize;

use super::content::Content;
use super::judge::{Case, Judged, Moment, among, is_last_rites};
use super::revision::Revision;
use super::served::{Active, Served};
use crate::finding::{Finding, some_of};
use crate::rego::{Because, Violation};
use crate::review::{Operation, Request};
use crate::selector;
use crate::snapshot::Snapshot;

/// A policy and what became of a request there.
#[derive(Clone, Debug, PartialEq)]
pub struct Considered {
    /// The policy.
    pub policy: String,
    /// The revision that decided, or would have.
    pub revision: Option<String>,
    /// What became of the request.
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The policy doesn't judge it, and why.
    NotJudged(String),
    /// It was judged by these rules.
    Judged {
        /// The rules that ran.
        rules: Vec<String>,
        /// What they said.
        said: Vec<Told>,
    },
}

/// One thing that a policy said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// What it was.
    pub finding: Finding,
    /// What becomes of it; none where an exception lets it be.
    pub enforcement: Option<Enforcement>,
    /// The exception that lets it be, and until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// The ways in which the rule came true, as far as they can be told exactly.
    pub because: Vec<Because>,
}

/// How long telling one violation's ways may take. It is asked for by a person.
const LIMIT: Duration = Duration::from_secs(10);

/// Explains a request to each policy, on a thread with [`STACK`](crate::rego::STACK). What is said is what
/// [`decide`](crate::decide::decide) says.
pub fn explain(snapshot: &Snapshot, request: &Request<'_>, moment: &Moment) -> Vec<Considered> {
    let all = snapshot.policies.all().iter();
    let nobodys = |why: &str| {
        let why = why.to_owned();
        move |served: &Arc<Served>| Considered {
            policy: served.policy.clone(),
            revision: revision(served, request).map(|it| it.name().to_owned()),
            outcome: Outcome::NotJudged(why.clone()),
        }
    };
    let namespace = snapshot.namespaces.get(&*request.namespace);
    let (Some(tenant), Some(namespace)) = (snapshot.tenant_of(&request.namespace), namespace) else {
        let why = format!("Namespace '{}' is no tenant's", request.namespace);
        return all.map(nobodys(&why)).collect();
    };
    if is_last_rites(request) {
        return all
            .map(nobodys(
                "the request only lets go of an object that is being deleted",
            ))
            .collect();
    }
    let mut case = Case::new(snapshot, request, tenant, namespace, moment);
    let labels = snapshot.tenants.by_name.get(tenant);
    let labels = labels.map(|it| it.metadata.labels.clone().unwrap_or_default());
    all.map(|served| {
        let revision = revision(served, request);
        let outcome = match revision {
            None => Outcome::NotJudged(without_revision(served)),
            Some(it) => {
                let content = &it.stored.content;
                match unmatched(content, request, &namespace.labels) {
                    _ if content.is_for(tenant, labels.as_ref()) == Some(false) => {
                        Outcome::NotJudged(not_for(content, tenant))
                    }
                    Some(why) => Outcome::NotJudged(why),
                    None => judged(&mut case, served, it, request, moment),
                }
            }
        };
        Considered {
            policy: served.policy.clone(),
            revision: revision.map(|it| it.name().to_owned()),
            outcome,
        }
    })
    .collect()
}

/// The revision that decides a request.
fn revision<'a>(served: &'a Served, request: &Request<'_>) -> Option<&'a Arc<Revision>> {
    among(served, request).or(match &served.active {
        Some(Active::Loaded(it)) => Some(it),
        _ => None,
    })
}

fn without_revision(served: &Served) -> String {
    match (&served.active, &served.candidate) {
        (Some(Active::Missing { revision, reason, .. }), _) => {
            format!("revision {revision} can't be loaded here, so it refuses what it might judge: {reason}")
        }
        (_, Some(candidate)) => format!(
            "no revision of it decides yet; {} is to",
            candidate.revision().name()
        ),
        _ => "no revision of it decides".to_owned(),
    }
}

fn not_for(content: &Content, tenant: &str) -> String {
    match &content.tenants {
        Some(tenants) => format!("it is for {}, not for tenant '{tenant}'", some_of(tenants)),
        None => format!("its tenantSelector doesn't choose tenant '{tenant}' by the labels of its Tenant"),
    }
}

/// Why the revision doesn't match a request.
fn unmatched(
    content: &Content,
    request: &Request<'_>,
    labels: &std::collections::BTreeMap<String, String>,
) -> Option<String> {
    if content.judges(request, labels) {
        return None;
    }
    let (group, kind) = (&*request.kind.group, &*request.kind.kind);
    let operation = match request.operation {
        Operation::Create => MatchOperation::Create,
        Operation::Update => MatchOperation::Update,
        Operation::Delete => MatchOperation::Delete,
        Operation::Connect => MatchOperation::Connect,
    };
    let word = |it: &MatchOperation| format!("{it:?}").to_uppercase();
    let matches = &content.match_;
    Some(if !content.takes(group, kind) {
        let kinds = matches.resources.iter().flat_map(|it| &it.kinds);
        format!(
            "it doesn't match kind {kind} of API group '{group}', but {}",
            some_of(kinds)
        )
    } else if !matches.operations.contains(&operation) {
        let operations: Vec<String> = matches.operations.iter().map(word).collect();
        format!(
            "it doesn't match {}, but {}",
            word(&operation),
            some_of(operations)
        )
    } else if request.sub_resource.as_deref() == Some("status") {
        "status is never judged".to_owned()
    } else if matches
        .namespace_selector
        .as_ref()
        .is_some_and(|it| !selector::matches(it, labels))
    {
        format!(
            "its namespaceSelector doesn't choose Namespace '{}' by its labels",
            request.namespace
        )
    } else {
        "it doesn't match the request".to_owned()
    })
}

fn judged(
    case: &mut Case<'_>,
    served: &Served,
    revision: &Arc<Revision>,
    request: &Request<'_>,
    moment: &Moment,
) -> Outcome {
    let content = &revision.stored.content;
    let mut judged = Judged::default();
    // Whether it is evaluated for the moment is the webhooks' to say, and changes by the second.
    case.judge(served, revision, false, &mut judged);
    let ways = if judged.said.is_empty() {
        Vec::new()
    } else {
        ways(case, revision)
    };
    let exception = content
        .exception(&request.namespace, &request.name, moment.now)
        .map(|it| format!("{} until {}, {}", it.name, it.until.0, it.reason));
    let told = |it: super::judge::Said| {
        let because = ways.iter().filter(|way| is_of(&it.finding, &way.0));
        Told {
            because: because.map(|it| it.1.clone()).collect(),
            exception: exception.clone().filter(|_| it.enforcement.is_none()),
            enforcement: it.enforcement,
            finding: it.finding,
        }
    };
    Outcome::Judged {
        rules: revision.policy.rules().map(str::to_owned).collect(),
        said: judged.said.into_iter().map(told).collect(),
    }
}

fn ways(case: &Case<'_>, revision: &Revision) -> Vec<(Violation, Because)> {
    let content = &revision.stored.content;
    let Ok((review, facts)) = case.read() else {
        return Vec::new();
    };
    let policy = &revision.policy;
    policy.explain(
        content.language(),
        &content.rego_sources(),
        &review,
        &facts,
        LIMIT,
    )
}

/// Whether a finding is about a violation.
fn is_of(finding: &Finding, violation: &Violation) -> bool {
    let said = super::judge::of_violation("", "", violation.clone());
    let rule = finding
        .source
        .as_ref()
        .is_some_and(|it| it.rule == violation.rule);
    rule && finding.rule == said.rule
        && (&finding.field, &finding.found, &finding.fix) == (&said.field, &said.found, &said.fix)
}

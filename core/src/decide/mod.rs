//! The one decision: may this request pass?
//!
//! Admission, the offline check and the audit call [`decide`] and nothing else. It judges the *change*: what
//! was there before stays editable, but may not get worse.

mod closed;
mod cluster_role;
mod guard_rails;
mod managed;
mod namespace;
mod network_policy;
mod pod;
mod role_binding;
mod self_service;
mod suspension;
mod tenant;
mod tenant_policy;
mod volume;

use bailiwick_crds::v1alpha1::Enforcement;
use guard_rails::PodSpec;
pub(crate) use pod::pod_label_text;
use serde::Deserialize;
use serde_json::value::RawValue;
pub use tenant::{access_conflicts, conflicts, foreign_sources, standing_conflicts, without_foreign_sources};

use crate::finding::{Finding, RuleId};
use crate::identity;
use crate::policy::{self, Judged, Moment, Ran, Said};
use crate::review::{Object, Operation, ReadWhole, Request};
use crate::snapshot::{Need, Snapshot};

/// What was decided, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The tenant that the request is about, if any.
    pub tenant: Option<String>,
    /// All reasons for a denial; none means that the request may pass.
    pub findings: Vec<Finding>,
    /// What is objected to without refusing it, by policies or because it will be refused later: the requester is told.
    pub warnings: Vec<Finding>,
    /// What policies object to for the audit log only.
    pub audited: Vec<Finding>,
    /// What policies object to and an exception lets be.
    pub excepted: Vec<Finding>,
    /// The policies that judged the request.
    pub ran: Vec<Ran>,
}

impl Decision {
    /// Whether the request may pass.
    pub fn allowed(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether the same request may pass a moment later: the cluster is to be asked again, not its user.
    pub fn is_retriable(&self) -> bool {
        !self.allowed() && self.findings.iter().all(|it| it.rule == RuleId::Undecided)
    }

    /// All findings in one text, the most telling first.
    pub fn message(&self) -> String {
        let lines: Vec<String> = self.findings.iter().map(ToString::to_string).collect();
        match lines.as_slice() {
            [one] => one.clone(),
            many => many
                .iter()
                .enumerate()
                .map(|(i, it)| format!("[{}] {it}", i.saturating_add(1)))
                .collect::<Vec<_>>()
                .join("; "),
        }
    }
}

/// A decision, or what it still needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Decided.
    Decided(Decision),
    /// The snapshot lacks this; ask again with it, or with the knowledge that it doesn't exist.
    Needs(Need),
}

/// Why a rule can't say yes or no.
enum Stop {
    Needs(Need),
    Because(Finding),
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Because(finding)
    }
}

type Findings = Result<Vec<Finding>, Stop>;

/// Users of the control plane, by their exact names. Each is exempt from as little as it works with, and none
/// of them can move a tenant label.
const API_SERVER: &str = "system:apiserver";
const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
const NAMESPACE_CONTROLLER: &str = "system:serviceaccount:kube-system:namespace-controller";
const CONTROLLERS: &str = "system:serviceaccount:kube-system:";

const RBAC: &str = "rbac.authorization.k8s.io";

/// Decides a request. Where [`policy::judge::may_judge`](crate::policy::judge::may_judge) says so, the thread needs
/// [`STACK`](crate::rego::STACK).
pub fn decide(snapshot: &Snapshot, request: &Request<'_>, moment: &Moment) -> Outcome {
    let findings = match rules_for(snapshot, request) {
        Ok(findings) => findings,
        Err(Stop::Because(finding)) => vec![finding],
        Err(Stop::Needs(need)) => return Outcome::Needs(need),
    };
    let judged = match policies_for(snapshot, request, moment) {
        Ok(judged) => judged,
        Err(need) => return Outcome::Needs(need),
    };
    let mut decision = Decision {
        tenant: tenant_of(snapshot, request),
        findings,
        warnings: if is_exempt(snapshot, request) {
            Vec::new()
        } else {
            warnings_for(snapshot, request)
        },
        ran: judged.ran,
        ..Decision::default()
    };
    for Said { finding, enforcement } in judged.said {
        let said = match enforcement {
            Some(Enforcement::Deny) => &mut decision.findings,
            Some(Enforcement::Warn) => &mut decision.warnings,
            Some(Enforcement::Audit) => &mut decision.audited,
            None => &mut decision.excepted,
        };
        said.push(finding);
    }
    for all in [
        &mut decision.findings,
        &mut decision.warnings,
        &mut decision.audited,
        &mut decision.excepted,
    ] {
        limit(all);
    }
    Outcome::Decided(decision)
}

/// What is objected to without refusing it.
fn warnings_for(snapshot: &Snapshot, request: &Request<'_>) -> Vec<Finding> {
    match (&*request.resource.group, &*request.resource_path()) {
        ("bailiwick.dev", "tenants") => tenant::warn(snapshot, request),
        _ => guard_rails::warn(snapshot, request),
    }
}

/// What the policies of the request's tenant say.
fn policies_for(snapshot: &Snapshot, request: &Request<'_>, moment: &Moment) -> Result<Judged, Need> {
    if is_exempt(snapshot, request) || snapshot.policies.all().is_empty() || request.namespace.is_empty() {
        return Ok(Judged::default());
    }
    let Some(namespace) = snapshot.namespaces.get(&*request.namespace) else {
        return match exists(snapshot, &request.namespace) {
            Err(Stop::Needs(need)) => Err(need),
            _ => Ok(Judged::default()),
        };
    };
    Ok(snapshot
        .tenant_of(&request.namespace)
        .map_or_else(Judged::default, |tenant| {
            policy::judge::judge(snapshot, request, tenant, namespace, moment)
        }))
}

/// The decision when something that it needs could not be read: no, and try again.
pub fn undecided(snapshot: &Snapshot, request: &Request<'_>, need: &Need, reason: &str) -> Decision {
    let what = match need {
        Need::Namespace(name) => format!("Namespace '{name}'"),
        Need::ClusterRole(name) => format!("ClusterRole '{name}'"),
        Need::Role { namespace, name } => format!("Role '{namespace}/{name}'"),
        Need::PersistentVolume(name) => format!("PersistentVolume '{name}'"),
    };
    let finding = Finding::new(
        RuleId::Undecided,
        "request",
        format!("{what} is not known yet ({reason})"),
        "requests about objects that the webhook has seen",
        "try again in a second",
    );
    Decision {
        tenant: tenant_of(snapshot, request),
        findings: vec![finding],
        ..Decision::default()
    }
}

/// The decision when there was no room to evaluate the policies in time: no, and try again.
pub fn overloaded(snapshot: &Snapshot, request: &Request<'_>) -> Decision {
    let finding = Finding::new(
        RuleId::Undecided,
        "request",
        "the policies of the tenant are being evaluated for too many requests at once",
        "as many at a time as the webhook has room for",
        "try again in a second; if it goes on, make the policies cheaper or give the webhook more CPU",
    );
    Decision {
        tenant: tenant_of(snapshot, request),
        findings: vec![finding],
        ..Decision::default()
    }
}

fn tenant_of(snapshot: &Snapshot, request: &Request<'_>) -> Option<String> {
    let (group, resource) = (&*request.resource.group, &*request.resource.resource);
    let is_named = matches!(
        (group, resource),
        ("", "namespaces") | ("bailiwick.dev", "tenants")
    );
    if !is_named {
        return snapshot.tenant_of(&request.namespace).map(str::to_owned);
    }
    let change = if request.name.is_empty() {
        Change::of(request).unwrap_or_default()
    } else {
        Change::default()
    };
    let name = if request.name.is_empty() {
        change.name()
    } else {
        &request.name
    };
    if resource == "namespaces" {
        snapshot.tenant_of(name).map(str::to_owned)
    } else {
        (!name.is_empty()).then(|| name.to_owned())
    }
}

fn rules_for(snapshot: &Snapshot, request: &Request<'_>) -> Findings {
    if is_exempt(snapshot, request) {
        return Ok(Vec::new());
    }
    let change = Change::of(request)?;
    let mut findings = managed::decide(snapshot, request, &change)?;
    findings.extend(suspension::decide(snapshot, request));
    findings.extend(closed::decide(snapshot, request));
    match rules_of_kind(snapshot, request, &change) {
        Ok(more) => findings.extend(more),
        Err(Stop::Because(finding)) => findings.push(finding),
        Err(stop @ Stop::Needs(_)) => return Err(stop),
    }
    match guard_rails::decide(snapshot, request, &change) {
        Ok(more) => findings.extend(more),
        // A namespace that no rule understands is told once.
        Err(Stop::Because(finding)) if findings.contains(&finding) => {}
        Err(Stop::Because(finding)) => findings.push(finding),
        Err(stop @ Stop::Needs(_)) => return Err(stop),
    }
    Ok(findings)
}

/// The operator, and the API server where it repairs its default roles: one that can't exits.
fn is_exempt(snapshot: &Snapshot, request: &Request<'_>) -> bool {
    let user = &*request.user_info.username;
    let (group, resource) = (&*request.resource.group, &*request.resource.resource);
    let is_cluster_rbac = group == RBAC && matches!(resource, "clusterroles" | "clusterrolebindings");
    let is_operator = !user.is_empty() && user == snapshot.config.operator_user;
    is_operator || (user == API_SERVER && is_cluster_rbac)
}

fn rules_of_kind(snapshot: &Snapshot, request: &Request<'_>, change: &Change<'_>) -> Findings {
    let path = request.resource_path();
    match (&*request.resource.group, &*path) {
        ("", "pods" | "pods/status" | "pods/ephemeralcontainers" | "pods/resize") => {
            pod::decide(snapshot, request, change)
        }
        ("", "pods/binding" | "bindings") => Ok(pod::decide_binding(change)),
        ("", "namespaces" | "namespaces/status" | "namespaces/finalize") => {
            Ok(namespace::decide(snapshot, request, change))
        }
        (RBAC, "rolebindings") => role_binding::decide(snapshot, request),
        (RBAC, "clusterrolebindings") => role_binding::decide_cluster(snapshot, request),
        (RBAC, "roles") => cluster_role::decide_role(snapshot, request),
        (RBAC, "clusterroles") => cluster_role::decide(snapshot, request),
        ("bailiwick.dev", "tenants") => tenant::decide(snapshot, request),
        ("bailiwick.dev", "tenantpolicies") => Ok(tenant_policy::decide(snapshot, request)),
        ("bailiwick.dev", "policyapprovals") => tenant_policy::decide_approval(snapshot, request),
        ("bailiwick.dev", "tenants/status" | "tenantpolicies/status" | "tenancyindices") => {
            Ok(vec![tenant::record(request)])
        }
        ("", "persistentvolumes") => volume::decide(snapshot, request),
        ("networking.k8s.io", "networkpolicies") => network_policy::decide(snapshot, request),
        // Nothing but the guard of managed objects.
        ("networking.k8s.io", "networkpolicies/status")
        | ("", "resourcequotas" | "resourcequotas/status" | "limitranges") => Ok(Vec::new()),
        // What lives in a namespace is for policies to judge, whatever it is.
        _ if !request.namespace.is_empty() => Ok(Vec::new()),
        (group, path) => Ok(vec![Finding::new(
            RuleId::Unsupported,
            "request.resource",
            format!("{path} of API group '{group}'"),
            "the resources in Bailiwick's ValidatingWebhookConfiguration as the chart renders it",
            "restore the webhook configuration with `helm upgrade`",
        )]),
    }
}

/// How many findings an answer holds; the rest are counted.
const MAX_FINDINGS: usize = 16;

fn limit(findings: &mut Vec<Finding>) {
    let more = findings.len().saturating_sub(MAX_FINDINGS);
    findings.truncate(MAX_FINDINGS);
    if let (Some(last), true) = (findings.last_mut(), more > 0) {
        last.fix = format!("{} (and {more} more findings)", last.fix);
    }
}

/// Whether a Namespace exists. What nobody has seen yet is asked for, once.
fn exists(snapshot: &Snapshot, namespace: &str) -> Result<bool, Stop> {
    if snapshot.namespaces.contains_key(namespace) {
        return Ok(true);
    }
    let need = Need::Namespace(namespace.to_owned());
    if snapshot.missing.contains(&need) {
        Ok(false)
    } else if identity::is_namespace(namespace) {
        Err(Stop::Needs(need))
    } else {
        Err(Stop::Because(Finding::new(
            RuleId::Malformed,
            "metadata.namespace",
            format!("'{namespace}'"),
            "the name of a Namespace",
            "correct the name",
        )))
    }
}

/// Reads the members that a rule needs from `object`.
fn object<'a, T: Deserialize<'a>>(request: &Request<'a>) -> Result<T, Stop> {
    read(request.object, "request.object")
}

/// Reads the members that a rule needs from `oldObject`.
fn old_object<'a, T: Deserialize<'a>>(request: &Request<'a>) -> Result<T, Stop> {
    read(request.old_object, "request.oldObject")
}

fn read<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, field: &str) -> Result<T, Stop> {
    let malformed = |found: String| {
        Stop::Because(Finding::new(
            RuleId::Malformed,
            field,
            found,
            "the object as the API server sends it",
            "check the object against its schema (`kubectl explain`)",
        ))
    };
    let raw = raw.ok_or_else(|| malformed(format!("nothing, where {field} is expected")))?;
    if !raw.get().starts_with('{') {
        return Err(malformed("something else than an object".to_owned()));
    }
    serde_json::from_str(raw.get()).map_err(|error| malformed(error.to_string()))
}

/// The object before and after: none before CREATE, none after DELETE.
#[derive(Default)]
struct Change<'a> {
    old: Option<Object<'a>>,
    new: Option<Object<'a>>,
    /// What guard rails read of Pods, before and after; none of other objects, and of Pods that can't be read so.
    pods: (Option<PodSpec<'a>>, Option<PodSpec<'a>>),
}

impl<'a> Change<'a> {
    fn of(request: &Request<'a>) -> Result<Self, Stop> {
        let has_old = matches!(request.operation, Operation::Update | Operation::Delete);
        let has_new = matches!(request.operation, Operation::Create | Operation::Update);
        let side = |has: bool, raw, field| has.then(|| side_of(request, raw, field)).transpose();
        let (old, pod_before) = side(has_old, request.old_object, "request.oldObject")?.unzip();
        let (new, pod) = side(has_new, request.object, "request.object")?.unzip();
        Ok(Self {
            old,
            new,
            pods: (pod_before.flatten(), pod.flatten()),
        })
    }

    /// The object's name, which the request itself need not tell: it doesn't with `generateName` and for the
    /// deletion of a collection.
    fn name(&self) -> &str {
        let object = self.old.as_ref().or(self.new.as_ref());
        object.map(|it| &*it.metadata.name).unwrap_or_default()
    }

    fn old_label(&self, key: &str) -> Option<&str> {
        self.old
            .as_ref()
            .and_then(|it| it.metadata.labels.get(key))
            .map(|it| &**it)
    }

    fn new_label(&self, key: &str) -> Option<&str> {
        self.new
            .as_ref()
            .and_then(|it| it.metadata.labels.get(key))
            .map(|it| &**it)
    }
}

/// One side of a change. A Pod is read in one go, if that can be done: its spec is most of what a review holds.
fn side_of<'a>(
    request: &Request<'_>,
    raw: Option<&'a RawValue>,
    field: &str,
) -> Result<(Object<'a>, Option<PodSpec<'a>>), Stop> {
    if request.resource.group.is_empty()
        && request.resource.resource == "pods"
        && let Ok(ReadWhole { metadata, spec }) = read::<ReadWhole<'a, PodSpec<'a>>>(raw, field)
    {
        return Ok((Object { metadata, spec: None }, spec));
    }
    Ok((read(raw, field)?, None))
}

/// A label's value for a message.
fn shown(value: Option<&str>) -> String {
    value.map_or_else(|| "no value".to_owned(), |it| format!("'{it}'"))
}

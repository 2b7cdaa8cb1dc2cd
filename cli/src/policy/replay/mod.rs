//! `bailiwick policy replay`: what a revision would refuse of what there is, beside the one that decides now.

pub mod report;

use std::collections::BTreeSet;
use std::sync::Arc;

use bailiwick_core::ownership::NamespaceFacts;
use bailiwick_core::policy::judge::compare;
use bailiwick_core::policy::{Active, Candidate, Moment, Policies, Revision, Served};
use bailiwick_core::review::{self, Request};
use bailiwick_core::snapshot::{Snapshot, Tenants};
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{Difference, MatchOperation, Tenant};
use k8s_openapi::api::core::v1::Namespace;
use serde::Serialize;
use serde_json::json;

use crate::live::item::Item;
use crate::live::kinds::Kind;
use crate::live::{Api, BAILIWICK, each_item, list};

/// One object or request that two revisions judge differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Differs {
    /// Kind of the object.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How they differ.
    pub difference: Difference,
    /// What the one that objects says.
    pub message: String,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The policy.
    pub policy: String,
    /// The revision that decides now; none where there is none.
    pub active: Option<String>,
    /// The one that was tried.
    pub candidate: String,
    /// How many objects or requests were evaluated.
    pub evaluated: usize,
    /// The differences.
    pub differs: Vec<Differs>,
    /// What could not be evaluated.
    pub unread: Vec<String>,
}

impl Report {
    /// 0: no difference; 1: differences; 2: something could not be evaluated.
    pub fn exit_code(&self) -> u8 {
        if self.differs.is_empty() {
            u8::from(!self.unread.is_empty()) * 2
        } else {
            1
        }
    }

    pub(super) fn count(&self, difference: Difference) -> usize {
        self.differs
            .iter()
            .filter(|it| it.difference == difference)
            .count()
    }
}

/// The two revisions, and the cluster in which they are compared.
pub struct Replay {
    snapshot: Snapshot,
    moment: Moment,
    report: Report,
}

impl Replay {
    /// Compares a candidate with what is active, in this cluster.
    pub fn new(
        tenants: Tenants,
        namespaces: &[Namespace],
        active: Option<Arc<Revision>>,
        candidate: Arc<Revision>,
        now: i64,
    ) -> Self {
        let policy = candidate.stored.policy.clone();
        let report = Report {
            policy: policy.clone(),
            active: active.as_ref().map(|it| it.name().to_owned()),
            candidate: candidate.name().to_owned(),
            ..Report::default()
        };
        let served = Served {
            policy,
            active: active.map(Active::Loaded),
            candidate: Some(Candidate::Shadow(candidate)),
            approved_by: std::collections::BTreeMap::new(),
        };
        let namespaces = namespaces.iter().map(|it| {
            (
                it.metadata.name.clone().unwrap_or_default(),
                NamespaceFacts::from(it),
            )
        });
        Self {
            snapshot: Snapshot {
                policies: Arc::new(Policies::collect([Arc::new(served)], &tenants)),
                tenants: Arc::new(tenants),
                namespaces: Arc::new(namespaces.collect()),
                ..Snapshot::default()
            },
            moment: crate::check::moment(now),
            report,
        }
    }

    /// Notes what can't be told.
    pub fn cannot(&mut self, unread: Vec<String>) {
        self.report.unread.extend(unread);
    }

    /// The kinds that either revision matches, by group.
    pub fn kinds(&self) -> BTreeSet<(String, String)> {
        let contents = self.snapshot.policies.all().iter().flat_map(|it| {
            let active = match &it.active {
                Some(Active::Loaded(it)) => Some(it),
                _ => None,
            };
            active
                .into_iter()
                .chain(it.candidate.as_ref().map(Candidate::revision))
        });
        let resources = contents.flat_map(|it| &it.stored.content.match_.resources);
        let pairs = resources.flat_map(|it| {
            let kinds = it.kinds.iter();
            kinds.flat_map(|kind| it.groups.iter().map(|group| (group.clone(), kind.clone())))
        });
        pairs.collect()
    }

    /// The operation that live objects are judged as: their creation, unless neither revision judges any.
    fn operation(&self) -> MatchOperation {
        let all = self.snapshot.policies.all();
        let judges = |operation: MatchOperation| {
            all.iter().any(|it| {
                let active = match &it.active {
                    Some(Active::Loaded(it)) => it.stored.content.match_.operations.contains(&operation),
                    _ => false,
                };
                let candidate = it.candidate.as_ref();
                active
                    || candidate.is_some_and(|it| {
                        it.revision()
                            .stored
                            .content
                            .match_
                            .operations
                            .contains(&operation)
                    })
            })
        };
        let order = [
            MatchOperation::Create,
            MatchOperation::Update,
            MatchOperation::Delete,
        ];
        order
            .into_iter()
            .find(|it| judges(*it))
            .unwrap_or(MatchOperation::Connect)
    }

    /// Compares the two over a live object, on a thread with [`bailiwick_core::rego::STACK`].
    pub fn object(&mut self, kind: &Kind, item: &Item) {
        let Some(namespace) = &item.namespace else { return };
        if self.snapshot.tenant_of(namespace).is_none() {
            return;
        }
        let operation = self.operation();
        let (object, old) = match operation {
            MatchOperation::Create => (Some(&item.raw), None),
            MatchOperation::Update => (Some(&item.raw), Some(&item.raw)),
            _ => (None, Some(&item.raw)),
        };
        let body = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "replay",
                "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
                "resource": {"group": kind.group, "version": kind.version, "resource": kind.resource},
                "name": item.name,
                "namespace": namespace,
                "operation": operation,
                "userInfo": {"username": "system:bailiwick-replay", "groups": []},
                "object": object,
                "oldObject": old,
            },
        });
        self.review(&body.to_string(), || {
            format!("{} {namespace}/{}", kind.kind, item.name)
        });
    }

    /// Compares the two over a recorded AdmissionReview, on a thread with [`bailiwick_core::rego::STACK`].
    pub fn review(&mut self, text: &str, what: impl Fn() -> String) {
        match review::parse(text.as_bytes()) {
            Ok(request) => self.request(&request),
            Err(error) => self.report.unread.push(format!("{}: {error}", what())),
        }
    }

    fn request(&mut self, request: &Request<'_>) {
        for it in compare(&self.snapshot, request, &self.moment) {
            self.report.evaluated += 1;
            if let Some((difference, message)) = it.difference {
                self.report.differs.push(Differs {
                    kind: request.kind.kind.to_string(),
                    namespace: request.namespace.to_string(),
                    name: request.name.to_string(),
                    difference,
                    message,
                });
            }
        }
    }

    /// What came out.
    pub fn finish(self) -> Report {
        self.report
    }
}

/// The Tenants and their Namespaces, and what of them can't be read.
///
/// # Errors
/// Why they can't be had.
pub fn cluster(api: &dyn Api) -> Result<(Tenants, Vec<Namespace>, Vec<String>), String> {
    let (tenants, unread) = list::<Tenant>(api, &format!("{BAILIWICK}/tenants"))?;
    let selector = labels::TENANT.replace('/', "%2F");
    let tenants = Tenants::collect(tenants.into_iter().map(Arc::new));
    let mut unread: Vec<String> = unread
        .iter()
        .map(|it| format!("Tenant '{it}' can't be read"))
        .collect();
    let (namespaces, more) = list::<Namespace>(api, &format!("/api/v1/namespaces?labelSelector={selector}"))?;
    unread.extend(more.iter().map(|it| format!("Namespace '{it}' can't be read")));
    Ok((tenants, namespaces, unread))
}

/// Compares the two over all live objects of the kinds that they match. `tell` hears how far it is.
///
/// # Errors
/// Why the objects can't be had.
pub fn live(
    api: &dyn Api,
    replay: &mut Replay,
    known: &[Kind],
    tell: &mut dyn FnMut(&str, usize),
) -> Result<(), String> {
    for (group, name) in replay.kinds() {
        let kind = known.iter().find(|it| it.group == group && it.kind == name);
        let Some(kind) = kind.filter(|it| it.namespaced) else {
            let unknown = format!("the cluster has no kind {name} of API group '{group}' in namespaces");
            replay.report.unread.push(unknown);
            continue;
        };
        let mut seen = 0;
        each_item(api, &kind.path(None), &mut |item| {
            replay.object(kind, &item);
            seen += 1;
            if seen % 500 == 0 {
                tell(&kind.resource, seen);
            }
            Ok(())
        })?;
        tell(&kind.resource, seen);
    }
    Ok(())
}

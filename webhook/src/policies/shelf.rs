//! Revisions that are compiled, and which of them are to be served.
//!
//! What is served is swapped whole: there is no moment without a policy, and a decision sees one state of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bailiwick_core::policy::orders::StoredPolicy;
use bailiwick_core::policy::served::Authors;
use bailiwick_core::policy::{Active, Candidate, Revision, Served, StoredRevision};
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::CandidateStage;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt as _;

/// Revisions by name, compiled once.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    compiled: HashMap<String, Result<Arc<Revision>, String>>,
    /// The objects that were read, by UID: what they hold never changes.
    read: HashMap<String, Option<Named>>,
    /// What was last served of a policy: it goes on while its successor can't be found.
    before: HashMap<String, Arc<Served>>,
}

/// What came of loading.
#[derive(Default)]
pub(crate) struct Loaded {
    /// What is to be served.
    pub(crate) served: Vec<Arc<Served>>,
    /// Who wrote which revision.
    pub(crate) authors: Arc<Authors>,
    /// Names of the revisions that decide.
    pub(crate) serving: BTreeSet<String>,
    /// Names of the candidates.
    pub(crate) candidates: BTreeSet<String>,
    /// Revisions that can't be loaded, and why.
    pub(crate) failed: BTreeMap<String, String>,
}

impl Shelf {
    /// Loads what the policies ask for. Takes as long as it takes to compile: off the threads that serve, on one with
    /// [`STACK`](bailiwick_core::rego::STACK).
    pub(crate) fn load(
        &mut self,
        policies: &[Arc<StoredPolicy>],
        revisions: &[Arc<ControllerRevision>],
    ) -> Loaded {
        let stored = self.read(revisions);
        let mut loaded = Loaded {
            authors: Arc::new(authors(stored.values())),
            ..Loaded::default()
        };
        let mut kept = HashMap::new();
        for policy in policies {
            let served = self.serve(policy, &stored, &mut loaded);
            if let Some(served) = served {
                kept.insert(policy.name_any(), served.clone());
                loaded.served.push(served);
            }
        }
        self.before = kept;
        let used = |it: &String| {
            loaded.serving.contains(it) || loaded.candidates.contains(it) || loaded.failed.contains_key(it)
        };
        self.compiled.retain(|it, _| used(it));
        loaded
    }

    /// What is stored, by the name of the revision. Each object is read once: the digest takes time.
    fn read(
        &mut self,
        revisions: &[Arc<ControllerRevision>],
    ) -> HashMap<String, Result<Arc<StoredRevision>, String>> {
        let mut before = std::mem::take(&mut self.read);
        for revision in revisions {
            let uid = revision.uid().unwrap_or_default();
            let named = before.remove(&uid).unwrap_or_else(|| read(revision));
            self.read.insert(uid, named);
        }
        self.read.values().flatten().cloned().collect()
    }

    fn serve(
        &mut self,
        policy: &StoredPolicy,
        stored: &HashMap<String, Result<Arc<StoredRevision>, String>>,
        loaded: &mut Loaded,
    ) -> Option<Arc<Served>> {
        let name = policy.name_any();
        let before = self.before.get(&name).cloned();
        let orders = &policy.orders;
        let active = orders.active.as_ref().map(|revision| {
            match self.revision(&name, revision, stored) {
                Ok(it) => {
                    loaded.serving.insert(revision.clone());
                    Active::Loaded(it)
                }
                Err(reason) => {
                    loaded.failed.insert(revision.clone(), reason.clone());
                    // The last good one serves on.
                    match before.as_ref().and_then(|it| it.active.clone()) {
                        Some(Active::Loaded(it)) => {
                            loaded.serving.insert(it.name().to_owned());
                            Active::Loaded(it)
                        }
                        _ => Active::Missing {
                            revision: revision.clone(),
                            spec: policy.spec.clone(),
                            reason,
                        },
                    }
                }
            }
        });
        let candidate = orders.candidate.as_ref().and_then(|(revision, stage, percent)| {
            match self.revision(&name, revision, stored) {
                Ok(it) => {
                    loaded.candidates.insert(revision.clone());
                    Some(match stage {
                        Some(CandidateStage::Shadow) => Candidate::Shadow(it),
                        Some(CandidateStage::Percent) => Candidate::Percent(it, *percent),
                        _ => Candidate::Idle(it),
                    })
                }
                Err(reason) => {
                    loaded.failed.insert(revision.clone(), reason);
                    None
                }
            }
        });
        (active.is_some() || candidate.is_some()).then(|| {
            Arc::new(Served {
                policy: name,
                active,
                candidate,
                approved_by: orders.approved_by.clone(),
            })
        })
    }

    fn revision(
        &mut self,
        policy: &str,
        name: &str,
        stored: &HashMap<String, Result<Arc<StoredRevision>, String>>,
    ) -> Result<Arc<Revision>, String> {
        if let Some(Ok(it)) = self.compiled.get(name)
            && it.stored.policy == policy
        {
            return Ok(it.clone());
        }
        let stored = match stored.get(name) {
            None => return Err("there is no such revision".to_owned()),
            Some(Err(reason)) => return Err(reason.clone()),
            Some(Ok(stored)) if stored.policy != policy => {
                return Err(format!("it is of policy '{}'", stored.policy));
            }
            Some(Ok(stored)) => stored,
        };
        let compile = || {
            Revision::compile(StoredRevision::clone(stored))
                .map(Arc::new)
                .map_err(|errors| {
                    let first = errors.first();
                    first.map_or_else(String::new, |it| match (it.line, it.column) {
                        (Some(line), Some(column)) => format!("{}:{line}:{column}: {}", it.field, it.message),
                        _ => format!("{}: {}", it.field, it.message),
                    })
                })
        };
        self.compiled
            .entry(name.to_owned())
            .or_insert_with(compile)
            .clone()
    }
}

/// A revision by its name: what is stored of it, or why it can't be read.
type Named = (String, Result<Arc<StoredRevision>, String>);

/// What an object holds; nothing of one without a name.
fn read(revision: &ControllerRevision) -> Option<Named> {
    let name = revision.labels().get(labels::POLICY_REVISION)?.clone();
    let stored = StoredRevision::read(&revision.data.0).and_then(|it| {
        if it.name() == name && it.object_name() == revision.name_any() {
            Ok(Arc::new(it))
        } else {
            Err(format!("it is revision {}", it.object_name()))
        }
    });
    Some((name, stored))
}

fn authors<'a>(stored: impl Iterator<Item = &'a Result<Arc<StoredRevision>, String>>) -> Authors {
    let mut authors = Authors::new();
    for it in stored.flatten() {
        authors
            .entry(it.policy.clone())
            .or_default()
            .insert(it.digest.clone(), it.author.clone());
    }
    authors
}

#[cfg(test)]
mod tests;

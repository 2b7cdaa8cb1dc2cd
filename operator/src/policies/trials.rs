//! The trials of revisions: compilation and tests take time, so they run beside the loop, few at a time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick_core::policy::trial::{self, Failed};
use bailiwick_core::policy::{Content, StoredRevision};
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{PolicyError, TenantPolicy};
use kube::ResourceExt as _;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Notify, Semaphore, oneshot};

/// When a trial that took too long is tried again, for the first time; each time after twice as long.
const AGAIN: Duration = Duration::from_mins(1);
/// The longest time until it is tried again.
const AGAIN_AT_MOST: Duration = Duration::from_hours(1);

/// How many trials run at a time.
const AT_A_TIME: usize = 2;

/// What became of a policy as it is written: a revision that may serve, or why it has none.
pub(super) type Head = Arc<Result<StoredRevision, Failed>>;

pub(super) struct Trials {
    /// By policy: the digest that was tried, and what came of it.
    all: HashMap<String, Trial>,
    /// By policy: what came of it as it is written now, so that it is read once.
    heads: HashMap<String, (Written, Head)>,
    room: Arc<Semaphore>,
    ended: Arc<Notify>,
}

/// What a head depends on: the UID and the generation of the policy, and its author.
type Written = (Option<String>, Option<i64>, Option<String>);

struct Trial {
    digest: String,
    state: State,
    /// How long to wait before it is tried again, should it take too long.
    patience: Duration,
}

enum State {
    Running(oneshot::Receiver<Result<(), Failed>>),
    Ended(Result<(), Failed>),
    /// It took too long, and is tried again at this time.
    Slow(Failed, Instant),
}

impl Trial {
    fn is_due(&self) -> bool {
        matches!(self.state, State::Slow(_, at) if at <= Instant::now())
    }
}

impl Default for Trials {
    fn default() -> Self {
        Self {
            all: HashMap::new(),
            heads: HashMap::new(),
            room: Arc::new(Semaphore::new(AT_A_TIME)),
            ended: Arc::default(),
        }
    }
}

impl Trials {
    /// Wakes when a trial ended.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Whether a trial is to be tried again.
    pub(super) fn is_due(&self) -> bool {
        self.all.values().any(Trial::is_due)
    }

    pub(super) fn forget_all_but(&mut self, policies: &BTreeSet<String>) {
        self.all.retain(|it, _| policies.contains(it));
        self.heads.retain(|it, _| policies.contains(it));
    }

    /// What became of a policy as it is written; none while it is being tried.
    pub(super) fn head(&mut self, policy: &TenantPolicy) -> Option<Head> {
        let name = policy.name_any();
        let metadata = &policy.metadata;
        let author = policy.annotations().get(labels::CHANGED_BY).cloned();
        let written = (metadata.uid.clone(), metadata.generation, author);
        if let Some((before, head)) = self.heads.get(&name)
            && *before == written
            && !self.all.get(&name).is_some_and(Trial::is_due)
        {
            return Some(head.clone());
        }
        let head = self.try_head(&name, policy)?;
        self.heads.insert(name, (written, head.clone()));
        Some(head)
    }

    fn try_head(&mut self, name: &str, policy: &TenantPolicy) -> Option<Head> {
        let content = match Content::of(&policy.spec) {
            Ok(content) => content,
            Err(errors) => return Some(Arc::new(Err(Failed::Invalid(errors)))),
        };
        let author = policy
            .annotations()
            .get(labels::CHANGED_BY)
            .cloned()
            .unwrap_or_default();
        if author.is_empty() && content.required_approvals > 0 {
            return Some(Arc::new(Err(Failed::Invalid(vec![PolicyError {
                field: format!("metadata.annotations['{}']", labels::CHANGED_BY),
                message: "is missing: without an author nobody knows whose approval doesn't count; let the native policies of the chart stamp it (admissionPolicies.enabled), and write the policy again".to_owned(),
                ..PolicyError::default()
            }]))));
        }
        let stored = StoredRevision::new(name, &author, content);
        let before = self.all.get(name).filter(|it| it.digest == stored.digest);
        if before.is_none_or(Trial::is_due) {
            let patience = before.map_or(AGAIN, |it| it.patience.saturating_mul(2).min(AGAIN_AT_MOST));
            let trial = Trial {
                digest: stored.digest.clone(),
                state: State::Running(self.begin(&stored.content)),
                patience,
            };
            self.all.insert(name.to_owned(), trial);
        }
        let trial = self.all.get_mut(name)?;
        if let State::Running(running) = &mut trial.state {
            match running.try_recv() {
                Ok(Err(failed @ Failed::Slow(_))) => {
                    trial.state = State::Slow(failed, Instant::now() + trial.patience);
                }
                Ok(ended) => trial.state = State::Ended(ended),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Closed) => trial.state = State::Ended(Err(broke_off("its task ended"))),
            }
        }
        match &trial.state {
            State::Running(_) => None,
            State::Ended(Ok(())) => Some(Arc::new(Ok(stored))),
            State::Ended(Err(failed)) | State::Slow(failed, _) => Some(Arc::new(Err(failed.clone()))),
        }
    }

    fn begin(&self, content: &Content) -> oneshot::Receiver<Result<(), Failed>> {
        let (content, room, ended) = (content.clone(), self.room.clone(), self.ended.clone());
        let (outcome, running) = oneshot::channel();
        tokio::spawn(async move {
            let _place = room.acquire_owned().await;
            let tried = tokio::task::spawn_blocking(move || trial::try_out(&content)).await;
            // The engine's panics are caught; what is left is a bug, and no reason to serve.
            let tried = tried.unwrap_or_else(|error| Err(broke_off(&error.to_string())));
            // The policy may have changed meanwhile: then nobody wants to know.
            let _ = outcome.send(tried);
            ended.notify_one();
        });
        running
    }
}

fn broke_off(reason: &str) -> Failed {
    Failed::Invalid(vec![PolicyError {
        field: "spec".to_owned(),
        message: format!("the trial broke off: {reason}; write the policy again"),
        ..PolicyError::default()
    }])
}

//! The policies of this replica: loaded, evaluated, compared and reported.
//!
//! - [`shelf`]: revisions that are compiled, and what is to be served.
//! - [`loader`]: the loading of them, beside everything else.
//! - [`room`]: who may evaluate when, so that no tenant takes another's time.
//! - [`breaker`]: revisions that keep taking too long.
//! - [`shadow`]: candidates, compared with what is active after the answer.
//! - [`lease`]: what this replica says of itself.

pub(crate) mod breaker;
pub(crate) mod lease;
pub(crate) mod loader;
pub(crate) mod room;
pub(crate) mod shadow;
pub(crate) mod shelf;

use std::sync::Arc;

use bailiwick_core::policy::report::Report;
use tokio::sync::watch;

use breaker::Breaker;
use room::Room;
use shadow::Comparer;

/// What evaluates policies, beside the snapshot.
#[derive(Clone)]
pub struct Policies {
    pub(crate) room: Room,
    pub(crate) breaker: Breaker,
    pub(crate) comparer: Comparer,
    report: Arc<watch::Sender<Report>>,
}

impl Policies {
    /// Nothing loaded, nothing counted. Has to be made within a runtime.
    pub fn new() -> Self {
        let report = Report {
            process: process(),
            ..Report::default()
        };
        Self {
            room: Room::for_this_machine(),
            breaker: Breaker::default(),
            comparer: Comparer::start(),
            report: Arc::new(watch::Sender::new(report)),
        }
    }

    /// Says what is loaded now.
    pub(crate) fn say(&self, loaded: &shelf::Loaded) {
        self.report.send_if_modified(|it| {
            let before = it.clone();
            it.serving.clone_from(&loaded.serving);
            it.loaded.clone_from(&loaded.candidates);
            it.failed.clone_from(&loaded.failed);
            *it != before
        });
        let candidates = &loaded.candidates;
        self.comparer.forget_all_but(|it| candidates.contains(it));
        let (serving, candidates) = (&loaded.serving, &loaded.candidates);
        self.breaker
            .forget_all_but(|it| serving.contains(it) || candidates.contains(it));
    }
}

impl Default for Policies {
    fn default() -> Self {
        Self::new()
    }
}

/// A word that no other start of this replica has.
fn process() -> String {
    let now = k8s_openapi::jiff::Timestamp::now().as_microsecond();
    format!("{now:x}-{:x}", std::process::id())
}

//! `bailiwick explain`: which policies considered an object, what they said, and what made them say it.

pub mod files;
pub mod live;
pub mod report;

use std::collections::BTreeSet;

use bailiwick_core::finding::Finding;
use bailiwick_core::policy::explain::{Considered, Outcome};
use bailiwick_crds::v1alpha1::Enforcement;

use crate::check::Verdict;
use crate::check::document::Unread;
use crate::check::manifest::Id;
use crate::check::policies::Sources;

/// All that was explained.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of the files.
    pub objects: Vec<Explained>,
    /// Where the lines of the policies stand.
    pub sources: Sources,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

/// One object, and why its verdict is what it is.
#[derive(Debug)]
pub struct Explained {
    /// What it is.
    pub id: Id,
    /// Where it is written; none for an object of the cluster.
    pub place: Option<String>,
    /// The tenant that it is about, if any.
    pub tenant: Option<String>,
    /// What came out.
    pub verdict: Verdict,
    /// What the rules say that are built in.
    pub built_in: Vec<Finding>,
    /// What would have to be known.
    pub doubts: Vec<String>,
    /// What the policies said, of the object itself and of what it makes.
    pub parts: Vec<Part>,
}

/// An object that was judged, or a part of it.
#[derive(Debug)]
pub struct Part {
    /// The kind that was judged.
    pub kind: String,
    /// Where it is in the object; empty for the whole.
    pub prefix: String,
    /// What became of it with each policy.
    pub considered: Vec<Considered>,
}

impl Report {
    /// 0: everything is explained; 2: something could not be read, or there was nothing.
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.unread.is_empty() || self.objects.is_empty()) * 2
    }
}

/// What becomes of a finding, as a word.
pub(crate) fn word(enforcement: Option<Enforcement>) -> &'static str {
    match enforcement {
        Some(Enforcement::Deny) => "denied",
        Some(Enforcement::Warn) => "warning",
        Some(Enforcement::Audit) => "audited",
        None => "excepted",
    }
}

/// The policies that nothing judged, each once, with why.
pub(crate) fn not_judged(considered: &[Considered]) -> impl Iterator<Item = (&str, &str)> {
    let mut seen = BTreeSet::new();
    considered.iter().filter_map(move |it| match &it.outcome {
        Outcome::NotJudged(why) if seen.insert(it.policy.as_str()) => {
            Some((it.policy.as_str(), why.as_str()))
        }
        _ => None,
    })
}

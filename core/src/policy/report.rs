//! What a webhook says of the policies: which revisions it serves, has loaded, can't load, and has counted.
//!
//! It travels in annotations of the replica's Lease. Names of revisions are short and the exceptional is rare, so that
//! ten thousand policies fit.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_crds::v1alpha1::{Counts, Sample};
use serde::{Deserialize, Serialize};

/// Annotation with the names of the revisions that decide.
pub const SERVING: &str = "bailiwick.dev/serving";
/// Annotation with the names of the candidates that are loaded.
pub const LOADED: &str = "bailiwick.dev/loaded";
/// Annotation with everything else, as JSON.
pub const DETAILS: &str = "bailiwick.dev/policy-report";

/// The most samples of a candidate in a report.
pub const MAX_SAMPLES: usize = 8;
/// The most revisions that details are told of.
const MAX_DETAILS: usize = 128;

/// What a webhook says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tells one start of the replica from another.
    pub process: String,
    /// The revisions that decide.
    pub serving: BTreeSet<String>,
    /// The candidates that could decide.
    pub loaded: BTreeSet<String>,
    /// Revisions that can't be loaded, and why.
    pub failed: BTreeMap<String, String>,
    /// What was counted of candidates.
    pub counted: BTreeMap<String, Tally>,
    /// Revisions that keep taking too long.
    pub open: BTreeSet<String>,
}

/// What one process counted of a candidate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// How often what.
    pub counts: Counts,
    /// Some of the differences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    process: String,
    failed: BTreeMap<String, String>,
    counted: BTreeMap<String, Tally>,
    open: BTreeSet<String>,
}

impl Report {
    /// The report as annotations. Where there is too much to say, samples are left out first, and then reasons.
    pub fn to_annotations(&self) -> BTreeMap<String, String> {
        /// Of the 256 KiB that all annotations may have, what the names leave.
        const BUDGET: usize = 96 * 1024;
        let text = self.details(MAX_SAMPLES, 512);
        let text = if text.len() > BUDGET {
            self.details(1, 128)
        } else {
            text
        };
        let text = if text.len() > BUDGET {
            self.details(0, 0)
        } else {
            text
        };
        let join = |it: &BTreeSet<String>| it.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        [
            (SERVING.to_owned(), join(&self.serving)),
            (LOADED.to_owned(), join(&self.loaded)),
            (DETAILS.to_owned(), text),
        ]
        .into()
    }

    /// The details with so many samples of each candidate, and reasons of so many characters.
    fn details(&self, samples: usize, reason: usize) -> String {
        let cut = |it: &String| it.chars().take(reason).collect();
        let tally = |it: &Tally| Tally {
            counts: it.counts,
            samples: it.samples.iter().take(samples).cloned().collect(),
        };
        let details = Details {
            process: self.process.clone(),
            failed: self
                .failed
                .iter()
                .take(MAX_DETAILS)
                .map(|(revision, reason)| (revision.clone(), cut(reason)))
                .collect(),
            counted: self
                .counted
                .iter()
                .take(MAX_DETAILS)
                .map(|(revision, it)| (revision.clone(), tally(it)))
                .collect(),
            open: self.open.iter().take(MAX_DETAILS).cloned().collect(),
        };
        serde_json::to_string(&details).unwrap_or_default()
    }

    /// Reads annotations. What is not there, or can't be read, was not said.
    pub fn of_annotations(annotations: &BTreeMap<String, String>) -> Self {
        let names = |key| {
            let text = annotations.get(key).map(String::as_str).unwrap_or_default();
            text.split(',')
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let details = annotations.get(DETAILS).map(String::as_str).unwrap_or_default();
        let Details {
            process,
            failed,
            counted,
            open,
        } = serde_json::from_str(details).unwrap_or_default();
        Self {
            process,
            serving: names(SERVING),
            loaded: names(LOADED),
            failed,
            counted,
            open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_the_journey() {
        let report = Report {
            process: "1".to_owned(),
            serving: ["a".to_owned(), "b".to_owned()].into(),
            loaded: BTreeSet::new(),
            failed: [("c".to_owned(), "why".to_owned())].into(),
            counted: [(
                "d".to_owned(),
                Tally {
                    counts: Counts {
                        evaluated: 3,
                        ..Counts::default()
                    },
                    samples: Vec::new(),
                },
            )]
            .into(),
            open: ["b".to_owned()].into(),
        };
        assert_eq!(Report::of_annotations(&report.to_annotations()), report);
        assert_eq!(Report::of_annotations(&BTreeMap::new()), Report::default());
        let garbage = [(DETAILS.to_owned(), "{".to_owned())].into();
        assert_eq!(Report::of_annotations(&garbage), Report::default());
    }

    #[test]
    fn twenty_thousand_names_fit_into_an_object() {
        let names = |from: u64| (from..from + 10_000).map(|i| format!("{i:012x}")).collect();
        let report = Report {
            serving: names(0),
            loaded: names(1 << 40),
            ..Report::default()
        };
        let size: usize = report
            .to_annotations()
            .iter()
            .map(|it| it.0.len() + it.1.len())
            .sum();
        // The API server takes annotations of 256 KiB altogether.
        assert!(size < 263_000, "{size}");
    }

    #[test]
    fn what_there_is_too_much_of_is_left_out() {
        use bailiwick_crds::v1alpha1::Difference;
        let sample = |i: usize| Sample {
            difference: Difference::NewlyDenied,
            namespace: format!("{i:063}"),
            kind: "k".repeat(63),
            name: "n".repeat(253),
            message: "\u{2028}".repeat(256),
        };
        let tally = Tally {
            counts: Counts {
                evaluated: 3,
                ..Counts::default()
            },
            samples: (0..MAX_SAMPLES).map(sample).collect(),
        };
        let report = Report {
            counted: (0..MAX_DETAILS)
                .map(|i| (format!("{i:012x}"), tally.clone()))
                .collect(),
            failed: (0..MAX_DETAILS)
                .map(|i| (format!("f{i:011x}"), "x".repeat(512)))
                .collect(),
            ..Report::default()
        };
        let annotations = report.to_annotations();
        let size: usize = annotations.values().map(String::len).sum();
        assert!(size < 100_000, "{size}");
        let read = Report::of_annotations(&annotations);
        assert_eq!(read.counted.len(), MAX_DETAILS);
        assert!(read.counted.values().all(|it| it.counts.evaluated == 3));
        assert_eq!(read.failed.len(), MAX_DETAILS);
    }
}

//! `bailiwick test`: policies in Rego and their tests, with the engine of the cluster.

pub mod find;
pub mod report;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use bailiwick_core::rego::{Coverage, Language, Problem, STACK, TestOutcome, TestResult, run_tests};

use crate::check::document::Unread;
use find::{Found, Suite};

/// What `test` is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Files and folders.
    pub paths: Vec<PathBuf>,
    /// The dialect of `*.rego` files. A ConstraintTemplate says its own.
    pub language: Language,
    /// The longest time of one test.
    pub limit: Duration,
}

/// A policy and how its tests ended.
#[derive(Debug)]
pub struct Tested {
    /// The folder, file or ConstraintTemplate.
    pub name: String,
    /// Tests in the order of their names, or what keeps the policy from being compiled.
    pub outcome: Result<Vec<TestResult>, Vec<Problem>>,
    /// Lines that the tests reached.
    pub coverage: Vec<Coverage>,
    /// How long all of it took.
    pub elapsed: Duration,
}

/// All policies and how their tests ended.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of the paths.
    pub policies: Vec<Tested>,
    /// What could not be read.
    pub unread: Vec<Unread>,
}

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that are true.
    pub passed: usize,
    /// Tests that are not, and those that could not be evaluated.
    pub failed: usize,
    /// Tests that are still to be done.
    pub skipped: usize,
    /// Policies that can't be compiled.
    pub broken: usize,
}

impl Report {
    /// How many tests ended how.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for policy in &self.policies {
            match &policy.outcome {
                Err(_) => counts.broken += 1,
                Ok(results) => {
                    for result in results {
                        match result.outcome {
                            TestOutcome::Passed => counts.passed += 1,
                            TestOutcome::Failed | TestOutcome::Errored(_) => counts.failed += 1,
                            TestOutcome::Skipped => counts.skipped += 1,
                        }
                    }
                }
            }
        }
        counts
    }

    /// 0: each test passed; 1: one did not; 2: something can't be compiled or read, or there is no test.
    pub fn exit_code(&self) -> u8 {
        let counts = self.counts();
        if counts.failed > 0 {
            1
        } else {
            u8::from(counts.broken > 0 || !self.unread.is_empty() || counts.passed == 0) * 2
        }
    }
}

/// Compiles the policies and runs their tests.
pub fn test(options: &Options) -> Report {
    let Found { suites, unread } = find::find(&options.paths, options.language);
    let limit = options.limit;
    let policies = thread::scope(|scope| {
        suites
            .into_iter()
            .filter_map(|suite| {
                let run = move || tested(suite, limit);
                // One after the other: the limit of a test is time.
                thread::Builder::new()
                    .stack_size(STACK)
                    .spawn_scoped(scope, run)
                    .ok()?
                    .join()
                    .ok()
            })
            .collect()
    });
    Report { policies, unread }
}

fn tested(suite: Suite, limit: Duration) -> Tested {
    let begin = Instant::now();
    let tested = run_tests(suite.language, &suite.sources, &serde_json::json!({}), limit);
    let (outcome, coverage) = match tested {
        Ok((results, coverage)) => (Ok(results), coverage),
        Err(problems) => (Err(problems), Vec::new()),
    };
    Tested {
        name: suite.name,
        outcome,
        // What tests the policy needs no test.
        coverage: coverage
            .into_iter()
            .filter(|it| !find::is_test_file(&it.file))
            .collect(),
        elapsed: begin.elapsed(),
    }
}

use std::collections::BTreeMap;

use bailiwick_crds::v1alpha1::{Approvals, PolicyError, Rollout};
use serde_json::json;

use super::super::content::Content;
use super::super::report::Tally;
use super::*;

fn at(text: &str) -> Time {
    serde_json::from_value(json!(text)).unwrap()
}

/// A policy that says a word, and so has a digest of its own.
fn spec(word: &str) -> TenantPolicySpec {
    serde_json::from_value(json!({
        "tenants": ["acme"],
        "match": {"resources": [{"groups": [""], "kinds": ["Pod"]}]},
        "rego": format!("package bailiwick\n\ndeny contains \"{word}\" if input.request.object.{word}\n"),
    }))
    .unwrap()
}

/// A cluster with one policy, as the operator sees it.
struct World {
    spec: TenantPolicySpec,
    generation: i64,
    author: String,
    broken: Option<Failed>,
    status: TenantPolicyStatus,
    revisions: BTreeMap<String, Kept>,
    approvals: Vec<Approval>,
    replicas: BTreeMap<String, Report>,
    unknown_kinds: Option<UnknownKinds>,
    now: Time,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            spec: spec("first"),
            generation: 1,
            author: "ada".to_owned(),
            broken: None,
            status: TenantPolicyStatus::default(),
            revisions: BTreeMap::new(),
            approvals: Vec::new(),
            replicas: [
                ("a".to_owned(), Report::default()),
                ("b".to_owned(), Report::default()),
            ]
            .into(),
            unknown_kinds: None,
            now: at("2026-01-01T00:00:00Z"),
        };
        for (name, report) in &mut world.replicas {
            report.process = format!("process-of-{name}");
        }
        world
    }

    fn edit(&mut self, spec: TenantPolicySpec) {
        self.spec = spec;
        self.generation += 1;
    }

    fn head(&self) -> StoredRevision {
        StoredRevision::new("p", &self.author, Content::of(&self.spec).unwrap())
    }

    /// One step of the operator.
    fn step(&mut self) -> &TenantPolicyStatus {
        let head = self.head();
        let name = head.name().to_owned();
        if self.broken.is_none() && !self.revisions.contains_key(&name) {
            let number = i64::try_from(self.revisions.len()).unwrap() + 1;
            let kept = Kept {
                stored: Arc::new(head),
                number,
                created: None,
            };
            self.revisions.insert(name.clone(), kept);
        }
        self.status = next(&View {
            generation: self.generation,
            spec: &self.spec,
            head: self.broken.as_ref().map_or(Ok(name.as_str()), Err),
            status: &self.status,
            revisions: &self.revisions,
            approvals: &self.approvals,
            changed_by: Some(&self.author),
            replicas: &self.replicas,
            unknown_kinds: self.unknown_kinds.as_ref(),
            now: &self.now,
        });
        &self.status
    }

    /// The webhooks do what the status says; those in `lazy` don't.
    fn obey(&mut self, lazy: &[&str]) {
        for (name, report) in &mut self.replicas {
            if lazy.contains(&name.as_str()) {
                continue;
            }
            report.serving = self.status.active_revision.iter().cloned().collect();
            report.loaded = self.status.candidate_revision.iter().cloned().collect();
        }
    }

    /// Steps until nothing changes.
    fn settle(&mut self) {
        for _ in 0..8 {
            self.step();
            self.obey(&[]);
        }
        let before = self.status.clone();
        assert_eq!(*self.step(), before, "it doesn't come to rest");
    }

    #[track_caller]
    fn holds(&self, type_: &str, status: &str, reason: &str) {
        let found = self
            .status
            .conditions
            .iter()
            .find(|it| it.type_ == type_)
            .unwrap();
        assert_eq!(
            (found.status.as_str(), found.reason.as_str()),
            (status, reason),
            "{type_}: {}",
            found.message
        );
    }

    fn active(&self) -> &str {
        self.status.active_revision.as_deref().unwrap_or_default()
    }

    fn count(&mut self, replica: &str, counts: Counts) {
        let candidate = self.status.candidate_revision.clone().unwrap();
        let tally = Tally {
            counts,
            samples: Vec::new(),
        };
        self.replicas
            .get_mut(replica)
            .unwrap()
            .counted
            .insert(candidate, tally);
    }
}

fn invalid() -> Failed {
    Failed::Invalid(vec![PolicyError {
        field: "spec.rego".to_owned(),
        line: Some(3),
        column: Some(7),
        message: "no".to_owned(),
    }])
}

#[test]
fn a_revision_decides_once_every_replica_has_loaded_it() {
    let mut world = World::new();
    let name = world.head().name().to_owned();
    world.step();
    assert_eq!(world.status.candidate_stage, Some(CandidateStage::Loading));
    assert_eq!(world.status.candidate_digest, Some(world.head().digest));
    world.holds("Ready", "False", "Loading");
    world.obey(&["b"]);
    world.step();
    assert_eq!(world.active(), "");
    world.obey(&[]);
    world.step();
    assert_eq!(world.active(), name);
    // It decides, and not every replica has said so yet.
    world.holds("Ready", "False", "Loading");
    world.settle();
    world.holds("Ready", "True", "AsWritten");
    world.holds("Serving", "True", "AsWritten");
    world.holds("Degraded", "False", "Fine");
    assert_eq!(world.status.candidate_revision, None);
}

#[test]
fn nobody_alive_is_not_everybody() {
    let mut world = World::new();
    world.replicas.clear();
    world.settle();
    assert_eq!(world.active(), "");
    world.holds("Ready", "False", "NoReplica");
    world.holds("Reconciling", "True", "NoReplica");
}

#[test]
fn what_is_broken_changes_nothing_but_what_is_said() {
    let mut world = World::new();
    world.settle();
    let good = world.active().to_owned();
    for (broken, reason) in [
        (invalid(), "Invalid"),
        (Failed::Tests(invalid().errors().to_vec()), "TestsFailed"),
    ] {
        world.broken = Some(broken);
        world.edit(spec("second"));
        world.settle();
        assert_eq!(world.active(), good);
        assert_eq!(world.status.candidate_revision, None);
        assert_eq!(world.status.errors.len(), 1);
        world.holds("Ready", "False", reason);
        world.holds("Degraded", "True", reason);
        world.holds("Serving", "True", "AsWritten");
        world.holds("Stalled", "True", reason);
    }
    world.broken = None;
    world.settle();
    world.holds("Ready", "True", "AsWritten");
    assert_ne!(world.active(), good);
    assert_eq!(world.status.errors, []);
}

fn requires(mut spec: TenantPolicySpec, required: i32) -> TenantPolicySpec {
    spec.approvals = Some(Approvals { required });
    spec
}

#[test]
fn approvals_are_counted_by_person_and_digest_and_never_the_authors() {
    let mut world = World::new();
    world.spec = requires(spec("first"), 2);
    let digest = world.head().digest;
    let approval = |digest: &str, approver: &str| Approval {
        digest: digest.to_owned(),
        approver: approver.to_owned(),
    };
    world.settle();
    world.holds("Ready", "False", "ApprovalsMissing");
    assert_eq!(world.status.candidate_stage, Some(CandidateStage::Pending));
    for (added, given) in [
        (approval(&digest, "ada"), 0),
        (approval(&digest, "bob"), 1),
        (approval(&digest, "bob"), 1),
        (approval(&"0".repeat(64), "cy"), 1),
        (approval(&digest[..12], "dee"), 1),
    ] {
        world.approvals.push(added);
        world.settle();
        assert_eq!(world.active(), "");
        assert_eq!(world.status.revisions[0].approved_by.len(), given);
        world.holds("Approved", "False", "ApprovalsMissing");
    }
    world.approvals.push(approval(&digest, "cy"));
    world.settle();
    world.holds("Ready", "True", "AsWritten");
    assert_eq!(world.status.required_approvals, Some(2));
    assert_eq!(world.status.revisions[0].approved_by, ["bob", "cy"]);

    // To ask for none is a change that two have to approve, whoever writes it.
    "bob".clone_into(&mut world.author);
    world.edit(requires(spec("first"), 0));
    world.settle();
    world.holds("Ready", "False", "ApprovalsMissing");
    assert_eq!(world.status.required_approvals, Some(2));
    let digest = world.head().digest;
    world
        .approvals
        .extend([approval(&digest, "bob"), approval(&digest, "ada")]);
    world.settle();
    world.holds("Ready", "False", "ApprovalsMissing");
    world.approvals.push(approval(&digest, "cy"));
    world.settle();
    world.holds("Ready", "True", "AsWritten");
    assert_eq!(world.status.required_approvals, Some(0));

    // To go back to what was never approved is none, either.
    let mut world = World::new();
    world.settle();
    let unapproved = world.active().to_owned();
    world.edit(requires(spec("second"), 1));
    world.settle();
    world.approvals.push(approval(&world.head().digest, "bob"));
    world.settle();
    world.holds("Ready", "True", "AsWritten");
    world.spec.revision = Some(unapproved.clone());
    world.generation += 1;
    world.settle();
    world.holds("Ready", "False", "ApprovalsMissing");
    assert_ne!(world.active(), unapproved);
}

#[test]
fn who_goes_back_does_not_approve_it() {
    let mut world = World::new();
    "bob".clone_into(&mut world.author);
    world.settle();
    let soft = world.active().to_owned();
    let digest = world.revisions[&soft].stored.digest.clone();
    "ada".clone_into(&mut world.author);
    world.edit(requires(spec("second"), 1));
    world.approvals.push(Approval {
        digest: world.head().digest,
        approver: "bob".to_owned(),
    });
    world.settle();
    world.holds("Ready", "True", "AsWritten");
    // Bob wrote it, and Ada asks for it: neither's word counts.
    world.spec.revision = Some(soft.clone());
    world.generation += 1;
    for approver in ["ada", "bob"] {
        world.approvals.push(Approval {
            digest: digest.clone(),
            approver: approver.to_owned(),
        });
        world.settle();
        world.holds("Ready", "False", "ApprovalsMissing");
    }
    world.approvals.push(Approval {
        digest,
        approver: "cy".to_owned(),
    });
    world.settle();
    assert_eq!(world.active(), soft);
}

#[test]
fn what_decides_holds_its_requirement_wherever_it_decides() {
    // A candidate that has its part, though nothing is active.
    let mut world = World::new();
    world.spec = rollout(
        requires(spec("first"), 1),
        json!({"mode": "Percent", "percent": 100}),
    );
    world.approvals.push(Approval {
        digest: world.head().digest,
        approver: "bob".to_owned(),
    });
    world.settle();
    assert_eq!(world.status.candidate_stage, Some(CandidateStage::Percent));
    assert_eq!(world.status.required_approvals, Some(1));
    let before = world.status.clone();
    world.edit(spec("second"));
    world.step();
    world.holds("Ready", "False", "ApprovalsMissing");
    assert_eq!(before.active_revision, world.status.active_revision);

    // An active revision whose object was lost.
    let mut world = World::new();
    world.spec = requires(spec("first"), 1);
    world.approvals.push(Approval {
        digest: world.head().digest,
        approver: "bob".to_owned(),
    });
    world.settle();
    let active = world.active().to_owned();
    world.revisions.clear();
    world.edit(spec("second"));
    world.settle();
    world.holds("Ready", "False", "ApprovalsMissing");
    assert_eq!(
        (world.active(), world.status.required_approvals),
        (active.as_str(), Some(1))
    );

    // Where nobody knows who wrote it, nobody else can be told from them.
    let mut world = World::new();
    world.author.clear();
    world.spec = requires(spec("first"), 1);
    world.approvals.push(Approval {
        digest: world.head().digest,
        approver: "bob".to_owned(),
    });
    world.settle();
    world.holds("Ready", "False", "ApprovalsMissing");
}

fn rollout(mut spec: TenantPolicySpec, rollout: serde_json::Value) -> TenantPolicySpec {
    spec.rollout = Some(serde_json::from_value::<Rollout>(rollout).unwrap());
    spec
}

#[test]
fn a_candidate_takes_the_part_that_the_rollout_gives_it() {
    let mut world = World::new();
    world.settle();
    let good = world.active().to_owned();
    world.edit(rollout(spec("second"), json!({"mode": "Shadow"})));
    world.settle();
    assert_eq!(world.status.candidate_stage, Some(CandidateStage::Shadow));
    world.holds("Ready", "True", "RollingOut");
    world.edit(rollout(spec("second"), json!({"mode": "Percent", "percent": 10})));
    world.settle();
    assert_eq!(world.status.candidate_stage, Some(CandidateStage::Percent));
    assert_eq!(world.status.candidate_percent, Some(10));
    assert_eq!(world.active(), good);
    // One that joins takes nothing back, and is waited for.
    world.replicas.insert("c".to_owned(), Report::default());
    world.step();
    assert_eq!(world.status.candidate_stage, Some(CandidateStage::Percent));
    world.edit(rollout(spec("second"), json!({"mode": "All"})));
    world.step();
    assert_eq!(world.active(), good);
    world.settle();
    world.holds("Ready", "True", "AsWritten");
    assert_ne!(world.active(), good);
}

#[test]
fn what_replicas_counted_is_added_up_over_their_deaths() {
    let mut world = World::new();
    world.settle();
    world.edit(rollout(
        spec("second"),
        json!({"mode": "Shadow", "maxErrors": 100}),
    ));
    world.settle();
    let counts = |evaluated| Counts {
        evaluated,
        ..Counts::default()
    };
    let total = |world: &World| world.status.shadow.as_ref().unwrap().counts.evaluated;
    world.count("a", counts(5));
    world.count("b", counts(2));
    world.settle();
    assert_eq!(total(&world), 7);
    world.count("a", counts(6));
    world.settle();
    assert_eq!(total(&world), 8);
    // The same replica, started anew, begins at nothing.
    "q".clone_into(&mut world.replicas.get_mut("a").unwrap().process);
    world.count("a", counts(3));
    world.settle();
    assert_eq!(total(&world), 11);
    let gone = world.replicas.remove("b").unwrap();
    world.settle();
    assert_eq!(total(&world), 11);
    // It was only late.
    world.replicas.insert("b".to_owned(), gone);
    world.settle();
    assert_eq!(total(&world), 11);
    // Another candidate begins at nothing, too.
    world.edit(rollout(spec("third"), json!({"mode": "Shadow"})));
    world.settle();
    assert_eq!(total(&world), 0);
}

#[test]
fn a_rollout_is_halted_and_not_tried_again_until_somebody_changes_it() {
    for (limits, counts, says) in [
        (
            json!({}),
            Counts {
                errors: 1,
                ..Counts::default()
            },
            "maxErrors allows 0",
        ),
        (
            json!({"maxErrors": 2}),
            Counts {
                errors: 3,
                ..Counts::default()
            },
            "maxErrors allows 2",
        ),
        (
            json!({"maxNewlyDenied": 4}),
            Counts {
                newly_denied: 5,
                ..Counts::default()
            },
            "maxNewlyDenied allows 4",
        ),
    ] {
        let mut world = World::new();
        world.settle();
        let good = world.active().to_owned();
        let mut percent = json!({"mode": "Percent", "percent": 50});
        percent
            .as_object_mut()
            .unwrap()
            .extend(limits.as_object().unwrap().clone());
        world.edit(rollout(spec("second"), percent));
        world.settle();
        let under = Counts {
            errors: (counts.errors - 1).max(0),
            newly_denied: (counts.newly_denied - 1).max(0),
            ..Counts::default()
        };
        world.count("a", under);
        world.settle();
        world.holds("Ready", "True", "RollingOut");
        world.count("a", counts);
        world.settle();
        world.holds("Ready", "False", "Halted");
        world.holds("Degraded", "True", "Halted");
        assert_eq!(
            (world.active(), world.status.candidate_revision.as_deref()),
            (good.as_str(), None)
        );
        let message = world.status.halted.clone().unwrap().message;
        assert!(message.contains(says), "{message}");
        // Not by an impatient replica, nor by time.
        world.replicas.get_mut("a").unwrap().counted.clear();
        world.settle();
        world.holds("Ready", "False", "Halted");
        // Changed, it gets another chance, and is judged by what comes then.
        let mut again = json!({"mode": "Percent", "percent": 40});
        again
            .as_object_mut()
            .unwrap()
            .extend(limits.as_object().unwrap().clone());
        world.edit(rollout(spec("second"), again));
        world.settle();
        world.holds("Ready", "True", "RollingOut");
        world.edit(rollout(spec("second"), json!({"mode": "All"})));
        world.settle();
        world.holds("Ready", "True", "AsWritten");
        assert_ne!(world.active(), good);
    }
}

#[test]
fn a_pinned_revision_decides_whatever_is_written() {
    let mut world = World::new();
    world.settle();
    let first = world.active().to_owned();
    world.edit(spec("second"));
    world.settle();
    world.broken = Some(invalid());
    let mut pinned = spec("third");
    pinned.revision = Some(first.clone());
    // At once and everywhere, whatever the rollout of what is written.
    world.edit(rollout(pinned, json!({"mode": "Shadow"})));
    world.settle();
    assert_eq!(world.active(), first);
    world.holds("Ready", "True", "Pinned");
    world.holds("Compiled", "False", "Invalid");
    world.spec.revision = Some("0123456789ab".to_owned());
    world.generation += 1;
    world.settle();
    assert_eq!(world.active(), first);
    world.holds("Ready", "False", "UnknownRevision");
}

#[test]
fn trouble_with_replicas_kinds_and_exceptions_is_said() {
    let mut world = World::new();
    world.settle();
    let active = world.active().to_owned();
    world.replicas.get_mut("b").unwrap().open.insert(active.clone());
    world.settle();
    world.holds("Degraded", "True", "CircuitOpen");
    world.holds("Ready", "True", "AsWritten");
    let report = world.replicas.get_mut("b").unwrap();
    report.open.clear();
    report.failed.insert(active, "why".to_owned());
    world.step();
    world.holds("Ready", "False", "LoadFailed");
    world.replicas.get_mut("b").unwrap().failed.clear();
    let mut unknown = UnknownKinds {
        kinds: vec!["Gadget of example.com".to_owned()],
        are_all: true,
    };
    world.unknown_kinds = Some(unknown.clone());
    world.settle();
    world.holds("Ready", "False", "UnknownKind");
    // The others are judged, as those of a pack that knows more kinds than the cluster.
    unknown.are_all = false;
    world.unknown_kinds = Some(unknown);
    world.settle();
    world.holds("Ready", "True", "AsWritten");
    world.holds("Degraded", "True", "UnknownKind");
    world.unknown_kinds = None;
    world.spec.exceptions = vec![
        serde_json::from_value(json!({
            "name": "e", "namespaces": ["n"], "until": "2026-01-02T00:00:00Z", "reason": "r", "owner": "o",
        }))
        .unwrap(),
    ];
    world.settle();
    world.holds("Degraded", "False", "Fine");
    world.now = at("2026-01-02T00:00:00Z");
    world.settle();
    world.holds("Degraded", "True", "ExceptionEnded");
}

#[test]
fn revisions_in_use_are_kept_and_of_the_others_the_newest() {
    let mut world = World::new();
    world.settle();
    for word in ["b", "c", "d", "e"] {
        world.edit(spec(word));
        world.settle();
    }
    let by_number = |number: i64| {
        world
            .revisions
            .iter()
            .find(|it| it.1.number == number)
            .unwrap()
            .0
            .clone()
    };
    let mut spec = world.spec.clone();
    spec.revision_history_limit = Some(2);
    let head = world.head();
    let gone = |spec: &TenantPolicySpec| expired(spec, Some(head.name()), &world.status, &world.revisions);
    assert_eq!(gone(&spec), [by_number(1), by_number(2)]);
    spec.revision = Some(by_number(1));
    assert_eq!(gone(&spec), [by_number(2)]);
    spec.revision_history_limit = Some(0);
    assert_eq!(gone(&spec), [by_number(2), by_number(3), by_number(4)]);
    spec.revision_history_limit = None;
    assert!(gone(&spec).is_empty());
}

/// Each reason that is given is one that the documentation tells of.
#[test]
fn conditions_have_the_reasons_that_are_documented() {
    use bailiwick_crds::v1alpha1::PolicyConditionType;
    let mut world = World::new();
    let mut seen = Vec::new();
    let mut see = |world: &World| seen.extend(world.status.conditions.clone());
    world.step();
    see(&world);
    world.settle();
    see(&world);
    world.broken = Some(invalid());
    world.settle();
    see(&world);
    world.broken = None;
    world.edit(requires(spec("second"), 1));
    world.settle();
    see(&world);
    for condition in seen {
        let type_ = PolicyConditionType::ALL
            .iter()
            .find(|it| it.to_string() == condition.type_)
            .unwrap();
        let listed = type_.reasons().iter().any(|(status, reasons)| {
            *status == condition.status && reasons.iter().any(|it| it.to_string() == condition.reason)
        });
        assert!(listed, "{condition:?}");
    }
}

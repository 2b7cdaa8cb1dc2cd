//! The commands about a cluster, with a map of paths to texts as the API server.

#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

mod explain;
mod policy;
mod replay;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Mutex;

use bailiwick_cli::Streams;
use bailiwick_cli::args::{Cli, Command, PolicyCommand};
use bailiwick_cli::live::{Api, Write, Written};
use bailiwick_cli::policy::run;
use bailiwick_core::policy::{Content, StoredRevision};
use bailiwick_crds::v1alpha1::TenantPolicySpec;
use clap::Parser as _;
use serde_json::{Value, json};

/// An API server.
#[derive(Default)]
struct Fake {
    answers: BTreeMap<String, Value>,
    user: String,
    written: Mutex<Vec<(Write, String, Value)>>,
}

impl Api for Fake {
    fn get(&self, path: &str) -> Result<Option<String>, String> {
        Ok(self.answers.get(path).map(Value::to_string))
    }

    fn write(&self, how: Write, path: &str, body: &Value) -> Result<Written, String> {
        if path.ends_with("selfsubjectreviews") {
            return Ok(Written::Done(
                json!({"status": {"userInfo": {"username": self.user}}}),
            ));
        }
        let mut written = self.written.lock().unwrap();
        let is_there = written.iter().any(|it| {
            it.1 == path && it.2["metadata"]["name"] == body["metadata"]["name"] && how == Write::Create
        });
        written.push((how, path.to_owned(), body.clone()));
        Ok(if is_there {
            Written::Exists
        } else {
            Written::Done(body.clone())
        })
    }
}

/// The path of all revisions of the policy `owned`.
const REVISIONS: &str =
    "/apis/apps/v1/namespaces/bailiwick-system/controllerrevisions?labelSelector=bailiwick.dev%2Fpolicy";

/// A policy that wants a label on Services.
fn spec(label: &str, required: i32) -> TenantPolicySpec {
    serde_json::from_value(json!({
        "tenants": ["acme"],
        "match": {"resources": [{"groups": [""], "kinds": ["Service"]}]},
        "approvals": {"required": required},
        "rego": format!("package bailiwick\n\ndeny contains \"no {label}\" if {{\n\tnot input.request.object.metadata.labels.{label}\n}}\n"),
    }))
    .unwrap()
}

fn revision(label: &str, required: i32, author: &str) -> StoredRevision {
    StoredRevision::new("owned", author, Content::of(&spec(label, required)).unwrap())
}

/// A cluster with the policy `owned`: three revisions by ann, bob and ann; the second decides, the third is to.
fn cluster(user: &str) -> Fake {
    let revisions = [
        revision("a", 0, "ann"),
        revision("owner", 1, "bob"),
        revision("team", 1, "ann"),
    ];
    let kept = revisions.iter().enumerate().map(|(i, it)| {
        json!({
            "metadata": {"name": format!("owned-{}", it.name()), "labels": {"bailiwick.dev/policy": "owned", "bailiwick.dev/policy-revision": it.name()}},
            "revision": i + 1,
            "data": it,
        })
    });
    let kept =
        json!({"kind": "ControllerRevisionList", "apiVersion": "apps/v1", "items": kept.collect::<Vec<_>>()});
    let history = revisions.iter().enumerate().rev().map(|(i, it)| {
        json!({"name": it.name(), "number": i + 1, "author": it.author, "approvedBy": if i == 1 { json!(["cleo"]) } else { json!([]) }, "created": "2026-11-01T00:00:00Z"})
    });
    let policy = json!({
        "apiVersion": "bailiwick.dev/v1alpha1",
        "kind": "TenantPolicy",
        "metadata": {"name": "owned", "uid": "uid-of-owned"},
        "spec": spec("team", 1),
        "status": {
            "activeRevision": revisions[1].name(),
            "candidateRevision": revisions[2].name(),
            "candidateDigest": revisions[2].digest,
            "candidateStage": "Pending",
            "requiredApprovals": 1,
            "revisions": history.collect::<Vec<_>>(),
        },
    });
    let mut fake = Fake {
        user: user.to_owned(),
        ..Fake::default()
    };
    fake.answers.insert(
        "/apis/bailiwick.dev/v1alpha1/tenantpolicies/owned".to_owned(),
        policy.clone(),
    );
    fake.answers
        .insert(format!("{REVISIONS}%3Downed&limit=500"), kept.clone());
    fake.answers.insert(format!("{REVISIONS}&limit=500"), kept);
    let all = json!({"items": [policy]});
    fake.answers.insert(
        "/apis/bailiwick.dev/v1alpha1/tenantpolicies?limit=500".to_owned(),
        all,
    );
    fake
}

/// Runs `bailiwick policy …`: its exit code, its output, its talk.
fn policy(api: &Fake, words: &[&str], stdin: &str) -> (u8, String, String) {
    let words = ["bailiwick", "policy"].iter().chain(words).map(OsString::from);
    let Command::Policy(command) = Cli::try_parse_from(words)
        .unwrap_or_else(|it| panic!("{it}"))
        .command
    else {
        panic!("no command about policies");
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        stdin: &mut stdin.as_bytes(),
        stdout: &mut stdout,
        stderr: &mut stderr,
    };
    let outcome = match &command {
        PolicyCommand::History(it) => run::history(api, it, &mut streams),
        PolicyCommand::Diff(it) => run::diff(api, it, &mut streams),
        PolicyCommand::Approve(it) => run::approve(api, it, &mut streams),
        PolicyCommand::Rollback(it) => run::rollback(api, it, &mut streams),
        PolicyCommand::Replay(it) => run::replay(api, it, 0, &mut |_, _| {}, &mut streams),
        PolicyCommand::Import { .. } => panic!("import needs no cluster"),
    };
    let text = |it| String::from_utf8(it).unwrap();
    let code = outcome.unwrap_or_else(|problem| {
        stderr.extend(format!("error: {problem}\n").bytes());
        2
    });
    (code, text(stdout), text(stderr))
}

//! `bailiwick test`: policies, their tests, and what is said of those that are wrong.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use bailiwick_cli::{Streams, run};
use serde_json::Value;

/// Runs `bailiwick test` on files of these names and texts: its exit code, what it prints, what it says.
fn test(files: &[(&str, &str)], flags: &[&str]) -> (u8, String, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let (code, stdout, stderr) = test_at(folder.path(), flags);
    let name = format!("{}/", folder.path().display());
    let root = folder.path().display().to_string();
    let short = |it: String| it.replace(&name, "").replace(&root, ".");
    (code, short(stdout), short(stderr))
}

fn test_at(path: &Path, flags: &[&str]) -> (u8, String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        stdin: &mut io::empty(),
        stdout: &mut stdout,
        stderr: &mut stderr,
    };
    let words = ["bailiwick", "test"].iter().chain(flags).map(OsString::from);
    let code = run(words.chain([path.into()]), &mut streams).unwrap();
    let text = |it| String::from_utf8(it).unwrap();
    (code, text(stdout), text(stderr))
}

const POLICY: &str = "package bailiwick\n\ndeny contains \"no\" if input.request.object.a\n";
const TEST: &str =
    "package bailiwick\n\ntest_a if \"no\" in deny with input as {\"request\": {\"object\": {\"a\": 1}}}\n";

/// A policy and its test, changed, and the lines that have to be said.
#[track_caller]
fn says(policy: &str, tests: &str, code: u8, expected: &[&str]) {
    let (found, stdout, stderr) = test(
        &[("policy.rego", policy), ("policy_test.rego", tests)],
        &["--timeout=2000"],
    );
    let said = format!("{stdout}{stderr}");
    assert_eq!(found, code, "{said}");
    for line in expected {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }
}

#[test]
fn a_policy_that_is_right_passes() {
    says(
        POLICY,
        TEST,
        0,
        &["1 policies: 1 tests passed, 0 failed, 0 skipped"],
    );
}

#[test]
fn what_is_wrong_with_a_policy_is_said_with_its_place() {
    says(
        "package bailiwick\n\ndeny contains \"no\" if {\n  input.a ==\n}\n",
        TEST,
        2,
        &["BROKEN  policy.rego:5:1: "],
    );
    says(
        &POLICY.replace("bailiwick", "other"),
        TEST,
        2,
        &["BROKEN  policy.rego:1:1: package other is not one that decides"],
    );
    says(
        &POLICY.replace("deny", "refuse"),
        "package bailiwick\n",
        2,
        &["BROKEN  policy.rego:1:1: there is no rule that decides"],
    );
    says(
        &POLICY.replace("input.request.object.a", "http.send({})"),
        TEST,
        2,
        &["policy.rego:3:23: http.send is not allowed: "],
    );
    says(
        POLICY,
        &TEST.replace("in deny", "in denial"),
        2,
        &["policy_test.rego:3:", "denial"],
    );
}

#[test]
fn a_test_that_fails_is_named() {
    says(
        POLICY,
        &TEST.replace("\"a\": 1", "\"b\": 1"),
        1,
        &["FAILED  . test_a: it is not true", "0 tests passed, 1 failed"],
    );
    let slow = "package bailiwick\ntest_slow if { r := numbers.range(1, 9000); count([1 | r[_]; r[_]; r[_]]) == 1 }\n";
    says(
        POLICY,
        slow,
        1,
        &["FAILED  . test_slow: the policy took longer than its 2000 ms"],
    );
    says(
        POLICY,
        &TEST.replace("test_a", "todo_test_a"),
        2,
        &["skipped . todo_test_a"],
    );
    let printing = TEST.replace("test_a if", "test_a if print(\"seen\")\ntest_b if");
    says(
        POLICY,
        &printing.replace("\"seen\")", "\"seen\") == 1"),
        1,
        &["policy_test.rego:3: seen"],
    );
}

#[test]
fn what_holds_no_policy_is_said() {
    let (code, _, stderr) = test(&[("a/readme.txt", "x")], &[]);
    assert_eq!(
        (code, stderr.as_str()),
        (
            2,
            "error: .: no policy in it (*.rego, or a ConstraintTemplate in *.yaml, *.yml or *.json)\n"
        )
    );
    let (code, stdout, _) = test(&[("policy.rego", POLICY)], &[]);
    assert_eq!((code, stdout.lines().next()), (2, Some("no test .")));
    let template = "kind: ConstraintTemplate\nspec: {targets: 1}\n";
    let (code, _, stderr) = test(&[("t.yaml", template)], &[]);
    assert!(
        code == 2 && stderr.contains("t.yaml: not a ConstraintTemplate: "),
        "{stderr}"
    );
}

#[test]
fn folders_within_folders_are_policies_of_their_own() {
    let files = [
        ("a/policy.rego", POLICY),
        ("a/policy_test.rego", TEST),
        ("b/c/policy.rego", POLICY),
        ("b/c/policy_test.rego", TEST),
        (".hidden/policy.rego", "nonsense"),
    ];
    let (code, stdout, _) = test(&files, &[]);
    assert_eq!(
        (code, stdout.as_str()),
        (0, "2 policies: 2 tests passed, 0 failed, 0 skipped\n")
    );
}

#[test]
fn programs_can_read_the_outcome() {
    let failing = TEST
        .replace("\"a\": 1", "\"b\": 1")
        .replace("test_a", "test_\u{e4}<\"&");
    let files = [
        ("p/policy.rego", POLICY),
        ("p/policy_test.rego", TEST),
        ("q/policy.rego", "package bailiwick\n"),
    ];
    let (code, stdout, _) = test(&files, &["-o", "json"]);
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, 2);
    assert_eq!(document["exitCode"], 2);
    assert_eq!(document["policies"][0]["tests"][0]["outcome"], "Passed");
    assert_eq!(
        document["policies"][0]["coverage"][0]["covered"],
        serde_json::json!([3])
    );
    assert_eq!(document["policies"][1]["problems"][0]["line"], 1);
    let (code, stdout, _) = test(&files, &["-o", "junit"]);
    assert_eq!(code, 2);
    assert!(
        stdout.contains("<testcase name=\"test_a\" classname=\"p\"></testcase>"),
        "{stdout}"
    );
    assert!(
        stdout.contains("errors=\"1\"") && stdout.contains("add `deny contains msg if { … }`"),
        "{stdout}"
    );
    // A name that Rego doesn't take is a problem, and nothing in it breaks the XML.
    let (code, stdout, _) = test(&[("p.rego", POLICY), ("q_test.rego", &failing)], &["-o", "junit"]);
    assert_eq!(code, 2);
    assert!(!stdout.replace("<?xml", "").contains("<\""), "{stdout}");
}

#[test]
fn the_dialect_is_declared() {
    let old = "package main\n\ndeny[msg] { input.a; msg := \"no\" }\n\ntest_a { deny[\"no\"] with input as {\"a\": 1} }\n";
    let (code, stdout, _) = test(&[("policy.rego", old)], &["--rego-version=v0"]);
    assert_eq!(code, 0, "{stdout}");
    let (code, stdout, _) = test(&[("policy.rego", old)], &[]);
    assert!(code == 2 && stdout.contains("BROKEN  policy.rego:3:"), "{stdout}");
}

#[test]
fn the_examples_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policies");
    let (code, stdout, stderr) = test_at(&folder, &[]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert_eq!(stdout, "3 policies: 8 tests passed, 0 failed, 0 skipped\n");
}

#[test]
fn the_packs_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let (code, stdout, stderr) = test_at(&folder, &["-o", "json"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let document: Value = serde_json::from_str(&stdout).unwrap();
    let packs = document["policies"].as_array().unwrap();
    let folders = fs::read_dir(&folder)
        .unwrap()
        .filter(|it| it.as_ref().unwrap().path().is_dir());
    assert_eq!(packs.len(), folders.count());
    for pack in packs {
        let name = pack["name"].as_str().unwrap();
        assert!(pack["tests"].as_array().unwrap().len() >= 5, "{name}");
        let text = fs::read_to_string(Path::new(name).join("pack.yaml")).unwrap();
        let described: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(
            described["name"].as_str(),
            Path::new(name).file_name().unwrap().to_str()
        );
        for member in ["version", "title", "match", "parameters", "example"] {
            assert!(!described[member].is_null(), "{name} has no {member}");
        }
        for file in pack["coverage"].as_array().unwrap() {
            assert_eq!(file["notCovered"], serde_json::json!([]), "{name}");
        }
    }
}

//! Why a policy objects: the conditions that held and the values they looked at; never one that did not decide.

use std::thread;
use std::time::Duration;

use bailiwick_core::rego::{Because, Document, Facts, Language, Policy, Review, STACK, Source};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(10);

/// The ways in which violations came true: `rule message @line: condition @line | path = value | path is absent`.
fn explained(language: Language, texts: &[&str], object: &Value) -> Vec<String> {
    let sources: Vec<Source> = (0..)
        .zip(texts)
        .map(|(i, it)| Source::new(format!("{i}.rego"), *it))
        .collect();
    let parameters = json!({"limit": 3, "prefix": "a/"});
    let policy = Policy::compile(language, &sources, &parameters).unwrap_or_else(|it| panic!("{it:?}"));
    let document = Document::parse(&object.to_string()).unwrap();
    let review = Review::new(&json!({"name": "x", "operation": "CREATE"}), Some(document), None);
    let facts = Facts::new(&json!({"name": "acme"}), &json!({"name": "acme-prod"}));
    let said = policy.evaluate(&review, &facts, LIMIT).unwrap().violations;
    let ways = policy.explain(language, &sources, &review, &facts, LIMIT);
    assert!(ways.iter().all(|it| said.contains(&it.0)), "{ways:?} of {said:?}");
    let shown = |because: &Because| {
        let mut parts = vec![format!("@{}", because.line)];
        parts.extend(
            because
                .conditions
                .iter()
                .map(|it| format!("{} @{}", it.text, it.line)),
        );
        parts.extend(because.seen.iter().map(|it| match &it.value {
            Some(value) => format!("{} = {value}", it.path),
            None => format!("{} is absent", it.path),
        }));
        parts.join(" | ")
    };
    ways.iter()
        .map(|(violation, it)| format!("{} {} {}", violation.rule, violation.message, shown(it)))
        .collect()
}

#[track_caller]
fn check_in(language: Language, texts: &[&str], object: &Value, expected: &[&str]) {
    let found = thread::scope(|scope| {
        let run = || explained(language, texts, object);
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run);
        thread.unwrap().join().unwrap()
    });
    assert_eq!(found, expected, "{texts:?}");
}

#[track_caller]
fn check(text: &str, object: &Value, expected: &[&str]) {
    check_in(
        Language::V1,
        &[&format!("package bailiwick\n\n{text}")],
        object,
        expected,
    );
}

#[test]
fn only_the_definition_that_came_true_is_told() {
    let text = "deny contains \"a\" if {\n  input.request.object.a > 1\n}\n\ndeny contains \"b\" if {\n  input.request.object.b > 1\n}\n";
    check(
        text,
        &json!({"a": 2, "b": 1}),
        &["deny a @3 | input.request.object.a > 1 @4 | input.request.object.a = 2"],
    );
    check(
        text,
        &json!({"a": 1, "b": 2}),
        &["deny b @7 | input.request.object.b > 1 @8 | input.request.object.b = 2"],
    );
    check(text, &json!({"a": 1, "b": 1}), &[]);
    // Two definitions that say the same.
    let same = text.replace("\"b\"", "\"a\"");
    check(
        &same,
        &json!({"a": 2, "b": 2}),
        &[
            "deny a @3 | input.request.object.a > 1 @4 | input.request.object.a = 2",
            "deny a @7 | input.request.object.b > 1 @8 | input.request.object.b = 2",
        ],
    );
    check(
        &same,
        &json!({"a": 1, "b": 2}),
        &["deny a @7 | input.request.object.b > 1 @8 | input.request.object.b = 2"],
    );
}

#[test]
fn the_value_that_decided_is_told_and_not_its_neighbour() {
    let text = "deny contains sprintf(\"no %s\", [container.image]) if {
  some i, container in input.request.object.containers
  not startswith(container.image, data.parameters.prefix)
  print(i)
}
";
    let object = json!({"containers": [{"image": "a/b"}, {"image": "b/c"}, {"image": "b/d"}]});
    check(
        text,
        &object,
        &[
            "deny no b/c @3 | not startswith(container.image, data.parameters.prefix) @5 | input.request.object.containers[1].image = \"b/c\" | data.parameters.prefix = \"a/\"",
            "deny no b/d @3 | not startswith(container.image, data.parameters.prefix) @5 | input.request.object.containers[2].image = \"b/d\" | data.parameters.prefix = \"a/\"",
        ],
    );
    // Without an index the path is told where only one is meant.
    let nameless = text
        .replace("some i, container", "some container")
        .replace("  print(i)\n", "");
    let way = |path: &str| {
        format!(
            "deny no b/c @3 | not startswith(container.image, data.parameters.prefix) @5 | {path} = \"b/c\" | data.parameters.prefix = \"a/\""
        )
    };
    check(
        &nameless,
        &json!({"containers": [{"image": "a/b"}, {"image": "b/c"}]}),
        &[&way("input.request.object.containers[1].image")],
    );
    check(
        &nameless,
        &json!({"containers": [{"image": "b/c"}, {"image": "b/c"}]}),
        &[&way("container.image")],
    );
}

#[test]
fn what_is_absent_is_told() {
    let text = "deny contains \"no owner\" if {
  not input.request.object.metadata.labels[\"example.com/owner\"]
  not data.bailiwick.tenant.labels.old
}
";
    check(
        text,
        &json!({"metadata": {"labels": {"a": "b"}}}),
        &[
            "deny no owner @3 | not input.request.object.metadata.labels[\"example.com/owner\"] @4 | not data.bailiwick.tenant.labels.old @5 | input.request.object.metadata.labels['example.com/owner'] is absent | data.bailiwick.tenant.labels.old is absent",
        ],
    );
    check(
        text,
        &json!({"metadata": {"labels": {"example.com/owner": "a"}}}),
        &[],
    );
}

#[test]
fn a_helper_is_named_and_its_inside_is_not_guessed() {
    let text = "deny contains \"bad\" if {\n  image := input.request.object.image\n  is_bad(image)\n}\n\nis_bad(image) if image == \"x\"\n\nis_bad(image) if image == \"y\"\n";
    check(
        text,
        &json!({"image": "y"}),
        &["deny bad @3 | is_bad(image) @5 | input.request.object.image = \"y\""],
    );
    let through = "images contains image if some image in input.request.object.images\n\ndeny contains image if {\n  some image in images\n  image != \"x\"\n}\n";
    check(
        through,
        &json!({"images": ["x", "y"]}),
        &["deny y @5 | image != \"x\" @7 | image = \"y\""],
    );
}

#[test]
fn what_can_not_be_told_exactly_is_not_told() {
    // An else: that this body decided is not known.
    let text =
        "deny := \"a\" if {\n  input.request.object.a\n} else := \"b\" if {\n  input.request.object.b\n}\n";
    check(text, &json!({"b": 1}), &[]);
    check(
        "deny := \"a\" if {\n  input.request.object.a == 1\n}\n",
        &json!({"a": 1}),
        &["deny a @3 | input.request.object.a == 1 @4 | input.request.object.a = 1"],
    );
    // With another input, nothing is said of values.
    let with = "odd if input.request.object.n % 2 == 1\n\ndeny contains \"odd\" if {\n  odd with input.request.object.n as 3\n}\n";
    check(
        with,
        &json!({"n": 2}),
        &["deny odd @5 | odd with input.request.object.n as 3 @6"],
    );
    // A variable of a comprehension is not one of the rule.
    let inner =
        "deny contains \"many\" if {\n  count([x | some x in input.request.object.items; x > 1]) > 1\n}\n";
    check(
        inner,
        &json!({"items": [1, 2, 3]}),
        &["deny many @3 | count([x | some x in input.request.object.items; x > 1]) > 1 @4"],
    );
}

#[test]
fn each_convention_and_form() {
    let gatekeeper = "package k8s\n\nviolation[{\"msg\": msg}] {\n  container := input.review.object.containers[_]\n  container.cpu > input.parameters.limit\n  msg := sprintf(\"%v\", [container.cpu])\n}\n";
    check_in(
        Language::V0,
        &[gatekeeper],
        &json!({"containers": [{"cpu": 1}, {"cpu": 4}]}),
        &[
            "violation 4 @3 | container.cpu > input.parameters.limit @5 | input.review.object.containers[1].cpu = 4 | input.parameters.limit = 3",
        ],
    );
    let mixed = "package main\n\nimport rego.v1\n\nwarn contains \"w\" if input.spec.replicas < 2\n";
    check_in(
        Language::V0,
        &[mixed],
        &json!({"spec": {"replicas": 1}}),
        &["warn w @5 | input.spec.replicas < 2 @5 | input.spec.replicas = 1"],
    );
    let bare = "package main\n\ndeny if input.a\n";
    check_in(
        Language::V1,
        &[bare],
        &json!({"a": 1}),
        &["deny the rule deny is true @3 | input.a @3 | input.a = 1"],
    );
    let always = "package main\n\ndeny contains \"always\"\n";
    check_in(Language::V1, &[always], &json!({}), &["deny always @3"]);
    let alias = "package main\n\nimport input.spec as it\nimport data.lib.limits\n\ndeny contains \"x\" if it.n > limits.most\n";
    check_in(
        Language::V1,
        &[alias, "package lib.limits\n\nmost := 1\n"],
        &json!({"spec": {"n": 2}}),
        &["deny x @6 | it.n > limits.most @6 | input.spec.n = 2"],
    );
    let indexed = "package main\n\ndeny contains \"x\" if not input.labels[data.parameters.prefix]\n";
    check_in(
        Language::V1,
        &[indexed],
        &json!({"labels": {"b": 1}}),
        &["deny x @3 | not input.labels[data.parameters.prefix] @3 | input.labels['a/'] is absent"],
    );
    // Nothing but what binds: it fails where there is nothing to bind.
    let binding = "package main\n\ndeny[msg] {\n  msg := input.labels[\"a\"]\n}\n";
    check_in(
        Language::V0,
        &[binding],
        &json!({"labels": {"a": "b"}}),
        &["deny b @3 | msg := input.labels[\"a\"] @4 | input.labels.a = \"b\""],
    );
}

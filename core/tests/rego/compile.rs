//! What compiles, and what is refused, with its place.
use bailiwick_core::rego::{Convention, Language, Policy, Problem, Source};
use serde_json::json;

fn compile(language: Language, text: &str) -> Result<Policy, Vec<Problem>> {
    Policy::compile(language, &[Source::new("policy.rego", text)], &json!({"a": 1}))
}

#[track_caller]
fn compiles(text: &str) {
    let text = format!("package bailiwick\n{text}");
    if let Err(problems) = compile(Language::V1, &text) {
        panic!("{text}\n{problems:#?}");
    }
}

#[track_caller]
fn refused(text: &str, line: u32, column: u32, part: &str) {
    let text = format!("package bailiwick\n{text}");
    let problems = compile(Language::V1, &text).expect_err(&text);
    let found = problems
        .iter()
        .any(|it| (it.line, it.column) == (line, column) && it.message.contains(part));
    assert!(found, "{text}\n{problems:#?}");
}

#[test]
fn ordinary_policies_compile() {
    compiles("deny contains \"x\" if input.request.object.a");
    compiles(
        "deny contains {\"msg\": \"x\", \"field\": \"a\"} if { some c in input.request.object.spec.containers; not startswith(c.image, data.parameters.prefix) }",
    );
    compiles("warn contains msg if { msg := sprintf(\"%v\", [data.bailiwick.tenant.name]) }");
    compiles("import data.bailiwick.tenant as t\ndeny contains t.name if true");
    compiles("import data.parameters as p\ndeny contains p.name if true");
    compiles(
        "deny contains \"x\" if { every c in input.request.object.spec.containers { allowed(c) } }\nallowed(c) if c.image == \"x\"\nallowed(c) if helper(c)\nhelper(c) if count(c) > 2",
    );
    compiles("import rego.v1\ndeny contains x if { split(\"a,b\", \",\", parts); x := parts[0] }");
    // A local name that is also a rule's is no recursion.
    compiles(
        "name := x if { x := input.request.name }\ndeny contains name if { name := f(1) }\nf(name) := name",
    );
    compiles(
        "deny contains x if { walk(input.request.object, [path, value]); value == 1; x := concat(\".\", path) }",
    );
    compiles("deny contains \"x\" if { print(\"a\", 1); true }");
    compiles(
        "allowed := {\"a\"}\ndeny contains \"x\" if { not input.request.name in allowed; data.bailiwick.allowed[_] == \"a\" }",
    );
    compiles(
        "deny contains \"x\" if f(input) with input.request.name as \"a\"\nf(x) if x.request.name == \"a\"",
    );
    compiles(
        "deny contains \"x\" if g\ng if input.a\ntest_deny if deny[\"x\"] with input as {\"a\": 1} with data.parameters as {} with data.bailiwick.tenant as {\"name\": \"a\"}",
    );
    compiles("deny contains \"x\" if f(1)\nf(x) if x > 2\ntest_f if deny with data.bailiwick.f as true");
}

#[test]
fn names_are_checked_before_anything_runs() {
    refused("deny contains x if { x := \n}", 2, 24, "expecting");
    refused("deny contains x if { x := 1 ", 2, 29, "");
    refused("deny contains x if { input.a == y }", 2, 33, "unsafe");
    refused(
        "deny contains \"x\" if starts_with(\"a\", \"b\")",
        2,
        22,
        "did you mean startswith?",
    );
    refused(
        "deny contains \"x\" if marshal(\"a\")",
        2,
        22,
        "did you mean json.marshal?",
    );
    refused(
        "deny contains \"x\" if foo.bar(\"a\")",
        2,
        22,
        "no function foo.bar",
    );
    refused(
        "deny contains \"x\" if count(\"a\", \"b\", \"c\")",
        2,
        22,
        "takes 1 arguments, and 3",
    );
    refused(
        "f(x) if x\ndeny contains \"x\" if f()",
        3,
        22,
        "takes 1 arguments, and 0",
    );
    refused("deny contains \"x\" if data.bailiwick.f(1)", 2, 22, "no function");
    refused(
        "deny contains \"x\" if true\ntest_x if true\nwarn contains \"y\" if test_x",
        4,
        22,
        "is a test",
    );
}

#[test]
fn what_reaches_out_is_refused() {
    refused(
        "deny contains \"x\" if http.send({\"url\": \"http://x\"})",
        2,
        22,
        "http.send is not allowed",
    );
    refused(
        "deny contains \"x\" if opa.runtime().env",
        2,
        22,
        "opa.runtime is not allowed",
    );
    refused(
        "deny contains \"x\" if time.now_ns() > 1",
        2,
        22,
        "time.now_ns is not allowed",
    );
    refused(
        "deny contains \"x\" if rand.intn(\"a\", 1) > 1",
        2,
        22,
        "rand.intn is not allowed",
    );
    refused(
        "deny contains \"x\" if data.inventory.cluster",
        2,
        22,
        "data.inventory is not there",
    );
    refused(
        "deny contains \"x\" if data.other.x",
        2,
        22,
        "data.other.x is not there",
    );
    refused(
        "deny contains \"x\" if data[input.a]",
        2,
        22,
        "data[…] is not there",
    );
    refused(
        "deny contains \"x\" if data.bailiwick[input.a]",
        2,
        22,
        "is not there",
    );
    refused(
        "deny contains \"x\" if { some x in data; x }",
        2,
        34,
        "data is not there",
    );
    refused(
        "import data.other\ndeny contains \"x\" if other.x",
        2,
        1,
        "data.other is not there",
    );
    refused(
        "import data.bailiwick as b\ndeny contains \"x\" if b[input.a].x",
        3,
        22,
        "is not there",
    );
    refused(
        "import data.bailiwick as b\ndeny contains \"x\" if b.tenant",
        3,
        22,
        "write it as data.bailiwick.tenant",
    );
    refused(
        "deny contains \"x\" if data.bailiwick[\"tenant\"].name",
        2,
        22,
        "write it as data.bailiwick.tenant",
    );
    refused(
        "import data.bailiwick.tenant\ndeny contains tenant.name if true",
        2,
        1,
        "add `as tenant`",
    );
    refused("tenant := 1\ndeny contains \"x\" if true", 2, 1, "would hide");
}

#[test]
fn what_can_not_be_bounded_is_refused() {
    // Called by its import, `g` is `f`; a check that takes it for the rule would see no circle.
    refused(
        "import data.bailiwick.f as g\nf(x) := g(x)\ng(x) := x\ndeny contains \"x\" if f(1)",
        2,
        1,
        "the import g has the name of a rule",
    );
    refused(
        "import data.bailiwick.f as g\nf(x) := g(x)\ndeny contains \"x\" if f(1)",
        3,
        9,
        "recursion: f -> f",
    );
    refused(
        "f(x) := f(x)\ndeny contains \"x\" if f(1)",
        2,
        9,
        "recursion: f -> f",
    );
    refused(
        "f(x) := g(x)\ng(x) := f(x)\ndeny contains \"x\" if f(1)",
        3,
        9,
        "recursion",
    );
    refused("a if b\nb if a\ndeny contains \"x\" if a", 3, 6, "recursion: ");
    refused(
        "f(x) := y if { y := [z | z := f(x)] }\ndeny contains \"x\" if f(1)",
        2,
        31,
        "recursion: f -> f",
    );
    refused(
        "g(x) := x\nf(x) := y if { y := g(x) with data.bailiwick.g as data.bailiwick.f }\ndeny contains \"x\" if f(1)",
        3,
        26,
        "is for tests",
    );
    let deep: Vec<String> = (0..40).map(|i| format!("f{i}(x) := f{}(x)\n", i + 1)).collect();
    let deep = deep.concat();
    refused(
        &format!("{deep}f40(x) := x\ndeny contains \"x\" if f0(1)"),
        32,
        11,
        "levels deep",
    );
    let chain = "1".to_owned() + &"\n+ 1".repeat(5000);
    refused(
        &format!("deny contains x if {{ x := {chain} }}"),
        130,
        1,
        "more than 128 operators",
    );
    let inline = "1".to_owned() + &" + 1".repeat(100);
    compiles(&format!(
        "deny contains \"x\" if {{ {inline} > 2 }}\nwarn contains \"x\" if {{ {inline} > 2 }}"
    ));
    refused(
        &format!("deny contains \"x\" if {} > 2", "1".repeat(60)),
        2,
        22,
        "too large",
    );
    refused(&format!("# {}", "x".repeat(300_000)), 0, 0, "at most 262144");
    refused(
        "deny contains \"x\" if graph.reachable_paths({}, []) == []",
        2,
        22,
        "grows without bound",
    );
    refused(
        "deny contains data.bailiwick.tenant.name if f with input as {}\nf if input.a",
        2,
        47,
        "can't be combined",
    );
}

#[test]
fn entry_points_say_whose_convention_it_is() {
    let convention = |language, text: &str| compile(language, text).map(|it| it.convention());
    assert_eq!(
        convention(Language::V1, "package bailiwick\ndeny contains \"x\" if true"),
        Ok(Convention::Bailiwick)
    );
    assert_eq!(
        convention(Language::V0, "package main\ndeny_run[msg] { msg := \"a\" }"),
        Ok(Convention::Conftest)
    );
    assert_eq!(
        convention(
            Language::V0,
            "package k8srequiredlabels\nviolation[{\"msg\": msg}] { msg := \"a\" }"
        ),
        Ok(Convention::Gatekeeper)
    );
    let wrong = |text: &str, part: &str| {
        let problems = compile(Language::V1, text).unwrap_err();
        assert!(
            problems
                .iter()
                .any(|it| it.line == 1 && it.message.contains(part)),
            "{problems:#?}"
        );
    };
    wrong(
        "package other\ndeny contains \"x\" if true",
        "write `package bailiwick`",
    );
    wrong("package bailiwick\nallow if true", "add `deny contains msg");
    wrong("package bailiwick\ndeny(x) if x", "deny is a function");
}

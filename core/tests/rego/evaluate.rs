//! What a policy answers, and what happens to one that means harm.
use std::time::{Duration, Instant};

use bailiwick_core::rego::{
    Document, Evaluation, EvaluationError, Facts, Language, Policy, Review, STACK, Severity, Source,
    TestOutcome, run_tests,
};
use serde_json::{Value, json};

fn facts() -> Facts {
    Facts::new(
        &json!({"name": "acme", "labels": {"tier": "gold"}}),
        &json!({"name": "acme-prod", "labels": {"stage": "prod"}}),
    )
}

fn review(object: &Value) -> Review {
    let envelope = json!({"uid": "u", "operation": "CREATE", "userInfo": {"username": "ann"}});
    Review::new(
        &envelope,
        Some(Document::parse(&object.to_string()).unwrap()),
        None,
    )
}

fn evaluate_with(
    language: Language,
    text: String,
    parameters: Value,
    object: Value,
) -> Result<Evaluation, EvaluationError> {
    let run = move || {
        let policy = Policy::compile(language, &[Source::new("policy.rego", text)], &parameters)
            .unwrap_or_else(|it| panic!("{it:#?}"));
        policy.evaluate(&review(&object), &facts(), Duration::from_millis(500))
    };
    std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap()
}

fn evaluate(text: &str, object: Value) -> Result<Evaluation, EvaluationError> {
    evaluate_with(
        Language::V1,
        format!("package bailiwick\n{text}"),
        json!({"prefix": "registry.acme/"}),
        object,
    )
}

#[track_caller]
fn says(text: &str, object: Value, expected: &[&str]) {
    let evaluation = evaluate(text, object).unwrap();
    let messages: Vec<&str> = evaluation
        .violations
        .iter()
        .map(|it| it.message.as_str())
        .collect();
    assert_eq!(messages, expected, "{text}");
}

#[test]
fn input_is_what_the_convention_says() {
    says(
        "deny contains input.request.object.a if input.request.operation == \"CREATE\"",
        json!({"a": "x"}),
        &["x"],
    );
    says(
        "deny contains data.parameters.prefix if true",
        json!({}),
        &["registry.acme/"],
    );
    says(
        "deny contains data.bailiwick.tenant.name if true",
        json!({}),
        &["acme"],
    );
    says(
        "deny contains data.bailiwick.namespace.labels.stage if true",
        json!({}),
        &["prod"],
    );
    says(
        "import data.bailiwick.tenant as t\ndeny contains t.name if true",
        json!({}),
        &["acme"],
    );
    says(
        "deny contains \"x\" if data.bailiwick.tenant.name == \"globex\"",
        json!({}),
        &[],
    );
    let gatekeeper = "package k8s\nviolation[{\"msg\": msg}] { msg := sprintf(\"%v %v\", [input.review.object.a, input.parameters.b]) }";
    let found = evaluate_with(
        Language::V0,
        gatekeeper.to_owned(),
        json!({"b": 2}),
        json!({"a": 1}),
    )
    .unwrap();
    assert_eq!(found.violations[0].message, "1 2");
    let conftest = "package main\ndeny[msg] { input.kind == \"Pod\"; msg := input.metadata.name }\nwarn_x[msg] { msg := \"w\" }";
    let found = evaluate_with(
        Language::V0,
        conftest.to_owned(),
        json!({}),
        json!({"kind": "Pod", "metadata": {"name": "p"}}),
    )
    .unwrap();
    let said: Vec<_> = found
        .violations
        .iter()
        .map(|it| (it.severity, it.message.as_str()))
        .collect();
    assert_eq!(said, [(Severity::Deny, "p"), (Severity::Warn, "w")]);
}

#[test]
fn answers_have_one_reading() {
    says(
        "deny contains \"b\" if true\ndeny contains \"a\" if true",
        json!({}),
        &["a", "b"],
    );
    says("deny := \"a\" if input.request.object.a", json!({"a": 1}), &["a"]);
    says(
        "deny if input.request.object.a",
        json!({"a": 1}),
        &["the rule deny is true"],
    );
    says("deny if input.request.object.a", json!({}), &[]);
    let found = evaluate(
        "deny contains {\"msg\": \"m\", \"field\": \"f\", \"fix\": \"x\"} if true",
        json!({}),
    )
    .unwrap();
    let violation = &found.violations[0];
    assert_eq!(
        (violation.field.as_deref(), violation.fix.as_deref()),
        (Some("f"), Some("x"))
    );
    for text in [
        "deny contains 1 if true",
        "deny contains {\"message\": 1} if true",
        "deny := 1",
        "deny := {\"a\": 1}",
    ] {
        assert!(
            matches!(evaluate(text, json!({})), Err(EvaluationError::Unreadable { .. })),
            "{text}"
        );
    }
}

#[test]
fn a_builtin_that_fails_refuses_or_is_undefined_as_the_convention_says() {
    let failed = evaluate(
        "deny contains \"x\" if to_number(input.request.object.a) > 1",
        json!({"a": "q"}),
    )
    .unwrap_err();
    let EvaluationError::Failed(problem) = failed else {
        panic!("{failed}")
    };
    assert_eq!((problem.line, problem.file.as_str()), (2, "policy.rego"));
    assert!(problem.message.contains("could not parse"), "{problem}");
    says(
        "deny contains \"x\" if to_number(input.request.object.a) > 1",
        json!({"a": "2"}),
        &["x"],
    );
    let lenient = "package k8s\nviolation[{\"msg\": \"x\"}] { to_number(input.review.object.a) > 1 }\nviolation[{\"msg\": \"y\"}] { input.review.object.a }";
    let found = evaluate_with(Language::V0, lenient.to_owned(), json!({}), json!({"a": "q"})).unwrap();
    assert_eq!(found.violations.len(), 1, "{found:?}");
}

/// It neither ends the process nor takes long, and there is no answer that could be read as "yes".
#[track_caller]
fn is_bounded(text: &str, object: Value) {
    let begin = Instant::now();
    let result = evaluate(text, object);
    assert!(result.is_err(), "{text}: {result:?}");
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{text} took {:?}",
        begin.elapsed()
    );
}

#[test]
fn a_policy_can_not_harm_the_process() {
    for call in [
        "count(numbers.range(0, 1000000000000000))",
        "count(numbers.range(1, 1000000000))",
        "count(numbers.range_step(1, 1000000000, 1))",
        "count(numbers.range_step(1, 10, 0))",
        "count(net.cidr_expand(\"10.0.0.0/8\"))",
        "count(net.cidr_expand(\"::/0\"))",
        "count(sprintf(\"%999999999d\", [1]))",
        "count(sprintf(\"%٣d\", [1]))",
        "count(sprintf(\"%²d\", [1]))",
        "bits.lsh(1, 100000000)",
        "product([input.request.object.number | numbers.range(1, 50000)[_]])",
        "regex.match(\"(a{1000}){1000}\", \"aaaa\")",
        "count(replace(input.request.object.long, \"a\", input.request.object.long))",
        "count(strings.replace_n({\"a\": input.request.object.long, \"b\": input.request.object.long}, input.request.object.long))",
        "count(concat(input.request.object.long, numbers.range(1, 50000)))",
        "count(regex.replace(input.request.object.long, \"a\", input.request.object.long))",
    ] {
        is_bounded(
            &format!("deny contains \"x\" if {call} == 77"),
            json!({"long": "a".repeat(100_000), "number": 1e90}),
        );
    }
    // Near them, what is used every day.
    says(
        "deny contains \"x\" if count(numbers.range(1, 1000)) == 1000",
        json!({}),
        &["x"],
    );
    says(
        "deny contains sprintf(\"%05d|%.2f|%v|%s\", [42, 1.5, [1], \"s\"]) if true",
        json!({}),
        &["00042|1.50|[1]|s"],
    );
    says(
        "deny contains \"x\" if count(net.cidr_expand(\"10.0.0.0/24\")) == 256",
        json!({}),
        &["x"],
    );
    says(
        "deny contains \"x\" if bits.lsh(1, 40) == 1099511627776",
        json!({}),
        &["x"],
    );
    says(
        "deny contains replace(\"a.b\", \".\", \"-\") if regex.match(\"^a+$\", \"aaa\")",
        json!({}),
        &["a-b"],
    );
}

#[test]
fn what_grows_is_ended() {
    let lines = |first: &str, next: &dyn Fn(usize) -> String| {
        let lines: Vec<String> = (1..30).map(next).collect();
        format!("{first}\n{}", lines.concat())
    };
    let text = lines("s0 := \"aaaaaaaaaaaaaaaa\"", &|i| {
        format!("s{i} := concat(\"\", [s{0}, s{0}])\n", i - 1)
    });
    let numbers = lines("n0 := 12345678901234567890", &|i| {
        format!("n{i} := n{0} * n{0}\n", i - 1)
    });
    is_bounded(
        &format!("{text}deny contains \"x\" if count(s29) == 1"),
        json!({}),
    );
    is_bounded(
        &format!("{numbers}deny contains \"x\" if format_int(n29, 10) == \"1\""),
        json!({}),
    );
    is_bounded(
        &format!("{numbers}deny contains \"x\" if sprintf(\"%v\", [[[n14]]]) == \"1\""),
        json!({}),
    );
    says(
        &format!("{text}deny contains \"x\" if count(s10) == 16384"),
        json!({}),
        &["x"],
    );
    let loops = "deny contains \"x\" if { r := numbers.range(1, 3000); count([1 | r[_]; r[_]; r[_]]) == 1 }";
    assert_eq!(
        evaluate(loops, json!({})),
        Err(EvaluationError::Timeout(Duration::from_millis(500)))
    );
}

#[test]
fn the_deepest_policy_that_compiles_fits_the_stack() {
    let nested = "(".repeat(20) + "x" + &")".repeat(20);
    let line = |i: usize| {
        let next = i + 1;
        format!("f{i}(x) := y if {{ some z in [1]; y := [v | v := f{next}({nested}) + z][0] }}\n")
    };
    let deep = (0..29).map(line).collect::<Vec<_>>().concat();
    says(
        &format!("{deep}f29(x) := x\ndeny contains \"x\" if f0(1) == 30"),
        json!({}),
        &["x"],
    );
}

#[test]
fn documents_leave_out_managed_fields_and_have_one_reading() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let object = format!(r#"{{"metadata":{{"name":"p","managedFields":{deep}}},"managedFields":1}}"#);
    let document = Document::parse(&object).unwrap();
    let found = Policy::compile(Language::V1, &[Source::new("p", "package bailiwick\ndeny contains \"there\" if input.request.object.metadata.managedFields\ndeny contains \"kept\" if input.request.object.managedFields")], &json!({}))
        .unwrap()
        .evaluate(&Review::new(&json!({}), Some(document), None), &facts(), Duration::from_secs(1))
        .unwrap();
    assert_eq!(found.violations.len(), 1, "{found:?}");
    assert_eq!(found.violations[0].message, "kept");
    for (text, part) in [
        (format!(r#"{{"spec":{deep}}}"#), "recursion limit"),
        (r#"{"a":1,"a":2}"#.to_owned(), "twice"),
        (format!("[{}1]", "1,".repeat(300_000)), "more than 200000 values"),
        ("{".to_owned(), "EOF"),
        ("{}{}".to_owned(), "trailing"),
    ] {
        let error = Document::parse(&text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn prints_are_kept_for_the_author() {
    let found = evaluate(
        "deny contains \"x\" if { print(\"seen\", input.request.name); true }",
        json!({}),
    )
    .unwrap();
    assert_eq!(found.prints, ["policy.rego:2: seen <undefined>"]);
}

#[test]
fn tests_run_as_written() {
    let text = "package bailiwick\ndeny contains \"x\" if input.request.object.a\nwarn contains data.bailiwick.tenant.name if data.parameters.on\n\
        test_denies if deny[\"x\"] with input as {\"request\": {\"object\": {\"a\": 1}}}\n\
        test_tenant if warn[\"t\"] with data.bailiwick.tenant as {\"name\": \"t\"} with data.parameters as {\"on\": true} with input as {}\n\
        test_wrong if deny[\"x\"] with input as {}\n\
        test_slow if { r := numbers.range(1, 3000); count([1 | r[_]; r[_]; r[_]]) == 1 }\n\
        todo_test_later if false\n";
    let (results, coverage) = run_tests(
        Language::V1,
        &[Source::new("p.rego", text)],
        &json!({}),
        Duration::from_millis(100),
    )
    .unwrap();
    let outcomes: Vec<_> = results.iter().map(|it| (it.name.as_str(), &it.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            ("test_denies", &TestOutcome::Passed),
            (
                "test_slow",
                &TestOutcome::Errored(EvaluationError::Timeout(Duration::from_millis(100)))
            ),
            ("test_tenant", &TestOutcome::Passed),
            ("test_wrong", &TestOutcome::Failed),
            ("todo_test_later", &TestOutcome::Skipped),
        ]
    );
    assert!(coverage[0].covered.contains(&2), "{coverage:?}");
}

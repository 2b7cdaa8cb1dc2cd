//! What a decision is, whatever it is about: bounded, explained and the same each time.

use std::time::{Duration, Instant};

use bailiwick_core::decide::{Decision, Outcome, decide, undecided};
use bailiwick_core::finding::RuleId;
use bailiwick_core::policy::Moment;
use bailiwick_core::review::parse;
use bailiwick_core::snapshot::Need;
use serde_json::{Value, json};

use crate::cluster::{Ask, PASS, check, cluster, outcome, yaml};

#[track_caller]
fn decided(ask: &Ask) -> Decision {
    let body = ask.review().to_string();
    match decide(&cluster(), &parse(body.as_bytes()).unwrap(), &Moment::default()) {
        Outcome::Decided(decision) => decision,
        Outcome::Needs(need) => panic!("needs {need:?}"),
    }
}

#[track_caller]
fn about(ask: &Ask, tenant: Option<&str>) {
    assert_eq!(decided(ask).tenant.as_deref(), tenant, "{ask:?}");
}

#[test]
fn a_decision_names_the_tenant_it_is_about() {
    about(
        &Ask::create("pods", "{metadata: {name: p}}").within("acme-prod"),
        Some("acme"),
    );
    about(&Ask::create("pods", "{metadata: {name: p}}").within("shop"), None);
    about(
        &Ask::update(
            "namespaces",
            "{metadata: {name: acme-prod}}",
            "{metadata: {name: acme-prod}}",
        ),
        Some("acme"),
    );
    about(
        &Ask::delete("namespaces", "{metadata: {name: acme-old}}").nameless(),
        Some("acme"),
    );
    about(
        &Ask::create("namespaces", "{metadata: {name: kube-system}}"),
        None,
    );
    about(
        &Ask::create("tenants", "{metadata: {name: initech}}"),
        Some("initech"),
    );
    about(
        &Ask::create("tenants", "{metadata: {name: initech}}").nameless(),
        Some("initech"),
    );
    about(
        &Ask::create("clusterroles", "{metadata: {name: acme-prod}}"),
        None,
    );
}

#[test]
fn a_tenant_without_a_name_is_about_nobody() {
    about(&Ask::create("tenants", "{metadata: {generateName: x-}}"), None);
}

#[test]
fn a_denial_says_rule_field_finding_allowance_and_way_out() {
    let decision =
        decided(&Ask::create("pods", "{metadata: {name: p, labels: {$T: globex}}}").within("acme-prod"));
    assert_eq!(
        decision.message(),
        "BW-POD-LABEL: metadata.labels['bailiwick.dev/tenant']: 'globex'; allowed: 'acme', the tenant of Namespace \
         'acme-prod'; set the label to 'acme', or leave it out where it is stamped"
    );
    assert!(!decision.is_retriable());
    let both = decided(
        &Ask::create("bindings", "{metadata: {name: p, labels: {$T: acme, $M: x}}}").within("acme-prod"),
    );
    assert!(
        both.message().starts_with("[1] BW-MANAGED: "),
        "{}",
        both.message()
    );
    assert!(
        both.message().contains("; [2] BW-BINDING-LABEL: "),
        "{}",
        both.message()
    );
}

#[test]
fn the_way_out_is_one() {
    let fix = |from: &str| {
        let spec = format!(
            "{{network: {{ingress: {{fromNamespaces: [{from}]}}}}, namespaces: {{declared: [{{name: own}}]}}}}"
        );
        let tenant = format!("{{metadata: {{name: initech}}, spec: {spec}}}");
        decided(&Ask::create("tenants", &tenant)).findings[0].fix.clone()
    };
    assert_eq!(fix("own"), "leave it out: traffic inside a tenant is open anyway");
    assert_eq!(
        fix("acme-prod"),
        "name the tenant in spec.network.ingress.fromTenants: 'acme'"
    );
}

#[test]
fn a_dry_run_is_decided_like_the_real_thing() {
    for (label, expected) in [("acme", PASS), ("globex", "BW-POD-LABEL label($T)")] {
        let pod = format!("{{metadata: {{name: p, labels: {{$T: {label}}}}}}}");
        let ask = Ask::create("pods", &pod).within("acme-prod");
        check(&ask, expected);
        check(&ask.dry(), expected);
    }
}

#[test]
fn only_what_may_pass_later_is_to_be_tried_again() {
    let ask = |subjects: &str| {
        let binding = format!(
            "{{metadata: {{name: b}}, roleRef: {{kind: ClusterRole, name: gone}}, subjects: [{subjects}]}}"
        );
        Ask::create("rolebindings", &binding)
            .within("acme-prod")
            .review()
            .to_string()
    };
    let retriable = |body: &str| {
        let snapshot = cluster().without(Need::ClusterRole("gone".to_owned()));
        match decide(&snapshot, &parse(body.as_bytes()).unwrap(), &Moment::default()) {
            Outcome::Decided(decision) => (decision.allowed(), decision.is_retriable()),
            Outcome::Needs(need) => panic!("needs {need:?}"),
        }
    };
    assert_eq!(retriable(&ask("{kind: User, name: alice}")), (false, true));
    assert_eq!(
        retriable(&ask("{kind: User, name: alice}, {kind: User, name: bob}")),
        (false, false)
    );
    assert_eq!(retriable(&ask("{kind: Group, name: sre}")), (true, false));
}

#[test]
fn what_could_not_be_read_is_refused_for_now() {
    let body = Ask::create("pods", "{metadata: {name: p}}")
        .within("acme-prod")
        .review()
        .to_string();
    let request = parse(body.as_bytes()).unwrap();
    for (need, text) in [
        (Need::Namespace("n".to_owned()), "Namespace 'n'"),
        (Need::ClusterRole("r".to_owned()), "ClusterRole 'r'"),
        (Need::PersistentVolume("v".to_owned()), "PersistentVolume 'v'"),
        (
            Need::Role {
                namespace: "n".to_owned(),
                name: "r".to_owned(),
            },
            "Role 'n/r'",
        ),
    ] {
        let decision = undecided(&cluster(), &request, &need, "timeout");
        assert!(!decision.allowed() && decision.is_retriable());
        assert_eq!(decision.tenant.as_deref(), Some("acme"));
        assert!(decision.message().contains(text), "{}", decision.message());
    }
}

/// The review of a change of a Pod in acme's namespace, with one part of it replaced.
#[track_caller]
fn replaced(path: &str, value: Value, expected: &str) {
    let object = "{metadata: {name: p, labels: {$T: acme}}}";
    let mut review = Ask::update("pods", object, object).within("acme-prod").review();
    *review.pointer_mut(path).unwrap() = value;
    assert_eq!(outcome(&cluster(), &review), expected, "{path}");
}

#[test]
fn what_can_not_be_understood_is_refused() {
    let (new, old) = ("BW-MALFORMED request.object", "BW-MALFORMED request.oldObject");
    for value in [
        Value::Null,
        json!([]),
        json!(["p", {}]),
        json!("x"),
        json!(7),
        json!(true),
    ] {
        replaced("/request/object", value.clone(), new);
        replaced("/request/oldObject", value, old);
    }
    for value in [Value::Null, json!([]), json!("x"), json!(7)] {
        replaced("/request/object/metadata", value.clone(), new);
        replaced("/request/oldObject/metadata", value, old);
    }
    for value in [
        json!([]),
        json!("x"),
        json!(7),
        json!({"a": 1}),
        json!({"a": null}),
        json!({"a": {}}),
    ] {
        replaced("/request/object/metadata/labels", value.clone(), new);
        replaced("/request/oldObject/metadata/labels", value, old);
    }
    replaced("/request/object/metadata/name", json!(7), new);
    replaced("/request/object/metadata/name", json!("q"), PASS);
    replaced(
        "/request/object",
        json!({"metadata": {"labels": {"bailiwick.dev/tenant": "acme"}}, "status": 7}),
        PASS,
    );
    replaced(
        "/request/object",
        json!({"metadata": {"labels": {"bailiwick.dev/tenant": "acme"}}, "spec": 7}),
        "BW-MALFORMED spec",
    );
}

#[test]
fn a_missing_part_is_not_taken_for_an_empty_one() {
    let mut create = Ask::create("pods", "{metadata: {name: p}}")
        .within("shop")
        .review();
    assert_eq!(outcome(&cluster(), &create), PASS);
    create["request"]["object"] = Value::Null;
    assert_eq!(outcome(&cluster(), &create), "BW-MALFORMED request.object");
    let mut delete = Ask::delete("networkpolicies", "{metadata: {name: p}}")
        .within("acme-prod")
        .review();
    assert_eq!(outcome(&cluster(), &delete), PASS);
    delete["request"]["oldObject"] = Value::Null;
    assert_eq!(outcome(&cluster(), &delete), "BW-MALFORMED request.oldObject");
}

#[test]
fn ten_thousand_subjects_get_a_short_and_quick_answer() {
    let subjects: Vec<Value> = (0..10_000)
        .map(|i| json!({"kind": "User", "name": format!("stranger-{i}-{}", "x".repeat(200))}))
        .collect();
    let object = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": subjects});
    let ask = Ask::create("rolebindings", &object.to_string()).within("acme-prod");
    let begun = Instant::now();
    let decision = decided(&ask);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(decision.findings.len(), 16);
    assert!(
        decision.message().contains("and 9984 more findings"),
        "{}",
        decision.message()
    );
    assert!(decision.message().len() < 32 << 10);
}

#[test]
fn the_answer_is_the_same_each_time() {
    let object = "{metadata: {name: part-2, labels: {into: top}}, rules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]}";
    let ask = Ask::create("clusterroles", object);
    let first = decided(&ask);
    assert_eq!(first.findings[0].rule, RuleId::ClusterRoleWidened);
    for _ in 0..20 {
        assert_eq!(decided(&ask), first);
    }
}

#[test]
fn the_pod_of_the_documentation_is_what_it_seems() {
    // The shorthand of these tables stands for the real thing.
    assert_eq!(
        yaml("{labels: {$T: a, $M: b, $MODE: c}}"),
        json!({"labels": {"bailiwick.dev/tenant": "a", "bailiwick.dev/managed-by": "b", "bailiwick.dev/pod-label": "c"}})
    );
    check(
        &Ask::create(
            "pods",
            "{metadata: {name: p, labels: {bailiwick.dev/tenant: acme}}}",
        )
        .within("acme-prod"),
        PASS,
    );
}

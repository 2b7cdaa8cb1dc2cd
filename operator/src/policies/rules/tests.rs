use serde_json::{Value, json};

use super::*;

fn groups() -> BTreeMap<String, Group> {
    let resource = |name: &str, kind: &str, more: &Value| -> APIResource {
        let mut resource = json!({
            "name": name, "singularName": "", "kind": kind, "namespaced": true,
            "verbs": ["create", "delete", "get", "list", "patch", "update"],
        });
        resource
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(resource).unwrap()
    };
    let changes = json!({"verbs": ["get", "patch", "update"]});
    let core = vec![
        resource("pods", "Pod", &json!({})),
        resource("pods/ephemeralcontainers", "Pod", &changes),
        resource("pods/status", "Pod", &changes),
        resource("pods/log", "Pod", &json!({"verbs": ["get"]})),
        resource(
            "pods/exec",
            "PodExecOptions",
            &json!({"verbs": ["create", "get"]}),
        ),
        resource(
            "pods/eviction",
            "Eviction",
            &json!({"verbs": ["create"], "group": "policy", "version": "v1"}),
        ),
        resource("nodes", "Node", &json!({"namespaced": false})),
    ];
    let apps = vec![
        resource("deployments", "Deployment", &json!({})),
        resource(
            "deployments/scale",
            "Scale",
            &json!({"verbs": ["get", "patch", "update"], "group": "autoscaling", "version": "v1"}),
        ),
    ];
    let scalers = vec![resource(
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        &json!({}),
    )];
    let group = |versions: Vec<(&str, Vec<APIResource>)>| Group {
        versions: versions
            .into_iter()
            .map(|(it, resources)| (it.to_owned(), resources))
            .collect(),
        asked: Instant::now(),
    };
    [
        (String::new(), group(vec![("v1", core)])),
        ("apps".to_owned(), group(vec![("v1", apps)])),
        (
            "autoscaling".to_owned(),
            group(vec![("v2", scalers.clone()), ("v1", scalers)]),
        ),
    ]
    .into()
}

/// Rules as text, and what is missing.
fn rules(matches: &Value, others: &[RuleWithOperations]) -> (Vec<String>, Vec<String>) {
    let mut wanted = Wanted::new();
    let mut missing = Vec::new();
    for one in matches.as_array().unwrap() {
        let one: Match = serde_json::from_value(one.clone()).unwrap();
        missing.extend(add(&one, &groups(), &mut wanted));
    }
    let text = |it: RuleWithOperations| {
        let join = |it: Option<Vec<String>>| it.unwrap().join(",");
        let of = format!("{}/{}", join(it.api_groups), join(it.api_versions));
        format!("{of} {} {}", join(it.resources), join(it.operations))
    };
    (
        to_rules(without(wanted, others)).into_iter().map(text).collect(),
        missing,
    )
}

#[track_caller]
fn check(matches: &Value, expected: &[&str], unknown: &[&str]) {
    let (rules, missing) = rules(matches, &[]);
    assert_eq!(rules, expected, "{matches}");
    assert_eq!(missing, unknown, "{matches}");
}

#[test]
fn kinds_become_resources_with_the_subresources_that_take_them() {
    let of = |group: &str, kind: &str| json!({"resources": [{"groups": [group], "kinds": [kind]}]});
    check(&json!([]), &[], &[]);
    check(
        &json!([of("", "Pod")]),
        &["/v1 pods CREATE,UPDATE", "/v1 pods/ephemeralcontainers UPDATE"],
        &[],
    );
    check(
        &json!([of("apps", "Deployment")]),
        &["apps/v1 deployments CREATE,UPDATE"],
        &[],
    );
    // The API server converts other versions to the one that it is asked for.
    check(
        &json!([of("autoscaling", "HorizontalPodAutoscaler")]),
        &["autoscaling/v2 horizontalpodautoscalers CREATE,UPDATE"],
        &[],
    );
    check(
        &json!([of("policy", "Eviction")]),
        &["/v1 pods/eviction CREATE"],
        &[],
    );
    check(
        &json!([of("autoscaling", "Scale")]),
        &["apps/v1 deployments/scale UPDATE"],
        &[],
    );
    let connect = json!([{"operations": ["CONNECT"], "resources": [{"groups": [""], "kinds": ["PodExecOptions", "Pod"]}]}]);
    check(
        &connect,
        &["/v1 pods/ephemeralcontainers,pods/exec,pods/log CONNECT"],
        &[],
    );
}

#[test]
fn what_the_cluster_does_not_know_or_have_in_namespaces_is_told() {
    let matches = json!([{"resources": [{"groups": ["", "apps"], "kinds": ["Pod", "Node", "Gadget"]}]}]);
    let (rules, missing) = rules(&matches, &[]);
    assert_eq!(rules.len(), 2, "{rules:?}");
    assert_eq!(
        missing,
        [
            "Pod of apps",
            "Node of the core group",
            "Node of apps",
            "Gadget of the core group",
            "Gadget of apps"
        ]
    );
}

#[test]
fn policies_that_match_the_same_share_rules_and_nothing_is_sent_twice() {
    let of = |operations: Value, kind: &str| json!({"operations": operations, "resources": [{"groups": [""], "kinds": [kind]}]});
    let matches = json!([
        of(json!(["CREATE"]), "Pod"),
        of(json!(["DELETE", "CREATE"]), "Pod")
    ]);
    assert_eq!(rules(&matches, &[]).0, ["/v1 pods CREATE,DELETE"]);
    let built_in: Vec<RuleWithOperations> = serde_json::from_value(json!([
        {"apiGroups": [""], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["pods"]},
        {"apiGroups": [""], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["pods/ephemeralcontainers"]},
    ]))
    .unwrap();
    assert_eq!(rules(&matches, &built_in).0, ["/v1 pods DELETE"]);
    let all = json!([of(json!(["CREATE", "UPDATE"]), "Pod")]);
    assert_eq!(rules(&all, &built_in).0, [""; 0]);
    // Another group's rule sends nothing of this one.
    let others: Vec<RuleWithOperations> = serde_json::from_value(json!([
        {"apiGroups": ["apps"], "apiVersions": ["*"], "operations": ["*"], "resources": ["pods", "pods/ephemeralcontainers"]},
    ]))
    .unwrap();
    assert_eq!(rules(&all, &others).0.len(), 2);
}

#[test]
fn what_is_not_known_takes_no_rule_away() {
    let rule = |resource: &str| -> RuleWithOperations {
        serde_json::from_value(json!({"operations": ["CREATE"], "resources": [resource]})).unwrap()
    };
    let live = [rule("a"), rule("b")];
    assert_eq!(
        union(&live, vec![rule("b"), rule("c")]),
        [rule("a"), rule("b"), rule("c")]
    );
    assert_eq!(union(&live, vec![rule("b")]), live);
}

use super::*;

fn rule(json: &str) -> Rule {
    serde_json::from_str(json).unwrap()
}

#[track_caller]
fn escapes(json: &str, expected: Option<&str>) {
    assert_eq!(escape(&rule(json)).as_deref(), expected, "{json}");
}

#[test]
fn ordinary_work_does_not_escape() {
    escapes(
        r#"{"apiGroups":["apps"],"resources":["deployments"],"verbs":["*"]}"#,
        None,
    );
    escapes(
        r#"{"apiGroups":[""],"resources":["pods","pods/exec"],"verbs":["create","delete"]}"#,
        None,
    );
    escapes(
        r#"{"apiGroups":["*"],"resources":["*"],"verbs":["get","list","watch"]}"#,
        None,
    );
    escapes(
        r#"{"apiGroups":[""],"resources":["serviceaccounts"],"verbs":["impersonate"]}"#,
        None,
    );
    escapes(
        r#"{"apiGroups":[""],"resources":["resourcequotas"],"verbs":["get"]}"#,
        None,
    );
    escapes(
        r#"{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles","rolebindings"],"verbs":["create","update"]}"#,
        None,
    );
    escapes(
        r#"{"apiGroups":["apps"],"resources":["*/status"],"verbs":["update"]}"#,
        None,
    );
    escapes("{}", None);
    escapes(r#"{"apiGroups":null,"resources":null,"verbs":null}"#, None);
}

#[test]
fn what_reaches_out_is_named() {
    escapes(
        r#"{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}"#,
        Some("create bindings"),
    );
    escapes(
        r#"{"apiGroups":[""],"resources":["*"],"verbs":["patch"]}"#,
        Some("patch pods/status"),
    );
    escapes(
        r#"{"apiGroups":[""],"resources":["*/binding"],"verbs":["create"]}"#,
        Some("create pods/binding"),
    );
    escapes(
        r#"{"apiGroups":["*"],"resources":["*/status"],"verbs":["update"]}"#,
        Some("update pods/status"),
    );
    escapes(
        r#"{"apiGroups":[""],"resources":["nodes/proxy"],"verbs":["get"]}"#,
        Some("get nodes/proxy"),
    );
    escapes(
        r#"{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles"],"verbs":["*"]}"#,
        Some("escalate rbac.authorization.k8s.io/roles"),
    );
    escapes(
        r#"{"apiGroups":[""],"resources":["groups"],"verbs":["impersonate"]}"#,
        Some("impersonate groups"),
    );
    escapes(
        r#"{"apiGroups":["authentication.k8s.io"],"resources":["userextras/scopes"],"verbs":["impersonate"]}"#,
        Some("impersonate authentication.k8s.io/userextras"),
    );
    escapes(
        r#"{"apiGroups":["authentication.k8s.io"],"resources":["serviceaccounts"],"verbs":["impersonate:serviceaccount"]}"#,
        Some("impersonate:serviceaccount authentication.k8s.io/serviceaccounts"),
    );
}

#[test]
fn every_way_to_write_counts_and_every_way_through_a_proxy() {
    for verb in ["create", "update", "patch", "delete", "deletecollection"] {
        for (group, resource) in [
            ("", "bindings"),
            ("", "pods/binding"),
            ("", "namespaces"),
            ("rbac.authorization.k8s.io", "clusterroles"),
            ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ] {
            let slash = if group.is_empty() { "" } else { "/" };
            escapes(
                &format!(r#"{{"apiGroups":["{group}"],"resources":["{resource}"],"verbs":["{verb}"]}}"#),
                Some(&format!("{verb} {group}{slash}{resource}")),
            );
            escapes(
                &format!(r#"{{"apiGroups":["{group}"],"resources":["{resource}"],"verbs":["get","list"]}}"#),
                None,
            );
        }
    }
    for resource in ["nodes/proxy", "*/proxy"] {
        escapes(
            &format!(r#"{{"apiGroups":[""],"resources":["{resource}"],"verbs":["use"]}}"#),
            Some(&format!("use {resource}")),
        );
    }
    escapes(
        r#"{"apiGroups":[""],"resources":["pods/proxy"],"verbs":["use"]}"#,
        None,
    );
}

#[test]
fn a_telling_verb_is_found_wherever_it_stands() {
    let verbs = |verbs: &str, resources: &str, expected| {
        escapes(
            &format!(
                r#"{{"apiGroups":["authentication.k8s.io"],"resources":[{resources}],"verbs":[{verbs}]}}"#
            ),
            expected,
        );
    };
    verbs(r#""impersonate""#, r#""serviceaccounts""#, None);
    verbs(r#""get","list""#, r#""nodes""#, None);
    verbs(
        r#""impersonate","impersonate:user-info""#,
        r#""serviceaccounts""#,
        Some("impersonate:user-info authentication.k8s.io/serviceaccounts"),
    );
    verbs(
        r#""*","impersonate-on:user-info:list""#,
        r#""serviceaccounts""#,
        Some("impersonate-on:user-info:list authentication.k8s.io/serviceaccounts"),
    );
    verbs(
        r#""impersonate""#,
        r#""serviceaccounts","nodes""#,
        Some("impersonate authentication.k8s.io/nodes"),
    );
    verbs(r#""get","bind""#, r#""x""#, Some("bind authentication.k8s.io/x"));
    escapes(r#"{"resources":["x"],"verbs":["bind"]}"#, None);
}

#[test]
fn endpoints_lead_other_peoples_proxies_anywhere() {
    escapes(
        r#"{"apiGroups":[""],"resources":["endpoints"],"verbs":["get","watch"]}"#,
        None,
    );
    escapes(
        r#"{"apiGroups":["discovery.k8s.io"],"resources":["endpointslices"],"verbs":["list"]}"#,
        None,
    );
    escapes(
        r#"{"apiGroups":[""],"resources":["endpoints"],"verbs":["get","update"]}"#,
        Some("update endpoints"),
    );
    escapes(
        r#"{"apiGroups":["discovery.k8s.io"],"resources":["*"],"verbs":["patch"]}"#,
        Some("patch discovery.k8s.io/endpointslices"),
    );
}

#[test]
fn bailiwicks_own_kinds_are_the_platforms() {
    for resource in [
        "tenants",
        "tenants/status",
        "tenancyindices",
        "tenantpolicies",
        "tenantpolicies/status",
        "policyapprovals",
    ] {
        let granted = |verb: &str| {
            format!(
                r#"{{"apiGroups":["bailiwick.dev"],"resources":["{resource}"],"verbs":["get","{verb}"]}}"#
            )
        };
        escapes(&granted("list"), None);
        escapes(
            &granted("patch"),
            Some(&format!("patch bailiwick.dev/{resource}")),
        );
    }
}

#[track_caller]
fn harmless(json: &str, expected: bool) {
    assert_eq!(is_harmless(&rule(json), &[]), expected, "{json}");
}

#[test]
fn discovery_is_harmless_and_nothing_else_is() {
    harmless(
        r#"{"nonResourceURLs":["/api","/api/*","/version"],"verbs":["get"]}"#,
        true,
    );
    harmless(
        r#"{"apiGroups":["authorization.k8s.io"],"resources":["selfsubjectaccessreviews","selfsubjectrulesreviews"],"verbs":["create"]}"#,
        true,
    );
    harmless(
        r#"{"apiGroups":["authorization.k8s.io"],"resources":["selfsubjectaccessreviews"],"verbs":["create","get"]}"#,
        false,
    );
    harmless(
        r#"{"apiGroups":["authorization.k8s.io","apps"],"resources":["selfsubjectaccessreviews"],"verbs":["create"]}"#,
        false,
    );
    harmless(
        r#"{"apiGroups":["authorization.k8s.io"],"resources":["selfsubjectaccessreviews","pods"],"verbs":["create"]}"#,
        false,
    );
    harmless("{}", true);
    harmless(r#"{"nonResourceURLs":["/api"],"verbs":["*"]}"#, false);
    harmless(r#"{"nonResourceURLs":["*"],"verbs":["get"]}"#, false);
    harmless(r#"{"nonResourceURLs":["/healthz"],"verbs":["get"]}"#, true);
    harmless(r#"{"nonResourceURLs":["/healthz/"],"verbs":["get"]}"#, false);
    harmless(r#"{"nonResourceURLs":["/api"],"verbs":["get","head"]}"#, false);
    harmless(r#"{"nonResourceURLs":["/metrics"],"verbs":["get"]}"#, false);
    harmless(
        r#"{"apiGroups":["authorization.k8s.io"],"resources":["subjectaccessreviews"],"verbs":["create"]}"#,
        false,
    );
    harmless(
        r#"{"apiGroups":["*"],"resources":["selfsubjectaccessreviews"],"verbs":["create"]}"#,
        false,
    );
    harmless(
        r#"{"apiGroups":[""],"resources":["namespaces"],"verbs":["get"]}"#,
        false,
    );
    harmless(
        r#"{"apiGroups":[""],"resources":["pods"],"nonResourceURLs":["/api"],"verbs":["get"]}"#,
        false,
    );
}

#[test]
fn the_configuration_may_add_permissions_but_no_wider_ones() {
    let also = [rule(
        r#"{"apiGroups":["metrics.k8s.io"],"resources":["nodes"],"verbs":["get","list"]}"#,
    )];
    assert!(is_harmless(
        &rule(r#"{"apiGroups":["metrics.k8s.io"],"resources":["nodes"],"verbs":["list"]}"#),
        &also
    ));
    assert!(!is_harmless(
        &rule(r#"{"apiGroups":["metrics.k8s.io"],"resources":["nodes","pods"],"verbs":["list"]}"#),
        &also
    ));
    assert!(!is_harmless(
        &rule(r#"{"apiGroups":["metrics.k8s.io"],"resources":["nodes"],"verbs":["*"]}"#),
        &also
    ));
}

#[test]
fn covering_follows_rbac() {
    let old = [rule(
        r#"{"apiGroups":[""],"resources":["pods","*/scale"],"verbs":["get","list"]}"#,
    )];
    for (json, expected) in [
        (r#"{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}"#, true),
        (
            r#"{"apiGroups":[""],"resources":["pods"],"resourceNames":["x"],"verbs":["get"]}"#,
            true,
        ),
        (
            r#"{"apiGroups":[""],"resources":["replicas/scale"],"verbs":["list"]}"#,
            true,
        ),
        (
            r#"{"apiGroups":[""],"resources":["pods/log"],"verbs":["get"]}"#,
            false,
        ),
        (
            r#"{"apiGroups":[""],"resources":["pods"],"verbs":["get","watch"]}"#,
            false,
        ),
        (
            r#"{"apiGroups":["apps"],"resources":["pods"],"verbs":["get"]}"#,
            false,
        ),
        (r#"{"nonResourceURLs":["/api"],"verbs":["get"]}"#, false),
    ] {
        assert_eq!(covers(&old, &rule(json)), expected, "{json}");
    }
    let named = [rule(
        r#"{"apiGroups":[""],"resources":["pods"],"resourceNames":["x"],"verbs":["get"]}"#,
    )];
    assert!(!covers(
        &named,
        &rule(r#"{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}"#)
    ));
}

#[test]
fn covering_looks_at_every_item_of_every_list() {
    let covered = |granted: &str, asked: &str, expected: bool| {
        assert_eq!(
            covers(&[rule(granted)], &rule(asked)),
            expected,
            "{granted} {asked}"
        );
    };
    let resource = |groups: &str, resources: &str, names: &str, verbs: &str| {
        format!(
            r#"{{"apiGroups":[{groups}],"resources":[{resources}],"resourceNames":[{names}],"verbs":[{verbs}]}}"#
        )
    };
    let granted = resource(r#""a","b""#, r#""p","q""#, r#""x","y""#, r#""get","list""#);
    covered(
        &granted,
        &resource(r#""b","a""#, r#""q","p""#, r#""y","x""#, r#""list","get""#),
        true,
    );
    covered(
        &granted,
        &resource(r#""a","c""#, r#""p""#, r#""x""#, r#""get""#),
        false,
    );
    covered(
        &granted,
        &resource(r#""a""#, r#""p","r""#, r#""x""#, r#""get""#),
        false,
    );
    covered(
        &granted,
        &resource(r#""a""#, r#""p""#, r#""x","z""#, r#""get""#),
        false,
    );
    covered(&granted, &resource(r#""a""#, r#""p""#, "", r#""get""#), false);
    covered(
        &granted,
        &resource(r#""a""#, r#""p""#, r#""x""#, r#""get","watch""#),
        false,
    );
    let urls = |urls: &str, verbs: &str| format!(r#"{{"nonResourceURLs":[{urls}],"verbs":[{verbs}]}}"#);
    let granted = urls(r#""/api/*","/version""#, r#""get","post""#);
    covered(
        &granted,
        &urls(r#""/version","/api/v1","/api/v1/*""#, r#""post""#),
        true,
    );
    covered(&granted, &urls(r#""/api/v1","/metrics""#, r#""get""#), false);
    covered(&granted, &urls(r#""/v2/api/""#, r#""get""#), false);
    covered(&granted, &urls(r#""/version/""#, r#""get""#), false);
    covered(&granted, &urls(r#""*""#, r#""get""#), false);
    covered(&granted, &urls(r#""/version""#, r#""get","put""#), false);
    covered(&urls(r#""*""#, r#""*""#), &granted, true);
}

#[test]
fn one_of_many_is_found() {
    escapes(
        r#"{"apiGroups":["apps",""],"resources":["pods","pods/binding"],"verbs":["get","create"]}"#,
        Some("create pods/binding"),
    );
}

#[test]
fn a_rule_of_a_million_permissions_is_not_covered_and_costs_little() {
    let many: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
    let wide = Rule {
        api_groups: many.clone(),
        resources: many,
        verbs: vec!["get".to_owned()],
        ..Rule::default()
    };
    let old = [rule(r#"{"apiGroups":["*"],"resources":["*"],"verbs":["list"]}"#)];
    assert!(!covers(&old, &wide));
}

#[test]
fn many_large_rules_count_as_added_rather_than_cost_minutes() {
    let many: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    let rules: Vec<Rule> = (0..500)
        .map(|i| Rule {
            api_groups: vec![String::new(), i.to_string()],
            resources: many.clone(),
            verbs: many.clone(),
            ..Rule::default()
        })
        .collect();
    assert!(added(&rules, &rules).is_empty(), "the same rules cost one look");
    let turned: Vec<Rule> = rules
        .iter()
        .map(|it| Rule {
            verbs: it.verbs.iter().rev().cloned().collect(),
            ..it.clone()
        })
        .collect();
    assert_eq!(added(&rules, &turned).len(), 500);
    assert!(added(&rules[..1], &turned[..1]).is_empty());
}

//! A ClusterRole that tenants' subjects are bound to is not widened under them, by whatever way.

use crate::cluster::{ADMIN, Ask, OPERATOR, PASS, check, cluster, outcome};

const REFUSED: &str = "BW-CR-WIDEN rules";
const PLAIN: &str = "{apiGroups: [''], resources: [pods], verbs: [get, list]}";
const MORE: &str = "{apiGroups: [''], resources: [secrets], verbs: [get]}";
const SHARP: &str = "{apiGroups: [''], resources: [pods/binding], verbs: [create]}";
const DISCOVERY: &str = "{nonResourceURLs: [/version], verbs: [get]}";

fn role(name: &str, rest: &str) -> String {
    format!("{{metadata: {{name: '{name}', labels: {{}}}}, {rest}}}")
}

#[track_caller]
fn check_all(ask: &Ask, expected: &str) {
    for user in [
        ADMIN,
        "alice",
        "system:serviceaccount:kube-system:clusterrole-aggregation-controller",
    ] {
        check(&ask.clone().by(user), expected);
        check(&ask.clone().by(user).nameless(), expected);
    }
    check(&ask.clone().by(OPERATOR), PASS);
    check(&ask.clone().by("system:apiserver"), PASS);
}

/// A change of rules.
#[track_caller]
fn update(name: &str, old: &str, new: &str, expected: &str) {
    let role = |rules: &str| role(name, &format!("rules: {rules}"));
    check_all(&Ask::update("clusterroles", &role(old), &role(new)), expected);
}

#[track_caller]
fn create(name: &str, rules: &str, expected: &str) {
    check_all(
        &Ask::create("clusterroles", &role(name, &format!("rules: {rules}"))),
        expected,
    );
}

#[test]
fn a_role_that_tenants_hold_in_their_namespaces_gains_nothing_that_reaches_out() {
    update("view", &format!("[{PLAIN}]"), &format!("[{PLAIN}, {MORE}]"), PASS);
    update(
        "view",
        &format!("[{PLAIN}]"),
        &format!("[{PLAIN}, {SHARP}]"),
        REFUSED,
    );
    update(
        "view",
        &format!("[{PLAIN}]"),
        "[{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]",
        REFUSED,
    );
    update("view", "null", &format!("[{SHARP}]"), REFUSED);
    update("view", &format!("[{SHARP}]"), "null", PASS);
    update(
        "view",
        &format!("[{SHARP}, {PLAIN}]"),
        &format!("[{MORE}, {SHARP}]"),
        PASS,
    );
    // A ServiceAccount without a namespace is one of the RoleBinding's own.
    update("local", "[]", &format!("[{SHARP}]"), REFUSED);
    update("local", "[]", &format!("[{MORE}]"), PASS);
}

#[test]
fn a_role_that_tenants_hold_cluster_wide_gains_nothing_but_discovery() {
    update("system:discovery", "[]", &format!("[{DISCOVERY}]"), PASS);
    update("system:discovery", "[]", &format!("[{MORE}]"), REFUSED);
    update(
        "system:discovery",
        &format!("[{DISCOVERY}]"),
        "[{nonResourceURLs: ['*'], verbs: [get]}]",
        REFUSED,
    );
    update(
        "system:discovery",
        &format!("[{MORE}]"),
        &format!("[{MORE}, {DISCOVERY}]"),
        PASS,
    );
}

#[test]
fn a_role_that_no_tenant_holds_may_gain_anything() {
    for name in ["free", "unbound", "cluster-admin", "Local", "view "] {
        update(
            name,
            "[]",
            "[{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]",
            PASS,
        );
        create(name, &format!("[{SHARP}]"), PASS);
    }
}

#[test]
fn a_role_that_was_bound_before_it_existed_is_judged_when_it_is_made() {
    create("future", &format!("[{SHARP}]"), REFUSED);
    create("future", &format!("[{MORE}]"), PASS);
    create("future-wide", &format!("[{MORE}]"), REFUSED);
    create("future-wide", &format!("[{DISCOVERY}]"), PASS);
    create("future-wide", "null", PASS);
}

#[test]
fn a_role_that_does_not_say_its_name_is_the_one_that_the_request_names() {
    let mut review = Ask::create("clusterroles", &role("view", &format!("rules: [{SHARP}]"))).review();
    review["request"]["object"]["metadata"] = serde_json::json!({});
    assert_eq!(outcome(&cluster(), &review), REFUSED);
    review["request"]["name"] = "free".into();
    assert_eq!(outcome(&cluster(), &review), PASS);
}

#[test]
fn a_part_is_judged_by_the_whole_it_goes_into() {
    let labelled = |into: &str, rules: &str| {
        format!("{{metadata: {{name: part-2, labels: {{into: '{into}'}}}}, rules: {rules}}}")
    };
    // whole goes into top, which alice holds.
    for into in ["whole", "top"] {
        check_all(
            &Ask::create("clusterroles", &labelled(into, &format!("[{SHARP}]"))),
            REFUSED,
        );
        check_all(
            &Ask::create("clusterroles", &labelled(into, &format!("[{MORE}]"))),
            PASS,
        );
    }
    check_all(
        &Ask::create("clusterroles", &labelled("Whole", &format!("[{SHARP}]"))),
        PASS,
    );
    check_all(
        &Ask::create("clusterroles", &labelled("", &format!("[{SHARP}]"))),
        PASS,
    );
    check_all(
        &Ask::delete("clusterroles", &labelled("whole", &format!("[{SHARP}]"))),
        PASS,
    );
    let part = |rules: &str| format!("{{metadata: {{name: part, labels: {{into: whole}}}}, rules: {rules}}}");
    check_all(
        &Ask::update("clusterroles", &part("[]"), &part(&format!("[{SHARP}]"))),
        REFUSED,
    );
    check_all(
        &Ask::update("clusterroles", &part("[]"), &part(&format!("[{MORE}]"))),
        PASS,
    );
}

#[test]
fn a_new_label_makes_it_a_part() {
    let free =
        |into: &str| format!("{{metadata: {{name: sharp, labels: {{into: {into}}}}}, rules: [{SHARP}]}}");
    check_all(
        &Ask::update("clusterroles", &free("sharpened"), &free("whole")),
        REFUSED,
    );
    check_all(
        &Ask::update("clusterroles", &free("sharpened"), &free("top")),
        REFUSED,
    );
    check_all(
        &Ask::update("clusterroles", &free("sharpened"), &free("elsewhere")),
        PASS,
    );
    check_all(
        &Ask::update(
            "clusterroles",
            &free("sharpened"),
            "{metadata: {name: sharp, labels: null}, rules: null}",
        ),
        PASS,
    );
}

#[test]
fn a_new_selector_makes_it_a_whole() {
    let select = |selectors: &str| {
        role(
            "view",
            &format!("aggregationRule: {{clusterRoleSelectors: {selectors}}}"),
        )
    };
    let plain = role("view", "rules: []");
    for (selectors, expected) in [
        ("[{matchLabels: {into: whole}}]", PASS),
        ("[{matchLabels: {into: sharpened}}]", REFUSED),
        // Over two steps.
        ("[{matchLabels: {into: twice}}]", REFUSED),
        ("[{matchExpressions: [{key: into, operator: Exists}]}]", REFUSED),
        ("[{}]", REFUSED),
        ("[]", PASS),
        ("null", PASS),
    ] {
        check_all(&Ask::update("clusterroles", &plain, &select(selectors)), expected);
    }
    let both = select("[{matchLabels: {into: sharpened}}]");
    check_all(&Ask::update("clusterroles", &both, &both), PASS);
}

#[test]
fn the_controller_fills_in_what_was_judged_already() {
    let top = |rules: &str| {
        format!(
            "{{metadata: {{name: whole, labels: {{into: top}}}}, aggregationRule: {{clusterRoleSelectors: [{{matchLabels: {{into: whole}}}}]}}, rules: {rules}}}"
        )
    };
    let part = "{apiGroups: [''], resources: [configmaps], verbs: [get]}";
    check_all(
        &Ask::update("clusterroles", &top("[]"), &top(&format!("[{part}]"))),
        PASS,
    );
    check_all(
        &Ask::update("clusterroles", &top("[]"), &top(&format!("[{part}, {SHARP}]"))),
        REFUSED,
    );
}

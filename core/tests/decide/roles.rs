//! A Role in a tenant's namespace grants nothing that reaches out of it.

use crate::cluster::{Ask, OPERATOR, PASS, check};

fn role(rules: &str) -> String {
    format!("{{metadata: {{name: r}}, rules: {rules}}}")
}

#[track_caller]
fn create(rule: &str, expected: &str) {
    let ask = Ask::create("roles", &role(&format!("[{rule}]"))).within("acme-prod");
    check(&ask.clone().by("alice"), expected);
    check(&ask.clone().by("system:apiserver"), expected);
    check(&ask.clone().within("acme-bare"), expected);
    check(&ask.clone().by(OPERATOR), PASS);
    for elsewhere in ["shop", "kube-system"] {
        check(&ask.clone().within(elsewhere), PASS);
    }
    check(&ask.within("brand-new"), "needs Namespace brand-new");
}

const REFUSED: &str = "BW-ROLE-GRANT rules[0]";

#[test]
fn ordinary_work_is_granted() {
    create(
        "{apiGroups: [apps], resources: [deployments], verbs: ['*']}",
        PASS,
    );
    create(
        "{apiGroups: [''], resources: [secrets, pods/exec, serviceaccounts/token], verbs: [create, get]}",
        PASS,
    );
    create(
        "{apiGroups: ['*'], resources: ['*'], verbs: [get, list, watch]}",
        PASS,
    );
    create(
        "{apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings], verbs: [create, update]}",
        PASS,
    );
    create("{}", PASS);
    create(
        "{apiGroups: null, resources: null, verbs: null, resourceNames: null, nonResourceURLs: null}",
        PASS,
    );
}

#[test]
fn what_reaches_out_is_not() {
    for rule in [
        "{apiGroups: ['*'], resources: ['*'], verbs: ['*']}",
        "{apiGroups: [''], resources: [namespaces/finalize], verbs: [update]}",
        "{apiGroups: [''], resources: [namespaces/status], verbs: [patch]}",
        "{apiGroups: [''], resources: [pods/binding], verbs: [create]}",
        "{apiGroups: [''], resources: ['*/status'], verbs: [update]}",
        "{apiGroups: [''], resources: [nodes/proxy], verbs: [get]}",
        "{apiGroups: [''], resources: [resourcequotas], resourceNames: [bailiwick], verbs: [delete]}",
        "{apiGroups: [''], resources: [endpoints], verbs: [update]}",
        "{apiGroups: [rbac.authorization.k8s.io], resources: [roles], verbs: [escalate]}",
        "{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], resourceNames: [view], verbs: [bind]}",
        "{apiGroups: [''], resources: [users], verbs: [impersonate]}",
        "{apiGroups: [authentication.k8s.io], resources: [serviceaccounts], verbs: ['impersonate:serviceaccount']}",
        "{apiGroups: [bailiwick.dev], resources: [tenants], verbs: [update]}",
    ] {
        create(rule, REFUSED);
    }
}

#[test]
fn what_was_granted_before_stays_editable() {
    let wide = "{apiGroups: ['*'], resources: ['*'], verbs: ['*']}";
    let narrow = "{apiGroups: [''], resources: [pods/binding], verbs: [create]}";
    let other = "{apiGroups: [''], resources: [bindings], verbs: [create]}";
    let plain = "{apiGroups: [''], resources: [pods], verbs: [get]}";
    let update = |old: &str, new: &str| Ask::update("roles", &role(old), &role(new)).within("acme-prod");
    check(&update(&format!("[{wide}]"), &format!("[{plain}, {wide}]")), PASS);
    check(&update(&format!("[{wide}]"), &format!("[{narrow}]")), PASS);
    check(
        &update(&format!("[{narrow}]"), &format!("[{narrow}, {plain}]")),
        PASS,
    );
    check(&update(&format!("[{narrow}]"), "null"), PASS);
    check(
        &update("null", &format!("[{plain}, {narrow}]")),
        "BW-ROLE-GRANT rules[1]",
    );
    check(
        &update(&format!("[{narrow}]"), &format!("[{narrow}, {other}]")),
        "BW-ROLE-GRANT rules[1]",
    );
    check(&update(&format!("[{narrow}]"), &format!("[{wide}]")), REFUSED);
    check(
        &Ask::delete("roles", &role(&format!("[{wide}]"))).within("acme-prod"),
        PASS,
    );
}

#[test]
fn each_rule_is_judged_at_its_place() {
    let rules = "[{apiGroups: [''], resources: [pods], verbs: [get]}, {apiGroups: ['*'], resources: ['*'], verbs: ['*']}, \
                 {apiGroups: [''], resources: [bindings], verbs: [create]}]";
    check(
        &Ask::create("roles", &role(rules)).within("acme-prod"),
        "BW-ROLE-GRANT rules[1]; BW-ROLE-GRANT rules[2]",
    );
    check(&Ask::create("roles", &role("null")).within("acme-prod"), PASS);
    check(
        &Ask::create("roles", "{metadata: {name: r}}").within("acme-prod"),
        PASS,
    );
}

//! A Binding's labels overwrite its Pod's, so it carries none of ours. Both ways to bind are covered.

use crate::cluster::{Ask, OPERATOR, PASS, check};

#[track_caller]
fn create(labels: &str, expected: &str) {
    let binding = format!("{{metadata: {{name: p, labels: {labels}}}, target: {{kind: Node, name: node}}}}");
    let ask = Ask::create("bindings", &binding);
    for path in ["pods/binding", "bindings"] {
        for user in ["alice", "system:kube-scheduler", "system:apiserver"] {
            for namespace in ["acme-prod", "acme-lab", "shop", "brand-new", "kube-system"] {
                check(&ask.clone().at(path).within(namespace).by(user), expected);
            }
        }
    }
}

#[test]
fn a_binding_carries_no_tenant_label() {
    create("{}", PASS);
    create("null", PASS);
    create(
        "{topology.kubernetes.io/zone: a, bailiwick.dev/Tenant: acme}",
        PASS,
    );
    for value in ["acme", "globex", "''", "' '"] {
        create(&format!("{{$T: {value}}}"), "BW-BINDING-LABEL label($T)");
    }
}

#[test]
fn a_binding_is_not_managed_either() {
    create("{$M: x}", "BW-MANAGED label($M)");
    create(
        "{$M: x, $T: acme}",
        "BW-MANAGED label($M); BW-BINDING-LABEL label($T)",
    );
}

#[test]
fn the_operator_is_asked_nothing() {
    let ask = Ask::create("bindings", "{metadata: {name: p, labels: {$T: acme}}}").within("acme-prod");
    check(&ask.clone().by(OPERATOR), PASS);
    check(&ask, "BW-BINDING-LABEL label($T)");
}

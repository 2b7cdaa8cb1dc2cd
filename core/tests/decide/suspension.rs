//! In a suspended tenant's namespaces only what runs goes on.

use crate::cluster::{ADMIN, Ask, OPERATOR, PASS, check};

const REFUSED: &str = "BW-SUSPENDED metadata.namespace";
const OBJECT: &str = "{metadata: {name: x}}";

/// The same request in the frozen namespace and in another one of the tenant.
#[track_caller]
fn check_both(ask: &Ask, in_frozen: &str) {
    check(&ask.clone().within("frozen"), in_frozen);
    check(&ask.clone().within("acme-old"), PASS);
}

#[test]
fn nobody_writes() {
    for user in [
        "alice",
        ADMIN,
        "robot",
        "system:admin",
        "system:serviceaccount:acme-prod:deployer",
        "system:serviceaccount:argocd:application-controller",
        "system:serviceaccount:kube-systems:x",
        "system:kube-scheduler-2",
    ] {
        for path in [
            "configmaps",
            "secrets",
            "deployments",
            "services/proxy",
            "deployments/scale",
        ] {
            check_both(&Ask::create(path, OBJECT).by(user), REFUSED);
            check_both(&Ask::update(path, OBJECT, OBJECT).by(user), REFUSED);
            check_both(&Ask::delete(path, OBJECT).by(user), REFUSED);
            check_both(&Ask::create(path, OBJECT).by(user).dry(), REFUSED);
        }
        for path in ["pods/exec", "pods/attach", "pods/portforward"] {
            check_both(&Ask::connect(path).by(user), REFUSED);
        }
        check_both(&Ask::create("serviceaccounts/token", OBJECT).by(user), REFUSED);
        check_both(&Ask::delete("leases", OBJECT).by(user), REFUSED);
        check_both(&Ask::create("leases", OBJECT).by(user), REFUSED);
        check_both(&Ask::delete("events", OBJECT).by(user), REFUSED);
    }
}

#[test]
fn what_runs_goes_on() {
    for user in [
        OPERATOR,
        "system:apiserver",
        "system:kube-controller-manager",
        "system:kube-scheduler",
        "system:serviceaccount:kube-system:replicaset-controller",
    ] {
        check_both(&Ask::create("configmaps", OBJECT).by(user), PASS);
        check_both(&Ask::delete("configmaps", OBJECT).by(user), PASS);
    }
    let of_node = Ask::create("serviceaccounts/token", OBJECT).by("system:node:n");
    check_both(&of_node.clone().of("system:nodes"), PASS);
    check_both(&of_node, REFUSED);
    for ask in [
        Ask::update("leases", OBJECT, OBJECT),
        Ask::create("events", OBJECT),
        Ask::update("events", OBJECT, OBJECT),
        Ask::create("localsubjectaccessreviews", OBJECT),
        Ask::create("pods/eviction", OBJECT),
    ] {
        check_both(&ask.by("alice"), PASS);
    }
}

#[test]
fn it_is_the_operator_who_suspends() {
    let namespace = |labels: &str| format!("{{metadata: {{name: frozen, labels: {labels}}}}}");
    let (frozen, free) = (
        namespace("{$T: acme, $SUSPENDED: 'true'}"),
        namespace("{$T: acme}"),
    );
    for path in ["namespaces", "namespaces/status", "namespaces/finalize"] {
        for (old, new) in [(&frozen, &free), (&free, &frozen)] {
            let ask = Ask::update("namespaces", old, new).at(path);
            check(&ask, "BW-NS-IDENTITY metadata.labels['bailiwick.dev/suspended']");
            check(&ask.by(OPERATOR), PASS);
        }
        // Its other labels can be written.
        let other = namespace("{$T: acme, $SUSPENDED: 'true', team: a}");
        check(&Ask::update("namespaces", &frozen, &other).at(path), PASS);
    }
}

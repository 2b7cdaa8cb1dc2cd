//! Tenants that are there already, and in each other's way: who is in conflict, and who has to be looked at again.

use std::collections::BTreeSet;
use std::sync::Arc;

use bailiwick_core::decide::without_foreign_sources;
use bailiwick_core::neighbours::{changed, conflicts};
use bailiwick_core::snapshot::{Snapshot, Tenants};
use bailiwick_core::validate::validate;
use bailiwick_crds::v1alpha1::Tenant;

use crate::cluster::{cluster, yaml};

fn tenant(name: &str, spec: &str) -> Tenant {
    let text = format!(
        "{{apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: {{name: {name}}}, spec: {spec}}}"
    );
    serde_json::from_value(yaml(&text)).unwrap()
}

fn among(tenants: &[(&str, &str)]) -> Snapshot {
    let tenants = tenants.iter().map(|(name, spec)| Arc::new(tenant(name, spec)));
    Snapshot {
        tenants: Arc::new(Tenants::collect(tenants)),
        namespaces: Arc::default(),
        ..cluster()
    }
}

/// `acme` and a neighbour: who of them is in conflict, and for which field.
#[track_caller]
fn meet(acme: &str, neighbour: &str, expected: &[(&str, &str)]) {
    let found = conflicts(&among(&[
        ("acme", acme),
        ("globex", neighbour),
        ("bystander", "{}"),
    ]));
    let found: Vec<(&str, &str)> = found
        .iter()
        .flat_map(|(name, findings)| findings.iter().map(|it| (name.as_str(), it.field.as_str())))
        .collect();
    assert_eq!(found, expected, "{acme} beside {neighbour}");
}

#[test]
fn what_two_tenants_claim_both_say() {
    const CLAIMS: &str = "spec.owners and spec.identities";
    let groups = |it: &str| format!("{{identities: {{groups: [{it}]}}}}");
    let acme = groups("'oidc:acme:*'");
    meet(
        &acme,
        &groups("'oidc:acme:x'"),
        &[("acme", CLAIMS), ("globex", CLAIMS)],
    );
    meet(
        &acme,
        &groups("'oidc:*'"),
        &[("acme", CLAIMS), ("globex", CLAIMS)],
    );
    meet(&acme, &groups("'oidc:acm:x'"), &[]);
    // One of them gives access to the other's people: it is the one to correct it.
    let access =
        |it: &str| format!("{{access: [{{clusterRole: view, subjects: [{{kind: Group, name: {it}}}]}}]}}");
    meet(
        &acme,
        &access("'oidc:acme:x'"),
        &[("globex", "spec.access[0].subjects[0]")],
    );
    meet(&acme, &access("'oidc:acm:x'"), &[]);
    // What is wrong with a Tenant besides takes nothing from its claims.
    let invalid = "{identities: {groups: ['oidc:acme:x']}, quota: {namespace: {pods: x}}}";
    meet(&acme, invalid, &[("acme", CLAIMS), ("globex", CLAIMS)]);
}

#[test]
fn traffic_from_a_tenants_namespace_is_told_by_the_one_that_lets_it_in() {
    let from = "{network: {ingress: {fromNamespaces: [near, ingress]}}}";
    let declares = |it: &str| format!("{{namespaces: {{declared: [{{name: {it}}}]}}}}");
    meet(
        from,
        &declares("near"),
        &[("acme", "spec.network.ingress.fromNamespaces[0]")],
    );
    meet(from, &declares("far"), &[]);
    for (namespace, expected) in [("near", vec!["ingress"]), ("far", vec!["near", "ingress"])] {
        let snapshot = among(&[("acme", from), ("globex", &declares(namespace))]);
        let acme = validate(&snapshot.tenants.by_name["acme"], &snapshot.config).unwrap();
        let closed = without_foreign_sources(&snapshot, &acme);
        assert_eq!(closed.network.ingress.unwrap().from_namespaces, expected);
    }
}

#[test]
fn who_is_concerned_by_a_change_is_looked_at_again_and_nobody_else() {
    let owner = |it: &str| format!("{{owners: [{{kind: User, name: {it}}}]}}");
    let before = [("a", owner("alice")), ("b", owner("bob")), ("c", owner("carol"))];
    let state = |specs: &[(&str, String)]| {
        let specs: Vec<(&str, &str)> = specs.iter().map(|(name, spec)| (*name, spec.as_str())).collect();
        conflicts(&among(&specs))
    };
    let apart = state(&before);
    let mut after = before.clone();
    after[1].1 = owner("alice");
    let met = state(&after);
    let both = BTreeSet::from(["a", "b"]);
    assert_eq!(changed(&apart, &met), both);
    // Repaired on the other side, or by its deletion, both hear of it, too.
    assert_eq!(changed(&met, &apart), both);
    assert_eq!(changed(&met, &state(&after[..1])), both);
    assert_eq!(changed(&met, &met), BTreeSet::new());
    // A third one changes what the two have to say.
    after[2].1 = owner("alice");
    assert_eq!(changed(&met, &state(&after)), BTreeSet::from(["a", "b", "c"]));
}

#[test]
fn a_namespace_is_left_behind_by_a_tenant_that_is_gone() {
    let snapshot = cluster();
    assert_eq!(snapshot.left_behind(), BTreeSet::from(["empty", "ghost"]));
    let gone = Snapshot {
        tenants: Arc::default(),
        ..snapshot
    };
    let left = gone.left_behind();
    assert!(left.contains("acme-prod") && left.contains("globex-prod"));
    // What only the record told is nobody's, and what is reserved is the platform's.
    for namespace in ["acme-bare", "kube-system", "argocd", "shop"] {
        assert!(!left.contains(namespace), "{namespace}");
    }
}

#[test]
fn whoever_is_to_hand_a_namespace_over_hears_of_it() {
    let declares = "{namespaces: {declared: [{name: shop}]}}";
    let tenants = |globex: &str| {
        let mut acme = tenant("acme", "{}");
        acme.status = Some(
            serde_json::from_value(yaml(
                "{namespaces: [{name: shop, uid: u-shop, origin: Retained}]}",
            ))
            .unwrap(),
        );
        [acme, tenant("globex", globex)].map(Arc::new)
    };
    let among = |globex: &str, consents: &str| {
        let mut namespaces = (*cluster().namespaces).clone();
        namespaces.get_mut("shop").unwrap().adopt_by = Some(consents.to_owned());
        Snapshot {
            tenants: Arc::new(Tenants::collect(tenants(globex))),
            namespaces: Arc::new(namespaces),
            ..cluster()
        }
    };
    let who = |snapshot: &Snapshot| conflicts(snapshot).into_keys().collect::<Vec<_>>();
    // The one hears that it is to let go, the other that it has to wait.
    assert_eq!(who(&among(declares, "globex")), ["acme", "globex"]);
    assert_eq!(who(&among(declares, "initech")), ["globex"]);
    assert_eq!(who(&among("{}", "globex")), [""; 0]);
    // When it is on no record any more the other is woken.
    let mut free = among(declares, "globex");
    free.tenants = Arc::new(Tenants::collect(
        [tenant("acme", "{}"), tenant("globex", declares)].map(Arc::new),
    ));
    assert_eq!(who(&free), [""; 0]);
    let (before, after) = (conflicts(&among(declares, "globex")), conflicts(&free));
    assert!(changed(&before, &after).contains("globex"));
}

//! Laws of isolation: what a tenant may is its own affair, and nobody but the operator moves it.

use std::sync::Arc;

use bailiwick_core::decide::{Outcome, decide};
use bailiwick_core::ownership::NamespaceFacts;
use bailiwick_core::policy::Moment;
use bailiwick_core::review::parse;
use bailiwick_core::snapshot::{BindingFacts, Snapshot, SubjectRef, Tenants};
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{
    DeclaredNamespace, Identities, Namespaces, Subject, SubjectKind, Tenant, TenantSpec,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::cases;
use crate::cluster::{ADMIN, Ask, OPERATOR, cluster};

const USERS: [&str; 10] = [
    "alice",
    "bob",
    "stranger",
    "sre-1",
    ADMIN,
    "system:apiserver",
    "system:kube-controller-manager",
    "system:serviceaccount:acme-prod:app",
    "system:serviceaccount:kube-system:namespace-controller",
    "system:serviceaccount:kube-system:generic-garbage-collector",
];
const PLACES: [&str; 6] = [
    "acme-prod",
    "acme-lab",
    "acme-bare",
    "globex-prod",
    "shop",
    "kube-system",
];
const LABELS: [&str; 6] = [
    "{}",
    "{$T: acme}",
    "{$T: globex}",
    "{$T: ''}",
    "{$M: x}",
    "{$MODE: Verify}",
];
const SUBJECTS: [&str; 9] = [
    "{kind: User, name: alice}",
    "{kind: User, name: bob}",
    "{kind: User, name: stranger}",
    "{kind: Group, name: 'oidc:acme:dev'}",
    "{kind: Group, name: 'system:authenticated'}",
    "{kind: Group, name: 'system:serviceaccounts:ci'}",
    "{kind: ServiceAccount, name: app}",
    "{kind: ServiceAccount, name: app, namespace: globex-prod}",
    "{kind: ServiceAccount, name: app, namespace: shop}",
];
const ROLES: [&str; 6] = [
    "view",
    "cluster-admin",
    "system:discovery",
    "top",
    "twice",
    "gone",
];

/// A request about what the known tenants have.
fn ask() -> impl Strategy<Value = Ask> {
    let pod = (
        select(PLACES.to_vec()),
        select(LABELS.to_vec()),
        select(LABELS.to_vec()),
        0..5_u8,
    );
    let pod = pod.prop_map(|(place, old, new, path)| {
        let object = |labels: &str| format!("{{metadata: {{name: p, labels: {labels}}}}}");
        match path {
            0 => Ask::create("pods", &object(new)),
            1 => Ask::update("pods", &object(old), &object(new)),
            2 => Ask::update("pods/status", &object(old), &object(new)),
            3 => Ask::create("bindings", &object(new)),
            _ => Ask::update("networkpolicies", &object(old), &object(new)),
        }
        .within(place)
    });
    let namespace = (
        select(PLACES.to_vec()),
        select(LABELS.to_vec()),
        select(LABELS.to_vec()),
        0..4_u8,
    );
    let namespace = namespace.prop_map(|(place, old, new, path)| {
        let object = |labels: &str| format!("{{metadata: {{name: {place}, labels: {labels}}}}}");
        match path {
            0 => Ask::create("namespaces", &object(new)),
            1 => Ask::update("namespaces", &object(old), &object(new)),
            2 => Ask::update("namespaces/finalize", &object(old), &object(new)),
            _ => Ask::delete("namespaces", &object(old)),
        }
    });
    let binding = (
        select(PLACES.to_vec()),
        proptest::collection::vec(select(SUBJECTS.to_vec()), 0..4),
        proptest::collection::vec(select(SUBJECTS.to_vec()), 0..4),
        select(ROLES.to_vec()),
        any::<bool>(),
        any::<bool>(),
    );
    let binding = binding.prop_map(|(place, old, new, role, update, everywhere)| {
        let object = |subjects: &[&str]| {
            format!(
                "{{metadata: {{name: b}}, roleRef: {{kind: ClusterRole, name: '{role}'}}, subjects: [{}]}}",
                subjects.join(", ")
            )
        };
        let path = if everywhere {
            "clusterrolebindings"
        } else {
            "rolebindings"
        };
        let ask = if update {
            Ask::update(path, &object(&old), &object(&new))
        } else {
            Ask::create(path, &object(&new))
        };
        if everywhere { ask } else { ask.within(place) }
    });
    (prop_oneof![pod, namespace, binding], select(USERS.to_vec())).prop_map(|(ask, user)| ask.by(user))
}

/// More tenants, none of whose names and namespaces anybody else has.
fn strangers() -> impl Strategy<Value = Vec<Tenant>> {
    proptest::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 1..6).prop_map(|them| {
        let tenant = |(i, (by_prefix, deleted, older)): (usize, (bool, bool, bool))| {
            let name = format!("{}{i}", if older { "aa" } else { "zz" });
            let spec = TenantSpec {
                owners: vec![Subject {
                    kind: SubjectKind::User,
                    name: format!("{name}-owner"),
                    namespace: None,
                }],
                identities: Some(Identities {
                    users: vec![format!("{name}-user")],
                    groups: vec![if by_prefix {
                        format!("oidc:{name}:*")
                    } else {
                        format!("oidc:{name}")
                    }],
                }),
                namespaces: Some(Namespaces {
                    declared: vec![DeclaredNamespace {
                        name: format!("{name}-prod"),
                        ..DeclaredNamespace::default()
                    }],
                    self_service: None,
                }),
                ..TenantSpec::default()
            };
            let mut tenant = Tenant::new(&name, spec);
            if deleted {
                tenant.metadata.deletion_timestamp =
                    Some(serde_json::from_value("2026-01-01T00:00:00Z".into()).unwrap());
            }
            tenant
        };
        them.into_iter().enumerate().map(tenant).collect()
    })
}

fn joined(strangers: Vec<Tenant>) -> Snapshot {
    let mut snapshot = cluster();
    for tenant in &strangers {
        let name = tenant.metadata.name.clone().unwrap();
        let facts = NamespaceFacts {
            uid: format!("u-{name}"),
            labels: [(labels::TENANT.to_owned(), name.clone())].into(),
            ..NamespaceFacts::default()
        };
        snapshot = snapshot.with_namespace(format!("{name}-prod"), facts);
        let rbac = Arc::make_mut(&mut snapshot.rbac);
        let owner = SubjectRef {
            kind: "User".to_owned(),
            name: format!("{name}-owner"),
            namespace: String::new(),
        };
        rbac.bind(
            "view".to_owned(),
            BindingFacts {
                namespace: Some(format!("{name}-prod")),
                name: "theirs".to_owned(),
                subjects: vec![owner],
            },
        );
    }
    let known = snapshot.tenants.by_name.values().cloned();
    snapshot.tenants = Arc::new(Tenants::collect(known.chain(strangers.into_iter().map(Arc::new))));
    snapshot
}

fn outcome(snapshot: &Snapshot, ask: &Ask) -> Outcome {
    let body = ask.review().to_string();
    decide(snapshot, &parse(body.as_bytes()).unwrap(), &Moment::default())
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn other_tenants_change_nothing(ask in ask(), strangers in strangers()) {
        prop_assert_eq!(outcome(&cluster(), &ask), outcome(&joined(strangers), &ask));
    }

    #[test]
    fn a_decision_is_the_same_each_time_and_in_a_dry_run(ask in ask()) {
        let first = outcome(&cluster(), &ask);
        prop_assert_eq!(&outcome(&cluster(), &ask), &first);
        prop_assert_eq!(&outcome(&cluster(), &ask.dry()), &first);
    }

    #[test]
    fn nobody_but_the_operator_moves_a_namespace(
        user in prop_oneof![select(USERS.to_vec()).prop_map(str::to_owned), "\\PC{0,40}", Just(format!("{OPERATOR} "))],
        path in select(vec!["namespaces", "namespaces/status", "namespaces/finalize"]),
        (old, new) in (select(LABELS[..4].to_vec()), select(LABELS[..4].to_vec())),
    ) {
        let object = |labels: &str| format!("{{metadata: {{name: acme-prod, labels: {labels}}}}}");
        let ask = Ask::update(path, &object(old), &object(new)).by(&user);
        let Outcome::Decided(decision) = outcome(&cluster(), &ask) else { panic!("{ask:?}") };
        prop_assert_eq!(decision.allowed(), old == new || user == OPERATOR);
        let Outcome::Decided(decision) = outcome(&cluster(), &ask.by(OPERATOR)) else { panic!() };
        prop_assert!(decision.allowed());
    }

    #[test]
    fn to_be_exempt_one_is_named_exactly(
        user in prop_oneof![select(USERS.to_vec()).prop_map(str::to_owned), "\\PC{0,40}"],
        place in select(PLACES.to_vec()),
    ) {
        let pod = Ask::create("pods", "{metadata: {name: p, labels: {$T: nobody}}}").within(place).by(&user);
        let Outcome::Decided(decision) = outcome(&cluster(), &pod) else { panic!() };
        prop_assert!(!decision.allowed() || user == OPERATOR, "{user}");
        let managed = Ask::delete("networkpolicies", "{metadata: {name: p, labels: {$M: x}}}").within(place).by(&user);
        let Outcome::Decided(decision) = outcome(&cluster(), &managed) else { panic!() };
        prop_assert!(!decision.allowed() || user == OPERATOR, "{user}");
    }
}

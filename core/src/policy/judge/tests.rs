use std::sync::Arc;

use bailiwick_crds::v1alpha1::{Tenant, TenantPolicySpec};
use serde_json::json;

use super::super::content::Content;
use super::super::revision::StoredRevision;
use super::super::served::Policies;
use super::*;
use crate::decide::{Decision, Outcome, decide};
use crate::review::parse;
use crate::snapshot::Tenants;

fn revision(policy: &str, spec: &Value) -> Arc<Revision> {
    let spec: TenantPolicySpec = serde_json::from_value(spec.clone()).unwrap();
    let content = Content::of(&spec).unwrap();
    Arc::new(Revision::compile(StoredRevision::new(policy, "ada", content)).unwrap())
}

/// A spec for ConfigMaps of tenant acme that denies those with a key, and more of it.
fn refusing(key: &str, more: &Value) -> Value {
    let mut spec = json!({
        "tenants": ["acme"],
        "match": {"resources": [{"groups": [""], "kinds": ["ConfigMap"]}]},
        "rego": format!("package bailiwick\n\ndeny contains \"no {key}\" if input.request.object.data.{key}\n"),
        // A busy machine is no reason to fail.
        "limits": {"evaluationMilliseconds": 1000},
    });
    spec.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    spec
}

fn served(active: Option<Active>, candidate: Option<Candidate>) -> Served {
    Served {
        policy: "p".to_owned(),
        active,
        candidate,
        approved_by: BTreeMap::new(),
    }
}

fn loaded(spec: &Value) -> Served {
    served(Some(Active::Loaded(revision("p", spec))), None)
}

/// Tenants acme (tier: gold) with namespaces acme-0 to acme-9 and globex with globex-0.
fn cluster(policies: Vec<Served>) -> Snapshot {
    let tenant = |name: &str, tier: &str| {
        let tenant: Tenant = serde_json::from_value(json!({
            "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": name, "labels": {"tier": tier}}, "spec": {},
        }))
        .unwrap();
        Arc::new(tenant)
    };
    let tenants = Tenants::collect([tenant("acme", "gold"), tenant("globex", "tin")]);
    let policies = Policies::collect(policies.into_iter().map(Arc::new), &tenants);
    let mut snapshot = Snapshot {
        tenants: Arc::new(tenants),
        policies: Arc::new(policies),
        ..Snapshot::default()
    };
    let namespaces = (0..10).map(|i| (format!("acme-{i}"), "acme"));
    for (name, tenant) in namespaces.chain([("globex-0".to_owned(), "globex"), ("gone-0".to_owned(), "gone")])
    {
        let facts = NamespaceFacts {
            labels: [
                ("bailiwick.dev/tenant".to_owned(), tenant.to_owned()),
                ("bailiwick.dev/pod-label".to_owned(), "Verify".to_owned()),
                (
                    "stage".to_owned(),
                    if name.ends_with('0') { "prod" } else { "dev" }.to_owned(),
                ),
            ]
            .into(),
            annotations: [("note".to_owned(), name.clone())].into(),
            ..NamespaceFacts::default()
        };
        snapshot = snapshot.with_namespace(name, facts);
    }
    snapshot
}

fn review(namespace: &str, key: &str) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u", "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "resource": {"group": "", "version": "v1", "resource": "configmaps"},
            "name": "c", "namespace": namespace, "operation": "CREATE", "userInfo": {"username": "alice"},
            "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {key: "x"}},
        },
    })
}

fn at(snapshot: &Snapshot, review: &Value, moment: &Moment) -> Decision {
    match decide(snapshot, &parse(review.to_string().as_bytes()).unwrap(), moment) {
        Outcome::Decided(decision) => decision,
        Outcome::Needs(need) => panic!("{need:?}"),
    }
}

fn decided(snapshot: &Snapshot, review: &Value) -> Decision {
    at(snapshot, review, &Moment::default())
}

/// What each list of a decision holds.
fn lists(decision: &Decision) -> [usize; 4] {
    [
        &decision.findings,
        &decision.warnings,
        &decision.audited,
        &decision.excepted,
    ]
    .map(Vec::len)
}

#[test]
fn a_policy_judges_what_it_matches_and_nothing_else() {
    for (more, namespace, refused) in [
        (json!({}), "acme-0", true),
        (json!({}), "globex-0", false),
        (json!({"tenants": ["globex"]}), "acme-0", false),
        (json!({"tenants": null, "tenantSelector": {}}), "globex-0", true),
        (
            json!({"tenants": null, "tenantSelector": {"matchLabels": {"tier": "gold"}}}),
            "acme-0",
            true,
        ),
        (
            json!({"tenants": null, "tenantSelector": {"matchLabels": {"tier": "gold"}}}),
            "globex-0",
            false,
        ),
        (
            json!({"match": {"resources": [{"groups": ["apps"], "kinds": ["ConfigMap"]}]}}),
            "acme-0",
            false,
        ),
        (
            json!({"match": {"resources": [{"groups": [""], "kinds": ["Secret"]}]}}),
            "acme-0",
            false,
        ),
        (
            json!({"match": {"operations": ["DELETE"], "resources": [{"groups": [""], "kinds": ["ConfigMap"]}]}}),
            "acme-0",
            false,
        ),
        (
            json!({"match": {"resources": [{"groups": [""], "kinds": ["ConfigMap"]}], "namespaceSelector": {"matchLabels": {"stage": "prod"}}}}),
            "acme-0",
            true,
        ),
        (
            json!({"match": {"resources": [{"groups": [""], "kinds": ["ConfigMap"]}], "namespaceSelector": {"matchLabels": {"stage": "prod"}}}}),
            "acme-1",
            false,
        ),
    ] {
        let mut spec = refusing("a", &more);
        spec.as_object_mut().unwrap().retain(|_, it| !it.is_null());
        let snapshot = cluster(vec![loaded(&spec)]);
        assert_eq!(
            !decided(&snapshot, &review(namespace, "a")).allowed(),
            refused,
            "{more} {namespace}"
        );
        assert!(
            decided(&snapshot, &review(namespace, "b")).allowed(),
            "{more} {namespace}"
        );
    }
}

#[test]
fn the_enforcement_says_what_becomes_of_it_and_warn_never_refuses() {
    let warn = "package bailiwick\n\nwarn contains \"careful\" if input.request.object.data.a\n";
    for (more, expected) in [
        (json!({}), [1, 0, 0, 0]),
        (json!({"enforcement": "Warn"}), [0, 1, 0, 0]),
        (json!({"enforcement": "Audit"}), [0, 0, 1, 0]),
        (json!({"rego": warn}), [0, 1, 0, 0]),
        (json!({"rego": warn, "enforcement": "Audit"}), [0, 0, 1, 0]),
    ] {
        let decision = decided(
            &cluster(vec![loaded(&refusing("a", &more))]),
            &review("acme-0", "a"),
        );
        assert_eq!(lists(&decision), expected, "{more}");
    }
}

#[test]
fn an_exception_is_exact_and_ends() {
    let exception = |more: &Value| {
        let mut exception = json!({"name": "e", "namespaces": ["acme-0"], "until": "2026-01-01T00:00:00Z", "reason": "r", "owner": "o"});
        exception
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        cluster(vec![loaded(&refusing("a", &json!({"exceptions": [exception]})))])
    };
    let until = 1_767_225_600;
    for (more, namespace, now, excepted) in [
        (json!({}), "acme-0", until - 1, true),
        (json!({}), "acme-0", until, false),
        (json!({}), "acme-1", until - 1, false),
        (json!({"objects": ["c"]}), "acme-0", until - 1, true),
        (json!({"objects": ["d"]}), "acme-0", until - 1, false),
    ] {
        let moment = Moment {
            now,
            ..Moment::default()
        };
        let decision = at(&exception(&more), &review("acme-0", "a").clone(), &moment);
        let decision = if namespace == "acme-0" {
            decision
        } else {
            at(&exception(&more), &review(namespace, "a"), &moment)
        };
        assert_eq!(
            lists(&decision),
            if excepted { [0, 0, 0, 1] } else { [1, 0, 0, 0] },
            "{more} {namespace} {now}"
        );
    }
    // A name that is still to be generated is nobody's.
    let mut unnamed = review("acme-0", "a");
    unnamed["request"]["name"] = json!("");
    let moment = Moment {
        now: until - 1,
        ..Moment::default()
    };
    assert!(!at(&exception(&json!({"objects": ["c"]})), &unnamed, &moment).allowed());
}

#[test]
fn a_percent_of_the_namespaces_is_decided_by_the_candidate() {
    let (old, new) = (
        revision("p", &refusing("a", &json!({}))),
        revision("p", &refusing("b", &json!({}))),
    );
    let snapshot = cluster(vec![served(
        Some(Active::Loaded(old.clone())),
        Some(Candidate::Percent(new.clone(), 50)),
    )]);
    let mut shares = [0, 0];
    for i in 0..10 {
        let namespace = format!("acme-{i}");
        let decision = decided(&snapshot, &review(&namespace, "b"));
        let is_among = rollout::is_among("p", &namespace, 50);
        shares[usize::from(is_among)] += 1;
        assert_eq!(!decision.allowed(), is_among, "{namespace}");
        assert_eq!(
            decided(&snapshot, &review(&namespace, "a")).allowed(),
            is_among,
            "{namespace}"
        );
        let by = if is_among { new.name() } else { old.name() };
        assert_eq!(decision.ran[0].revision, by);
    }
    assert!(shares.iter().all(|it| *it > 0), "{shares:?}");
    // What is idle or shadowed decides nothing.
    for candidate in [
        Candidate::Idle(new.clone()),
        Candidate::Shadow(new.clone()),
        Candidate::Percent(new, 0),
    ] {
        let snapshot = cluster(vec![served(Some(Active::Loaded(old.clone())), Some(candidate))]);
        assert!(decided(&snapshot, &review("acme-0", "b")).allowed());
        assert!(!decided(&snapshot, &review("acme-0", "a")).allowed());
    }
}

#[test]
fn what_can_not_be_judged_is_refused_as_far_as_the_policy_refuses() {
    let failing =
        "package bailiwick\n\ndeny contains \"odd\" if to_number(input.request.object.data.a) > 1\n";
    let slow = "package bailiwick\n\ndeny contains \"x\" if { some i in numbers.range(1, 9000); some j in numbers.range(1, 9000); i * j < 0 }\n";
    for (rego, says, limit) in [
        (failing, "could not parse", 1000),
        (slow, "longer than its 5 ms", 5),
    ] {
        for (enforcement, expected) in [
            ("Deny", [1, 0, 0, 0]),
            ("Warn", [0, 1, 0, 0]),
            ("Audit", [0, 0, 1, 0]),
        ] {
            let more = json!({"rego": rego, "enforcement": enforcement, "limits": {"evaluationMilliseconds": limit}});
            let decision = decided(
                &cluster(vec![loaded(&refusing("a", &more))]),
                &review("acme-0", "a"),
            );
            assert_eq!(lists(&decision), expected, "{says} {enforcement}");
            let all = [decision.findings, decision.warnings, decision.audited].concat();
            assert_eq!(all[0].rule, RuleId::PolicyError);
            assert!(all[0].to_string().contains(says), "{}", all[0]);
            assert_eq!(decision.ran[0].timed_out, rego == slow);
        }
    }
}

#[test]
fn where_there_is_no_time_or_no_revision_the_request_is_to_be_tried_again() {
    let spec = refusing("a", &json!({}));
    let snapshot = cluster(vec![loaded(&spec)]);
    let late = Moment {
        budget: Duration::ZERO,
        ..Moment::default()
    };
    assert!(at(&snapshot, &review("acme-0", "b"), &late).is_retriable());

    let open = Moment {
        open_circuits: Arc::new([("acme".to_owned(), revision("p", &spec).name().to_owned())].into()),
        ..Moment::default()
    };
    let decision = at(&snapshot, &review("acme-0", "b"), &open);
    assert!(
        !decision.allowed() && !decision.is_retriable() && !decision.ran[0].evaluated,
        "{decision:?}"
    );

    let missing = |spec: &Value| Active::Missing {
        revision: "r".to_owned(),
        spec: Arc::new(serde_json::from_value(spec.clone()).unwrap()),
        reason: "why".to_owned(),
    };
    let snapshot = cluster(vec![served(Some(missing(&spec)), None)]);
    let decision = decided(&snapshot, &review("acme-0", "b"));
    assert!(
        decision.is_retriable() && decision.message().contains("revision r can't be loaded: why"),
        "{decision:?}"
    );
    // Whatever its spec does not rule out is refused, and with no spec everything.
    assert!(decided(&snapshot, &review("globex-0", "b")).allowed());
    let unreadable = cluster(vec![served(Some(missing(&json!({}))), None)]);
    assert!(decided(&unreadable, &review("globex-0", "b")).is_retriable());
    let other = json!({"tenants": ["acme"], "match": {"resources": [{"groups": [""], "kinds": ["Secret"]}]}});
    assert!(
        decided(
            &cluster(vec![served(Some(missing(&other)), None)]),
            &review("acme-0", "b")
        )
        .allowed()
    );
}

#[test]
fn a_tenant_that_nobody_knows_is_judged_by_all_that_may_be_for_it() {
    let by_label = json!({"tenants": null, "tenantSelector": {"matchLabels": {"tier": "gold"}}});
    let by_name = json!({"tenants": ["gone"]});
    let everybody = json!({"tenants": null, "tenantSelector": {}});
    for (more, refused) in [
        (by_label, true),
        (by_name, true),
        (everybody, true),
        (json!({"tenants": ["acme"]}), false),
    ] {
        let mut spec = refusing("a", &more);
        spec.as_object_mut().unwrap().retain(|_, it| !it.is_null());
        let snapshot = cluster(vec![loaded(&spec)]);
        assert_eq!(
            !decided(&snapshot, &review("gone-0", "a")).allowed(),
            refused,
            "{more}"
        );
        assert!(decided(&snapshot, &review("gone-0", "b")).allowed());
    }
}

#[test]
fn what_is_being_deleted_may_let_go_and_nothing_else() {
    let snapshot = cluster(vec![loaded(&json!({
        "tenants": ["acme"],
        "match": {"resources": [{"groups": [""], "kinds": ["ConfigMap"]}]},
        "rego": "package bailiwick\n\ndeny contains \"never\" if true\n",
    }))]);
    let object = |deleted: bool, finalizers: &Value, more: &Value| {
        let mut object = json!({"metadata": {"name": "c", "finalizers": finalizers, "resourceVersion": finalizers.to_string()}});
        if deleted {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        for (key, value) in more.as_object().unwrap() {
            object[key] = value.clone();
        }
        object
    };
    let (some, none, equal) = (json!(["f"]), json!([]), json!({"data": {"a": "x"}}));
    let labelled = |mut object: Value| {
        object["metadata"]["annotations"] = json!({"x": "y"});
        object
    };
    for (old, new, passes) in [
        (object(true, &some, &equal), object(true, &none, &equal), true),
        (
            object(true, &some, &equal),
            object(true, &json!(["g"]), &equal),
            false,
        ),
        (
            object(true, &some, &equal),
            object(true, &none, &json!({"data": {"a": "y"}})),
            false,
        ),
        (
            object(true, &some, &equal),
            object(true, &none, &json!({"data": {"a": "x"}, "rules": []})),
            false,
        ),
        (
            object(true, &some, &equal),
            labelled(object(true, &none, &equal)),
            false,
        ),
        (object(false, &some, &equal), object(false, &none, &equal), false),
        (object(false, &some, &equal), object(true, &none, &equal), false),
    ] {
        let mut update = review("acme-0", "a");
        update["request"]["operation"] = json!("UPDATE");
        update["request"]["oldObject"] = old.clone();
        update["request"]["object"] = new.clone();
        assert_eq!(decided(&snapshot, &update).allowed(), passes, "{old} {new}");
        // Nor by a subresource.
        update["request"]["subResource"] = json!("scale");
        assert!(!decided(&snapshot, &update).allowed());
    }
}

#[test]
fn a_candidate_is_compared_with_what_is_active() {
    use Difference::{Error, NewlyAllowed, NewlyDenied};

    let (a, b) = (
        revision("p", &refusing("a", &json!({}))),
        revision("p", &refusing("b", &json!({}))),
    );
    let failing = revision(
        "p",
        &refusing(
            "a",
            &json!({"rego": "package bailiwick\n\ndeny contains \"odd\" if to_number(input.request.object.data.c) > 1\n"}),
        ),
    );
    let softer = revision("p", &refusing("a", &json!({"enforcement": "Warn"})));
    let compared = |active: Option<&Arc<Revision>>, candidate: Candidate, namespace: &str, key: &str| {
        let active = active.map(|it| Active::Loaded(it.clone()));
        let snapshot = cluster(vec![served(active, Some(candidate))]);
        let body = review(namespace, key).to_string();
        let request = parse(body.as_bytes()).unwrap();
        let all = compare(&snapshot, &request, &Moment::default());
        assert_eq!(to_compare(&snapshot, &request).len(), all.len());
        all.into_iter()
            .map(|it| it.difference.map(|it| it.0))
            .collect::<Vec<_>>()
    };
    let shadow = |it: &Arc<Revision>| Candidate::Shadow(it.clone());
    assert_eq!(compared(Some(&a), shadow(&b), "acme-0", "b"), [Some(NewlyDenied)]);
    assert_eq!(
        compared(Some(&a), shadow(&b), "acme-0", "a"),
        [Some(NewlyAllowed)]
    );
    assert_eq!(compared(Some(&a), shadow(&b), "acme-0", "c"), [None]);
    assert_eq!(
        compared(Some(&a), shadow(&softer), "acme-0", "a"),
        [Some(NewlyAllowed)]
    );
    assert_eq!(
        compared(Some(&softer), shadow(&a), "acme-0", "a"),
        [Some(NewlyDenied)]
    );
    assert_eq!(compared(Some(&a), shadow(&failing), "acme-0", "c"), [Some(Error)]);
    assert_eq!(compared(None, shadow(&a), "acme-0", "a"), [Some(NewlyDenied)]);
    let among = (0..10)
        .map(|i| format!("acme-{i}"))
        .find(|it| rollout::is_among("p", it, 50))
        .unwrap();
    let apart = (0..10)
        .map(|i| format!("acme-{i}"))
        .find(|it| !rollout::is_among("p", it, 50))
        .unwrap();
    let percent = Candidate::Percent(b.clone(), 50);
    assert_eq!(
        compared(Some(&a), percent.clone(), &among, "b"),
        [Some(NewlyDenied)]
    );
    assert_eq!(compared(Some(&a), percent, &apart, "b"), []);
    assert_eq!(compared(Some(&a), Candidate::Idle(b), "acme-0", "b"), []);
}

/// Each tenant's policy tells all that it can see; requests of many tenants are judged at the same time, by the same
/// revision, and none hears of another.
#[test]
fn a_policy_sees_its_own_tenant_and_no_other() {
    const TENANTS: usize = 24;
    let tell = json!({
        "tenantSelector": {},
        "match": {"resources": [{"groups": [""], "kinds": ["ConfigMap"]}]},
        "limits": {"evaluationMilliseconds": 1000},
        "rego": "package bailiwick\n\ndeny contains json.marshal([input, data.bailiwick.tenant, data.bailiwick.namespace, data.parameters])\n",
        "parameters": {"p": "of-all"},
    });
    let own = |i: usize| {
        let spec = json!({
            "tenants": [format!("t{i:02}")],
            "match": {"resources": [{"groups": [""], "kinds": ["ConfigMap"]}]},
            "limits": {"evaluationMilliseconds": 1000},
            "rego": "package bailiwick\n\ndeny contains json.marshal([data.parameters, data.bailiwick.tenant])\n",
            "parameters": {"secret": format!("secret-of-t{i:02}")},
        });
        let policy = format!("own-{i:02}");
        let active = Some(Active::Loaded(revision(&policy, &spec)));
        Served {
            policy,
            active,
            candidate: None,
            approved_by: BTreeMap::new(),
        }
    };
    let tenants = Tenants::collect((0..TENANTS).map(|i| {
        let tenant: Tenant = serde_json::from_value(json!({
            "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": format!("t{i:02}"), "labels": {"l": format!("label-of-t{i:02}")}}, "spec": {},
        }))
        .unwrap();
        Arc::new(tenant)
    }));
    let all = (0..TENANTS).map(own).chain([loaded(&tell)]).map(Arc::new);
    let policies = Arc::new(Policies::collect(all, &tenants));
    let mut snapshot = Snapshot {
        tenants: Arc::new(tenants),
        policies,
        ..Snapshot::default()
    };
    for i in 0..TENANTS {
        let facts = NamespaceFacts {
            labels: [
                ("bailiwick.dev/tenant".to_owned(), format!("t{i:02}")),
                ("bailiwick.dev/pod-label".to_owned(), "Verify".to_owned()),
            ]
            .into(),
            annotations: [("note".to_owned(), format!("note-of-t{i:02}"))].into(),
            ..NamespaceFacts::default()
        };
        snapshot = snapshot.with_namespace(format!("ns-of-t{i:02}"), facts);
    }
    std::thread::scope(|scope| {
        for i in 0..TENANTS {
            let snapshot = &snapshot;
            let judge = move || {
                for round in 0..8 {
                    let mut review = review(&format!("ns-of-t{i:02}"), "a");
                    review["request"]["object"]["data"] =
                        json!({"a": format!("data-of-t{i:02}"), "n": round.to_string()});
                    let patient = Moment {
                        budget: Duration::from_mins(1),
                        ..Moment::default()
                    };
                    let decision = at(snapshot, &review, &patient);
                    assert_eq!(decision.findings.len(), 2, "its own and that of all");
                    let told = serde_json::to_string(&decision.findings).unwrap();
                    for j in 0..TENANTS {
                        assert_eq!(told.contains(&format!("of-t{j:02}")), i == j, "{told}");
                        assert_eq!(told.contains(&format!("own-{j:02}")), i == j, "{told}");
                    }
                    for part in ["ns", "label", "note", "data", "secret"] {
                        assert!(told.contains(&format!("{part}-of-t{i:02}")), "{part}: {told}");
                    }
                }
            };
            std::thread::Builder::new()
                .stack_size(crate::rego::STACK)
                .spawn_scoped(scope, judge)
                .unwrap();
        }
    });
}

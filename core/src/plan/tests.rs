use super::*;
use crate::identity;
use crate::ownership::Claim;
use crate::validate::{examine, validate};
use bailiwick_crds::v1alpha1::NamespaceOrigin;

fn valid(spec: &str) -> ValidTenant {
    let yaml = format!(
        "apiVersion: bailiwick.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: acme, uid: u}}\nspec: {spec}\n"
    );
    validate(&serde_saphyr::from_str(&yaml).unwrap(), &Config::default()).unwrap()
}

fn planned(spec: &str) -> NamespacePlan {
    let plan = plan(&valid(spec), [("ns", Stay::Declared)], &Config::default(), |_| {
        true
    });
    plan.namespaces["ns"].clone()
}

fn json(object: &Object) -> String {
    serde_json::to_string(&object.to_value()).unwrap()
}

fn find<'a>(objects: &'a [Object], name: &str) -> &'a Object {
    objects.iter().find(|it| it.name() == name).unwrap()
}

#[test]
fn a_name_alone_is_closed() {
    let ns = planned("{}");
    assert_eq!(ns.labels["bailiwick.dev/tenant"], "acme");
    assert_eq!(ns.labels["pod-security.kubernetes.io/enforce"], "baseline");
    assert!(ns.doors.is_empty());
    let deny = json(find(&ns.locks, "bailiwick-default-deny"));
    assert!(
        deny.contains(r#""ingress":[]"#) && deny.contains(r#""egress":[]"#),
        "{deny}"
    );
    assert!(deny.contains(r#""policyTypes":["Ingress","Egress"]"#), "{deny}");
    let allow = find(&ns.locks, "bailiwick-allow").to_value();
    assert_eq!(
        allow["spec"]["ingress"],
        serde_json::json!([{"from": [{"namespaceSelector": {"matchLabels": {"bailiwick.dev/tenant": "acme"}}}]}])
    );
    assert!(!json(find(&ns.locks, "bailiwick-allow")).contains("ipBlock"));
}

#[test]
fn every_peer_is_pinned() {
    let ns = planned(
        "{network: {ingress: {fromTenants: [b], fromNamespaces: [ingress]}, egress: {toTenants: [c], toCIDRs: ['192.0.2.0/24'], internet: true, dns: false}}}",
    );
    let allow = find(&ns.locks, "bailiwick-allow").to_value();
    let rules = [
        &allow["spec"]["ingress"][0]["from"],
        &allow["spec"]["egress"][0]["to"],
    ];
    for peer in rules.iter().flat_map(|it| it.as_array().unwrap()) {
        let labels = &peer["namespaceSelector"]["matchLabels"];
        let pinned =
            labels["bailiwick.dev/tenant"].is_string() || labels["kubernetes.io/metadata.name"].is_string();
        assert!(pinned || peer["ipBlock"]["cidr"].is_string(), "{peer}");
    }
    assert_eq!(
        allow["spec"]["egress"].as_array().unwrap().len(),
        1,
        "no DNS rule"
    );
}

#[test]
fn roles_are_bound_by_selector_and_merged() {
    let spec = "
      owners: [{kind: Group, name: admins}, {kind: ServiceAccount, name: d, namespace: ci}]
      access:
        - {clusterRole: bailiwick-admin, subjects: [{kind: User, name: al}]}
        - {clusterRole: view, subjects: [{kind: Group, name: audit}], namespaceSelector: {matchLabels: {stage: prod}}}
      namespaces: {declared: [{name: prod, labels: {stage: prod}}, {name: dev}]}";
    let tenant = valid(&format!("\n{spec}"));
    let plan = plan(
        &tenant,
        [("prod", Stay::Declared), ("dev", Stay::Declared)],
        &Config::default(),
        |_| true,
    );
    let names = |ns: &str| {
        plan.namespaces[ns]
            .doors
            .iter()
            .map(|it| it.name().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("prod"), ["bailiwick:bailiwick-admin", "bailiwick:view"]);
    assert_eq!(names("dev"), ["bailiwick:bailiwick-admin"]);
    let subjects = &plan.namespaces["dev"].doors[0].to_value()["subjects"];
    assert_eq!(subjects.as_array().unwrap().len(), 3);
}

#[test]
fn a_subject_that_two_tenants_claim_is_not_bound() {
    let tenant = valid("{owners: [{kind: User, name: a}, {kind: User, name: b}]}");
    let plan = plan(&tenant, [("ns", Stay::Declared)], &Config::default(), |it| {
        it != Subject::User("a")
    });
    let doors = json(&plan.namespaces["ns"].doors[0]);
    assert!(
        doors.contains(r#""name":"b""#) && !doors.contains(r#""name":"a""#),
        "{doors}"
    );
}

#[test]
fn a_retained_namespace_keeps_its_locks_and_loses_its_doors() {
    let tenant = valid("{owners: [{kind: User, name: a}], quota: {namespace: {pods: 1}}}");
    let plan = plan(&tenant, [("ns", Stay::Retained)], &Config::default(), |_| true);
    assert!(plan.namespaces["ns"].doors.is_empty());
    assert_eq!(plan.namespaces["ns"].locks.len(), 3);
}

#[test]
fn a_quota_that_nobody_knows_is_held() {
    let mut tenant = valid("{quota: {namespace: {pods: 1}}}");
    let planned = |tenant: &ValidTenant| plan(tenant, [("ns", Stay::Declared)], &Config::default(), |_| true);
    let known = planned(&tenant);
    assert!(known.held.is_empty());
    assert_eq!(known.namespaces["ns"].locks.len(), 3);
    tenant.quota = None;
    let unknown = planned(&tenant);
    assert_eq!(
        unknown.held,
        BTreeSet::from([Kind::ResourceQuota, Kind::LimitRange])
    );
    assert_eq!(unknown.namespaces["ns"].locks.len(), 2);
}

#[test]
fn an_invalid_tenant_keeps_what_it_has_and_takes_nothing_new() {
    let claims = BTreeMap::from(
        [
            ("kept", Claim::Keep(NamespaceOrigin::Declared)),
            ("kube-kept", Claim::Keep(NamespaceOrigin::Declared)),
            ("kube-system", Claim::Keep(NamespaceOrigin::Adopted)),
            ("new", Claim::Create),
            ("found", Claim::Adopt),
            ("left", Claim::Retain),
            ("going", Claim::Release),
            ("other", Claim::NotOwned),
        ]
        .map(|(name, claim)| (name.to_owned(), claim)),
    );
    let stays_of = |declared: &str| {
        let yaml = format!(
            "apiVersion: bailiwick.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: acme}}\nspec: {{namespaces: {{declared: [{declared}]}}}}\nstatus: {{namespaces: [{{name: kube-kept, uid: u, origin: Declared}}]}}"
        );
        let tenant = serde_saphyr::from_str(&yaml).unwrap();
        let stays = stays(&tenant, &examine(&tenant, &Config::default()), &claims);
        let text = stays
            .into_iter()
            .map(|(name, stay)| (name.to_owned(), stay == Stay::Declared));
        text.collect::<Vec<_>>()
    };
    let is = |name: &str, declared| (name.to_owned(), declared);
    let retained = [is("going", false), is("left", false)];
    let [going, left] = retained.clone();
    assert_eq!(
        stays_of("{name: kept}, {name: kube-kept}, {name: kube-system}"),
        [
            going.clone(),
            is("kept", true),
            is("kube-kept", false),
            left.clone()
        ]
    );
    let valid = stays_of("{name: kept}, {name: new}, {name: found}");
    assert_eq!(
        valid,
        [
            is("found", true),
            going,
            is("kept", true),
            is("kube-kept", false),
            left,
            is("new", true)
        ]
    );
}

#[test]
fn limits_are_defaulted_as_the_api_server_does() {
    let ns = planned(
        "{quota: {limits: [{type: Container, max: {cpu: '2', memory: 1Gi}, min: {ephemeral-storage: 1Mi}, default: {cpu: '1'}}]}}",
    );
    let item = &find(&ns.locks, "bailiwick").to_value()["spec"]["limits"][0];
    assert_eq!(item["default"], serde_json::json!({"cpu": "1", "memory": "1Gi"}));
    assert_eq!(
        item["defaultRequest"],
        serde_json::json!({"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Mi"})
    );
}

#[test]
fn the_plan_compared_with_itself_has_no_difference() {
    let ns = planned(
        "{owners: [{kind: User, name: a}], quota: {namespace: {pods: 1}, limits: [{type: Pod, max: {cpu: 1}}]}}",
    );
    for object in ns.locks.iter().chain(&ns.doors) {
        assert_eq!(
            diff::object(object.kind(), &object.to_value(), &object.to_value()),
            Vec::<String>::new()
        );
    }
}

/// Calls `visit` with a copy of `value` for every way to change one leaf or to add one member.
fn mutations(value: &Value, visit: &mut dyn FnMut(Value)) {
    match value {
        Value::Object(members) => {
            let mut grown = members.clone();
            grown.insert("x-foreign".to_owned(), Value::from("x"));
            visit(Value::Object(grown));
            for (key, child) in members {
                // The API server itself stores an empty list as none.
                if !child.as_array().is_some_and(Vec::is_empty) {
                    let mut without = members.clone();
                    without.remove(key);
                    visit(Value::Object(without));
                }
                mutations(child, &mut |changed| {
                    let mut copy = members.clone();
                    copy.insert(key.clone(), changed);
                    visit(Value::Object(copy));
                });
            }
        }
        Value::Array(items) => {
            let mut grown = items.clone();
            grown.push(Value::from("x"));
            visit(Value::Array(grown));
            for (i, child) in items.iter().enumerate() {
                mutations(child, &mut |changed| {
                    let mut copy = items.clone();
                    copy[i] = changed;
                    visit(Value::Array(copy));
                });
            }
        }
        Value::String(text) => visit(Value::from(format!("{text}x"))),
        Value::Number(_) => visit(Value::from(7)),
        Value::Bool(it) => visit(Value::from(!it)),
        Value::Null => {}
    }
}

#[test]
fn every_changed_leaf_of_every_object_is_a_difference() {
    let ns = planned(
        "{owners: [{kind: User, name: a}], quota: {namespace: {pods: 1}, limits: [{type: Container, max: {cpu: 1}}]}, network: {egress: {internet: true}}}",
    );
    let mut count = 0;
    for object in ns.locks.iter().chain(&ns.doors) {
        let value = object.to_value();
        for part in ["spec", "roleRef", "subjects"] {
            let Some(child) = value.get(part) else { continue };
            mutations(child, &mut |changed| {
                let mut copy = value.clone();
                copy[part] = changed;
                assert!(!diff::object(object.kind(), &value, &copy).is_empty(), "{copy}");
                count += 1;
            });
        }
        for part in ["labels", "annotations"] {
            mutations(&value["metadata"][part], &mut |changed| {
                let mut copy = value.clone();
                copy["metadata"][part] = changed;
                assert!(!diff::object(object.kind(), &value, &copy).is_empty(), "{copy}");
                count += 1;
            });
        }
        for (part, foreign) in [("finalizers", "x"), ("ownerReferences", "x")] {
            let mut copy = value.clone();
            copy["metadata"][part] = serde_json::json!([foreign]);
            assert_eq!(
                diff::object(object.kind(), &value, &copy),
                [format!("metadata.{part}")]
            );
        }
    }
    assert!(count > 100, "{count} mutations");
}

#[test]
fn quantities_are_compared_by_value() {
    let ns = planned("{quota: {namespace: {requests.cpu: 1000m, requests.memory: 1024Mi}}}");
    let quota = find(&ns.locks, "bailiwick");
    let mut stored = quota.to_value();
    stored["spec"]["hard"] = serde_json::json!({"requests.cpu": "1", "requests.memory": "1Gi"});
    stored["status"] = serde_json::json!({"used": {}});
    assert_eq!(
        diff::object(Kind::ResourceQuota, &quota.to_value(), &stored),
        Vec::<String>::new()
    );
}

#[test]
fn a_namespace_may_carry_foreign_labels_but_no_guarded_ones() {
    let ns = planned("{}");
    let mut facts = crate::ownership::NamespaceFacts {
        labels: ns.labels.clone(),
        ..Default::default()
    };
    facts.labels.insert("team".to_owned(), "x".to_owned());
    assert!(diff::namespace(&ns, &facts).is_empty());
    facts.labels.insert(
        "resource.kubernetes.io/admin-access".to_owned(),
        "true".to_owned(),
    );
    facts.labels.insert(
        "pod-security.kubernetes.io/enforce".to_owned(),
        "privileged".to_owned(),
    );
    facts.owner_references = true;
    assert_eq!(
        diff::namespace(&ns, &facts).paths(),
        [
            "metadata.labels['pod-security.kubernetes.io/enforce']",
            "metadata.labels['resource.kubernetes.io/admin-access']",
            "metadata.ownerReferences"
        ]
    );
}

#[test]
fn an_empty_list_is_stored_as_none() {
    let ns = planned("{}");
    let deny = find(&ns.locks, "bailiwick-default-deny");
    let mut stored = deny.to_value();
    stored["spec"]
        .as_object_mut()
        .unwrap()
        .retain(|key, _| key != "ingress" && key != "egress");
    assert_eq!(
        diff::object(Kind::NetworkPolicy, &deny.to_value(), &stored),
        Vec::<String>::new()
    );
    stored["spec"]["ingress"] = serde_json::json!([{}]);
    assert_eq!(
        diff::object(Kind::NetworkPolicy, &deny.to_value(), &stored),
        ["spec.ingress"]
    );
    stored["spec"].as_object_mut().unwrap().remove("ingress");
    stored["spec"].as_object_mut().unwrap().remove("podSelector");
    assert_eq!(
        diff::object(Kind::NetworkPolicy, &deny.to_value(), &stored),
        ["spec.podSelector"]
    );
}

const SERVING: &str = "owners: [{kind: User, name: alice}, {kind: User, name: both}], network: {egress: {internet: true}}, quota: {namespace: {pods: 5}, limits: [{type: Pod, max: {cpu: 1}}]}, namespaces: {selfService: {prefix: acme-, max: 3";

/// One namespace as it stands, where nobody knows whose `both` is.
fn stays_as(stay: Stay, spec: &str) -> NamespacePlan {
    let is_bindable = |it: identity::Subject<'_>| it.name().1 != "both";
    let plan = plan(&valid(spec), [("acme-x", stay)], &Config::default(), is_bindable);
    plan.namespaces["acme-x"].clone()
}

fn names(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(Object::name).collect()
}

#[test]
fn what_an_owner_made_is_isolated_as_what_is_declared_and_the_owners_may_delete_it() {
    let spec = format!("{{{SERVING}}}}}}}");
    let (declared, made) = (
        stays_as(Stay::Declared, &spec),
        stays_as(Stay::SelfService, &spec),
    );
    assert_eq!((&made.labels, &made.locks), (&declared.labels, &declared.locks));
    assert_eq!(names(&declared.doors), ["bailiwick:bailiwick-admin"]);
    let deleter = "bailiwick:bailiwick-namespace-deleter";
    assert_eq!(names(&made.doors), ["bailiwick:bailiwick-admin", deleter]);
    for door in &made.doors {
        let subjects = door.to_value()["subjects"].clone();
        assert_eq!(subjects.as_array().unwrap().len(), 1, "{subjects}");
        assert_eq!(subjects[0]["name"], "alice");
    }
    // Metadata may be set where there is any that may be.
    for list in ["labels", "annotations"] {
        let made = stays_as(Stay::SelfService, &format!("{{{SERVING}, {list}: [team]}}}}}}"));
        let metadata = "bailiwick:bailiwick-namespace-metadata";
        assert_eq!(
            names(&made.doors),
            ["bailiwick:bailiwick-admin", deleter, metadata]
        );
    }
    // A suspended tenant deletes nothing.
    let made = stays_as(Stay::SelfService, &format!("{{{SERVING}}}}}, suspended: true}}"));
    assert_eq!(names(&made.doors), ["bailiwick:bailiwick-admin"]);
}

#[test]
fn what_waits_is_closed_to_everything() {
    let spec = format!("{{{SERVING}}}}}}}");
    let (waiting, taken) = (stays_as(Stay::Waiting, &spec), stays_as(Stay::SelfService, &spec));
    assert!(waiting.doors.is_empty());
    assert_eq!(names(&waiting.locks), ["bailiwick-default-deny", "bailiwick"]);
    assert_eq!(waiting.locks[0], taken.locks[0]);
    let hard = waiting.locks[1].to_value()["spec"]["hard"].clone();
    assert_eq!(hard["pods"], "0");
    assert!(hard.as_object().unwrap().values().all(|it| it == "0"), "{hard}");
    // All labels but the one that says that it is taken.
    let mut labels = taken.labels;
    assert!(labels.remove("bailiwick.dev/pod-label").is_some());
    assert_eq!(waiting.labels, labels);
}

#[test]
fn what_owners_made_waits_while_the_tenant_is_invalid() {
    let claims = BTreeMap::from(
        [
            ("acme-new", Claim::Take),
            ("acme-kept", Claim::Keep(NamespaceOrigin::SelfService)),
            ("acme-many", Claim::Wait(crate::ownership::Hindrance::Maximum(2))),
            ("acme-ending", Claim::Ending),
            (
                "gone",
                Claim::HandOver {
                    to: "globex".to_owned(),
                },
            ),
        ]
        .map(|(name, claim)| (name.to_owned(), claim)),
    );
    for (owner, new) in [("alice", Stay::SelfService), ("system:admin", Stay::Waiting)] {
        let yaml = format!(
            "apiVersion: bailiwick.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: acme}}\nspec: {{owners: [{{kind: User, name: '{owner}'}}]}}"
        );
        let tenant = serde_saphyr::from_str(&yaml).unwrap();
        let stays = stays(&tenant, &examine(&tenant, &Config::default()), &claims);
        let expected = BTreeMap::from([
            ("acme-kept", Stay::SelfService),
            ("acme-many", Stay::Waiting),
            ("acme-new", new),
            ("gone", Stay::Retained),
        ]);
        assert_eq!(stays, expected, "{owner}");
    }
}

#[test]
fn creators_are_owners_whose_tenant_lets_them_and_nobody_twice() {
    use crate::snapshot::{Snapshot, Tenants};
    let snapshot = |specs: &[(&str, &str)]| {
        let tenants = specs.iter().map(|(name, spec)| {
            let yaml = format!(
                "apiVersion: bailiwick.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\nspec: {spec}\n"
            );
            std::sync::Arc::new(serde_saphyr::from_str(&yaml).unwrap())
        });
        Snapshot {
            tenants: std::sync::Arc::new(Tenants::collect(tenants)),
            ..Snapshot::default()
        }
    };
    let names = |specs: &[(&str, &str)]| -> Vec<String> {
        let creators = creators::creators(&snapshot(specs));
        creators.into_iter().map(|it| it.name).collect()
    };
    let serves = "namespaces: {selfService: {prefix: a-, max: 1}}";
    let owned = "owners: [{kind: User, name: alice}, {kind: Group, name: admins}, {kind: ServiceAccount, name: ci, namespace: plain}]";
    let all = format!("{{{owned}, identities: {{users: [dev]}}, {serves}}}");
    assert_eq!(names(&[("a", &all)]), ["alice", "admins", "ci"]);
    assert_eq!(
        names(&[("a", &all), ("b", "{identities: {groups: [adm*]}}")]),
        ["alice", "ci"]
    );
    for none in [
        format!("{{{owned}}}"),
        format!("{{{owned}, {serves}, suspended: true}}"),
        format!("{{{owned}, namespaces: {{selfService: {{prefix: A, max: 1}}}}}}"),
    ] {
        assert_eq!(names(&[("a", &none)]), [""; 0], "{none}");
    }
    let bound = creators::binding(&creators::creators(&snapshot(&[("a", &all)]))).unwrap();
    assert_eq!(bound.role_ref.name, "bailiwick-namespace-creator");
    assert_eq!(creators::difference(&bound, &bound), [""; 0]);
    assert_eq!(creators::binding(&BTreeSet::new()), None);
    let mut other = bound.clone();
    other.subjects = None;
    other.role_ref.name = "cluster-admin".to_owned();
    other.metadata.labels = None;
    assert_eq!(
        creators::difference(&bound, &other),
        ["metadata.labels", "roleRef", "subjects"]
    );
}

#[test]
fn what_is_being_deleted_keeps_its_doors_as_long_as_the_tenant_is_there() {
    let tenant = |deleted: &str| -> bailiwick_crds::v1alpha1::Tenant {
        let yaml = format!(
            "apiVersion: bailiwick.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: acme{deleted}}}\nspec: {{owners: [{{kind: User, name: alice}}], suspended: true}}\nstatus: {{namespaces: [{{name: acme-old, uid: u, origin: SelfService}}, {{name: acme-prod, uid: v, origin: Declared}}]}}"
        );
        serde_saphyr::from_str(&yaml).unwrap()
    };
    let claims = [
        ("acme-old", Claim::Ending),
        ("acme-prod", Claim::Terminating),
        ("strange", Claim::Terminating),
    ];
    let claims = BTreeMap::from(claims.map(|(name, claim)| (name.to_owned(), claim)));
    for (deleted, stay) in [
        ("", Stay::Ending),
        (", deletionTimestamp: '2026-01-01T00:00:00Z'", Stay::Shut),
    ] {
        let tenant = tenant(deleted);
        let examined = examine(&tenant, &Config::default());
        let stays = stays(&tenant, &examined, &claims);
        // What is not on record may be the platform's.
        assert_eq!(stays, BTreeMap::from([("acme-old", stay), ("acme-prod", stay)]));
        let mut sound = examined.sound;
        for suspended in [true, false] {
            sound.suspended = suspended;
            let plan = plan(&sound, stays.clone(), &Config::default(), |_| true);
            assert!(plan.namespaces.is_empty());
            let old = &plan.ending["acme-old"];
            assert_eq!(old.labels.contains_key("bailiwick.dev/suspended"), suspended);
            assert!(old.locks.is_empty(), "nothing can be made in it");
            let doors: Vec<&str> = old.doors.iter().map(Object::name).collect();
            let expected: &[&str] = match (stay, suspended) {
                (Stay::Shut, _) => &[],
                (_, true) => &["bailiwick:bailiwick-admin"],
                (_, false) => &[
                    "bailiwick:bailiwick-admin",
                    "bailiwick:bailiwick-namespace-deleter",
                ],
            };
            assert_eq!(doors, expected, "{stay:?}, suspended: {suspended}");
        }
    }
}

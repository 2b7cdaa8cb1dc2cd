//! Where Pods run and data lies.

use std::sync::Arc;

use bailiwick_core::config::Config;
use bailiwick_core::placement::{ClassFacts, Placed, VolumeFacts, fill};
use bailiwick_core::snapshot::{Need, Snapshot};
use serde_json::{Value, json};

use crate::cluster::{Ask, OPERATOR, PASS, check_in, cluster, outcome, warnings, with_spec, yaml};

const BINDER: &str = "system:serviceaccount:kube-system:persistent-volume-binder";
const ONE: &str = "regions: [eu-1], nodeSelector: {pool: acme}, tolerations: [{key: pool, value: acme}], \
    exceptions: [{reason: they are everywhere, storageClasses: [nfs], namespaces: [acme-dev], csiDrivers: [secrets.example.com]}]";
/// Without exceptions, which no toleration has.
const TOLERATING: &str =
    "regions: [eu-1], nodeSelector: {pool: acme}, tolerations: [{key: pool, value: acme}]";
const TWO: &str = "regions: [eu-1, eu-2]";
const REGION: &str = "spec.nodeSelector['topology.kubernetes.io/region']";
const TERM: &str =
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";

/// acme with this placement, in a cluster that knows the zones of a region.
fn placed(placement: &str) -> Snapshot {
    let declared = "declared: [{name: acme-prod}, {name: acme-dev}]";
    let spec = format!(
        "{{owners: [{{kind: User, name: alice}}], namespaces: {{{declared}}}, workloads: {{tolerations: []}}, placement: {{{placement}}}}}"
    );
    let mut snapshot = with_spec(&cluster(), "acme", &spec);
    let mut config = (*snapshot.config).clone();
    config.topology = Config::from_yaml("topology: {zones: {eu-1: [eu-1a, eu-1b]}}")
        .unwrap()
        .topology;
    snapshot.config = Arc::new(config);
    snapshot
}

fn with_classes(snapshot: Snapshot) -> Snapshot {
    let class = |waits_for_consumer, zones: &[&str]| ClassFacts {
        waits_for_consumer,
        topologies: zones
            .iter()
            .map(|it| term("topology.kubernetes.io/zone", it))
            .collect(),
    };
    let classes = [
        ("with-pod", class(true, &[])),
        ("with-pod-there", class(true, &["us-1a"])),
        ("at-once", class(false, &[])),
        ("at-once-here", class(false, &["eu-1a"])),
        ("at-once-there", class(false, &["us-1a"])),
        ("nfs", class(false, &[])),
    ];
    let classes = classes.map(|(name, it)| (name.to_owned(), it));
    Snapshot {
        storage_classes: Arc::new(classes.into()),
        ..snapshot
    }
}

fn term(key: &str, value: &str) -> bailiwick_core::placement::Term {
    serde_json::from_value(json!({"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]}))
        .unwrap()
}

fn volume(class: &str, zones: &[&str]) -> VolumeFacts {
    VolumeFacts {
        storage_class: class.to_owned(),
        terms: zones
            .iter()
            .map(|it| term("topology.kubernetes.io/zone", it))
            .collect(),
    }
}

fn object(spec: &str) -> String {
    format!("{{metadata: {{name: own, labels: {{$T: acme}}}}, spec: {spec}}}")
}

/// The creation of a Pod has this outcome; what is not acme's, or is excepted, passes.
#[track_caller]
fn pod(placement: &str, spec: &str, expected: &str) {
    let snapshot = placed(placement);
    let ask = Ask::create("pods", &object(spec));
    check_in(&snapshot, &ask.clone().within("acme-prod"), expected);
    check_in(&snapshot, &ask.clone().within("acme-prod").by("alice"), expected);
    check_in(&snapshot, &ask.clone().within("acme-prod").by(OPERATOR), PASS);
    let same = Ask::update("pods", &object(spec), &object(spec)).within("acme-prod");
    check_in(&snapshot, &same, PASS);
    let elsewhere = format!("{{metadata: {{name: own}}, spec: {spec}}}");
    check_in(&snapshot, &Ask::create("pods", &elsewhere).within("shop"), PASS);
    if placement == ONE {
        check_in(&snapshot, &ask.within("acme-dev"), PASS);
    }
}

fn affinity(terms: &str) -> String {
    format!(
        "affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: {terms}}}}}}}"
    )
}

/// Expressions of a term.
fn one_of(key: &str, values: &str) -> String {
    format!("{{matchExpressions: [{{key: {key}, operator: In, values: [{values}]}}]}}")
}

#[test]
fn a_pod_is_held_to_its_region_and_its_nodes() {
    let here = "pool: acme, topology.kubernetes.io/region: eu-1";
    for (selector, expected) in [
        (here, PASS),
        ("pool: acme, topology.kubernetes.io/zone: eu-1b", PASS),
        (
            "topology.kubernetes.io/region: eu-1",
            "BW-POD-PLACEMENT spec.nodeSelector['pool']",
        ),
        (
            "pool: globex, topology.kubernetes.io/region: eu-1",
            "BW-POD-PLACEMENT spec.nodeSelector['pool']",
        ),
        ("pool: acme", "BW-POD-PLACEMENT spec.nodeSelector"),
        (
            "pool: acme, topology.kubernetes.io/region: eu-2",
            &format!("BW-POD-PLACEMENT {REGION}"),
        ),
        (
            "pool: acme, topology.kubernetes.io/region: eu-1, topology.kubernetes.io/zone: us-1a",
            "BW-POD-PLACEMENT spec.nodeSelector['topology.kubernetes.io/zone']",
        ),
        (
            "pool: globex, topology.kubernetes.io/region: us-1",
            &format!("BW-POD-PLACEMENT spec.nodeSelector['pool']; BW-POD-PLACEMENT {REGION}"),
        ),
    ] {
        pod(ONE, &format!("{{nodeSelector: {{{selector}}}}}"), expected);
    }
    pod(
        ONE,
        "{}",
        "BW-POD-PLACEMENT spec.nodeSelector['pool']; BW-POD-PLACEMENT spec.nodeSelector",
    );
    pod("nodeSelector: {pool: acme}", "{nodeSelector: {pool: acme}}", PASS);
    pod(
        "nodeSelector: {pool: acme}",
        "{}",
        "BW-POD-PLACEMENT spec.nodeSelector['pool']",
    );
    pod("tolerations: [{key: pool}]", "{}", PASS);
}

#[test]
fn each_term_of_the_affinity_is_held_to_the_regions() {
    let of_term = |i: usize| format!("BW-POD-PLACEMENT {TERM}[{i}]");
    let here = one_of("topology.kubernetes.io/region", "eu-1, eu-2");
    let zone = one_of("topology.kubernetes.io/zone", "eu-1a");
    let there = one_of("topology.kubernetes.io/region", "us-1");
    let either = one_of("topology.kubernetes.io/region", "eu-1, us-1");
    let disk = one_of("disk", "ssd");
    for (terms, expected) in [
        (format!("[{here}]"), String::new()),
        (format!("[{here}, {zone}]"), String::new()),
        (format!("[{here}, {{}}]"), String::new()),
        (format!("[{there}]"), of_term(0)),
        (format!("[{here}, {there}]"), of_term(1)),
        (format!("[{either}]"), of_term(0)),
        (
            format!("[{disk}, {here}, {there}]"),
            format!("{}; {}", of_term(0), of_term(2)),
        ),
        ("[]".to_owned(), "BW-POD-PLACEMENT spec.nodeSelector".to_owned()),
    ] {
        pod(TWO, &format!("{{{}}}", affinity(&terms)), &expected);
    }
    // What is only preferred proves nothing.
    let preferred = "{affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: $X}]}}}";
    pod(
        TWO,
        &preferred.replace("$X", &here),
        "BW-POD-PLACEMENT spec.nodeSelector",
    );
    // The node selector holds for each term, unless no term is left.
    let selected = |terms: &str| {
        format!(
            "{{nodeSelector: {{topology.kubernetes.io/region: eu-1}}, {}}}",
            affinity(terms)
        )
    };
    pod(TWO, &selected(&format!("[{disk}]")), PASS);
    pod(TWO, &selected(&format!("[{there}, {disk}]")), PASS);
    pod(TWO, &selected(&format!("[{there}]")), &of_term(0));
}

#[test]
fn tolerations_of_the_placement_are_allowed() {
    let spec = |toleration: &str| {
        format!(
            "{{nodeSelector: {{pool: acme, topology.kubernetes.io/region: eu-1}}, tolerations: [{toleration}]}}"
        )
    };
    pod(TOLERATING, &spec("{key: pool, value: acme}"), PASS);
    pod(
        TOLERATING,
        &spec("{key: pool, operator: Exists}"),
        "BW-POD-TOLERATION spec.tolerations[0]",
    );
    pod(
        TOLERATING,
        &spec("{key: other, value: acme}"),
        "BW-POD-TOLERATION spec.tolerations[0]",
    );
}

#[test]
fn volumes_of_a_pod_are_those_whose_place_is_known() {
    let spec = |volume: &str| {
        format!(
            "{{nodeSelector: {{pool: acme, topology.kubernetes.io/region: eu-1}}, volumes: [{{name: v, {volume}}}]}}"
        )
    };
    for (volume, kind) in [
        ("nfs: {server: s, path: /}", "nfs"),
        ("iscsi: {targetPortal: p}", "iscsi"),
        ("cephfs: {monitors: [m]}", "cephfs"),
        ("future: {}", "future"),
        ("csi: {driver: smb.csi.k8s.io}", "csi"),
        ("csi: {}", "csi"),
    ] {
        pod(
            ONE,
            &spec(volume),
            &format!("BW-VOLUME-REGION spec.volumes[0].{kind}"),
        );
        pod("nodeSelector: {pool: acme}", &spec(volume), PASS);
    }
    for volume in [
        "emptyDir: {}",
        "configMap: {name: c}",
        "secret: {secretName: s}",
        "projected: {sources: []}",
        "downwardAPI: {}",
        "persistentVolumeClaim: {claimName: c}",
        "csi: {driver: secrets.example.com}",
    ] {
        pod(ONE, &spec(volume), PASS);
    }
}

#[test]
fn a_template_may_leave_open_what_is_filled_in() {
    let template = |path: &str, spec: &str| {
        Ask::create(
            path,
            &format!("{{metadata: {{name: web}}, spec: {{template: {{spec: {spec}}}}}}}"),
        )
        .within("acme-prod")
    };
    let told = |snapshot: &Snapshot, ask: &Ask| -> Vec<String> {
        check_in(snapshot, ask, PASS);
        let warnings = warnings(snapshot, ask);
        warnings
            .iter()
            .map(|it| it.split(": ").take(2).collect::<Vec<_>>().join(" "))
            .collect()
    };
    let there = "{nodeSelector: {topology.kubernetes.io/region: us-1, pool: acme}}";
    let outside = [format!("BW-POD-PLACEMENT spec.template.{REGION}")];
    for path in ["deployments", "statefulsets", "replicasets"] {
        assert!(told(&placed(ONE), &template(path, "{}")).is_empty());
        assert_eq!(told(&placed(ONE), &template(path, there)), outside);
        // Where nothing is filled in, the template has to say all of it.
        let mut snapshot = placed(ONE);
        Arc::make_mut(&mut snapshot.config).pod_label_stamping = false;
        assert_eq!(told(&snapshot, &template(path, "{}")).len(), 2);
    }
    let open = one_of("disk", "ssd");
    assert!(
        told(
            &placed(TWO),
            &template("deployments", &format!("{{{}}}", affinity(&format!("[{open}]"))))
        )
        .is_empty()
    );
    // A DaemonSet's controller chooses nodes by the template, before a Pod is filled in.
    assert_eq!(told(&placed(ONE), &template("daemonsets", "{}")).len(), 2);
    let here = "{nodeSelector: {topology.kubernetes.io/region: eu-1, pool: acme}}";
    assert!(told(&placed(ONE), &template("daemonsets", here)).is_empty());
}

#[test]
fn a_claim_names_a_class_whose_volumes_can_lie_within() {
    let snapshot = with_classes(placed(ONE));
    for (class, passes) in [
        ("with-pod", true),
        ("with-pod-there", false),
        ("at-once", false),
        ("at-once-here", true),
        ("at-once-there", false),
        ("nfs", true),
        // Nothing is made of a class that isn't there.
        ("absent", true),
        ("''", true),
    ] {
        let claim = object(&format!("{{storageClassName: {class}}}"));
        let expected = if passes {
            PASS
        } else {
            "BW-VOLUME-REGION spec.storageClassName"
        };
        let ask = Ask::create("persistentvolumeclaims", &claim);
        check_in(&snapshot, &ask.clone().within("acme-prod"), expected);
        check_in(&snapshot, &ask.clone().within("acme-dev"), PASS);
        check_in(
            &with_classes(placed("nodeSelector: {pool: acme}")),
            &ask.within("acme-prod"),
            PASS,
        );
        let annotated = format!(
            "{{metadata: {{name: own, labels: {{$T: acme}}, annotations: {{volume.beta.kubernetes.io/storage-class: {class}}}}}, spec: {{}}}}"
        );
        let expected = if passes {
            PASS
        } else {
            "BW-VOLUME-REGION metadata.annotations['volume.beta.kubernetes.io/storage-class']"
        };
        let ask = Ask::create("persistentvolumeclaims", &annotated).within("acme-prod");
        check_in(&snapshot, &ask, expected);
    }
    check_in(
        &snapshot,
        &Ask::create("persistentvolumeclaims", &object("{}")).within("acme-prod"),
        PASS,
    );
}

#[test]
fn a_claim_is_bound_to_a_volume_within() {
    let bind = |user: &str| {
        Ask::update(
            "persistentvolumeclaims",
            &object("{}"),
            &object("{volumeName: v}"),
        )
        .within("acme-prod")
        .by(user)
    };
    let with = |facts: VolumeFacts| placed(ONE).with_volume("v".to_owned(), facts);
    let refused = "BW-VOLUME-REGION spec.volumeName";
    check_in(&placed(ONE), &bind(BINDER), "needs PersistentVolume v");
    let gone = placed(ONE).without(Need::PersistentVolume("v".to_owned()));
    check_in(&gone, &bind(BINDER), "BW-UNDECIDED spec.volumeName");
    for (facts, expected) in [
        (volume("fast", &["eu-1a"]), PASS),
        (volume("fast", &["eu-1a", "eu-1b"]), PASS),
        (volume("fast", &["eu-1a", "us-1a"]), refused),
        (volume("fast", &["us-1a"]), refused),
        (volume("fast", &[]), refused),
        (volume("nfs", &[]), PASS),
        (volume("", &[]), refused),
    ] {
        check_in(&with(facts.clone()), &bind(BINDER), expected);
        check_in(&with(facts.clone()), &bind(BINDER).within("acme-dev"), PASS);
        // Nobody but the binder gets that far.
        check_in(&with(facts), &bind("alice"), "BW-PVC-VOLUME spec.volumeName");
    }
    // Who has no regions asks nobody.
    check_in(&placed("nodeSelector: {pool: acme}"), &bind(BINDER), PASS);
}

#[test]
fn a_volume_for_a_claim_lies_within() {
    let of = |claim: &str, class: &str, zone: &str| {
        let terms = one_of("topology.kubernetes.io/zone", zone);
        let place = format!("nodeAffinity: {{required: {{nodeSelectorTerms: [{terms}]}}}}");
        let place = if zone.is_empty() { String::new() } else { place };
        format!("{{metadata: {{name: v}}, spec: {{storageClassName: {class}, {claim} {place}}}}}")
    };
    let ours = "claimRef: {namespace: acme-prod, name: data},";
    let refused = "BW-VOLUME-REGION spec.nodeAffinity";
    for (claim, class, zone, expected) in [
        (ours, "fast", "eu-1a", PASS),
        (ours, "fast", "us-1a", refused),
        (ours, "fast", "", refused),
        (ours, "nfs", "", PASS),
        (
            "claimRef: {namespace: acme-dev, name: data},",
            "fast",
            "us-1a",
            PASS,
        ),
        ("claimRef: {namespace: shop, name: data},", "fast", "us-1a", PASS),
        ("", "fast", "us-1a", PASS),
    ] {
        let snapshot = placed(ONE);
        let new = of(claim, class, zone);
        check_in(&snapshot, &Ask::create("persistentvolumes", &new), expected);
        let free = of("", class, zone);
        check_in(
            &snapshot,
            &Ask::update("persistentvolumes", &free, &new),
            expected,
        );
        check_in(&snapshot, &Ask::update("persistentvolumes", &new, &new), PASS);
        check_in(&snapshot, &Ask::update("persistentvolumes", &new, &free), PASS);
        check_in(&snapshot, &Ask::delete("persistentvolumes", &new), PASS);
        // What lay within may not be said to lie elsewhere.
        let moved = of(claim, class, "us-1b");
        let expected = if zone == "eu-1a" { refused } else { expected };
        check_in(
            &snapshot,
            &Ask::update("persistentvolumes", &new, &moved),
            expected,
        );
    }
}

/// What is filled in passes, or contradicts the placement by itself.
#[test]
fn what_is_filled_in_passes() {
    let disk = one_of("disk", "ssd");
    let here = one_of("topology.kubernetes.io/region", "eu-1");
    let field = "{matchFields: [{key: metadata.name, operator: In, values: [node-1]}]}";
    for placement in [
        ONE,
        TWO,
        "nodeSelector: {pool: acme}",
        "tolerations: [{key: pool}]",
    ] {
        for spec in [
            "{}".to_owned(),
            "{nodeSelector: {disk: ssd}, tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists}]}".to_owned(),
            "{affinity: {}}".to_owned(),
            "{affinity: {nodeAffinity: {}, podAffinity: {}}}".to_owned(),
            format!("{{{}}}", affinity(&format!("[{disk}, {here}, {field}, {{}}]"))),
            "{nodeSelector: {topology.kubernetes.io/zone: eu-1a}}".to_owned(),
        ] {
            let snapshot = placed(placement);
            let placed = Placed::in_namespace(&snapshot, "acme-prod").unwrap();
            let mut pod = yaml(&object(&spec));
            let Some(Value::Object(members)) = pod.get_mut("spec") else { panic!() };
            fill(members, &placed);
            let once = members.clone();
            fill(members, &placed);
            assert_eq!(*members, once, "twice is once");
            let ask = Ask::create("pods", &pod.to_string()).within("acme-prod");
            assert_eq!(outcome(&snapshot, &ask.review()), "", "{placement}: {pod}");
        }
    }
}

/// What the API server fills in, by the same cases.
#[test]
fn what_is_filled_in_is_what_the_api_server_fills_in() {
    let cases = yaml(include_str!("../../../../charts/bailiwick/ci/placed-pods.yaml"));
    for of_placement in cases.as_array().unwrap() {
        let text = of_placement["placement"].to_string();
        let snapshot = placed(
            text.strip_prefix('{')
                .and_then(|it| it.strip_suffix('}'))
                .unwrap(),
        );
        let placed = Placed::in_namespace(&snapshot, "acme-prod").unwrap();
        for case in of_placement["pods"].as_array().unwrap() {
            let mut spec = case["open"].as_object().unwrap().clone();
            fill(&mut spec, &placed);
            assert_eq!(Value::Object(spec), case["filled"], "{case}");
        }
    }
}

/// Who makes a volume makes it where the node is that the claim names.
#[test]
fn a_tenant_does_not_choose_the_node_of_a_volume() {
    let claim = |node: &str| {
        let node = if node.is_empty() {
            String::new()
        } else {
            format!("volume.kubernetes.io/selected-node: {node}")
        };
        format!(
            "{{metadata: {{name: own, labels: {{$T: acme}}, annotations: {{{node}}}}}, spec: {{storageClassName: with-pod}}}}"
        )
    };
    let refused = "BW-VOLUME-REGION metadata.annotations['volume.kubernetes.io/selected-node']";
    let snapshot = with_classes(placed(ONE));
    let made = |node: &str| Ask::create("persistentvolumeclaims", &claim(node)).within("acme-prod");
    let changed = |old: &str, new: &str| {
        Ask::update("persistentvolumeclaims", &claim(old), &claim(new)).within("acme-prod")
    };
    check_in(&snapshot, &made("node-1"), refused);
    check_in(&snapshot, &made("node-1").by("alice"), refused);
    check_in(&snapshot, &made(""), PASS);
    check_in(&snapshot, &made("node-1").within("acme-dev"), PASS);
    check_in(&snapshot, &changed("", "node-1").by("alice"), refused);
    check_in(&snapshot, &changed("node-2", "node-1").by("alice"), refused);
    check_in(&snapshot, &changed("node-1", "node-1").by("alice"), PASS);
    check_in(&snapshot, &changed("node-1", "").by("alice"), PASS);
    check_in(
        &snapshot,
        &changed("", "node-1").by("system:kube-scheduler"),
        PASS,
    );
    check_in(&placed("nodeSelector: {pool: acme}"), &made("node-1"), PASS);
    let template = "{volumes: [{name: v, ephemeral: {volumeClaimTemplate: {metadata: {annotations: {volume.kubernetes.io/selected-node: node-1}}, spec: {}}}}], \
        nodeSelector: {pool: acme, topology.kubernetes.io/region: eu-1}}";
    pod(
        ONE,
        template,
        "BW-VOLUME-REGION spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.annotations['volume.kubernetes.io/selected-node']",
    );
}

#[test]
fn a_claim_that_is_bound_is_not_asked_about_again() {
    let old = object("{volumeName: v}");
    let new = object("{volumeName: v, resources: {requests: {storage: 2Gi}}}");
    let ask = Ask::update("persistentvolumeclaims", &old, &new).within("acme-prod");
    check_in(&placed(ONE), &ask.by(BINDER), PASS);
}

#[test]
fn data_does_not_leave_by_a_namespace_that_is_excepted() {
    let claim = |from: &str| {
        object(&format!(
            "{{dataSourceRef: {{kind: PersistentVolumeClaim, name: data, namespace: {from}}}}}"
        ))
    };
    for (within, from, expected) in [
        (
            "acme-dev",
            "acme-prod",
            "BW-VOLUME-REGION spec.dataSourceRef.namespace",
        ),
        ("acme-dev", "acme-dev", PASS),
        ("acme-prod", "acme-dev", PASS),
    ] {
        let ask = Ask::create("persistentvolumeclaims", &claim(from)).within(within);
        check_in(&placed(ONE), &ask, expected);
    }
}

#[test]
fn a_volume_that_was_made_for_a_claim_is_put_on_record() {
    let volume = |by: &str| {
        format!(
            "{{metadata: {{name: v, annotations: {{{by}}}}}, spec: {{claimRef: {{namespace: acme-prod, name: data}}}}}}"
        )
    };
    let made = "pv.kubernetes.io/provisioned-by: example.com";
    let refused = "BW-VOLUME-REGION spec.nodeAffinity";
    check_in(
        &placed(ONE),
        &Ask::create("persistentvolumes", &volume(made)),
        PASS,
    );
    check_in(
        &placed(ONE),
        &Ask::create("persistentvolumes", &volume("")),
        refused,
    );
    let free = format!("{{metadata: {{name: v, annotations: {{{made}}}}}, spec: {{}}}}");
    check_in(
        &placed(ONE),
        &Ask::update("persistentvolumes", &free, &volume(made)),
        refused,
    );
}

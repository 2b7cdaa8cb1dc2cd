//! Pods: images, priority, runtime, node and tolerations.

use super::{create, rails, update};
use crate::cluster::{Ask, OPERATOR, PASS, check_in};

const OURS: &str = "{registries: [ghcr.io/acme, 'registry.acme.io:5000/', docker.io/library/busybox]}";
const REFUSED: &str = "BW-IMAGE-REGISTRY spec.containers[0].image";

fn image(image: &str) -> String {
    format!("{{containers: [{{name: web, image: '{image}'}}]}}")
}

#[test]
fn images_come_from_the_listed_registries() {
    for (reference, passes) in [
        ("ghcr.io/acme/web:v1", true),
        ("ghcr.io/acme/team/web", true),
        ("GHCR.io/acme/web", true),
        (
            "ghcr.io/acme/web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            true,
        ),
        ("registry.acme.io:5000/web", true),
        ("busybox:1.37", true),
        ("docker.io/busybox", true),
        ("ghcr.io/acme-evil/web", false),
        ("ghcr.io/other/web", false),
        ("registry.acme.io/web", false),
        ("registry.acme.io.evil.example/web", false),
        ("nginx", false),
        ("acme/web", false),
        ("evil.example/ghcr.io/acme/web", false),
        ("ghcr.io/acme/../other/web", false),
        ("", false),
        (" ghcr.io/acme/web", false),
    ] {
        create(
            OURS,
            "pods",
            &image(reference),
            if passes { PASS } else { REFUSED },
        );
        create("{}", "pods", &image(reference), PASS);
        create("{registries: []}", "pods", &image(reference), REFUSED);
    }
}

#[test]
fn every_place_of_an_image_counts() {
    let bad = "{image: nginx}";
    for (spec, field) in [
        (format!("{{initContainers: [{bad}]}}"), "initContainers[0].image"),
        (
            format!("{{containers: [{{image: busybox}}, {bad}]}}"),
            "containers[1].image",
        ),
        (
            format!("{{ephemeralContainers: [{bad}]}}"),
            "ephemeralContainers[0].image",
        ),
        (
            "{volumes: [{name: a, emptyDir: {}}, {name: b, image: {reference: nginx}}]}".to_owned(),
            "volumes[1].image.reference",
        ),
        ("{containers: [{name: web}]}".to_owned(), "containers[0].image"),
    ] {
        create(OURS, "pods", &spec, &format!("BW-IMAGE-REGISTRY spec.{field}"));
        create(
            OURS,
            "pods",
            &spec
                .replace("nginx", "busybox")
                .replace("{name: web}", "{image: busybox}"),
            PASS,
        );
    }
}

#[test]
fn a_changed_image_is_judged_by_every_path() {
    let both = "{containers: [{image: busybox}], ephemeralContainers: [{image: nginx}]}";
    for path in ["pods", "pods/ephemeralcontainers", "pods/resize"] {
        update(OURS, path, &image("busybox"), &image("nginx"), REFUSED);
        update(OURS, path, &image("nginx:1"), &image("nginx:2"), REFUSED);
        update(OURS, path, &image("nginx"), &image("busybox"), PASS);
        update(
            OURS,
            path,
            &image("busybox"),
            both,
            "BW-IMAGE-REGISTRY spec.ephemeralContainers[0].image",
        );
    }
    update(OURS, "pods/status", &image("busybox"), &image("nginx"), PASS);
}

#[test]
fn the_clusters_own_priorities_are_never_a_tenants() {
    let pod = |name: &str| format!("{{priorityClassName: '{name}'}}");
    let refused = "BW-PRIORITY-CLASS spec.priorityClassName";
    for workloads in [
        "{}",
        "{priorityClasses: []}",
        "{priorityClasses: [low, system-node-critical]}",
    ] {
        for name in ["system-node-critical", "system-cluster-critical", "system-x"] {
            create(workloads, "pods", &pod(name), refused);
        }
        create(workloads, "pods", &pod(""), PASS);
    }
    create("{}", "pods", &pod("high"), PASS);
    create("{priorityClasses: []}", "pods", &pod("high"), refused);
    create("{priorityClasses: [low]}", "pods", &pod("high"), refused);
    create("{priorityClasses: [low]}", "pods", &pod("low"), PASS);
    create("{priorityClasses: [low]}", "pods", &pod("Low"), refused);
}

#[test]
fn with_a_list_a_pod_names_its_runtime() {
    let pod = |name: &str| format!("{{runtimeClassName: {name}}}");
    let refused = "BW-RUNTIME-CLASS spec.runtimeClassName";
    for (workloads, none, gvisor, kata) in [
        ("{}", PASS, PASS, PASS),
        ("{runtimeClasses: []}", PASS, refused, refused),
        ("{runtimeClasses: [gvisor]}", refused, PASS, refused),
        ("{runtimeClasses: [gvisor, kata]}", refused, PASS, PASS),
    ] {
        create(workloads, "pods", "{}", none);
        create(workloads, "pods", &pod("null"), none);
        create(workloads, "pods", &pod("gvisor"), gvisor);
        create(workloads, "pods", &pod("kata"), kata);
    }
}

#[test]
fn the_scheduler_chooses_the_node() {
    let refused = "BW-POD-NODENAME spec.nodeName";
    create("{}", "pods", "{nodeName: node-1}", refused);
    create("{}", "pods", "{nodeName: ''}", PASS);
    create(
        "{}",
        "pods",
        "{nodeSelector: {kubernetes.io/hostname: node-1}}",
        PASS,
    );
    // A mirror Pod is what a kubelet makes; the annotation is anybody's.
    let mirror = "{metadata: {name: p, labels: {$T: acme}, annotations: {kubernetes.io/config.mirror: x}}, spec: {nodeName: node-1}}";
    check_in(
        &rails("{}"),
        &Ask::create("pods", mirror).within("acme-prod"),
        refused,
    );
    update("{}", "pods", "{}", "{nodeName: node-1}", refused);
    update(
        "{}",
        "pods",
        "{nodeName: node-1}",
        "{nodeName: node-1, activeDeadlineSeconds: 5}",
        PASS,
    );
    let ask = Ask::create("pods", mirror).within("acme-prod").by(OPERATOR);
    check_in(&rails("{}"), &ask, PASS);
}

fn tolerating(toleration: &str) -> String {
    format!(
        "{{tolerations: [{{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute}}, {toleration}]}}"
    )
}

#[test]
fn nobody_tolerates_everything() {
    let refused = "BW-POD-TOLERATION spec.tolerations[1]";
    for everything in [
        "{operator: Exists}",
        "{operator: Exists, effect: NoSchedule}",
        "{key: '', operator: Exists}",
        "{key: node-role.kubernetes.io/control-plane}",
        "{key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}",
        "{key: node-role.kubernetes.io/master, operator: Exists}",
    ] {
        for workloads in ["{}", "{tolerations: []}", "{tolerations: [{key: gpu}]}"] {
            create(workloads, "pods", &tolerating(everything), refused);
        }
    }
    for own in [
        "{key: node.kubernetes.io/disk-pressure, operator: Exists}",
        "{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 300}",
    ] {
        create("{tolerations: []}", "pods", &tolerating(own), PASS);
    }
    let planes = "{tolerations: [{key: node-role.kubernetes.io/control-plane}]}";
    create(
        planes,
        "pods",
        &tolerating("{key: node-role.kubernetes.io/control-plane, operator: Exists}"),
        PASS,
    );
}

#[test]
fn tolerations_are_within_the_listed_ones() {
    let refused = "BW-POD-TOLERATION spec.tolerations[1]";
    let any = "{tolerations: [{key: pool}]}";
    let value = "{tolerations: [{key: pool, value: acme}]}";
    let effect = "{tolerations: [{key: pool, value: acme, effect: NoSchedule}]}";
    for (toleration, by_any, by_value, by_effect) in [
        ("{key: pool, value: acme, effect: NoSchedule}", PASS, PASS, PASS),
        (
            "{key: pool, operator: Equal, value: acme, effect: NoSchedule}",
            PASS,
            PASS,
            PASS,
        ),
        ("{key: pool, value: acme}", PASS, PASS, refused),
        ("{key: pool, value: acme, effect: NoExecute}", PASS, PASS, refused),
        (
            "{key: pool, value: globex, effect: NoSchedule}",
            PASS,
            refused,
            refused,
        ),
        ("{key: pool, effect: NoSchedule}", PASS, refused, refused),
        (
            "{key: pool, operator: Exists, effect: NoSchedule}",
            PASS,
            refused,
            refused,
        ),
        (
            "{key: pool, operator: Exists, value: acme, effect: NoSchedule}",
            PASS,
            refused,
            refused,
        ),
        (
            "{key: pool, operator: Gt, value: acme, effect: NoSchedule}",
            PASS,
            refused,
            refused,
        ),
        (
            "{key: pools, value: acme, effect: NoSchedule}",
            refused,
            refused,
            refused,
        ),
    ] {
        create("{}", "pods", &tolerating(toleration), PASS);
        create("{tolerations: []}", "pods", &tolerating(toleration), refused);
        create(any, "pods", &tolerating(toleration), by_any);
        create(value, "pods", &tolerating(toleration), by_value);
        create(effect, "pods", &tolerating(toleration), by_effect);
    }
    let equal = tolerating("{key: pool, operator: Equal}");
    let exists = tolerating("{key: pool, operator: Exists}");
    update("{tolerations: []}", "pods", &equal, &exists, refused);
}

#[test]
fn the_claims_of_a_pods_volumes_are_judged_with_it() {
    let pod = |claim: &str| {
        format!("{{volumes: [{{name: v, ephemeral: {{volumeClaimTemplate: {{spec: {claim}}}}}}}]}}")
    };
    let field = "spec.volumes[0].ephemeral.volumeClaimTemplate.spec";
    let list = "{storageClasses: [fast]}";
    create(list, "pods", &pod("{storageClassName: fast}"), PASS);
    create(list, "pods", &pod("{}"), PASS);
    create(
        list,
        "pods",
        &pod("{storageClassName: slow}"),
        &format!("BW-STORAGE-CLASS {field}.storageClassName"),
    );
    create(
        "{}",
        "pods",
        &pod("{dataSourceRef: {kind: VolumeSnapshot, name: s, namespace: globex-prod}}"),
        &format!("BW-PVC-SOURCE {field}.dataSourceRef.namespace"),
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    create(
        "{registries: [ghcr.io], runtimeClasses: [gvisor]}",
        "pods",
        "{containers: [{image: nginx}], nodeName: node-1, priorityClassName: system-node-critical, tolerations: [{operator: Exists}]}",
        "BW-IMAGE-REGISTRY spec.containers[0].image; BW-PRIORITY-CLASS spec.priorityClassName; \
         BW-RUNTIME-CLASS spec.runtimeClassName; BW-POD-NODENAME spec.nodeName; BW-POD-TOLERATION spec.tolerations[0]",
    );
}

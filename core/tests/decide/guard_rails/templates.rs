//! Controllers of Pods: what their Pods will be refused for is a warning.

use bailiwick_core::decide::{Decision, Outcome, decide};
use bailiwick_core::policy::Moment;
use bailiwick_core::review::parse;

use super::rails;
use crate::cluster::{Ask, OPERATOR};

const LIST: &str = "{registries: [ghcr.io/acme], storageClasses: [fast]}";

fn decided(ask: &Ask) -> Decision {
    let body = ask.review().to_string();
    match decide(&rails(LIST), &parse(body.as_bytes()).unwrap(), &Moment::default()) {
        Outcome::Decided(decision) => decision,
        Outcome::Needs(need) => panic!("needs {need:?}"),
    }
}

/// Nothing is refused, and this is warned of.
#[track_caller]
fn warns(ask: &Ask, expected: &[&str]) {
    let decision = decided(ask);
    assert_eq!(decision.findings, [], "{ask:?}");
    let warnings = decision.warnings.iter();
    let warnings: Vec<String> = warnings.map(|it| format!("{} {}", it.rule, it.field)).collect();
    assert_eq!(warnings, expected, "{ask:?}");
}

fn pod(image: &str) -> String {
    format!("{{spec: {{containers: [{{image: {image}}}]}}}}")
}

#[test]
fn every_controller_of_pods_is_judged_by_its_template() {
    for path in [
        "deployments",
        "statefulsets",
        "daemonsets",
        "replicasets",
        "jobs",
        "replicationcontrollers",
    ] {
        let object = |image: &str| format!("{{metadata: {{name: web}}, spec: {{template: {}}}}}", pod(image));
        let field = "BW-IMAGE-REGISTRY spec.template.spec.containers[0].image";
        warns(&Ask::create(path, &object("nginx")).within("acme-prod"), &[field]);
        warns(
            &Ask::create(path, &object("ghcr.io/acme/web")).within("acme-prod"),
            &[],
        );
        warns(&Ask::create(path, &object("nginx")).within("shop"), &[]);
        warns(
            &Ask::create(path, &object("nginx"))
                .within("acme-prod")
                .by(OPERATOR),
            &[],
        );
        warns(
            &Ask::update(path, &object("nginx"), &object("nginx")).within("acme-prod"),
            &[],
        );
        warns(
            &Ask::update(path, &object("nginx:1"), &object("nginx:2")).within("acme-prod"),
            &[field],
        );
        warns(&Ask::delete(path, &object("nginx")).within("acme-prod"), &[]);
    }
    let cron = format!(
        "{{metadata: {{name: c}}, spec: {{jobTemplate: {{spec: {{template: {}}}}}}}}}",
        pod("nginx")
    );
    warns(
        &Ask::create("cronjobs", &cron).within("acme-prod"),
        &["BW-IMAGE-REGISTRY spec.jobTemplate.spec.template.spec.containers[0].image"],
    );
    let template = format!("{{metadata: {{name: t}}, template: {}}}", pod("nginx"));
    warns(
        &Ask::create("podtemplates", &template).within("acme-prod"),
        &["BW-IMAGE-REGISTRY template.spec.containers[0].image"],
    );
}

#[test]
fn what_is_filled_in_later_is_not_missed() {
    let object = |spec: &str| format!("{{metadata: {{name: web}}, spec: {spec}}}");
    let template = object(
        "{template: {spec: {containers: [{name: injected}], volumes: [{ephemeral: {volumeClaimTemplate: {spec: {}}}}]}}}",
    );
    warns(&Ask::create("deployments", &template).within("acme-prod"), &[]);
    let claims = |claim: &str| {
        object(&format!(
            "{{template: {{spec: {{}}}}, volumeClaimTemplates: [{{spec: {claim}}}]}}"
        ))
    };
    warns(
        &Ask::create("statefulsets", &claims("{}")).within("acme-prod"),
        &[],
    );
    warns(
        &Ask::create("statefulsets", &claims("{storageClassName: fast}")).within("acme-prod"),
        &[],
    );
    warns(
        &Ask::create("statefulsets", &claims("{storageClassName: slow, volumeName: v}")).within("acme-prod"),
        &[
            "BW-STORAGE-CLASS spec.volumeClaimTemplates[0].spec.storageClassName",
            "BW-PVC-VOLUME spec.volumeClaimTemplates[0].spec.volumeName",
        ],
    );
}

#[test]
fn what_can_not_be_read_is_not_warned_of() {
    for spec in ["7", "{template: x}", "{template: {spec: [1]}}", "null"] {
        let ask = Ask::create(
            "deployments",
            &format!("{{metadata: {{name: web}}, spec: {spec}}}"),
        );
        warns(&ask.within("acme-prod"), &[]);
    }
}

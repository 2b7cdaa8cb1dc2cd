//! Requests that are monstrous: too deep, too long, too many, or half a letter.

use bailiwick_core::decide::{Outcome, decide};
use bailiwick_core::policy::Moment;
use bailiwick_core::review::parse;

use crate::cluster::cluster;
use crate::requests::decided;

/// A review whose object, or old object, is this text.
fn body(resource: (&str, &str, &str), operation: &str, object: &str) -> String {
    let (group, resource, sub) = resource;
    format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"u","kind":{{"group":"{group}","version":"v1","kind":"K"}},"resource":{{"group":"{group}","version":"v1","resource":"{resource}"}},"subResource":"{sub}","name":"n","namespace":"acme-prod","operation":"{operation}","userInfo":{{"username":"alice"}},"object":{object},"oldObject":{object}}}}}"#
    )
}

/// The monster is an AdmissionReview, so it isn't enough that it is refused as none: it is decided.
#[track_caller]
fn total(body: &str) {
    match parse(body.as_bytes()) {
        Ok(request) => decided(&request),
        Err(error) => panic!("{error}: {}", body.chars().take(400).collect::<String>()),
    }
}

/// Where in an object something monstrous may sit.
fn monsters(monster: &str) -> Vec<String> {
    let metadata = |rest: &str| format!(r#"{{"metadata":{{"name":"n",{rest}}}}}"#);
    vec![
        metadata(&format!(r#""managedFields":[{{"fieldsV1":{monster}}}]"#)),
        metadata(&format!(r#""labels":{monster}"#)),
        metadata(&format!(r#""labels":{{"a":{monster}}}"#)),
        metadata(&format!(r#""ownerReferences":{monster}"#)),
        format!(r#"{{"metadata":{monster}}}"#),
        format!(r#"{{"metadata":{{"name":"n"}},"spec":{monster},"status":{monster}}}"#),
        format!(r#"{{"metadata":{{"name":"n"}},"spec":{{"owners":{monster}}}}}"#),
        format!(r#"{{"metadata":{{"name":"n"}},"rules":{monster}}}"#),
        format!(r#"{{"metadata":{{"name":"n"}},"rules":[{{"verbs":{monster}}}]}}"#),
        format!(r#"{{"metadata":{{"name":"n"}},"subjects":{monster},"roleRef":{monster}}}"#),
        format!(r#"{{"metadata":{{"name":"n"}},"aggregationRule":{{"clusterRoleSelectors":{monster}}}}}"#),
        monster.to_owned(),
    ]
}

/// The kinds whose rules read more than metadata, and two whose rules don't.
const READ: [(&str, &str, &str); 7] = [
    ("", "pods", ""),
    ("", "namespaces", ""),
    ("rbac.authorization.k8s.io", "roles", ""),
    ("rbac.authorization.k8s.io", "rolebindings", ""),
    ("rbac.authorization.k8s.io", "clusterroles", ""),
    ("rbac.authorization.k8s.io", "clusterrolebindings", ""),
    ("bailiwick.dev", "tenants", ""),
];

fn everywhere(monster: &str) {
    for resource in READ {
        for object in monsters(monster) {
            total(&body(resource, "CREATE", &object));
        }
    }
    for object in monsters(monster) {
        total(&body(("", "namespaces", "status"), "UPDATE", &object));
        total(&body(("", "limitranges", ""), "DELETE", &object));
    }
}

#[test]
fn five_thousand_levels_are_decided() {
    everywhere(&format!("{}1{}", "[".repeat(5000), "]".repeat(5000)));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(5000), "}".repeat(5000));
    for object in monsters(&objects) {
        total(&body(
            ("rbac.authorization.k8s.io", "rolebindings", ""),
            "CREATE",
            &object,
        ));
    }
}

#[test]
fn what_nobody_reads_may_be_as_deep_as_it_likes() {
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let object = format!(
        r#"{{"metadata":{{"name":"n","managedFields":{deep},"labels":{{"bailiwick.dev/tenant":"acme"}}}},"spec":{{"containers":[{{"env":{deep}}}],"affinity":{deep}}},"status":{deep}}}"#
    );
    let body = body(("", "pods", ""), "CREATE", &object);
    let Outcome::Decided(decision) = decide(&cluster(), &parse(body.as_bytes()).unwrap(), &Moment::default())
    else {
        panic!()
    };
    assert!(decision.allowed(), "{}", decision.message());
}

#[test]
fn escapes_of_half_a_letter_and_numbers_for_text_are_decided() {
    for monster in [
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\u0000""#,
        "7",
        "-0",
        "1e400",
        "1e-400",
        "123456789012345678901234567890",
        "true",
        "null",
        "{}",
        "[]",
        r#"{"a":"b","a":"c"}"#,
    ] {
        everywhere(monster);
    }
}

#[test]
fn five_megabytes_are_decided() {
    let text = format!("\"{}\"", "x".repeat(5 << 20));
    let escapes = format!("\"{}\"", "\\u0007".repeat(480_000));
    let list = format!("[{}1]", "1,".repeat(1 << 19));
    for monster in [text, escapes, list] {
        for object in [
            format!(r#"{{"metadata":{{"name":"n","annotations":{{"a":{monster}}}}}}}"#),
            format!(r#"{{"metadata":{{"name":{monster}}},"subjects":{monster}}}"#),
        ] {
            let body = body(
                ("rbac.authorization.k8s.io", "rolebindings", ""),
                "CREATE",
                &object,
            );
            total(&body.replace(&format!(r#","oldObject":{object}"#), ""));
        }
    }
}

#[test]
fn twenty_thousand_of_anything_are_decided() {
    let labels: Vec<String> = (0..20_000)
        .map(|i| format!(r#""pod-security.kubernetes.io/{i}":"x""#))
        .collect();
    let object = format!(
        r#"{{"metadata":{{"name":"n","labels":{{"bailiwick.dev/tenant":"acme",{}}}}}}}"#,
        labels.join(",")
    );
    total(&body(("", "namespaces", ""), "CREATE", &object));
    let subjects: Vec<String> = (0..20_000)
        .map(|i| format!(r#"{{"kind":"User","name":"acme-{i}"}}"#))
        .collect();
    let object = format!(
        r#"{{"metadata":{{"name":"n"}},"roleRef":{{"kind":"ClusterRole","name":"view"}},"subjects":[{}]}}"#,
        subjects.join(",")
    );
    total(&body(
        ("rbac.authorization.k8s.io", "rolebindings", ""),
        "CREATE",
        &object,
    ));
}

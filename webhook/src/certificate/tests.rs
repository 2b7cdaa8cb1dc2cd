use k8s_openapi::api::admissionregistration::v1::ValidatingWebhook;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use serde_json::json;

use super::*;

/// 2026-01-01 and 2027-01-01, in Unix seconds.
const NOW: i64 = 1_767_225_600;
const END: i64 = 1_798_761_600;

/// A certificate that is its own issuer, valid until [`END`], with its key; as PEM.
fn certificate() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["webhook.svc".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn stored<K>(mut object: K) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    object.meta_mut().name = Some("it".to_owned());
    let (store, mut writer) = reflector::store();
    writer.apply_watcher_event(&watcher::Event::Apply(object));
    store
}

fn secret(certificate: &str, key: &str, ca: Option<&str>) -> Store<Secret> {
    let members = [
        ("tls.crt", Some(certificate)),
        ("tls.key", Some(key)),
        ("ca.crt", ca),
    ];
    let data = members
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), ByteString(text?.as_bytes().to_vec()))));
    stored(Secret {
        data: Some(data.collect()),
        ..Secret::default()
    })
}

/// What `renew` says of Secrets that come one after the other, each at its time.
#[track_caller]
fn check(steps: &[(&Store<Secret>, i64, Option<&str>)]) {
    // Another test may have been first.
    let _ = bailiwick_runtime::tls::install_provider();
    let (metrics, _) = crate::metrics::new();
    let (mut in_use, leaf) = (None, HotLeaf::default());
    for (i, (secret, now, expected)) in steps.iter().enumerate() {
        let problem = renew(secret, &mut in_use, &leaf, &metrics, *now);
        match expected {
            None => assert_eq!(problem, None, "step {i}"),
            Some(part) => assert!(
                problem.as_ref().is_some_and(|it| it.contains(part)),
                "step {i}: {problem:?}"
            ),
        }
    }
}

#[test]
fn without_a_valid_leaf_there_is_a_problem() {
    let (pem, key) = certificate();
    let (_, other_key) = certificate();
    let missing = Some("are not all there yet");
    check(&[(&reflector::store::<Secret>().0, NOW, missing)]);
    check(&[(&secret(&pem, &key, None), NOW, missing)]);
    check(&[(&secret(&pem, &key, Some(&pem)), NOW, None)]);
    check(&[(&secret("", &key, Some(&pem)), NOW, Some("no certificate"))]);
    check(&[(&secret(&pem, &other_key, Some(&pem)), NOW, Some("do not fit"))]);
    check(&[(&secret(&pem, &key, Some(&pem)), 0, Some("is valid from"))]);
    check(&[(&secret(&pem, &key, Some(&pem)), END, Some("is valid from"))]);
}

#[test]
fn the_leaf_in_use_serves_until_it_ends_whatever_comes_next() {
    let (pem, key) = certificate();
    let (next, next_key) = certificate();
    let good = secret(&pem, &key, Some(&pem));
    let bad = secret(&next, &key, Some(&next));
    let ended = Some("the certificate has ended");
    check(&[
        (&good, NOW, None),
        (&bad, NOW, None),
        (&bad, END - 1, None),
        (&bad, END, ended),
    ]);
    check(&[(&good, NOW, None), (&good, END, ended)]);
    let better = secret(&next, &next_key, Some(&next));
    check(&[(&good, NOW, None), (&better, NOW, None), (&bad, END - 1, None)]);
}

fn configuration(bundles: &[Option<&str>]) -> Store<ValidatingWebhookConfiguration> {
    let webhooks = bundles.iter().enumerate().map(|(i, bundle)| {
        let mut webhook: ValidatingWebhook = serde_json::from_value(json!({
            "name": format!("w{i}.bailiwick.dev"), "clientConfig": {}, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }))
        .unwrap();
        webhook.client_config.ca_bundle = bundle.map(|it| ByteString(it.as_bytes().to_vec()));
        webhook
    });
    stored(ValidatingWebhookConfiguration {
        webhooks: Some(webhooks.collect()),
        ..ValidatingWebhookConfiguration::default()
    })
}

#[test]
fn a_replica_is_trusted_when_every_webhook_holds_its_issuer() {
    let (ours, _) = certificate();
    let (foreign, _) = certificate();
    let both = format!("{foreign}{ours}");
    let check = |store: &Store<ValidatingWebhookConfiguration>, expected: Option<&str>| {
        let problem = untrusted(store, ours.as_bytes());
        match expected {
            None => assert_eq!(problem, None),
            Some(part) => assert!(
                problem.as_ref().is_some_and(|it| it.contains(part)),
                "{problem:?}"
            ),
        }
    };
    check(&configuration(&[Some(&ours)]), None);
    check(&configuration(&[Some(&both), Some(&ours)]), None);
    check(&reflector::store().0, Some("does not exist yet"));
    check(&configuration(&[]), Some("has no webhooks"));
    check(
        &configuration(&[None]),
        Some("webhook 'w0.bailiwick.dev' has no caBundle"),
    );
    check(&configuration(&[Some("no PEM")]), Some("'w0.bailiwick.dev'"));
    check(
        &configuration(&[Some(&ours), Some(&foreign)]),
        Some("'w1.bailiwick.dev'"),
    );
    // Without an issuer of its own it trusts nobody, either.
    assert!(untrusted(&configuration(&[Some(&ours)]), b"").is_some());
}

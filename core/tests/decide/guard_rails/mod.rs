//! What a tenant's workloads may use: each rule with nothing said, with nothing allowed, and with a list.

mod hosts;
mod objects;
mod placement;
mod pods;
mod templates;

use bailiwick_core::snapshot::Snapshot;

use crate::cluster::{Ask, PASS, check_in, cluster, with_spec};

/// acme with these guard rails.
fn rails(workloads: &str) -> Snapshot {
    let spec = format!(
        "{{namespaces: {{declared: [{{name: acme-prod}}, {{name: acme-dev}}]}}, workloads: {workloads}}}"
    );
    with_spec(&cluster(), "acme", &spec)
}

/// An object of acme's, with this `spec`.
fn object(spec: &str) -> String {
    format!("{{metadata: {{name: own, labels: {{$T: acme}}}}, spec: {spec}}}")
}

/// Its creation has this outcome under these guard rails.
#[track_caller]
fn create(workloads: &str, path: &str, spec: &str, expected: &str) {
    let ask = Ask::create(path, &object(spec)).within("acme-prod");
    check_in(&rails(workloads), &ask, expected);
    check_in(&rails(workloads), &ask.clone().by("alice"), expected);
    // What stays as it was is not judged.
    let same = Ask::update(path, &object(spec), &object(spec)).within("acme-prod");
    check_in(&rails(workloads), &same, PASS);
    // Nor is what is no tenant's.
    let elsewhere = format!("{{metadata: {{name: own}}, spec: {spec}}}");
    check_in(
        &rails(workloads),
        &Ask::create(path, &elsewhere).within("shop"),
        PASS,
    );
    check_in(
        &rails(workloads),
        &Ask::delete(path, &object(spec)).within("acme-prod"),
        PASS,
    );
}

/// The change from one `spec` to the other has this outcome.
#[track_caller]
fn update(workloads: &str, path: &str, old: &str, new: &str, expected: &str) {
    let ask = Ask::update(path, &object(old), &object(new)).within("acme-prod");
    check_in(&rails(workloads), &ask, expected);
}

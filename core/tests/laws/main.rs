//! What holds for all tenants, names, rules and requests, tried on many that nobody thought of.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a law that can not be tried is a broken one"
)]

#[allow(dead_code, reason = "the tables use more of it")]
#[path = "../decide/cluster.rs"]
mod cluster;
mod escrow;
mod grants;
mod identities;
mod isolation;
mod monsters;
mod ownership;
mod peers;
mod plans;
mod requests;
mod specs;

/// So many cases of each law; no file is written beside the source when one fails.
fn cases(cases: u32) -> proptest::test_runner::Config {
    let many = std::env::var("BAILIWICK_LAW_FACTOR")
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or(1);
    proptest::test_runner::Config {
        cases: cases.saturating_mul(many),
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    }
}

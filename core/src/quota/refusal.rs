//! What Kubernetes' controllers tell of creations that were refused.

use super::{Amounts, SLICE};
use crate::quantity::Amount;

/// What was asked for in vain, as the message of a `FailedCreate` event tells it; none if it was refused for something
/// else than a tenant's slice.
///
/// The text is Kubernetes' (`CheckRequest` in its resourcequota plugin). It is a hint and no more: whoever can write
/// events can move what is free within his own tenant, which he could as well by using it.
pub fn asked(message: &str) -> Option<Amounts> {
    let (_, rest) = message.split_once("exceeded quota: ")?;
    let (quota, rest) = rest.split_once(", requested: ")?;
    let (requested, _) = rest.split_once(", used: ")?;
    if quota != SLICE {
        return None;
    }
    let amounts = requested.split(',').filter_map(|it| {
        let (resource, amount) = it.split_once('=')?;
        Some((resource.to_owned(), Amount::parse(amount).ok()?))
    });
    let amounts: Amounts = amounts.collect();
    (!amounts.is_empty()).then_some(amounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: &[(&str, &str)]) {
        let found: Vec<(String, String)> = asked(message)
            .into_iter()
            .flatten()
            .map(|(resource, amount)| (resource, amount.to_string()))
            .collect();
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(resource, amount)| ((*resource).to_owned(), (*amount).to_owned()))
            .collect();
        assert_eq!(found, expected, "{message}");
    }

    #[test]
    fn a_refusal_by_a_slice_tells_what_was_asked_for() {
        check(
            "Error creating: pods \"web-x\" is forbidden: exceeded quota: bailiwick-tenant, requested: pods=1,requests.cpu=1500m, used: pods=4,requests.cpu=0, limited: pods=4,requests.cpu=1",
            &[("pods", "1"), ("requests.cpu", "1.5")],
        );
        check(
            "create Pod db-0 in StatefulSet db failed error: pods \"db-0\" is forbidden: exceeded quota: bailiwick-tenant, requested: requests.memory=8Gi, used: requests.memory=0, limited: requests.memory=1Gi",
            &[("requests.memory", "8589934592")],
        );
    }

    #[test]
    fn anything_else_asks_for_nothing() {
        for message in [
            "",
            "exceeded quota: bailiwick-tenant",
            "exceeded quota: bailiwick, requested: pods=1, used: pods=4, limited: pods=4",
            "exceeded quota: bailiwick-tenant-2, requested: pods=1, used: pods=4, limited: pods=4",
            "exceeded quota: bailiwick-tenant, requested: pods, used: pods=4, limited: pods=4",
            "exceeded quota: bailiwick-tenant, requested: pods=-1, used: pods=4, limited: pods=4",
            "exceeded quota: bailiwick-tenant, requested: pods=1",
        ] {
            check(message, &[]);
        }
    }
}

//! Which namespaces a candidate decides for.

use sha2::{Digest as _, Sha256};

/// Whether a namespace is among the first `percent` of all, for this policy. What is among them stays among them when
/// the percentage grows, and another policy begins with others.
pub fn is_among(policy: &str, namespace: &str, percent: i32) -> bool {
    const BUCKETS: u64 = 10_000;
    let mut hash = Sha256::new();
    hash.update(policy.as_bytes());
    hash.update(b"/");
    hash.update(namespace.as_bytes());
    let digest = hash.finalize();
    let first = digest.first_chunk().copied().unwrap_or_default();
    let bucket = u64::from_be_bytes(first) % BUCKETS;
    bucket < u64::try_from(percent).unwrap_or(0).saturating_mul(BUCKETS / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_hit_and_only_grows() {
        let names: Vec<String> = (0..1000).map(|i| format!("tenant-{i}")).collect();
        let among = |policy, percent| -> Vec<&String> {
            names.iter().filter(|it| is_among(policy, it, percent)).collect()
        };
        assert!(among("p", 0).is_empty());
        assert_eq!(among("p", 100).len(), 1000);
        assert!(among("p", -1).is_empty());
        for percent in [1, 10, 25, 50, 90] {
            let count = i64::try_from(among("p", percent).len()).unwrap();
            // Three standard deviations of 1,000 draws are 4.7 points at the most.
            assert!(
                (count - i64::from(percent) * 10).abs() <= 47,
                "{percent}: {count}"
            );
            let more = among("p", percent + 5);
            assert!(among("p", percent).iter().all(|it| more.contains(it)));
        }
        assert_ne!(among("p", 10), among("q", 10));
    }
}

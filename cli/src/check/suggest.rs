//! The nearest of some names, for a typo.

/// The name that differs least from `written`, unless all of them differ too much to be meant.
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written_lower = written.to_lowercase();
    let limit = (written.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|it| (distance(&written_lower, &it.to_lowercase()), it))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, it)| it)
}

/// How many letters have to be inserted, removed, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 3 {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, expected: Option<&str>) {
        let names = [
            "owners",
            "identities",
            "access",
            "namespaces",
            "network",
            "toCIDRs",
        ];
        assert_eq!(nearest(written, names), expected, "{written}");
    }

    #[test]
    fn a_typo_is_told_from_another_word() {
        check("onwers", Some("owners"));
        check("owner", Some("owners"));
        check("Owners", Some("owners"));
        check("namespace", Some("namespaces"));
        check("toCidrs", Some("toCIDRs"));
        check("quota", None);
        check("", None);
        check("placement", None);
        check(&"x".repeat(100_000), None);
    }
}

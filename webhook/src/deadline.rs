//! When an answer is due: before the API server stops waiting for it.
//!
//! A request that the API server gave up on is refused by `failurePolicy: Fail` as a failed call, which no client
//! retries. Answered in time it is a 503 that says so.

use std::time::Duration;

use axum::http::Uri;
use tokio::time::Instant;

/// What the API server waits when it doesn't say: the `timeoutSeconds` of the chart.
const PATIENCE: Duration = Duration::from_secs(3);
/// What `timeoutSeconds` may be at most.
const MAX_PATIENCE: Duration = Duration::from_secs(30);
/// How much earlier the answer is due: it has to get there.
const MARGIN: Duration = Duration::from_millis(500);

/// When the answer to a request that arrives now is due. The API server tells how long it waits in `?timeout=`.
pub(crate) fn due(uri: &Uri) -> Instant {
    Instant::now() + patience(uri).saturating_sub(MARGIN)
}

fn patience(uri: &Uri) -> Duration {
    let mut parameters = uri.query().unwrap_or_default().split('&');
    let told = parameters.find_map(|it| it.strip_prefix("timeout="));
    told.and_then(duration)
        .map_or(PATIENCE, |it| it.min(MAX_PATIENCE))
}

/// A duration as Go writes it, such as `3s`, `1m30s` or `500ms`; none of nothing at all.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let number: f64 = number.parse().ok()?;
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = tail;
    }
    (!total.is_zero()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_tells_how_long_it_waits() {
        let ms = Duration::from_millis;
        for (query, expected) in [
            ("?timeout=3s", ms(3000)),
            ("?timeout=10s", ms(10_000)),
            ("?timeout=1.5s", ms(1500)),
            ("?timeout=800ms", ms(800)),
            ("?timeout=1m30s", MAX_PATIENCE),
            ("?timeout=99999999999999999999h", PATIENCE),
            ("?a=b&timeout=2s", ms(2000)),
            ("?mytimeout=2s", PATIENCE),
            ("?timeout=", PATIENCE),
            ("?timeout=0s", PATIENCE),
            ("?timeout=3", PATIENCE),
            ("?timeout=s", PATIENCE),
            ("?timeout=-3s", PATIENCE),
            ("", PATIENCE),
        ] {
            let uri: Uri = format!("https://webhook/validate{query}").parse().unwrap();
            assert_eq!(patience(&uri), expected, "{query}");
        }
    }
}

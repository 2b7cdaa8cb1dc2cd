//! What namespaces were refused for want of quota, as the events of Kubernetes' controllers tell it.
//!
//! A hint: it decides who is served first with what is free within a tenant, and nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bailiwick_core::quantity::Amount;
use bailiwick_core::quota::{Amounts, asked};
use futures::{Stream, TryStreamExt as _};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::broadcast;

use crate::context::Context;
use crate::observe::Observed;
use bailiwick_core::stored::StoredTenant;

/// How long it is remembered at least, and at most.
const REMEMBERED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_mins(5));
/// Resources of a namespace that are remembered: as many as a Tenant can limit.
const MOST: usize = 64;
/// Tenants that may be woken at once; more are woken by what changes next.
const WAKING: usize = 256;

/// What was refused, by namespace and resource.
pub(crate) struct Demand {
    asks: Mutex<HashMap<String, HashMap<String, Ask>>>,
    heard: broadcast::Sender<String>,
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            asks: Mutex::default(),
            heard: broadcast::channel(WAKING).0,
        }
    }
}

#[derive(Clone, Copy)]
struct Ask {
    amount: Amount,
    until: Instant,
    /// The least that was seen to be used since.
    used: Option<Amount>,
}

impl Demand {
    /// What a namespace was refused lately and did not get yet, given what it uses.
    pub(crate) fn of(&self, namespace: &str, used: &Amounts, now: Instant) -> Amounts {
        let mut asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(asks) = asks.get_mut(namespace) else {
            return Amounts::new();
        };
        asks.retain(|resource, ask| {
            let used = used.get(resource).copied().unwrap_or_default();
            let least = ask.used.unwrap_or(used).min(used);
            ask.used = Some(least);
            now < ask.until && used < least.plus(ask.amount)
        });
        asks.iter()
            .map(|(resource, ask)| (resource.clone(), ask.amount))
            .collect()
    }

    /// A namespace was refused something, and has tried for so long.
    fn hear(&self, namespace: &str, asked: Amounts, tried: Duration, now: Instant) {
        {
            // A controller tries again after about as long as it has tried already.
            let (least, most) = REMEMBERED;
            let until = now + tried.saturating_add(tried / 4).clamp(least, most);
            let mut asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
            asks.retain(|_, it| {
                it.retain(|_, ask| now < ask.until);
                !it.is_empty()
            });
            let asks = asks.entry(namespace.to_owned()).or_default();
            for (resource, amount) in asked {
                if asks.len() >= MOST && !asks.contains_key(&resource) {
                    continue;
                }
                let ask = asks.entry(resource).or_insert(Ask {
                    amount,
                    until,
                    used: None,
                });
                ask.amount = ask.amount.max(amount);
                ask.until = ask.until.max(until);
            }
        }
        // Nobody listening is fine: the next pass asks.
        let _ = self.heard.send(namespace.to_owned());
    }

    /// The Tenants in whose namespaces something was refused.
    pub(crate) fn heard(
        &self,
        observed: &Observed,
    ) -> impl Stream<Item = ObjectRef<StoredTenant>> + Send + use<> {
        let observed = observed.clone();
        futures::stream::unfold(
            (self.heard.subscribe(), observed),
            |(mut heard, observed)| async move {
                loop {
                    match heard.recv().await {
                        Ok(namespace) => {
                            if let Some(tenant) = observed.tenant_of(&namespace) {
                                return Some((ObjectRef::new(&tenant), (heard, observed)));
                            }
                        }
                        Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => return None,
                    }
                }
            },
        )
    }
}

/// Listens for refusals, for ever.
///
/// # Errors
/// When the watch ends.
pub(crate) async fn listen(context: Arc<Context>) -> anyhow::Result<()> {
    let events: Api<Event> = Api::all(context.client.clone());
    let refused = watcher::Config::default().fields("reason=FailedCreate");
    let metrics = context.metrics.clone();
    let heard = watcher(events, refused)
        .inspect_err(move |error| {
            metrics.watch_errors.inc();
            tracing::warn!(%error, kind = "Event", "A watch failed; it begins again");
        })
        .default_backoff();
    let mut heard = std::pin::pin!(heard);
    loop {
        // Errors are told above, and the watch begins again by itself.
        let Some(event) = heard.try_next().await.unwrap_or(Some(watcher::Event::Init)) else {
            return Err(anyhow::anyhow!("the watch of events ended"));
        };
        let (watcher::Event::Apply(event) | watcher::Event::InitApply(event)) = event else {
            continue;
        };
        let Some(asked) = event.message.as_deref().and_then(asked) else {
            continue;
        };
        if let Some(tried) = tried(&event, Timestamp::now()) {
            let namespace = event.metadata.namespace.unwrap_or_default();
            context.demand.hear(&namespace, asked, tried, Instant::now());
        }
    }
}

/// For how long something has been tried; none if it was last tried long ago.
fn tried(event: &Event, now: Timestamp) -> Option<Duration> {
    let series = event
        .series
        .as_ref()
        .and_then(|it| it.last_observed_time.as_ref());
    let begun = event.event_time.as_ref().map(|it| it.0);
    let begun = event.first_timestamp.as_ref().map(|it| it.0).or(begun)?;
    let last = event.last_timestamp.as_ref().map(|it| it.0);
    let last = series.map(|it| it.0).or(last).unwrap_or(begun);
    let is_recent = now.duration_since(last).unsigned_abs() < REMEMBERED.0;
    is_recent.then(|| last.duration_since(begun).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn amounts(of: &str) -> Amounts {
        Amounts::from([("pods".to_owned(), Amount::parse(of).unwrap())])
    }

    #[test]
    fn the_largest_refusal_is_remembered_for_a_while() {
        let (demand, now) = (Demand::default(), Instant::now());
        let of = |namespace, after| demand.of(namespace, &amounts("7"), now + after);
        demand.hear("ns", amounts("3"), Duration::ZERO, now);
        demand.hear("ns", amounts("2"), Duration::ZERO, now);
        assert_eq!(of("ns", Duration::ZERO), amounts("3"));
        assert_eq!(of("other", Duration::ZERO), Amounts::new());
        assert_eq!(of("ns", REMEMBERED.0), Amounts::new());
        // Who has tried for long waits for long.
        let long = Duration::from_mins(1);
        demand.hear("ns", amounts("2"), long, now);
        assert_eq!(of("ns", long), amounts("2"));
        assert_eq!(of("ns", long * 2), Amounts::new());
        demand.hear("ns", amounts("2"), Duration::MAX, now);
        assert_eq!(of("ns", REMEMBERED.1), Amounts::new());
        demand.hear("other", amounts("1"), Duration::ZERO, now);
        assert_eq!(demand.asks.lock().unwrap().len(), 1);
    }

    #[test]
    fn who_got_it_asks_no_more() {
        let (demand, now) = (Demand::default(), Instant::now());
        let of = |used| demand.of("ns", &amounts(used), now);
        demand.hear("ns", amounts("3"), Duration::ZERO, now);
        assert_eq!(of("7"), amounts("3"));
        assert_eq!(of("9"), amounts("3"));
        // Something else ended meanwhile.
        assert_eq!(of("5"), amounts("3"));
        assert_eq!(of("8"), Amounts::new());
        assert_eq!(of("5"), Amounts::new());
    }

    #[test]
    fn events_of_long_ago_tell_nothing() {
        let event = |time: serde_json::Value| -> Event {
            let mut event = json!({"metadata": {}, "involvedObject": {}});
            event
                .as_object_mut()
                .unwrap()
                .extend(time.as_object().unwrap().clone());
            serde_json::from_value(event).unwrap()
        };
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        let (recent, old) = ("2026-01-01T00:59:50Z", "2026-01-01T00:00:50Z");
        let check = |time, expected: Option<u64>| {
            assert_eq!(tried(&event(time), now), expected.map(Duration::from_secs));
        };
        check(
            json!({"firstTimestamp": recent, "lastTimestamp": recent}),
            Some(0),
        );
        check(
            json!({"firstTimestamp": old, "lastTimestamp": recent}),
            Some(3540),
        );
        check(json!({"firstTimestamp": old, "lastTimestamp": old}), None);
        check(json!({"eventTime": "2026-01-01T00:59:50.000000Z"}), Some(0));
        check(json!({}), None);
    }
}

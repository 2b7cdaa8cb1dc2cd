//! `POST /validate`: one path for all kinds, because one function decides them all.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bailiwick_core::decide::{self, Decision, Outcome};
use bailiwick_core::policy::{Moment, judge};
use bailiwick_core::review::{self, Request};
use bailiwick_core::snapshot::Snapshot;
use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::answer::answer;
use crate::deadline;
use crate::feed::SharedSnapshot;
use crate::fetch::Fetcher;
use crate::metrics::Metrics;
use crate::policies::Policies;

/// The largest review: an object of 1.5 MB, escaped, twice, and room to spare.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// All bodies that are in memory at a time, in KiB.
const MAX_BODIES_KIB: usize = 128 * 1024;
/// Bodies larger than this are parsed off the threads that serve everybody.
const LARGE: usize = 256 * 1024;
/// How long the comparison of candidates may take for one request.
const COMPARISON: Duration = Duration::from_secs(2);
/// How often one decision may learn something new before it gives up.
const MAX_NEEDS: usize = 4;

/// What answers reviews.
#[derive(Clone)]
pub struct Reviews {
    snapshot: SharedSnapshot,
    fetcher: Fetcher,
    policies: Policies,
    metrics: Metrics,
    room: Arc<Semaphore>,
}

impl Reviews {
    /// Reviews answered from this snapshot.
    pub fn new(snapshot: SharedSnapshot, fetcher: Fetcher, policies: Policies, metrics: Metrics) -> Self {
        Self {
            snapshot,
            fetcher,
            policies,
            metrics,
            room: Arc::new(Semaphore::new(MAX_BODIES_KIB)),
        }
    }
}

/// The webhook's routes.
pub fn router(reviews: Reviews) -> Router {
    Router::new()
        .route("/validate", post(validate))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(reviews)
}

/// A failure that the API server takes as a failed call, which `failurePolicy: Fail` refuses.
fn failure(status: StatusCode, reason: impl Into<String>) -> Response {
    (status, reason.into() + "\n").into_response()
}

async fn validate(State(reviews): State<Reviews>, uri: Uri, headers: HeaderMap, body: Body) -> Response {
    let due = deadline::due(&uri);
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|it| it.to_str().ok())
        .and_then(|it| it.parse::<usize>().ok())
        .unwrap_or(MAX_BODY);
    if announced > MAX_BODY {
        return failure(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a review of {announced} bytes; at most {MAX_BODY}"),
        );
    }
    let room = u32::try_from(announced / 1024 + 1).unwrap_or(u32::MAX);
    let arrived = async {
        let permit = reviews.room.clone().acquire_many_owned(room).await.ok()?;
        let body = axum::body::to_bytes(body, announced).await.ok()?;
        Some((permit, body))
    };
    let Ok(Some((_permit, body))) = tokio::time::timeout_at(due, arrived).await else {
        return failure(
            StatusCode::SERVICE_UNAVAILABLE,
            "the review did not arrive in time; try again",
        );
    };
    let answered = if body.len() > LARGE {
        let handle = tokio::runtime::Handle::current();
        let reviews = reviews.clone();
        tokio::task::spawn_blocking(move || handle.block_on(review(&reviews, body, due)))
            .await
            .ok()
    } else {
        Some(review(&reviews, body, due).await)
    };
    answered.unwrap_or_else(|| failure(StatusCode::INTERNAL_SERVER_ERROR, "the decision was not finished"))
}

async fn review(reviews: &Reviews, body: Bytes, due: tokio::time::Instant) -> Response {
    if !reviews.snapshot.is_fed() {
        // An API server may ask before anybody was told that this replica is ready.
        return failure(
            StatusCode::SERVICE_UNAVAILABLE,
            "this replica has not read the cluster yet; try again",
        );
    }
    let begin = Instant::now();
    let request = match review::parse(&body) {
        Ok(request) => request,
        Err(error) => {
            reviews.metrics.malformed();
            tracing::warn!(%error, bytes = body.len(), "A body is no AdmissionReview");
            return failure(StatusCode::BAD_REQUEST, error.to_string());
        }
    };
    let current = reviews.snapshot.load_full();
    let decision = decided(reviews, &request, &current, due).await;
    reviews.metrics.decided(&request, &decision, begin.elapsed());
    let tenant = decision.tenant.as_deref().unwrap_or_default();
    reviews.policies.breaker.learn(tenant, &decision.ran);
    log(&request, &decision);
    let comparer = &reviews.policies.comparer;
    comparer.compare(&body, &request, &current, moment(reviews, COMPARISON));
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::OK, kind, answer(&request.uid, &decision)).into_response()
}

/// Decides, learning what the snapshot lacks while there is time.
async fn decided(
    reviews: &Reviews,
    request: &Request<'_>,
    current: &Arc<Snapshot>,
    due: tokio::time::Instant,
) -> Decision {
    let mut learned: Option<Snapshot> = None;
    let mut last = None;
    for _ in 0..MAX_NEEDS {
        let snapshot = learned.as_ref().unwrap_or(current);
        let Some(outcome) = decide_once(reviews, request, snapshot, due).await else {
            return decide::overloaded(current, request);
        };
        let need = match outcome {
            Outcome::Decided(decision) => return decision,
            Outcome::Needs(need) => need,
        };
        reviews.metrics.fetched();
        let snapshot = learned.take().unwrap_or_else(|| (**current).clone());
        let filled = tokio::time::timeout_at(due, reviews.fetcher.fill(snapshot, &need)).await;
        match filled.unwrap_or_else(|_| Err("the answer is due".to_owned())) {
            Ok(snapshot) => learned = Some(snapshot),
            Err(reason) => return decide::undecided(current, request, &need, &reason),
        }
        last = Some(need);
    }
    match last {
        Some(need) => decide::undecided(current, request, &need, "too much is new at once"),
        None => Decision::default(),
    }
}

/// Decides with what the snapshot holds; none if there was no room to evaluate policies until `due`.
async fn decide_once(
    reviews: &Reviews,
    request: &Request<'_>,
    snapshot: &Snapshot,
    due: tokio::time::Instant,
) -> Option<Outcome> {
    let budget = || due.saturating_duration_since(tokio::time::Instant::now());
    if !judge::may_judge(snapshot, request) {
        return Some(decide::decide(snapshot, request, &moment(reviews, budget())));
    }
    let tenant = snapshot.tenant_of(&request.namespace).unwrap_or_default();
    let _place = reviews.policies.room.enter(tenant, due).await?;
    // A policy may take long: whoever else this thread serves goes on elsewhere.
    tokio::task::block_in_place(|| Some(decide::decide(snapshot, request, &moment(reviews, budget()))))
}

fn moment(reviews: &Reviews, budget: Duration) -> Moment {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Moment {
        // Before 1970 no exception has begun to end.
        now: now.map_or(0, |it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX)),
        budget,
        open_circuits: reviews.policies.breaker.open(),
    }
}

fn log(request: &Request<'_>, decision: &Decision) {
    if decision.allowed() {
        tracing::debug!(
            uid = &*request.uid,
            resource = &*request.resource_path(),
            "Allowed"
        );
        return;
    }
    let cut = |text: &str| text.chars().take(253).collect::<String>();
    tracing::info!(
        uid = cut(&request.uid),
        tenant = decision.tenant.as_deref(),
        resource = &*request.resource_path(),
        operation = ?request.operation,
        namespace = cut(&request.namespace),
        name = cut(&request.name),
        user = cut(&request.user_info.username),
        dry_run = request.dry_run.unwrap_or(false),
        reason = decision.message(),
        "Denied"
    );
}

#[cfg(test)]
mod tests;

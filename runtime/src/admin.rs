//! Health and metrics, over plain HTTP: what a kubelet and a Prometheus ask for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What has to hold before this replica is ready, each with the reason why it doesn't hold yet.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, Option<String>>>>);

impl Readiness {
    /// Readiness that waits for these.
    pub fn waiting_for(names: &[&'static str]) -> Self {
        let pending = names.iter().map(|it| (*it, Some("not yet".to_owned()))).collect();
        Self(Arc::new(Mutex::new(pending)))
    }

    /// Says whether one of them holds; `problem` is why not.
    pub fn set(&self, name: &'static str, problem: Option<String>) {
        let mut checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = checks.insert(name, problem.clone());
        if old.as_ref() != Some(&problem) {
            match problem {
                None => tracing::info!(check = name, "Ready"),
                Some(problem) => tracing::warn!(check = name, problem, "Not ready"),
            }
        }
    }

    /// Why this replica is not ready; nothing when it is.
    pub fn problems(&self) -> Vec<String> {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        checks
            .iter()
            .filter_map(|(name, problem)| problem.as_ref().map(|it| format!("{name}: {it}")))
            .collect()
    }
}

/// What the admin endpoints show.
#[derive(Clone)]
pub struct Admin {
    /// Readiness.
    pub readiness: Readiness,
    /// Metrics.
    pub registry: Arc<Registry>,
}

/// The admin endpoints.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let problems = admin.readiness.problems();
    if problems.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n")
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(header::CONTENT_TYPE, kind)], text)
        }
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain")],
            error.to_string(),
        ),
    }
}

/// Serves the admin endpoints until the token is cancelled.
///
/// # Errors
/// When the address can't be bound.
pub async fn serve(address: SocketAddr, admin: Admin, stop: CancellationToken) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| anyhow::anyhow!("--admin-address {address}: {error}; choose a free address"))?;
    tracing::info!(%address, "Admin endpoints are served");
    axum::serve(listener, router(admin))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(readiness: &Readiness, path: &str) -> (u16, String) {
        let admin = Admin {
            readiness: readiness.clone(),
            registry: Arc::default(),
        };
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = router(admin).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_replica_is_ready_when_everything_holds_and_says_what_does_not() {
        let readiness = Readiness::waiting_for(&["caches", "certificate"]);
        let not_yet = "caches: not yet\ncertificate: not yet\n".to_owned();
        assert_eq!(get(&readiness, "/readyz").await, (503, not_yet));
        readiness.set("caches", None);
        readiness.set("certificate", Some("it has ended".to_owned()));
        let ended = "certificate: it has ended\n".to_owned();
        assert_eq!(get(&readiness, "/readyz").await, (503, ended));
        readiness.set("certificate", None);
        assert_eq!(get(&readiness, "/readyz").await, (200, "ok\n".to_owned()));
        // What comes up later counts, too.
        readiness.set("serving", Some("shutting down".to_owned()));
        assert_eq!(get(&readiness, "/readyz").await.0, 503);
        // It lives all the while.
        assert_eq!(get(&readiness, "/healthz").await.0, 200);
    }
}

//! Probes and metrics over HTTP.
//!
//! `/healthz` answers as long as the process does; `/readyz` names what it still waits for; `/metrics` is for Prometheus.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

/// What the process waits for before it is ready, by who waits.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<RwLock<BTreeMap<String, String>>>);

/// Who waits until everybody else has said what they wait for.
const OPERATOR: &str = "operator";

impl Default for Readiness {
    /// A process that has only just begun: it is not ready.
    fn default() -> Self {
        let starting = BTreeMap::from([(OPERATOR.to_owned(), "its start".to_owned())]);
        Self(Arc::new(RwLock::new(starting)))
    }
}

impl Readiness {
    /// Everybody has said what they wait for.
    pub fn started(&self) {
        self.ready(OPERATOR);
    }

    /// `who` waits for `what`.
    pub fn waits(&self, who: impl Into<String>, what: impl Into<String>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(who.into(), what.into());
    }

    /// `who` waits no more.
    pub fn ready(&self, who: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(who);
    }

    /// What is still waited for, a line each; nothing when the process is ready.
    pub fn missing(&self) -> Vec<String> {
        let waiting = self.0.read().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().map(|(who, what)| format!("{who}: waiting for {what}")).collect()
    }
}

/// The probes: a process that stops is not ready.
pub fn probes(readiness: Readiness, stop: CancellationToken) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state((readiness, stop))
}

/// The metrics.
pub fn metrics(metrics: Arc<Metrics>) -> Router {
    Router::new().route("/metrics", get(metrics_text)).with_state(metrics)
}

/// Serves until `stop`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn readyz(State((readiness, stop)): State<(Readiness, CancellationToken)>) -> Response {
    let mut missing = readiness.missing();
    if stop.is_cancelled() {
        missing.push(format!("{OPERATOR}: stopping"));
    }
    if missing.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", missing.join("\n"))).into_response()
}

async fn metrics_text(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.render() {
        Ok(text) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_only_just_begun_is_not_ready() {
        let readiness = Readiness::default();
        assert_eq!(readiness.missing(), ["operator: waiting for its start"]);
        readiness.waits("all namespaces", "the first list of AmiShares");
        readiness.started();
        assert_eq!(readiness.missing(), ["all namespaces: waiting for the first list of AmiShares"]);
        readiness.ready("all namespaces");
        assert!(readiness.missing().is_empty());
    }
}

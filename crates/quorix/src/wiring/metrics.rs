//! `/metrics` for Prometheus and `/health`, on a listener of their own.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;

use super::Start;
use crate::listen;
use crate::output::Failure;

/// What OpenMetrics text is called.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Starts to answer, if there is a section for it. The last role: all metrics are registered by now.
///
/// # Errors
/// The address cannot be used.
pub async fn start(start: &mut Start<'_>) -> Result<(), Failure> {
    let Some(section) = &start.config.metrics else {
        return Ok(());
    };
    let bound = listen::http("metrics.listen", &section.listen, start.tls.as_ref()).await?;
    tracing::info!("metrics: {}, /metrics", section.listen);
    let registry = Arc::new(std::mem::take(&mut start.registry));
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(|| async { "ok\n" }))
        .with_state(registry);
    start.serve_http(bound, &router);
    Ok(())
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics could not be written\n",
        )
            .into_response(),
    }
}

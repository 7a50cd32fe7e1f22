//! What a log serves of its index: the output log as any log, look-ups, and entries with proofs.

use std::str::FromStr;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use quorix_tlog::index::Key;
use quorix_tlog::index::proven::MAX_ENTRIES;
use quorix_tlog::tile::TilePath;
use quorix_trust::ports::StoreError;
use tower_http::set_header::SetResponseHeaderLayer;

use super::LogIndex;

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const IMMUTABLE: &str = "max-age=604800, immutable";

/// The routes below `/index/`: `checkpoint`, `tile/…`, `status`, `lookup/<key>/<known size>` and
/// `entries/<size>/<index>,<index>,…`.
pub fn router(index: &LogIndex) -> Router {
    Router::new()
        .route("/index/checkpoint", get(checkpoint))
        .route("/index/status", get(status))
        .route("/index/tile/{*path}", get(tile))
        .route("/index/lookup/{key}/{since}", get(lookup))
        .route("/index/entries/{size}/{list}", get(entries))
        .layer(SetResponseHeaderLayer::overriding(
            ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        ))
        .with_state(index.clone())
}

async fn checkpoint(State(index): State<LogIndex>) -> Response {
    answered(
        TEXT,
        "no-cache",
        blocking(move || index.checkpoint().map(Some)).await,
    )
}

async fn status(State(index): State<LogIndex>) -> Response {
    let status = index.status();
    let mut text = format!(
        "covered {}\nbehind {}\nbehind_seconds {}\nkeys {}\n",
        status.covered, status.behind, status.behind_s, status.keys
    );
    if let Some(reason) = status.stopped {
        text.push_str("stopped ");
        text.push_str(&reason);
        text.push('\n');
    }
    answer(StatusCode::OK, TEXT, "no-cache", text.into_bytes())
}

async fn tile(State(index): State<LogIndex>, uri: Uri) -> Response {
    let path = uri.path().strip_prefix("/index/").unwrap_or_default();
    match TilePath::from_str(path) {
        Ok(path) => answered(BYTES, IMMUTABLE, blocking(move || index.tile(path)).await),
        Err(error) => bad(&error.to_string()),
    }
}

async fn lookup(
    State(index): State<LogIndex>,
    Path((key, since)): Path<(String, String)>,
) -> Response {
    let (Some(key), Some(since)) = (Key::from_hex(&key), number(&since)) else {
        return bad(
            "a look-up is /index/lookup/<64 hexadecimal digits>/<known size of the log, or 0>",
        );
    };
    let read = move || Ok(index.answer(&key, since)?.map(|answer| answer.to_bytes()));
    answered(BYTES, "no-cache", blocking(read).await)
}

async fn entries(
    State(index): State<LogIndex>,
    Path((size, list)): Path<(String, String)>,
) -> Response {
    let asked: Option<Vec<u64>> = list
        .split(',')
        .take(MAX_ENTRIES.saturating_add(1))
        .map(number)
        .collect();
    let (Some(size), Some(asked)) = (number(&size), asked) else {
        return bad(
            "entries are /index/entries/<size of the log>/<index>,<index>,…, at most 64 of them",
        );
    };
    answered(
        BYTES,
        IMMUTABLE,
        blocking(move || index.entries(size, &asked)).await,
    )
}

/// A number in the one spelling that it has.
fn number(text: &str) -> Option<u64> {
    let value: u64 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

async fn blocking(
    read: impl FnOnce() -> Result<Option<Vec<u8>>, StoreError> + Send + 'static,
) -> Result<Option<Vec<u8>>, String> {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn answered(
    content_type: &'static str,
    cache_control: &'static str,
    read: Result<Option<Vec<u8>>, String>,
) -> Response {
    match read {
        Ok(Some(body)) => answer(StatusCode::OK, content_type, cache_control, body),
        Ok(None) => sentence(
            StatusCode::NOT_FOUND,
            "the published log or its index does not cover this",
        ),
        Err(error) => {
            tracing::error!(%error, "the log's index could not be read");
            let told = "the log's index could not be read; try again later";
            sentence(StatusCode::INTERNAL_SERVER_ERROR, told)
        }
    }
}

fn bad(reason: &str) -> Response {
    sentence(StatusCode::BAD_REQUEST, reason)
}

fn sentence(status: StatusCode, text: &str) -> Response {
    answer(status, TEXT, "no-store", format!("{text}\n").into_bytes())
}

fn answer(
    status: StatusCode,
    content_type: &'static str,
    cache_control: &'static str,
    body: Vec<u8>,
) -> Response {
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, cache_control)];
    (status, headers, body).into_response()
}

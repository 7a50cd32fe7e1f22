//! What a log serves of its index: the output log as any log, look-ups, and entries with proofs.

use std::str::FromStr;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use quorix_tlog::index::Key;
use quorix_tlog::index::proven::MAX_ENTRIES;
use quorix_tlog::tile::TilePath;

use super::{LogIndex, NoAnswer};
use crate::routes::{self, BYTES, IMMUTABLE, TEXT};

/// Seconds after which it is worth asking again.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("5");

/// The routes below `/index/`: `checkpoint`, `tile/…`, `status`,
/// `lookup/<key>/<known size of the log>/<known size of the index>`, `list/<key>/<covered>/<from>` and
/// `entries/<size>/<index>,<index>,…`.
pub fn router(index: &LogIndex) -> Router {
    let router = Router::new()
        .route("/index/checkpoint", get(checkpoint))
        .route("/index/status", get(status))
        .route("/index/tile/{*path}", get(tile))
        .route("/index/lookup/{key}/{since}/{index_since}", get(lookup))
        .route("/index/list/{key}/{covered}/{from}", get(list))
        .route("/index/entries/{size}/{list}", get(entries));
    routes::read_only(router.with_state(index.clone()))
}

async fn checkpoint(State(index): State<LogIndex>) -> Response {
    read(&index, TEXT, "no-cache", LogIndex::checkpoint).await
}

async fn status(State(index): State<LogIndex>) -> Response {
    let status = index.status();
    let mut text = format!(
        "covered {}\nbehind {}\nbehind_seconds {}\nkeys {}\nanswering {}\n",
        status.covered, status.behind, status.behind_s, status.keys, status.answering
    );
    // One of them is the other where it has stopped.
    let lines = match (status.stopped, status.problem) {
        (Some(reason), _) => Some(("stopped", reason)),
        (None, problem) => problem.map(|reason| ("problem", reason)),
    };
    if let Some((word, reason)) = lines {
        text.push_str(&format!("{word} {}\n", reason.replace('\n', " ")));
    }
    answer(StatusCode::OK, TEXT, "no-cache", text.into_bytes())
}

async fn tile(State(index): State<LogIndex>, uri: Uri) -> Response {
    let path = uri.path().strip_prefix("/index/").unwrap_or_default();
    match TilePath::from_str(path) {
        Ok(path) => read(&index, BYTES, IMMUTABLE, move |index| index.tile(path)).await,
        Err(error) => bad(&error.to_string()),
    }
}

async fn lookup(
    State(index): State<LogIndex>,
    Path((key, since, index_since)): Path<(String, String, String)>,
) -> Response {
    let asked = (Key::from_hex(&key), number(&since), number(&index_since));
    let (Some(key), Some(since), Some(index_since)) = asked else {
        return bad(
            "a look-up is /index/lookup/<64 hexadecimal digits>/<known size of the log, or 0>/<known size of its index, or 0>",
        );
    };
    read(&index, BYTES, "no-cache", move |index| {
        Ok(index.answer(&key, since, index_since)?.to_bytes())
    })
    .await
}

async fn list(
    State(index): State<LogIndex>,
    Path((key, covered, from)): Path<(String, String, String)>,
) -> Response {
    let asked = (Key::from_hex(&key), number(&covered), number(&from));
    let (Some(key), Some(covered), Some(from)) = asked else {
        return bad(
            "a page of a list is /index/list/<64 hexadecimal digits>/<entries that the index covers>/<first index>",
        );
    };
    // Of what is covered nothing ever changes.
    read(&index, BYTES, IMMUTABLE, move |index| {
        index.list_page(&key, covered, from)
    })
    .await
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
    let asked =
        asked.filter(|asked| asked.len() <= MAX_ENTRIES && asked.is_sorted_by(|a, b| a < b));
    let (Some(size), Some(asked)) = (number(&size), asked) else {
        return bad(
            "entries are /index/entries/<size of the log>/<index>,<index>,…, ascending, at most 64 of them",
        );
    };
    // How many are answered depends on nothing but the log.
    read(&index, BYTES, IMMUTABLE, move |index| {
        index.entries(size, &asked)
    })
    .await
}

/// A number in the one spelling that it has.
fn number(text: &str) -> Option<u64> {
    let value: u64 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

/// Reads beside the threads that serve, a few at the same time, and answers.
async fn read(
    index: &LogIndex,
    content_type: &'static str,
    cache_control: &'static str,
    read: impl FnOnce(&LogIndex) -> Result<Vec<u8>, NoAnswer> + Send + 'static,
) -> Response {
    let place = index.inner.reads.acquire().await;
    let reading = index.clone();
    let answered = tokio::task::spawn_blocking(move || read(&reading)).await;
    drop(place);
    match answered {
        Ok(Ok(body)) => answer(StatusCode::OK, content_type, cache_control, body),
        Ok(Err(NoAnswer::Store(error))) => unreadable(&error.to_string()),
        Ok(Err(error)) => refused(&error),
        Err(error) => unreadable(&error.to_string()),
    }
}

fn refused(error: &NoAnswer) -> Response {
    let status = match error {
        NoAnswer::NotReady { .. } => StatusCode::SERVICE_UNAVAILABLE,
        // Not 404, which is what a log without an index answers.
        NoAnswer::Beyond => StatusCode::CONFLICT,
        NoAnswer::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = sentence(status, &error.to_string());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
    }
    response
}

fn unreadable(error: &str) -> Response {
    tracing::error!(%error, "the log's index could not be read");
    let told = "the log's index could not be read; try again later";
    sentence(StatusCode::INTERNAL_SERVER_ERROR, told)
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
    (status, routes::answer(content_type, cache_control, body)).into_response()
}

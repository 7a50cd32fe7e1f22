//! The HTTP interface of a witness: `POST /add-checkpoint`, and the newest cosigned checkpoint of each log.
//!
//! Open to everybody: a request is worth only what its checkpoint's signature is worth. Submission prefix and
//! monitoring prefix are the same. Specification: C2SP tlog-witness.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use quorix_tlog::witness::MAX_REQUEST_LENGTH;

use super::{NoCosignature, Witness};

const TEXT: &str = "text/plain; charset=utf-8";

/// How long a client may take to send its request.
const BODY_PATIENCE: Duration = Duration::from_secs(15);

/// The routes of a witness.
pub fn router(witness: &Witness) -> Router {
    Router::new()
        .route("/", get(about))
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{origin}/checkpoint", get(checkpoint))
        .fallback(async || {
            let sentence = "there is nothing here; a witness has POST /add-checkpoint and, by the SHA-256 of an origin, \
                            GET /<64 hexadecimal digits>/checkpoint";
            failure(StatusCode::NOT_FOUND, sentence)
        })
        .method_not_allowed_fallback(async || {
            let sentence = "a witness takes POST at /add-checkpoint and GET elsewhere";
            failure(StatusCode::METHOD_NOT_ALLOWED, sentence)
        })
        .with_state(witness.clone())
}

async fn about(State(witness): State<Witness>) -> Response {
    let text = format!(
        "This is a witness of transparency logs (C2SP tlog-witness): it cosigns checkpoints of the logs below, each one only \
         as an extension of what it cosigned before.\n\nIts keys:\n{}\n\nIts logs:\n{}\n",
        witness.vkeys().join("\n"),
        witness.origins().join("\n")
    );
    answer(StatusCode::OK, TEXT, "no-cache", text)
}

async fn add_checkpoint(State(witness): State<Witness>, body: Body) -> Response {
    let read = tokio::time::timeout(BODY_PATIENCE, to_bytes(body, MAX_REQUEST_LENGTH));
    let body = match read.await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let sentence = format!("a request has at most {MAX_REQUEST_LENGTH} bytes");
            return failure(StatusCode::PAYLOAD_TOO_LARGE, &sentence);
        }
        Err(_) => return failure(StatusCode::REQUEST_TIMEOUT, "the request took too long"),
    };
    // Verifying is work, and the store blocks.
    let answered = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body)).await;
    let answered = answered.unwrap_or_else(|error| {
        Err(NoCosignature::Failed {
            reason: error.to_string(),
        })
    });
    match answered {
        Ok(lines) => answer(StatusCode::OK, TEXT, "no-store", lines),
        Err(NoCosignature::Refused(refusal)) => {
            let status = StatusCode::from_u16(refusal.status());
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            answer(status, refusal.content_type(), "no-store", refusal.body())
        }
        Err(error @ NoCosignature::TooMany { .. }) => {
            let refused = failure(StatusCode::TOO_MANY_REQUESTS, &error.to_string());
            ([(RETRY_AFTER, "60")], refused).into_response()
        }
        Err(error @ NoCosignature::Busy) => {
            failure(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
        }
        Err(error @ NoCosignature::Failed { .. }) => {
            failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
    }
}

async fn checkpoint(State(witness): State<Witness>, Path(origin): Path<String>) -> Response {
    let found = tokio::task::spawn_blocking(move || witness.latest(&origin)).await;
    match found {
        Ok(Ok(Some(note))) => {
            let note = (
                [
                    (CONTENT_TYPE, TEXT),
                    (CACHE_CONTROL, "no-cache"),
                    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
                ],
                note,
            );
            note.into_response()
        }
        Ok(Ok(None)) => failure(
            StatusCode::NOT_FOUND,
            "no checkpoint of a log with this SHA-256 of its origin was cosigned here",
        ),
        Ok(Err(_)) | Err(_) => failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the witness's database could not be read; try again later",
        ),
    }
}

fn failure(status: StatusCode, sentence: &str) -> Response {
    answer(status, TEXT, "no-store", format!("{sentence}\n"))
}

fn answer(
    status: StatusCode,
    content_type: &'static str,
    cache_control: &'static str,
    body: String,
) -> Response {
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, cache_control)];
    (status, headers, body).into_response()
}

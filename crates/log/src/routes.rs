//! The public read API of a log: C2SP tlog-tiles, and the blobs that entries name.
//!
//! Read-only and static: every answer but the checkpoint's is the same for ever, so that any file host or mirror can
//! give it instead. Nothing beyond the published checkpoint is shown.

use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE,
    HeaderValue, RETRY_AFTER, VARY,
};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use data_encoding::HEXLOWER;
use quorix_tlog::tile::{TileLevel, TilePath};
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::StoreError;
use quorix_wire::compress::{Encoding, compress};
use tokio::sync::Semaphore;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::published::Published;
use crate::service::Log;

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
pub(crate) const BYTES: &str = "application/octet-stream";
pub(crate) const IMMUTABLE: &str = "max-age=604800, immutable";

/// Bundles of one log that are compressed at once; more are sent as they are.
const COMPRESSING_MAX: usize = 2;

/// The routes `/checkpoint`, `/tile/…`, `/blob/…` and `/` of this log, for `GET` and `HEAD`.
pub fn router(log: &Log) -> Router {
    let shown = Shown {
        origin: log.status().origin.into(),
        published: log.published(),
        compressing: Arc::new(Semaphore::new(COMPRESSING_MAX)),
    };
    let router = Router::new()
        .route("/", get(about))
        .route("/checkpoint", get(checkpoint))
        .route("/tile/{*path}", get(tile))
        .route("/blob/{id}", get(blob))
        .fallback(async || {
            Failure::NotFound(
                "there is nothing here; a log has /checkpoint, /tile/ and /blob/, and /index/ if it keeps an index",
            )
        })
        .with_state(shown);
    read_only(router)
}

/// Routes that are read only, by any page of any site.
pub(crate) fn read_only(router: Router) -> Router {
    router
        .method_not_allowed_fallback(async || Failure::Method)
        .layer(SetResponseHeaderLayer::overriding(
            ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        ))
}

#[derive(Clone)]
struct Shown {
    origin: Arc<str>,
    published: Published,
    /// How many bundles may be compressed at once.
    compressing: Arc<Semaphore>,
}

async fn about(State(shown): State<Shown>) -> Response {
    let text = format!(
        "This is the transparency log {}: a builder's signed, append-only record of what it built. Its newest state is at \
         /checkpoint, its tree and entries are under /tile/ (C2SP tlog-tiles), the lists that entries name are under \
         /blob/. Quorix and other verifiers read it; there is nothing to log in to.\n",
        shown.origin
    );
    answer(TEXT, "no-cache", text.into_bytes())
}

async fn checkpoint(State(shown): State<Shown>) -> Response {
    answer(TEXT, "no-cache", shown.published.head().checkpoint.clone())
}

async fn tile(
    State(shown): State<Shown>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let path = uri.path().strip_prefix('/').unwrap_or_default();
    let path = TilePath::from_str(path).map_err(|error| Failure::BadRequest(error.to_string()))?;
    let is_bundle = path.id.level == TileLevel::Entries;
    // Hashes do not compress.
    let encoding = accepted(&headers).filter(|_| is_bundle);
    // Compressing costs far more than reading: whoever asks for it a thousand times at once gets the bytes as they are.
    let permit = encoding.and_then(|_| shown.compressing.try_acquire_owned().ok());
    let encoding = encoding.filter(|_| permit.is_some());
    // A hop to another thread costs more than all the rest, so it is taken for what is on the disk only, and to compress.
    let at_hand = match encoding {
        None => shown.published.tile_at_hand(path),
        Some(_) => None,
    };
    let tile = match at_hand {
        Some(tile) => tile.map(|tile| (tile, None)),
        None => {
            let read = move |published: &Published| {
                let tile = published.tile(path)?;
                let tile = tile.map(|tile| encoded(tile, encoding));
                drop(permit);
                Ok(tile)
            };
            blocking(shown.published, read).await?
        }
    };
    let (tile, encoding) = tile.ok_or(Failure::NotFound(
        "the published checkpoint does not cover this tile at this width",
    ))?;
    let mut response = answer(BYTES, IMMUTABLE, tile);
    let headers = response.headers_mut();
    if is_bundle {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    if let Some(encoding) = encoding {
        let name = HeaderValue::from_static(encoding.name());
        headers.insert(CONTENT_ENCODING, name);
    }
    Ok(response)
}

/// What the reader accepts; nothing where it says that in several headers or in other than plain text.
fn accepted(headers: &HeaderMap) -> Option<Encoding> {
    let mut all = headers.get_all(ACCEPT_ENCODING).iter();
    match (all.next(), all.next()) {
        (Some(header), None) => Encoding::accepted(header.to_str().ok()?),
        _ => None,
    }
}

/// A bundle in this encoding, where that makes it smaller.
fn encoded(plain: Vec<u8>, encoding: Option<Encoding>) -> (Vec<u8>, Option<Encoding>) {
    let compressed =
        encoding.and_then(|encoding| Some((encoding, compress(&plain, encoding).ok()?)));
    match compressed {
        Some((encoding, smaller)) if smaller.len() < plain.len() => (smaller, Some(encoding)),
        _ => (plain, None),
    }
}

async fn blob(State(shown): State<Shown>, uri: Uri) -> Result<Response, Failure> {
    let id = uri.path().strip_prefix("/blob/").unwrap_or_default();
    let id = HEXLOWER
        .decode(id.as_bytes())
        .ok()
        .and_then(|id| BlobId::try_from(id).ok());
    let not_an_id = || {
        Failure::BadRequest(
            "the name of a blob is its SHA-256 as 64 lowercase hexadecimal digits".to_owned(),
        )
    };
    let id = id.ok_or_else(not_an_id)?;
    let blob = blocking(shown.published, move |published| published.blob(&id)).await?;
    Ok(answer(
        BYTES,
        IMMUTABLE,
        blob.ok_or(Failure::NotFound("this log has no such blob"))?,
    ))
}

/// The store blocks, so it is read beside the threads that serve.
async fn blocking<T: Send + 'static>(
    published: Published,
    read: impl FnOnce(&Published) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Failure> {
    let closed = published.clone();
    let result = tokio::task::spawn_blocking(move || read(&published)).await;
    let result = result
        .map_err(|error| error.to_string())
        .and_then(|read| read.map_err(|error| error.to_string()));
    result.map_err(|error| {
        if closed.is_closed() {
            return Failure::Closed;
        }
        tracing::error!(%error, "the log could not be read");
        Failure::Store
    })
}

pub(crate) fn answer(
    content_type: &'static str,
    cache_control: &'static str,
    body: Vec<u8>,
) -> Response {
    (
        [(CONTENT_TYPE, content_type), (CACHE_CONTROL, cache_control)],
        body,
    )
        .into_response()
}

/// Why there is no other answer. Never cached: what is missing now may be there soon.
pub(crate) enum Failure {
    BadRequest(String),
    NotFound(&'static str),
    Method,
    Store,
    /// The database is being opened anew after an error.
    Closed,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, sentence) = match self {
            Self::BadRequest(sentence) => (StatusCode::BAD_REQUEST, sentence),
            Self::NotFound(sentence) => (StatusCode::NOT_FOUND, sentence.to_owned()),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "a log is only read here, with GET or HEAD".to_owned(),
            ),
            Self::Store => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the log's database could not be read; try again later".to_owned(),
            ),
            Self::Closed => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the log opens its database anew after an error; try again in a moment".to_owned(),
            ),
        };
        let answer = answer(TEXT, "no-store", format!("{sentence}\n").into_bytes());
        let mut response = (status, answer).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

#[cfg(test)]
mod tests;

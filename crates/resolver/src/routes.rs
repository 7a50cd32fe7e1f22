//! The resolver as a Nix binary cache over HTTP: `nix-cache-info`, narinfos and NARs, all of it read-only.
//!
//! Specification: Nix's binary-cache protocol. Statuses are chosen for what a Nix client does with them (seen with
//! 2.8). It takes 404 for "not here", remembers that for an hour, and goes on to its next cache or builds: so a refusal
//! is a 404. It repeats a request after 5xx four times within five seconds, then stops with our sentence and remembers
//! nothing; newer ones with `fallback` leave this cache alone for a minute and go on (2.8.0 aborts there). So what could
//! not be found out is a 503: nothing is served, the user reads why, and an aggregator that is restarted does not make
//! them build for an hour what they could have fetched. Likewise 502 where a source that could not be reached may have
//! the bytes; where each one answered and none has them, 404.

mod range;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, IF_RANGE, RANGE, RETRY_AFTER,
};
use axum::http::response::Builder;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use quorix_nix::hash::NarHash;
use quorix_nix::store_path::HashPart;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::error::NoAnswer;
use crate::service::{Resolver, Verified};
use range::Asked;

const TEXT: &str = "text/plain; charset=utf-8";
const CACHE_INFO: &str = "text/x-nix-cache-info";
const NARINFO: &str = "text/x-nix-narinfo";
const NAR: &str = "application/x-nix-nar";

const CHUNK_BYTES: usize = 64 * 1024;
/// Seconds after which a client may ask again for what could not be found out.
const RETRY_AFTER_S: &str = "1";

/// All routes; whatever is not one of them is a 404 with a sentence.
pub fn router(resolver: Arc<Resolver>) -> Router {
    Router::new().fallback(answer).with_state(resolver)
}

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Resource {
    CacheInfo,
    NarInfo(HashPart),
    Nar(NarHash),
    Nothing,
}

impl Resource {
    /// Reads a path as it came: no name that is served needs an escape.
    fn of(path: &str) -> Self {
        if path == "/nix-cache-info" {
            return Self::CacheInfo;
        }
        let narinfo = path
            .strip_prefix('/')
            .and_then(|path| path.strip_suffix(".narinfo"));
        if let Some(part) = narinfo.and_then(|part| part.parse().ok()) {
            return Self::NarInfo(part);
        }
        let nar = path
            .strip_prefix("/nar/")
            .and_then(|path| path.strip_suffix(".nar"));
        // Without the length, base64 and hexadecimal would be names of the same NAR.
        let nar = nar
            .filter(|hash| hash.len() == 52)
            .and_then(|hash| format!("sha256:{hash}").parse().ok());
        nar.map_or(Self::Nothing, Self::Nar)
    }
}

async fn answer(
    State(resolver): State<Arc<Resolver>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    let is_head = method == Method::HEAD;
    let (response, nar_bytes) = if !is_head && method != Method::GET {
        let response = Response::builder()
            .status(StatusCode::METHOD_NOT_ALLOWED)
            .header(ALLOW, "GET, HEAD");
        (
            plain(
                response,
                "This cache is read-only: it answers GET and HEAD.\n",
                is_head,
            ),
            0,
        )
    } else {
        match Resource::of(uri.path()) {
            Resource::CacheInfo => (cache_info(&resolver, is_head), 0),
            Resource::NarInfo(part) => (narinfo(&resolver, &part, is_head).await, 0),
            Resource::Nar(hash) => nar(&resolver, &hash, &headers, is_head).await,
            Resource::Nothing => (nothing(is_head), 0),
        }
    };
    resolver
        .metrics
        .answered(response.status().as_u16(), nar_bytes);
    response
}

fn cache_info(resolver: &Resolver, is_head: bool) -> Response<Body> {
    let response = Response::builder()
        .header(CONTENT_TYPE, CACHE_INFO)
        .header(CACHE_CONTROL, "max-age=3600");
    sized(response, resolver.cache_info().print(), is_head)
}

async fn narinfo(resolver: &Resolver, part: &HashPart, is_head: bool) -> Response<Body> {
    match resolver.narinfo(part).await {
        Ok(text) => {
            let max_age = format!("max-age={}", resolver.decision_ttl_s());
            let response = Response::builder()
                .header(CONTENT_TYPE, NARINFO)
                .header(CACHE_CONTROL, max_age);
            sized(response, text, is_head)
        }
        Err(error) => refused(&error, is_head),
    }
}

/// The answer, and how many bytes of NAR are in it.
async fn nar(
    resolver: &Resolver,
    hash: &NarHash,
    headers: &HeaderMap,
    is_head: bool,
) -> (Response<Body>, u64) {
    let facts = match resolver.accepted_with(hash).await {
        Ok(facts) => facts,
        Err(error) => return (refused(&error, is_head), 0),
    };
    let etag = format!("\"{}\"", hash.nix32());
    // The bytes never change, but whether they are accepted does: a proxy may keep them and has to ask.
    let response = Response::builder()
        .header(CONTENT_TYPE, NAR)
        .header(CACHE_CONTROL, "no-cache")
        .header(ACCEPT_RANGES, "bytes")
        .header(ETAG, &etag);
    if headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == etag.as_bytes())
    {
        return (
            finished(response.status(StatusCode::NOT_MODIFIED), Body::empty()),
            0,
        );
    }
    if is_head {
        // Accepted; whether a source has it is found out only when it is wanted.
        return (
            finished(
                response.header(CONTENT_LENGTH, facts.nar_size),
                Body::empty(),
            ),
            0,
        );
    }
    let range_is_for_this = headers
        .get(IF_RANGE)
        .is_none_or(|known| known.as_bytes() == etag.as_bytes());
    let range = headers.get(RANGE).filter(|_| range_is_for_this);
    let (first, length) = match range::asked(range.map(|range| range.as_bytes()), facts.nar_size) {
        Asked::Whole => (None, facts.nar_size),
        Asked::Part { first, last } => (Some(first), last.saturating_sub(first).saturating_add(1)),
        Asked::Unsatisfiable => {
            let response = Response::builder()
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(CONTENT_RANGE, format!("bytes */{}", facts.nar_size));
            let sentence = format!(
                "The NAR has {} bytes, and the range is none of them.\n",
                facts.nar_size
            );
            return (plain(response, sentence, is_head), 0);
        }
    };
    let sent = match resolver.nar(&facts).await {
        Ok(verified) => body(verified, first.unwrap_or(0), length).await,
        Err(error) => Err(error),
    };
    let body = match sent {
        Ok(body) => body,
        Err(error) => return (refused(&error, is_head), 0),
    };
    let response = response.header(CONTENT_LENGTH, length);
    let response = match first {
        None => response,
        Some(first) => {
            let last = first.saturating_add(length).saturating_sub(1);
            let range = format!("bytes {first}-{last}/{}", facts.nar_size);
            response
                .status(StatusCode::PARTIAL_CONTENT)
                .header(CONTENT_RANGE, range)
        }
    };
    (finished(response, body), length)
}

async fn body(verified: Verified, first: u64, length: u64) -> Result<Body, NoAnswer> {
    let mut file = verified.file;
    if first > 0 {
        let sought = file.seek(std::io::SeekFrom::Start(first)).await;
        sought.map_err(|error| NoAnswer::Spool(error.to_string()))?;
    }
    Ok(Body::from_stream(ReaderStream::with_capacity(
        file.take(length),
        CHUNK_BYTES,
    )))
}

fn nothing(is_head: bool) -> Response<Body> {
    let sentence = "Not found. This cache has `nix-cache-info`, `<hash part>.narinfo` (32 characters of Nix's base 32) \
                    and `nar/<hash>.nar` (52 characters).\n";
    plain(
        Response::builder().status(StatusCode::NOT_FOUND),
        sentence,
        is_head,
    )
}

fn refused(error: &NoAnswer, is_head: bool) -> Response<Body> {
    let status = match error {
        NoAnswer::Nowhere { .. } if error.is_passing() => StatusCode::BAD_GATEWAY,
        _ if error.is_passing() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::NOT_FOUND,
    };
    let mut response = Response::builder().status(status);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response = response.header(RETRY_AFTER, RETRY_AFTER_S);
    }
    plain(response, error.explained(), is_head)
}

fn plain(response: Builder, text: impl Into<String>, is_head: bool) -> Response<Body> {
    sized(
        response
            .header(CONTENT_TYPE, TEXT)
            .header(CACHE_CONTROL, "no-store"),
        text.into(),
        is_head,
    )
}

fn sized(response: Builder, text: String, is_head: bool) -> Response<Body> {
    let response = response.header(CONTENT_LENGTH, text.len());
    finished(response, if is_head { Body::empty() } else { text.into() })
}

fn finished(response: Builder, body: Body) -> Response<Body> {
    // Fails only on a header that is none, of which there is none here.
    response.body(body).unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_resource_in_one_spelling_only() {
        let part = "93a4fjryvg1hz7bxki7wzd9cznsm20yx";
        let hash = "03c20wxgmk6mipa9ng0pyj5sz0wjd4k9yqyxfnckzhf32mbp77s1";
        assert_eq!(Resource::of("/nix-cache-info"), Resource::CacheInfo);
        assert_eq!(
            Resource::of(&format!("/{part}.narinfo")),
            Resource::NarInfo(part.parse().unwrap())
        );
        let nar = format!("sha256:{hash}").parse().unwrap();
        assert_eq!(
            Resource::of(&format!("/nar/{hash}.nar")),
            Resource::Nar(nar)
        );
        let hex = nar.to_hex();
        for path in [
            "".to_owned(),
            "/".to_owned(),
            format!("//{part}.narinfo"),
            format!("/{part}.narinfo/"),
            format!("/{}.narinfo", &part[1..]),
            format!("/{}.narinfo", part.to_uppercase()),
            "/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee.narinfo".to_owned(),
            "/%39%33a4fjryvg1hz7bxki7wzd9cznsm20.narinfo".to_owned(),
            format!("/nar/../{part}.narinfo"),
            "/nar/../../etc/passwd.nar".to_owned(),
            "/nar/..%2f..%2fetc%2fpasswd.nar".to_owned(),
            format!("/nar/{}.nar", hex.trim_start_matches("sha256:")),
            format!("/nar/{hash}.nar.xz"),
            format!("/{hash}.nar"),
            format!("/{part}.ls"),
            "/log/x.drv".to_owned(),
        ] {
            assert_eq!(Resource::of(&path), Resource::Nothing, "{path}");
        }
    }
}

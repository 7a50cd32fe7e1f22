//! How long a caller waits (`grpc-timeout`), honoured: after that nobody reads the answer, so the work ends and the
//! refusal is sent just before. Whoever says nothing waits a minute. Specification: gRPC over HTTP/2, "Timeout".

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tonic::Status;

/// How much earlier than the caller gives up, at most: the refusal has to reach it.
const MARGIN: Duration = Duration::from_millis(20);

/// The longest that an answer may take to begin.
const LONGEST: Duration = Duration::from_secs(60);

/// Answers with a refusal once the caller's time is over, or [`LONGEST`].
pub async fn honoured(request: Request, next: Next) -> Response {
    let within = timeout(request.headers()).map_or(LONGEST, |within| within.min(LONGEST));
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let within = within.saturating_sub(MARGIN.min(within / 10));
    match tokio::time::timeout(within, next.run(request)).await {
        Ok(response) => response,
        Err(_) => expired(is_grpc),
    }
}

fn expired(is_grpc: bool) -> Response {
    const MESSAGE: &str = "it took longer than the `grpc-timeout` of this call, or than 60 s";
    if is_grpc {
        return Status::deadline_exceeded(MESSAGE).into_http();
    }
    let body = format!("{{\"code\":\"deadline_exceeded\",\"message\":\"{MESSAGE}\"}}\n");
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::GATEWAY_TIMEOUT, headers, body).into_response()
}

/// The time that a caller gives; `None` where it says none, or nothing that can be read.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.is_empty() || number.len() > 8 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number.saturating_mul(60 * 60))),
        "M" => Some(Duration::from_secs(number.saturating_mul(60))),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        timeout(&headers)
    }

    #[test]
    fn a_timeout_is_at_most_eight_digits_and_a_unit() {
        assert_eq!(read("100m"), Some(Duration::from_millis(100)));
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(
            read("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3_600))
        );
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        for wrong in [
            "",
            "S",
            "100",
            "-1S",
            "+1S",
            "123456789S",
            "1 S",
            "1s",
            "\u{e4}",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}

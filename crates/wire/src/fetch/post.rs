//! Posting a small body: the one thing that is sent and not only fetched.

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue};
use tokio::time::{Instant, timeout};

use super::{Accept, FetchError, Fetcher, Waiting, location, whole};
use location::Location;

pub(super) async fn post(
    fetcher: &Fetcher,
    url: &str,
    body: Vec<u8>,
    max_bytes: u64,
) -> Result<(u16, Bytes), FetchError> {
    let Location::Http(parsed) = Location::parse(url)? else {
        return Err(FetchError::BadUrl {
            url: location::shown(url),
            reason: "only http:// and https:// addresses are posted to",
        });
    };
    let deadline = Instant::now() + fetcher.limits.total_timeout;
    let limit = fetcher.limits.first_byte_timeout;
    let request = fetcher
        .posting
        .post(parsed)
        .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
        .header(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        )
        .body(body);
    let response = timeout(limit, request.send())
        .await
        .map_err(|_| FetchError::timeout(url, Waiting::FirstByte, limit))?
        .map_err(|error| FetchError::from_reqwest(url, &error, &fetcher.limits))?;
    let status = response.status().as_u16();
    let fetched = fetcher.body_of(url, response, deadline, Accept::Identity)?;
    Ok((status, whole(url, fetched, max_bytes).await?))
}

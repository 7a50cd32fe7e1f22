//! Posting a small body: the one thing that is sent and not only fetched.

use bytes::Bytes;
use tokio::time::Instant;

use super::{Accept, FetchError, Fetcher, Request, location, whole};
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
    let request = Request {
        body: Some(body),
        ..Request::get(url, parsed, Accept::Identity)
    };
    let answer = fetcher.send(request).await?;
    let status = answer.status;
    let fetched = fetcher.body_of(url, answer, deadline, Accept::Identity)?;
    Ok((status, whole(url, fetched, max_bytes).await?))
}

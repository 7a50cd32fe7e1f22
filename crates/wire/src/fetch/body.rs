//! The body of an HTTP answer as a reader that never waits for ever.

use std::io;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use futures::{StreamExt as _, stream};
use tokio::io::BufReader;
use tokio::time::Instant;
use tokio_util::io::StreamReader;

use super::transport::Parts;
use super::{FetchError, FetchLimits, Waiting, within};
use crate::compress::HTTP_WINDOW_LOG;
use crate::decompress::Reader;

/// Reads the body until `deadline`, with at most the idle timeout between two parts.
pub(super) fn reader(url: String, parts: Parts, limits: FetchLimits, deadline: Instant) -> Reader {
    let parts = stream::try_unfold(parts, move |mut parts| {
        let (url, limits) = (url.clone(), limits.clone());
        async move {
            let part = within(deadline, limits.idle_timeout, parts.next())
                .await
                .map_err(|_| {
                    let idle = Instant::now() < deadline;
                    let (waiting, limit) = if idle {
                        (Waiting::NextByte, limits.idle_timeout)
                    } else {
                        (Waiting::Whole, limits.stream_timeout)
                    };
                    io::Error::new(
                        io::ErrorKind::TimedOut,
                        FetchError::timeout(&url, waiting, limit),
                    )
                })?;
            let part = part.transpose().map_err(io::Error::other)?;
            Ok::<_, io::Error>(part.map(|part| (part, parts)))
        }
    });
    Box::new(StreamReader::new(Box::pin(parts)))
}

pub(super) fn gunzip(body: Reader) -> Reader {
    let mut decoder = GzipDecoder::new(BufReader::new(body));
    decoder.multiple_members(true);
    Box::new(decoder)
}

pub(super) fn unzstd(body: Reader) -> Reader {
    let window = [DParameter::window_log_max(HTTP_WINDOW_LOG)];
    let mut decoder = ZstdDecoder::with_params(BufReader::new(body), &window);
    decoder.multiple_members(true);
    Box::new(decoder)
}

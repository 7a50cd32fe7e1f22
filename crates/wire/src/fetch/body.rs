//! The body of an HTTP answer as a reader that never waits for ever.

use std::io;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use futures::stream;
use reqwest::Response;
use tokio::io::BufReader;
use tokio::time::Instant;
use tokio_util::io::StreamReader;

use super::{FetchError, FetchLimits, Waiting, within};
use crate::compress::HTTP_WINDOW_LOG;
use crate::decompress::Reader;

/// Reads the body until `deadline`, with at most the idle timeout between two parts.
pub(super) fn reader(
    url: String,
    response: Response,
    limits: FetchLimits,
    deadline: Instant,
) -> Reader {
    let parts = stream::try_unfold(response, move |mut response| {
        let (url, limits) = (url.clone(), limits.clone());
        async move {
            let part = within(deadline, limits.idle_timeout, response.chunk())
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
            let part = part.map_err(|error| {
                io::Error::other(FetchError::from_reqwest(&url, &error, &limits))
            })?;
            Ok::<_, io::Error>(part.map(|part| (part, response)))
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

//! Compression of what a log serves, as its reader accepts it (RFC 9110 §12.5.3).
//!
//! C2SP tlog-tiles has entry bundles compressed with gzip; zstd is smaller and quicker where both sides know it. Hash tiles
//! do not compress and are never.

use std::io;

use async_compression::tokio::bufread::{GzipEncoder, ZstdEncoder};
use async_compression::{Level, zstd::CParameter};
use futures::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The largest window of zstd in HTTP, as a power of two: 8 MiB (RFC 9659).
pub(crate) const HTTP_WINDOW_LOG: u32 = 23;

/// Longest `Accept-Encoding` that is looked at, in bytes.
const HEADER_BYTES_MAX: usize = 1_024;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
}

impl Encoding {
    /// Its name in HTTP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What to use for a reader with this `Accept-Encoding`: what it likes best, zstd before gzip where it likes both
    /// the same; `None` for nothing. A header that cannot be read accepts nothing.
    #[must_use]
    pub fn accepted(header: &str) -> Option<Self> {
        if header.len() > HEADER_BYTES_MAX {
            return None;
        }
        let (mut zstd, mut gzip, mut any) = (None, None, None);
        for part in header.split(',') {
            let (name, weight) = part.split_once(';').unwrap_or((part, "q=1"));
            let weight = Some(weight_of(weight)?);
            match name.trim().to_ascii_lowercase().as_str() {
                "zstd" => zstd = weight,
                "gzip" | "x-gzip" => gzip = weight,
                "*" => any = weight,
                _ => {}
            }
        }
        let weight = |named: Option<u16>| named.or(any).unwrap_or(0);
        match (weight(zstd), weight(gzip)) {
            (0, 0) => None,
            (zstd, gzip) if zstd >= gzip => Some(Self::Zstd),
            _ => Some(Self::Gzip),
        }
    }
}

/// A weight `q=0.8` in thousandths; at most three digits follow the point.
fn weight_of(text: &str) -> Option<u16> {
    let value = text.trim().strip_prefix(['q', 'Q'])?.trim_start();
    let value = value.strip_prefix('=')?.trim();
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{part:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", _) => Some(thousandths),
        ("1", 0) => Some(1_000),
        _ => None,
    }
}

/// Compresses, quickly rather than well. Takes some milliseconds for a megabyte: not for a thread that serves.
///
/// # Errors
/// The encoder failed, which it does not for bytes in memory.
pub fn compress(bytes: &[u8], encoding: Encoding) -> io::Result<Vec<u8>> {
    match encoding {
        Encoding::Zstd => {
            let window = [CParameter::window_log(HTTP_WINDOW_LOG)];
            read_now(ZstdEncoder::with_quality_and_params(
                bytes,
                Level::Default,
                &window,
            ))
        }
        Encoding::Gzip => read_now(GzipEncoder::with_quality(bytes, Level::Precise(4))),
    }
}

/// All of a reader that never waits.
fn read_now(mut reader: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let read = reader.read_to_end(&mut all).now_or_never();
    read.unwrap_or_else(|| Err(io::Error::other("bytes in memory are not there")))?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use quorix_nix::narinfo::Compression;

    use super::*;
    use crate::decompress::decompress;

    #[test]
    fn a_reader_gets_what_it_likes_best_and_nothing_that_it_does_not_accept() {
        for (header, expected) in [
            ("", None),
            ("identity", None),
            ("br, deflate", None),
            ("gzip", Some(Encoding::Gzip)),
            ("x-gzip", Some(Encoding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Encoding::Zstd)),
            ("zstd;q=0.5, gzip;q=0.9", Some(Encoding::Gzip)),
            ("ZSTD ; q=1.0 , gzip", Some(Encoding::Zstd)),
            ("*", Some(Encoding::Zstd)),
            ("*;q=0", None),
            ("zstd;q=0, *;q=0.1", Some(Encoding::Gzip)),
            ("zstd;q=0, gzip;q=0.000", None),
            ("gzip;q=2", None),
            ("gzip;q=NaN", None),
            ("gzip;q=1.001", None),
            ("gzip;q=0.0001", None),
            ("gzip;q=-0", None),
            ("gzip;level=9", None),
        ] {
            assert_eq!(Encoding::accepted(header), expected, "{header:?}");
        }
        assert_eq!(Encoding::accepted(&"gzip,".repeat(300)), None);
    }

    #[tokio::test]
    async fn what_is_compressed_comes_back_and_is_smaller() {
        let plain: Vec<u8> = (0..40_000_u32)
            .flat_map(|n| (n % 997).to_be_bytes())
            .collect();
        for (encoding, compression) in [
            (Encoding::Zstd, Compression::Zstd),
            (Encoding::Gzip, Compression::Gzip),
        ] {
            let compressed = compress(&plain, encoding).unwrap();
            assert!(compressed.len() < plain.len() / 4, "{}", encoding.name());
            let mut back = Vec::new();
            decompress(Cursor::new(compressed), &compression)
                .unwrap()
                .read_to_end(&mut back)
                .await
                .unwrap();
            assert_eq!(back, plain, "{}", encoding.name());
        }
    }
}

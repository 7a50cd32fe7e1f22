//! Decompression of NARs as they arrive, in bounded memory.
//!
//! Never bounds the size of what comes out: the reader of the NAR knows how many bytes it may have and stops there.

use async_compression::tokio::bufread::{BzDecoder, GzipDecoder, XzDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use quorix_nix::narinfo::Compression;
use tokio::io::{AsyncRead, BufReader};

/// Memory for xz: what its highest preset needs (65 MiB), and some.
const XZ_MEMORY_BYTES: u64 = 128 * 1024 * 1024;
/// Window of zstd, as a power of two: 128 MiB, the most that its own tools accept unasked.
const ZSTD_WINDOW_LOG: u32 = 27;

/// A stream of bytes from anywhere.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// A compression that is not read here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the compression `{}` is not supported: only none, xz, zstd, bzip2 and gzip are", name.escape_debug())]
pub struct UnsupportedCompression {
    /// Its name in the narinfo.
    pub name: String,
}

/// Reads `compressed` decompressed. Where the bytes turn out not to be in that format, reading fails.
///
/// # Errors
/// The compression is not supported.
pub fn decompress(
    compressed: impl AsyncRead + Send + Unpin + 'static,
    compression: &Compression,
) -> Result<Reader, UnsupportedCompression> {
    let input = BufReader::new(compressed);
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Xz => {
            let mut decoder = XzDecoder::with_mem_limit(input, XZ_MEMORY_BYTES);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        Compression::Zstd => {
            let window = [DParameter::window_log_max(ZSTD_WINDOW_LOG)];
            let mut decoder = ZstdDecoder::with_params(input, &window);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        Compression::Bzip2 => {
            let mut decoder = BzDecoder::new(input);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        Compression::Gzip => {
            let mut decoder = GzipDecoder::new(input);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        Compression::Other(name) => return Err(UnsupportedCompression { name: name.clone() }),
    })
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::bufread::{BzEncoder, GzipEncoder, XzEncoder, ZstdEncoder};
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn all(mut reader: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await.map(|_| bytes)
    }

    async fn compress(plain: &'static [u8], compression: &Compression) -> Vec<u8> {
        match compression {
            Compression::Xz => all(XzEncoder::new(plain)).await.unwrap(),
            Compression::Zstd => all(ZstdEncoder::new(plain)).await.unwrap(),
            Compression::Bzip2 => all(BzEncoder::new(plain)).await.unwrap(),
            Compression::Gzip => all(GzipEncoder::new(plain)).await.unwrap(),
            _ => plain.to_vec(),
        }
    }

    const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Xz,
        Compression::Zstd,
        Compression::Bzip2,
        Compression::Gzip,
    ];

    #[tokio::test]
    async fn every_supported_compression_gives_the_same_bytes_back() {
        for compression in ALL {
            let compressed = compress(b"some NAR, some NAR, some NAR", &compression).await;
            let reader = decompress(std::io::Cursor::new(compressed), &compression).unwrap();
            assert_eq!(
                all(reader).await.unwrap(),
                b"some NAR, some NAR, some NAR",
                "{compression:?}"
            );
        }
    }

    #[tokio::test]
    async fn several_compressed_parts_in_a_row_are_one_stream() {
        for compression in ALL {
            let mut compressed = compress(b"first", &compression).await;
            compressed.extend(compress(b"second", &compression).await);
            let reader = decompress(std::io::Cursor::new(compressed), &compression).unwrap();
            assert_eq!(
                all(reader).await.unwrap(),
                b"firstsecond",
                "{compression:?}"
            );
        }
    }

    #[tokio::test]
    async fn garbage_and_cut_streams_fail_instead_of_ending_early() {
        for compression in ALL
            .into_iter()
            .filter(|compression| *compression != Compression::None)
        {
            let garbage =
                decompress(std::io::Cursor::new(b"not compressed at all"), &compression).unwrap();
            assert!(all(garbage).await.is_err(), "{compression:?}");
            let mut cut = compress(b"some NAR, some NAR, some NAR", &compression).await;
            cut.pop();
            let cut = decompress(std::io::Cursor::new(cut), &compression).unwrap();
            assert!(all(cut).await.is_err(), "{compression:?}");
        }
    }

    #[tokio::test]
    async fn an_unknown_compression_is_refused_by_name() {
        let refused = decompress(tokio::io::empty(), &Compression::Other("lzip".to_owned())).err();
        assert_eq!(
            refused,
            Some(UnsupportedCompression {
                name: "lzip".to_owned()
            })
        );
    }
}

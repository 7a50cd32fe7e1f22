//! One NAR from one source into a file, checked while it arrives.
//!
//! Takes no byte more than it may have, compressed or not, and waits for none longer than it may.

use std::time::Duration;

use quorix_nix::content_address::{ContentAddress, Limits, Verifier};
use quorix_nix::hash::NarHash;
use quorix_nix::nar::Hasher;
use quorix_nix::narinfo::{Compression, NarInfo};
use quorix_wire::decompress::{Reader, decompress};
use quorix_wire::fetch::FetchError;
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use crate::sources::{Connected, FailureKind};

const CHUNK_BYTES: usize = 64 * 1024;
/// How many bytes more than the NAR itself a compressed NAR may have.
const COMPRESSION_OVERHEAD: u64 = 1024 * 1024;

/// What the bytes are checked against.
pub(crate) enum Check {
    /// This hash.
    Hash(Box<Hasher>, NarHash),
    /// This content address.
    Content(Box<Verifier>),
}

impl Check {
    pub(crate) fn hash(wanted: NarHash) -> Self {
        Self::Hash(Box::default(), wanted)
    }

    pub(crate) fn content(address: &ContentAddress, max_nar_size: u64) -> Self {
        Self::Content(Box::new(Verifier::new(address, Limits { max_nar_size })))
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self {
            Self::Hash(hasher, _) => hasher.push(bytes).map_err(|error| error.to_string()),
            Self::Content(verifier) => verifier.push(bytes).map_err(|error| error.to_string()),
        }
    }

    fn finish(self) -> Result<(NarHash, u64), String> {
        match self {
            Self::Hash(hasher, wanted) => {
                let (found, size) = hasher.finish().map_err(|error| error.to_string())?;
                if found != wanted {
                    return Err(format!("its bytes hash to {found}, not to {wanted}"));
                }
                Ok((found, size))
            }
            Self::Content(verifier) => verifier.finish().map_err(|error| error.to_string()),
        }
    }
}

/// Why a transfer ended without the right bytes.
pub(crate) enum TransferError {
    /// It is the source's doing.
    Source(FailureKind, String),
    /// It is not.
    Spool(std::io::Error),
}

impl From<FetchError> for TransferError {
    fn from(error: FetchError) -> Self {
        Self::Source(FailureKind::of(&error), error.to_string())
    }
}

/// The longest that one transfer may wait.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// For the next bytes.
    pub(crate) idle: Duration,
    /// For all of it.
    pub(crate) whole: Duration,
    /// Before the source has to be as fast as follows.
    pub(crate) grace: Duration,
    /// Bytes of NAR in each second on average; 0 asks for none.
    pub(crate) bytes_per_s_min: u64,
}

impl Patience {
    /// How long after the start a source that sent so many bytes has time for the next ones.
    fn until_next(&self, sent: u64) -> Option<Duration> {
        let ms = sent
            .saturating_mul(1000)
            .checked_div(self.bytes_per_s_min)?;
        Some(self.grace.max(Duration::from_millis(ms)))
    }
}

/// Fetches what a narinfo of this source names, at most `size_max` bytes of it, into `part`.
pub(crate) async fn transfer(
    source: &Connected,
    narinfo: &NarInfo,
    size_max: u64,
    check: Check,
    part: &NamedTempFile,
    patience: Patience,
) -> Result<(NarHash, u64), TransferError> {
    let work = async {
        let reader = open(source, narinfo, size_max).await?;
        let out = part.reopen().map_err(TransferError::Spool)?;
        copy(reader, size_max, check, File::from_std(out), patience).await
    };
    timeout(patience.whole, work).await.unwrap_or_else(|_| {
        let reason = format!(
            "it did not send the NAR within {} s",
            patience.whole.as_secs_f32()
        );
        Err(TransferError::Source(FailureKind::Timeout, reason))
    })
}

async fn open(
    source: &Connected,
    narinfo: &NarInfo,
    size_max: u64,
) -> Result<Reader, TransferError> {
    let malformed = |reason: String| TransferError::Source(FailureKind::Malformed, reason);
    if let Compression::Other(name) = &narinfo.compression {
        return Err(malformed(format!(
            "its compression `{}` is not supported",
            name.escape_debug()
        )));
    }
    let fetched = source.client.nar(narinfo).await?;
    let compressed_max = size_max
        .saturating_add(size_max / 8)
        .saturating_add(COMPRESSION_OVERHEAD);
    if fetched.length.is_some_and(|length| length > compressed_max) {
        let reason = format!("its file is larger than any file of a NAR of {size_max} bytes");
        return Err(TransferError::Source(FailureKind::Corrupt, reason));
    }
    // One byte more, so that a file that is too long does not look complete.
    let body = fetched.body.take(compressed_max.saturating_add(1));
    decompress(body, &narinfo.compression).map_err(|error| malformed(error.to_string()))
}

async fn copy(
    mut reader: Reader,
    size_max: u64,
    mut check: Check,
    mut out: File,
    patience: Patience,
) -> Result<(NarHash, u64), TransferError> {
    let corrupt = |reason: String| TransferError::Source(FailureKind::Corrupt, reason);
    let mut chunk = vec![0; CHUNK_BYTES];
    let (started, mut size) = (Instant::now(), 0_u64);
    loop {
        let read = next(&mut reader, &mut chunk, size, started, patience).await?;
        let count = read.map_err(source_error)?;
        if count == 0 {
            break;
        }
        size = size.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if size > size_max {
            return Err(corrupt(format!(
                "it sent more than the {size_max} bytes of the NAR"
            )));
        }
        let bytes = chunk.get(..count).unwrap_or_default();
        check.push(bytes).map_err(corrupt)?;
        out.write_all(bytes).await.map_err(TransferError::Spool)?;
    }
    // The last write may still be under way.
    out.flush().await.map_err(TransferError::Spool)?;
    check.finish().map_err(corrupt)
}

/// Reads the next bytes, unless the source is silent for too long or was too slow so far. Bytes that are there
/// already are always taken, so a slow disk is not held against the source.
async fn next(
    reader: &mut Reader,
    chunk: &mut [u8],
    sent: u64,
    started: Instant,
    patience: Patience,
) -> Result<std::io::Result<usize>, TransferError> {
    let late = |reason: String| TransferError::Source(FailureKind::Timeout, reason);
    let silent_until = Instant::now() + patience.idle;
    let slow_until = patience.until_next(sent).map(|time| started + time);
    let until = slow_until.map_or(silent_until, |slow| slow.min(silent_until));
    timeout_at(until, reader.read(chunk)).await.map_err(|_| {
        if until == silent_until {
            let idle_s = patience.idle.as_secs_f32();
            return late(format!(
                "it was silent for {idle_s} s while it sent the NAR"
            ));
        }
        let (taken_s, least) = (started.elapsed().as_secs_f32(), patience.bytes_per_s_min);
        late(format!(
            "it sent {sent} bytes of the NAR in {taken_s:.1} s, less than {least} a second"
        ))
    })
}

/// A connection that broke is another thing than bytes that do not decompress.
fn source_error(error: std::io::Error) -> TransferError {
    match error.downcast::<FetchError>() {
        Ok(error) => error.into(),
        Err(error) => TransferError::Source(
            FailureKind::Corrupt,
            format!("its file cannot be decompressed: {error}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_grace_and_then_as_long_as_what_it_sent_would_have_taken() {
        let patience = Patience {
            idle: Duration::from_secs(15),
            whole: Duration::from_secs(600),
            grace: Duration::from_secs(20),
            bytes_per_s_min: 4096,
        };
        let until_s = |sent| patience.until_next(sent).map(|time| time.as_secs());
        for sent in [0, 1, 4096 * 20] {
            assert_eq!(until_s(sent), Some(20), "{sent}");
        }
        assert_eq!(until_s(4096 * 21), Some(21));
        assert_eq!(until_s(1 << 30), Some(1 << 18));
        let endless = Patience {
            bytes_per_s_min: 0,
            ..patience
        };
        assert_eq!(endless.until_next(0), None);
    }
}

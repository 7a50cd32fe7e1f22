//! What a log believes of a witness's answer: cosignatures that verify, or the size to begin from.

use crate::{
    MAX_TREE_SIZE,
    checkpoint::Checkpoint,
    cosignature::CosignerKey,
    decimal,
    note::{KeyName, NoteSignature},
};

/// Longest answer in bytes that is read: 16 signature lines of the largest kind, and some.
pub const MAX_REPLY_LENGTH: usize = 64 << 10;

/// Most signature lines of an answer.
const MAX_LINES: usize = 16;

/// An answer does not give what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Too long, not UTF-8, or not whole lines of signatures.
    #[error("the witness answered something else than 1 to 16 signature lines")]
    NotSignatures,
    /// A line by the witness's key is not its signature of the checkpoint.
    #[error("the witness answered with a wrong signature by {name}")]
    BadSignature {
        /// The key's name.
        name: KeyName,
    },
    /// No line is by one of the witness's keys.
    #[error("the witness answered without a signature by its known key")]
    NoKnownSignature,
    /// The cosignature gives no time.
    #[error("the cosignature by {name} has no time")]
    NoTime {
        /// The key's name.
        name: KeyName,
    },
    /// The size in the answer to a stale request is not a size.
    #[error("the witness answered with something else than the size that it cosigned last")]
    NotASize,
}

/// The cosignatures of a checkpoint in a witness's answer by its known keys, each with its time in
/// POSIX seconds. Lines by other keys are dropped.
///
/// # Errors
/// Not signature lines; none by a known key; one that is wrong or has no time.
pub fn read_cosignatures(
    body: &[u8],
    checkpoint: &Checkpoint,
    keys: &[&CosignerKey],
) -> Result<Vec<(NoteSignature, u64)>, ReplyError> {
    let lines = std::str::from_utf8(body)
        .ok()
        .filter(|body| body.len() <= MAX_REPLY_LENGTH)
        .and_then(|body| body.strip_suffix('\n'))
        .ok_or(ReplyError::NotSignatures)?;
    if lines.split('\n').count() > MAX_LINES {
        return Err(ReplyError::NotSignatures);
    }
    let mut found: Vec<(NoteSignature, u64)> = Vec::new();
    for line in lines.split('\n') {
        let signature = NoteSignature::parse(line).ok_or(ReplyError::NotSignatures)?;
        let mut named = keys
            .iter()
            .filter(|key| key.is_named_by(&signature))
            .peekable();
        if named.peek().is_none() {
            continue;
        }
        let name = signature.name().clone();
        match named.find_map(|key| key.verify(checkpoint, &signature).ok()) {
            None => return Err(ReplyError::BadSignature { name }),
            Some(0) => return Err(ReplyError::NoTime { name }),
            Some(time) if found.iter().all(|(other, _)| *other != signature) => {
                found.push((signature, time));
            }
            Some(_) => {}
        }
    }
    if found.is_empty() {
        return Err(ReplyError::NoKnownSignature);
    }
    Ok(found)
}

/// The size in the answer to a stale request (409): the one that the witness cosigned last.
///
/// # Errors
/// Not a size and a line feed.
pub fn read_size(body: &[u8]) -> Result<u64, ReplyError> {
    std::str::from_utf8(body)
        .ok()
        .and_then(|body| body.strip_suffix('\n'))
        .and_then(decimal::parse)
        .filter(|size| *size <= MAX_TREE_SIZE)
        .ok_or(ReplyError::NotASize)
}

//! Cosignatures: someone's dated statement that a log's checkpoint is the largest consistent one
//! that they saw.
//!
//! Two kinds: Ed25519 (0x04), which signs the checkpoint's whole text, and ML-DSA-44 (0x06), which
//! resists quantum computers, signs origin, size and root (not extension lines) and can also sign a
//! subtree. Time is an argument, signing is deterministic. Whether a cosigner kept its word is
//! nothing that a signature shows. Specification: C2SP tlog-cosignature.

use crate::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    hash::Hash,
    note::{KeyName, NoteError, NoteSignature, SignedNote},
};

mod key;

pub use key::{Algorithm, CosignerKey, CosignerSigningKey};

/// Latest time of a cosignature in POSIX seconds: 2^63 − 1.
pub const MAX_TIMESTAMP: u64 = (1 << 63) - 1;

/// Longest origin in bytes that an ML-DSA-44 cosignature can name.
pub const MAX_ORIGIN_LENGTH: usize = 255;

const TIMESTAMP_LENGTH: usize = 8;

/// A cosignature cannot be made, or does not show what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CosignatureError {
    /// The signature line names another key.
    #[error("the signature is not by {name}")]
    NotThisKey {
        /// The key that was asked.
        name: KeyName,
    },
    /// The signature is wrong, for another checkpoint, or of another time.
    #[error("the cosignature by {name} is not valid for this checkpoint")]
    BadSignature {
        /// The key's name.
        name: KeyName,
    },
    /// The time is above [`MAX_TIMESTAMP`].
    #[error("the time {timestamp} of a cosignature is above 2^63 - 1")]
    BadTimestamp {
        /// The time in POSIX seconds.
        timestamp: u64,
    },
    /// The origin does not fit the signed message.
    #[error("the origin has {length} bytes; a cosignature of type 0x06 can name at most 255")]
    OriginTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Only ML-DSA-44 keys sign subtrees.
    #[error("the key {name} cannot sign subtrees: only ML-DSA-44 (0x06) keys can")]
    CannotSignSubtrees {
        /// The key's name.
        name: KeyName,
    },
    /// Not a range of leaves of which a subtree exists.
    #[error("there is no subtree of the entries {start} to {end}")]
    NotASubtree {
        /// First entry.
        start: u64,
        /// One past the last entry.
        end: u64,
    },
    /// With one more signature it would not be a note.
    #[error("the checkpoint cannot take one more signature: {0}")]
    NotANote(#[from] NoteError),
    /// The library could not sign. Not expected to happen.
    #[error("the key {name} could not sign")]
    CannotSign {
        /// The key's name.
        name: KeyName,
    },
}

impl CosignerKey {
    /// Whether a signature line names this key. It may still be wrong.
    #[must_use]
    pub fn is_named_by(&self, signature: &NoteSignature) -> bool {
        signature.name() == self.name() && signature.id() == self.id()
    }

    /// Checks this cosigner's signature of a checkpoint and says of what time it is, in POSIX
    /// seconds. 0 means that nothing is said about the largest tree at a time; a witness never
    /// says that.
    ///
    /// # Errors
    /// Another key's signature, a wrong one, or a time out of range.
    pub fn verify(
        &self,
        checkpoint: &Checkpoint,
        signature: &NoteSignature,
    ) -> Result<u64, CosignatureError> {
        let name = || self.name().clone();
        if !self.is_named_by(signature) {
            return Err(CosignatureError::NotThisKey { name: name() });
        }
        let bad = || CosignatureError::BadSignature { name: name() };
        let (timestamp, bytes) = signature
            .bytes()
            .split_first_chunk::<TIMESTAMP_LENGTH>()
            .ok_or_else(bad)?;
        let timestamp = checked_time(u64::from_be_bytes(*timestamp))?;
        let message = self.message(checkpoint, timestamp)?;
        if self.verifies(&message, bytes) {
            Ok(timestamp)
        } else {
            Err(bad())
        }
    }

    /// Checks this cosigner's signature of a subtree.
    ///
    /// # Errors
    /// As [`CosignerKey::verify`]; also a key of another kind, and a time other than 0.
    pub fn verify_subtree(
        &self,
        subtree: &Subtree<'_>,
        signature: &NoteSignature,
    ) -> Result<(), CosignatureError> {
        let name = || self.name().clone();
        if !self.is_named_by(signature) {
            return Err(CosignatureError::NotThisKey { name: name() });
        }
        let message = self.subtree_message(subtree, 0)?;
        match signature.bytes().split_first_chunk::<TIMESTAMP_LENGTH>() {
            Some(([0, 0, 0, 0, 0, 0, 0, 0], bytes)) if self.verifies(&message, bytes) => Ok(()),
            _ => Err(CosignatureError::BadSignature { name: name() }),
        }
    }

    /// What is signed for a checkpoint at a time.
    fn message(
        &self,
        checkpoint: &Checkpoint,
        timestamp: u64,
    ) -> Result<Vec<u8>, CosignatureError> {
        match self.algorithm() {
            Algorithm::Ed25519 => {
                let text = checkpoint.to_text();
                Ok(format!("cosignature/v1\ntime {timestamp}\n{text}").into_bytes())
            }
            Algorithm::MlDsa44 => {
                let whole = Subtree {
                    origin: &checkpoint.origin,
                    start: 0,
                    end: checkpoint.size,
                    hash: checkpoint.root,
                };
                tree_message(self.name(), timestamp, &whole)
            }
        }
    }

    fn subtree_message(
        &self,
        subtree: &Subtree<'_>,
        timestamp: u64,
    ) -> Result<Vec<u8>, CosignatureError> {
        if self.algorithm() != Algorithm::MlDsa44 {
            let name = self.name().clone();
            return Err(CosignatureError::CannotSignSubtrees { name });
        }
        if !is_subtree(subtree.start, subtree.end) {
            let (start, end) = (subtree.start, subtree.end);
            return Err(CosignatureError::NotASubtree { start, end });
        }
        tree_message(self.name(), timestamp, subtree)
    }
}

impl CosignerSigningKey {
    /// Cosigns a checkpoint as of a time in POSIX seconds. The checkpoint is printed anew, so that
    /// what is signed is what was understood.
    ///
    /// # Errors
    /// A time out of range; an origin that ML-DSA-44 cosignatures cannot name.
    pub fn cosign(
        &self,
        checkpoint: &Checkpoint,
        timestamp: u64,
    ) -> Result<NoteSignature, CosignatureError> {
        let timestamp = checked_time(timestamp)?;
        let message = self.verifier().message(checkpoint, timestamp)?;
        self.line(timestamp, &message)
    }

    /// The note of a checkpoint with our cosignature as its last line, instead of what claimed to be one before. The
    /// signatures of others stay as they are, unverified.
    ///
    /// # Errors
    /// As [`cosign`](Self::cosign); or the note has all the signatures that it can have.
    pub fn cosign_onto(
        &self,
        shown: &SignedCheckpoint,
        timestamp: u64,
    ) -> Result<SignedNote, CosignatureError> {
        let line = self.cosign(shown.checkpoint(), timestamp)?;
        let note = SignedNote::parse(shown.bytes())?;
        let others = note.signatures().iter().cloned();
        let mut lines: Vec<_> = others
            .filter(|other| !self.verifier().is_named_by(other))
            .collect();
        lines.push(line);
        Ok(SignedNote::assemble(note.text(), lines)?)
    }

    /// Signs a subtree: its entries are in every tree of the log that this cosigner saw.
    ///
    /// # Errors
    /// Not an ML-DSA-44 key; not a subtree; an origin too long.
    pub fn cosign_subtree(&self, subtree: &Subtree<'_>) -> Result<NoteSignature, CosignatureError> {
        let message = self.verifier().subtree_message(subtree, 0)?;
        self.line(0, &message)
    }

    fn line(&self, timestamp: u64, message: &[u8]) -> Result<NoteSignature, CosignatureError> {
        let key = self.verifier();
        let name = || key.name().clone();
        let signature = self
            .sign(message)
            .ok_or_else(|| CosignatureError::CannotSign { name: name() })?;
        let bytes = [timestamp.to_be_bytes().as_slice(), &signature].concat();
        Ok(NoteSignature::new(name(), key.id(), bytes))
    }
}

/// A part of a log's tree that has a hash of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree<'a> {
    /// The log's origin.
    pub origin: &'a str,
    /// First entry.
    pub start: u64,
    /// One past the last entry.
    pub end: u64,
    /// The hash over these entries.
    pub hash: Hash,
}

/// Whether the entries `start` to `end` (exclusive) are a subtree: not none, and `start` is a
/// multiple of the smallest power of two that is not smaller than their number
/// (draft-ietf-plants-merkle-tree-certs §4.1).
#[must_use]
pub const fn is_subtree(start: u64, end: u64) -> bool {
    let Some(length) = end.checked_sub(start) else {
        return false;
    };
    match length.checked_next_power_of_two() {
        Some(width) => length > 0 && start.is_multiple_of(width),
        // Longer than 2^63: only from the first entry on.
        None => start == 0,
    }
}

/// The `cosigned_message` of ML-DSA-44: label, cosigner, time, origin, range, hash.
fn tree_message(
    cosigner: &KeyName,
    timestamp: u64,
    tree: &Subtree<'_>,
) -> Result<Vec<u8>, CosignatureError> {
    let (name, origin) = (cosigner.as_str().as_bytes(), tree.origin.as_bytes());
    let length = origin.len();
    // A key's name is never longer than 255 bytes.
    let (Ok(name_length), Ok(origin_length)) = (u8::try_from(name.len()), u8::try_from(length))
    else {
        return Err(CosignatureError::OriginTooLong { length });
    };
    let mut message = b"subtree/v1\n\0".to_vec();
    message.push(name_length);
    message.extend_from_slice(name);
    message.extend_from_slice(&timestamp.to_be_bytes());
    message.push(origin_length);
    message.extend_from_slice(origin);
    message.extend_from_slice(&tree.start.to_be_bytes());
    message.extend_from_slice(&tree.end.to_be_bytes());
    message.extend_from_slice(tree.hash.as_bytes());
    Ok(message)
}

const fn checked_time(timestamp: u64) -> Result<u64, CosignatureError> {
    if timestamp > MAX_TIMESTAMP {
        return Err(CosignatureError::BadTimestamp { timestamp });
    }
    Ok(timestamp)
}

#[cfg(test)]
mod tests;

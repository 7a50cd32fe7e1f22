//! Proofs in files (`.tlog-proof`): that a log has an entry, with all that it takes to believe it
//! without asking anybody.
//!
//! The extra data is carried and never believed. Specification: C2SP tlog-proof.

use std::fmt::Write as _;

use data_encoding::BASE64;

use crate::{
    base64,
    checkpoint::{Checkpoint, CheckpointError, MAX_SIGNED_CHECKPOINT_LENGTH},
    decimal,
    hash::Hash,
    note::{NoteError, SignedNote},
    proof::{MAX_PROOF_LENGTH, ProofError, verify_inclusion},
    tlog_policy::{TlogPolicy, Verified, Violation},
};

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The most bytes of extra data.
pub const MAX_EXTRA_LENGTH: usize = 65_535;

/// Longest proof in bytes.
pub const MAX_TLOG_PROOF_LENGTH: usize = 256 << 10;

/// That an entry is in a log, not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Data for the application, at most [`MAX_EXTRA_LENGTH`] bytes. Nobody vouches for it.
    pub extra: Option<Vec<u8>>,
    /// The entry's index in the log.
    pub index: u64,
    /// Hashes from the leaf's sibling to the root's child, at most [`MAX_PROOF_LENGTH`].
    pub proof: Vec<Hash>,
    /// The signed checkpoint of the tree that has it.
    pub note: SignedNote,
}

/// Bytes are not a proof in the form of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// Longer than [`MAX_TLOG_PROOF_LENGTH`].
    #[error("the proof has {length} bytes, more than the permitted {MAX_TLOG_PROOF_LENGTH}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The first line is another one.
    #[error("not a proof: the first line is not `c2sp.org/tlog-proof@v1`")]
    NotAProof,
    /// The extra data is not base64, or too long.
    #[error("line 2 of the proof is not `extra` and base64 of at most {MAX_EXTRA_LENGTH} bytes")]
    BadExtra,
    /// No index where it belongs.
    #[error("line {line} of the proof is not `index` and a number without leading zeros")]
    BadIndex {
        /// Which line, from 1.
        line: usize,
    },
    /// A line is not a hash.
    #[error("line {line} of the proof is not a hash in base64")]
    BadHash {
        /// Which line, from 1.
        line: usize,
    },
    /// More hashes than any proof has.
    #[error("the proof has more than {MAX_PROOF_LENGTH} hashes")]
    TooManyHashes,
    /// No blank line after the hashes.
    #[error("the proof has no blank line before its checkpoint")]
    NoCheckpoint,
    /// What follows the blank line is not a signed note.
    #[error("in the proof: {0}")]
    Note(#[from] NoteError),
    /// The note is not a checkpoint.
    #[error("in the proof: {0}")]
    Checkpoint(#[from] CheckpointError),
}

/// A proof does not show that an entry is in a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// The checkpoint does not satisfy the policy.
    #[error(transparent)]
    Checkpoint(#[from] Violation),
    /// The entry is not shown to be in the checkpoint's tree.
    #[error("the entry is not shown to be in the log: {0}")]
    Inclusion(#[from] ProofError),
}

impl TlogProof {
    /// Reads a proof. Printing what was read gives the same bytes.
    ///
    /// # Errors
    /// Where and how the bytes are not a proof.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        let length = bytes.len();
        if length > MAX_TLOG_PROOF_LENGTH {
            return Err(TlogProofError::TooLong { length });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| NoteError::NotUtf8 {
            offset: error.valid_up_to(),
        })?;
        let mut rest = text
            .strip_prefix(HEADER)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or(TlogProofError::NotAProof)?;
        let mut line = 2_usize;
        let mut extra = None;
        if let Some(after) = rest.strip_prefix("extra ") {
            let (encoded, after) = after.split_once('\n').ok_or(TlogProofError::BadExtra)?;
            extra = Some(decode_extra(encoded)?);
            rest = after;
            line = 3;
        }
        let (index, mut rest) = rest
            .split_once('\n')
            .ok_or(TlogProofError::BadIndex { line })?;
        let index = index
            .strip_prefix("index ")
            .and_then(decimal::parse)
            .ok_or(TlogProofError::BadIndex { line })?;
        let mut proof = Vec::new();
        loop {
            let (hash, after) = rest.split_once('\n').ok_or(TlogProofError::NoCheckpoint)?;
            (rest, line) = (after, line.saturating_add(1));
            if hash.is_empty() {
                break;
            }
            if proof.len() == MAX_PROOF_LENGTH {
                return Err(TlogProofError::TooManyHashes);
            }
            let hash = hash.parse().map_err(|_| TlogProofError::BadHash { line })?;
            proof.push(hash);
        }
        let (length, limit) = (rest.len(), MAX_SIGNED_CHECKPOINT_LENGTH);
        if length > limit {
            return Err(CheckpointError::TooLong { length, limit }.into());
        }
        let note = SignedNote::parse(rest.as_bytes())?;
        Checkpoint::parse(note.text())?;
        Ok(Self {
            extra,
            index,
            proof,
            note,
        })
    }

    /// The file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("{HEADER}\n");
        // Writing to a `String` cannot fail.
        if let Some(extra) = &self.extra {
            let _ = writeln!(head, "extra {}", BASE64.encode(extra));
        }
        let _ = writeln!(head, "index {}", self.index);
        for hash in &self.proof {
            let _ = writeln!(head, "{hash}");
        }
        head.push('\n');
        [head.into_bytes(), self.note.to_bytes()].concat()
    }

    /// Checks that the entry with this leaf hash is in a log of the policy, at this proof's index.
    ///
    /// # Errors
    /// The checkpoint does not satisfy the policy, or does not cover the entry.
    pub fn verify(&self, leaf: &Hash, policy: &TlogPolicy) -> Result<Verified, NotProven> {
        let verified = policy.verify(&self.note)?;
        let tree = &verified.checkpoint;
        verify_inclusion(self.index, tree.size, leaf, &self.proof, &tree.root)?;
        Ok(verified)
    }
}

fn decode_extra(encoded: &str) -> Result<Vec<u8>, TlogProofError> {
    if encoded.len() > BASE64.encode_len(MAX_EXTRA_LENGTH) {
        return Err(TlogProofError::BadExtra);
    }
    let extra = base64::decode(encoded).map_err(|_| TlogProofError::BadExtra)?;
    // The longest text in base64 can stand for up to two bytes more.
    if extra.len() > MAX_EXTRA_LENGTH {
        return Err(TlogProofError::BadExtra);
    }
    Ok(extra)
}

#[cfg(test)]
mod tests;

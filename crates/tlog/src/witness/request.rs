//! The body of an `add-checkpoint` request: old size, consistency proof, signed checkpoint.

use std::fmt::Write as _;

use crate::{
    checkpoint::{Checkpoint, CheckpointError, MAX_SIGNED_CHECKPOINT_LENGTH},
    decimal,
    hash::Hash,
    note::{NoteError, SignedNote},
};

/// Most lines of a consistency proof.
pub const MAX_PROOF_LINES: usize = 63;

/// Longest request in bytes.
pub const MAX_REQUEST_LENGTH: usize = MAX_SIGNED_CHECKPOINT_LENGTH + 64 + MAX_PROOF_LINES * 45;

/// What a log asks a witness: cosign this checkpoint, which extends the one of size `old`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the checkpoint that the log believes the witness to have cosigned last, 0 for none.
    pub old: u64,
    /// Consistency proof from there, at most [`MAX_PROOF_LINES`] hashes.
    pub proof: Vec<Hash>,
    /// The new checkpoint with its signatures, none of them verified.
    pub note: SignedNote,
    /// What the note says. Not checked for the root of an empty tree.
    pub checkpoint: Checkpoint,
}

/// Bytes are not a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Longer than [`MAX_REQUEST_LENGTH`].
    #[error("the request has {length} bytes, more than the permitted {MAX_REQUEST_LENGTH}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The first line is not `old` and a size.
    #[error("line 1 of the request is not of the form `old SIZE`")]
    BadOldSize,
    /// A line of the proof is not a hash.
    #[error("line {line} of the request is not a hash in base64")]
    BadHash {
        /// Which line, from 1.
        line: usize,
    },
    /// More proof lines than permitted.
    #[error("the request has more than {MAX_PROOF_LINES} proof lines")]
    ProofTooLong,
    /// No blank line after the proof.
    #[error("the request has no blank line between the proof and the checkpoint")]
    NoCheckpoint,
    /// What follows the blank line is not a signed note.
    #[error("in the request: {0}")]
    Note(#[from] NoteError),
    /// The note is not a checkpoint.
    #[error("in the request: {0}")]
    Checkpoint(#[from] CheckpointError),
}

impl AddCheckpoint {
    /// A request for a signed checkpoint.
    ///
    /// # Errors
    /// The note is not a checkpoint, or the proof is too long.
    pub fn new(old: u64, proof: Vec<Hash>, note: SignedNote) -> Result<Self, RequestError> {
        if proof.len() > MAX_PROOF_LINES {
            return Err(RequestError::ProofTooLong);
        }
        let checkpoint = Checkpoint::read(note.text())?;
        Ok(Self {
            old,
            proof,
            note,
            checkpoint,
        })
    }

    /// Reads a request. Printing what was read gives the same bytes.
    ///
    /// # Errors
    /// Where and how the bytes are not a request; a witness answers 400.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let length = bytes.len();
        if length > MAX_REQUEST_LENGTH {
            return Err(RequestError::TooLong { length });
        }
        let (line, mut rest) = split_line(bytes).ok_or(RequestError::BadOldSize)?;
        let old = text(line)
            .and_then(|line| line.strip_prefix("old "))
            .and_then(decimal::parse)
            .ok_or(RequestError::BadOldSize)?;
        let mut proof = Vec::new();
        loop {
            let (line, after) = split_line(rest).ok_or(RequestError::NoCheckpoint)?;
            rest = after;
            if line.is_empty() {
                break;
            }
            if proof.len() == MAX_PROOF_LINES {
                return Err(RequestError::ProofTooLong);
            }
            let hash = text(line).and_then(|line| line.parse().ok());
            let line = proof.len().saturating_add(2);
            proof.push(hash.ok_or(RequestError::BadHash { line })?);
        }
        Self::new(old, proof, SignedNote::parse(rest)?)
    }

    /// The request's body.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("old {}\n", self.old);
        for hash in &self.proof {
            // Writing to a `String` cannot fail.
            let _ = writeln!(head, "{hash}");
        }
        head.push('\n');
        [head.into_bytes(), self.note.to_bytes()].concat()
    }
}

/// A line without its line feed, and what follows.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((line, rest.split_first()?.1))
}

fn text(line: &[u8]) -> Option<&str> {
    std::str::from_utf8(line).ok()
}

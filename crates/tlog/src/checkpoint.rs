//! Checkpoints: a log's origin, size and root, signed as a note.
//!
//! A checkpoint names its log, so a signed one is worth nothing for another log, even of the same
//! key. Says nothing about whether two checkpoints fit together: that is
//! [`verify_consistency`](crate::proof::verify_consistency). Specification: C2SP tlog-checkpoint.

use std::fmt::Write as _;

use crate::{
    MAX_TREE_SIZE, decimal,
    hash::{EMPTY_ROOT, Hash},
    note::{NoteError, SignedNote, SigningKey, VerifierKey},
};

/// Longest text of a checkpoint in bytes, without signatures.
pub const MAX_CHECKPOINT_LENGTH: usize = 4096;

/// Longest signed checkpoint in bytes: room for 32 signatures of the largest kind, and some.
pub const MAX_SIGNED_CHECKPOINT_LENGTH: usize = 128 << 10;

/// A log's state at one size.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// The log's name: one line, not empty.
    pub origin: String,
    /// Number of entries, at most [`MAX_TREE_SIZE`].
    pub size: u64,
    /// Root of the tree of that size.
    pub root: Hash,
    /// Further lines, none of them empty. Signed, but without meaning here.
    pub extensions: Vec<String>,
}

/// A checkpoint that was signed by the log's key and names the log's origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    bytes: Vec<u8>,
}

/// Bytes are not the expected checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Longer than permitted.
    #[error("the checkpoint has {length} bytes, more than the permitted {limit}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The permitted length in bytes.
        limit: usize,
    },
    /// Not the lines of a checkpoint.
    #[error("not a checkpoint: expected lines with an origin, a size and a root, each ended")]
    NotACheckpoint,
    /// The second line is not a size.
    #[error("line 2 of the checkpoint is not a size below 2^63 without leading zeros")]
    BadSize,
    /// The third line is not a root.
    #[error("line 3 of the checkpoint is not a root hash in base64")]
    BadRoot,
    /// A log without entries with another root than [`EMPTY_ROOT`].
    #[error("the checkpoint of a log without entries has the root {root}")]
    EmptyTreeWithRoot {
        /// The root it has.
        root: Hash,
    },
    /// An extension line is empty.
    #[error("line {line} of the checkpoint is empty")]
    EmptyLine {
        /// Which line, from 1.
        line: usize,
    },
    /// A field has a line feed, so its text would be another checkpoint.
    #[error("a line of the checkpoint has a line feed in it")]
    LineFeed,
    /// It is the checkpoint of another log.
    #[error("the checkpoint is of the log {found}, not of {expected}")]
    WrongOrigin {
        /// The origin it names.
        found: String,
        /// The origin that was expected.
        expected: String,
    },
    /// Not a signed note, or not signed by the log's key.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl Checkpoint {
    /// Reads a checkpoint's text. Printing what was read gives the same text.
    ///
    /// # Errors
    /// Which line is wrong.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let read = Self::read(text)?;
        if read.size == 0 && read.root != EMPTY_ROOT {
            return Err(CheckpointError::EmptyTreeWithRoot { root: read.root });
        }
        Ok(read)
    }

    /// [`Checkpoint::parse`] without looking at the root of an empty tree, which a witness answers
    /// differently.
    pub(crate) fn read(text: &str) -> Result<Self, CheckpointError> {
        let (length, limit) = (text.len(), MAX_CHECKPOINT_LENGTH);
        if length > limit {
            return Err(CheckpointError::TooLong { length, limit });
        }
        let lines = text
            .strip_suffix('\n')
            .ok_or(CheckpointError::NotACheckpoint)?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::NotACheckpoint);
        };
        if origin.is_empty() {
            return Err(CheckpointError::EmptyLine { line: 1 });
        }
        let size = decimal::parse(size)
            .filter(|size| *size <= MAX_TREE_SIZE)
            .ok_or(CheckpointError::BadSize)?;
        let root = root.parse().map_err(|_| CheckpointError::BadRoot)?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if let Some(position) = extensions.iter().position(String::is_empty) {
            return Err(CheckpointError::EmptyLine {
                line: position.saturating_add(4),
            });
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions,
        })
    }

    /// The text that is signed, each line ended.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, self.root);
        for line in &self.extensions {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// Signs this checkpoint; the bytes are what a log publishes.
    ///
    /// # Errors
    /// This is not a checkpoint that could be read back: an empty or too long line, a line feed or
    /// control character in one, a size too large, or a root that no empty tree has.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, CheckpointError> {
        let text = self.to_text();
        // Never sign what a reader would take for something else.
        if Self::parse(&text)? != *self {
            return Err(CheckpointError::LineFeed);
        }
        Ok(SignedNote::sign(&text, &[key])?.to_bytes())
    }
}

impl SignedCheckpoint {
    /// Opens a signed checkpoint of the log `origin`: verifies the signature by `key`, then reads
    /// the text.
    ///
    /// # Errors
    /// Not a note, not signed by this key, not a checkpoint, or the checkpoint of another log.
    pub fn open(bytes: &[u8], key: &VerifierKey, origin: &str) -> Result<Self, CheckpointError> {
        let (length, limit) = (bytes.len(), MAX_SIGNED_CHECKPOINT_LENGTH);
        if length > limit {
            return Err(CheckpointError::TooLong { length, limit });
        }
        let note = SignedNote::parse(bytes)?;
        note.verify(&[key])?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != origin {
            let expected = origin.to_owned();
            return Err(CheckpointError::WrongOrigin {
                found: checkpoint.origin,
                expected,
            });
        }
        Ok(Self {
            checkpoint,
            bytes: bytes.to_vec(),
        })
    }

    /// What was signed.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signed note as it was read. It may carry signatures by other keys, unverified.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests;

//! Everything that can go wrong with a log, in words for whoever submits to it or runs it.
//!
//! A refused request leaves no trace in the log.

use quorix_tlog::checkpoint::CheckpointError;
use quorix_tlog::hash::Hash;
use quorix_trust::attestation::{BLOB_BYTES_MAX, ClaimError};
use quorix_trust::ports::{CommitError, StoreError};
use quorix_wire::entry::{BlobError, EntryError};

use crate::config::{ENTRIES_PER_REQUEST_MAX, REQUEST_BYTES_MAX, WITHDRAWN_PER_REQUEST_MAX};

/// A log did not start. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The key belongs to another log.
    #[error(
        "the key is named {key}, but the log is named {origin}: set origin to {key}, or use the key of {origin}"
    )]
    KeyName {
        /// Name of the key.
        key: String,
        /// Configured name of the log.
        origin: String,
    },
    /// The stored checkpoint is not by this log's key.
    #[error(
        "the stored checkpoint does not verify under the key of {origin}: {problem}. Start the log with the key and \
         origin that made this database, or point it at an empty directory to begin a new log"
    )]
    Checkpoint {
        /// Configured name of the log.
        origin: String,
        /// What is wrong with it.
        problem: CheckpointError,
    },
    /// The stored checkpoint, tiles and entries are not of one tree.
    #[error(
        "the stored log is damaged: {0}. Nothing was signed; restore the database from a backup that is not older than \
         the newest published checkpoint"
    )]
    Damaged(TreeError),
    /// The store failed.
    #[error("the log's database failed: {0}")]
    Store(#[from] StoreError),
    /// The first checkpoint could not be stored.
    #[error("the first checkpoint could not be stored: {0}")]
    FirstCommit(#[from] CommitError),
    /// The anchor cannot be read or written.
    #[error("the log's anchor failed: {0}")]
    Anchor(StoreError),
    /// There is no log, and the key may have signed one.
    #[error(
        "there is no log here: the database and its anchor are empty, and nothing says that the key of {origin} is new. If \
         this log has run before, its folder is lost or not mounted: bring it back, or restore a copy of it. A log that is \
         begun again under an old key contradicts what it has signed, for everybody to see and for good. Nothing was signed. \
         If this key has never signed a checkpoint, say so: quorix log adopt --confirm-size 0"
    )]
    NotBegun {
        /// Configured name of the log.
        origin: String,
    },
    /// The mark of a new key cannot be read, or not be used up.
    #[error(
        "whether the log's key is new cannot be settled: {0}. Nothing was signed; let the user that runs the log write that \
         file, or remove it and say that the key is new: quorix log adopt --confirm-size 0"
    )]
    Beginning(StoreError),
    /// There is a log and no anchor for it.
    #[error(
        "the database holds {size} entries, but its anchor is empty or was just made: the anchor is lost, or `[log] anchor` \
         points elsewhere, or this log is older than anchors. Nothing was signed. If this is the log's own database and not \
         an older copy, say so: quorix log adopt --confirm-size {size}"
    )]
    NoAnchor {
        /// Entries in the database.
        size: u64,
    },
    /// The anchor holds something else than a checkpoint of this log.
    #[error(
        "the anchor holds no checkpoint of {origin}: {problem}. Nothing was signed; point `[log] anchor` at the anchor of \
         this log, or use the key and origin that made it"
    )]
    AnchorForeign {
        /// Configured name of the log.
        origin: String,
        /// What is wrong with it.
        problem: CheckpointError,
    },
    /// The database has lost entries that were signed.
    #[error(
        "the database holds {stored} entries, but {by} shows that this log has signed {signed}: the database is an older \
         copy or has lost its end. Signing on would contradict what was signed, for everybody to see and for good. Nothing \
         was signed; restore a copy with at least {signed} entries, or begin a new log under a new name"
    )]
    Behind {
        /// Entries in the database.
        stored: u64,
        /// Entries that were signed.
        signed: u64,
        /// What shows it.
        by: Proof,
    },
    /// The database holds another history than the one that was signed.
    #[error(
        "the database does not hold the tree of {size} entries that {by} shows to be signed: it is of another history. \
         Nothing was signed; restore the database that goes with it"
    )]
    Forked {
        /// Size of the signed tree.
        size: u64,
        /// What shows it.
        by: Proof,
    },
    /// The database is a copy that a backup made.
    #[error(
        "this database is a copy that a backup made, with {size} entries. If the log has signed anything after that, going \
         on from here would contradict it, for everybody to see and for good. Nothing was signed. If you know that \
         nothing was, say so: quorix log adopt --confirm-size {size}"
    )]
    Copy {
        /// Entries in the copy.
        size: u64,
    },
    /// The operator confirmed another state than the stored one.
    #[error(
        "the database holds {size} entries, not the {confirmed} that were confirmed. Nothing was changed; make sure which \
         database this is before you confirm {size}"
    )]
    NotConfirmed {
        /// Entries in the database.
        size: u64,
        /// Entries that were confirmed.
        confirmed: u64,
    },
    /// The operating system gives no thread.
    #[error("the log's thread does not start: {reason}")]
    Thread {
        /// What it said.
        reason: String,
    },
}

impl From<TreeError> for StartError {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Store(error) => Self::Store(error),
            damage => Self::Damaged(damage),
        }
    }
}

/// What shows how far a log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The anchor.
    Anchor,
    /// What a witness has cosigned.
    Witness,
    /// The noted publication in the database itself.
    Published,
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Anchor => "the anchor",
            Self::Witness => "a witness",
            Self::Published => "the note of what was published",
        })
    }
}

/// What is stored is not the tree that the checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The checkpoint is of another size or root than the head.
    #[error(
        "the stored checkpoint is of {checkpoint} entries, the stored head of {head}, or their roots differ"
    )]
    Head {
        /// Size in the checkpoint.
        checkpoint: u64,
        /// Size in the head.
        head: u64,
    },
    /// A tile is missing, cut, or cannot be read.
    #[error("{0}")]
    Tile(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A full tile is not the one whose root is in the level above.
    #[error(
        "the stored tile {index} of level {level} does not have the hash that is in the level above"
    )]
    FullTile {
        /// Its level.
        level: u8,
        /// Its index.
        index: u64,
    },
    /// The tiles have another root.
    #[error(
        "the stored tiles of {size} entries have the root {found}, the checkpoint says {expected}"
    )]
    Root {
        /// Number of entries.
        size: u64,
        /// Root of the tiles.
        found: Hash,
        /// Root in the checkpoint.
        expected: Hash,
    },
    /// An entry is not the one whose hash is in the tree.
    #[error("the stored entry {index} does not have the leaf hash that is in the tree")]
    Entry {
        /// Its index.
        index: u64,
    },
}

/// A request was not taken, not one entry of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Too many entries at once.
    #[error(
        "the request has {count} entries, at most {ENTRIES_PER_REQUEST_MAX} are taken at once: send it in parts"
    )]
    TooManyEntries {
        /// How many.
        count: usize,
    },
    /// Too many bytes at once.
    #[error(
        "the request has {bytes} bytes, at most {REQUEST_BYTES_MAX} are taken at once: send it in parts"
    )]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// A blob is too large.
    #[error("blob {position} has {bytes} bytes, a blob has at most {BLOB_BYTES_MAX}")]
    BlobTooLarge {
        /// Which blob of the request, from 0.
        position: usize,
        /// Its length.
        bytes: usize,
    },
    /// A blob belongs to nothing.
    #[error("blob {position} (SHA-256 {id}) is named by no entry of the request")]
    BlobUnnamed {
        /// Which blob of the request, from 0.
        position: usize,
        /// Its SHA-256 in hexadecimal.
        id: String,
    },
    /// An entry is refused.
    #[error("entry {position}: {problem}")]
    Entry {
        /// Which entry of the request, from 0.
        position: usize,
        /// What is wrong with it.
        problem: EntryProblem,
    },
    /// Too much waits already.
    #[error("the log has more requests waiting than it can hold: try again in a moment")]
    Busy,
    /// The log cannot write at present. Whether the entries were taken is not known; sending them again is safe.
    #[error(
        "the log cannot write at present ({reason}): send the same entries again later, none will be appended twice"
    )]
    Unavailable {
        /// What failed.
        reason: String,
    },
    /// The log has ended: its last entry hands over to another key.
    #[error(
        "this log has ended: its entry {index} hands over to the key {successor}, and nothing may follow it. Submit to the log \
         of that key"
    )]
    Ended {
        /// Index of the rotation.
        index: u64,
        /// vkey of the key that follows.
        successor: String,
    },
    /// A rotation request is something else.
    #[error("what was sent is no key rotation of this log: {0}")]
    NotARotation(String),
    /// The log has stopped for good, or is shutting down.
    #[error("the log has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// Not canonical bytes of an entry.
    #[error(transparent)]
    Malformed(#[from] EntryError),
    /// Names a blob that is neither sent along nor stored.
    #[error("names the blob {id}, which is neither in the request nor in the log")]
    BlobMissing {
        /// Its SHA-256 in hexadecimal.
        id: String,
    },
    /// Names a blob that is not what it should be.
    #[error("names the blob {id}: {problem}")]
    Blob {
        /// Its SHA-256 in hexadecimal.
        id: String,
        /// What is wrong with it.
        problem: BlobError,
    },
    /// Votes for another fingerprint than that of its facts.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Its list of inputs has another root than it says.
    #[error("the inputs in the blob have the root {computed}, but inputs_root is {stated}")]
    InputsRoot {
        /// Root over the lines of the blob.
        computed: Hash,
        /// Root in the entry.
        stated: Hash,
    },
    /// Withdraws what this log does not have.
    #[error("withdraws the leaf {leaf}, which is not in this log before it")]
    UnknownLeaf {
        /// The leaf hash.
        leaf: Hash,
    },
    /// Withdraws what is no statement.
    #[error(
        "withdraws the leaf {leaf}, which is a retraction: only statements can be withdrawn. What a retraction withdrew can be \
         said again"
    )]
    NoStatement {
        /// The leaf hash.
        leaf: Hash,
    },
    /// Withdraws more in one request than is looked at.
    #[error(
        "withdraws more than {WITHDRAWN_PER_REQUEST_MAX} leaves in one request: send it in parts"
    )]
    TooManyWithdrawn,
    /// The last entry of a log is not for builders to write.
    #[error("a key rotation ends a log and cannot be submitted to it")]
    KeyRotation,
}

//! Why bytes are not an entry: which field, and what is wrong with it.

use quorix_nix::fingerprint::FingerprintDigest;

/// Bytes or a value that are not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Longer than a log entry may be.
    #[error("the entry has {bytes} bytes, but a log entry has at most 65535")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Not protobuf of this shape.
    #[error("not an entry: {reason}")]
    Malformed {
        /// What the protobuf reader says.
        reason: String,
    },
    /// Says something valid in another than its one encoding.
    #[error(
        "the entry is not in its canonical encoding from byte {offset} on (fields in order, each once, none unknown, \
         no default values, shortest numbers)"
    )]
    NotCanonical {
        /// Where it first differs from the canonical encoding.
        offset: usize,
    },
    /// Of no kind that is known here.
    #[error("the entry is of no known kind")]
    UnknownKind,
    /// A field breaks a rule.
    #[error("{field}: {problem}")]
    Field {
        /// The field, as in the proto file with its message, e.g. `build.store_path`.
        field: &'static str,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong with a field of an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It must be set.
    #[error("is missing")]
    Missing,
    /// It may be set only together with another field.
    #[error("is set without {needs}")]
    Without {
        /// The field that it needs.
        needs: &'static str,
    },
    /// It must not be set together with another field.
    #[error("is set together with {other}")]
    Both {
        /// The other field.
        other: &'static str,
    },
    /// Not as many bytes as it must have.
    #[error("has {found} bytes instead of {expected}")]
    Length {
        /// How many it must have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// More bytes or elements than permitted.
    #[error("has length {found}, more than the permitted {limit}")]
    TooLong {
        /// How many are permitted.
        limit: usize,
        /// How many it has.
        found: usize,
    },
    /// A number that must be at least 1 is 0.
    #[error("is 0")]
    Zero,
    /// A list must be strictly ascending.
    #[error("is not strictly ascending at position {position}")]
    NotAscending {
        /// The first element, from 0, that is not greater than the one before.
        position: usize,
    },
    /// An element of a list is not what it should be.
    #[error("element {position}: {reason}")]
    Element {
        /// Which element, from 0.
        position: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Not in the same store directory as the output.
    #[error("is not in the store directory {store_dir} of the entry's store path")]
    OtherStoreDir {
        /// The entry's store directory.
        store_dir: String,
    },
    /// A value of an enumeration that is unspecified or unknown.
    #[error("has the unknown value {found}")]
    UnknownValue {
        /// The number.
        found: i32,
    },
    /// A control character in a text.
    #[error("has a control character")]
    ControlCharacter,
    /// Not the text of what it should be.
    #[error("{reason}")]
    Invalid {
        /// What is wrong, in words.
        reason: String,
    },
    /// The facts have another fingerprint than the one that is voted.
    #[error("is {stated}, but the facts of the entry have {computed}")]
    Fingerprint {
        /// Digest of the facts.
        computed: FingerprintDigest,
        /// Digest in the entry.
        stated: FingerprintDigest,
    },
}

impl Problem {
    pub(super) fn of(self, field: &'static str) -> EntryError {
        EntryError::Field {
            field,
            problem: self,
        }
    }
}

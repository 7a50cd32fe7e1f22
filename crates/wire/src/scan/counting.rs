//! What a check has found so far, and where it stands: enough to go on later from there.

use quorix_tlog::hash::Hash;

/// How many problems are named; further ones are only counted.
pub const PROBLEMS_NAMED_MAX: usize = 100;

/// Something of a log is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What: the path under which it is served, or `entry N`.
    pub what: String,
    /// What is wrong with it.
    pub reason: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.reason)
    }
}

/// What was looked at and what was wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries hashed.
    pub entries: u64,
    /// Hash tiles recomputed and compared.
    pub tiles: u64,
    /// Blobs read and compared with the entries that name them.
    pub blobs: u64,
    /// Entries that do not parse: no mistake of the log, they count for nobody.
    pub opaque: u64,
    /// Retractions.
    pub retractions: u64,
    /// Index of the key rotation, which must be the last entry.
    pub rotation: Option<u64>,
    /// How many things are wrong.
    pub problems: u64,
    /// The first of them, at most [`PROBLEMS_NAMED_MAX`].
    pub named: Vec<Problem>,
}

impl Counts {
    /// Notes a problem.
    pub fn note(&mut self, what: impl Into<String>, reason: impl std::fmt::Display) {
        self.problems = self.problems.saturating_add(1);
        if self.named.len() < PROBLEMS_NAMED_MAX {
            self.named.push(Problem {
                what: what.into(),
                reason: reason.to_string(),
            });
        }
    }

    /// Adds what was counted elsewhere, later in the log.
    pub(super) fn add(&mut self, other: Self) {
        self.entries = self.entries.saturating_add(other.entries);
        self.tiles = self.tiles.saturating_add(other.tiles);
        self.blobs = self.blobs.saturating_add(other.blobs);
        self.opaque = self.opaque.saturating_add(other.opaque);
        self.retractions = self.retractions.saturating_add(other.retractions);
        self.problems = self.problems.saturating_add(other.problems);
        self.rotation = self.rotation.or(other.rotation);
        self.named.extend(other.named);
        self.named.truncate(PROBLEMS_NAMED_MAX);
    }
}

/// Where a check stands: everything before `size` is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Entries checked, a multiple of 256.
    pub size: u64,
    /// The compact range of these entries as the log's tree has them, so that whoever goes on notices if it changed.
    pub nodes: Vec<Hash>,
    /// What was found in them.
    pub counts: Counts,
}

//! What is kept of following logs besides their trees: checkpoints with their times, lifted quarantines, and what the
//! index counts and finds by.
//!
//! All times come from stored checkpoints, so that an index that is built anew from the mirrors is the same.

use quorix_nix::store_path::HashPart;

use super::{Equivocation, IndexedStatement, Standing};

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// The most voices about one output that are compared in pairs.
pub const PAIRED_VOICES_MAX: usize = 16;

/// A checkpoint that the log's key signed, with when it was first seen. It may be ahead of the mirror: what the log once
/// showed is not forgotten because its entries have not come yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// POSIX seconds at which it was first seen.
    pub at_s: u64,
    /// Entries that it covers.
    pub size: u64,
    /// The signed note.
    pub note: Vec<u8>,
}

/// An operator's recorded act: a quarantine was lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lift {
    /// POSIX seconds.
    pub at_s: u64,
    /// Why, in the operator's words.
    pub reason: String,
    /// The proof that was held. It does not quarantine a second time.
    pub proof: Equivocation,
}

/// What the index finds an entry by, besides its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Index of the leaf.
    pub index: u64,
    /// Days since 1970, of the earliest stored checkpoint that covers the leaf.
    pub day: u32,
    /// As Nix writes it, e.g. `x86_64-linux`; empty where the entry does not say.
    pub system: String,
    /// The derivation, where the entry names it.
    pub drv: Option<HashPart>,
    /// SHA-256 of the NAR.
    pub nar_hash: [u8; 32],
}

/// What outputs are found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Facet {
    /// All outputs that were said to be of this derivation.
    Derivation(HashPart),
    /// All outputs that were said to have this NAR.
    NarHash([u8; 32]),
    /// All outputs that were said to be built for this system.
    System(String),
}

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TallyKey {
    /// Outputs of which this system was said, by the day on which they were first spoken of: how they stand now.
    Day {
        /// Days since 1970.
        day: u32,
        /// The system; empty where none was said.
        system: String,
    },
    /// Outputs of which both voices said something: whether they say the same now. Only `agree` and `disagree` count.
    Pair {
        /// The lower voice.
        one: String,
        /// The higher voice.
        other: String,
    },
}

/// Numbers of outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// [`Standing::Agree`].
    pub agree: u64,
    /// [`Standing::Disagree`].
    pub disagree: u64,
    /// [`Standing::OneBuilder`].
    pub one_builder: u64,
    /// [`Standing::NoData`]: everything was withdrawn.
    pub none: u64,
}

impl Tally {
    /// The number of one standing.
    pub const fn of(&mut self, standing: Standing) -> &mut u64 {
        match standing {
            Standing::Agree => &mut self.agree,
            Standing::Disagree => &mut self.disagree,
            Standing::OneBuilder => &mut self.one_builder,
            Standing::NoData => &mut self.none,
        }
    }
}

/// Days since 1970 of a moment in POSIX seconds.
#[must_use]
pub fn day_of(at_s: u64) -> u32 {
    u32::try_from(at_s / DAY_S).unwrap_or(u32::MAX)
}

/// What one output adds to the tallies, each key once, whichever index keeps it. `said` has every kept statement with day
/// and system, in the order of statements; a statement without them (carried by no log) is compared and has no day.
#[must_use]
pub fn tallied<'a>(
    said: &[(&'a IndexedStatement, Option<(u32, &'a str)>)],
) -> Vec<(TallyKey, Standing)> {
    let mut keys = Vec::new();
    let first = said.iter().filter_map(|(_, at)| *at).min();
    if let Some((day, system)) = first {
        let standing = Standing::among(said.iter().map(|(statement, _)| *statement));
        let system = system.to_owned();
        keys.push((TallyKey::Day { day, system }, standing));
    }
    let mut voices: std::collections::BTreeMap<&str, std::collections::BTreeSet<_>> =
        std::collections::BTreeMap::new();
    for (statement, _) in said {
        if statement.withdrawn_by.is_none() {
            voices
                .entry(statement.voice.as_str())
                .or_default()
                .insert((&statement.path, statement.value));
        }
    }
    let voices: Vec<_> = voices.into_iter().take(PAIRED_VOICES_MAX).collect();
    for (position, (one, values)) in voices.iter().enumerate() {
        for (other, others) in voices.iter().skip(position.saturating_add(1)) {
            let standing = if values.len() == 1 && values == others {
                Standing::Agree
            } else {
                Standing::Disagree
            };
            let (one, other) = ((*one).to_owned(), (*other).to_owned());
            keys.push((TallyKey::Pair { one, other }, standing));
        }
    }
    keys
}

//! What is kept of following logs besides their trees: checkpoints with their times, lifted quarantines, and what the
//! index counts and finds by.
//!
//! The days of statements come from stored checkpoints, so that an index that is built anew from the mirrors is the same.

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

/// The most kept checkpoints of a log that are ahead of its mirror: the log has shown them, and nothing covers them yet.
/// Those that are covered are fewer than the entries that are mirrored.
pub const AHEAD_MAX: usize = 1_024;

/// Which checkpoints ahead of the mirror are forgotten, of these sizes, ascending: none while they are at most
/// [`AHEAD_MAX`], else every second one. The smallest and the largest always stay, so a log goes on being held to the most
/// that it ever showed.
pub fn thinned(ahead: &[u64]) -> impl Iterator<Item = u64> {
    let last = ahead.len().saturating_sub(1);
    let is_forgotten = move |at: usize| last >= AHEAD_MAX && at % 2 == 1 && at != last;
    let sizes = ahead.iter().copied().enumerate();
    sizes.filter_map(move |(at, size)| is_forgotten(at).then_some(size))
}

/// What is kept of one log besides its mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptOf {
    /// Which log, as the store that gave it tells logs apart.
    pub log: Vec<u8>,
    /// What.
    pub kept: Kept,
}

/// One thing that is kept of a log and that its mirror does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A checkpoint that it showed.
    Checkpoint(StoredCheckpoint),
    /// The newest checkpoint that this aggregator cosigned.
    Cosigned(StoredCheckpoint),
    /// The proof that is held against it.
    Equivocation(Equivocation),
    /// A lifted quarantine.
    Lift(Lift),
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

/// The most systems that are counted by themselves of what was said on one day. Systems are free text of logs.
pub const SYSTEMS_PER_DAY_MAX: usize = 64;

/// The system under which all others of a day are counted.
pub const OTHER_SYSTEMS: &str = "(others)";

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

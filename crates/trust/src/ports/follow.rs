//! What is kept of following logs besides their trees: checkpoints with their times, proof of equivocation, lifted
//! quarantines, and what the index counts and finds by.
//!
//! The days of statements come from stored checkpoints, so that an index that is built anew from the mirrors is the same.

use quorix_nix::store_path::HashPart;
use quorix_tlog::hash::Hash;

use super::{IndexedStatement, Standing};

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

/// Which checkpoint ahead of the mirror is forgotten when one of this size comes to those that are kept, each given by when
/// it was first seen and its size: none while they are at most [`AHEAD_MAX`] then, else the one that was seen last, unless it
/// is the largest. So nothing that is shown later makes what was shown first be forgotten, and a log goes on being held to
/// the most that it ever showed.
#[must_use]
pub fn forgotten(kept: &[(u64, u64)], new: u64) -> Option<u64> {
    if kept.len() < AHEAD_MAX {
        return None;
    }
    if kept.iter().any(|(_, size)| *size > new) {
        return Some(new);
    }
    kept.iter().max().map(|(_, size)| *size)
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

/// Proof that one log signed two contradicting checkpoints (SEMANTICS §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// Signed note.
    pub first: Vec<u8>,
    /// Signed note by the same key.
    pub second: Vec<u8>,
    /// Where the sizes differ: a proof that recomputes the larger root exactly and yields another smaller root
    /// than the signed one. Empty where the sizes are equal.
    pub consistency_proof: Vec<Hash>,
}

impl Equivocation {
    /// True if both are about the same two signed texts, in either order. Whose lines of signatures are below them changes
    /// nothing: whoever shows a note can add some.
    #[must_use]
    pub fn is_of_the_same_checkpoints(&self, other: &Self) -> bool {
        let (one, two) = (text_of(&self.first), text_of(&self.second));
        let others = (text_of(&other.first), text_of(&other.second));
        others == (one, two) || others == (two, one)
    }
}

/// What is signed of a note: all before its last blank line, and all of what is none.
fn text_of(note: &[u8]) -> &[u8] {
    let blank = note.windows(2).rposition(|two| two == b"\n\n");
    blank
        .and_then(|position| note.get(..position))
        .unwrap_or(note)
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

/// The most systems of one day that are told of by themselves. Systems are free text of logs.
pub const SYSTEMS_PER_DAY_MAX: usize = 64;

/// The system as which all others of a day are told of.
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
    const STANDINGS: [Standing; 4] = [
        Standing::Agree,
        Standing::Disagree,
        Standing::OneBuilder,
        Standing::NoData,
    ];

    /// Adds all numbers of another one.
    pub fn add(&mut self, mut other: Self) {
        for standing in Self::STANDINGS {
            let number = self.of(standing);
            *number = number.saturating_add(*other.of(standing));
        }
    }

    /// Takes all numbers of another one away.
    pub fn take(&mut self, mut other: Self) {
        for standing in Self::STANDINGS {
            let number = self.of(standing);
            *number = number.saturating_sub(*other.of(standing));
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_of_the_same_two_texts_are_of_the_same_checkpoints_whoever_signed_below_them() {
        let note = |text: &str, lines: &str| format!("{text}\n1\nroot\n\n{lines}").into_bytes();
        let proof = |first, second| Equivocation {
            first,
            second,
            consistency_proof: Vec::new(),
        };
        let (a, b) = (note("a", "by x\n"), note("b", "by x\n"));
        let (again, other) = (note("b", "by x\nby y\n"), note("c", "by x\n"));
        let held = proof(a.clone(), b.clone());
        assert!(held.is_of_the_same_checkpoints(&proof(a.clone(), again.clone())));
        assert!(held.is_of_the_same_checkpoints(&proof(again, a.clone())));
        assert!(!held.is_of_the_same_checkpoints(&proof(a.clone(), other.clone())));
        assert!(!held.is_of_the_same_checkpoints(&proof(a.clone(), a)));
        assert!(!held.is_of_the_same_checkpoints(&proof(b, other)));
    }
}

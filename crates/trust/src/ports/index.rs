//! What an aggregator asks of its index: what was said of each output, by whom and where.

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_tlog::hash::Hash;

use super::{
    CommitError, Equivocation, Facet, Facts, KeptOf, Lift, StoreError, StoredCheckpoint, Tally,
    TallyKey, TileStore, TreeBatch,
};

/// What an index keeps of one statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexedStatement {
    /// The output.
    pub path: StorePath,
    /// The value said.
    pub value: FingerprintDigest,
    /// Who says it: name of the log (origin), or `<key name>:<base64>` of the Nix key for a signature.
    pub voice: String,
    /// Where it stands.
    pub place: Place,
    /// Index of the retraction in the same log that withdraws it.
    pub withdrawn_by: Option<u64>,
}

/// The most statements that an index keeps of one output.
pub const STATEMENTS_PER_OUTPUT_MAX: usize = 10_000;

/// The most leaves of logs that an index keeps of one voice about one output, so that none can crowd out the others.
pub const STATEMENTS_PER_VOICE_MAX: usize = 1_000;

/// The most unlogged observations that an index keeps of one voice about one output. Fewer, because their whole
/// entries are kept.
pub const UNLOGGED_PER_VOICE_MAX: usize = 16;

/// What becomes of a new statement about an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It is added.
    Add,
    /// It replaces the kept one at this position.
    Replace(usize),
    /// It is not kept. The mirror of its log still has it.
    Full,
}

/// Whether the statements kept of an output have room for one more. Beyond what is kept of one voice its new statement
/// replaces one that it withdrew, or, where it says a value that the voice has not said, another one of the voice's:
/// a voice that has said a thousand things about one output can still be heard to contradict itself.
#[must_use]
pub fn room_for<'a>(
    kept: impl Iterator<Item = &'a IndexedStatement>,
    new: &IndexedStatement,
) -> Room {
    let is_unlogged =
        |statement: &IndexedStatement| matches!(statement.place, Place::Unlogged { .. });
    let voice_max = if is_unlogged(new) {
        UNLOGGED_PER_VOICE_MAX
    } else {
        STATEMENTS_PER_VOICE_MAX
    };
    let (mut total, mut of_voice) = (0_usize, 0_usize);
    let (mut withdrawn, mut last, mut repeats) = (None, None, false);
    for (position, statement) in kept.enumerate() {
        total = total.saturating_add(1);
        if statement.voice != new.voice || is_unlogged(statement) != is_unlogged(new) {
            continue;
        }
        of_voice = of_voice.saturating_add(1);
        last = Some(position);
        if statement.withdrawn_by.is_some() {
            withdrawn = withdrawn.or(Some(position));
        } else {
            repeats |= statement.value == new.value && statement.path == new.path;
        }
    }
    if of_voice < voice_max && total < STATEMENTS_PER_OUTPUT_MAX {
        return Room::Add;
    }
    match (withdrawn, last) {
        (Some(position), _) => Room::Replace(position),
        (None, Some(position)) if !repeats => Room::Replace(position),
        _ => Room::Full,
    }
}

/// Where an indexed statement stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A leaf of a followed log.
    Leaf {
        /// Name of the log.
        origin: String,
        /// Index of the leaf.
        index: u64,
    },
    /// An observation that no log carries: its canonical entry bytes.
    Unlogged {
        /// Canonical bytes of the entry.
        entry: Vec<u8>,
    },
}

/// What one step of following a log adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowBatch {
    /// The mirrored tree.
    pub tree: TreeBatch,
    /// What the new entries say of outputs. Their `withdrawn_by` is `None`.
    pub statements: Vec<IndexedStatement>,
    /// Leaf hashes that the new entries withdraw, with the index of the retraction.
    pub retractions: Vec<(Hash, u64)>,
    /// How many of the new entries do not parse.
    pub opaque: u64,
    /// What the new statements are found and counted by, ascending by leaf.
    pub facts: Vec<Facts>,
}

/// How the voices on one output stand to each other, whatever any policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Two or more voices, one value.
    Agree,
    /// Two or more values.
    Disagree,
    /// One voice, one value.
    OneBuilder,
    /// Nothing (any more).
    NoData,
}

impl Standing {
    /// Of these statements about one output, the withdrawn ones left out.
    #[must_use]
    pub fn of(statements: &[IndexedStatement]) -> Self {
        Self::among(statements)
    }

    /// As [`Standing::of`], of statements that do not lie in a row.
    #[must_use]
    pub fn among<'a>(statements: impl IntoIterator<Item = &'a IndexedStatement>) -> Self {
        let mut voices = std::collections::BTreeSet::new();
        let mut values = std::collections::BTreeSet::new();
        for statement in statements
            .into_iter()
            .filter(|statement| statement.withdrawn_by.is_none())
        {
            voices.insert(statement.voice.as_str());
            values.insert((&statement.path, statement.value));
        }
        match (voices.len(), values.len()) {
            (_, 0) => Self::NoData,
            (1, 1) => Self::OneBuilder,
            (_, 1) => Self::Agree,
            _ => Self::Disagree,
        }
    }
}

/// How many outputs stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Outputs (hash parts) with at least one statement, withdrawn or not.
    pub outputs: u64,
    /// [`Standing::Agree`].
    pub agree: u64,
    /// [`Standing::Disagree`].
    pub disagree: u64,
    /// [`Standing::OneBuilder`].
    pub one_builder: u64,
}

/// The aggregator's store: a mirror of each followed log, and an index that can be rebuilt from the mirrors.
pub trait IndexStore: Send + Sync + 'static {
    /// The mirror of one log, empty if it was never followed.
    fn mirror(&self, origin: &str) -> Box<dyn TileStore>;

    /// Writes one step of following in one atomic step, if the mirror's size is still `expected`. Returns the
    /// outputs whose standing changed, with the standing before and after, ascending by hash part. A retraction
    /// withdraws the statements of this log with its leaf hash and a lower index.
    ///
    /// # Errors
    /// As [`LogStore::commit`].
    fn advance(
        &self,
        origin: &str,
        expected: u64,
        batch: &FollowBatch,
    ) -> Result<Vec<StandingChange>, CommitError>;

    /// Entries of this log that do not parse.
    ///
    /// # Errors
    /// The store failed.
    fn opaque(&self, origin: &str) -> Result<u64, StoreError>;

    /// Keeps a signature that no log carries; the same one again changes nothing.
    ///
    /// # Errors
    /// The store failed.
    fn observe(&self, statement: &IndexedStatement) -> Result<Option<StandingChange>, StoreError>;

    /// Keeps many such signatures, in one durable commit where the store can. As if each was observed by itself.
    ///
    /// # Errors
    /// The store failed.
    fn observe_all(
        &self,
        statements: &[IndexedStatement],
    ) -> Result<Vec<StandingChange>, StoreError> {
        let changes = statements.iter().map(|statement| self.observe(statement));
        Ok(changes
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    /// Everything that is kept of what was said of outputs with this hash part ([`room_for`] says what is not), in
    /// ascending order.
    ///
    /// # Errors
    /// The store failed.
    fn statements(&self, output: &HashPart) -> Result<Vec<IndexedStatement>, StoreError>;

    /// The [`statements`](Self::statements) about each of these outputs, in their order, read together.
    ///
    /// # Errors
    /// The store failed.
    fn statements_of(
        &self,
        outputs: &[HashPart],
    ) -> Result<Vec<Vec<IndexedStatement>>, StoreError> {
        outputs
            .iter()
            .map(|output| self.statements(output))
            .collect()
    }

    /// Keeps a checkpoint that the log's key signed, durably; the first one of a size stays. Of those of more entries than
    /// are mirrored at most [`AHEAD_MAX`] stay, as [`forgotten`] says.
    ///
    /// # Errors
    /// The store failed.
    fn keep_checkpoint(
        &self,
        origin: &str,
        checkpoint: &StoredCheckpoint,
    ) -> Result<(), StoreError>;

    /// Replaces the note of the kept checkpoint of exactly this size, durably: the same checkpoint with other
    /// cosignatures. When it was first seen stays. Nothing happens where none of this size is kept.
    ///
    /// # Errors
    /// The store failed.
    fn amend_checkpoint(&self, origin: &str, size: u64, note: &[u8]) -> Result<(), StoreError>;

    /// Kept checkpoints of at least `from` entries, ascending by size, at most `limit`.
    ///
    /// # Errors
    /// The store failed.
    fn checkpoints(
        &self,
        origin: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredCheckpoint>, StoreError>;

    /// The largest kept checkpoint.
    ///
    /// # Errors
    /// The store failed.
    fn newest_checkpoint(&self, origin: &str) -> Result<Option<StoredCheckpoint>, StoreError>;

    /// Keeps the newest checkpoint of a log that this aggregator cosigned, durably, instead of the one before.
    ///
    /// # Errors
    /// The store failed.
    fn keep_cosigned(&self, origin: &str, cosigned: &StoredCheckpoint) -> Result<(), StoreError>;

    /// The newest checkpoint of a log that this aggregator cosigned, and when.
    ///
    /// # Errors
    /// The store failed.
    fn cosigned(&self, origin: &str) -> Result<Option<StoredCheckpoint>, StoreError>;

    /// Lifts the quarantine of a log and records that, in one durable step. `None`: it is not quarantined, and nothing
    /// was written. The proof that was held does not quarantine again. Kept checkpoints of more entries than are mirrored
    /// are forgotten: they may be of the other history, and the mirrored one is the only one that is taken.
    ///
    /// # Errors
    /// The store failed.
    fn lift(&self, origin: &str, at_s: u64, reason: &str) -> Result<Option<Lift>, StoreError>;

    /// Every lift of a log's quarantine, the first one first.
    ///
    /// # Errors
    /// The store failed.
    fn lifts(&self, origin: &str) -> Result<Vec<Lift>, StoreError>;

    /// Outputs of which something was said, ascending by their text: at most `limit`, those after `after` where it is given.
    ///
    /// # Errors
    /// The store failed.
    fn outputs(&self, after: Option<&HashPart>, limit: usize) -> Result<Vec<HashPart>, StoreError>;

    /// Outputs with something said of them that has this facet, ascending, from after `after`; at most `limit`.
    ///
    /// # Errors
    /// The store failed.
    fn find(
        &self,
        facet: &Facet,
        after: Option<&HashPart>,
        limit: usize,
    ) -> Result<Vec<HashPart>, StoreError>;

    /// Tallies that are not zero, ascending by key: of days the newest, at most `days_max`, and of pairs the first, at most
    /// `pairs_max`. Of each day its first [`SYSTEMS_PER_DAY_MAX`] systems; all others of it are one, [`OTHER_SYSTEMS`]. No
    /// more is read than that, whatever is kept.
    ///
    /// # Errors
    /// The store failed.
    fn tallies(
        &self,
        days_max: usize,
        pairs_max: usize,
    ) -> Result<Vec<(TallyKey, Tally)>, StoreError>;

    /// Calls `take` with everything that is kept of logs and that no mirror has, whichever logs they are. Of one log lifts
    /// come in their order.
    ///
    /// # Errors
    /// The store failed, here or in `take`.
    fn all_kept(
        &self,
        take: &mut dyn FnMut(KeptOf) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Takes over, as it is, what [`all_kept`](Self::all_kept) of a store of the same kind gave. Nothing of it is
    /// forgotten or refused because of what is or is not mirrored here.
    ///
    /// # Errors
    /// The store failed.
    fn take_over(&self, kept: &[KeptOf]) -> Result<(), StoreError>;

    /// Keeps proof of equivocation; the first one stays. A proof whose quarantine was lifted is not kept again.
    ///
    /// # Errors
    /// The store failed.
    fn quarantine(&self, origin: &str, proof: &Equivocation) -> Result<(), StoreError>;

    /// The proof of equivocation that is held against a log.
    ///
    /// # Errors
    /// The store failed.
    fn equivocation(&self, origin: &str) -> Result<Option<Equivocation>, StoreError>;

    /// How many outputs stand how.
    ///
    /// # Errors
    /// The store failed.
    fn counts(&self) -> Result<Counts, StoreError>;

    /// Hash parts of outputs that disagree, ascending, from after `after`; at most `limit`.
    ///
    /// # Errors
    /// The store failed.
    fn disagreements(
        &self,
        after: Option<&HashPart>,
        limit: usize,
    ) -> Result<Vec<HashPart>, StoreError>;

    /// Store paths whose name starts with `prefix`, by name, at most `limit`.
    ///
    /// # Errors
    /// The store failed.
    fn by_name(&self, prefix: &str, limit: usize) -> Result<Vec<StorePath>, StoreError>;
}

/// An output's standing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingChange {
    /// The output.
    pub output: StorePath,
    /// Before the step.
    pub before: Standing,
    /// After it.
    pub after: Standing,
}

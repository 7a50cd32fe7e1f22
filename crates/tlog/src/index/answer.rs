//! The answer to one look-up, and its verification down to the log's key.
//!
//! An answer carries everything that is needed to know what the map says of a key: the log's newest checkpoint, the
//! index's newest checkpoint by the same key, the last leaf of the output log with its proof of inclusion, the proof
//! that the covered part of the log is a prefix of the checkpoint's, the list, and the proof from the trie. Whoever
//! verified it knows every entry that concerns the key among the first so many, and reads the last few himself: an index
//! that lags can delay nothing and hide nothing.

use super::Key;
use super::cursor::{Cursor, write_bytes, write_hashes, write_short_bytes};
use super::key_list::KeyList;
use super::proof::{self, Proof};
use super::statement::Statement;
use crate::checkpoint::{
    Checkpoint, CheckpointError, MAX_SIGNED_CHECKPOINT_LENGTH, SignedCheckpoint,
};
use crate::hash::{EMPTY_ROOT, Hash, leaf_hash};
use crate::note::{KeyError, VerifierKey};
use crate::proof::{MAX_PROOF_LENGTH, ProofError, verify_consistency, verify_inclusion};

/// Most entries of one key that an answer lists, and that each further page of the list does. A page with fewer is the
/// last one.
pub const MAX_INDICES: usize = 16_384;

/// Longest answer in bytes.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What every answer begins with.
const MAGIC: &[u8] = b"quorix/v1/index-answer\0";

/// What is sent for one look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The key that was looked up.
    pub key: Key,
    /// The log's newest checkpoint, a signed note.
    pub checkpoint: Vec<u8>,
    /// Where the asker named an older size of the log: the proof that the log extends it. Else empty.
    pub growth: Vec<Hash>,
    /// The newest checkpoint of the output log, a signed note.
    pub index_checkpoint: Vec<u8>,
    /// Where the asker named an older size of the output log: the proof that it extends that. Else empty.
    pub index_growth: Vec<Hash>,
    /// The last leaf of the output log; `None` while it has none.
    pub latest: Option<Latest>,
    /// Indices of the entries that concern the key, ascending: the first [`MAX_INDICES`] as it is sent, all of them when
    /// it is verified.
    pub indices: Vec<u64>,
    /// Proof from the trie.
    pub proof: Vec<u8>,
}

/// The last leaf of the output log, with what shows where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// What the leaf says.
    pub statement: Statement,
    /// Proof of its inclusion in the output log.
    pub inclusion: Vec<Hash>,
    /// Proof that the log extends the entries that the map covers.
    pub extension: Vec<Hash>,
}

/// What the asker has verified before: an answer has to extend both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// A checkpoint of the log.
    pub log: Checkpoint,
    /// A checkpoint of the output log.
    pub index: Checkpoint,
}

/// What a verified answer shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The log's checkpoint.
    pub checkpoint: SignedCheckpoint,
    /// The checkpoint of the output log.
    pub index_checkpoint: SignedCheckpoint,
    /// Entries of the log, from the first, that the map covers.
    pub covered: u64,
    /// Keys in the map.
    pub keys: u64,
    /// Indices below `covered` of all entries that concern the key, ascending; there are no others.
    pub indices: Vec<u64>,
    /// Bytes of the proof from the trie.
    pub proof_bytes: usize,
    /// Its steps.
    pub proof_steps: usize,
}

/// An answer does not show what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not bytes of an answer.
    #[error("the bytes are not an answer from an index, or are more than the permitted 1 MiB")]
    Malformed,
    /// The answer is about another key.
    #[error("the answer is about the key {found}, not {asked}")]
    OtherKey {
        /// The key in the answer.
        found: Key,
        /// The key that was asked for.
        asked: Key,
    },
    /// The log's checkpoint is not one by its key.
    #[error("the checkpoint in the answer is not the log's: {0}")]
    Checkpoint(#[source] CheckpointError),
    /// The log's name is too long to have an index.
    #[error("the name of the log cannot be extended to that of its index: {0}")]
    Name(#[source] KeyError),
    /// The checkpoint of the output log is not one by the log's key.
    #[error("the index's checkpoint in the answer is not by the log's key: {0}")]
    IndexCheckpoint(#[source] CheckpointError),
    /// The answer is older than a checkpoint of the log that the asker has, or contradicts it.
    #[error(
        "the answer does not extend the checkpoint of {known} entries that is known here: {problem}"
    )]
    Known {
        /// Size of the known checkpoint.
        known: u64,
        /// What is wrong.
        problem: ProofError,
    },
    /// The index in the answer is older than a checkpoint of it that the asker has, or contradicts it.
    #[error(
        "the answer's index does not extend the index of {known} leaves that is known here: {problem}"
    )]
    KnownIndex {
        /// Size of the known checkpoint of the output log.
        known: u64,
        /// What is wrong.
        problem: ProofError,
    },
    /// There is a leaf where the output log has none, or none where it has some.
    #[error("the answer does not have the last leaf of an index of {size} leaves")]
    Leaf {
        /// Size of the output log.
        size: u64,
    },
    /// The leaf is not the last one of the output log.
    #[error("the leaf in the answer is not the last one of the index: {0}")]
    Inclusion(#[source] ProofError),
    /// The leaf is of another part of the log than its place says.
    #[error("leaf {leaf} of the index is of {found} entries, which no leaf at its place is")]
    InputSize {
        /// Its index.
        leaf: u64,
        /// Entries that it says it covers.
        found: u64,
    },
    /// The entries that the map covers are not a prefix of the log.
    #[error("the index is not of this log's entries: {0}")]
    Extension(#[source] ProofError),
    /// The list is not ascending, or goes beyond what the map covers.
    #[error(
        "the list of entries is out of order or beyond the {covered} covered entries at position {position}"
    )]
    List {
        /// Position in the list, from 0.
        position: usize,
        /// Entries that the map covers.
        covered: u64,
    },
    /// The list is not the one that the map has for the key, or the map has one where none is answered.
    #[error(
        "the map does not say what is answered: {0}. The list is not complete, or not that of this map"
    )]
    Proof(#[from] proof::ProofError),
}

impl Answer {
    /// The one encoding of the answer.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [MAGIC, self.key.as_bytes()].concat();
        write_bytes(&mut bytes, &self.checkpoint);
        write_hashes(&mut bytes, &self.growth);
        write_bytes(&mut bytes, &self.index_checkpoint);
        write_hashes(&mut bytes, &self.index_growth);
        match &self.latest {
            None => bytes.push(0),
            Some(latest) => {
                bytes.push(1);
                write_short_bytes(&mut bytes, &latest.statement.to_bytes());
                write_hashes(&mut bytes, &latest.inclusion);
                write_hashes(&mut bytes, &latest.extension);
            }
        }
        write_bytes(&mut bytes, &page(&self.indices));
        write_short_bytes(&mut bytes, &self.proof);
        bytes
    }

    /// Reads an answer. Printing what was read gives the same bytes.
    ///
    /// # Errors
    /// [`AnswerError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, AnswerError> {
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(AnswerError::Malformed);
        }
        Self::read(bytes).ok_or(AnswerError::Malformed)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes.strip_prefix(MAGIC)?);
        let key = Key::from_bytes(cursor.array()?);
        let checkpoint = cursor.bytes(MAX_SIGNED_CHECKPOINT_LENGTH)?.to_vec();
        let growth = cursor.hashes(MAX_PROOF_LENGTH)?;
        let index_checkpoint = cursor.bytes(MAX_SIGNED_CHECKPOINT_LENGTH)?.to_vec();
        let index_growth = cursor.hashes(MAX_PROOF_LENGTH)?;
        let latest = match cursor.u8()? {
            0 => None,
            1 => Some(Latest {
                statement: Statement::parse(cursor.short_bytes()?)?,
                inclusion: cursor.hashes(MAX_PROOF_LENGTH)?,
                extension: cursor.hashes(MAX_PROOF_LENGTH)?,
            }),
            _ => return None,
        };
        let indices = indices_of(cursor.bytes(MAX_INDICES * 8)?)?;
        let proof = cursor.short_bytes()?.to_vec();
        cursor.is_at_end().then_some(Self {
            key,
            checkpoint,
            growth,
            index_checkpoint,
            index_growth,
            latest,
            indices,
            proof,
        })
    }

    /// From which index on the next page of the list is, and below which; `None` where the list is whole. What a log
    /// answers decides it, so that is for the asker to bound.
    #[must_use]
    pub fn next_page(&self) -> Option<(u64, u64)> {
        let last = self.indices.last()?;
        let is_full = self.indices.len().is_multiple_of(MAX_INDICES);
        let covered = self.latest.as_ref()?.statement.input_size;
        is_full.then_some((last.saturating_add(1), covered))
    }

    /// Adds the next page of the list. True if there may be another one.
    ///
    /// # Errors
    /// [`AnswerError::Malformed`]: it is not one, or has an index that does not follow.
    pub fn add_page(&mut self, bytes: &[u8]) -> Result<bool, AnswerError> {
        let page = indices_of(bytes).ok_or(AnswerError::Malformed)?;
        let last = self.indices.last().copied();
        if page.len() > MAX_INDICES || page.first().is_some_and(|first| Some(*first) <= last) {
            return Err(AnswerError::Malformed);
        }
        let is_full = page.len() == MAX_INDICES;
        self.indices.extend(page);
        Ok(is_full)
    }

    /// Verifies all of it for the key that was asked for, with nothing but the log's key. Where the asker has verified
    /// checkpoints already, the answer has to extend them. Cosignatures are not looked at here.
    ///
    /// # Errors
    /// What does not verify.
    pub fn verify(
        &self,
        asked: &Key,
        log: &VerifierKey,
        known: Option<&Known>,
    ) -> Result<Proven, AnswerError> {
        if self.key != *asked {
            return Err(AnswerError::OtherKey {
                found: self.key,
                asked: *asked,
            });
        }
        let origin = log.name().as_str();
        let checkpoint = SignedCheckpoint::open(&self.checkpoint, log, origin)
            .map_err(AnswerError::Checkpoint)?;
        let known_log = known.map(|known| &known.log);
        check_growth(known_log, checkpoint.checkpoint(), &self.growth)
            .map_err(|(known, problem)| AnswerError::Known { known, problem })?;
        let index_key = super::verifier_of(log).map_err(AnswerError::Name)?;
        let index_origin = index_key.name().as_str();
        let index_checkpoint =
            SignedCheckpoint::open(&self.index_checkpoint, &index_key, index_origin)
                .map_err(AnswerError::IndexCheckpoint)?;
        let known_index = known.map(|known| &known.index);
        check_growth(
            known_index,
            index_checkpoint.checkpoint(),
            &self.index_growth,
        )
        .map_err(|(known, problem)| AnswerError::KnownIndex { known, problem })?;
        let state = self.state(checkpoint.checkpoint(), index_checkpoint.checkpoint())?;
        let proof_steps = self.check_list(&state)?;
        Ok(Proven {
            checkpoint,
            index_checkpoint,
            covered: state.input_size,
            keys: state.keys,
            indices: self.indices.clone(),
            proof_bytes: self.proof.len(),
            proof_steps,
        })
    }

    /// What the last leaf of the output log says; the empty map where it has none.
    fn state(&self, log: &Checkpoint, index: &Checkpoint) -> Result<Statement, AnswerError> {
        let size = index.size;
        let (latest, last) = match (&self.latest, size.checked_sub(1)) {
            (None, None) => {
                return Ok(Statement {
                    map_root: EMPTY_ROOT,
                    keys: 0,
                    input_size: 0,
                    input_root: EMPTY_ROOT,
                });
            }
            (Some(latest), Some(last)) => (latest, last),
            _ => return Err(AnswerError::Leaf { size }),
        };
        let statement = latest.statement;
        let leaf = leaf_hash(&statement.to_bytes());
        verify_inclusion(last, size, &leaf, &latest.inclusion, &index.root)
            .map_err(AnswerError::Inclusion)?;
        if Statement::input_size_at(last) != Some(statement.input_size) {
            return Err(AnswerError::InputSize {
                leaf: last,
                found: statement.input_size,
            });
        }
        verify_consistency(
            statement.input_size,
            log.size,
            &statement.input_root,
            &log.root,
            &latest.extension,
        )
        .map_err(AnswerError::Extension)?;
        Ok(statement)
    }

    fn check_list(&self, state: &Statement) -> Result<usize, AnswerError> {
        let covered = state.input_size;
        let mut before = None;
        for (position, index) in self.indices.iter().enumerate() {
            if before.is_some_and(|before| before >= *index) || *index >= covered {
                return Err(AnswerError::List { position, covered });
            }
            before = Some(*index);
        }
        let is_present = !self.indices.is_empty();
        let proof = Proof::parse(&self.proof, is_present)?;
        let value = self.indices.iter().copied().collect::<KeyList>().value();
        let value = value.to_bytes();
        let value = is_present.then_some(value.as_slice());
        proof.verify(&state.map_root, &self.key, value)?;
        Ok(proof.steps())
    }
}

/// A page of a list: each index in 8 bytes, big-endian.
#[must_use]
pub fn page(indices: &[u64]) -> Vec<u8> {
    indices
        .iter()
        .flat_map(|index| index.to_be_bytes())
        .collect()
}

fn indices_of(page: &[u8]) -> Option<Vec<u64>> {
    let (indices, rest) = page.as_chunks::<8>();
    let indices = indices.iter().copied().map(u64::from_be_bytes);
    rest.is_empty().then(|| indices.collect())
}

/// Checks that a checkpoint extends a known one; the known size with what is wrong, if it does not.
fn check_growth(
    known: Option<&Checkpoint>,
    new: &Checkpoint,
    proof: &[Hash],
) -> Result<(), (u64, ProofError)> {
    // Without a known size there is nothing that a proof could be of.
    let (size, root) = known.map_or((0, EMPTY_ROOT), |known| (known.size, known.root));
    verify_consistency(size, new.size, &root, &new.root, proof).map_err(|problem| (size, problem))
}

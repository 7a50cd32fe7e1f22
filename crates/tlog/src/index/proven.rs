//! Entries of a log with their proofs of inclusion in its tree at one size, several at once.

use super::cursor::{Cursor, write_hashes, write_short_bytes};
use crate::hash::{Hash, leaf_hash};
use crate::proof::{MAX_PROOF_LENGTH, ProofError, verify_inclusion};

/// Most entries that are answered at once.
pub const MAX_ENTRIES: usize = 64;

/// Longest answer in bytes: 64 entries of full length with proofs of full length.
pub const MAX_ENTRIES_BYTES: usize =
    64 + MAX_ENTRIES * (8 + 2 + 65_535 + 1 + 32 * MAX_PROOF_LENGTH);

const MAGIC: &[u8] = b"quorix/v1/entries\0";

/// One entry with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenEntry {
    /// Its index.
    pub index: u64,
    /// Its bytes.
    pub entry: Vec<u8>,
    /// Proof of inclusion.
    pub inclusion: Vec<Hash>,
}

/// Entries are not what was asked for, or are not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntriesError {
    /// Not bytes of entries with proofs.
    #[error("the bytes are not entries with proofs")]
    Malformed,
    /// Other entries were asked for.
    #[error(
        "the answer does not have the {asked} entries that were asked for, or the first of them, in their order"
    )]
    OtherEntries {
        /// How many were asked for.
        asked: usize,
    },
    /// An entry is not where the answer says.
    #[error("entry {index} is not in the log at its index: {problem}")]
    Inclusion {
        /// Its index.
        index: u64,
        /// What is wrong with its proof.
        problem: ProofError,
    },
}

/// The one encoding of entries with proofs; at most [`MAX_ENTRIES`].
#[must_use]
pub fn encode(entries: &[ProvenEntry]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(
        &u16::try_from(entries.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes(),
    );
    for entry in entries {
        bytes.extend_from_slice(&entry.index.to_be_bytes());
        write_short_bytes(&mut bytes, &entry.entry);
        write_hashes(&mut bytes, &entry.inclusion);
    }
    bytes
}

/// Reads what [`encode`] gives.
///
/// # Errors
/// [`EntriesError::Malformed`].
pub fn parse(bytes: &[u8]) -> Result<Vec<ProvenEntry>, EntriesError> {
    if bytes.len() > MAX_ENTRIES_BYTES {
        return Err(EntriesError::Malformed);
    }
    read(bytes).ok_or(EntriesError::Malformed)
}

fn read(bytes: &[u8]) -> Option<Vec<ProvenEntry>> {
    let mut cursor = Cursor(bytes.strip_prefix(MAGIC)?);
    let count = usize::from(cursor.u16()?);
    if count > MAX_ENTRIES {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(ProvenEntry {
            index: cursor.u64()?,
            entry: cursor.short_bytes()?.to_vec(),
            inclusion: cursor.hashes(MAX_PROOF_LENGTH)?,
        });
    }
    cursor.is_at_end().then_some(entries)
}

/// Checks that these are the first entries of those at `asked`, at least one where any was asked for, of the tree with
/// this size and root. A log answers fewer than asked where they lie far apart.
///
/// # Errors
/// Other entries, none, or one whose proof does not hold.
pub fn verify(
    entries: &[ProvenEntry],
    asked: &[u64],
    size: u64,
    root: &Hash,
) -> Result<(), EntriesError> {
    let begins = asked.get(..entries.len()).is_some_and(|asked| {
        let given = entries.iter().map(|entry| &entry.index);
        given.eq(asked)
    });
    if !begins || (entries.is_empty() && !asked.is_empty()) {
        return Err(EntriesError::OtherEntries { asked: asked.len() });
    }
    for entry in entries {
        let leaf = leaf_hash(&entry.entry);
        verify_inclusion(entry.index, size, &leaf, &entry.inclusion, root).map_err(|problem| {
            EntriesError::Inclusion {
                index: entry.index,
                problem,
            }
        })?;
    }
    Ok(())
}

//! One question, one verified answer: what exactly a log says about an output at its newest size.
//!
//! The index shows which of the entries that it covers concern the output, completely; the few entries behind it are
//! read one by one. Every entry comes with its proof of inclusion under the same checkpoint. Nothing is believed but the
//! log's key.

use std::collections::BTreeSet;

use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::hash::leaf_hash;
use quorix_tlog::index::Key;
use quorix_tlog::index::answer::{Answer, AnswerError, MAX_ANSWER_BYTES, Proven};
use quorix_tlog::index::proven::{self, EntriesError, MAX_ENTRIES, MAX_ENTRIES_BYTES};
use quorix_tlog::note::VerifierKey;

use super::{Concern, concern, output_key};
use crate::fetch::{FetchError, Fetcher, join};

/// Most entries behind the index that are read.
const TAIL_MAX: u64 = 4_096;

/// Most entries that are fetched for one question.
const ENTRIES_MAX: usize = 16_384;

/// Which log is asked, and where.
#[derive(Clone, Debug)]
pub struct LogLookup {
    /// Fetches.
    pub fetcher: Fetcher,
    /// URL prefix under which the log is served.
    pub url: String,
    /// The log's key.
    pub key: VerifierKey,
}

/// What a log says about an output, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Everything that was proven: checkpoint, size, proof sizes.
    pub proven: Proven,
    /// Every entry that concerns the output, with its index, up to the size of the checkpoint.
    pub entries: Vec<(u64, Vec<u8>)>,
    /// How many entries behind the index were read one by one.
    pub read_behind: u64,
}

/// No verified answer.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The log cannot be reached, or has no index.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The answer does not verify.
    #[error("the log's answer does not verify: {0}")]
    Answer(#[from] AnswerError),
    /// The entries do not verify.
    #[error("the log's entries do not verify: {0}")]
    Entries(#[from] EntriesError),
    /// The index lists an entry that is not about the output.
    #[error("the log's index lists entry {index}, which is not about this output")]
    Foreign {
        /// Which one.
        index: u64,
    },
    /// The index is too far behind.
    #[error(
        "the log has {size} entries, its index covers {covered}: too far behind to be read; ask again later"
    )]
    Behind {
        /// Size of the log.
        size: u64,
        /// Entries that are covered.
        covered: u64,
    },
    /// Too many entries.
    #[error(
        "{count} entries concern this output, more than the {ENTRIES_MAX} that are read at once"
    )]
    TooMany {
        /// How many.
        count: usize,
    },
}

impl LookupError {
    /// True if what was answered is wrong; false if there was no answer.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Answer(_) | Self::Entries(_) | Self::Foreign { .. }
        )
    }
}

/// Asks a log what it says about an output, and verifies all of it. With a checkpoint that is known already, the answer
/// has to extend it.
///
/// # Errors
/// No answer, or one that does not verify.
pub async fn lookup(
    log: &LogLookup,
    dir: &StoreDir,
    path: &StorePath,
    known: Option<&Checkpoint>,
) -> Result<Said, LookupError> {
    let key = output_key(dir, path);
    let since = known.map_or(0, |known| known.size);
    let url = join(&log.url, &format!("index/lookup/{key}/{since}"))?;
    let limit = u64::try_from(MAX_ANSWER_BYTES).unwrap_or(u64::MAX);
    let bytes = log.fetcher.get(&url, limit).await?;
    let proven = Answer::parse(&bytes)?.verify(&key, &log.key, known)?;
    let (size, covered) = (proven.checkpoint.checkpoint().size, proven.covered);
    let behind = size.saturating_sub(covered);
    if behind > TAIL_MAX {
        return Err(LookupError::Behind { size, covered });
    }
    let mut wanted = proven.indices.clone();
    wanted.extend(covered..size);
    if wanted.len() > ENTRIES_MAX {
        let count = wanted.len();
        return Err(LookupError::TooMany { count });
    }
    let mut entries = Vec::with_capacity(wanted.len());
    for part in wanted.chunks(MAX_ENTRIES) {
        entries.append(&mut fetch(log, &proven, part).await?);
    }
    let entries = about(&key, covered, entries)?;
    Ok(Said {
        proven,
        entries,
        read_behind: behind,
    })
}

/// Some entries with their proofs, verified.
async fn fetch(
    log: &LogLookup,
    proven: &Proven,
    indices: &[u64],
) -> Result<Vec<(u64, Vec<u8>)>, LookupError> {
    let checkpoint = proven.checkpoint.checkpoint();
    let list: Vec<String> = indices.iter().map(u64::to_string).collect();
    let name = format!("index/entries/{}/{}", checkpoint.size, list.join(","));
    let limit = u64::try_from(MAX_ENTRIES_BYTES).unwrap_or(u64::MAX);
    let bytes = log.fetcher.get(&join(&log.url, &name)?, limit).await?;
    let entries = proven::parse(&bytes)?;
    proven::verify(&entries, indices, checkpoint.size, &checkpoint.root)?;
    Ok(entries
        .into_iter()
        .map(|entry| (entry.index, entry.entry))
        .collect())
}

/// The entries that concern the key. All that the index covers have to.
fn about(
    key: &Key,
    covered: u64,
    entries: Vec<(u64, Vec<u8>)>,
) -> Result<Vec<(u64, Vec<u8>)>, LookupError> {
    let mut leaves = BTreeSet::new();
    let mut about = Vec::new();
    for (index, bytes) in entries {
        let concerns = match concern(&bytes) {
            Concern::Output(found) if found == *key => {
                leaves.insert(leaf_hash(&bytes));
                true
            }
            Concern::Output(_) => false,
            Concern::Withdrawn(hashes) => hashes.iter().any(|hash| leaves.contains(hash)),
            Concern::Nothing => false,
        };
        if concerns {
            about.push((index, bytes));
        } else if index < covered {
            return Err(LookupError::Foreign { index });
        }
    }
    Ok(about)
}

//! One question, one verified answer: what exactly a log says about an output at its newest size.
//!
//! The index shows which of the entries that it covers concern the output, completely; the few entries behind it are
//! read one by one. Every entry comes with its proof of inclusion under the same checkpoint. Nothing is believed but the
//! log's key and, where a policy asks for them, its witnesses'. A log without an index is told apart: nobody can know
//! what it leaves out.

use std::collections::BTreeSet;

use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_tlog::checkpoint::{CheckpointError, SignedCheckpoint};
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::index::answer::{
    Answer, AnswerError, Known, MAX_ANSWER_BYTES, MAX_INDICES, Proven,
};
use quorix_tlog::index::proven::{self, EntriesError, MAX_ENTRIES, MAX_ENTRIES_BYTES, ProvenEntry};
use quorix_tlog::index::{self as verifiable, Key};
use quorix_tlog::log_key::LogKey;
use quorix_tlog::note::{SignedNote, VerifierKey};
use quorix_tlog::tlog_policy::{NotFresh, TlogPolicy, Verified, Violation};

use super::behind::Behind;
use super::{Concern, concern, output_key};
use crate::fetch::{FetchError, Fetcher, join};

/// Most entries behind the index that are read.
const TAIL_MAX: u64 = 4_096;

/// Most entries that are fetched for one question, where the asker says nothing else.
pub const ENTRIES_MAX: usize = 16_384;

/// Which log is asked, where, and who has to have cosigned what it answers.
#[derive(Clone, Debug)]
pub struct LogLookup {
    /// Fetches.
    pub fetcher: Fetcher,
    /// URL prefix under which the log is served.
    pub url: String,
    /// The log's key.
    pub key: VerifierKey,
    /// Where given, both checkpoints of an answer have to meet it.
    pub witnessed: Option<Witnessed>,
    /// Most entries that are fetched; what concerns an output is in memory as a whole.
    pub entries_max: usize,
    /// Most bytes of entries that are fetched.
    pub bytes_max: usize,
}

/// What is asked of witnesses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// Who they are, and how many are enough. Which logs it names plays no part.
    pub policy: TlogPolicy,
    /// How long ago the quorum may have been, if that matters.
    pub fresh: Option<Fresh>,
}

/// How old cosignatures may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// The time in POSIX seconds.
    pub now: u64,
    /// The permitted age in seconds.
    pub max_age: u64,
}

/// Who cosigned an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The log's checkpoint.
    pub log: Verified,
    /// That of its index.
    pub index: Verified,
}

/// What a log says about an output, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Everything that was proven: checkpoints, size, proof sizes.
    pub proven: Proven,
    /// Who cosigned, where that was asked for.
    pub cosigned: Option<Cosigned>,
    /// Every entry that concerns the output, with its index, up to the size of the checkpoint.
    pub entries: Vec<(u64, Vec<u8>)>,
    /// How many entries behind the index were read one by one.
    pub read_behind: u64,
}

impl Said {
    /// What to remember of it, so that the next answer has to extend this one.
    #[must_use]
    pub fn known(&self) -> Known {
        Known {
            log: self.proven.checkpoint.checkpoint().clone(),
            index: self.proven.index_checkpoint.checkpoint().clone(),
        }
    }
}

/// No verified answer.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The log keeps no index, so nothing can be known of what it leaves out.
    #[error("there is no index at {url}, so what the log does not say cannot be known")]
    NoIndex {
        /// Where it was asked for.
        url: String,
    },
    /// The log cannot be reached, or does not answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The log or its index shows less than what is known of it.
    #[error("the log answers that it has less of itself or of its index than it has shown before")]
    Shrunk,
    /// Too few witnesses have cosigned one of the checkpoints.
    #[error("the {of} of the answer is not witnessed: {reason}")]
    NotWitnessed {
        /// Which checkpoint.
        of: &'static str,
        /// What is missing.
        reason: Violation,
    },
    /// The cosignatures are too old, or of the future.
    #[error("the {of} of the answer: {reason}")]
    NotFresh {
        /// Which checkpoint.
        of: &'static str,
        /// How old it is.
        reason: NotFresh,
    },
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
    #[error("more than {most} entries concern this output, and no more are read")]
    TooMany {
        /// The limit.
        most: usize,
    },
    /// Too many bytes of entries.
    #[error("more than {most} bytes of entries concern this output, and no more are read")]
    TooLarge {
        /// The limit.
        most: usize,
    },
}

impl LookupError {
    /// True if what was answered is wrong; false if there was no answer.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Answer(_)
                | Self::Entries(_)
                | Self::Foreign { .. }
                | Self::Shrunk
                | Self::NotWitnessed { .. }
                | Self::NotFresh { .. }
        )
    }
}

/// Asks a log what it says about an output, and verifies all of it: with what is known already, the answer has to extend
/// that; with a policy, enough witnesses have cosigned both the log and its index.
///
/// # Errors
/// No answer, or one that does not verify.
pub async fn lookup(
    log: &LogLookup,
    dir: &StoreDir,
    path: &StorePath,
    known: Option<&Known>,
) -> Result<Said, LookupError> {
    lookup_beside(log, dir, path, known, &Behind::default()).await
}

/// The same as one of many look-ups: what is behind the index is read once for all of them that see the same tree.
pub(crate) async fn lookup_beside(
    log: &LogLookup,
    dir: &StoreDir,
    path: &StorePath,
    known: Option<&Known>,
    behind: &Behind,
) -> Result<Said, LookupError> {
    let key = output_key(dir, path);
    let proven = ask(log, &key, known).await?;
    let cosigned = match &log.witnessed {
        None => None,
        Some(witnessed) => Some(cosigned(&log.key, witnessed, &proven)?),
    };
    let (size, covered) = (proven.checkpoint.checkpoint().size, proven.covered);
    let read_behind = size.saturating_sub(covered);
    if read_behind > TAIL_MAX {
        return Err(LookupError::Behind { size, covered });
    }
    let most = log.entries_max;
    if proven.indices.len() > most {
        return Err(LookupError::TooMany { most });
    }
    let mut entries = behind.of(&proven);
    let listed = proven.indices.iter().copied();
    let mut wanted: Vec<u64> = listed.chain(covered..size).collect();
    wanted.retain(|index| !entries.contains_key(index));
    let (mut done, mut bytes) = (0_usize, 0_usize);
    while let Some(rest) = wanted.get(done..).filter(|rest| !rest.is_empty()) {
        let part = rest.get(..MAX_ENTRIES).unwrap_or(rest);
        // At least one of them, or an error.
        let fetched = fetch(log, &proven, part).await?;
        done = done.saturating_add(fetched.len());
        let lengths = fetched.iter().map(|(_, entry)| entry.len());
        bytes = lengths.fold(bytes, usize::saturating_add);
        if bytes > log.bytes_max {
            let most = log.bytes_max;
            return Err(LookupError::TooLarge { most });
        }
        entries.extend(fetched);
    }
    behind.keep(&proven, &entries);
    let entries = about(&key, covered, entries.into_iter().collect())?;
    Ok(Said {
        proven,
        cosigned,
        entries,
        read_behind,
    })
}

/// The log's answer, verified with its key.
async fn ask(log: &LogLookup, key: &Key, known: Option<&Known>) -> Result<Proven, LookupError> {
    let (since, index_since) = known.map_or((0, 0), |known| (known.log.size, known.index.size));
    let url = join(
        &log.url,
        &format!("index/lookup/{key}/{since}/{index_since}"),
    )?;
    let limit = u64::try_from(MAX_ANSWER_BYTES).unwrap_or(u64::MAX);
    let bytes = match log.fetcher.get(&url, limit).await {
        Err(FetchError::NotFound { .. }) => {
            let url = log.url.clone();
            return Err(LookupError::NoIndex { url });
        }
        Err(FetchError::Status { status: 409, .. }) if known.is_some() => {
            return Err(LookupError::Shrunk);
        }
        answer => answer?,
    };
    let mut answer = Answer::parse(&bytes)?;
    let mut next = answer.next_page();
    while let Some((from, covered)) = next {
        let most = log.entries_max;
        if answer.indices.len() > most {
            return Err(LookupError::TooMany { most });
        }
        let url = join(&log.url, &format!("index/list/{key}/{covered}/{from}"))?;
        let limit = u64::try_from(MAX_INDICES.saturating_mul(8)).unwrap_or(u64::MAX);
        let is_more = answer.add_page(&log.fetcher.get(&url, limit).await?)?;
        next = answer.next_page().filter(|_| is_more);
    }
    Ok(answer.verify(key, &log.key, known)?)
}

/// Who cosigned both checkpoints.
fn cosigned(
    key: &VerifierKey,
    witnessed: &Witnessed,
    proven: &Proven,
) -> Result<Cosigned, LookupError> {
    let index_key = verifiable::verifier_of(key).map_err(AnswerError::Name)?;
    let check = |of: &'static str, key: VerifierKey, checkpoint: &SignedCheckpoint| {
        let not_witnessed = |reason| LookupError::NotWitnessed { of, reason };
        let note = SignedNote::parse(checkpoint.bytes())
            .map_err(|error| not_witnessed(CheckpointError::from(error).into()))?;
        let verified = witnessed
            .policy
            .verify_log(&note, &[&LogKey::from(key)])
            .map_err(not_witnessed)?;
        if let Some(Fresh { now, max_age }) = witnessed.fresh {
            let fresh = verified.check_fresh(now, max_age);
            fresh.map_err(|reason| LookupError::NotFresh { of, reason })?;
        }
        Ok::<_, LookupError>(verified)
    };
    Ok(Cosigned {
        log: check("checkpoint", key.clone(), &proven.checkpoint)?,
        index: check("index's checkpoint", index_key, &proven.index_checkpoint)?,
    })
}

/// Some entries with their proofs, verified: the first of those that are asked for, at least one.
async fn fetch(
    log: &LogLookup,
    proven: &Proven,
    indices: &[u64],
) -> Result<Vec<(u64, Vec<u8>)>, LookupError> {
    let checkpoint = proven.checkpoint.checkpoint();
    let entries = entries_at(log, checkpoint.size, &checkpoint.root, indices).await?;
    Ok(entries
        .into_iter()
        .map(|entry| (entry.index, entry.entry))
        .collect())
}

/// The first of these entries (ascending), at least one and at most 64, with their proofs in the tree of this size and
/// root, verified.
pub(crate) async fn entries_at(
    log: &LogLookup,
    size: u64,
    root: &Hash,
    indices: &[u64],
) -> Result<Vec<ProvenEntry>, LookupError> {
    let indices = indices.get(..MAX_ENTRIES).unwrap_or(indices);
    let list: Vec<String> = indices.iter().map(u64::to_string).collect();
    let name = format!("index/entries/{size}/{}", list.join(","));
    let limit = u64::try_from(MAX_ENTRIES_BYTES).unwrap_or(u64::MAX);
    let bytes = log.fetcher.get(&join(&log.url, &name)?, limit).await?;
    let entries = proven::parse(&bytes)?;
    proven::verify(&entries, indices, size, root)?;
    Ok(entries)
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

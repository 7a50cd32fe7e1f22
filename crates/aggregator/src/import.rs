//! Signatures of binary caches in bulk: from a dump of narinfos, or by asking the caches about a list of paths.
//!
//! What is kept is the same as when a question has a cache asked: an observation that verifies under the key of a cache
//! of the policy. Anything else is counted and never kept. Every batch is one durable commit, after which the caller is
//! told how far the input was read, so that it can go on from there; what is imported twice is kept once. Bounds:
//! [`RECORD_BYTES_MAX`] a record, [`BATCH_RECORDS`] and [`BATCH_BYTES`] in memory.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quorix_nix::narinfo::NarInfo;
use quorix_nix::store_path::StoreDir;
use quorix_trust::attestation::{Entry, References};
use quorix_trust::policy::{Cache, Policy};
use quorix_trust::ports::{IndexStore, IndexedStatement, Place, StoreError};
use quorix_wire::entry::{encode, encode_references};

use crate::caches::{INLINE_BYTES_MAX, Refusal, observation};

mod dump;
mod paths;

pub use paths::{Asking, GAVE_UP_AFTER};

/// The longest narinfo of a dump, in bytes.
pub const RECORD_BYTES_MAX: usize = quorix_nix::narinfo::MAX_SIZE;
/// Records that are verified and committed at a time.
pub const BATCH_RECORDS: usize = 4_096;
/// Records that a thread verifies before it looks for more.
const RECORDS_AT_ONCE: usize = 64;
/// Bytes of records after which a batch ends early.
pub const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// Takes narinfos into an index.
#[derive(Clone)]
pub struct Importer {
    index: Arc<dyn IndexStore>,
    caches: Arc<[Cache]>,
    store_dir: StoreDir,
    threads: usize,
}

/// What became of an input so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Narinfos, or outputs that were asked about.
    pub records: u64,
    /// Signatures that verified and are kept. A narinfo may carry those of several caches.
    pub kept: u64,
    /// Narinfos without a signature in the name of a cache of the policy.
    pub foreign: u64,
    /// Narinfos with a signature in the name of a cache of the policy that does not verify.
    pub forged: u64,
    /// What is no narinfo, or no store path.
    pub malformed: u64,
    /// Narinfos with more references than an observation carries; the cache is asked on demand instead.
    pub too_long: u64,
    /// Outputs that the cache does not have.
    pub absent: u64,
    /// Outputs about which the cache gave no answer.
    pub failed: u64,
}

/// How far an input was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input whose records are committed.
    pub offset: u64,
    /// What became of them.
    pub counts: Counts,
}

/// Why an import ended early. What was committed stays.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The input could not be read.
    #[error("reading the input: {0}")]
    Input(io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The caller could not note the progress.
    #[error("{0}")]
    NotNoted(String),
    /// The cache does not answer.
    #[error("{cache} did not answer {GAVE_UP_AFTER} times in a row: {reason}")]
    GaveUp {
        /// Its name in the policy.
        cache: String,
        /// What went wrong the last time.
        reason: String,
    },
}

/// One thing to be verified.
pub(crate) enum Record {
    /// Text of a dump that should be a narinfo.
    Text(Vec<u8>),
    /// A narinfo that a cache answered, and which cache.
    Answer(usize, Box<NarInfo>),
    /// Not even that; already counted as malformed.
    Broken,
}

impl Importer {
    /// Takes signatures of the caches of a policy; with `only`, of the one with this name. `None`: the policy has none
    /// such.
    #[must_use]
    pub fn new(
        index: Arc<dyn IndexStore>,
        policy: &Policy,
        only: Option<&str>,
        store_dir: StoreDir,
    ) -> Option<Self> {
        let named = policy.caches.iter();
        let caches: Arc<[Cache]> = named
            .filter(|cache| only.is_none_or(|only| cache.name == only))
            .cloned()
            .collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (!caches.is_empty()).then_some(Self {
            index,
            caches,
            store_dir,
            threads,
        })
    }

    /// The caches whose signatures are taken.
    #[must_use]
    pub fn caches(&self) -> &[Cache] {
        &self.caches
    }

    /// Takes a dump from where `progress` stands in it: narinfos one after the other, with blank lines between them or
    /// without. Blocking; `noted` is told after each commit. Returns the progress at its end.
    ///
    /// # Errors
    /// The input, the store or `noted` failed.
    pub fn take_dump(
        &self,
        input: impl BufRead,
        progress: Progress,
        noted: impl FnMut(&Progress) -> Result<(), String>,
    ) -> Result<Progress, ImportError> {
        dump::take(self, input, progress, noted)
    }

    /// Verifies records and keeps what counts, in one commit. Blocking.
    fn keep(&self, records: &[Record], counts: &mut Counts) -> Result<(), StoreError> {
        let (verified, ()) = self.verify_beside(records, || Ok::<_, StoreError>(()))?;
        self.commit(verified, counts)
    }

    /// Verifies records on all processors while this thread does something else.
    fn verify_beside<T, E: From<StoreError>>(
        &self,
        records: &[Record],
        beside: impl FnOnce() -> Result<T, E>,
    ) -> Result<(Vec<Verified>, T), E> {
        let parts: Vec<&[Record]> = records.chunks(RECORDS_AT_ONCE).collect();
        // Each thread takes the next part when it is done with one: this one, beside them, has a processor for a while.
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let threads = self.threads.min(parts.len());
            let workers = (0..threads).map(|_| scope.spawn(|| self.verify_parts(&parts, &next)));
            let workers: Vec<_> = workers.collect();
            let done = beside()?;
            let mut verified = Vec::with_capacity(parts.len());
            for worker in workers {
                verified.extend(worker.join().map_err(|_| StoreError {
                    operation: "verifying signatures of caches".to_owned(),
                    reason: "a worker panicked".to_owned(),
                })?);
            }
            verified.sort_unstable_by_key(|(number, _)| *number);
            let verified = verified.into_iter().flat_map(|(_, part)| part);
            Ok((verified.collect(), done))
        })
    }

    /// Verifies one part after the other that no other thread has taken, `next` being the first of these. Gives the number
    /// of each, and what came of it.
    fn verify_parts(&self, parts: &[&[Record]], next: &AtomicUsize) -> Vec<(usize, Vec<Verified>)> {
        let mine = std::iter::from_fn(|| {
            let number = next.fetch_add(1, Ordering::Relaxed);
            Some((number, *parts.get(number)?))
        });
        let verified = mine.map(|(number, part)| {
            let part = part.iter().map(|record| self.verify(record));
            (number, part.collect())
        });
        verified.collect()
    }

    /// Keeps what counts, in one commit.
    fn commit(&self, verified: Vec<Verified>, counts: &mut Counts) -> Result<(), StoreError> {
        let mut statements = Vec::with_capacity(verified.len());
        let mut new = *counts;
        for one in verified {
            new.add(&one);
            statements.extend(one.statements);
        }
        self.index.observe_all(&statements)?;
        *counts = new;
        Ok(())
    }

    fn verify(&self, record: &Record) -> Verified {
        let (narinfo, caches) = match record {
            Record::Broken => return Verified::of(Fate::Malformed),
            Record::Answer(position, narinfo) => {
                let cache = self.caches.get(*position).map(std::slice::from_ref);
                (narinfo.as_ref().clone(), cache.unwrap_or_default())
            }
            Record::Text(text) => {
                let parsed = std::str::from_utf8(text).ok();
                let parsed = parsed.and_then(|text| NarInfo::parse(text, &self.store_dir).ok());
                let Some(narinfo) = parsed else {
                    return Verified::of(Fate::Malformed);
                };
                (narinfo, self.caches.as_ref())
            }
        };
        let output = narinfo.store_path.hash_part();
        let mut verified = Verified::of(Fate::Foreign);
        for cache in caches {
            match observation(cache, &self.store_dir, &output, &narinfo) {
                Ok(seen) => match statement(seen) {
                    Some(statement) => {
                        verified.fate = Fate::Kept;
                        verified.statements.push(statement);
                    }
                    None => return Verified::of(Fate::TooLong),
                },
                Err(Refusal::Forged) if verified.statements.is_empty() => {
                    verified.fate = Fate::Forged;
                }
                Err(_) => {}
            }
        }
        verified
    }
}

/// A signature as the index keeps it; `None` where its references are too many for an entry.
fn statement(seen: quorix_trust::attestation::Observation) -> Option<IndexedStatement> {
    if let References::Inline(references) = &seen.claim.references
        && encode_references(references).len() > INLINE_BYTES_MAX
    {
        return None;
    }
    let (path, value) = (seen.claim.path.clone(), seen.claim.fingerprint);
    let voice = seen.public_key.to_string();
    let entry = encode(&Entry::Observation(Box::new(seen))).ok()?;
    Some(IndexedStatement {
        path,
        value,
        voice,
        place: Place::Unlogged { entry },
        withdrawn_by: None,
    })
}

/// What came of one record.
struct Verified {
    fate: Fate,
    statements: Vec<IndexedStatement>,
}

#[derive(Clone, Copy)]
enum Fate {
    Kept,
    Foreign,
    Forged,
    Malformed,
    TooLong,
}

impl Verified {
    fn of(fate: Fate) -> Self {
        Self {
            fate,
            statements: Vec::new(),
        }
    }
}

impl Counts {
    fn add(&mut self, one: &Verified) {
        self.records = self.records.saturating_add(1);
        let (count, by) = match one.fate {
            Fate::Kept => (&mut self.kept, one.statements.len() as u64),
            Fate::Foreign => (&mut self.foreign, 1),
            Fate::Forged => (&mut self.forged, 1),
            Fate::Malformed => (&mut self.malformed, 1),
            Fate::TooLong => (&mut self.too_long, 1),
        };
        *count = count.saturating_add(by);
    }

    /// These and others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let sum = u64::saturating_add;
        Self {
            records: sum(self.records, other.records),
            kept: sum(self.kept, other.kept),
            foreign: sum(self.foreign, other.foreign),
            forged: sum(self.forged, other.forged),
            malformed: sum(self.malformed, other.malformed),
            too_long: sum(self.too_long, other.too_long),
            absent: sum(self.absent, other.absent),
            failed: sum(self.failed, other.failed),
        }
    }
}

//! One request, checked as far as it can be without knowing the order of things: every entry decodes, every blob that
//! an entry names is there and fits.
//!
//! Runs beside the sequencer, so that its thread is left with what must be done in order.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use quorix_tlog::compact_range::CompactRange;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::note::VerifierKey;
use quorix_trust::attestation::{BLOB_BYTES_MAX, BlobId, Build, Claim, Entry, References};
use quorix_trust::ports::TileStore;
use quorix_wire::entry::{decode, decode_inputs, decode_references};
use sha2::{Digest, Sha256};

use crate::config::{ENTRIES_PER_REQUEST_MAX, REQUEST_BYTES_MAX, WITHDRAWN_PER_REQUEST_MAX};
use crate::error::{EntryProblem, SubmitError};

/// A request whose entries are fit to be appended.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) entries: Vec<Checked>,
    pub(crate) blobs: BTreeMap<BlobId, Vec<u8>>,
}

/// An entry that is fit to be appended.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) bytes: Vec<u8>,
    pub(crate) leaf: Hash,
    /// Leaf hashes that it withdraws; empty unless it is a retraction.
    pub(crate) withdraws: BTreeSet<Hash>,
    /// Blobs that it names.
    pub(crate) blobs: BTreeSet<BlobId>,
    /// vkey of the key that follows; only of the rotation that ends the log.
    pub(crate) successor: Option<String>,
}

impl Request {
    /// Its size in bytes, entries and blobs together.
    pub(crate) fn bytes(&self) -> usize {
        let entries = self.entries.iter().map(|entry| entry.bytes.len());
        entries
            .chain(self.blobs.values().map(Vec::len))
            .fold(0, usize::saturating_add)
    }
}

/// The size of a request in bytes.
///
/// # Errors
/// It is beyond the limits.
pub(crate) fn check_size(entries: &[Vec<u8>], blobs: &[Vec<u8>]) -> Result<usize, SubmitError> {
    let count = entries.len();
    if count > ENTRIES_PER_REQUEST_MAX {
        return Err(SubmitError::TooManyEntries { count });
    }
    for (position, blob) in blobs.iter().enumerate() {
        let bytes = blob.len();
        if bytes > BLOB_BYTES_MAX {
            return Err(SubmitError::BlobTooLarge { position, bytes });
        }
    }
    let bytes = entries
        .iter()
        .chain(blobs)
        .map(Vec::len)
        .fold(0, usize::saturating_add);
    if bytes > REQUEST_BYTES_MAX {
        return Err(SubmitError::TooLarge { bytes });
    }
    Ok(bytes)
}

/// Checks a request within the limits. Reads the store: blocks.
pub(crate) fn check(
    entries: Vec<Vec<u8>>,
    blobs: Vec<Vec<u8>>,
    store: &dyn TileStore,
) -> Result<Request, SubmitError> {
    let sent: Vec<(BlobId, Vec<u8>)> = blobs
        .into_iter()
        .map(|blob| (Sha256::digest(&blob).into(), blob))
        .collect();
    let order: Vec<BlobId> = sent.iter().map(|(id, _)| *id).collect();
    let blobs = Blobs {
        sent: sent.into_iter().collect(),
        store,
    };
    let mut checked = Vec::with_capacity(entries.len());
    let mut withdrawn = 0_usize;
    for (position, bytes) in entries.into_iter().enumerate() {
        let entry = check_entry(bytes, &blobs).map_err(|problem| problem.at(position))?;
        withdrawn = withdrawn.saturating_add(entry.withdraws.len());
        if withdrawn > WITHDRAWN_PER_REQUEST_MAX {
            let problem = EntryProblem::TooManyWithdrawn;
            return Err(SubmitError::Entry { position, problem });
        }
        checked.push(entry);
    }
    let named: BTreeSet<BlobId> = checked
        .iter()
        .flat_map(|entry| entry.blobs.iter().copied())
        .collect();
    if let Some(position) = order.iter().position(|id| !named.contains(id)) {
        let id = order
            .get(position)
            .map_or_else(String::new, |id| HEXLOWER.encode(id));
        return Err(SubmitError::BlobUnnamed { position, id });
    }
    Ok(Request {
        entries: checked,
        blobs: blobs.sent,
    })
}

/// Either the entry is wrong, or it could not be checked.
enum Refusal {
    Entry(EntryProblem),
    Store(String),
}

impl Refusal {
    fn at(self, position: usize) -> SubmitError {
        match self {
            Self::Entry(problem) => SubmitError::Entry { position, problem },
            Self::Store(reason) => SubmitError::Unavailable { reason },
        }
    }
}

impl<P: Into<EntryProblem>> From<P> for Refusal {
    fn from(problem: P) -> Self {
        Self::Entry(problem.into())
    }
}

fn check_entry(bytes: Vec<u8>, blobs: &Blobs<'_>) -> Result<Checked, Refusal> {
    let mut named = BTreeSet::new();
    let mut withdraws = BTreeSet::new();
    match decode(&bytes)? {
        Entry::Build(build) => {
            check_claim(&build.claim, blobs, &mut named)?;
            check_inputs(&build, blobs, &mut named)?;
        }
        Entry::Observation(seen) => check_claim(&seen.claim, blobs, &mut named)?,
        Entry::Retraction(retraction) => withdraws = retraction.leaf_hashes,
        Entry::KeyRotation(_) => return Err(EntryProblem::KeyRotation.into()),
        _ => {}
    }
    Ok(Checked {
        leaf: leaf_hash(&bytes),
        bytes,
        withdraws,
        blobs: named,
        successor: None,
    })
}

/// Checks the entry that is to end the log of this key: both keys have signed it.
pub(crate) fn check_rotation(bytes: Vec<u8>, key: &VerifierKey) -> Result<Request, SubmitError> {
    let refused = |reason: String| SubmitError::NotARotation(reason);
    let Entry::KeyRotation(rotation) =
        decode(&bytes).map_err(|error| refused(error.to_string()))?
    else {
        return Err(refused("it is another entry".to_owned()));
    };
    let successor = rotation.successor_of(key);
    let successor = successor.map_err(|error| refused(error.to_string()))?;
    let entry = Checked {
        leaf: leaf_hash(&bytes),
        bytes,
        withdraws: BTreeSet::new(),
        blobs: BTreeSet::new(),
        successor: Some(successor.to_string()),
    };
    Ok(Request {
        entries: vec![entry],
        blobs: BTreeMap::new(),
    })
}

/// A claim with its references in a blob must vote for the fingerprint of exactly these facts. (Where they are in the
/// entry, decoding has checked it.)
fn check_claim(
    claim: &Claim,
    blobs: &Blobs<'_>,
    named: &mut BTreeSet<BlobId>,
) -> Result<(), Refusal> {
    let References::Blob(id) = &claim.references else {
        return Ok(());
    };
    let blob = blobs.get(id)?;
    let references = decode_references(&blob).map_err(|problem| EntryProblem::Blob {
        id: HEXLOWER.encode(id),
        problem,
    })?;
    claim.check(&references).map_err(EntryProblem::from)?;
    named.insert(*id);
    Ok(())
}

fn check_inputs(
    build: &Build,
    blobs: &Blobs<'_>,
    named: &mut BTreeSet<BlobId>,
) -> Result<(), Refusal> {
    let Some(id) = &build.inputs_blob else {
        return Ok(());
    };
    let blob = blobs.get(id)?;
    decode_inputs(&blob).map_err(|problem| EntryProblem::Blob {
        id: HEXLOWER.encode(id),
        problem,
    })?;
    let mut lines = CompactRange::new();
    for line in blob.split_inclusive(|byte| *byte == b'\n') {
        lines.push(leaf_hash(line.strip_suffix(b"\n").unwrap_or(line)));
    }
    let computed = lines.root();
    if let Some(stated) = build.inputs_root.filter(|stated| *stated != computed) {
        return Err(EntryProblem::InputsRoot { computed, stated }.into());
    }
    named.insert(*id);
    Ok(())
}

/// The blobs sent along, and those that the log has.
struct Blobs<'a> {
    sent: BTreeMap<BlobId, Vec<u8>>,
    store: &'a dyn TileStore,
}

impl Blobs<'_> {
    fn get(&self, id: &BlobId) -> Result<std::borrow::Cow<'_, [u8]>, Refusal> {
        if let Some(blob) = self.sent.get(id) {
            return Ok(blob.as_slice().into());
        }
        let stored = self
            .store
            .blob(id)
            .map_err(|error| Refusal::Store(error.to_string()))?;
        let missing = || EntryProblem::BlobMissing {
            id: HEXLOWER.encode(id),
        };
        Ok(stored.ok_or_else(missing)?.into())
    }
}

//! The blobs that an entry names: which they are, and whether they are what the entry says.
//!
//! Fetches nothing.

use std::collections::{BTreeMap, BTreeSet};

use quorix_tlog::compact_range::CompactRange;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_trust::attestation::{BlobId, Claim, ClaimError, Entry, References};

use crate::entry::{BlobError, decode_inputs, decode_references};

/// A blob is not what the entry that names it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobProblem {
    /// It is no such list.
    #[error("blob/{id}: {problem}")]
    Malformed {
        /// Its SHA-256 in hexadecimal.
        id: String,
        /// What is wrong with it.
        problem: BlobError,
    },
    /// With its references the claim has another fingerprint than it votes for.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Its lines have another root than the entry says.
    #[error("the inputs in blob/{id} have the root {computed}, but inputs_root is {stated}")]
    InputsRoot {
        /// Its SHA-256 in hexadecimal.
        id: String,
        /// Root over the lines of the blob.
        computed: Hash,
        /// Root in the entry.
        stated: Hash,
    },
}

/// The blobs that an entry names.
#[must_use]
pub fn named(entry: &Entry) -> BTreeSet<BlobId> {
    let (claim, inputs) = match entry {
        Entry::Build(build) => (&build.claim, build.inputs_blob),
        Entry::Observation(seen) => (&seen.claim, None),
        _ => return BTreeSet::new(),
    };
    references(claim).into_iter().chain(inputs).collect()
}

/// Checks an entry against the blobs that it names. One that is not among them is passed over.
///
/// # Errors
/// The first blob that does not fit.
pub fn check(entry: &Entry, blobs: &BTreeMap<BlobId, Vec<u8>>) -> Result<(), BlobProblem> {
    let claim = match entry {
        Entry::Build(build) => &build.claim,
        Entry::Observation(seen) => &seen.claim,
        _ => return Ok(()),
    };
    let hex = |id: &BlobId| Hash::from_bytes(*id).to_hex();
    if let Some((id, blob)) = references(claim).and_then(|id| Some((id, blobs.get(&id)?))) {
        let listed = decode_references(blob).map_err(|problem| BlobProblem::Malformed {
            id: hex(&id),
            problem,
        })?;
        claim.facts(Some(&listed))?;
    }
    let Entry::Build(build) = entry else {
        return Ok(());
    };
    let Some((id, blob)) = build.inputs_blob.and_then(|id| Some((id, blobs.get(&id)?))) else {
        return Ok(());
    };
    decode_inputs(blob).map_err(|problem| BlobProblem::Malformed {
        id: hex(&id),
        problem,
    })?;
    let mut lines = CompactRange::new();
    for line in blob.split_inclusive(|byte| *byte == b'\n') {
        lines.push(leaf_hash(line.strip_suffix(b"\n").unwrap_or(line)));
    }
    let computed = lines.root();
    match build.inputs_root.filter(|stated| *stated != computed) {
        Some(stated) => Err(BlobProblem::InputsRoot {
            id: hex(&id),
            computed,
            stated,
        }),
        None => Ok(()),
    }
}

fn references(claim: &Claim) -> Option<BlobId> {
    match claim.references {
        References::Blob(id) => Some(id),
        References::Inline(_) => None,
    }
}

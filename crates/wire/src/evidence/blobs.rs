//! Lists of references and of inputs from the blobs of an answer, found by their hash and read once.
//!
//! A blob that is missing, does not parse or does not fit its entry leaves the facts unknown. The work is bounded:
//! many entries may name one large blob.

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::fingerprint::{Fingerprint, FingerprintDigest};
use quorix_nix::store_path::StorePath;
use quorix_trust::attestation::{BLOB_BYTES_MAX, BlobId, Claim, References};
use sha2::{Digest as _, Sha256};

use crate::entry::{decode_inputs, decode_references};

/// Most bytes of blobs that all the claims of one answer may refer to, each time counted.
const REFERRED_BYTES_MAX: usize = 256 * 1024 * 1024;

pub(super) struct Blobs {
    bytes: BTreeMap<BlobId, Vec<u8>>,
    read: BTreeMap<BlobId, Option<BTreeSet<StorePath>>>,
    budget: usize,
}

impl Blobs {
    pub(super) fn new(blobs: Vec<Vec<u8>>) -> Self {
        let blobs = blobs
            .into_iter()
            .filter(|blob| blob.len() <= BLOB_BYTES_MAX);
        Self {
            bytes: blobs
                .map(|blob| (Sha256::digest(&blob).into(), blob))
                .collect(),
            read: BTreeMap::new(),
            budget: REFERRED_BYTES_MAX,
        }
    }

    /// The list of inputs of this name, if it is there and one.
    pub(super) fn inputs(&mut self, id: &BlobId) -> Option<BTreeMap<StorePath, FingerprintDigest>> {
        let bytes = self.bytes.get(id)?;
        self.budget = self.budget.checked_sub(bytes.len())?;
        decode_inputs(bytes).ok()
    }

    /// The whole fingerprint of a claim, if its references are known and fit.
    pub(super) fn facts(&mut self, claim: &Claim) -> Option<Fingerprint> {
        let References::Blob(id) = &claim.references else {
            return claim.facts(None).ok().flatten();
        };
        let bytes = self.bytes.get(id)?;
        self.budget = self.budget.checked_sub(bytes.len())?;
        let references = self
            .read
            .entry(*id)
            .or_insert_with(|| decode_references(bytes).ok());
        claim.facts(Some(references.as_ref()?)).ok().flatten()
    }
}

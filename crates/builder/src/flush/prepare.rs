//! One job made ready for the log: its attestations, and what stands against the rest.

use quorix_host::store::{Store, StoreError};
use quorix_nix::store_path::StorePath;

use crate::attest::{AttestError, Attestation, Attester, Request};
use crate::outbox::{Job, JobId};

/// A job after its paths were read.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) id: JobId,
    pub(super) attestations: Vec<Attestation>,
    /// Why some of it can never be attested as it is.
    pub(super) refusals: Vec<String>,
    /// Why some of it cannot be attested now.
    pub(super) not_now: Option<String>,
}

impl Prepared {
    pub(super) fn failed(id: JobId, reason: String) -> Self {
        Self {
            id,
            attestations: Vec::new(),
            refusals: Vec::new(),
            not_now: Some(reason),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let parts = |attestation: &Attestation| {
            attestation
                .blobs
                .iter()
                .fold(attestation.entry.len(), |sum, blob| {
                    sum.saturating_add(blob.len())
                })
        };
        self.attestations
            .iter()
            .fold(0, |sum, attestation| sum.saturating_add(parts(attestation)))
    }
}

/// Reads and hashes everything that the job names. Blocks for as long as that takes.
pub(super) fn prepare(attester: &Attester, id: JobId, job: &Job) -> Prepared {
    let mut prepared = Prepared {
        id,
        attestations: Vec::new(),
        refusals: Vec::new(),
        not_now: None,
    };
    let mut not_built_here = Vec::new();
    let opened =
        Store::open(job.store.clone()).and_then(|store| Ok((outputs(&store, job)?, store)));
    let (outputs, store) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            prepared.stands_against(&AttestError::Store(error));
            return prepared;
        }
    };
    if let Some(warning) = store.warning() {
        tracing::warn!(warning, "reading the Nix store");
    }
    if outputs.is_empty() {
        prepared
            .refusals
            .push("Nix did not tell its outputs, and its derivation does not name them".to_owned());
    }
    for path in outputs {
        let request = Request {
            path,
            derivation: job.derivation.clone(),
            provenance: job.provenance,
            noticed_at_s: Some(job.time_s),
            cores: Some(job.cores).filter(|cores| *cores > 0),
        };
        match attester.attest(&store, &request) {
            Ok(attestation) => prepared.attestations.push(attestation),
            Err(error @ AttestError::NotBuiltHere { .. }) => not_built_here.push(error),
            Err(error) => prepared.stands_against(&error),
        }
    }
    // Beside outputs that were built, one that was there already is nothing to complain about.
    if prepared.attestations.is_empty() {
        not_built_here
            .iter()
            .for_each(|error| prepared.stands_against(error));
    }
    prepared
}

impl Prepared {
    fn stands_against(&mut self, error: &AttestError) {
        if error.is_final() {
            self.refusals.push(error.to_string());
        } else {
            self.not_now = Some(error.to_string());
        }
    }
}

/// The outputs that the job names, else those of its derivation (Nix 2.8.0 names none).
fn outputs(store: &Store, job: &Job) -> Result<Vec<StorePath>, StoreError> {
    let Some(derivation) = job.derivation.as_ref().filter(|_| job.outputs.is_empty()) else {
        return Ok(job.outputs.clone());
    };
    let known = store.derivation_outputs(derivation)?;
    if !known.is_empty() {
        return Ok(known.into_values().collect());
    }
    let file = store.read_derivation(derivation)?;
    Ok(file
        .outputs
        .values()
        .filter_map(|output| output.path().cloned())
        .collect())
}

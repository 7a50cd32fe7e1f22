//! Evidence as it is handed out: entries with proofs of inclusion against a signed checkpoint of each log.
//!
//! None of it needs to be believed: whoever has the policy checks all of it. Bound: `evidence_bytes_max`, proofs
//! included, which are counted when it is gathered, so that what is decided here and by whoever asks is the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorix_nix::store_path::HashPart;
use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::hash::Hash;
use quorix_tlog::proof::{prove_consistency, prove_inclusion};
use quorix_trust::ports::{Place, StoreError};
use quorix_wire::convert::log_state;
use quorix_wire::pb;

use crate::error::AskError;
use crate::gather::{Found, Gathered, Snapshot};
use crate::mirror::{Entries, Hashes, unproved};
use crate::query::Query;
use crate::service::Shared;

impl Shared {
    /// Everything needed to decide these outputs by oneself.
    pub(crate) async fn evidence(
        self: &Arc<Self>,
        queries: Vec<Query>,
        closure: bool,
    ) -> Result<pb::GetEvidenceResponse, AskError> {
        let wanted: BTreeSet<_> = queries.into_iter().map(|query| query.hash_part).collect();
        let gathered = self.gather(wanted, closure).await?;
        let prove = move || answer(gathered);
        let answer = self.cores.run("proving inclusion", prove).await?;
        self.metrics.evidence_given(answer.outputs.len());
        Ok(answer)
    }
}

fn answer(gathered: Gathered) -> Result<pb::GetEvidenceResponse, StoreError> {
    let mut outputs = Vec::with_capacity(gathered.found.len());
    for (hash_part, found) in &gathered.found {
        let mut output = pb::OutputEvidence {
            hash_part: hash_part.to_string(),
            caches_heard: heard(&gathered, hash_part),
            ..pb::OutputEvidence::default()
        };
        for one in found {
            match &one.place {
                Place::Unlogged { .. } => output.observations.push(one.bytes.clone()),
                Place::Leaf { origin, index } => {
                    let Some(seen) = gathered.log(origin) else {
                        continue;
                    };
                    output.entries.push(logged(seen, *index, one)?);
                }
            }
        }
        outputs.push(output);
    }
    let logs = gathered.logs.iter().map(log_evidence);
    Ok(pb::GetEvidenceResponse {
        logs: logs.collect::<Result<_, _>>()?,
        outputs,
        blobs: gathered.blobs.into_values().collect(),
    })
}

fn heard(gathered: &Gathered, output: &HashPart) -> Vec<Vec<u8>> {
    let heard = gathered.evidence.caches_heard.get(output);
    heard
        .into_iter()
        .flatten()
        .map(|key| key.to_vec())
        .collect()
}

fn logged(seen: &Snapshot, index: u64, found: &Found) -> Result<pb::LoggedEntry, StoreError> {
    let retraction = match found.withdrawn_by {
        Some(by) => Some(pb::LoggedRetraction {
            index: by,
            entry: Entries::new(seen.mirror.clone(), 0).entry(by)?,
            inclusion_proof: inclusion(seen, by)?,
        }),
        None => None,
    };
    Ok(pb::LoggedEntry {
        origin: seen.log.origin.clone(),
        index,
        entry: found.bytes.clone(),
        inclusion_proof: inclusion(seen, index)?,
        retraction,
    })
}

fn inclusion(seen: &Snapshot, index: u64) -> Result<Vec<Vec<u8>>, StoreError> {
    let proof =
        prove_inclusion(&Hashes(seen.mirror.as_ref()), index, seen.size()).map_err(unproved)?;
    Ok(raw(&proof))
}

fn log_evidence(seen: &Snapshot) -> Result<pb::LogEvidence, StoreError> {
    let earlier = seen.earlier.iter().map(|signed| earlier(seen, signed));
    Ok(pb::LogEvidence {
        earlier: earlier.collect::<Result<_, _>>()?,
        origin: seen.log.origin.clone(),
        state: log_state(&seen.standing.state).0.into(),
        reason: seen.standing.reason().to_owned(),
        checkpoint: seen
            .signed
            .as_ref()
            .map(|signed| signed.bytes().to_vec())
            .unwrap_or_default(),
        last_verified_s: seen.standing.last_verified_s,
        equivocation: seen
            .standing
            .equivocation
            .as_deref()
            .map(pb::Equivocation::from),
    })
}

fn earlier(
    seen: &Snapshot,
    signed: &SignedCheckpoint,
) -> Result<pb::EarlierCheckpoint, StoreError> {
    let size = signed.checkpoint().size;
    let proof = prove_consistency(&Hashes(seen.mirror.as_ref()), size, seen.size());
    Ok(pb::EarlierCheckpoint {
        checkpoint: signed.bytes().to_vec(),
        consistency_proof: raw(&proof.map_err(unproved)?),
    })
}

fn raw(hashes: &[Hash]) -> Vec<Vec<u8>> {
    hashes.iter().map(|hash| hash.as_bytes().to_vec()).collect()
}

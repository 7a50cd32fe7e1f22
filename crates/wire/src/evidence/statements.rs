//! What an answer says of one output, each statement verified by itself.
//!
//! A statement that does not verify is dropped. Where a log is to blame or to be protected (it is named as the
//! source), the log is stale with the reason; what did verify of it still counts as dissent.

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::store_path::HashPart;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::proof::{MAX_PROOF_LENGTH, verify_inclusion};
use quorix_trust::attestation::Entry;
use quorix_trust::evidence::{Said, Source, Statement};
use quorix_trust::policy::Policy;

use super::blobs::Blobs;
use super::logs::Judged;
use crate::{entry, pb};

pub(super) struct Verifier<'a> {
    logs: &'a mut BTreeMap<String, Judged>,
    cache_keys: BTreeSet<[u8; 32]>,
    asks_for_inputs: bool,
    blobs: Blobs,
    dropped: usize,
}

impl<'a> Verifier<'a> {
    pub(super) fn new(
        policy: &Policy,
        logs: &'a mut BTreeMap<String, Judged>,
        blobs: Vec<Vec<u8>>,
    ) -> Self {
        Self {
            logs,
            asks_for_inputs: policy.asks_for_inputs(),
            cache_keys: policy
                .caches
                .iter()
                .map(|cache| *cache.key.as_bytes())
                .collect(),
            blobs: Blobs::new(blobs),
            dropped: 0,
        }
    }

    pub(super) fn dropped(&self) -> usize {
        self.dropped
    }

    /// What verifies of what is said about one output, in the order of the answer.
    pub(super) fn statements(
        &mut self,
        output: &HashPart,
        answered: pb::OutputEvidence,
    ) -> Vec<Statement> {
        let mut statements: Vec<Statement> = Vec::new();
        let mut places: BTreeMap<(String, u64), usize> = BTreeMap::new();
        for one in answered.entries {
            let place = (one.origin.clone(), one.index);
            let Some(statement) = self.logged(output, one) else {
                continue;
            };
            // The same leaf twice is one statement, withdrawn if either proves that.
            match places
                .get(&place)
                .and_then(|position| statements.get_mut(*position))
            {
                Some(first) => first.withdrawn |= statement.withdrawn,
                None => {
                    places.insert(place, statements.len());
                    statements.push(statement);
                }
            }
        }
        let observations: BTreeSet<Vec<u8>> = answered.observations.into_iter().collect();
        for bytes in &observations {
            match self.unlogged(output, bytes) {
                Ok(statement) => statements.push(statement),
                Err(reason) => {
                    self.dropped = self.dropped.saturating_add(1);
                    tracing::warn!(%output, reason, "an observation does not verify");
                }
            }
        }
        statements
    }

    fn logged(&mut self, output: &HashPart, one: pb::LoggedEntry) -> Option<Statement> {
        let Some(log) = self.logs.get_mut(&one.origin) else {
            // A log that the policy does not name has no key to verify it with, and no vote.
            self.dropped = self.dropped.saturating_add(1);
            return None;
        };
        let said = match verify_entry(log.tree(), output, &one) {
            Ok(said) => said?,
            Err(reason) => {
                log.does_not_verify(&format!("entry {}: {reason}", one.index));
                self.dropped = self.dropped.saturating_add(1);
                return None;
            }
        };
        let withdrawn = match one
            .retraction
            .as_ref()
            .map(|retraction| verify_retraction(log.tree(), &one, retraction))
        {
            None => false,
            Some(Ok(())) => true,
            Some(Err(reason)) => {
                log.does_not_verify(&format!("retraction of entry {}: {reason}", one.index));
                false
            }
        };
        let source = Source::Log {
            origin: one.origin,
            index: one.index,
        };
        Some(self.statement(source, said, withdrawn))
    }

    fn unlogged(&mut self, output: &HashPart, bytes: &[u8]) -> Result<Statement, String> {
        let Entry::Observation(seen) = entry::decode(bytes).map_err(|error| error.to_string())?
        else {
            return Err("it is not an observation".to_owned());
        };
        if seen.claim.path.hash_part() != *output {
            return Err(format!("it is about {}", seen.claim.path));
        }
        if !self.cache_keys.contains(seen.public_key.as_bytes()) {
            return Err(format!(
                "{} is the key of no cache of the policy",
                seen.public_key
            ));
        }
        let statement = self.statement(Source::Unlogged, Said::Observation(seen), false);
        let Said::Observation(seen) = &statement.said else {
            return Err("it is not an observation".to_owned());
        };
        if !statement.is_signed_by(&seen.public_key) {
            return Err(
                "its signature does not verify over what it says, or its references are missing"
                    .to_owned(),
            );
        }
        Ok(statement)
    }

    fn statement(&mut self, source: Source, said: Said, withdrawn: bool) -> Statement {
        let claim = match &said {
            Said::Build(build) => &build.claim,
            Said::Observation(seen) => &seen.claim,
        };
        let facts = self.blobs.facts(claim);
        let inputs = match &said {
            Said::Build(build) if self.asks_for_inputs => build.inputs_blob,
            _ => None,
        };
        let inputs = inputs.and_then(|id| self.blobs.inputs(&id));
        Statement {
            source,
            said,
            facts,
            inputs,
            withdrawn,
        }
    }
}

/// Size and root against which inclusion is proved.
type Tree = Option<(u64, Hash)>;

/// Whether an entry of an answer verifies and says something that counts. A retraction of it that does not verify is taken
/// away.
pub(crate) fn keep_what_verifies(tree: Tree, output: &HashPart, one: &mut pb::LoggedEntry) -> bool {
    if !matches!(verify_entry(tree, output, one), Ok(Some(_))) {
        return false;
    }
    let retraction = one.retraction.take();
    one.retraction = retraction.filter(|by| verify_retraction(tree, one, by).is_ok());
    true
}

/// What a proved entry says of the output; `None` if it is of a kind that says nothing that counts.
fn verify_entry(
    tree: Tree,
    output: &HashPart,
    one: &pb::LoggedEntry,
) -> Result<Option<Said>, String> {
    verify_leaf(tree, one.index, &one.entry, &one.inclusion_proof)?;
    let entry = entry::decode(&one.entry).map_err(|error| error.to_string())?;
    match entry.output() {
        Some((_, path)) if path.hash_part() == *output => {}
        Some((_, path)) => return Err(format!("it is about {path}, not about {output}")),
        None => return Err(format!("it is not about {output}")),
    }
    Ok(match entry {
        Entry::Build(build) => Some(Said::Build(build)),
        Entry::Observation(seen) => Some(Said::Observation(seen)),
        _ => None,
    })
}

fn verify_retraction(
    tree: Tree,
    one: &pb::LoggedEntry,
    retraction: &pb::LoggedRetraction,
) -> Result<(), String> {
    if retraction.index <= one.index {
        return Err(format!("index {} is not after it", retraction.index));
    }
    verify_leaf(
        tree,
        retraction.index,
        &retraction.entry,
        &retraction.inclusion_proof,
    )?;
    match entry::decode(&retraction.entry).map_err(|error| error.to_string())? {
        Entry::Retraction(retraction)
            if retraction.leaf_hashes.contains(&leaf_hash(&one.entry)) =>
        {
            Ok(())
        }
        Entry::Retraction(_) => Err("it withdraws other entries".to_owned()),
        _ => Err("it is not a retraction".to_owned()),
    }
}

/// Checks that these bytes are the leaf at this index of the log.
fn verify_leaf(tree: Tree, index: u64, entry: &[u8], proof: &[Vec<u8>]) -> Result<(), String> {
    let (size, root) = tree.ok_or("there is no checkpoint to verify it against")?;
    if proof.len() > MAX_PROOF_LENGTH {
        return Err(format!(
            "its proof has {} hashes, more than any tree needs",
            proof.len()
        ));
    }
    let hash = |bytes: &Vec<u8>| bytes.as_slice().try_into().map(Hash::from_bytes);
    let proof: Result<Vec<Hash>, _> = proof.iter().map(hash).collect();
    let proof = proof.map_err(|_| "its proof has a hash that is not of 32 bytes")?;
    verify_inclusion(index, size, &leaf_hash(entry), &proof, &root)
        .map_err(|error| error.to_string())
}

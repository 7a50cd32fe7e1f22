//! Reads what was said of some outputs out of the index and the mirrors.
//!
//! Only leaves below the size of the checkpoint that evidence is from; only logs of the policy; entries as they
//! stand, decoded again.

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::store_path::HashPart;
use quorix_trust::attestation::{BlobId, Entry};
use quorix_trust::evidence::{Said, Source, Statement};
use quorix_trust::ports::{IndexedStatement, Place, StoreError};
use quorix_wire::entry;

use super::share::{Read, Values};
use super::{Found, Gathered};
use crate::index::references_blob;
use crate::mirror::{Entries, RUNS_KEPT_BYTES};
use crate::service::Shared;

/// Rows of the index that are read together, and all in memory before the shares of logs are looked at. A hostile log makes
/// each as large as a row can be.
const ROWS_AT_ONCE: usize = 8;
/// Bytes that the fields around an entry take at most, its log's name aside.
const AROUND_AN_ENTRY: usize = 128;
/// Bytes of one hash in a proof, as it is sent.
const HASH_IN_A_PROOF: usize = 34;

/// Reads `wanted` into `gathered`, in place of what was read of them before.
pub(super) fn read(
    shared: &Shared,
    gathered: &mut Gathered,
    wanted: &BTreeSet<HashPart>,
) -> Result<(), StoreError> {
    let kept_of_each = RUNS_KEPT_BYTES / gathered.logs.len().max(1);
    let mut entries: BTreeMap<String, Entries> = gathered
        .logs
        .iter()
        .map(|seen| {
            let entries = Entries::new(seen.mirror.clone(), kept_of_each);
            (seen.log.origin.clone(), entries)
        })
        .collect();
    let wanted: Vec<HashPart> = wanted.iter().cloned().collect();
    for some in wanted.chunks(ROWS_AT_ONCE) {
        let indexed = shared.index.statements_of(some)?;
        for (output, indexed) in some.iter().zip(indexed) {
            read_one(shared, gathered, &mut entries, output, indexed)?;
            if gathered.shares.is_exceeded() {
                // The caller refuses; no more of it is held in memory until then.
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads what the index knows of one output.
fn read_one(
    shared: &Shared,
    gathered: &mut Gathered,
    entries: &mut BTreeMap<String, Entries>,
    output: &HashPart,
    indexed: Vec<IndexedStatement>,
) -> Result<(), StoreError> {
    // Of a log that was left out before, what stays of it is read already.
    let is_read = gathered.found.contains_key(output);
    let skipped = is_read.then(|| gathered.shares.left_out());
    let skipped = skipped.unwrap_or_default();
    gathered.begin(output);
    let mut values = Values::new();
    for indexed in indexed {
        if let Place::Leaf { origin, .. } = &indexed.place
            && gathered.shares.is_left_out(origin)
        {
            let size = gathered.log(origin).map_or(0, super::Snapshot::size);
            let may_stay = gathered.shares.may_stay(origin, &indexed, size, &values);
            if skipped.contains(origin) || !may_stay {
                continue;
            }
        }
        let Some(one) = one(shared, gathered, entries, indexed)? else {
            continue;
        };
        gathered.keep(output, one, &mut values);
        if gathered.shares.is_exceeded() {
            return Ok(());
        }
    }
    let statements = gathered.evidence.outputs.get(output);
    let statements = statements.map(Vec::as_slice).unwrap_or_default();
    for (position, cache) in shared.policy.caches.iter().enumerate() {
        // A signature that a log carries may be an old one, chosen by whoever keeps the log: the cache itself is
        // asked all the same, so that it is known if it signed two values.
        if !statements.iter().any(|statement| {
            statement.source == Source::Unlogged && statement.is_signed_by(&cache.key)
        }) {
            gathered.unheard.insert((position, output.clone()));
        }
    }
    Ok(())
}

fn one(
    shared: &Shared,
    gathered: &mut Gathered,
    entries: &mut BTreeMap<String, Entries>,
    indexed: IndexedStatement,
) -> Result<Option<Read>, StoreError> {
    let (bytes, source, size) = match &indexed.place {
        Place::Unlogged { entry } => (entry.clone(), Source::Unlogged, 0),
        Place::Leaf { origin, index } => {
            let size = gathered.log(origin).map_or(0, super::Snapshot::size);
            let Some(entries) = entries.get_mut(origin).filter(|_| *index < size) else {
                return Ok(None);
            };
            (
                entries.entry(*index)?,
                Source::Log {
                    origin: origin.clone(),
                    index: *index,
                },
                size,
            )
        }
    };
    let said = match entry::decode(&bytes) {
        Ok(Entry::Build(build)) => Said::Build(build),
        Ok(Entry::Observation(seen)) => Said::Observation(seen),
        _ => return Ok(None),
    };
    let withdrawn_by = indexed.withdrawn_by.filter(|by| *by < size);
    let mut statement = Statement {
        source,
        said,
        facts: None,
        inputs: None,
        withdrawn: withdrawn_by.is_some(),
    };
    let id = references_blob(statement.claim());
    let list = match id.filter(|_| needs_list(gathered, &statement)) {
        Some(id) => list(shared, gathered, entries, &indexed.place, id)?,
        None => None,
    };
    let references = list
        .as_deref()
        .and_then(|list| entry::decode_references(list).ok());
    statement.facts = match statement.claim().facts(references.as_ref()) {
        Ok(facts) => facts,
        Err(error) => {
            tracing::debug!(%error, "a list of references is not the one that is voted");
            None
        }
    };
    let inputs = inputs(shared, gathered, entries, &indexed.place, &mut statement)?;
    // A signature that no log carries counts only for a cache of the policy, and only where it can be checked.
    let is_unlogged = statement.source == Source::Unlogged;
    if is_unlogged
        && !shared
            .policy
            .caches
            .iter()
            .any(|cache| statement.is_signed_by(&cache.key))
    {
        return Ok(None);
    }
    let list_bytes = list.as_ref().map(Vec::len);
    let cost = logged_bytes(entries, &indexed.place, size, withdrawn_by)?
        .saturating_add(bytes.len())
        .saturating_add(list_bytes.unwrap_or_default())
        .saturating_add(inputs.map(|(_, bytes)| bytes).unwrap_or_default());
    let found = Found {
        place: indexed.place,
        voice: indexed.voice,
        bytes,
        withdrawn_by,
        cost,
        list: id.zip(list_bytes),
        inputs: inputs.map(|(id, _)| id),
    };
    Ok(Some(Read {
        statement,
        found,
        list,
    }))
}

/// The most bytes that the evidence of a statement takes apart from its own entry and list of references.
fn logged_bytes(
    entries: &mut BTreeMap<String, Entries>,
    place: &Place,
    size: u64,
    withdrawn_by: Option<u64>,
) -> Result<usize, StoreError> {
    let Place::Leaf { origin, .. } = place else {
        return Ok(AROUND_AN_ENTRY);
    };
    // A proof has at most one hash for each bit of the size.
    let hashes = usize::try_from(u64::BITS.saturating_sub(size.leading_zeros())).unwrap_or(64);
    let proof = hashes
        .saturating_mul(HASH_IN_A_PROOF)
        .saturating_add(AROUND_AN_ENTRY);
    let retraction = match (withdrawn_by, entries.get_mut(origin)) {
        (Some(by), Some(entries)) => entries.entry(by)?.len().saturating_add(proof),
        _ => 0,
    };
    Ok(proof
        .saturating_add(retraction)
        .saturating_add(origin.len()))
}

/// A build in a log that is left out adds no vote, so that nobody needs its references.
fn needs_list(gathered: &Gathered, statement: &Statement) -> bool {
    match (&statement.said, &statement.source) {
        (Said::Build(_), Source::Log { origin, .. }) => !gathered.shares.is_left_out(origin),
        _ => true,
    }
}

/// Adds a build's list of inputs, where a rule asks for it and it is there.
fn inputs(
    shared: &Shared,
    gathered: &mut Gathered,
    entries: &BTreeMap<String, Entries>,
    place: &Place,
    statement: &mut Statement,
) -> Result<Option<(BlobId, usize)>, StoreError> {
    let Said::Build(build) = &statement.said else {
        return Ok(None);
    };
    let wanted = shared.policy.asks_for_inputs() && needs_list(gathered, statement);
    let Some(id) = build.inputs_blob.filter(|_| wanted) else {
        return Ok(None);
    };
    let Some(bytes) = list(shared, gathered, entries, place, id)? else {
        return Ok(None);
    };
    statement.inputs = entry::decode_inputs(&bytes).ok();
    let length = bytes.len();
    gathered.blobs.insert(id, bytes);
    Ok(Some((id, length)))
}

/// A list of references or inputs, which is noted where it is missing.
fn list(
    shared: &Shared,
    gathered: &mut Gathered,
    entries: &BTreeMap<String, Entries>,
    place: &Place,
    id: BlobId,
) -> Result<Option<Vec<u8>>, StoreError> {
    let list = match (gathered.blobs.get(&id), place) {
        (Some(list), _) => Some(list.clone()),
        (None, Place::Unlogged { .. }) => shared.unlogged_blobs.get(&id),
        (None, Place::Leaf { origin, .. }) => match entries.get(origin) {
            Some(entries) => entries.mirror().blob(&id)?,
            None => None,
        },
    };
    if let (None, Place::Leaf { origin, .. }) = (&list, place)
        && !gathered.shares.is_left_out(origin)
    {
        let missing = gathered.missing.entry(origin.clone()).or_default();
        missing.insert(id);
    }
    Ok(list)
}

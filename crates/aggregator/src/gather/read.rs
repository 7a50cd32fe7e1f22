//! Reads what was said of some outputs out of the index and the mirrors.
//!
//! Only leaves below the size of the checkpoint that evidence is from; only logs of the policy; entries as they
//! stand, decoded again.

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::store_path::{HashPart, StorePath};
use quorix_trust::attestation::{BlobId, Entry};
use quorix_trust::evidence::{Said, Source, Statement};
use quorix_trust::ports::{IndexedStatement, Place, StoreError};
use quorix_wire::entry;

use super::{Found, Gathered};
use crate::index::references_blob;
use crate::mirror::Entries;
use crate::service::Shared;

/// Reads `wanted` into `gathered`, in place of what was read of them before.
pub(super) fn read(
    shared: &Shared,
    gathered: &mut Gathered,
    wanted: &BTreeSet<HashPart>,
) -> Result<(), StoreError> {
    let mut entries: BTreeMap<String, Entries> = gathered
        .logs
        .iter()
        .map(|seen| (seen.log.origin.clone(), Entries::new(seen.mirror.clone())))
        .collect();
    let mut bytes = gathered.bytes();
    for output in wanted {
        let (mut statements, mut found) = (Vec::new(), Vec::new());
        for indexed in shared.index.statements(output)? {
            let Some((statement, one)) = one(shared, gathered, &mut entries, indexed)? else {
                continue;
            };
            bytes = bytes.saturating_add(one.bytes.len());
            statements.push(statement);
            found.push(one);
        }
        for (position, cache) in shared.policy.caches.iter().enumerate() {
            // A signature that a log carries may be an old one, chosen by whoever keeps the log: the cache itself is
            // asked all the same, so that it is known if it signed two values.
            if !statements.iter().any(|statement| {
                statement.source == Source::Unlogged && statement.is_signed_by(&cache.key)
            }) {
                gathered.unheard.insert((position, output.clone()));
            }
        }
        gathered.evidence.outputs.insert(output.clone(), statements);
        gathered.found.insert(output.clone(), found);
        if bytes > shared.config.evidence_bytes_max {
            // The caller refuses; no more of it is held in memory until then.
            break;
        }
    }
    Ok(())
}

fn one(
    shared: &Shared,
    gathered: &mut Gathered,
    entries: &mut BTreeMap<String, Entries>,
    indexed: IndexedStatement,
) -> Result<Option<(Statement, Found)>, StoreError> {
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
        withdrawn: withdrawn_by.is_some(),
    };
    let references = match references_blob(statement.claim()) {
        Some(id) => references(shared, gathered, entries, &indexed.place, id)?,
        None => None,
    };
    statement.facts = match statement.claim().facts(references.as_ref()) {
        Ok(facts) => facts,
        Err(error) => {
            tracing::debug!(%error, "a list of references is not the one that is voted");
            None
        }
    };
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
    Ok(Some((
        statement,
        Found {
            place: indexed.place,
            bytes,
            withdrawn_by,
        },
    )))
}

/// The references in a blob, which is noted as used or as missing.
fn references(
    shared: &Shared,
    gathered: &mut Gathered,
    entries: &BTreeMap<String, Entries>,
    place: &Place,
    id: BlobId,
) -> Result<Option<BTreeSet<StorePath>>, StoreError> {
    let blob = match (gathered.blobs.get(&id), place) {
        (Some(blob), _) => Some(blob.clone()),
        (None, Place::Unlogged { .. }) => shared.unlogged_blobs.get(&id),
        (None, Place::Leaf { origin, .. }) => match entries.get(origin) {
            Some(entries) => entries.mirror().blob(&id)?,
            None => None,
        },
    };
    let Some(blob) = blob else {
        if let Place::Leaf { origin, .. } = place {
            gathered
                .missing
                .entry(origin.clone())
                .or_default()
                .insert(id);
        }
        return Ok(None);
    };
    let references = entry::decode_references(&blob).ok();
    gathered.blobs.insert(id, blob);
    Ok(references)
}

//! One bundle looked at by itself: its entries hashed and parsed, its tile of leaf hashes read, its blobs compared, and
//! for one's own log the look-up tables too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorix_tlog::bundle;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::note::VerifierKey;
use quorix_tlog::tile::{TILE_WIDTH, TileId, TilePath, hashes_prefix, parse_hashes};
use quorix_trust::attestation::{BlobId, Entry};
use quorix_trust::ports::{LogStore, StoreError, TileStore};

use crate::entry;
use crate::scan::counting::Counts;
use crate::scan::source::blocking;
use crate::scan::{LogSource, ReadError, blobs};

const WIDTH: u64 = TILE_WIDTH as u64;

/// A bundle that was looked at.
pub(super) struct Looked {
    /// Its number.
    pub(super) index: u64,
    /// How many entries it has.
    pub(super) width: u16,
    /// Leaf hashes of its entries; `None` if the bundle cannot be had.
    pub(super) leaves: Option<Vec<Hash>>,
    /// The tile of leaf hashes; `None` if it cannot be had.
    pub(super) tile: Option<Vec<Hash>>,
    pub(super) counts: Counts,
}

impl Looked {
    pub(super) fn first_problem(&self) -> String {
        self.counts
            .named
            .first()
            .map(ToString::to_string)
            .unwrap_or_default()
    }
}

/// Looks at the bundle `index` of a log of `size` entries by this key.
///
/// # Errors
/// It cannot be found out whether it is right.
pub(super) async fn look(
    source: &LogSource,
    key: &VerifierKey,
    (index, size): (u64, u64),
    with_blobs: bool,
) -> Result<Looked, ReadError> {
    let mut counts = Counts::default();
    let (entries_id, tile_id) = (TileId::entries(index), TileId::hashes(0, index));
    let width = entries_id.width_at(size);
    let path = |id| TilePath { id, width }.to_string();
    let tile = noted(
        source.hashes(tile_id, width).await,
        path(tile_id),
        &mut counts,
    )?;
    counts.tiles = 1;
    let bytes = noted(
        source.bundle(index, width).await,
        path(entries_id),
        &mut counts,
    )?;
    let Some(bytes) = bytes else {
        return Ok(Looked {
            index,
            width,
            leaves: None,
            tile,
            counts,
        });
    };
    let own = match source {
        LogSource::Own(store) => Some(Arc::clone(store)),
        _ => None,
    };
    let first = index.saturating_mul(WIDTH);
    let of_tree = tile.clone().unwrap_or_default();
    let key = key.clone();
    let (leaves, parsed, mut counts) = blocking(move || {
        let (leaves, parsed) = read(&bytes, width, first, &key, &mut counts);
        if let Some(store) = own {
            let leaves = (first..).zip(&leaves);
            for (position, (index, leaf)) in leaves.enumerate() {
                // The table is about what is in the tree: of an entry that is not, its hash says all.
                if of_tree.get(position).is_some_and(|hash| hash != leaf) {
                    continue;
                }
                check_tables(&*store, size, index, leaf, &mut counts)?;
            }
            check_retractions(&*store, &parsed, &mut counts)?;
        }
        Ok((leaves, parsed, counts))
    })
    .await?;
    if with_blobs {
        check_blobs(source, &parsed, &mut counts).await?;
    }
    Ok(Looked {
        index,
        width,
        leaves: Some(leaves),
        tile,
        counts,
    })
}

/// What was read, or `None` with the problem noted where the log itself is wrong.
fn noted<T>(
    read: Result<T, ReadError>,
    what: String,
    counts: &mut Counts,
) -> Result<Option<T>, ReadError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_of_the_log() => {
            counts.note(what, error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

type Parsed = Vec<(u64, Entry)>;

/// Hashes and parses entries, and counts what they are. A rotation that the log's key did not sign ends nothing.
fn read(
    bytes: &[u8],
    width: u16,
    first: u64,
    key: &VerifierKey,
    counts: &mut Counts,
) -> (Vec<Hash>, Parsed) {
    let entries = bundle::parse(bytes, width).unwrap_or_default();
    let mut leaves = Vec::with_capacity(entries.len());
    let mut parsed = Vec::new();
    for (index, bytes) in (first..).zip(entries) {
        counts.entries = counts.entries.saturating_add(1);
        leaves.push(leaf_hash(bytes));
        if let Some(rotation) = counts.rotation {
            let reason =
                format!("it follows the key rotation of entry {rotation}, which must be the last");
            counts.note(format!("entry {index}"), reason);
        }
        match entry::decode(bytes) {
            Ok(Entry::KeyRotation(rotation)) if rotation.successor_of(key).is_ok() => {
                counts.rotation = counts.rotation.or(Some(index));
            }
            Ok(entry) => {
                let retraction = matches!(entry, Entry::Retraction(_));
                counts.retractions = counts.retractions.saturating_add(u64::from(retraction));
                parsed.push((index, entry));
            }
            Err(_) => counts.opaque = counts.opaque.saturating_add(1),
        }
    }
    (leaves, parsed)
}

/// Reads each blob that the entries name once, and compares it with all of them.
async fn check_blobs(
    source: &LogSource,
    parsed: &Parsed,
    counts: &mut Counts,
) -> Result<(), ReadError> {
    let mut missing: BTreeSet<BlobId> = BTreeSet::new();
    for (index, entry) in parsed {
        let mut found = BTreeMap::new();
        for id in blobs::named(entry) {
            if missing.contains(&id) {
                continue;
            }
            match source.blob(&id).await {
                Ok(blob) => {
                    counts.blobs = counts.blobs.saturating_add(1);
                    found.insert(id, blob);
                }
                Err(error) if error.is_of_the_log() => {
                    counts.note(format!("entry {index}"), format!("names a blob: {error}"));
                    missing.insert(id);
                }
                Err(error) => return Err(error),
            }
        }
        if let Err(problem) = blobs::check(entry, &found) {
            counts.note(format!("entry {index}"), problem);
        }
    }
    Ok(())
}

/// The look-up table of leaf hashes must lead to this entry, or to a later one with the same bytes; what it says of a
/// retraction must be said by that entry.
fn check_tables(
    store: &dyn LogStore,
    size: u64,
    index: u64,
    leaf: &Hash,
    counts: &mut Counts,
) -> Result<(), ReadError> {
    let what = || format!("entry {index}");
    match store.index_of(leaf)? {
        None => counts.note(
            what(),
            "it is not in the table of leaf hashes, so it could be appended twice",
        ),
        Some(found) if found == index => {}
        Some(found)
            if found < size
                && stored_leaf(store, found)?.as_ref() == Some(leaf)
                && found > index => {}
        Some(found) => counts.note(
            what(),
            format!("the table of leaf hashes leads to entry {found} instead"),
        ),
    }
    let Some(retraction) = store.retraction_of(leaf)? else {
        return Ok(());
    };
    let named = match stored_entry(store, size, retraction)? {
        Some(Entry::Retraction(retraction)) => retraction.leaf_hashes.contains(leaf),
        _ => false,
    };
    if !named {
        let reason = format!(
            "the table of retractions says that entry {retraction} withdraws it, which does not"
        );
        counts.note(what(), reason);
    }
    Ok(())
}

/// What a retraction withdraws must be in the log, and in the table of retractions by it or a later one.
fn check_retractions(
    store: &dyn LogStore,
    parsed: &Parsed,
    counts: &mut Counts,
) -> Result<(), ReadError> {
    for (index, entry) in parsed {
        let Entry::Retraction(retraction) = entry else {
            continue;
        };
        for leaf in &retraction.leaf_hashes {
            if store.index_of(leaf)?.is_none() {
                counts.note(
                    format!("entry {index}"),
                    format!("it withdraws {leaf}, which is not in the log"),
                );
            }
            if store
                .retraction_of(leaf)?
                .is_none_or(|found| found < *index)
            {
                let reason =
                    format!("it withdraws {leaf}, but the table of retractions does not say so");
                counts.note(format!("entry {index}"), reason);
            }
        }
    }
    Ok(())
}

fn stored_leaf(store: &dyn TileStore, index: u64) -> Result<Option<Hash>, StoreError> {
    let tile = store
        .tile(TileId::hashes(0, index / WIDTH))?
        .unwrap_or_default();
    let width = u16::try_from(index % WIDTH)
        .unwrap_or(u16::MAX)
        .saturating_add(1);
    let hashes = hashes_prefix(&tile, width).and_then(|tile| parse_hashes(tile, width));
    Ok(hashes.ok().and_then(|hashes| hashes.last().copied()))
}

fn stored_entry(store: &dyn TileStore, size: u64, index: u64) -> Result<Option<Entry>, StoreError> {
    if index >= size {
        return Ok(None);
    }
    let bytes = store
        .tile(TileId::entries(index / WIDTH))?
        .unwrap_or_default();
    let count = u16::try_from(index % WIDTH)
        .unwrap_or(u16::MAX)
        .saturating_add(1);
    let bytes = bundle::prefix(&bytes, count).and_then(|bytes| bundle::parse(bytes, count));
    let entry = bytes
        .ok()
        .and_then(|entries| entries.last().map(|bytes| entry::decode(bytes)));
    Ok(entry.and_then(Result::ok))
}

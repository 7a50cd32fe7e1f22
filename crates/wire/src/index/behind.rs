//! The entries that an index does not cover yet, kept from one look-up for the next.
//!
//! They are the same for every output, and would be fetched again for each. They serve only an answer with the very tree in
//! which their inclusion was proved.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use quorix_tlog::hash::Hash;
use quorix_tlog::index::answer::Proven;

/// Most bytes of entries that are kept.
const BYTES_MAX: usize = 1 << 20;

/// Entries behind the index of one log, in the newest tree that was seen. Cheap where there are none.
#[derive(Debug, Default)]
pub(crate) struct Behind(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Size and root of the tree.
    tree: Option<(u64, Hash)>,
    entries: BTreeMap<u64, Vec<u8>>,
}

impl Behind {
    /// Those that this answer's index does not cover, as far as they are kept.
    pub(super) fn of(&self, proven: &Proven) -> BTreeMap<u64, Vec<u8>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.tree != Some(tree_of(proven)) {
            return BTreeMap::new();
        }
        let entries = kept.entries.range(proven.covered..);
        entries
            .map(|(index, bytes)| (*index, bytes.clone()))
            .collect()
    }

    /// Keeps what this answer's index does not cover of these verified entries, unless that is much.
    pub(super) fn keep(&self, proven: &Proven, entries: &BTreeMap<u64, Vec<u8>>) {
        let tree = Some(tree_of(proven));
        let lengths = entries
            .range(proven.covered..)
            .map(|(_, entry)| entry.len());
        let bytes = lengths.fold(0_usize, usize::saturating_add);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes > BYTES_MAX || kept.tree == tree {
            return;
        }
        let behind = entries.range(proven.covered..);
        *kept = Kept {
            tree,
            entries: behind
                .map(|(index, bytes)| (*index, bytes.clone()))
                .collect(),
        };
    }
}

fn tree_of(proven: &Proven) -> (u64, Hash) {
    let checkpoint = proven.checkpoint.checkpoint();
    (checkpoint.size, checkpoint.root)
}

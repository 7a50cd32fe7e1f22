//! What the verifiable index of a log is about: which keys an entry concerns, and asking a log what it says of an output.
//!
//! The mapping is fixed for the life of an index; every verifier, and whoever makes the index again, uses this one. An
//! entry about an output concerns the output's key. A retraction concerns the keys of the entries that it withdraws. A
//! key rotation, an entry of another system and an entry that does not parse concern none.

mod behind;
mod client;

pub(crate) use behind::Behind;
pub use client::{Cosigned, ENTRIES_MAX, Fresh, LogLookup, LookupError, Said, Witnessed, lookup};
pub(crate) use client::{entries_at, lookup_beside};

use std::collections::BTreeSet;

use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_tlog::hash::Hash;
use quorix_tlog::index::Key;
use quorix_trust::attestation::Entry;

use crate::entry;

const OUTPUT_DOMAIN: &str = "quorix/v1/output";

/// The key of an output: SHA-256 of `quorix/v1/output`, a zero byte, and its absolute store path.
#[must_use]
pub fn output_key(dir: &StoreDir, path: &StorePath) -> Key {
    Key::of(OUTPUT_DOMAIN, &dir.join(path))
}

/// What an entry concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Concern {
    /// One output.
    Output(Key),
    /// Whatever the earlier entries with these leaf hashes concern.
    Withdrawn(BTreeSet<Hash>),
    /// No key.
    Nothing,
}

/// What an entry concerns, from its bytes alone.
#[must_use]
pub fn concern(bytes: &[u8]) -> Concern {
    match entry::decode(bytes) {
        Ok(Entry::Retraction(retraction)) => Concern::Withdrawn(retraction.leaf_hashes),
        Ok(entry) => entry.output().map_or(Concern::Nothing, |(dir, path)| {
            Concern::Output(output_key(dir, path))
        }),
        Err(_) => Concern::Nothing,
    }
}

//! Finds entries of a log by index, by leaf hash, or by the output that they are about.
//!
//! An index leads straight to its entry; for anything else the whole log is read and verified, with a bar.

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::store_path::HashPart;
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_trust::attestation::Entry;
use quorix_wire::entry;
use quorix_wire::scan::Growth;

use super::which::{Opened, Problem};
use crate::commands::decide::asked;
use crate::commands::progress;
use crate::output::Failure;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Target {
    /// The entry at this index.
    Index(u64),
    /// Entries with this leaf hash.
    Leaf(Hash),
    /// Entries about this output.
    Output(HashPart),
}

/// An entry that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::commands) struct Found {
    /// Its index.
    pub(in crate::commands) index: u64,
    /// Its bytes.
    pub(in crate::commands) bytes: Vec<u8>,
    /// The newest retraction that withdraws it, where all of the log was read.
    pub(in crate::commands) withdrawn_by: Option<u64>,
}

impl Target {
    /// Reads an index, a leaf hash in base64, or a store path.
    pub(in crate::commands) fn parse(text: &str) -> Result<Self, Failure> {
        if let Ok(index) = text.parse() {
            return Ok(Self::Index(index));
        }
        if let Ok(leaf) = text.parse() {
            return Ok(Self::Leaf(leaf));
        }
        asked(text).map(Self::Output).map_err(|_| {
            Failure::wrong(format!(
                "`{text}` is not an entry\n  write its index, its leaf hash in base64 as `quorix log tail --json` prints it, or a store path"
            ))
        })
    }

    fn is(&self, index: u64, bytes: &[u8]) -> bool {
        match self {
            Self::Index(wanted) => *wanted == index,
            Self::Leaf(wanted) => *wanted == leaf_hash(bytes),
            Self::Output(wanted) => entry::decode(bytes).is_ok_and(|entry| {
                entry
                    .output()
                    .is_some_and(|(_, path)| path.hash_part() == *wanted)
            }),
        }
    }
}

/// The entries of the verified tree that any of the targets means, by index. Empty where there is none.
pub(in crate::commands) async fn find(
    opened: &Opened,
    checkpoint: &Checkpoint,
    targets: &[Target],
) -> Result<Vec<Found>, Failure> {
    let mut found = BTreeMap::new();
    let mut withdrawn: BTreeMap<Hash, u64> = BTreeMap::new();
    let indices: Option<BTreeSet<u64>> = targets
        .iter()
        .map(|target| match target {
            Target::Index(index) => Some(*index),
            _ => None,
        })
        .collect();
    if let Some(indices) = indices {
        for index in indices.into_iter().filter(|index| *index < checkpoint.size) {
            let growth = Growth::skipping(&opened.source, index, checkpoint).await;
            let mut growth = growth.map_err(Problem::from)?;
            let grown = growth
                .step(&opened.source, checkpoint)
                .await
                .map_err(Problem::from)?;
            let entries = grown.bundles.iter().flat_map(|bundle| bundle.entries());
            found.extend(
                entries
                    .filter(|(at, _)| *at == index)
                    .map(|(at, bytes)| (at, bytes.to_vec())),
            );
        }
    } else if checkpoint.size > 0 {
        let bar = progress::bar("looking");
        let mut growth = Growth::from_the_beginning();
        loop {
            let grown = growth
                .step(&opened.source, checkpoint)
                .await
                .map_err(Problem::from)?;
            for (index, bytes) in grown.bundles.iter().flat_map(|bundle| bundle.entries()) {
                if let Ok(Entry::Retraction(retraction)) = entry::decode(bytes) {
                    withdrawn.extend(retraction.leaf_hashes.into_iter().map(|leaf| (leaf, index)));
                }
                if targets.iter().any(|target| target.is(index, bytes)) {
                    found.insert(index, bytes.to_vec());
                }
            }
            progress::stands(&bar, grown.size, checkpoint.size);
            if grown.is_done {
                break;
            }
        }
        bar.finish_and_clear();
    }
    let found = found.into_iter().map(|(index, bytes)| {
        let by = withdrawn.get(&leaf_hash(&bytes)).copied();
        Found {
            index,
            bytes,
            withdrawn_by: by.filter(|by| *by > index),
        }
    });
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_named_by_index_leaf_hash_or_store_path() {
        assert_eq!(Target::parse("7").unwrap(), Target::Index(7));
        let leaf = leaf_hash(b"x");
        assert_eq!(
            Target::parse(&leaf.to_string()).unwrap(),
            Target::Leaf(leaf)
        );
        let hash = "93a4fjryvg1hz7bxki7wzd9cznsm20yx";
        let output = Target::Output(hash.parse().unwrap());
        for text in [
            hash.to_owned(),
            format!("/nix/store/{hash}-c"),
            format!("{hash}-c"),
        ] {
            assert_eq!(Target::parse(&text).unwrap(), output, "{text}");
        }
        for text in ["", "-1", "hello", "/nix/store/hello"] {
            let refused = Target::parse(text).unwrap_err().to_string();
            assert!(refused.contains("is not an entry"), "{refused}");
        }
    }
}

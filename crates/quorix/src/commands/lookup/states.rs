//! What became of each entry about an output, from all that its log says about that output.
//!
//! The answer is complete, so an entry that no later retraction in it names is in force as far as the log goes.

use std::collections::{BTreeMap, BTreeSet};

use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_trust::attestation::{Entry, Retraction};
use quorix_wire::entry;

/// What became of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing withdrew it.
    InForce,
    /// A later entry withdrew it.
    Withdrawn {
        /// The first that did.
        by: u64,
    },
    /// It withdraws others.
    Withdrawal,
}

impl State {
    /// For programs.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::InForce => "in-force",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Withdrawal => "withdrawal",
        }
    }

    /// The entry that withdrew it.
    pub(super) const fn withdrawn_by(self) -> Option<u64> {
        match self {
            Self::Withdrawn { by } => Some(by),
            Self::InForce | Self::Withdrawal => None,
        }
    }
}

/// One state for each entry. They are all that concern the output, by ascending index.
pub(super) fn states(entries: &[(u64, Vec<u8>)]) -> Vec<State> {
    // A retraction names up to a thousand leaves each; only those that are here are kept.
    let here: BTreeSet<Hash> = entries.iter().map(|(_, bytes)| leaf_hash(bytes)).collect();
    let mut withdrawn: BTreeMap<Hash, u64> = BTreeMap::new();
    let mut states = Vec::with_capacity(entries.len());
    // From the end, so that what is known at an entry is what comes after it, the nearest last.
    for (index, bytes) in entries.iter().rev() {
        if let Some(retraction) = as_retraction(bytes) {
            let named = retraction.leaf_hashes.into_iter();
            withdrawn.extend(
                named
                    .filter(|leaf| here.contains(leaf))
                    .map(|leaf| (leaf, *index)),
            );
            states.push(State::Withdrawal);
            continue;
        }
        let by = withdrawn.get(&leaf_hash(bytes)).copied();
        states.push(by.map_or(State::InForce, |by| State::Withdrawn { by }));
    }
    states.reverse();
    states
}

fn as_retraction(bytes: &[u8]) -> Option<Retraction> {
    match entry::decode(bytes) {
        Ok(Entry::Retraction(retraction)) => Some(retraction),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use quorix_testkit::entries::{a_retraction_of, an_attestation, bytes_of};

    use super::*;

    #[test]
    fn an_entry_is_withdrawn_by_the_first_retraction_after_it_and_said_again_it_is_in_force() {
        let (a, b) = (
            an_attestation().bytes(),
            an_attestation().saying("B").bytes(),
        );
        let of_a = bytes_of(&a_retraction_of(&[&a]));
        let of_both = bytes_of(&a_retraction_of(&[&a, &b]));
        let entries = [
            (3, a.clone()),
            (5, of_a.clone()),
            (6, b.clone()),
            (8, a.clone()),
            (9, of_both),
            (12, of_a),
            (20, b),
        ];
        let by = |by| State::Withdrawn { by };
        let expected = [
            by(5),
            State::Withdrawal,
            by(9),
            by(9),
            State::Withdrawal,
            State::Withdrawal,
            State::InForce,
        ];
        assert_eq!(states(&entries), expected);
        assert_eq!(states(&[]), []);
    }
}

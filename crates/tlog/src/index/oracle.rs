//! The root of a map, computed from its definition: no pages, no updates, values of any length.

use super::{Key, inner_hash, leaf_hash};
use crate::hash::{EMPTY_ROOT, Hash};

/// Root over keys (in any order, each once) with their values.
pub(super) fn root(map: &[(Key, Vec<u8>)]) -> Hash {
    node(map, 0).unwrap_or(EMPTY_ROOT)
}

fn node(map: &[(Key, Vec<u8>)], bit: u16) -> Option<Hash> {
    match map {
        [] => None,
        [(key, value)] => Some(leaf_hash(key, value)),
        several => {
            let (right, left): (Vec<_>, Vec<_>) =
                several.iter().cloned().partition(|(key, _)| key.bit(bit));
            match (node(&left, bit + 1), node(&right, bit + 1)) {
                (Some(left), Some(right)) => Some(inner_hash(bit, &left, &right)),
                (one, other) => one.or(other),
            }
        }
    }
}

//! The compact range of a whole tree: its size and the roots of its perfect subtrees, left to right.
//!
//! That is all an append needs: one hash for each bit that is set in the size, and on average two
//! hashings per entry. It never keeps entries or inner nodes. Shape: RFC 6962 §2.1.

use crate::{
    MAX_TREE_SIZE,
    hash::{EMPTY_ROOT, Hash, node_hash},
};

/// A tree that can grow and tell its root, but holds only O(log size) hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: u64,
    /// Roots of the perfect subtrees, largest first; as many as bits are set in `size`.
    nodes: Vec<Hash>,
}

/// Parts that cannot be a compact range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompactRangeError {
    /// The number of hashes does not fit the size.
    #[error("a tree of size {size} has {expected} perfect subtrees, but {given} hashes were given")]
    WrongCount {
        /// The size that was given.
        size: u64,
        /// How many hashes that size needs.
        expected: usize,
        /// How many were given.
        given: usize,
    },
    /// The size is beyond [`MAX_TREE_SIZE`].
    #[error("tree size {size} is beyond the largest supported size of 2^63 - 1")]
    TooLarge {
        /// The size that was given.
        size: u64,
    },
}

impl CompactRange {
    /// The tree without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: 0,
            nodes: Vec::new(),
        }
    }

    /// Restores what [`size`](Self::size) and [`nodes`](Self::nodes) gave. The hashes themselves
    /// cannot be checked here: compare [`root`](Self::root) with a signed checkpoint.
    ///
    /// # Errors
    /// A count of hashes that does not fit the size, or a size beyond [`MAX_TREE_SIZE`].
    pub fn from_parts(size: u64, nodes: Vec<Hash>) -> Result<Self, CompactRangeError> {
        if size > MAX_TREE_SIZE {
            return Err(CompactRangeError::TooLarge { size });
        }
        let (expected, given) = (size.count_ones() as usize, nodes.len());
        if expected != given {
            return Err(CompactRangeError::WrongCount {
                size,
                expected,
                given,
            });
        }
        Ok(Self { size, nodes })
    }

    /// Number of entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the perfect subtrees, largest (leftmost) first.
    #[must_use]
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// Appends one entry by its leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        self.push_and_visit(leaf, |_, _| ());
    }

    /// Appends one entry and reports every subtree that it completes, as height (0 = the leaf
    /// itself) and root, lowest first.
    pub(crate) fn push_and_visit(&mut self, leaf: Hash, mut completed: impl FnMut(u32, Hash)) {
        let mut node = leaf;
        completed(0, node);
        // Each trailing 1 of the size is a perfect subtree that the new one completes to a pair.
        for height in 1..=self.size.trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                node = node_hash(&left, &node);
                completed(height, node);
            }
        }
        self.nodes.push(node);
        // Starts at 2^63 - 1 at most: no process lives long enough to reach the end of 64 bits.
        self.size = self.size.saturating_add(1);
    }

    /// Root of the tree (RFC 6962 §2.1); [`EMPTY_ROOT`] without entries.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold_right(&self.nodes)
    }
}

/// Root over neighbouring perfect subtrees of falling size: the rightmost pair is joined first.
pub(crate) fn fold_right(nodes: &[Hash]) -> Hash {
    let Some((last, left)) = nodes.split_last() else {
        return EMPTY_ROOT;
    };
    left.iter()
        .rev()
        .fold(*last, |right, left| node_hash(left, &right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle;

    #[test]
    fn its_root_is_the_tree_hash_at_every_size() {
        let leaves = oracle::leaves(600);
        let mut range = CompactRange::new();
        for size in 0..=leaves.len() {
            assert_eq!(range.root(), oracle::root(&leaves[..size]), "size {size}");
            let restored = CompactRange::from_parts(range.size(), range.nodes().to_vec());
            assert_eq!(restored.as_ref(), Ok(&range));
            if let Some(leaf) = leaves.get(size) {
                range.push(*leaf);
            }
        }
    }

    #[test]
    fn parts_that_do_not_fit_the_size_are_refused() {
        let wrong = CompactRangeError::WrongCount {
            size: 7,
            expected: 3,
            given: 1,
        };
        assert_eq!(CompactRange::from_parts(7, vec![EMPTY_ROOT]), Err(wrong));
        let too_large = CompactRangeError::TooLarge { size: 1 << 63 };
        assert_eq!(
            CompactRange::from_parts(1 << 63, vec![EMPTY_ROOT]),
            Err(too_large)
        );
    }

    #[test]
    fn a_range_at_the_largest_size_still_has_a_root_and_grows() {
        let mut range = CompactRange::from_parts(MAX_TREE_SIZE, vec![EMPTY_ROOT; 63]).unwrap();
        range.push(EMPTY_ROOT);
        assert_eq!((range.size(), range.nodes().len()), (1 << 63, 1));
        assert_eq!(range.root(), range.nodes()[0]);
    }
}

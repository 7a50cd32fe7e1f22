//! Inclusion and consistency proofs: strict verifiers, and provers over tiles.
//!
//! The verifiers follow RFC 9162 §2.1.3.2 and §2.1.4.2 to the letter: an index out of range, one
//! hash too many or too few, or any wrong bit is an error. They never hash a surplus hash.
//!
//! A valid path does not bind the tree's size: always take size and root together from one verified
//! checkpoint.

use crate::hash::{EMPTY_ROOT, Hash, node_hash};

mod prove;

pub use prove::{
    ProveError, TileReader, prove_consistency, prove_inclusion, prove_older_root, root_of,
};

/// Most hashes of an inclusion proof in a tree whose size fits 64 bits; also what a reader of
/// proofs may allocate at most. Consistency proofs of trees below 2^62 entries have at most 63.
pub const MAX_PROOF_LENGTH: usize = 64;

/// A proof does not show what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is no such leaf in a tree of that size.
    #[error("index {index} is not in a tree of {size} entries")]
    IndexOutOfRange {
        /// The leaf's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The newer tree is smaller than the older one: the log was rolled back.
    #[error("the newer tree has {new} entries, fewer than the {old} of the older one")]
    Shrunk {
        /// Size of the older tree.
        old: u64,
        /// Size of the newer tree.
        new: u64,
    },
    /// Two trees of one size have different roots: the log shows two histories. Where both are
    /// signed, this is proof of equivocation.
    #[error("two trees of {size} entries have different roots {old_root} and {new_root}")]
    Forked {
        /// Size of both trees.
        size: u64,
        /// Root of the older one.
        old_root: Hash,
        /// Root of the newer one.
        new_root: Hash,
    },
    /// The tree without entries has another root than [`EMPTY_ROOT`].
    #[error("a tree without entries cannot have the root {root}")]
    EmptyTreeWithRoot {
        /// The root that was claimed.
        root: Hash,
    },
    /// The proof ends too early.
    #[error("the proof of {given} hashes is too short")]
    Missing {
        /// How many hashes it has.
        given: usize,
    },
    /// The proof has hashes left over.
    #[error("the proof of {given} hashes is too long")]
    Surplus {
        /// How many hashes it has.
        given: usize,
    },
    /// The proof leads to another root than that of the tree (the newer one, for consistency). A
    /// failed proof shows nothing about the log: anyone can write one.
    #[error("the proof leads to the root {computed}, not to {expected}")]
    WrongRoot {
        /// What the proof leads to.
        computed: Hash,
        /// The tree's root.
        expected: Hash,
    },
    /// The proof leads exactly to the newer root, but from another older one: the newer tree does
    /// not extend the older one. Where both are signed, this is proof of equivocation.
    ///
    /// Where the older size is a power of two its root is a part of the proof, and a rewritten log
    /// ends in [`ProofError::WrongRoot`] like garbage does: use [`verify_older_root`] to tell.
    #[error("the newer tree extends a tree with the root {computed}, not the one with {expected}")]
    WrongOldRoot {
        /// The older root that the newer tree extends.
        computed: Hash,
        /// The older root that was given.
        expected: Hash,
    },
}

/// Checks that `leaf` (a leaf hash) is at `index` of the tree with that `size` and `root`.
///
/// # Errors
/// Whatever keeps the proof from showing exactly that (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::IndexOutOfRange { index, size });
    }
    let given = proof.len();
    let mut path = Path {
        node: index,
        last: size.saturating_sub(1),
    };
    let mut computed = *leaf;
    for sibling in proof {
        computed = match path.side().ok_or(ProofError::Surplus { given })? {
            Side::Left => node_hash(sibling, &computed),
            Side::Right => node_hash(&computed, sibling),
        };
        path.ascend();
    }
    if path.last != 0 {
        return Err(ProofError::Missing { given });
    }
    if computed != *root {
        return Err(ProofError::WrongRoot {
            computed,
            expected: *root,
        });
    }
    Ok(())
}

/// Checks that the tree of size `new` and root `new_root` extends the one of size `old` and root
/// `old_root`: the log only appended in between.
///
/// Equal sizes need equal roots and an empty proof. A tree without entries has [`EMPTY_ROOT`], is
/// extended by every tree, and needs an empty proof.
///
/// # Errors
/// Whatever keeps the proof from showing exactly that (RFC 9162 §2.1.4.2); [`ProofError::Shrunk`],
/// [`ProofError::Forked`] and [`ProofError::WrongOldRoot`] tell of the log itself.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    for (size, root) in [(old, old_root), (new, new_root)] {
        if size == 0 && *root != EMPTY_ROOT {
            return Err(ProofError::EmptyTreeWithRoot { root: *root });
        }
    }
    if old == new && old_root != new_root {
        return Err(ProofError::Forked {
            size: old,
            old_root: *old_root,
            new_root: *new_root,
        });
    }
    let given = proof.len();
    if old == 0 || old == new {
        return if given == 0 {
            Ok(())
        } else {
            Err(ProofError::Surplus { given })
        };
    }
    // The older tree of a power of two is itself the subtree at which the two trees part.
    let (seed, siblings) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(ProofError::Missing { given })?
    };
    let (computed_old, computed_new) = climb(old, new, seed, siblings, given)?;
    if computed_new != *new_root {
        return Err(ProofError::WrongRoot {
            computed: computed_new,
            expected: *new_root,
        });
    }
    if computed_old != *old_root {
        return Err(ProofError::WrongOldRoot {
            computed: computed_old,
            expected: *old_root,
        });
    }
    Ok(())
}

/// The root that the first `old` entries of the newer tree have, from a proof that leads exactly to
/// `new_root`: if a log signed another root at that size, this is the proof of its equivocation.
///
/// The proof is that of [`prove_older_root`]: a consistency proof that, where `old` is a power of
/// two, begins with the older root too.
///
/// # Errors
/// The proof does not lead to the newer root; it shows nothing about the log then.
pub fn verify_older_root(
    old: u64,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<Hash, ProofError> {
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    let given = proof.len();
    if old == 0 || old == new {
        let older = if old == 0 { EMPTY_ROOT } else { *new_root };
        return if given == 0 {
            Ok(older)
        } else {
            Err(ProofError::Surplus { given })
        };
    }
    let (seed, siblings) = proof.split_first().ok_or(ProofError::Missing { given })?;
    let (older, newer) = climb(old, new, seed, siblings, given)?;
    if newer != *new_root {
        return Err(ProofError::WrongRoot {
            computed: newer,
            expected: *new_root,
        });
    }
    Ok(older)
}

/// Roots of the older and the newer tree from the subtree at which they part and the hashes beside
/// its path, for 0 < `old` < `new`. `given` is only for errors.
fn climb(
    old: u64,
    new: u64,
    seed: &Hash,
    siblings: &[Hash],
    given: usize,
) -> Result<(Hash, Hash), ProofError> {
    let mut path = Path {
        node: old.saturating_sub(1),
        last: new.saturating_sub(1),
    };
    path.shift(path.node.trailing_ones());
    let (mut older, mut newer) = (*seed, *seed);
    for sibling in siblings {
        match path.side().ok_or(ProofError::Surplus { given })? {
            Side::Left => {
                older = node_hash(sibling, &older);
                newer = node_hash(sibling, &newer);
            }
            Side::Right => newer = node_hash(&newer, sibling),
        }
        path.ascend();
    }
    if path.last != 0 {
        return Err(ProofError::Missing { given });
    }
    Ok((older, newer))
}

/// A way from a node up to the root: `node` and `last` are the RFC's fn and sn, the places of the
/// current node and of the rightmost node in the current row.
struct Path {
    node: u64,
    last: u64,
}

/// On which side of the current node its sibling is.
enum Side {
    Left,
    Right,
}

impl Path {
    /// Where the next sibling belongs; `None` at the root.
    const fn side(&self) -> Option<Side> {
        if self.last == 0 {
            None
        } else if self.node & 1 == 1 || self.node == self.last {
            Some(Side::Left)
        } else {
            Some(Side::Right)
        }
    }

    /// Goes to the parent, from a last node without right sibling first up to the row where it
    /// has a left one.
    const fn ascend(&mut self) {
        if self.node & 1 == 0 && self.node == self.last {
            self.shift(self.node.trailing_zeros());
        }
        self.shift(1);
    }

    const fn shift(&mut self, rows: u32) {
        // A node of 0 has 64 trailing zeros; shifting everything out leaves 0, the root.
        self.node = if rows < u64::BITS {
            self.node >> rows
        } else {
            0
        };
        self.last = if rows < u64::BITS {
            self.last >> rows
        } else {
            0
        };
    }
}

#[cfg(test)]
mod tests;

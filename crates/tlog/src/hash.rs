//! The SHA-256 hashes of an RFC 6962 tree: of a leaf, of an inner node, of the empty tree.
//!
//! Leaves and nodes are hashed under different prefixes, so a node can never be passed off as an
//! entry. This module never hashes without one of the two prefixes. Specification: RFC 6962 §2.1.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use crate::base64;

/// Length of every hash in bytes.
pub const HASH_LENGTH: usize = 32;

/// The root of the tree without entries: SHA-256 of nothing (RFC 6962 §2.1).
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

const LEAF_PREFIX: u8 = 0x00;
const NODE_PREFIX: u8 = 0x01;

/// One hash of a tree: of a leaf, of an inner node or of the whole tree.
///
/// Its text form is standard base64 with padding, 44 characters, as in C2SP checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; HASH_LENGTH]);

/// Hash of a leaf: SHA-256 of 0x00 and the entry's bytes (RFC 6962 §2.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let digest = Sha256::new()
        .chain_update([LEAF_PREFIX])
        .chain_update(entry);
    Hash(digest.finalize().into())
}

/// Hash of an inner node: SHA-256 of 0x01 and its two children (RFC 6962 §2.1).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    // In one piece: a tree hashes one node for every leaf, and three updates cost as much as half a compression.
    let mut node = [NODE_PREFIX; 1 + 2 * HASH_LENGTH];
    if let Some((_, children)) = node.split_first_mut() {
        let (to_left, to_right) = children.split_at_mut(HASH_LENGTH);
        to_left.copy_from_slice(&left.0);
        to_right.copy_from_slice(&right.0);
    }
    Hash(Sha256::digest(node).into())
}

impl Hash {
    /// Takes 32 bytes that are a hash already; nothing is computed.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; HASH_LENGTH]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HASH_LENGTH] {
        &self.0
    }

    /// 64 lowercase hexadecimal digits, for people and for names of files.
    #[must_use]
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

/// A text is not a hash in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hash: expected 44 characters of standard base64 with padding, found {length} bytes")]
pub struct HashParseError {
    /// Length in bytes of the text that was refused.
    pub length: usize,
}

impl FromStr for Hash {
    type Err = HashParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = HashParseError { length: text.len() };
        // The length first: a hostile text is not decoded, however long.
        if text.len() != BASE64.encode_len(HASH_LENGTH) {
            return Err(refused);
        }
        let bytes = base64::decode(text).map_err(|_| refused)?;
        Ok(Self(bytes.try_into().map_err(|_| refused)?))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_root_is_sha_256_of_nothing() {
        assert_eq!(EMPTY_ROOT.as_bytes()[..], Sha256::digest(b"")[..]);
    }

    #[test]
    fn leaves_and_nodes_are_hashed_apart() {
        // The vectors of RFC 6962 implementations: the empty entry, and one inner node.
        let empty_entry = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        assert_eq!(leaf_hash(b"").to_hex(), empty_entry);
        let (left, right) = (leaf_hash(b"left"), leaf_hash(b"right"));
        let joined = [left.as_bytes().as_slice(), right.as_bytes()].concat();
        assert_ne!(node_hash(&left, &right), leaf_hash(&joined));
        assert_ne!(node_hash(&left, &right), node_hash(&right, &left));
    }

    #[test]
    fn the_text_form_has_one_spelling() {
        let text = EMPTY_ROOT.to_string();
        assert_eq!(text, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(text.parse(), Ok(EMPTY_ROOT));
        // Same bytes but for the unused bits of the last character.
        let trailing_bits = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=";
        let url_safe = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=";
        let refused = Err(HashParseError { length: 44 });
        assert_eq!(trailing_bits.parse::<Hash>(), refused);
        assert_eq!(url_safe.parse::<Hash>(), refused);
        assert_eq!("".parse::<Hash>(), Err(HashParseError { length: 0 }));
        assert_eq!(
            text.trim_end_matches('=').parse::<Hash>(),
            Err(HashParseError { length: 43 })
        );
    }
}

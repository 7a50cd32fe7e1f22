//! The verifiable index of a log: which entries concern a key, with proof that there are no others.
//!
//! A map from 256-bit keys to ordered lists of entry indices, as a path-compressed binary trie whose root commits to
//! every key and every list. The map after each [`STEP`] entries of the log is a pure function of those entries, and its
//! root is one leaf of a second log, `<origin>/index`, under the same key. Whoever has the entries can compute every
//! leaf of it again; nobody can be shown a map that was not signed.
//!
//! What an entry's keys are is not known here. Hashing of the trie: as `filippo.io/torchwood/mpt` (§"Tree Snapshots" and
//! §"Key Proofs" of its documentation), whose published vectors the tests use.
//!
//! - [`key_list`]: the list of one key as a small RFC 6962 log
//! - [`page`] and [`trie`]: how the map is kept and grown, over any store of pages
//! - [`proof`]: proofs of presence and absence, and their strict verifier
//! - [`statement`]: one leaf of the output log
//! - [`answer`]: what is sent for one look-up, and its verification down to the log's key
//! - [`proven`]: entries with their proofs of inclusion

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::hash::Hash;
use crate::note::{KeyError, KeyName, SigningKey, VerifierKey};

pub mod answer;
pub mod key_list;
pub mod page;
pub mod proof;
pub mod proven;
pub mod statement;
pub mod trie;

mod cursor;

/// Entries of the log between two states of the map that are signed. Fixed for ever: every leaf of the output log
/// follows from it.
pub const STEP: u64 = 16;

/// What is appended to a log's name to name the log of its index.
pub const NAME_SUFFIX: &str = "/index";

/// Bits of a key.
const KEY_BITS: u16 = 256;

const LEAF_PREFIX: u8 = 0x00;
const INNER_PREFIX: u8 = 0x01;

/// The key that verifies the output log of the log with this key: the same public key, with [`NAME_SUFFIX`] after its
/// name, and so with another id.
///
/// # Errors
/// [`KeyError::BadName`]: the name would be too long.
pub fn verifier_of(log: &VerifierKey) -> Result<VerifierKey, KeyError> {
    Ok(log.renamed(name_of(log.name())?))
}

/// The key that signs the output log of the log with this key; see [`verifier_of`].
///
/// # Errors
/// [`KeyError::BadName`]: the name would be too long.
pub fn signer_of(log: &SigningKey) -> Result<SigningKey, KeyError> {
    Ok(log.renamed(name_of(log.verifier().name())?))
}

fn name_of(log: &KeyName) -> Result<KeyName, KeyError> {
    format!("{log}{NAME_SUFFIX}").parse()
}

/// A key of the index: a hash of whatever it stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// Takes 32 bytes that are a hash already; nothing is computed.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// SHA-256 of a domain, a zero byte and a name. The domain has no zero byte.
    #[must_use]
    pub fn of(domain: &str, name: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(domain)
            .chain_update([0])
            .chain_update(name);
        Self(digest.finalize().into())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lowercase hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// Reads what [`Key::to_hex`] prints; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 {
            return None;
        }
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// The bit at a place, from the most significant one of the first byte; false beyond the end.
    fn bit(&self, place: u16) -> bool {
        let byte = self.0.get(usize::from(place / 8)).copied().unwrap_or(0);
        byte & (0x80 >> (place % 8)) != 0
    }

    /// The half byte at a depth of 0 to 63.
    fn nibble(&self, depth: u8) -> u8 {
        let byte = self.0.get(usize::from(depth / 2)).copied().unwrap_or(0);
        if depth.is_multiple_of(2) {
            byte >> 4
        } else {
            byte & 0x0f
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Hash of one key with its value: SHA-256 of 0x00, and key and value each after its length. Values are shorter than
/// 128 bytes, so that a length is one byte.
fn leaf_hash(key: &Key, value: &[u8]) -> Hash {
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    let digest = Sha256::new()
        .chain_update([LEAF_PREFIX, 32])
        .chain_update(key.0)
        .chain_update([length])
        .chain_update(value);
    Hash::from_bytes(digest.finalize().into())
}

/// Hash of an inner node: SHA-256 of 0x01, the place of the first bit in which the keys below differ, and the hashes of
/// those with 0 and with 1 there.
fn inner_hash(bit: u16, left: &Hash, right: &Hash) -> Hash {
    let mut place = Vec::with_capacity(2);
    write_place(&mut place, bit);
    let digest = Sha256::new()
        .chain_update([INNER_PREFIX])
        .chain_update(&place)
        .chain_update(left.as_bytes())
        .chain_update(right.as_bytes());
    Hash::from_bytes(digest.finalize().into())
}

/// A place of a bit (0 to 255) as a varint: one byte below 128, else two.
fn write_place(bytes: &mut Vec<u8>, bit: u16) {
    let low = u8::try_from(bit & 0x7f).unwrap_or(0);
    if bit < 0x80 {
        bytes.push(low);
    } else {
        bytes.extend_from_slice(&[low | 0x80, u8::try_from(bit >> 7).unwrap_or(0)]);
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

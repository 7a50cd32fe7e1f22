//! The trie cut into pages of four bits, which is how it is stored.
//!
//! A page stands for all keys with one prefix of half bytes, of which there are at least two (or one page with fewer,
//! the root). For each next half byte it has nothing, the one key there with its value, or the hash of a page below.
//! What is hashed is the binary trie; the inner nodes inside a page are computed when they are needed, at most 15.

use super::key_list::{VALUE_LENGTH, Value};
use super::{Key, inner_hash, leaf_hash};
use crate::hash::{EMPTY_ROOT, HASH_LENGTH, Hash};

/// Ways out of a page.
const EXITS: usize = 16;

/// Bits that one page decides.
pub(super) const PAGE_BITS: u16 = 4;

/// Depth of the last page: a key has 64 half bytes.
pub(super) const MAX_DEPTH: u8 = 63;

/// Which page: its depth in half bytes, and the prefix that all its keys have, padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageId {
    depth: u8,
    prefix: Key,
}

impl PageId {
    /// The page of all keys.
    pub const ROOT: Self = Self {
        depth: 0,
        prefix: Key([0; 32]),
    };

    /// Half bytes that all keys of the page share.
    #[must_use]
    pub const fn depth(&self) -> u8 {
        self.depth
    }

    /// A key for stores: the length of the prefix in bits, and its bytes. Pages of one depth lie together.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let bits = self.depth.saturating_mul(4);
        let length = usize::from(self.depth).div_ceil(2);
        let prefix = self.prefix.0.get(..length).unwrap_or_default();
        [&[bits], prefix].concat()
    }

    /// The page behind an exit; `None` below the last one.
    pub(super) fn below(&self, nibble: u8) -> Option<Self> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        let mut prefix = self.prefix;
        let shifted = if self.depth.is_multiple_of(2) {
            nibble << 4
        } else {
            nibble
        };
        if let Some(byte) = prefix.0.get_mut(usize::from(self.depth / 2)) {
            *byte |= shifted;
        }
        Some(Self {
            depth: self.depth.saturating_add(1),
            prefix,
        })
    }

    /// Place of the first bit that the page decides.
    pub(super) fn first_bit(&self) -> u16 {
        u16::from(self.depth).saturating_mul(PAGE_BITS)
    }
}

/// What is behind one half byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Exit {
    /// No key.
    #[default]
    Nothing,
    /// One key.
    Leaf(Key, Value),
    /// Several keys: the hash of the node that they have in common.
    Page(Hash),
}

impl Exit {
    fn hash(&self) -> Option<Hash> {
        match self {
            Self::Nothing => None,
            Self::Leaf(key, value) => Some(leaf_hash(key, &value.to_bytes())),
            Self::Page(hash) => Some(*hash),
        }
    }
}

/// One page of the trie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    exits: [Exit; EXITS],
}

impl Page {
    pub(super) fn exit(&self, nibble: u8) -> Exit {
        self.exits
            .get(usize::from(nibble))
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn set(&mut self, nibble: u8, exit: Exit) {
        if let Some(place) = self.exits.get_mut(usize::from(nibble)) {
            *place = exit;
        }
    }

    /// Hash of the node that all keys of this page have in common; [`EMPTY_ROOT`] without keys.
    pub(super) fn hash(&self, first_bit: u16) -> Hash {
        let hashes = self.exits.map(|exit| exit.hash());
        join(&hashes, first_bit).unwrap_or(EMPTY_ROOT)
    }

    /// The way that a look-up of `key` takes through the page: the exit that it leaves by, and the nodes beside the way
    /// with the place of the bit that decided, from the top. `None` in a page without keys.
    pub(super) fn descend(&self, key: &Key, first_bit: u16) -> Option<(u8, Vec<(u16, Hash)>)> {
        let hashes = self.exits.map(|exit| exit.hash());
        let (mut range, mut bit, mut start) = (hashes.as_slice(), first_bit, 0_u8);
        let mut beside = Vec::new();
        while range.len() > 1 {
            let half = range.len() / 2;
            let (left, right) = range.split_at_checked(half)?;
            let below = bit.saturating_add(1);
            let go_right = match (join(left, below), join(right, below)) {
                (None, None) => return None,
                (Some(_), None) => false,
                (None, Some(_)) => true,
                (Some(left), Some(right)) => {
                    let go_right = key.bit(bit);
                    beside.push((bit, if go_right { left } else { right }));
                    go_right
                }
            };
            range = if go_right { right } else { left };
            if go_right {
                start = start.saturating_add(u8::try_from(half).unwrap_or(u8::MAX));
            }
            bit = below;
        }
        range.first()?.as_ref()?;
        Some((start, beside))
    }

    /// The page as it is stored: which exits have a key, which have a page below, then keys with their values and
    /// hashes in the order of the exits.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (mut leaves, mut pages) = (0_u16, 0_u16);
        let mut body = Vec::new();
        for (place, exit) in (0_u32..).zip(&self.exits) {
            let mark = 1_u16.checked_shl(place).unwrap_or(0);
            match exit {
                Exit::Nothing => {}
                Exit::Leaf(key, value) => {
                    leaves |= mark;
                    body.extend_from_slice(&key.0);
                    body.extend_from_slice(&value.to_bytes());
                }
                Exit::Page(hash) => {
                    pages |= mark;
                    body.extend_from_slice(hash.as_bytes());
                }
            }
        }
        [leaves.to_be_bytes().as_slice(), &pages.to_be_bytes(), &body].concat()
    }

    /// Reads what [`Page::to_bytes`] gives; `None` for any other bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (leaves, rest) = bytes.split_first_chunk::<2>()?;
        let (pages, mut rest) = rest.split_first_chunk::<2>()?;
        let (leaves, pages) = (u16::from_be_bytes(*leaves), u16::from_be_bytes(*pages));
        if leaves & pages != 0 {
            return None;
        }
        let mut page = Self::default();
        for (place, exit) in (0_u32..).zip(&mut page.exits) {
            let mark = 1_u16.checked_shl(place).unwrap_or(0);
            if leaves & mark != 0 {
                let (key, after) = rest.split_first_chunk::<32>()?;
                let (value, after) = after.split_first_chunk::<VALUE_LENGTH>()?;
                *exit = Exit::Leaf(Key(*key), Value::from_bytes(value));
                rest = after;
            } else if pages & mark != 0 {
                let (hash, after) = rest.split_first_chunk::<HASH_LENGTH>()?;
                *exit = Exit::Page(Hash::from_bytes(*hash));
                rest = after;
            }
        }
        rest.is_empty().then_some(page)
    }
}

/// Hash of the node over neighbouring exits, of which there is a power of two: one that has keys on one side only is not
/// a node of its own.
fn join(hashes: &[Option<Hash>], bit: u16) -> Option<Hash> {
    let (left, right) = match hashes {
        [] => return None,
        [one] => return *one,
        more => more.split_at(more.len() / 2),
    };
    let below = bit.saturating_add(1);
    match (join(left, below), join(right, below)) {
        (Some(left), Some(right)) => Some(inner_hash(bit, &left, &right)),
        (one, other) => one.or(other),
    }
}

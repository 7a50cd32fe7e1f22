//! Reading binary fields one after the other, from bytes that may be anything.

use crate::hash::{HASH_LENGTH, Hash};

/// What is left to read.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn hash(&mut self) -> Option<Hash> {
        self.array().map(Hash::from_bytes)
    }

    /// A count in one byte, at most `limit`, and as many hashes.
    pub(super) fn hashes(&mut self, limit: usize) -> Option<Vec<Hash>> {
        let count = usize::from(self.u8()?);
        if count > limit {
            return None;
        }
        let bytes = self.take(count.checked_mul(HASH_LENGTH)?)?;
        let (hashes, _) = bytes.as_chunks::<HASH_LENGTH>();
        Some(hashes.iter().copied().map(Hash::from_bytes).collect())
    }

    /// A length in four bytes, at most `limit`, and as many bytes.
    pub(super) fn bytes(&mut self, limit: usize) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        if length > limit {
            return None;
        }
        self.take(length)
    }

    /// A length in two bytes and as many bytes.
    pub(super) fn short_bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.u16()?);
        self.take(length)
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

/// A count in one byte and the hashes. Proofs have at most 64 of them.
pub(super) fn write_hashes(bytes: &mut Vec<u8>, hashes: &[Hash]) {
    bytes.push(u8::try_from(hashes.len()).unwrap_or(u8::MAX));
    for hash in hashes {
        bytes.extend_from_slice(hash.as_bytes());
    }
}

/// A length in four bytes and the bytes.
pub(super) fn write_bytes(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(field);
}

/// A length in two bytes and the bytes.
pub(super) fn write_short_bytes(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&u16::try_from(field.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(field);
}

//! Hashes a NAR while checking it: the one way in which bytes from outside become a [`NarHash`].

use sha2::{Digest, Sha256};

use super::{NarError, Parser, Visitor};
use crate::hash::NarHash;

/// SHA-256, size and strict parse of a NAR in one pass.
#[derive(Debug, Clone, Default)]
pub struct Hasher {
    parser: Parser,
    hash: Sha256,
    size: u64,
}

impl Hasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they make the archive wrong, as [`Parser::push`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), NarError> {
        self.push_to(bytes, &mut ())
    }

    /// Takes the next bytes and shows a visitor what they hold.
    ///
    /// # Errors
    /// When they make the archive wrong, as [`Parser::push`].
    pub fn push_to<V: Visitor + ?Sized>(
        &mut self,
        bytes: &[u8],
        visitor: &mut V,
    ) -> Result<(), NarError> {
        self.parser.push(bytes, visitor)?;
        self.hash.update(bytes);
        self.size = self
            .size
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hash and size of the whole archive.
    ///
    /// # Errors
    /// When it was wrong or is not complete.
    pub fn finish(self) -> Result<(NarHash, u64), NarError> {
        self.parser.finish()?;
        Ok((NarHash::from_bytes(self.hash.finalize().into()), self.size))
    }
}

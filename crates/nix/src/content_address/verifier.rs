//! Checks the bytes of a NAR against a content address.

use super::{ContentAddress, Method};
use crate::{
    hash::{Context, Hash, NarHash},
    nar::{Hasher, NarError, Visitor},
};

/// Bounds of what a [`Verifier`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of NAR.
    pub max_nar_size: u64,
}

impl Default for Limits {
    /// 16 GiB.
    fn default() -> Self {
        Self {
            max_nar_size: 16 << 30,
        }
    }
}

/// Takes a NAR in chunks and says whether its contents have the address expected.
#[derive(Debug)]
pub struct Verifier {
    expected: ContentAddress,
    limits: Limits,
    nar: Hasher,
    contents: Context,
    flat: Flat,
}

/// Whether the NAR is one plain file, as far as was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flat {
    Unknown,
    Yes,
    No,
}

impl Verifier {
    /// A verifier that has seen nothing.
    #[must_use]
    pub fn new(expected: &ContentAddress, limits: Limits) -> Self {
        Self {
            expected: expected.clone(),
            limits,
            nar: Hasher::new(),
            contents: Context::new(expected.hash().algorithm()),
            flat: Flat::Unknown,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When the NAR is wrong or too large.
    pub fn push(&mut self, nar: &[u8]) -> Result<(), VerifyError> {
        let size = self
            .nar
            .size()
            .saturating_add(u64::try_from(nar.len()).unwrap_or(u64::MAX));
        if size > self.limits.max_nar_size {
            let limit = self.limits.max_nar_size;
            return Err(VerifyError::TooLarge { limit });
        }
        match self.expected.method() {
            Method::Recursive => {
                self.nar.push(nar)?;
                self.contents.update(nar);
            }
            Method::Flat | Method::Text => {
                let (contents, flat) = (&mut self.contents, &mut self.flat);
                self.nar.push_to(nar, &mut OneFile { contents, flat })?;
            }
        }
        Ok(())
    }

    /// The hash and size of the NAR, now that its contents are known to be right.
    ///
    /// # Errors
    /// When the NAR is wrong or not complete, holds another kind of file, or other contents.
    pub fn finish(self) -> Result<(NarHash, u64), VerifyError> {
        let facts = self.nar.finish()?;
        if self.expected.method() != Method::Recursive && self.flat != Flat::Yes {
            return Err(VerifyError::NotAFile);
        }
        let found = self.contents.finish();
        if found == *self.expected.hash() {
            Ok(facts)
        } else {
            let expected = self.expected.hash().clone();
            Err(VerifyError::Mismatch { expected, found })
        }
    }
}

struct OneFile<'a> {
    contents: &'a mut Context,
    flat: &'a mut Flat,
}

impl Visitor for OneFile<'_> {
    fn directory(&mut self, _path: &[u8]) {
        *self.flat = Flat::No;
    }

    fn file(&mut self, _path: &[u8], executable: bool, _size: u64) {
        *self.flat = match *self.flat {
            Flat::Unknown if !executable => Flat::Yes,
            _ => Flat::No,
        };
    }

    fn contents(&mut self, bytes: &[u8]) {
        self.contents.update(bytes);
    }

    fn symlink(&mut self, _path: &[u8], _target: &[u8]) {
        *self.flat = Flat::No;
    }
}

/// Why a NAR does not have a content address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It is no valid NAR.
    #[error(transparent)]
    Nar(#[from] NarError),
    /// It is larger than allowed.
    #[error("the NAR has more than {limit} bytes")]
    TooLarge {
        /// Most bytes allowed.
        limit: u64,
    },
    /// The address is that of one plain file, the NAR holds something else.
    #[error("the NAR is not one non-executable file, as its content address wants")]
    NotAFile,
    /// The contents are others.
    #[error("the contents hash to {found}, the content address says {expected}")]
    Mismatch {
        /// The hash in the address.
        expected: Hash,
        /// The hash of the contents.
        found: Hash,
    },
}

//! The fingerprint: the string that Nix signs, and whose SHA-256 is what builders vote on here.
//!
//! `1;<store path>;sha256:<nix32>;<nar size>;<references>`, references as full paths, sorted, joined by commas.
//! It is always printed from values, never passed through as text, so the form in which a hash came in cannot matter.

use std::{collections::BTreeSet, fmt, str::FromStr};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::{
    hash::NarHash,
    nix32,
    store_path::{StoreDir, StorePath},
};

/// The facts about one store path that a signature covers. Displays as the exact text that is signed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint {
    /// The directory of the store.
    pub store_dir: StoreDir,
    /// The path described.
    pub path: StorePath,
    /// SHA-256 of its NAR.
    pub nar_hash: NarHash,
    /// Bytes in its NAR.
    pub nar_size: u64,
    /// The paths it refers to, itself included where it does.
    pub references: BTreeSet<StorePath>,
}

impl Fingerprint {
    /// SHA-256 of the text: the voted value.
    #[must_use]
    pub fn digest(&self) -> FingerprintDigest {
        self.parts().digest()
    }

    fn parts(&self) -> Parts<'_> {
        Parts {
            store_dir: &self.store_dir,
            path: &self.path,
            nar_hash: &self.nar_hash,
            nar_size: self.nar_size,
            references: &self.references,
        }
    }

    /// Reads a fingerprint's text, in the one form in which Nix writes it.
    ///
    /// # Errors
    /// When the text is anything else than [`Display`](fmt::Display) would give for a path in `store_dir`.
    pub fn parse(text: &str, store_dir: &StoreDir) -> Result<Self, FingerprintError> {
        let mut fields = text.split(';');
        let mut next = || fields.next().ok_or(FingerprintError);
        if next()? != "1" {
            return Err(FingerprintError);
        }
        let path = |text: &str| store_dir.parse(text).map_err(|_| FingerprintError);
        let fingerprint = Self {
            store_dir: store_dir.clone(),
            path: path(next()?)?,
            nar_hash: next()?.parse().map_err(|_| FingerprintError)?,
            nar_size: next()?.parse().map_err(|_| FingerprintError)?,
            references: next()?
                .split(',')
                .filter(|reference| !reference.is_empty())
                .map(path)
                .collect::<Result<_, _>>()?,
        };
        // Order, repetition, the form of the hash and surplus zeros are all caught by printing again.
        if fingerprint.to_string() == text {
            Ok(fingerprint)
        } else {
            Err(FingerprintError)
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts().text())
    }
}

/// The facts of a [`Fingerprint`], borrowed: every log and every follower computes the digest of every entry.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The directory of the store.
    pub store_dir: &'a StoreDir,
    /// The path described.
    pub path: &'a StorePath,
    /// SHA-256 of its NAR.
    pub nar_hash: &'a NarHash,
    /// Bytes in its NAR.
    pub nar_size: u64,
    /// The paths it refers to.
    pub references: &'a BTreeSet<StorePath>,
}

impl Parts<'_> {
    /// SHA-256 of the text that the fingerprint of these facts has.
    #[must_use]
    pub fn digest(&self) -> FingerprintDigest {
        FingerprintDigest(Sha256::digest(self.text()).into())
    }

    fn text(&self) -> String {
        let dir = self.store_dir.as_str();
        let absolute = |path: &StorePath| dir.len() + path.as_str().len() + 2;
        let references: usize = self.references.iter().map(absolute).sum();
        // Besides the paths: a hash of 59 characters, a number of at most 20, and what separates them.
        let mut text = String::with_capacity(absolute(self.path) + references + 90);
        text.push_str("1;");
        put(&mut text, dir, self.path);
        text.push_str(";sha256:");
        text.push_str(&nix32::encode(self.nar_hash.as_bytes()));
        text.push(';');
        text.push_str(&self.nar_size.to_string());
        text.push(';');
        for (position, reference) in self.references.iter().enumerate() {
            if position > 0 {
                text.push(',');
            }
            put(&mut text, dir, reference);
        }
        text
    }
}

fn put(text: &mut String, dir: &str, path: &StorePath) {
    text.push_str(dir);
    text.push('/');
    text.push_str(path.as_str());
}

/// SHA-256 of a fingerprint: the value that votes agree or disagree on. Displays as 64 hex characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FingerprintDigest([u8; 32]);

impl FingerprintDigest {
    /// Wraps a digest.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first seven and the last four hex characters, as in `1b5d2c7…9af0`, for people.
    #[must_use]
    pub fn short(&self) -> String {
        let text = self.to_string();
        let (head, tail) = (text.get(..7), text.get(text.len().saturating_sub(4)..));
        format!("{}…{}", head.unwrap_or_default(), tail.unwrap_or_default())
    }
}

impl fmt::Display for FingerprintDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for FingerprintDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for FingerprintDigest {
    type Err = FingerprintDigestError;

    fn from_str(text: &str) -> Result<Self, FingerprintDigestError> {
        let bytes = HEXLOWER
            .decode(text.as_bytes())
            .map_err(|_| FingerprintDigestError)?;
        let bytes = bytes
            .as_slice()
            .try_into()
            .map_err(|_| FingerprintDigestError)?;
        Ok(Self(bytes))
    }
}

/// The text is no fingerprint as Nix writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a fingerprint `1;<store path>;sha256:<nix32>;<nar size>;<sorted references>` of this store"
)]
pub struct FingerprintError;

/// The text is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint digest is 64 lower-case hex characters")]
pub struct FingerprintDigestError;

#[cfg(test)]
mod tests;

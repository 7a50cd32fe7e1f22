//! The one hash that signatures and votes are about, in a type of its own: SHA-256 of a NAR.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use super::{Algorithm, Hash, HashError};
use crate::nix32;

/// SHA-256 of a whole NAR: what Nix calls `NarHash`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NarHash([u8; 32]);

impl NarHash {
    /// Wraps a SHA-256 digest.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash of a NAR that is wholly in memory. Says nothing of whether `nar` is a valid NAR.
    #[must_use]
    pub fn of(nar: &[u8]) -> Self {
        Self(Sha256::digest(nar).into())
    }

    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 52 characters without the `sha256:`, as in file names `nar/<…>.nar`.
    #[must_use]
    pub fn nix32(&self) -> String {
        nix32::encode(&self.0)
    }

    /// `sha256:<64 hex>`, as in Nix's database.
    #[must_use]
    pub fn to_hex(&self) -> String {
        format!("sha256:{}", HEXLOWER.encode(&self.0))
    }

    /// `sha256-<base64>`, as in `nix path-info --json`.
    #[must_use]
    pub fn to_sri(&self) -> String {
        format!("sha256-{}", BASE64.encode(&self.0))
    }
}

impl fmt::Display for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.nix32())
    }
}

impl fmt::Debug for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for NarHash {
    type Err = HashError;

    /// Reads any of the four texts of a SHA-256 hash.
    fn from_str(text: &str) -> Result<Self, HashError> {
        Self::try_from(&text.parse::<Hash>()?)
    }
}

impl TryFrom<&Hash> for NarHash {
    type Error = HashError;

    fn try_from(hash: &Hash) -> Result<Self, HashError> {
        match (hash.algorithm, hash.bytes.as_slice().try_into()) {
            (Algorithm::Sha256, Ok(bytes)) => Ok(Self(bytes)),
            (algorithm, _) => Err(HashError::NotSha256 { algorithm }),
        }
    }
}

impl From<NarHash> for Hash {
    fn from(hash: NarHash) -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            bytes: hash.0.to_vec(),
        }
    }
}

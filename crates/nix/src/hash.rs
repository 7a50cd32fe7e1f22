//! Hashes as Nix writes them, in any of its four texts: nix32, hex, base64 and SRI.
//!
//! A value never depends on the text it came in: two texts of one digest compare equal, and printing always gives
//! `sha256:<nix32>` unless another form is asked for.

mod context;
mod nar_hash;

use std::{fmt, str::FromStr};

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};

pub use context::Context;
pub use nar_hash::NarHash;

use crate::{
    base64,
    nix32::{self, Nix32Error},
};

/// A hash function that Nix knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// MD5, 16 bytes. Broken; only old fixed outputs use it.
    Md5,
    /// SHA-1, 20 bytes. Broken; only old fixed outputs use it.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl Algorithm {
    /// The name in texts, as in `sha256:…`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Bytes in a digest.
    #[must_use]
    pub fn digest_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = HashError;

    fn from_str(name: &str) -> Result<Self, HashError> {
        match name {
            "md5" => Ok(Self::Md5),
            "sha1" => Ok(Self::Sha1),
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(HashError::UnknownAlgorithm {
                name: name.chars().take(32).collect(),
            }),
        }
    }
}

/// A digest together with its algorithm.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl Hash {
    /// A digest that was computed elsewhere.
    ///
    /// # Errors
    /// When `bytes` has not the algorithm's length.
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, HashError> {
        if bytes.len() != algorithm.digest_len() {
            return Err(HashError::DigestLength {
                algorithm,
                found: bytes.len(),
            });
        }
        Ok(Self {
            algorithm,
            bytes: bytes.to_vec(),
        })
    }

    /// The hash of `data`.
    #[must_use]
    pub fn of(algorithm: Algorithm, data: &[u8]) -> Self {
        let mut context = Context::new(algorithm);
        context.update(data);
        context.finish()
    }

    /// Which hash function made it.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digest.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `sha256:<hex>`, lower case.
    #[must_use]
    pub fn to_hex(&self) -> String {
        format!("{}:{}", self.algorithm, HEXLOWER.encode(&self.bytes))
    }

    /// `sha256-<base64>`, as in Subresource Integrity.
    #[must_use]
    pub fn to_sri(&self) -> String {
        format!("{}-{}", self.algorithm, BASE64.encode(&self.bytes))
    }

    /// The digest as lower-case hex, without the algorithm.
    #[must_use]
    pub fn bare_hex(&self) -> String {
        HEXLOWER.encode(&self.bytes)
    }

    fn parse_digest(algorithm: Algorithm, text: &str) -> Result<Self, HashError> {
        let size = algorithm.digest_len();
        let bytes = if text.len() == size * 2 {
            HEXLOWER_PERMISSIVE
                .decode(text.as_bytes())
                .map_err(|error| HashError::Hex {
                    position: error.position,
                })?
        } else if text.len() == nix32::encoded_len(size) {
            nix32::decode(text)?
        } else if text.len() == BASE64.encode_len(size) {
            decode_base64(text)?
        } else {
            return Err(HashError::TextLength {
                algorithm,
                found: text.len(),
            });
        };
        Self::new(algorithm, &bytes)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, nix32::encode(&self.bytes))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Hash {
    type Err = HashError;

    /// Reads `sha256:<nix32>`, `sha256:<hex>`, `sha256:<base64>` or `sha256-<base64>`.
    fn from_str(text: &str) -> Result<Self, HashError> {
        let Some(at) = text.find([':', '-']) else {
            return Err(HashError::NoAlgorithm);
        };
        let (name, rest) = text.split_at_checked(at).ok_or(HashError::NoAlgorithm)?;
        let algorithm: Algorithm = name.parse()?;
        if let Some(digest) = rest.strip_prefix(':') {
            return Self::parse_digest(algorithm, digest);
        }
        let digest = rest.strip_prefix('-').unwrap_or(rest);
        if digest.len() != BASE64.encode_len(algorithm.digest_len()) {
            return Err(HashError::TextLength {
                algorithm,
                found: digest.len(),
            });
        }
        Self::new(algorithm, &decode_base64(digest)?)
    }
}

/// Why a text or a byte string is no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Neither `:` nor `-` in the text.
    #[error("a hash begins with its algorithm, as in `sha256:…` or `sha256-…`")]
    NoAlgorithm,
    /// An algorithm that Nix does not have.
    #[error("unknown hash algorithm `{}`: it is md5, sha1, sha256 or sha512", name.escape_debug())]
    UnknownAlgorithm {
        /// Its first 32 characters.
        name: String,
    },
    /// No form of this algorithm's digest has this many characters.
    #[error(
        "a {algorithm} digest has {} hex, {} nix32 or {} base64 characters (after `-`: base64 only), not {found}",
        algorithm.digest_len() * 2, nix32::encoded_len(algorithm.digest_len()), BASE64.encode_len(algorithm.digest_len())
    )]
    TextLength {
        /// The algorithm named.
        algorithm: Algorithm,
        /// Characters found after it.
        found: usize,
    },
    /// A digest of a wrong length.
    #[error("a {algorithm} digest has {} bytes, not {found}", algorithm.digest_len())]
    DigestLength {
        /// The algorithm named.
        algorithm: Algorithm,
        /// Bytes found.
        found: usize,
    },
    /// Not hexadecimal.
    #[error("the hash is not hexadecimal at character {position}")]
    Hex {
        /// Offset within the digest's text.
        position: usize,
    },
    /// Not standard base64 with padding.
    #[error("the hash is not base64 at character {position}")]
    Base64 {
        /// Offset within the digest's text.
        position: usize,
    },
    /// Not nix32.
    #[error("the hash is not nix32: {0}")]
    Nix32(#[from] Nix32Error),
    /// Only SHA-256 may stand here.
    #[error("a NAR hash is sha256, not {algorithm}")]
    NotSha256 {
        /// The algorithm found.
        algorithm: Algorithm,
    },
}

fn decode_base64(text: &str) -> Result<Vec<u8>, HashError> {
    base64::decode(text).map_err(|error| HashError::Base64 {
        position: error.position,
    })
}

#[cfg(test)]
mod tests;

//! Content addresses: paths whose bytes prove themselves, so that nobody needs to be trusted for them.
//!
//! A content address says how a path's contents were hashed and to what; from it, the name and the references follows
//! the path. So `check_path` together with a [`Verifier`] over the NAR is a full check. Paths that contain their own
//! digest are not supported and never pass. Spec: Nix manual, "Content-addressing store objects".

mod verifier;

use std::{collections::BTreeSet, fmt, str::FromStr};

pub use verifier::{Limits, Verifier, VerifyError};

use crate::{
    hash::{Algorithm, Hash, HashError},
    store_path::{StoreDir, StorePath, StorePathError},
};

/// How contents become the bytes that are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// The bytes of a text file that may refer to other paths, such as a `.drv`.
    Text,
    /// The bytes of one non-executable file.
    Flat,
    /// The NAR of a file tree.
    Recursive,
}

impl Method {
    /// What stands before the algorithm in a derivation: nothing, `r:` or `text:`.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Text => "text:",
            Self::Flat => "",
            Self::Recursive => "r:",
        }
    }
}

/// How a path's contents were hashed, and the hash. Displays as narinfo's `CA` field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentAddress {
    method: Method,
    hash: Hash,
}

impl ContentAddress {
    /// Puts method and hash together.
    ///
    /// # Errors
    /// When the method is `Text` and the hash not SHA-256.
    pub fn new(method: Method, hash: Hash) -> Result<Self, ContentAddressError> {
        if method == Method::Text && hash.algorithm() != Algorithm::Sha256 {
            let algorithm = hash.algorithm();
            return Err(ContentAddressError::TextAlgorithm { algorithm });
        }
        Ok(Self { method, hash })
    }

    /// How the contents were hashed.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// The hash of the contents.
    #[must_use]
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    /// The path of contents with this address, this name and these references.
    ///
    /// # Errors
    /// When the name cannot be one, or there are references although the method allows none.
    pub fn store_path(
        &self,
        store_dir: &StoreDir,
        name: &str,
        references: &BTreeSet<StorePath>,
    ) -> Result<StorePath, ContentAddressError> {
        let sha256 = <[u8; 32]>::try_from(self.hash.bytes()).ok();
        let path = match (self.method, self.hash.algorithm(), sha256) {
            (Method::Text, _, Some(inner)) => {
                store_dir.make(&store_dir.kind_with("text", references), &inner, name)
            }
            (Method::Recursive, Algorithm::Sha256, Some(inner)) => {
                store_dir.make(&store_dir.kind_with("source", references), &inner, name)
            }
            _ if !references.is_empty() => return Err(ContentAddressError::References),
            _ => {
                let (prefix, hex) = (self.method.prefix(), self.hash.to_hex());
                store_dir.make(
                    "output:out",
                    &sha256_of(&format!("fixed:out:{prefix}{hex}:")),
                    name,
                )
            }
        };
        path.map_err(ContentAddressError::Name)
    }

    /// Checks that `path` is what this address and `references` give.
    ///
    /// # Errors
    /// When it is not, or when the path refers to itself, which cannot be checked here.
    pub fn check_path(
        &self,
        store_dir: &StoreDir,
        path: &StorePath,
        references: &BTreeSet<StorePath>,
    ) -> Result<(), ContentAddressError> {
        if references.contains(path) {
            return Err(ContentAddressError::SelfReference);
        }
        let computed = self.store_path(store_dir, path.name(), references)?;
        if computed == *path {
            Ok(())
        } else {
            Err(ContentAddressError::OtherPath { computed })
        }
    }
}

impl fmt::Display for ContentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.method {
            Method::Text => write!(f, "text:{}", self.hash),
            method => write!(f, "fixed:{}{}", method.prefix(), self.hash),
        }
    }
}

impl FromStr for ContentAddress {
    type Err = ContentAddressError;

    fn from_str(text: &str) -> Result<Self, ContentAddressError> {
        let (method, hash) = if let Some(hash) = text.strip_prefix("text:") {
            (Method::Text, hash)
        } else if let Some(hash) = text.strip_prefix("fixed:r:") {
            (Method::Recursive, hash)
        } else {
            match text.strip_prefix("fixed:") {
                Some(hash) if !hash.starts_with("git:") => (Method::Flat, hash),
                _ => return Err(ContentAddressError::UnknownMethod),
            }
        };
        Self::new(method, hash.parse()?)
    }
}

/// What is wrong with a content address, or why it does not give a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentAddressError {
    /// Neither `text:`, `fixed:` nor `fixed:r:`; `fixed:git:` is not supported.
    #[error("a content address begins with `text:`, `fixed:` or `fixed:r:`")]
    UnknownMethod,
    /// Its hash cannot be read.
    #[error("bad hash in the content address: {0}")]
    Hash(#[from] HashError),
    /// Texts are hashed by SHA-256 only.
    #[error("a `text:` content address has a sha256 hash, not {algorithm}")]
    TextAlgorithm {
        /// The algorithm found.
        algorithm: Algorithm,
    },
    /// References with a method that has none.
    #[error("a path with this content address cannot have references")]
    References,
    /// The path refers to itself.
    #[error("the path refers to itself: its content address cannot be checked here")]
    SelfReference,
    /// The name cannot be one.
    #[error(transparent)]
    Name(StorePathError),
    /// The address gives another path.
    #[error("the content address gives the path {computed}")]
    OtherPath {
        /// The path that it gives.
        computed: StorePath,
    },
}

/// SHA-256 of a text.
pub(crate) fn sha256_of(text: &str) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests;

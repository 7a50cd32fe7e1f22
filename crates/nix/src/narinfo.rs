//! narinfo: what a binary cache says of one store path, and where its NAR is.
//!
//! Parsing takes what real caches send and refuses what could mean two things; printing writes what every Nix client
//! reads, `References: ` with its space included. Parsing believes nothing: signatures are checked elsewhere, and all
//! but store path, NAR hash, NAR size and references is unsigned. A URL may be absolute: who fetches it must decide.

mod parse;

use std::{collections::BTreeSet, fmt};

use crate::{
    content_address::{ContentAddress, ContentAddressError},
    fingerprint::Fingerprint,
    hash::{Hash, HashError, NarHash},
    signature::Signature,
    store_path::{StoreDir, StorePath, StorePathError},
};

/// Largest narinfo accepted, in bytes. It bounds the references too: fewer than 30,000 fit.
pub const MAX_SIZE: usize = 1 << 20;
/// Most `Sig` lines accepted, malformed ones included.
pub const MAX_SIGNATURES: usize = 64;
/// Longest URL accepted, in bytes.
pub const MAX_URL: usize = 4096;

/// One narinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarInfo {
    /// The path described.
    pub store_path: StorePath,
    /// Where the (compressed) NAR is, relative to the cache; some caches give an absolute URL.
    pub url: String,
    /// How the NAR is compressed there.
    pub compression: Compression,
    /// Hash of the compressed file. No client checks it, and builders differ in it.
    pub file_hash: Option<Hash>,
    /// Size of the compressed file in bytes. No client checks it.
    pub file_size: Option<u64>,
    /// SHA-256 of the NAR.
    pub nar_hash: NarHash,
    /// Size of the NAR in bytes; never 0.
    pub nar_size: u64,
    /// The paths that the contents refer to.
    pub references: BTreeSet<StorePath>,
    /// One derivation that gives the path: an unsigned claim.
    pub deriver: Option<StorePath>,
    /// The signatures that could be read, in the order of the file.
    pub signatures: Vec<Signature>,
    /// `Sig` lines that could not be read and were dropped.
    pub malformed_signatures: usize,
    /// The content address, where the path has one of a known method.
    pub ca: Option<ContentAddress>,
}

impl NarInfo {
    /// Reads a narinfo of a store at `store_dir`. Unknown keys and malformed signatures are passed over.
    ///
    /// # Errors
    /// When it is too large, a line is malformed, a key is missing or is there twice, or a value cannot be read.
    pub fn parse(text: &str, store_dir: &StoreDir) -> Result<Self, NarInfoError> {
        parse::parse(text, store_dir)
    }

    /// The file's text. Control characters and spaces in the URL and compression are left out, as they would begin
    /// another line.
    #[must_use]
    pub fn print(&self, store_dir: &StoreDir) -> String {
        Printed {
            info: self,
            store_dir,
        }
        .to_string()
    }

    /// What signatures cover.
    #[must_use]
    pub fn fingerprint(&self, store_dir: &StoreDir) -> Fingerprint {
        Fingerprint {
            store_dir: store_dir.clone(),
            path: self.store_path.clone(),
            nar_hash: self.nar_hash,
            nar_size: self.nar_size,
            references: self.references.clone(),
        }
    }
}

struct Printed<'a> {
    info: &'a NarInfo,
    store_dir: &'a StoreDir,
}

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { info, store_dir } = self;
        writeln!(f, "StorePath: {}", store_dir.join(&info.store_path))?;
        writeln!(f, "URL: {}", one_word(&info.url))?;
        writeln!(f, "Compression: {}", one_word(info.compression.name()))?;
        if let Some(hash) = &info.file_hash {
            writeln!(f, "FileHash: {hash}")?;
        }
        if let Some(size) = info.file_size {
            writeln!(f, "FileSize: {size}")?;
        }
        writeln!(f, "NarHash: {}", info.nar_hash)?;
        writeln!(f, "NarSize: {}", info.nar_size)?;
        f.write_str("References:")?;
        if info.references.is_empty() {
            // Nix reads the value from two characters after the key: without the space it would eat the next line.
            f.write_str(" ")?;
        }
        for reference in &info.references {
            write!(f, " {reference}")?;
        }
        writeln!(f)?;
        if let Some(deriver) = &info.deriver {
            writeln!(f, "Deriver: {deriver}")?;
        }
        for signature in &info.signatures {
            writeln!(f, "Sig: {signature}")?;
        }
        if let Some(ca) = &info.ca {
            writeln!(f, "CA: {ca}")?;
        }
        Ok(())
    }
}

fn one_word(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && !c.is_whitespace())
        .collect()
}

/// How a NAR is compressed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// xz, what `nix copy` does by default.
    Xz,
    /// Zstandard.
    Zstd,
    /// bzip2, also where a narinfo does not say.
    Bzip2,
    /// gzip.
    Gzip,
    /// Anything else, by its name in the narinfo.
    Other(String),
}

impl Compression {
    /// The name in a narinfo.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::None => "none",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Gzip => "gzip",
            Self::Other(name) => name,
        }
    }

    /// Reads the name in a narinfo; empty is bzip2.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "none" => Self::None,
            "xz" => Self::Xz,
            "zstd" => Self::Zstd,
            "" | "bzip2" => Self::Bzip2,
            "gzip" => Self::Gzip,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with a narinfo, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad narinfo, line {line}: {kind}")]
pub struct NarInfoError {
    /// Line, from 1; for a missing key the last one.
    pub line: usize,
    /// What is wrong.
    pub kind: NarInfoErrorKind,
}

/// The ways in which a narinfo can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NarInfoErrorKind {
    /// Larger than [`MAX_SIZE`].
    #[error("the file has {found} bytes, more than {MAX_SIZE}")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// The last line has no end: the file may have been cut off.
    #[error("the last line does not end in a newline; the file may be cut off")]
    CutOff,
    /// A line without a colon and a space after it.
    #[error("the line is not `Key: value`")]
    NotKeyValue,
    /// A key that may be there only once.
    #[error("{key} is there twice")]
    Duplicate {
        /// The key.
        key: &'static str,
    },
    /// A key that must be there.
    #[error("{key} is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value that is no store path.
    #[error("{key}: {source}")]
    StorePath {
        /// The key.
        key: &'static str,
        /// Why.
        source: StorePathError,
    },
    /// A value that is no hash.
    #[error("{key}: {source}")]
    Hash {
        /// The key.
        key: &'static str,
        /// Why.
        source: HashError,
    },
    /// A value that is no number, or a NAR size of 0.
    #[error("{key} is not a number of bytes")]
    Number {
        /// The key.
        key: &'static str,
    },
    /// An empty or overlong value, or one with spaces or control characters.
    #[error("{key} is empty, too long, or has spaces or control characters in it")]
    Word {
        /// The key.
        key: &'static str,
    },
    /// A content address of a known method that cannot be read.
    #[error("CA: {0}")]
    ContentAddress(ContentAddressError),
    /// More signatures than [`MAX_SIGNATURES`].
    #[error("there are more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
}

#[cfg(test)]
mod tests;

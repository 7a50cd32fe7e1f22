//! Derivations: the `.drv` files that say how outputs are built, and the paths that follow from them.
//!
//! A file parses only in the one form in which Nix writes it, so that printing gives the same bytes again. Nothing is
//! built or read here: whoever computes hashes or paths hands in the hashes of the input derivations.
//! Spec: Nix manual, "Derivation ATerm format" and "Store derivation and deriving path".

mod modulo;
mod parse;
mod print;

use std::collections::{BTreeMap, BTreeSet};

pub use modulo::HashModulo;

use crate::{
    content_address::{ContentAddress, ContentAddressError, Method},
    hash::{Algorithm, Hash, HashError},
    store_path::{StoreDir, StorePath, StorePathError},
};

/// Largest `.drv` file accepted, in bytes.
pub const MAX_SIZE: usize = 16 << 20;

/// One derivation. Builder, arguments and environment are bytes, as they need not be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    /// The outputs by name.
    pub outputs: BTreeMap<String, Output>,
    /// The derivations whose outputs this one uses, with the names of those outputs.
    pub input_derivations: BTreeMap<StorePath, BTreeSet<String>>,
    /// Paths used that no derivation gives.
    pub input_sources: BTreeSet<StorePath>,
    /// The system it is built on, as in `x86_64-linux`.
    pub system: String,
    /// The program that builds it.
    pub builder: Vec<u8>,
    /// The program's arguments.
    pub args: Vec<Vec<u8>>,
    /// The program's environment.
    pub env: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What is known of an output before it is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The path follows from the derivation.
    InputAddressed(StorePath),
    /// The contents are fixed, and the path follows from them.
    Fixed {
        /// The address of the contents.
        content_address: ContentAddress,
        /// The path as the file states it; [`Derivation::output_path`] computes it.
        path: StorePath,
    },
    /// The path follows from contents that are not known yet.
    Floating {
        /// How the contents will be hashed.
        method: Method,
        /// The hash function.
        algorithm: Algorithm,
    },
    /// The path follows from the derivation once its floating inputs are known.
    Deferred,
    /// Built anew each time.
    Impure {
        /// How the contents will be hashed.
        method: Method,
        /// The hash function.
        algorithm: Algorithm,
    },
}

impl Output {
    /// The path that the file states, where it does.
    #[must_use]
    pub fn path(&self) -> Option<&StorePath> {
        match self {
            Self::InputAddressed(path) | Self::Fixed { path, .. } => Some(path),
            Self::Floating { .. } | Self::Deferred | Self::Impure { .. } => None,
        }
    }
}

impl Derivation {
    /// Reads a `.drv` file.
    ///
    /// # Errors
    /// When it is too large or in any other form than Nix writes for a store at `store_dir`.
    pub fn parse(file: &[u8], store_dir: &StoreDir) -> Result<Self, ParseError> {
        parse::parse(file, store_dir)
    }

    /// The bytes of the `.drv` file.
    #[must_use]
    pub fn print(&self, store_dir: &StoreDir) -> Vec<u8> {
        print::print(self, store_dir)
    }

    /// The path of the `.drv` file for a derivation of this name (without `.drv`).
    ///
    /// # Errors
    /// When the name cannot be one.
    pub fn store_path(
        &self,
        store_dir: &StoreDir,
        name: &str,
    ) -> Result<StorePath, DerivationError> {
        let references = self
            .input_derivations
            .keys()
            .chain(&self.input_sources)
            .cloned()
            .collect();
        let contents = Hash::of(Algorithm::Sha256, &self.print(store_dir));
        Ok(ContentAddress::new(Method::Text, contents)?.store_path(
            store_dir,
            &format!("{name}.drv"),
            &references,
        )?)
    }

    /// The hash that stands for this derivation in those which use it. `lookup` gives the hash of each input.
    ///
    /// # Errors
    /// When an input or one of its outputs is not known, or fixed contents are not of one output `out`.
    pub fn hash_modulo(
        &self,
        store_dir: &StoreDir,
        lookup: impl FnMut(&StorePath) -> Option<HashModulo>,
    ) -> Result<HashModulo, DerivationError> {
        modulo::hash_modulo(self, store_dir, false, lookup)
    }

    /// The path of an output of this derivation, which is called `name` (without `.drv`).
    ///
    /// # Errors
    /// As [`hash_modulo`](Self::hash_modulo), and when there is no such output or its path is not known before the
    /// build.
    pub fn output_path(
        &self,
        store_dir: &StoreDir,
        name: &str,
        output: &str,
        lookup: impl FnMut(&StorePath) -> Option<HashModulo>,
    ) -> Result<StorePath, DerivationError> {
        modulo::output_path(self, store_dir, name, output, lookup)
    }
}

/// The name of a derivation: that of its file without `.drv`. `None` for other paths.
#[must_use]
pub fn name(path: &StorePath) -> Option<&str> {
    path.name().strip_suffix(".drv")
}

/// The name of an output's path: the derivation's for `out`, `<name>-<output>` for others.
#[must_use]
pub fn output_path_name(name: &str, output: &str) -> String {
    if output == "out" {
        name.to_owned()
    } else {
        format!("{name}-{output}")
    }
}

/// Why hashes or paths of a derivation cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DerivationError {
    /// The hash of an input derivation was not to be had.
    #[error("the input derivation {path} is not known")]
    UnknownInput {
        /// The input.
        path: StorePath,
    },
    /// An input has no such output.
    #[error("the input derivation {path} has no output `{output}`")]
    UnknownInputOutput {
        /// The input.
        path: StorePath,
        /// The output asked for.
        output: String,
    },
    /// The derivation has no such output.
    #[error("the derivation has no output `{output}`")]
    UnknownOutput {
        /// The output asked for.
        output: String,
    },
    /// The path depends on what the build gives.
    #[error("the path of the output `{output}` is not known before it is built")]
    NotKnownYet {
        /// The output asked for.
        output: String,
    },
    /// Fixed contents must be those of one output `out`.
    #[error("a derivation with fixed contents must have exactly one output, `out`")]
    FixedOutputs,
    /// A name that no path can have.
    #[error(transparent)]
    Name(#[from] StorePathError),
    /// The content address gives no path.
    #[error(transparent)]
    ContentAddress(#[from] ContentAddressError),
}

/// What is wrong with a `.drv` file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad derivation at byte {offset}: {kind}")]
pub struct ParseError {
    /// Byte of the file.
    pub offset: usize,
    /// What is wrong.
    pub kind: ParseErrorKind,
}

/// The ways in which a `.drv` file can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// Larger than [`MAX_SIZE`].
    #[error("the file has {found} bytes, more than {MAX_SIZE}")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// The grammar wants something else here.
    #[error("expected `{wanted}`")]
    Expected {
        /// The text wanted.
        wanted: &'static str,
    },
    /// A backslash before a character that is never escaped, or a raw character that always is.
    #[error("a string is not escaped as Nix escapes it")]
    Escape,
    /// Bytes that must be text are not.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// A list is not in strictly ascending order.
    #[error("a list is not in order")]
    Order,
    /// A string that should be a store path.
    #[error(transparent)]
    StorePath(#[from] StorePathError),
    /// An input derivation that is not called `.drv`.
    #[error("an input derivation's path does not end in `.drv`")]
    NotADerivation,
    /// An output whose hash or algorithm cannot be read.
    #[error("bad hash of an output: {0}")]
    Hash(#[from] HashError),
    /// An output whose content address is impossible.
    #[error("bad output: {0}")]
    ContentAddress(#[from] ContentAddressError),
    /// An output whose path, algorithm and hash are a combination without meaning.
    #[error("path, algorithm and hash of an output do not go together")]
    Output,
    /// Bytes after the end.
    #[error("bytes follow the end of the derivation")]
    TrailingBytes,
}

#[cfg(test)]
mod tests;

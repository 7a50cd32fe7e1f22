//! Store paths: `/nix/store/<32 nix32>-<name>`, and the computation that gives a path its digest.
//!
//! Every path in this project is held as its base name, since that is what narinfo and signatures order by; the store
//! directory is kept apart and joined on printing. Spec: Nix manual, "Store Path" and its specification.

use std::{collections::BTreeSet, fmt, str::FromStr};

use sha2::{Digest, Sha256};

use crate::nix32;

/// Longest name, in bytes: what a base name of 255 bytes leaves (`.drv` and lock suffixes included), as in Nix.
pub const MAX_NAME: usize = 211;

const HASH_CHARS: usize = 32;
const MAX_DIR: usize = 1024;
const DEFAULT_DIR: &str = "/nix/store";

/// The directory that a store's paths begin with; `/nix/store` nearly always.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreDir(String);

impl StoreDir {
    /// The directory, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The absolute path of `path`.
    #[must_use]
    pub fn join(&self, path: &StorePath) -> String {
        [&self.0, "/", path.as_str()].concat()
    }

    /// Reads the absolute path of something directly in this directory.
    ///
    /// # Errors
    /// When `absolute` is not below this directory or its last part is no store path.
    pub fn parse(&self, absolute: &str) -> Result<StorePath, StorePathError> {
        absolute
            .strip_prefix(self.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(|| StorePathError::NotInStore {
                store_dir: self.clone(),
            })?
            .parse()
    }

    /// The path that Nix gives to something of this `kind` with this `inner` digest and `name`.
    ///
    /// # Errors
    /// When `name` is no store path name.
    pub(crate) fn make(
        &self,
        kind: &str,
        inner: &[u8; 32],
        name: &str,
    ) -> Result<StorePath, StorePathError> {
        let inner = data_encoding::HEXLOWER.encode(inner);
        let digest = Sha256::digest(format!("{kind}:sha256:{inner}:{self}:{name}"));
        let mut folded = [0_u8; 20];
        for chunk in digest.chunks(folded.len()) {
            for (into, byte) in folded.iter_mut().zip(chunk) {
                *into ^= byte;
            }
        }
        StorePath::new(&HashPart::from_bytes(&folded), name)
    }

    /// `kind` followed by the full path of every reference, as in `text:<path>:<path>`.
    pub(crate) fn kind_with(&self, kind: &str, references: &BTreeSet<StorePath>) -> String {
        let mut text = String::from(kind);
        for reference in references {
            text.push(':');
            text.push_str(&self.join(reference));
        }
        text
    }
}

impl Default for StoreDir {
    fn default() -> Self {
        Self(String::from(DEFAULT_DIR))
    }
}

impl fmt::Display for StoreDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StoreDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for StoreDir {
    type Err = StorePathError;

    /// Takes an absolute, normal path without control characters and without `;`, `,` and `:`, which separate the
    /// parts of the texts that Nix hashes and signs.
    fn from_str(text: &str) -> Result<Self, StorePathError> {
        let parts_are_normal = text
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")));
        // What nearly every entry of every log has.
        if text == DEFAULT_DIR {
            return Ok(Self::default());
        }
        let separates = |c: char| c.is_control() || matches!(c, ';' | ',' | ':');
        if !parts_are_normal || text.len() > MAX_DIR || text.contains(separates) {
            return Err(StorePathError::StoreDir);
        }
        Ok(Self(text.to_owned()))
    }
}

/// The digest of a store path: 20 bytes, written as 32 nix32 characters. It alone names a path to a binary cache.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashPart([u8; HASH_CHARS]);

impl HashPart {
    /// The 32 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ever made of the alphabet, which is ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The 20 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 20] {
        let mut bytes = [0; 20];
        nix32::decode_checked(&self.0, &mut bytes);
        bytes
    }

    /// Writes a digest.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 20]) -> Self {
        Self::of_checked(&nix32::encode(bytes))
    }

    /// The beginning of a text that is known to begin with a hash part.
    fn of_checked(text: &str) -> Self {
        // Nothing else gets here; a text that is too short would be the hash part of zero.
        let characters = text.as_bytes().first_chunk::<HASH_CHARS>();
        Self(characters.copied().unwrap_or([b'0'; HASH_CHARS]))
    }
}

impl fmt::Display for HashPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HashPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl FromStr for HashPart {
    type Err = StorePathError;

    fn from_str(text: &str) -> Result<Self, StorePathError> {
        check_hash_part(text)?;
        Ok(Self::of_checked(text))
    }
}

/// The base name of a store path, `<32 nix32>-<name>`. Ordered bytewise, as Nix orders references.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath(String);

impl StorePath {
    /// Joins a digest and a name.
    ///
    /// # Errors
    /// When `name` is no store path name.
    pub fn new(hash_part: &HashPart, name: &str) -> Result<Self, StorePathError> {
        check_name(name)?;
        Ok(Self([hash_part.as_str(), "-", name].concat()))
    }

    /// The digest.
    #[must_use]
    pub fn hash_part(&self) -> HashPart {
        HashPart::of_checked(&self.0)
    }

    /// What follows the digest and its dash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.get(HASH_CHARS + 1..).unwrap_or_default()
    }

    /// The whole base name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name ends in `.drv`.
    #[must_use]
    pub fn is_derivation(&self) -> bool {
        self.name().ends_with(".drv")
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for StorePath {
    type Err = StorePathError;

    /// Reads a base name; an absolute path is an error, see [`StoreDir::parse`].
    fn from_str(base_name: &str) -> Result<Self, StorePathError> {
        if base_name.starts_with('/') {
            return Err(StorePathError::Absolute);
        }
        let (hash_part, rest) = base_name
            .split_at_checked(HASH_CHARS)
            .ok_or(StorePathError::NoHashPart)?;
        check_hash_part(hash_part)?;
        check_name(rest.strip_prefix('-').ok_or(StorePathError::NoHashPart)?)?;
        Ok(Self(base_name.to_owned()))
    }
}

/// Why a text is no store path. Positions are byte offsets within the part named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorePathError {
    /// The store directory itself cannot be used.
    #[error(
        "the store directory must be an absolute path of at most {MAX_DIR} bytes without `//`, `.`, `..`, a `/` at its end, control characters or `;` `,` `:`"
    )]
    StoreDir,
    /// The path is not directly in this store.
    #[error("the path is not in the store {store_dir}")]
    NotInStore {
        /// The store expected.
        store_dir: StoreDir,
    },
    /// An absolute path where a base name is wanted.
    #[error("only the base name `<hash>-<name>` may stand here, not an absolute path")]
    Absolute,
    /// Not 32 characters and a dash at the front.
    #[error("a store path begins with {HASH_CHARS} characters of hash and a dash")]
    NoHashPart,
    /// A character that is not nix32 in the digest.
    #[error("the hash of the store path has `{}`, which is no nix32 character, at byte {position}", character.escape_debug())]
    HashCharacter {
        /// The character.
        character: char,
        /// Its offset in the digest.
        position: usize,
    },
    /// Nothing after the dash.
    #[error("the store path has an empty name")]
    EmptyName,
    /// The name is too long.
    #[error("the name of the store path has {length} bytes, more than {MAX_NAME}")]
    LongName {
        /// Bytes in the name.
        length: usize,
    },
    /// The name is, or begins with a dashed, `.` or `..`.
    #[error("the name of a store path may not be `.` or `..`, nor begin with `.-` or `..-`")]
    DotName,
    /// A character that may not be in a name.
    #[error("the name of the store path has `{}` at byte {position}; letters, digits and + - . _ ? = are allowed", character.escape_debug())]
    NameCharacter {
        /// The character.
        character: char,
        /// Its offset in the name.
        position: usize,
    },
}

/// Checks the part of a store path after its digest and dash; names of derivation outputs obey the same rule.
pub(crate) fn check_name(name: &str) -> Result<(), StorePathError> {
    if let Some((position, character)) = first_outside(name, &IN_NAME) {
        return Err(StorePathError::NameCharacter {
            character,
            position,
        });
    }
    if name.is_empty() {
        return Err(StorePathError::EmptyName);
    }
    if name.len() > MAX_NAME {
        return Err(StorePathError::LongName { length: name.len() });
    }
    if name.starts_with('.') && matches!(name.split('-').next(), Some("." | "..")) {
        return Err(StorePathError::DotName);
    }
    Ok(())
}

/// Whether each byte may be in a name.
const IN_NAME: [bool; 256] =
    nix32::table_of(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-._?=");

/// The first character that is not an allowed ASCII character, and its offset. Bytes are looked at first, in a table:
/// every log entry has some of these texts.
fn first_outside(text: &str, allowed: &[bool; 256]) -> Option<(usize, char)> {
    let is_allowed = |byte: u8| allowed.get(usize::from(byte)).copied().unwrap_or(false);
    if text.bytes().all(is_allowed) {
        return None;
    }
    text.char_indices()
        .find(|&(_, character)| !u8::try_from(character).is_ok_and(is_allowed))
}

fn check_hash_part(text: &str) -> Result<(), StorePathError> {
    if let Some((position, character)) = first_outside(text, &nix32::IS_DIGIT) {
        return Err(StorePathError::HashCharacter {
            character,
            position,
        });
    }
    if text.len() != HASH_CHARS {
        return Err(StorePathError::NoHashPart);
    }
    Ok(())
}

#[cfg(test)]
mod tests;

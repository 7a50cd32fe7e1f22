//! The text of a key, whatever it signs: `name+id+base64(type || key)`.
//!
//! Knows types of keys only as bytes. Reading never changes what is then printed. Specification:
//! C2SP signed-note, "Verifier keys"; the secret form is that of Go's `sumdb/note`.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use super::{KeyError, KeyName};
use crate::base64;

/// The first four bytes of a hash of name, type and key: a hint which key signed, not more.
pub type KeyId = [u8; 4];

/// What a secret key's text begins with.
pub(crate) const SECRET_PREFIX: &str = "PRIVATE+KEY+";

/// Longest text of a key in bytes: the longest name and an ML-DSA-44 public key, and some.
const MAX_KEY_TEXT_LENGTH: usize = 4096;

/// The parts of a key's text. `bytes` are a public key or a secret seed.
pub(crate) struct KeyText {
    pub(crate) name: KeyName,
    pub(crate) id: KeyId,
    pub(crate) kind: u8,
    pub(crate) bytes: Vec<u8>,
}

impl KeyText {
    /// The text of a public key, with the id that follows from it.
    pub(crate) fn new(name: KeyName, kind: u8, public: &[u8]) -> Self {
        let id = key_id(&name, kind, public);
        Self {
            name,
            id,
            kind,
            bytes: public.to_vec(),
        }
    }

    /// Reads a public key's text. Does not check the id.
    pub(crate) fn read_public(text: &str) -> Result<Self, KeyError> {
        if text.starts_with(SECRET_PREFIX) {
            return Err(KeyError::SecretGiven);
        }
        Self::read(text, KeyError::NotAVerifierKey)
    }

    /// Reads a secret key's text. Does not check the id.
    pub(crate) fn read_secret(text: &str) -> Result<Self, KeyError> {
        let parts = text
            .strip_prefix(SECRET_PREFIX)
            .ok_or(KeyError::NotASecretKey)?;
        Self::read(parts, KeyError::NotASecretKey)
    }

    /// The base64 part may itself have a `+`, so only the first two separate.
    fn read(text: &str, shape: KeyError) -> Result<Self, KeyError> {
        if text.len() > MAX_KEY_TEXT_LENGTH {
            return Err(shape);
        }
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(shape);
        };
        let name: KeyName = name.parse()?;
        let id = HEXLOWER
            .decode(id.as_bytes())
            .ok()
            .and_then(|id| KeyId::try_from(id).ok())
            .ok_or_else(|| KeyError::BadId { name: name.clone() })?;
        let bytes = base64::decode(encoded).unwrap_or_default();
        match bytes.split_first() {
            Some((&kind, bytes)) => Ok(Self {
                name,
                id,
                kind,
                bytes: bytes.to_vec(),
            }),
            None => Err(KeyError::BadEncoding { name }),
        }
    }

    /// Refuses another type than these.
    pub(crate) fn expect_type(&self, types: &[u8], expected: &'static str) -> Result<(), KeyError> {
        if types.contains(&self.kind) {
            return Ok(());
        }
        Err(KeyError::UnsupportedType {
            name: self.name.clone(),
            found: self.kind,
            expected,
        })
    }

    /// Refuses an id that does not follow from the name and the key.
    pub(crate) fn expect_id(&self, computed: KeyId) -> Result<(), KeyError> {
        if self.id == computed {
            return Ok(());
        }
        Err(KeyError::WrongId {
            name: self.name.clone(),
            found: self.id,
            computed,
        })
    }

    /// The key's bytes where their number is right.
    pub(crate) fn exactly<const LENGTH: usize>(&self) -> Result<[u8; LENGTH], KeyError> {
        let name = || self.name.clone();
        self.bytes
            .as_slice()
            .try_into()
            .map_err(|_| KeyError::BadEncoding { name: name() })
    }

    /// `PRIVATE+KEY+` and the parts.
    pub(crate) fn to_secret_text(&self) -> String {
        format!("{SECRET_PREFIX}{self}")
    }
}

impl fmt::Display for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = BASE64.encode(&[[self.kind].as_slice(), &self.bytes].concat());
        write!(f, "{}+{}+{encoded}", self.name, HEXLOWER.encode(&self.id))
    }
}

/// First four bytes of SHA-256 over name, line feed, type and public key.
fn key_id(name: &KeyName, kind: u8, public: &[u8]) -> KeyId {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(name.as_str())
        .chain_update([b'\n', kind])
        .chain_update(public)
        .finalize()
        .into();
    let [a, b, c, d, ..] = digest;
    [a, b, c, d]
}

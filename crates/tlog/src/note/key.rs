//! Keys of signed notes: their names, ids and text forms; Ed25519 (type 0x01) only.
//!
//! Reading a key recomputes its id, so a key's text cannot be changed unnoticed. Secret keys never
//! show up in debug output. Specification: C2SP signed-note, "Verifier keys" and "Signatures"; the
//! secret key's text is that of Go's `sumdb/note`.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use sha2::{Digest, Sha256};

use super::NoteSignature;

/// The first four bytes of a hash of name, type and key: a hint which key signed, not more.
pub type KeyId = [u8; 4];

/// Longest name of a key in bytes.
pub const MAX_KEY_NAME_LENGTH: usize = 255;

/// Signature type of plain Ed25519 over the note's text.
const ED25519: u8 = 0x01;

const SECRET_PREFIX: &str = "PRIVATE+KEY+";

/// Name of a key, for a log its origin: not empty, without spaces, `+` and control characters, at
/// most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// A key that verifies notes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: KeyName,
    id: KeyId,
    key: VerifyingKey,
}

/// A key that signs notes. Its bytes are wiped from memory when it is dropped.
#[derive(Clone)]
pub struct SigningKey {
    verifier: VerifierKey,
    key: ed25519_dalek::SigningKey,
}

/// A text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name is empty, too long, or has a space, a `+` or a control character.
    #[error("a key's name is 1 to 255 bytes without spaces, `+` and control characters")]
    BadName,
    /// Not the three parts of a verifier key.
    #[error("not a verifier key: expected name+id+base64")]
    NotAVerifierKey,
    /// Not the three parts of a secret key after `PRIVATE+KEY+`.
    #[error("not a secret key: expected PRIVATE+KEY+name+id+base64")]
    NotASecretKey,
    /// The text is a secret key where a public one is expected.
    #[error("this is a secret key: give the public one, and keep this one to yourself")]
    SecretGiven,
    /// The id is not eight lowercase hexadecimal digits.
    #[error("the id of the key {name} is not eight lowercase hexadecimal digits")]
    BadId {
        /// The key's name.
        name: KeyName,
    },
    /// The last part is not base64 of a type and a key.
    #[error("the last part of the key {name} is not base64 of a type and 32 bytes")]
    BadEncoding {
        /// The key's name.
        name: KeyName,
    },
    /// Another type than Ed25519.
    #[error("the key {name} is of type {found:#04x}; only Ed25519 (0x01) is supported")]
    UnsupportedType {
        /// The key's name.
        name: KeyName,
        /// Its type byte.
        found: u8,
    },
    /// The bytes are not a usable Ed25519 public key.
    #[error("the key {name} is not a usable Ed25519 public key")]
    NotAPoint {
        /// The key's name.
        name: KeyName,
    },
    /// The id does not belong to the name and the key: one of them was changed.
    #[error("the key {name} has the id {}, but its name and bytes give {}",
        HEXLOWER.encode(found), HEXLOWER.encode(computed))]
    WrongId {
        /// The key's name.
        name: KeyName,
        /// The id in the text.
        found: KeyId,
        /// The id that name and key give.
        computed: KeyId,
    },
}

impl KeyName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if text.is_empty() || text.len() > MAX_KEY_NAME_LENGTH || text.contains(forbidden) {
            return Err(KeyError::BadName);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl VerifierKey {
    fn new(name: KeyName, key: VerifyingKey) -> Self {
        let id = key_id(&name, key.as_bytes());
        Self { name, id, key }
    }

    /// The key's name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's id.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The 32 bytes of the Ed25519 public key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether these bytes are this key's signature of the text. Strict: no second signature can be
    /// made from a good one, and no weak key passes.
    pub(super) fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(text.as_bytes(), &signature).is_ok())
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with(SECRET_PREFIX) {
            return Err(KeyError::SecretGiven);
        }
        let (name, found, bytes) = read_parts(text, KeyError::NotAVerifierKey)?;
        let key = VerifyingKey::from_bytes(&bytes)
            .ok()
            .filter(|key| !key.is_weak())
            .ok_or_else(|| KeyError::NotAPoint { name: name.clone() })?;
        Self::new(name, key).with_id(found)
    }
}

impl VerifierKey {
    fn with_id(self, found: KeyId) -> Result<Self, KeyError> {
        if self.id != found {
            return Err(KeyError::WrongId {
                name: self.name,
                found,
                computed: self.id,
            });
        }
        Ok(self)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&join_parts(self, self.as_bytes()))
    }
}

impl SigningKey {
    /// The key with this name from 32 secret random bytes.
    #[must_use]
    pub fn from_seed(name: KeyName, seed: [u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(&seed);
        Self {
            verifier: VerifierKey::new(name, key.verifying_key()),
            key,
        }
    }

    /// The secret key's text: `PRIVATE+KEY+name+id+base64`. Keep it from everyone's eyes.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!(
            "{SECRET_PREFIX}{}",
            join_parts(&self.verifier, self.key.as_bytes())
        )
    }

    /// The public key that verifies what this one signs.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs a note's text as it stands; [`SignedNote::sign`](super::SignedNote::sign) also checks
    /// that it can be a note's text.
    #[must_use]
    pub fn sign(&self, text: &str) -> NoteSignature {
        let signature = self.key.sign(text.as_bytes()).to_bytes().to_vec();
        NoteSignature::new(self.verifier.name.clone(), self.verifier.id, signature)
    }
}

impl FromStr for SigningKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text
            .strip_prefix(SECRET_PREFIX)
            .ok_or(KeyError::NotASecretKey)?;
        let (name, found, seed) = read_parts(parts, KeyError::NotASecretKey)?;
        let key = Self::from_seed(name, seed);
        key.verifier.clone().with_id(found)?;
        Ok(key)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

/// First four bytes of SHA-256 over name, line feed, type and public key.
fn key_id(name: &KeyName, public: &[u8; 32]) -> KeyId {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(name.as_str())
        .chain_update([b'\n', ED25519])
        .chain_update(public)
        .finalize()
        .into();
    let [a, b, c, d, ..] = digest;
    [a, b, c, d]
}

/// `name+id+base64(type || 32 bytes)`; the base64 part may itself have a `+`.
fn join_parts(key: &VerifierKey, bytes: &[u8; 32]) -> String {
    let encoded = BASE64.encode(&[[ED25519].as_slice(), bytes].concat());
    format!("{}+{}+{encoded}", key.name, HEXLOWER.encode(&key.id))
}

fn read_parts(text: &str, shape: KeyError) -> Result<(KeyName, KeyId, [u8; 32]), KeyError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(shape);
    };
    let name: KeyName = name.parse()?;
    let id = HEXLOWER
        .decode(id.as_bytes())
        .ok()
        .and_then(|id| KeyId::try_from(id).ok())
        .ok_or_else(|| KeyError::BadId { name: name.clone() })?;
    let bytes = BASE64.decode(encoded.as_bytes()).unwrap_or_default();
    match bytes.split_first() {
        Some((&ED25519, key)) => match key.try_into() {
            Ok(key) => Ok((name, id, key)),
            Err(_) => Err(KeyError::BadEncoding { name }),
        },
        Some((&found, _)) => Err(KeyError::UnsupportedType { name, found }),
        None => Err(KeyError::BadEncoding { name }),
    }
}

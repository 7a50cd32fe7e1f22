//! Keys that sign a note's text itself: Ed25519 (type 0x01) only.
//!
//! Reading a key recomputes its id, so a key's text cannot be changed unnoticed. Secret keys never
//! show up in debug output. Specification: C2SP signed-note, "Verifier keys" and "Signatures"; the
//! secret key's text is that of Go's `sumdb/note`. Keys of cosigners are in
//! [`cosignature`](crate::cosignature).

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signature, Signer, VerifyingKey};

use super::{
    NoteSignature,
    key_text::{KeyId, KeyText},
};

/// Longest name of a key in bytes.
pub const MAX_KEY_NAME_LENGTH: usize = 255;

/// Signature type of plain Ed25519 over the note's text.
const ED25519: u8 = 0x01;

const EXPECTED: &str = "a key that signs notes, Ed25519 (0x01)";

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
    #[error("the last part of the key {name} is not base64 of a type and a key of that type")]
    BadEncoding {
        /// The key's name.
        name: KeyName,
    },
    /// Another type of key than is expected in this place.
    #[error("the key {name} is of type {found:#04x}; expected here is {expected}")]
    UnsupportedType {
        /// The key's name.
        name: KeyName,
        /// Its type byte.
        found: u8,
        /// What is expected, in words.
        expected: &'static str,
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
        let id = KeyText::new(name.clone(), ED25519, key.as_bytes()).id;
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

    /// The same public key under another name, and so with another id.
    #[must_use]
    pub fn renamed(&self, name: KeyName) -> Self {
        Self::new(name, self.key)
    }

    /// Whether these bytes are this key's signature of the text. Strict: no second signature can be
    /// made from a good one, and no weak key passes.
    pub(crate) fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(text.as_bytes(), &signature).is_ok())
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = KeyText::read_public(text)?;
        read.expect_type(&[ED25519], EXPECTED)?;
        let key = Self::new(read.name.clone(), ed25519_public(&read)?);
        read.expect_id(key.id)?;
        Ok(key)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}",
            KeyText::new(self.name.clone(), ED25519, self.as_bytes())
        )
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
        KeyText {
            name: self.verifier.name.clone(),
            id: self.verifier.id,
            kind: ED25519,
            bytes: self.key.as_bytes().to_vec(),
        }
        .to_secret_text()
    }

    /// The public key that verifies what this one signs.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The same secret key under another name, and so with another id.
    #[must_use]
    pub fn renamed(&self, name: KeyName) -> Self {
        Self {
            verifier: self.verifier.renamed(name),
            key: self.key.clone(),
        }
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
        let read = KeyText::read_secret(text)?;
        read.expect_type(&[ED25519], EXPECTED)?;
        let key = Self::from_seed(read.name.clone(), read.exactly()?);
        read.expect_id(key.verifier.id)?;
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

/// The Ed25519 public key in a text; never a weak one.
pub(crate) fn ed25519_public(read: &KeyText) -> Result<VerifyingKey, KeyError> {
    let name = || read.name.clone();
    VerifyingKey::from_bytes(&read.exactly()?)
        .ok()
        .filter(|key| !key.is_weak())
        .ok_or_else(|| KeyError::NotAPoint { name: name() })
}

//! Ed25519 keys and signatures in Nix's text format, `<key name>:<base64>`.
//!
//! What is signed is always a [`Fingerprint`] printed here, never a text from outside. Verification is strict (RFC 8032
//! with canonical encodings, no small-order keys). Secret keys are made from a seed that the caller drew; nothing here
//! draws randomness, and no secret ever appears in a `Debug` output or an error.

use std::{fmt, str::FromStr};

use data_encoding::BASE64;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use crate::{base64, fingerprint::Fingerprint};

/// Longest key name, in bytes.
pub const MAX_KEY_NAME: usize = 255;

/// The name of a key, as in `cache.example.org-1`. It only says which key to try: whoever likes may take any name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for KeyName {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let allowed = |c: char| c.is_ascii_graphic() && c != ':';
        if text.is_empty() || text.len() > MAX_KEY_NAME || !text.chars().all(allowed) {
            return Err(SignatureError::KeyName);
        }
        Ok(Self(text.to_owned()))
    }
}

/// A public key with its name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    name: KeyName,
    key: VerifyingKey,
}

impl PublicKey {
    /// Takes the 32 bytes of a key.
    ///
    /// # Errors
    /// When they are no point of the curve, or one of the few weak ones that would accept signatures of anybody.
    pub fn from_bytes(name: KeyName, bytes: &[u8; 32]) -> Result<Self, SignatureError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| SignatureError::NotAKey)?;
        if key.is_weak() {
            return Err(SignatureError::NotAKey);
        }
        Ok(Self { name, key })
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's 32 bytes: what two keys are compared by, whatever they are called.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Checks that this key made `signature` over `fingerprint`.
    ///
    /// # Errors
    /// When the signature names another key, or does not verify.
    pub fn verify(
        &self,
        fingerprint: &Fingerprint,
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        self.verify_bytes(fingerprint.to_string().as_bytes(), signature)
    }

    /// Checks that this key made `signature` over exactly `message`.
    ///
    /// # Errors
    /// When the signature names another key, or does not verify.
    pub fn verify_bytes(
        &self,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        if signature.key_name != self.name {
            return Err(SignatureError::OtherKey {
                key: self.name.clone(),
                signed_by: signature.key_name.clone(),
            });
        }
        let bytes = ed25519_dalek::Signature::from_bytes(&signature.bytes);
        self.key
            .verify_strict(message, &bytes)
            .map_err(|_| SignatureError::Forged {
                key: self.name.clone(),
            })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, BASE64.encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for PublicKey {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let (name, bytes) = split::<32>(text)?;
        Self::from_bytes(name, &bytes)
    }
}

/// A secret key with its name. Wiped from memory when dropped.
#[derive(Clone)]
pub struct SecretKey {
    name: KeyName,
    key: SigningKey,
}

impl SecretKey {
    /// The key that belongs to a seed of 32 random bytes.
    #[must_use]
    pub fn from_seed(name: KeyName, seed: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&seed);
        Self { name, key }
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey {
            name: self.name.clone(),
            key: self.key.verifying_key(),
        }
    }

    /// Signs a fingerprint.
    #[must_use]
    pub fn sign(&self, fingerprint: &Fingerprint) -> Signature {
        self.sign_bytes(fingerprint.to_string().as_bytes())
    }

    /// Signs a message that is no fingerprint, such as a build-trace entry.
    #[must_use]
    pub fn sign_bytes(&self, message: &[u8]) -> Signature {
        Signature {
            key_name: self.name.clone(),
            bytes: self.key.sign(message).to_bytes(),
        }
    }

    /// The secret key file's text, `<name>:<base64 of seed and public key>`. It is secret.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!(
            "{}:{}",
            self.name,
            BASE64.encode(&self.key.to_keypair_bytes())
        )
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.name)
    }
}

impl FromStr for SecretKey {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let (name, bytes) = split::<64>(text)?;
        let key =
            SigningKey::from_keypair_bytes(&bytes).map_err(|_| SignatureError::HalvesDiffer)?;
        Ok(Self { name, key })
    }
}

/// A signature and the name of the key that is said to have made it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature {
    key_name: KeyName,
    bytes: [u8; 64],
}

impl Signature {
    /// Puts together a signature that was kept in parts.
    #[must_use]
    pub fn new(key_name: KeyName, bytes: [u8; 64]) -> Self {
        Self { key_name, bytes }
    }

    /// The name of the key that is said to have made it.
    #[must_use]
    pub fn key_name(&self) -> &KeyName {
        &self.key_name
    }

    /// The Ed25519 signature.
    #[must_use]
    pub fn bytes(&self) -> [u8; 64] {
        self.bytes
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key_name, BASE64.encode(&self.bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let (key_name, bytes) = split::<64>(text)?;
        Ok(Self { key_name, bytes })
    }
}

/// What is wrong with a key or a signature. Carries no key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No colon.
    #[error("a key or signature is written `<key name>:<base64>`, and this has no colon")]
    NoColon,
    /// The name before the colon cannot be one.
    #[error(
        "a key name is 1 to {MAX_KEY_NAME} printable ASCII characters without spaces and colons"
    )]
    KeyName,
    /// What follows the colon is no standard base64 with padding.
    #[error("what follows the key name is not base64")]
    Base64,
    /// The base64 holds a wrong number of bytes.
    #[error("{expected} bytes must follow the key name, not {found}")]
    Length {
        /// Bytes wanted.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// The bytes are no usable Ed25519 public key.
    #[error("the bytes are no Ed25519 public key, or a weak one")]
    NotAKey,
    /// A secret key whose public half does not belong to its seed.
    #[error("the two halves of the secret key do not belong together")]
    HalvesDiffer,
    /// The signature names another key than the one it is checked with.
    #[error("the signature names the key {signed_by}, not {key}")]
    OtherKey {
        /// The key used for checking.
        key: KeyName,
        /// The key named in the signature.
        signed_by: KeyName,
    },
    /// The signature is not by this key over these facts.
    #[error("the signature is not by the key {key} over these facts")]
    Forged {
        /// The key used for checking.
        key: KeyName,
    },
}

fn split<const N: usize>(text: &str) -> Result<(KeyName, [u8; N]), SignatureError> {
    let (name, encoded) = text.split_once(':').ok_or(SignatureError::NoColon)?;
    let name = name.parse()?;
    if encoded.len() != BASE64.encode_len(N) {
        // Told apart for the message only; a long text is not decoded.
        let found = encoded.trim_end_matches('=').len().saturating_mul(3) / 4;
        return Err(SignatureError::Length { expected: N, found });
    }
    let bytes = base64::decode(encoded).map_err(|_| SignatureError::Base64)?;
    let found = bytes.len();
    let bytes = bytes
        .try_into()
        .map_err(|_| SignatureError::Length { expected: N, found })?;
    Ok((name, bytes))
}

#[cfg(test)]
mod tests;

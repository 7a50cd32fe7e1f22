//! Keys of cosigners: Ed25519 (type 0x04) and ML-DSA-44 (type 0x06), and their texts.
//!
//! Made from a seed, never from randomness of their own; secret keys never show up in debug output.
//! A log's own keys are [`note::SigningKey`](crate::note::SigningKey) (0x01) and, where it signs
//! post-quantum too, one of these (0x06). Specification: C2SP tlog-cosignature, signed-note; the
//! secret text of both kinds holds the 32-byte seed (FIPS 204 §6.1 for ML-DSA-44).

use std::{fmt, str::FromStr};

use ed25519_dalek::Signer as _;
use ml_dsa::MlDsa44;
use ml_dsa::signature::{Keypair as _, Verifier as _};

use crate::note::{KeyError, KeyId, KeyName, KeyText, ed25519_public};

const EXPECTED: &str = "a cosigner's key, Ed25519 (0x04) or ML-DSA-44 (0x06)";

/// Length of an ML-DSA-44 public key in bytes.
const ML_DSA_44_PUBLIC_LENGTH: usize = 1312;

/// The kinds of cosignatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// Ed25519 with a time, type 0x04.
    Ed25519,
    /// ML-DSA-44 with a time, type 0x06.
    MlDsa44,
}

impl Algorithm {
    /// The type byte in a key's text and id.
    #[must_use]
    pub const fn type_byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x04,
            Self::MlDsa44 => 0x06,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "Ed25519",
            Self::MlDsa44 => "ML-DSA-44",
        })
    }
}

/// A key that verifies a cosigner's signatures.
#[derive(Clone)]
pub struct CosignerKey {
    name: KeyName,
    id: KeyId,
    public: Public,
}

#[derive(Clone)]
enum Public {
    Ed25519(ed25519_dalek::VerifyingKey),
    MlDsa44(Box<ml_dsa::VerifyingKey<MlDsa44>>),
}

/// A key that makes cosignatures. Its bytes are wiped from memory when it is dropped.
#[derive(Clone)]
pub struct CosignerSigningKey {
    verifier: CosignerKey,
    secret: Secret,
}

#[derive(Clone)]
enum Secret {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    MlDsa44(Box<ml_dsa::SigningKey<MlDsa44>>),
}

impl CosignerKey {
    fn new(name: KeyName, public: Public) -> Self {
        let id = KeyText::new(name.clone(), public.kind().type_byte(), &public.bytes()).id;
        Self { name, id, public }
    }

    /// The cosigner's name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's id.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Its kind.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.public.kind()
    }

    /// The public key's bytes: 32 for Ed25519, 1312 for ML-DSA-44.
    #[must_use]
    pub fn public_bytes(&self) -> Vec<u8> {
        self.public.bytes()
    }

    /// The same public key under another name, and so with another id.
    #[must_use]
    pub fn renamed(&self, name: KeyName) -> Self {
        Self::new(name, self.public.clone())
    }

    /// Whether these bytes are this key's signature of the message.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.public {
            Public::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Public::MlDsa44(key) => ml_dsa::Signature::<MlDsa44>::try_from(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }
}

impl Public {
    const fn kind(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::Ed25519,
            Self::MlDsa44(_) => Algorithm::MlDsa44,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.as_bytes().to_vec(),
            Self::MlDsa44(key) => key.encode().to_vec(),
        }
    }
}

impl PartialEq for CosignerKey {
    fn eq(&self, other: &Self) -> bool {
        // The id is part of it: name, kind and bytes decide.
        self.name == other.name
            && self.algorithm() == other.algorithm()
            && self.public_bytes() == other.public_bytes()
    }
}

impl Eq for CosignerKey {}

impl FromStr for CosignerKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = KeyText::read_public(text)?;
        let public = match kind_of(&read)? {
            Algorithm::Ed25519 => Public::Ed25519(ed25519_public(&read)?),
            Algorithm::MlDsa44 => {
                let encoded: [u8; ML_DSA_44_PUBLIC_LENGTH] = read.exactly()?;
                let key = ml_dsa::VerifyingKey::decode(&encoded.into());
                Public::MlDsa44(Box::new(key))
            }
        };
        let key = Self::new(read.name.clone(), public);
        read.expect_id(key.id)?;
        Ok(key)
    }
}

impl fmt::Display for CosignerKey {
    /// The key's text, `name+id+base64`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.algorithm().type_byte();
        write!(
            f,
            "{}",
            KeyText::new(self.name.clone(), kind, &self.public_bytes())
        )
    }
}

impl fmt::Debug for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosignerKey({self})")
    }
}

impl CosignerSigningKey {
    /// The key with this name from 32 secret random bytes.
    #[must_use]
    pub fn from_seed(name: KeyName, algorithm: Algorithm, seed: [u8; 32]) -> Self {
        let (public, secret) = match algorithm {
            Algorithm::Ed25519 => {
                let key = Box::new(ed25519_dalek::SigningKey::from_bytes(&seed));
                (Public::Ed25519(key.verifying_key()), Secret::Ed25519(key))
            }
            Algorithm::MlDsa44 => {
                let key = Box::new(ml_dsa::SigningKey::<MlDsa44>::from_seed(&seed.into()));
                let public = Box::new(key.verifying_key());
                (Public::MlDsa44(public), Secret::MlDsa44(key))
            }
        };
        Self {
            verifier: CosignerKey::new(name, public),
            secret,
        }
    }

    /// The public key that verifies what this one signs.
    #[must_use]
    pub const fn verifier(&self) -> &CosignerKey {
        &self.verifier
    }

    /// The same secret key under another name, and so with another id. (Two cosigners must never
    /// share an Ed25519 key: what it signs does not name the cosigner.)
    #[must_use]
    pub fn renamed(&self, name: KeyName) -> Self {
        Self {
            verifier: self.verifier.renamed(name),
            secret: self.secret.clone(),
        }
    }

    /// The secret key's text: `PRIVATE+KEY+name+id+base64`. Keep it from everyone's eyes.
    #[must_use]
    pub fn to_text(&self) -> String {
        let bytes = match &self.secret {
            Secret::Ed25519(key) => key.as_bytes().to_vec(),
            Secret::MlDsa44(key) => key.as_seed().to_vec(),
        };
        KeyText {
            name: self.verifier.name.clone(),
            id: self.verifier.id,
            kind: self.verifier.algorithm().type_byte(),
            bytes,
        }
        .to_secret_text()
    }

    /// Signs a message: 64 or 2420 bytes. `None` where the library gives up.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.secret {
            Secret::Ed25519(key) => Some(key.sign(message).to_bytes().to_vec()),
            Secret::MlDsa44(key) => {
                let signed = key.expanded_key().sign_deterministic(message, &[]);
                signed.ok().map(|signature| signature.encode().to_vec())
            }
        }
    }
}

impl FromStr for CosignerSigningKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = KeyText::read_secret(text)?;
        let key = Self::from_seed(read.name.clone(), kind_of(&read)?, read.exactly()?);
        read.expect_id(key.verifier.id)?;
        Ok(key)
    }
}

impl fmt::Debug for CosignerSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CosignerSigningKey")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

fn kind_of(read: &KeyText) -> Result<Algorithm, KeyError> {
    read.expect_type(&[0x04, 0x06], EXPECTED)?;
    Ok(if read.kind == 0x04 {
        Algorithm::Ed25519
    } else {
        Algorithm::MlDsa44
    })
}

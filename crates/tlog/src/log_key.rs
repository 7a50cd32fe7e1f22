//! A key by which a log signs its checkpoints: Ed25519 over the text (0x01), or ML-DSA-44 (0x06).
//!
//! The name of the key is the log's origin. Specification: C2SP tlog-checkpoint.

use std::{fmt, str::FromStr};

use crate::{
    checkpoint::Checkpoint,
    cosignature::CosignerKey,
    note::{KeyError, KeyId, KeyName, KeyText, NoteSignature, VerifierKey},
};

/// The public key of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogKey {
    /// Signs the checkpoint's text (0x01). Every public log has one.
    Ed25519(VerifierKey),
    /// Signs origin, size and root with a time (0x06), and resists quantum computers.
    MlDsa44(CosignerKey),
}

impl LogKey {
    /// The key's name: the log's origin.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        match self {
            Self::Ed25519(key) => key.name(),
            Self::MlDsa44(key) => key.name(),
        }
    }

    /// The key's id.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        match self {
            Self::Ed25519(key) => key.id(),
            Self::MlDsa44(key) => key.id(),
        }
    }

    /// The public key's bytes: 32 for Ed25519, 1312 for ML-DSA-44.
    #[must_use]
    pub fn public_bytes(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.as_bytes().to_vec(),
            Self::MlDsa44(key) => key.public_bytes(),
        }
    }

    /// Whether a signature line names this key. It may still be wrong.
    #[must_use]
    pub fn is_named_by(&self, signature: &NoteSignature) -> bool {
        signature.name() == self.name() && signature.id() == self.id()
    }

    /// Whether this is the log's checkpoint, and the signature is by this key and good.
    #[must_use]
    pub fn verifies(&self, checkpoint: &Checkpoint, signature: &NoteSignature) -> bool {
        checkpoint.origin == self.name().as_str()
            && self.is_named_by(signature)
            && match self {
                Self::Ed25519(key) => key.verifies(&checkpoint.to_text(), signature.bytes()),
                Self::MlDsa44(key) => key.verify(checkpoint, signature).is_ok(),
            }
    }
}

impl From<VerifierKey> for LogKey {
    fn from(key: VerifierKey) -> Self {
        Self::Ed25519(key)
    }
}

impl FromStr for LogKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = KeyText::read_public(text)?;
        read.expect_type(
            &[0x01, 0x06],
            "a log's key, Ed25519 (0x01) or ML-DSA-44 (0x06)",
        )?;
        if read.kind == 0x06 {
            text.parse().map(Self::MlDsa44)
        } else {
            text.parse().map(Self::Ed25519)
        }
    }
}

impl fmt::Display for LogKey {
    /// The key's text, `name+id+base64`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519(key) => key.fmt(f),
            Self::MlDsa44(key) => key.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cosignature::{Algorithm, CosignerSigningKey},
        hash::leaf_hash,
        note::SigningKey,
    };

    #[test]
    fn a_log_signs_with_either_kind_and_only_its_own_checkpoints() {
        let name: KeyName = "log.example".parse().unwrap();
        let checkpoint = Checkpoint {
            origin: "log.example".into(),
            size: 3,
            root: leaf_hash(b"root"),
            extensions: Vec::new(),
        };
        let foreign = Checkpoint {
            origin: "other.example".into(),
            ..checkpoint.clone()
        };
        let classic = SigningKey::from_seed(name.clone(), [1; 32]);
        let quantum = CosignerSigningKey::from_seed(name, Algorithm::MlDsa44, [1; 32]);
        let keys: [(LogKey, [NoteSignature; 2]); 2] = [
            (
                classic.verifier().clone().into(),
                [&checkpoint, &foreign].map(|c| classic.sign(&c.to_text())),
            ),
            (
                LogKey::MlDsa44(quantum.verifier().clone()),
                [&checkpoint, &foreign].map(|c| quantum.cosign(c, 7).unwrap()),
            ),
        ];
        for (key, [own, of_foreign]) in keys {
            assert_eq!(key.to_string().parse(), Ok(key.clone()));
            assert!(key.verifies(&checkpoint, &own));
            assert!(!key.verifies(&foreign, &of_foreign));
            assert!(!key.verifies(&checkpoint, &of_foreign));
        }
    }

    #[test]
    fn a_witness_key_is_not_a_logs_key() {
        let witness =
            CosignerSigningKey::from_seed("w".parse().unwrap(), Algorithm::Ed25519, [1; 32]);
        assert_eq!(
            witness.verifier().to_string().parse::<LogKey>(),
            Err(KeyError::UnsupportedType {
                name: "w".parse().unwrap(),
                found: 4,
                expected: "a log's key, Ed25519 (0x01) or ML-DSA-44 (0x06)",
            })
        );
    }
}

//! The end of a log: its key names the one that follows, and both sign that.
//!
//! What is signed cannot be taken for a checkpoint: its second line is no size. Says nothing of where the rotation
//! stands in a log; that it is the last entry is for whoever appends or follows to see to.

use crate::note::{NoteError, NoteSignature, SignedNote, SigningKey, VerifierKey};

/// A rotation is not signed by both keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// The key that follows is the key itself, or has its name.
    #[error("the key that follows must have another name than {name}")]
    SameName {
        /// The name of both.
        name: String,
    },
    /// The signature of the key that ends is wrong.
    #[error("it is not signed by the key of the log that ends")]
    Old(#[source] NoteError),
    /// The signature of the key that follows is wrong.
    #[error("it is not signed by the key that follows")]
    New(#[source] NoteError),
}

/// What both keys sign.
fn text(old: &VerifierKey, new: &VerifierKey) -> String {
    format!("quorix key rotation v1\n{old}\n{new}\n")
}

/// The signatures of both keys, the old one's first.
///
/// # Errors
/// Both have the same name.
pub fn sign_rotation(
    old: &SigningKey,
    new: &SigningKey,
) -> Result<([u8; 64], [u8; 64]), RotationError> {
    let text = text(old.verifier(), new.verifier());
    let by = |key: &SigningKey| {
        let signature = key.sign(&text);
        // An Ed25519 signature has 64 bytes.
        signature.bytes().try_into().unwrap_or([0; 64])
    };
    let signatures = (by(old), by(new));
    verify_rotation(old.verifier(), new.verifier(), &signatures.0, &signatures.1)?;
    Ok(signatures)
}

/// Checks that the key of a log names the one that follows, and that this one agrees.
///
/// # Errors
/// Which signature is wrong, or that both keys have one name.
pub fn verify_rotation(
    old: &VerifierKey,
    new: &VerifierKey,
    old_signature: &[u8; 64],
    new_signature: &[u8; 64],
) -> Result<(), RotationError> {
    if old.name() == new.name() {
        return Err(RotationError::SameName {
            name: old.name().to_string(),
        });
    }
    let text = text(old, new);
    verify(&text, old, old_signature).map_err(RotationError::Old)?;
    verify(&text, new, new_signature).map_err(RotationError::New)
}

fn verify(text: &str, key: &VerifierKey, signature: &[u8; 64]) -> Result<(), NoteError> {
    let line = NoteSignature::new(key.name().clone(), key.id(), signature.to_vec());
    SignedNote::parse(format!("{text}\n{line}\n").as_bytes())?.verify(&[key])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, seed: u8) -> SigningKey {
        SigningKey::from_seed(name.parse().unwrap(), [seed; 32])
    }

    #[test]
    fn both_keys_sign_that_one_follows_the_other() {
        let (old, new, other) = (
            key("log.example/1", 1),
            key("log.example/2", 2),
            key("log.example/3", 3),
        );
        let (by_old, by_new) = sign_rotation(&old, &new).unwrap();
        let verify = |old: &SigningKey, new: &SigningKey, by_old: &[u8; 64], by_new: &[u8; 64]| {
            verify_rotation(old.verifier(), new.verifier(), by_old, by_new)
        };
        assert_eq!(verify(&old, &new, &by_old, &by_new), Ok(()));
        for wrong in [
            verify(&old, &new, &by_new, &by_new),
            verify(&other, &new, &by_old, &by_new),
            verify(&new, &old, &by_new, &by_old),
        ] {
            assert!(matches!(wrong, Err(RotationError::Old(_))), "{wrong:?}");
        }
        let wrong = verify(&old, &new, &by_old, &by_old);
        assert!(matches!(wrong, Err(RotationError::New(_))), "{wrong:?}");
    }

    #[test]
    fn the_key_that_follows_has_another_name() {
        let name = "log.example/1".to_owned();
        let refused = sign_rotation(&key("log.example/1", 1), &key("log.example/1", 2));
        assert_eq!(refused, Err(RotationError::SameName { name }));
    }

    #[test]
    fn what_is_signed_is_no_checkpoint() {
        let text = text(
            key("log.example/1", 1).verifier(),
            key("log.example/2", 2).verifier(),
        );
        assert_eq!(
            crate::checkpoint::Checkpoint::parse(&text),
            Err(crate::checkpoint::CheckpointError::BadSize)
        );
    }
}

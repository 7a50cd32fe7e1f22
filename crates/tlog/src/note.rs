//! Signed notes: a text and the signatures of it, one a line.
//!
//! The text says what is signed, a key's name and id say who signed. Signatures by unknown keys are
//! kept and never believed; one bad signature of a known key rejects the whole note. Never interprets
//! the text. Only Ed25519 (type 0x01) keys exist here; cosignatures, which sign more than the text,
//! are in [`cosignature`](crate::cosignature). Specification: C2SP signed-note.

use std::fmt;

use data_encoding::BASE64;

use crate::base64;

mod key;
mod key_text;

pub use key::{KeyError, KeyName, MAX_KEY_NAME_LENGTH, SigningKey, VerifierKey};
pub use key_text::KeyId;

pub(crate) use key::ed25519_public;
pub(crate) use key_text::KeyText;

/// Longest note in bytes.
pub const MAX_NOTE_LENGTH: usize = 1 << 20;

/// Most signatures that a note may carry. The specification demands that 16 are accepted.
pub const MAX_SIGNATURES: usize = 64;

/// What each signature line begins with: an em dash and a space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

const KEY_ID_LENGTH: usize = 4;

/// A text with signatures, well-formed but not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line of a note: who claims to have signed, and the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    id: KeyId,
    signature: Vec<u8>,
}

/// Bytes are not a signed note, or its signatures do not show what they should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`MAX_NOTE_LENGTH`].
    #[error("the note has {length} bytes, more than the permitted 1048576")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Not UTF-8.
    #[error("the note is not UTF-8 from byte {offset} on")]
    NotUtf8 {
        /// Where in bytes the first wrong byte is.
        offset: usize,
    },
    /// A control character other than the line feed.
    #[error("the note has a control character at byte {offset}")]
    ControlCharacter {
        /// Where in bytes it is.
        offset: usize,
    },
    /// No blank line, so no signatures; or a text that does not end with a line feed.
    #[error("the note has no blank line between a text and its signatures")]
    NoSignatures,
    /// More than [`MAX_SIGNATURES`].
    #[error("the note has {count} signatures, more than the permitted 64")]
    TooManySignatures {
        /// How many it has.
        count: usize,
    },
    /// A line after the blank line is not a signature.
    #[error("line {line} of the note's signatures is not of the form `\u{2014} name base64`")]
    MalformedSignature {
        /// Which line after the blank one, from 1.
        line: usize,
    },
    /// The signature of a known key is wrong.
    #[error("the signature by {name} is not valid for the note's text")]
    BadSignature {
        /// The key's name.
        name: KeyName,
    },
    /// None of the known keys signed.
    #[error("none of the known keys signed the note")]
    NoKnownSignature,
}

impl SignedNote {
    /// Signs a text, which must end with a line feed, with each of the keys.
    ///
    /// # Errors
    /// The text is empty, does not end with a line feed, has control characters, or the note would
    /// be too long; no key or too many.
    pub fn sign(text: &str, keys: &[&SigningKey]) -> Result<Self, NoteError> {
        let signatures = keys.iter().map(|key| key.sign(text)).collect();
        Self::assemble(text, signatures)
    }

    /// Puts a text, which must end with a line feed, and signatures of it together. Verifies none
    /// of them.
    ///
    /// # Errors
    /// As [`SignedNote::sign`].
    pub fn assemble(text: &str, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        let note = Self {
            text: text.to_owned(),
            signatures,
        };
        // Whatever cannot be read back must not be signed.
        match Self::parse(&note.to_bytes())? {
            read if read == note => Ok(note),
            _ => Err(NoteError::NoSignatures),
        }
    }

    /// Reads a note. Printing what was read gives the same bytes.
    ///
    /// # Errors
    /// Where and how the bytes are not a note.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let length = bytes.len();
        if length > MAX_NOTE_LENGTH {
            return Err(NoteError::TooLong { length });
        }
        let note = std::str::from_utf8(bytes).map_err(|error| NoteError::NotUtf8 {
            offset: error.valid_up_to(),
        })?;
        if let Some(offset) = note.bytes().position(|byte| byte < 0x20 && byte != b'\n') {
            return Err(NoteError::ControlCharacter { offset });
        }
        // The last blank line separates: the text may have blank lines, signatures may not.
        let (head, lines) = note.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        let count = lines.split('\n').count();
        if count > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures { count });
        }
        let signatures = (1..)
            .zip(lines.split('\n'))
            .map(|(line, text)| {
                NoteSignature::parse(text).ok_or(NoteError::MalformedSignature { line })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: format!("{head}\n"),
            signatures,
        })
    }

    /// The signed text, with its final line feed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures in their order, verified or not.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The note as it is sent and stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let lines = self
            .signatures
            .iter()
            .map(|signature| format!("{signature}\n"));
        format!("{}\n{}", self.text, lines.collect::<String>()).into_bytes()
    }

    /// Checks the signatures of the known keys: at least one of them signed, and each signature
    /// that names one of them is good. Signatures by other keys are ignored.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] or [`NoteError::NoKnownSignature`].
    pub fn verify(&self, known: &[&VerifierKey]) -> Result<(), NoteError> {
        let mut verified = false;
        for signature in &self.signatures {
            let mut named = known.iter().filter(|key| signature.names(key)).peekable();
            if named.peek().is_none() {
                continue;
            }
            // Ids are short: two known keys of one name may share theirs.
            if !named.any(|key| key.verifies(&self.text, &signature.signature)) {
                return Err(NoteError::BadSignature {
                    name: signature.name.clone(),
                });
            }
            verified = true;
        }
        if verified {
            Ok(())
        } else {
            Err(NoteError::NoKnownSignature)
        }
    }
}

impl NoteSignature {
    pub(crate) const fn new(name: KeyName, id: KeyId, signature: Vec<u8>) -> Self {
        Self {
            name,
            id,
            signature,
        }
    }

    /// Name of the key that is said to have signed.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// Id of the key that is said to have signed.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The signature's own bytes, without the key id: 64 for Ed25519, 8 more for its cosignatures,
    /// 2428 for those of ML-DSA-44, never none.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.signature
    }

    fn names(&self, key: &VerifierKey) -> bool {
        self.name == *key.name() && self.id == key.id()
    }

    /// Reads one line, without its line feed; `None` where it is not a signature line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
        let bytes = base64::decode(encoded).ok()?;
        let (id, signature) = bytes.split_first_chunk::<KEY_ID_LENGTH>()?;
        if signature.is_empty() {
            return None;
        }
        Some(Self {
            name: name.parse().ok()?,
            id: *id,
            signature: signature.to_vec(),
        })
    }
}

impl fmt::Display for NoteSignature {
    /// The line, without its line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = BASE64.encode(&[self.id.as_slice(), &self.signature].concat());
        write!(f, "{SIGNATURE_PREFIX}{} {encoded}", self.name)
    }
}

#[cfg(test)]
mod tests;

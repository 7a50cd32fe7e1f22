//! Tokens: Ed25519 keys that let one builder submit to one log, and what they sign.
//!
//! The builder holds the secret ([`Token`]); the log stores the public half ([`Grant`]), so nothing that is stored there
//! lets anyone in. Each submission is signed with its entries and with a challenge of the running log, so a captured
//! one is good neither again, nor for another log, nor after a restart. Nothing here draws randomness.
//! Format: `proto/quorix/v1/log.proto`, `Authorization`.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use prost::Message as _;
use quorix_nix::signature::{PublicKey, SecretKey, Signature};
use quorix_tlog::note::KeyName as Origin;
use sha2::{Digest as _, Sha256};

use crate::pb;

/// The gRPC metadata in which an [`Authorization`] travels.
pub const AUTHORIZATION: &str = "quorix-authorization-bin";
/// The most bytes of it; more is not looked at.
pub const AUTHORIZATION_BYTES_MAX: usize = 512;
/// The most bytes of a token's name.
pub const NAME_BYTES_MAX: usize = 64;

/// What the signed text begins with, so that no signature of another kind is ever one of these.
const SIGNED_FOR: &str = "quorix submit v1";
/// How a token's file begins.
const SECRET_WORD: &str = "quorix-token";

/// A text is no token, or no line of a log's token file. Carries no key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not of the shape of a token's file.
    #[error(
        "a token is `{SECRET_WORD} ORIGIN NAME:BASE64`; make one: quorix token generate --log ORIGIN --name NAME FILE"
    )]
    NotAToken,
    /// Not of the shape of a line.
    #[error("expected `ORIGIN NAME:BASE64`, as `quorix token generate` prints it")]
    NotAGrant,
    /// The secret where the public half belongs.
    #[error(
        "this is the secret of a token: a log stores only the line that `quorix token generate` printed"
    )]
    SecretGiven,
    /// The first word is no name of a log.
    #[error("`{0}` cannot be the origin of a log")]
    Origin(String),
    /// The name is empty, too long, or has other characters.
    #[error("the name of a token is 1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` and `-`")]
    Name,
    /// The key is none.
    #[error("the key of the token: {0}")]
    Key(String),
}

/// The secret half: whose it is, and for which log.
#[derive(Clone, Debug)]
pub struct Token {
    origin: Origin,
    key: SecretKey,
}

/// The public half, as a log stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    origin: Origin,
    key: PublicKey,
}

/// What makes a signature good for one run of a log, and one client of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Drawn when the log started.
    pub boot_id: [u8; 16],
    /// Given to one client.
    pub session: u64,
}

/// What a submission carries besides its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Name of the token.
    pub name: String,
    /// The log's challenge.
    pub challenge: Challenge,
    /// Never used twice with one challenge.
    pub sequence: u64,
    /// Of the entries and blobs: [`body_digest`].
    pub body: [u8; 32],
    /// The Ed25519 signature over all of it but the name.
    pub signature: [u8; 64],
}

impl Token {
    /// The token that belongs to a seed of 32 random bytes.
    ///
    /// # Errors
    /// Origin or name cannot be one.
    pub fn from_seed(origin: &str, name: &str, seed: [u8; 32]) -> Result<Self, TokenError> {
        check_name(name)?;
        let name = name.parse().map_err(|_| TokenError::Name)?;
        Ok(Self {
            origin: origin_of(origin)?,
            key: SecretKey::from_seed(name, seed),
        })
    }

    /// The log that it is for.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.origin.as_str()
    }

    /// What the log stores.
    #[must_use]
    pub fn grant(&self) -> Grant {
        Grant {
            origin: self.origin.clone(),
            key: self.key.public_key(),
        }
    }

    /// The text of the token's file. It is secret.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{SECRET_WORD} {} {}", self.origin, self.key.to_text())
    }

    /// Signs a submission whose entries and blobs have this digest.
    #[must_use]
    pub fn authorize(&self, challenge: Challenge, sequence: u64, body: [u8; 32]) -> Authorization {
        let message = signed_text(&self.origin, &challenge, sequence, &body);
        Authorization {
            name: self.key.public_key().name().to_string(),
            challenge,
            sequence,
            body,
            signature: self.key.sign_bytes(message.as_bytes()).bytes(),
        }
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [SECRET_WORD, origin, key] = words.as_slice() else {
            return Err(TokenError::NotAToken);
        };
        let key: SecretKey =
            key.parse()
                .map_err(|error: quorix_nix::signature::SignatureError| {
                    TokenError::Key(error.to_string())
                })?;
        check_name(key.public_key().name().as_str())?;
        Ok(Self {
            origin: origin_of(origin)?,
            key,
        })
    }
}

impl Grant {
    /// The log that it is for.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.origin.as_str()
    }

    /// Who it is for.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.name().as_str()
    }

    /// The 32 bytes of the public key.
    #[must_use]
    pub fn key_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether the token signed this submission. Whether the challenge is good is another question.
    #[must_use]
    pub fn signed(&self, authorization: &Authorization) -> bool {
        let Authorization {
            challenge,
            sequence,
            body,
            signature,
            ..
        } = authorization;
        let message = signed_text(&self.origin, challenge, *sequence, body);
        let signature = Signature::new(self.key.name().clone(), *signature);
        self.key
            .verify_bytes(message.as_bytes(), &signature)
            .is_ok()
    }
}

impl FromStr for Grant {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.first() == Some(&SECRET_WORD) {
            return Err(TokenError::SecretGiven);
        }
        let [origin, key] = words.as_slice() else {
            return Err(TokenError::NotAGrant);
        };
        if key.parse::<SecretKey>().is_ok() {
            return Err(TokenError::SecretGiven);
        }
        let key: PublicKey =
            key.parse()
                .map_err(|error: quorix_nix::signature::SignatureError| {
                    TokenError::Key(error.to_string())
                })?;
        check_name(key.name().as_str())?;
        Ok(Self {
            origin: origin_of(origin)?,
            key,
        })
    }
}

impl fmt::Display for Grant {
    /// The line of a log's token file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.origin, self.key)
    }
}

impl Authorization {
    /// As it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        pb::Authorization {
            token: self.name.clone(),
            challenge: Some(self.challenge.into()),
            sequence: self.sequence,
            body_sha256: self.body.to_vec(),
            signature: self.signature.to_vec(),
        }
        .encode_to_vec()
    }

    /// Reads what came. `None` if it is nothing of this kind.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > AUTHORIZATION_BYTES_MAX {
            return None;
        }
        let message = pb::Authorization::decode(bytes).ok()?;
        Some(Self {
            name: message.token,
            challenge: Challenge::read(message.challenge)?,
            sequence: message.sequence,
            body: message.body_sha256.try_into().ok()?,
            signature: message.signature.try_into().ok()?,
        })
    }
}

impl Challenge {
    /// Reads what came. `None` if the boot id has another length than 16.
    #[must_use]
    pub fn read(message: Option<pb::Challenge>) -> Option<Self> {
        let pb::Challenge { boot_id, session } = message?;
        Some(Self {
            boot_id: boot_id.try_into().ok()?,
            session,
        })
    }
}

impl From<Challenge> for pb::Challenge {
    fn from(challenge: Challenge) -> Self {
        Self {
            boot_id: challenge.boot_id.to_vec(),
            session: challenge.session,
        }
    }
}

/// SHA-256 over entries and blobs, their numbers and lengths: what a signature binds.
#[must_use]
pub fn body_digest(entries: &[Vec<u8>], blobs: &[Vec<u8>]) -> [u8; 32] {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX).to_be_bytes();
    let mut hash = Sha256::new();
    for list in [entries, blobs] {
        hash.update(number(list.len()));
        for bytes in list {
            hash.update(number(bytes.len()));
            hash.update(bytes);
        }
    }
    hash.finalize().into()
}

fn signed_text(origin: &Origin, challenge: &Challenge, sequence: u64, body: &[u8; 32]) -> String {
    let Challenge { boot_id, session } = challenge;
    let (boot_id, body) = (HEXLOWER.encode(boot_id), HEXLOWER.encode(body));
    format!("{SIGNED_FOR}\n{origin}\n{boot_id}\n{session}\n{sequence}\n{body}\n")
}

fn origin_of(text: &str) -> Result<Origin, TokenError> {
    text.parse()
        .map_err(|_| TokenError::Origin(text.chars().take(100).collect()))
}

fn check_name(name: &str) -> Result<(), TokenError> {
    let permitted = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(permitted) {
        return Err(TokenError::Name);
    }
    Ok(())
}

#[cfg(test)]
mod tests;

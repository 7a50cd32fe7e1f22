//! Secret key files.

use std::path::Path;

use quorix_host::key::SecretKeyFile;
use quorix_nix::signature::SecretKey;
use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};
use quorix_tlog::note::{KeyError, SigningKey};
use quorix_wire::token::{Token, TokenError};

use crate::output::Failure;

/// The most bytes that a secret key file may have.
const KEY_BYTES_MAX: u64 = 4096;

/// A secret key of any kind.
pub enum AnyKey {
    /// Signs checkpoints.
    Log(SigningKey),
    /// Cosigns checkpoints.
    Cosigner(CosignerSigningKey),
    /// Signs store paths.
    Nix(SecretKey),
}

/// Reads a log's secret key, which must have the log's name.
///
/// # Errors
/// The file cannot be read, is no such key, or the key has another name.
pub fn log_key(file: &Path, origin: &str) -> Result<SigningKey, Failure> {
    let key = match any_key(file)? {
        AnyKey::Log(key) => key,
        other => {
            return Err(Failure::wrong(format!(
                "{} is {}, not a log's; make one: quorix key generate --kind log --name {origin} FILE",
                file.display(),
                other.kind()
            )));
        }
    };
    let name = key.verifier().name().as_str().to_owned();
    if name != origin {
        return Err(Failure::wrong(format!(
            "log.origin is `{origin}`, but the key in {} is called `{name}`; they must be the same",
            file.display()
        )));
    }
    Ok(key)
}

impl AnyKey {
    /// What kind of key it is, in words.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Log(_) => "a log's key",
            Self::Cosigner(_) => "a witness's key",
            Self::Nix(_) => "a Nix key",
        }
    }
}

/// Reads a witness's secret key (Ed25519).
///
/// # Errors
/// The file cannot be read or is no such key.
pub fn cosigner_key(file: &Path) -> Result<CosignerSigningKey, Failure> {
    of_algorithm(file, Algorithm::Ed25519, "witness")
}

/// Reads a secret key of a witness or log that resists quantum computers (ML-DSA-44).
///
/// # Errors
/// The file cannot be read or is no such key.
pub fn pq_key(file: &Path) -> Result<CosignerSigningKey, Failure> {
    of_algorithm(file, Algorithm::MlDsa44, "witness-pq")
}

fn of_algorithm(
    file: &Path,
    algorithm: Algorithm,
    kind: &str,
) -> Result<CosignerSigningKey, Failure> {
    match any_key(file)? {
        AnyKey::Cosigner(key) if key.verifier().algorithm() == algorithm => Ok(key),
        other => Err(Failure::wrong(format!(
            "{} is {}, and a key of kind {kind} is needed; make one: quorix key generate --kind {kind} --name NAME FILE",
            file.display(),
            other.kind()
        ))),
    }
}

/// Reads the secret key that signs what is posted to a webhook.
///
/// # Errors
/// The file cannot be read or is no such key.
pub fn webhook_key(file: &Path) -> Result<SigningKey, Failure> {
    match any_key(file)? {
        AnyKey::Log(key) => Ok(key),
        other => Err(Failure::wrong(format!(
            "{} is {}, and a key of kind log is needed for a webhook; make one: quorix key generate --kind log --name NAME \
             FILE",
            file.display(),
            other.kind()
        ))),
    }
}

/// Reads a Nix secret key.
///
/// # Errors
/// The file cannot be read or is no such key.
pub fn nix_key(file: &Path) -> Result<SecretKey, Failure> {
    let SecretKeyFile { key, warning } = SecretKeyFile::read(file).map_err(Failure::wrong)?;
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    Ok(key)
}

/// Reads a secret key of any kind.
///
/// # Errors
/// The file cannot be read or is none.
pub fn any_key(file: &Path) -> Result<AnyKey, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::wrong(format!(
            "the key {} cannot be read: {error}",
            file.display()
        ))
    };
    if std::fs::metadata(file).map_err(unreadable)?.len() > KEY_BYTES_MAX {
        return Err(Failure::wrong(format!(
            "{} is too large to be a key",
            file.display()
        )));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    if !text.starts_with("PRIVATE+KEY+") {
        return nix_key(file).map(AnyKey::Nix);
    }
    warn_of_readers(file);
    let text = text.trim();
    let key = match text.parse::<SigningKey>() {
        Err(KeyError::UnsupportedType { .. }) => {
            text.parse::<CosignerSigningKey>().map(AnyKey::Cosigner)
        }
        key => key.map(AnyKey::Log),
    };
    key.map_err(|error| Failure::wrong(format!("the key {}: {error}", file.display())))
}

/// Reads a token.
///
/// # Errors
/// The file cannot be read or is no token.
pub fn token(file: &Path) -> Result<Token, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::wrong(format!(
            "the token {} cannot be read: {error}",
            file.display()
        ))
    };
    if std::fs::metadata(file).map_err(unreadable)?.len() > KEY_BYTES_MAX {
        return Err(Failure::wrong(format!(
            "{} is too large to be a token",
            file.display()
        )));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    warn_of_readers(file);
    text.parse().map_err(|error: TokenError| {
        Failure::wrong(format!("the token {}: {error}", file.display()))
    })
}

fn warn_of_readers(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let readable = std::fs::metadata(file).is_ok_and(|data| data.permissions().mode() & 0o077 != 0);
    if readable {
        tracing::warn!(
            "others can read the secret key {}; run: chmod 600 {}",
            file.display(),
            file.display()
        );
    }
}

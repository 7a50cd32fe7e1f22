//! Secret key files.

use std::path::Path;

use quorix_host::key::SecretKeyFile;
use quorix_nix::signature::SecretKey;
use quorix_tlog::note::SigningKey;

use crate::output::Failure;

/// The most bytes that a secret key file may have.
const KEY_BYTES_MAX: u64 = 4096;

/// A secret key of either kind.
pub enum AnyKey {
    /// Signs checkpoints.
    Log(SigningKey),
    /// Signs store paths.
    Nix(SecretKey),
}

/// Reads a log's secret key, which must have the log's name.
///
/// # Errors
/// The file cannot be read, is no such key, or the key has another name.
pub fn log_key(file: &Path, origin: &str) -> Result<SigningKey, Failure> {
    let AnyKey::Log(key) = any_key(file)? else {
        return Err(Failure::wrong(format!(
            "{} is a Nix key, not a log's; make one: quorix key generate --kind log --name {origin} FILE",
            file.display()
        )));
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

/// Reads a secret key of either kind.
///
/// # Errors
/// The file cannot be read or is neither.
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
    let key = text.trim().parse();
    key.map(AnyKey::Log)
        .map_err(|error: quorix_tlog::note::KeyError| {
            Failure::wrong(format!("the key {}: {error}", file.display()))
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

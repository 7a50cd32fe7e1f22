//! Nix secret key files: `<name>:<base64 of seed and public key>` on one line.
//!
//! A key that others can read still works, since failing would stop a builder that ran yesterday; it is said, though.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use quorix_nix::signature::SecretKey;

const KEY_BYTES_MAX: u64 = 4096;

/// A secret key, and what is wrong with its file.
#[derive(Debug)]
pub struct SecretKeyFile {
    /// The key.
    pub key: SecretKey,
    /// To be shown to the operator: who else can read the file.
    pub warning: Option<String>,
}

impl SecretKeyFile {
    /// Reads a key as made by `nix key generate-secret`.
    ///
    /// # Errors
    /// When the file cannot be read or is no secret key. The message never shows what the file holds.
    pub fn read(path: &Path) -> Result<Self, SecretKeyFileError> {
        let error = |error: std::io::Error| SecretKeyFileError::Read {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let file = File::open(path).map_err(error)?;
        let metadata = file.metadata().map_err(error)?;
        let mut text = String::new();
        file.take(KEY_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(error)?;
        let key = text.trim().parse().map_err(|_| SecretKeyFileError::NoKey {
            path: path.to_owned(),
        })?;
        let mode = metadata.permissions().mode() & 0o777;
        let warning = (mode & 0o077 != 0).then(|| {
            format!(
                "the secret key {} can be read by others (mode {mode:04o}, owner {}); run `chmod 600` on it",
                path.display(),
                metadata.uid()
            )
        });
        Ok(Self { key, warning })
    }
}

/// Why a secret key could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretKeyFileError {
    /// The file cannot be read.
    #[error("reading the secret key {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file holds something else.
    #[error("{} is no Nix secret key `<name>:<base64>`; `nix key generate-secret` makes one", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};

    use super::*;

    /// As made by Nix 2.8.0; used nowhere.
    const SECRET: &str = "b1-1:toDqeF/vZT360USKXY33IwB6LtD3HmaJhG16LtL/4fAgIRWKYVW1wZ/xiNj9Fpw7Xgcfk4gjtuSNohhAqTf8Ag==";

    #[test]
    fn a_key_readable_by_others_works_and_warns() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write(&path, format!("{SECRET}\n")).unwrap();

        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let private = SecretKeyFile::read(&path).unwrap();
        assert_eq!(private.warning, None);
        assert_eq!(private.key.to_text(), SECRET);

        set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let warning = SecretKeyFile::read(&path).unwrap().warning.unwrap();
        assert!(
            warning.contains("can be read by others (mode 0644"),
            "{warning}"
        );
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write(&path, "b1-1:c2VjcmV0").unwrap();
        let error = SecretKeyFile::read(&path).unwrap_err();
        assert_eq!(error, SecretKeyFileError::NoKey { path: path.clone() });
        assert!(!error.to_string().contains("c2VjcmV0"));

        write(&path, [0xff; 10]).unwrap();
        assert!(matches!(
            SecretKeyFile::read(&path),
            Err(SecretKeyFileError::Read { .. })
        ));
        assert!(matches!(
            SecretKeyFile::read(dir.path()),
            Err(SecretKeyFileError::Read { .. })
        ));
    }
}

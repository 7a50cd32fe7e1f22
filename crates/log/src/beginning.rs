//! Whether a log may be begun: a mark beside its key, which is used up with the first signature.
//!
//! An empty folder looks the same before a log's first start and after its disk was lost, and a key that has signed before
//! must not begin again: two histories under one key end a log for good. So the key itself says whether it is new.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use quorix_tlog::note::VerifierKey;
use quorix_trust::ports::StoreError;

/// What a mark begins with; the key's vkey follows.
const SENTENCE: &str = "This key has never signed a checkpoint. `quorix serve` empties this file when it begins the log.";

/// The most bytes of a mark that are read.
const MARK_BYTES_MAX: u64 = 4_096;

/// Knows whether a log's key may still begin a log.
pub trait Beginning: Send + Sync + 'static {
    /// Whether the key is known to have signed nothing.
    ///
    /// # Errors
    /// It cannot be found out.
    fn is_new(&self) -> Result<bool, StoreError>;

    /// The key signs from now on: it is not new any more, durably. Called before anything but the checkpoint of the empty
    /// tree is signed.
    ///
    /// # Errors
    /// It cannot be noted.
    fn has_begun(&self) -> Result<(), StoreError>;
}

/// Every start may be the first one: for logs that live only as long as their process.
pub struct Anew;

impl Beginning for Anew {
    fn is_new(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    fn has_begun(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The mark of a new key: a file beside the key's, with `.new` after its name.
#[derive(Debug)]
pub struct NewKey {
    path: PathBuf,
    vkey: String,
}

impl NewKey {
    /// The mark of the key in this file.
    #[must_use]
    pub fn beside(key_file: &Path, key: &VerifierKey) -> Self {
        let mut path = key_file.as_os_str().to_owned();
        path.push(".new");
        Self {
            path: path.into(),
            vkey: key.to_string(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Marks the key as new, durably. Only for a key that was just made.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn mark(&self) -> std::io::Result<()> {
        // What is there is of a key that was there before.
        let mut file = File::create(&self.path)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        sync_folder(&self.path)
    }

    fn text(&self) -> String {
        format!("{SENTENCE}\n{}\n", self.vkey)
    }

    fn failed(&self, operation: &str, error: &std::io::Error) -> StoreError {
        StoreError {
            operation: format!("{operation} {}", self.path.display()),
            reason: error.to_string(),
        }
    }

    /// Empties the mark. Then it says nothing, even where the folder does not let it be removed.
    fn empty(&self) -> std::io::Result<()> {
        let file = OpenOptions::new().write(true).open(&self.path)?;
        file.set_len(0)?;
        file.sync_all()
    }
}

impl Beginning for NewKey {
    fn is_new(&self) -> Result<bool, StoreError> {
        let read = || {
            if std::fs::metadata(&self.path)?.len() > MARK_BYTES_MAX {
                return Ok(Vec::new());
            }
            std::fs::read(&self.path)
        };
        match read() {
            Ok(bytes) => Ok(bytes == self.text().as_bytes()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("reading the mark of a new key", &error)),
        }
    }

    fn has_begun(&self) -> Result<(), StoreError> {
        match self.empty() {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.failed("emptying the mark of a new key", &error)),
        }
        // Not needed, only tidy: what is empty says nothing.
        if std::fs::remove_file(&self.path).is_ok() {
            let _ = sync_folder(&self.path);
        }
        Ok(())
    }
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use quorix_testkit::entries::log_key;

    use super::*;

    fn mark(dir: &Path, origin: &str) -> NewKey {
        NewKey::beside(&dir.join("log.key"), log_key(origin).verifier())
    }

    #[test]
    fn a_key_is_new_once() {
        let dir = tempfile::tempdir().unwrap();
        let mark = mark(dir.path(), "a.example/log");
        assert_eq!(mark.is_new(), Ok(false));
        mark.mark().unwrap();
        assert_eq!(mark.path(), dir.path().join("log.key.new"));
        assert_eq!(mark.is_new(), Ok(true));
        assert_eq!(mark.has_begun(), Ok(()));
        assert_eq!(mark.is_new(), Ok(false));
        assert!(!mark.path().exists());
        assert_eq!(mark.has_begun(), Ok(()));
    }

    #[test]
    fn the_mark_of_one_key_says_nothing_of_another() {
        let dir = tempfile::tempdir().unwrap();
        mark(dir.path(), "a.example/log").mark().unwrap();
        let other = mark(dir.path(), "b.example/log");
        assert_eq!(other.is_new(), Ok(false));
    }

    #[test]
    fn a_mark_in_a_folder_that_cannot_be_written_is_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let mark = mark(dir.path(), "a.example/log");
        mark.mark().unwrap();
        let locked = std::fs::Permissions::from_mode(0o500);
        std::fs::set_permissions(dir.path(), locked).unwrap();
        assert_eq!(mark.has_begun(), Ok(()));
        assert_eq!(mark.is_new(), Ok(false));
        let open = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(dir.path(), open).unwrap();
    }
}

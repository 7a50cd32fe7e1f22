//! The anchor in a file: the newest signed checkpoint of a log, beside its database or on another disk.
//!
//! Two slots of 4 KiB, written in turn: a write that is torn leaves the other slot, which holds the checkpoint before.
//! A slot is a magic, a sequence number, the length of the checkpoint, the checkpoint, zeros, and the SHA-256 of all
//! that. The file never grows, so one `fdatasync` makes a write durable. Format: docs/formats.md.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use quorix_trust::ports::{Anchor, StoreError};
use sha2::{Digest, Sha256};

/// Length of a slot in bytes: what disks write as one piece, and far more than a checkpoint of a log has.
const SLOT_BYTES: usize = 4_096;
const MAGIC: &[u8; 16] = b"quorix anchor 1\n";
const HASH_BYTES: usize = 32;

/// Longest checkpoint that a slot holds, in bytes.
pub const ANCHORED_BYTES_MAX: usize = SLOT_BYTES - MAGIC.len() - 8 - 4 - HASH_BYTES;

/// A file with the newest checkpoint that a log has signed. Locked while it is open: one process has it.
#[derive(Debug)]
pub struct AnchorFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    newest: Slot,
}

/// What a slot says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    sequence: u64,
    /// Empty before anything was signed.
    checkpoint: Vec<u8>,
}

impl AnchorFile {
    /// Opens the anchor, or makes one that says nothing yet, durably and whole or not at all.
    ///
    /// # Errors
    /// Another process has it, it is damaged in both slots, or the file system refuses.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |reason: String| StoreError {
            operation: format!("opening the anchor {}", path.display()),
            reason,
        };
        let io = |error: std::io::Error| failed(error.to_string());
        if !path.exists() {
            make(path).map_err(io)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(failed("another quorix process has it open".to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let newest = newest(&file).ok_or_else(|| failed(DAMAGED.to_owned()))?;
        Ok(Self {
            path: path.to_path_buf(),
            state: Mutex::new(State { file, newest }),
        })
    }
}

const DAMAGED: &str = "both of its slots are damaged. If the database is whole and not an older copy, move the anchor away \
                       and run `quorix log adopt`";

/// An anchor that is only looked at. While it is held no log starts with it; several may look at once.
#[derive(Debug)]
pub struct HeldAnchor {
    /// Locked as long as it is open.
    _file: File,
    newest: Option<Slot>,
}

/// An anchor cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// Its log runs.
    #[error("another quorix process has the anchor open")]
    InUse,
    /// The file system refuses.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

impl HeldAnchor {
    /// Holds the anchor, and changes nothing. `None` where there is none.
    ///
    /// # Errors
    /// See [`HoldError`].
    pub fn hold(path: &Path) -> Result<Option<Self>, HoldError> {
        let failed = |error: std::io::Error| StoreError {
            operation: format!("looking at the anchor {}", path.display()),
            reason: error.to_string(),
        };
        let file = match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HoldError::InUse),
            Err(TryLockError::Error(error)) => return Err(failed(error).into()),
        }
        let newest = newest(&file);
        Ok(Some(Self {
            _file: file,
            newest,
        }))
    }

    /// The newest checkpoint in it, `None` before anything was signed.
    ///
    /// # Errors
    /// It is damaged.
    pub fn checkpoint(&self) -> Result<Option<&[u8]>, StoreError> {
        let newest = self.newest.as_ref().ok_or_else(|| StoreError {
            operation: "reading the anchor".to_owned(),
            reason: DAMAGED.to_owned(),
        })?;
        Ok(Some(newest.checkpoint.as_slice()).filter(|checkpoint| !checkpoint.is_empty()))
    }
}

impl Anchor for AnchorFile {
    fn read(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let checkpoint = state.newest.checkpoint.clone();
        Ok(Some(checkpoint).filter(|checkpoint| !checkpoint.is_empty()))
    }

    fn write(&self, checkpoint: &[u8]) -> Result<(), StoreError> {
        let failed = |reason: String| StoreError {
            operation: format!("writing the anchor {}", self.path.display()),
            reason,
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // After a failed write this is the same number again, so the same slot: the other one stays whole.
        let next = Slot {
            sequence: state.newest.sequence.saturating_add(1),
            checkpoint: checkpoint.to_vec(),
        };
        let bytes = next
            .to_bytes()
            .ok_or_else(|| failed("the checkpoint is too long for a slot".to_owned()))?;
        let written = state
            .file
            .write_all_at(&bytes, offset(next.sequence))
            .and_then(|()| state.file.sync_data());
        written.map_err(|error| failed(error.to_string()))?;
        state.newest = next;
        Ok(())
    }
}

impl Slot {
    /// Exactly one slot; `None` if the checkpoint does not fit.
    fn to_bytes(&self) -> Option<Vec<u8>> {
        if self.checkpoint.len() > ANCHORED_BYTES_MAX {
            return None;
        }
        let length = u32::try_from(self.checkpoint.len()).ok()?;
        let mut bytes = Vec::with_capacity(SLOT_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&self.checkpoint);
        bytes.resize(SLOT_BYTES.saturating_sub(HASH_BYTES), 0);
        let hash = Sha256::digest(&bytes);
        bytes.extend_from_slice(&hash);
        Some(bytes)
    }

    fn from_bytes(bytes: &[u8; SLOT_BYTES]) -> Option<Self> {
        let (said, hash) = bytes.split_last_chunk::<HASH_BYTES>()?;
        if Sha256::digest(said).as_slice() != hash.as_slice() {
            return None;
        }
        let (sequence, rest) = said.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        Some(Self {
            sequence: u64::from_be_bytes(*sequence),
            checkpoint: rest.get(..length)?.to_vec(),
        })
    }
}

/// Where the slot with this sequence number lies.
const fn offset(sequence: u64) -> u64 {
    if sequence.is_multiple_of(2) {
        0
    } else {
        SLOT_BYTES as u64
    }
}

fn newest(file: &File) -> Option<Slot> {
    [0, 1]
        .into_iter()
        .filter_map(|slot| read_slot(file, slot))
        .max_by_key(|slot| slot.sequence)
}

fn read_slot(file: &File, slot: u64) -> Option<Slot> {
    let mut bytes = [0; SLOT_BYTES];
    file.read_exact_at(&mut bytes, offset(slot)).ok()?;
    Slot::from_bytes(&bytes)
}

/// Makes an anchor that says nothing yet. Whoever comes second finds the first one's.
fn make(path: &Path) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(new);
    let empty = Slot {
        sequence: 0,
        checkpoint: Vec::new(),
    };
    let mut file = File::create(&new)?;
    file.write_all(&empty.to_bytes().unwrap_or_default())?;
    file.write_all(&[0; SLOT_BYTES])?;
    file.sync_all()?;
    let linked = match std::fs::hard_link(&new, path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    };
    std::fs::remove_file(&new)?;
    linked?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;

//! Verified NARs on disk, at most so many bytes, the least recently used removed first.
//!
//! A file gets its final name only after all of it was verified, and what an earlier process left is removed: so
//! whatever is found here was verified by this process. Files that are not the spool's are never touched.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use quorix_nix::hash::NarHash;
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::sync::Notify;

use crate::memo::locked;

const PART_PREFIX: &str = "fetching-";
const PART_SUFFIX: &str = ".part";
const KEPT_SUFFIX: &str = ".nar";

/// A verified NAR, opened for reading.
#[derive(Debug)]
pub struct Verified {
    /// The file, at its start.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
}

pub(crate) struct Spool {
    directory: PathBuf,
    bytes_max: u64,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Default)]
struct State {
    kept: HashMap<NarHash, Kept>,
    by_use: BTreeMap<u64, NarHash>,
    uses: u64,
    /// Of kept files and of reservations.
    bytes: u64,
}

struct Kept {
    size: u64,
    use_number: u64,
}

impl Spool {
    /// Makes the directory, and removes NARs that an earlier process left in it.
    pub(crate) fn open(directory: &Path, bytes_max: u64) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_spooled) && entry.file_type()?.is_file() {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(Self {
            directory: directory.to_owned(),
            bytes_max,
            state: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// A new file to fetch into; it is removed when dropped.
    pub(crate) fn part(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new()
            .prefix(PART_PREFIX)
            .suffix(PART_SUFFIX)
            .tempfile_in(&self.directory)
    }

    /// Room for so many bytes, made by removing what was not used for longest, or waited for while others fetch.
    pub(crate) async fn reserve(self: &Arc<Self>, size: u64) -> io::Result<Reservation> {
        if size > self.bytes_max {
            return Err(io::Error::other(format!(
                "{size} bytes do not fit into the {} of the spool",
                self.bytes_max
            )));
        }
        loop {
            // Registered before looking, so that what is freed in between is not missed.
            let freed = self.freed.notified();
            let (reserved, victims) = self.try_reserve(size);
            for victim in victims {
                remove(self.file_of(&victim)).await;
            }
            if reserved {
                return Ok(Reservation {
                    spool: self.clone(),
                    size,
                });
            }
            freed.await;
        }
    }

    fn try_reserve(&self, size: u64) -> (bool, Vec<NarHash>) {
        let mut state = locked(&self.state);
        let mut victims = Vec::new();
        while state.bytes.saturating_add(size) > self.bytes_max {
            let Some((_, oldest)) = state.by_use.pop_first() else {
                return (false, victims);
            };
            if let Some(kept) = state.kept.remove(&oldest) {
                state.bytes = state.bytes.saturating_sub(kept.size);
            }
            victims.push(oldest);
        }
        state.bytes = state.bytes.saturating_add(size);
        (true, victims)
    }

    /// Opens a verified NAR.
    pub(crate) async fn open_nar(&self, hash: &NarHash) -> Option<Verified> {
        let size = locked(&self.state).touch(hash)?;
        let opened = File::open(self.file_of(hash)).await;
        let is_whole = |length: u64| length == size;
        if let Ok(file) = opened
            && file
                .metadata()
                .await
                .is_ok_and(|metadata| is_whole(metadata.len()))
        {
            return Some(Verified { file, size });
        }
        // Removed in between, or by someone else.
        locked(&self.state).forget(hash);
        self.freed.notify_waiters();
        None
    }

    fn file_of(&self, hash: &NarHash) -> PathBuf {
        self.directory
            .join(format!("{}{KEPT_SUFFIX}", hash.nix32()))
    }
}

impl State {
    fn touch(&mut self, hash: &NarHash) -> Option<u64> {
        self.uses = self.uses.saturating_add(1);
        let use_number = self.uses;
        let kept = self.kept.get_mut(hash)?;
        self.by_use.remove(&kept.use_number);
        kept.use_number = use_number;
        self.by_use.insert(use_number, *hash);
        Some(kept.size)
    }

    fn forget(&mut self, hash: &NarHash) {
        if let Some(kept) = self.kept.remove(hash) {
            self.by_use.remove(&kept.use_number);
            self.bytes = self.bytes.saturating_sub(kept.size);
        }
    }
}

/// Room in the spool, given back when dropped.
pub(crate) struct Reservation {
    spool: Arc<Spool>,
    size: u64,
}

impl Reservation {
    /// Keeps a file that was verified to be this NAR, of at most the reserved size.
    pub(crate) async fn keep(
        self,
        part: NamedTempFile,
        hash: &NarHash,
        size: u64,
    ) -> io::Result<()> {
        let target = self.spool.file_of(hash);
        let renamed = tokio::task::spawn_blocking(move || part.persist(target).map(drop)).await;
        renamed
            .map_err(io::Error::other)?
            .map_err(|error| error.error)?;
        let mut state = locked(&self.spool.state);
        state.forget(hash);
        // The reservation gives its bytes back when it is dropped.
        state.bytes = state.bytes.saturating_add(size);
        state.kept.insert(
            *hash,
            Kept {
                size,
                use_number: 0,
            },
        );
        state.touch(hash);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = locked(&self.spool.state);
        state.bytes = state.bytes.saturating_sub(self.size);
        self.spool.freed.notify_waiters();
    }
}

/// Whether a file has a name that only the spool gives.
fn is_spooled(name: &str) -> bool {
    let is_part = name.starts_with(PART_PREFIX) && name.ends_with(PART_SUFFIX);
    let is_kept = name
        .strip_suffix(KEPT_SUFFIX)
        .is_some_and(|hash| format!("sha256:{hash}").parse::<NarHash>().is_ok());
    is_part || is_kept
}

async fn remove(file: PathBuf) {
    if let Err(error) = tokio::fs::remove_file(&file).await
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(file = %file.display(), %error, "a NAR could not be removed from the spool");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn put(spool: &Arc<Spool>, bytes: &[u8]) -> NarHash {
        let reservation = spool.reserve(bytes.len() as u64).await.unwrap();
        let mut part = spool.part().unwrap();
        part.write_all(bytes).unwrap();
        let hash = NarHash::of(bytes);
        reservation
            .keep(part, &hash, bytes.len() as u64)
            .await
            .unwrap();
        hash
    }

    #[tokio::test]
    async fn what_was_not_used_for_longest_makes_room() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::open(directory.path(), 10).unwrap());
        let (a, b) = (put(&spool, b"aaaa").await, put(&spool, b"bbbb").await);
        assert!(spool.open_nar(&a).await.is_some());
        let c = put(&spool, b"cccc").await;
        assert!(spool.open_nar(&b).await.is_none());
        for (hash, bytes) in [(a, b"aaaa"), (c, b"cccc")] {
            let mut read = Vec::new();
            let mut verified = spool.open_nar(&hash).await.unwrap();
            verified.file.read_to_end(&mut read).await.unwrap();
            assert_eq!((read.as_slice(), verified.size), (bytes.as_slice(), 4));
        }
        assert!(spool.reserve(11).await.is_err());
    }

    #[tokio::test]
    async fn room_is_waited_for_while_others_fetch() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::open(directory.path(), 10).unwrap());
        let first = spool.reserve(8).await.unwrap();
        let mut second = std::pin::pin!(spool.reserve(8));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        assert!(second.await.is_ok());
    }

    #[tokio::test]
    async fn a_start_removes_old_nars_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let old = directory
            .path()
            .join(format!("{}.nar", NarHash::of(b"old").nix32()));
        let theirs = directory.path().join("thesis.nar");
        let part = directory.path().join("fetching-x.part");
        for file in [&old, &theirs, &part] {
            std::fs::write(file, b"old").unwrap();
        }
        let spool = Spool::open(directory.path(), 10).unwrap();
        assert!(!old.exists() && !part.exists() && theirs.exists());
        assert!(spool.open_nar(&NarHash::of(b"old")).await.is_none());
    }

    #[tokio::test]
    async fn a_file_that_changed_its_size_is_not_served() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::open(directory.path(), 10).unwrap());
        let hash = put(&spool, b"aaaa").await;
        std::fs::write(spool.file_of(&hash), b"aaa").unwrap();
        assert!(spool.open_nar(&hash).await.is_none());
    }
}

//! Copies a log into a [`Folder`], verified on the way: a log as files, or one more step of a mirror.
//!
//! No file is written that is not proved to be part of the signed tree, and the checkpoint comes last, so that whoever
//! reads the folder at any moment sees a whole log. A second run adds what is new. Blobs that the log names and does not
//! have are counted; they never stop a copy.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use quorix_tlog::bundle;
use quorix_tlog::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
use quorix_tlog::note::VerifierKey;
use quorix_tlog::tile::{TILE_WIDTH, TileId, TilePath, encode_hashes};
use quorix_trust::attestation::{BlobId, Entry};
use quorix_wire::entry;
use quorix_wire::fetch::{Fetcher, TileClient};
use quorix_wire::scan::{GrowError, Grown, Growth, LogSource, named_blobs};
use tokio::time::{Instant, timeout_at};

use crate::folder::{Folder, FolderError};
use missing::{Missing, name_of};

mod missing;

const WIDTH: u64 = TILE_WIDTH as u64;

/// Blobs that a log does not have are named, so many at most: it says how many there are.
pub const MISSING_NAMED_MAX: usize = 100;

/// A log could not be copied. What was copied before is whole and unchanged.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log's checkpoint is not of this log, or not signed by its key.
    #[error("the log's checkpoint: {0}")]
    Checkpoint(#[source] CheckpointError),
    /// The folder holds something else.
    #[error("the checkpoint in {}: {source}. Choose another folder for this log", dir.display())]
    OtherLog {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with the checkpoint in it.
        source: CheckpointError,
    },
    /// The log could not be read or verified.
    #[error("the log: {0}")]
    Grow(#[from] GrowError),
    /// What was copied before could not be read again.
    #[error("the copy in {}: {source}", dir.display())]
    Copy {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with it.
        source: GrowError,
    },
    /// The log goes on behind the rotation that ends it. Nothing of that is copied.
    #[error(
        "the log: its entry {index} comes after the key rotation of entry {rotation}, which ends it. Whoever has its key signed \
         that against its own word; the copy stays as it was"
    )]
    AfterEnd {
        /// The rotation.
        rotation: u64,
        /// The entry behind it.
        index: u64,
    },
    /// The folder could not be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The operating system interrupted the work.
    #[error("the copying was interrupted: {0}")]
    Interrupted(String),
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Entries copied, earlier runs included.
    pub size: u64,
    /// Entries that there are to copy.
    pub of: u64,
}

/// How a log has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Index of the rotation, its last entry.
    pub index: u64,
    /// The key that follows. Both keys signed that; nobody follows it by themselves.
    pub successor: VerifierKey,
}

/// What a copy consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Entries before.
    pub from: u64,
    /// Entries now.
    pub size: u64,
    /// Files written, or found written.
    pub files: u64,
    /// Blobs among them.
    pub blobs: u64,
    /// Blobs that entries name and the log does not have; of this run.
    pub missing: u64,
    /// The first [`MISSING_NAMED_MAX`] of them, as `blob/<hex>`.
    pub missing_blobs: Vec<String>,
}

impl Exported {
    fn lacks(&mut self, name: String) {
        self.missing = self.missing.saturating_add(1);
        if self.missing_blobs.len() < MISSING_NAMED_MAX {
            self.missing_blobs.push(name);
        }
    }
}

/// The longest that missing blobs are asked for again at a stretch.
const ASKING_MAX: Duration = Duration::from_secs(60);

/// Copies one log into one folder.
pub struct Exporter {
    source: LogSource,
    key: VerifierKey,
    folder: std::sync::Arc<Folder>,
    /// The folder, read as a log.
    copy: LogSource,
    growth: Option<Growth>,
    /// The end of what is copied, once that was looked for.
    ended: Option<Option<Ended>>,
    /// Blobs that entries of the copy name and that could not be had, once that was looked up.
    missing: Option<Missing>,
}

impl Exporter {
    /// Copies the log of this key from `source` into `folder`. `fetcher` reads what is copied already.
    #[must_use]
    pub fn new(source: LogSource, key: VerifierKey, folder: Folder, fetcher: Fetcher) -> Self {
        let dir = folder.dir().display().to_string();
        Self {
            source,
            key,
            folder: std::sync::Arc::new(folder),
            copy: LogSource::Served(TileClient::new(fetcher, vec![dir])),
            growth: None,
            ended: None,
            missing: None,
        }
    }

    /// Name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.key.name().as_str()
    }

    /// The copy, as a log to read.
    #[must_use]
    pub fn copy(&self) -> &LogSource {
        &self.copy
    }

    /// The log that is copied.
    #[must_use]
    pub fn source(&self) -> &LogSource {
        &self.source
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &std::sync::Arc<Folder> {
        &self.folder
    }

    /// The log's newest checkpoint, verified.
    ///
    /// # Errors
    /// It cannot be read, or is not this log's.
    pub async fn newest(&self) -> Result<SignedCheckpoint, ExportError> {
        let note = self.source.checkpoint().await.map_err(GrowError::from)?;
        SignedCheckpoint::open(&note, &self.key, self.origin()).map_err(ExportError::Checkpoint)
    }

    /// The checkpoint of the copy, verified; `None` where nothing was copied yet.
    ///
    /// # Errors
    /// It cannot be read, or is another log's.
    pub async fn copied(&self) -> Result<Option<SignedCheckpoint>, ExportError> {
        let folder = self.folder.clone();
        let Some(note) = blocking(move || folder.checkpoint()).await? else {
            return Ok(None);
        };
        let signed = SignedCheckpoint::open(&note, &self.key, self.origin());
        signed.map(Some).map_err(|source| ExportError::OtherLog {
            dir: self.folder.dir().to_path_buf(),
            source,
        })
    }

    /// How the log has ended, as far as it is copied; `None` where it goes on.
    ///
    /// # Errors
    /// The copy cannot be read.
    pub async fn ended(&mut self) -> Result<Option<&Ended>, ExportError> {
        if self.ended.is_none() {
            let copied = self.copied().await?;
            let size = copied.map_or(0, |copied| copied.checkpoint().size);
            self.ended = Some(self.end_at(size).await?);
        }
        Ok(self.ended.as_ref().and_then(Option::as_ref))
    }

    /// The end, if the last entry of this copy is one.
    async fn end_at(&self, size: u64) -> Result<Option<Ended>, ExportError> {
        let Some(index) = size.checked_sub(1) else {
            return Ok(None);
        };
        let entries = self.entries(index / WIDTH, size).await?;
        Ok(entries.last().and_then(|bytes| self.end_by(index, bytes)))
    }

    /// The entries of a bundle of this copy, which has `size` of them in all.
    async fn entries(&self, bundle: u64, size: u64) -> Result<Vec<Vec<u8>>, ExportError> {
        let width = TileId::entries(bundle).width_at(size);
        let bytes = self.copy.bundle(bundle, width).await;
        let bytes = bytes.map_err(|error| ExportError::Copy {
            dir: self.folder.dir().to_path_buf(),
            source: error.into(),
        })?;
        let entries = bundle::parse(&bytes, width).unwrap_or_default();
        Ok(entries.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// The end that this entry is.
    fn end_by(&self, index: u64, bytes: &[u8]) -> Option<Ended> {
        let Ok(Entry::KeyRotation(rotation)) = entry::decode(bytes) else {
            return None;
        };
        let successor = rotation.successor_of(&self.key).ok()?;
        Some(Ended { index, successor })
    }

    /// True if no blob is missing that entries of the copy name.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn has_all_blobs(&mut self) -> Result<bool, ExportError> {
        Ok(self.missing().await?.is_nothing())
    }

    /// Asks `source` again for blobs that could not be had before, for a minute at most: in turn, so that those that are
    /// nowhere are not in the way of the others. True if none is missing any more.
    ///
    /// # Errors
    /// The folder cannot be read or written. A blob that cannot be had is no error.
    pub async fn ask_again(&mut self, source: &LogSource) -> Result<bool, ExportError> {
        let now = Instant::now();
        let until = now.checked_add(ASKING_MAX).unwrap_or(now);
        let missing = self.missing().await?;
        let mut is_changed = missing.goes_round();
        for id in missing.next() {
            self.missing().await?.ask(id);
            match timeout_at(until, source.blob(&id)).await {
                Ok(Ok(bytes)) => {
                    self.put(vec![(name_of(&id), bytes)]).await?;
                    self.missing().await?.remove(&id);
                    is_changed = true;
                }
                Ok(Err(error)) if error.is_of_the_log() => {}
                // Whoever does not answer now is not asked for all the rest.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        is_changed |= self.look_through(until).await?;
        if is_changed {
            self.note_missing().await?;
        }
        self.has_all_blobs().await
    }

    /// Looks through the copy for missing blobs that were too many to be noted, if there is room for them by now. True if
    /// it was.
    async fn look_through(&mut self, until: Instant) -> Result<bool, ExportError> {
        let Some(mut bundle) = self.missing().await?.to_look_through() else {
            return Ok(false);
        };
        let copied = self.copied().await?;
        let size = copied.map_or(0, |copied| copied.checkpoint().size);
        while bundle < size.div_ceil(WIDTH) {
            if self.missing().await?.is_full() || Instant::now() >= until {
                return Ok(true);
            }
            let entries = self.entries(bundle, size).await?;
            let entries = entries.iter().filter_map(|bytes| entry::decode(bytes).ok());
            let named: BTreeSet<BlobId> = entries.flat_map(|entry| named_blobs(&entry)).collect();
            let next = bundle.saturating_add(1);
            self.missing().await?.looked_through_before(next);
            for id in named {
                if !self.folder.has(&name_of(&id)) {
                    self.missing().await?.insert(id, bundle);
                }
            }
            bundle = next;
        }
        self.missing().await?.ends_before(bundle);
        Ok(true)
    }

    /// Blobs that entries of the copy name and that could not be had.
    async fn missing(&mut self) -> Result<&mut Missing, ExportError> {
        if self.missing.is_none() {
            let folder = self.folder.clone();
            let mut missing = Missing::parse(&blocking(move || folder.missing()).await?);
            missing.retain(|id| !self.folder.has(&name_of(id)));
            self.missing = Some(missing);
        }
        // It is there.
        Ok(self.missing.get_or_insert_with(|| Missing::parse(&[])))
    }

    async fn note_missing(&mut self) -> Result<(), ExportError> {
        let (folder, lines) = (self.folder.clone(), self.missing().await?.lines());
        blocking(move || folder.note_missing(&lines)).await
    }

    /// Reads the log from elsewhere from now on.
    pub fn read_from(&mut self, source: LogSource) {
        self.source = source;
    }

    /// Copies everything up to `goal`, a verified checkpoint, and then puts the note in place that `seal` makes: that
    /// checkpoint, perhaps with more signatures. It is called when everything else is on the disk, and told whether that
    /// is all: false where a blob could not be had.
    ///
    /// # Errors
    /// See [`ExportError`]. What was copied before stays as it was.
    pub async fn run(
        &mut self,
        goal: &Checkpoint,
        seal: impl FnOnce(bool) -> Vec<u8>,
        mut tell: impl FnMut(Copied),
    ) -> Result<Exported, ExportError> {
        let before = self.copied().await?;
        let known = before.as_ref().map(SignedCheckpoint::checkpoint);
        let mut growth = match self.growth.take() {
            Some(growth) => growth,
            None => self.resume(known).await?,
        };
        let from = known.map_or(0, |known| known.size);
        let mut ended = self.ended().await?.cloned();
        let mut exported = Exported {
            from,
            size: goal.size,
            ..Exported::default()
        };
        let mut is_behind =
            known.is_none_or(|known| (known.size, known.root) != (goal.size, goal.root));
        while is_behind {
            let grown = growth.step(&self.source, goal).await?;
            self.check_end(&grown, &mut ended)?;
            self.write(&grown, &mut exported).await?;
            let (size, of) = (grown.size, goal.size);
            tell(Copied { size, of });
            is_behind = !grown.is_done;
        }
        if exported.missing > 0 {
            self.note_missing().await?;
        }
        let note = seal(self.has_all_blobs().await?);
        if before.is_none_or(|before| before.bytes() != note) {
            let folder = self.folder.clone();
            blocking(move || folder.publish(&note)).await?;
        }
        let (folder, size) = (self.folder.clone(), goal.size);
        blocking(move || tidy(&folder, from, size)).await?;
        self.growth = Some(growth);
        self.ended = Some(ended);
        Ok(exported)
    }

    /// Nothing may stand behind a rotation of the log's key.
    fn check_end(&self, grown: &Grown, ended: &mut Option<Ended>) -> Result<(), ExportError> {
        for (index, bytes) in grown.bundles.iter().flat_map(|bundle| bundle.entries()) {
            if let Some(Ended {
                index: rotation, ..
            }) = *ended
                && index > rotation
            {
                return Err(ExportError::AfterEnd { rotation, index });
            }
            if let Some(end) = self.end_by(index, bytes) {
                *ended = Some(end);
            }
        }
        Ok(())
    }

    async fn resume(&self, known: Option<&Checkpoint>) -> Result<Growth, ExportError> {
        match known {
            Some(known) => {
                Growth::known(&self.copy, known)
                    .await
                    .map_err(|source| ExportError::Copy {
                        dir: self.folder.dir().to_path_buf(),
                        source,
                    })
            }
            None => Ok(Growth::from_the_beginning()),
        }
    }

    /// Writes one verified step with the blobs that its entries name.
    async fn write(&mut self, grown: &Grown, exported: &mut Exported) -> Result<(), ExportError> {
        let mut files = Vec::new();
        let mut named: BTreeSet<BlobId> = BTreeSet::new();
        for bundle in &grown.bundles {
            let id = TileId::entries(bundle.index);
            let width = bundle.width;
            files.push((TilePath { id, width }.to_string(), bundle.bytes.clone()));
            let entries = bundle
                .entries()
                .filter_map(|(_, bytes)| entry::decode(bytes).ok());
            named.extend(entries.flat_map(|entry| named_blobs(&entry)));
        }
        for (id, hashes) in &grown.tiles {
            let width = u16::try_from(hashes.len()).unwrap_or(TILE_WIDTH);
            files.push((
                TilePath { id: *id, width }.to_string(),
                encode_hashes(hashes),
            ));
        }
        exported.files = exported.files.saturating_add(count(files.len()));
        self.put(files).await?;
        let first = grown.bundles.first().map_or(0, |bundle| bundle.index);
        for id in named {
            let name = name_of(&id);
            if self.folder.has(&name) {
                continue;
            }
            match self.source.blob(&id).await {
                Ok(bytes) => {
                    exported.blobs = exported.blobs.saturating_add(1);
                    exported.files = exported.files.saturating_add(1);
                    self.put(vec![(name, bytes)]).await?;
                    self.missing().await?.remove(&id);
                }
                Err(error) if error.is_of_the_log() => {
                    self.missing().await?.insert(id, first);
                    exported.lacks(name);
                }
                Err(error) => return Err(GrowError::Read(error).into()),
            }
        }
        Ok(())
    }

    async fn put(&self, files: Vec<(String, Vec<u8>)>) -> Result<(), ExportError> {
        let folder = self.folder.clone();
        blocking(move || folder.put(&files)).await
    }
}

/// Removes partial tiles of the size before whose full tiles are there now and below the checkpoint.
fn tidy(folder: &Folder, before: u64, now: u64) -> Result<(), FolderError> {
    let partial =
        |(id, width): &(TileId, u16)| *width < TILE_WIDTH && id.width_at(now) == TILE_WIDTH;
    let edge = right_edge(before).filter(partial);
    for (id, _) in edge {
        let width = TILE_WIDTH;
        folder.remove_partial(TilePath { id, width })?;
    }
    Ok(())
}

/// The rightmost tile of each level, and the rightmost bundle, of a tree of this size.
fn right_edge(size: u64) -> impl Iterator<Item = (TileId, u16)> {
    let levels = (0..8_u8).map(move |level| {
        let index = (size >> (u32::from(level) * 8)) / WIDTH;
        TileId::hashes(level, index)
    });
    std::iter::once(TileId::entries(size / WIDTH))
        .chain(levels)
        .map(move |id| (id, id.width_at(size)))
        .filter(|(_, width)| *width > 0)
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Files block, so they are written beside the threads that serve.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FolderError> + Send + 'static,
) -> Result<T, ExportError> {
    let result = tokio::task::spawn_blocking(work).await;
    Ok(result.map_err(|error| ExportError::Interrupted(error.to_string()))??)
}

#[cfg(test)]
pub(crate) mod tests;

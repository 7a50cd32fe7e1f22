//! Mirrors of logs: full verified copies, blobs included, which serve when the log itself is gone.
//!
//! A mirror is a [`Folder`] that follows its log and is served as it is. Everything is on the disk before the checkpoint
//! that implies it is shown. It never goes back: an older checkpoint is not taken, and two checkpoints that contradict
//! each other are kept as proof and stop the mirror of that log for good. Specification: C2SP tlog-tiles.

mod fork;
mod routes;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::note::VerifierKey;
use quorix_wire::fetch::{Fetcher, TileClient};
use quorix_wire::scan::{GrowError, LogSource};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::export::{Copied, Ended, ExportError, Exporter};
use crate::folder::Folder;

pub use routes::router;

/// The longest wait after failures.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// A log to mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// Its key, whose name is the log's.
    pub key: VerifierKey,
    /// Where it is served, the preferred address first.
    pub urls: Vec<String>,
}

/// Adds what the mirror says of a checkpoint, once all of the log up to it is on the disk.
pub type Seal = Arc<dyn Fn(&SignedCheckpoint) -> Vec<u8> + Send + Sync>;

/// How a mirror of one log stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The newest look at the log went well.
    Live,
    /// It went well, and the log has ended: its last entry hands over to another key.
    Ended {
        /// vkey of the key that follows.
        successor: String,
    },
    /// The log cannot be reached or does not verify; the copy is served all the same.
    Stale {
        /// Why.
        reason: String,
    },
    /// The log signed two checkpoints that contradict each other. The copy from before is served; nothing is added.
    Forked,
}

/// What is known of one mirrored log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub origin: String,
    /// Entries of the copy.
    pub size: u64,
    /// How it stands.
    pub standing: Standing,
}

/// How a look at a log ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing is new.
    Same,
    /// The copy has grown.
    Grown {
        /// Entries before.
        from: u64,
        /// Entries now.
        to: u64,
        /// Blobs that the log names and does not serve.
        missing_blobs: u64,
    },
    /// The log contradicts what it had signed; the proof is kept.
    Forked,
}

/// Statuses by the name of the folder, which is the SHA-256 of the origin in hexadecimal.
type Board = Arc<Mutex<BTreeMap<String, Status>>>;

/// All mirrors of one process.
#[derive(Clone, Default)]
pub struct Mirrors {
    board: Board,
}

impl Mirrors {
    /// How each stands, by folder.
    #[must_use]
    pub fn statuses(&self) -> BTreeMap<String, Status> {
        self.board
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What the next checkpoint covers is on the disk and may be served; before the checkpoint itself is.
    fn covers(&self, folder: &str, size: u64) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = board.get_mut(folder) {
            status.size = status.size.max(size);
        }
    }

    fn tell(&self, folder: String, status: Status) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.insert(folder, status);
    }
}

/// Follows one log into its folder.
pub struct Mirror {
    log: Mirrored,
    exporter: Exporter,
    fetcher: Fetcher,
    seal: Option<Seal>,
    mirrors: Mirrors,
}

/// Name of the folder, and of the URL prefix, of a mirrored log: SHA-256 of its origin in lowercase hexadecimal.
#[must_use]
pub fn folder_of(origin: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(origin))
}

impl Mirror {
    /// A mirror of this log in `dir`, which is made where it is not there.
    ///
    /// # Errors
    /// Another process has the folder, it holds another log, or it cannot be written.
    pub async fn open(
        log: Mirrored,
        dir: &Path,
        fetcher: Fetcher,
        seal: Option<Seal>,
        mirrors: Mirrors,
    ) -> Result<Self, ExportError> {
        let folder = Folder::open(dir)?;
        let source = LogSource::Served(TileClient::new(fetcher.clone(), log.urls.clone()));
        let exporter = Exporter::new(source, log.key.clone(), folder, fetcher.clone());
        let mirror = Self {
            log,
            exporter,
            fetcher,
            seal,
            mirrors,
        };
        let standing = if fork::is_kept(mirror.exporter.folder()) {
            Standing::Forked
        } else {
            let reason = "it was not looked at yet".to_owned();
            Standing::Stale { reason }
        };
        let copied = mirror.exporter.copied().await?;
        let size = copied.map_or(0, |copied| copied.checkpoint().size);
        mirror.stands(size, standing);
        Ok(mirror)
    }

    /// How the log has ended, as far as it is copied; `None` where it goes on.
    ///
    /// # Errors
    /// The copy cannot be read.
    pub async fn ended(&mut self) -> Result<Option<&Ended>, ExportError> {
        self.exporter.ended().await
    }

    /// Follows the log until told to stop, or until it contradicts itself.
    pub async fn run(mut self, interval: Duration, stop: CancellationToken) {
        let mut failures = 0_u32;
        let mut is_told = false;
        loop {
            let looked = tokio::select! {
                looked = self.look(|_| ()) => looked,
                () = stop.cancelled() => return,
            };
            match looked {
                Ok(Look::Forked) => return,
                Ok(_) => {
                    failures = 0;
                    is_told = is_told || self.tell_end().await;
                }
                Err(error) => {
                    tracing::warn!(log = self.exporter.origin(), "{error}");
                    failures = failures.saturating_add(1);
                }
            }
            let wait = interval.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
            tokio::select! {
                () = tokio::time::sleep(wait.min(WAIT_MAX.max(interval))) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Says that the log has ended, if it has.
    async fn tell_end(&mut self) -> bool {
        let Ok(Some(Ended { index, successor })) =
            self.exporter.ended().await.map(Option::<&_>::cloned)
        else {
            return false;
        };
        tracing::warn!(
            log = self.exporter.origin(),
            index,
            %successor,
            "the log has ended: its last entry hands over to another key. Its copy is served as before, and nothing is taken \
             in behind that. Nobody follows the new key by themselves: ask its operator on another way, then add it as \
             another log to [[mirror.logs]]"
        );
        true
    }

    /// Looks at the log once, at its addresses in order, and copies what is new.
    ///
    /// # Errors
    /// No address gave anything that verifies.
    pub async fn look(&mut self, mut tell: impl FnMut(Copied)) -> Result<Look, ExportError> {
        if fork::is_kept(self.exporter.folder()) {
            return Ok(Look::Forked);
        }
        let mut last = None;
        for url in self.log.urls.clone() {
            let client = TileClient::new(self.fetcher.clone(), vec![url]);
            self.exporter.read_from(LogSource::Served(client));
            match self.attempt(&mut tell).await {
                Ok(Look::Forked) => return Ok(Look::Forked),
                Ok(look) => {
                    self.complete().await?;
                    return Ok(look);
                }
                Err(error) => last = Some(error),
            }
        }
        let error =
            last.unwrap_or_else(|| ExportError::Interrupted("the log has no address".to_owned()));
        let copied = self.exporter.copied().await?;
        let size = copied.map_or(0, |copied| copied.checkpoint().size);
        let reason = error.to_string();
        self.stands(size, Standing::Stale { reason });
        Err(error)
    }

    /// Asks for blobs that are missing, after everything else was copied. What one address did not have another may.
    async fn complete(&mut self) -> Result<(), ExportError> {
        if self.exporter.has_all_blobs().await? {
            return Ok(());
        }
        let anywhere = TileClient::new(self.fetcher.clone(), self.log.urls.clone());
        let anywhere = LogSource::Served(anywhere);
        if !self.exporter.ask_again(&anywhere).await? {
            return Ok(());
        }
        let (Some(seal), Some(copied)) = (self.seal.clone(), self.exporter.copied().await?) else {
            return Ok(());
        };
        let note = |has_all: bool| {
            let seal = Some(seal).filter(|_| has_all);
            seal.map_or_else(|| copied.bytes().to_vec(), |seal| seal(&copied))
        };
        let sealing = self.exporter.run(copied.checkpoint(), note, |_| ());
        sealing.await.map(|_| ())
    }

    /// After a look that went well.
    async fn stands_well(&mut self, size: u64) -> Result<(), ExportError> {
        let standing = match self.exporter.ended().await? {
            Some(ended) => Standing::Ended {
                successor: ended.successor.to_string(),
            },
            None => Standing::Live,
        };
        self.stands(size, standing);
        Ok(())
    }

    async fn attempt(&mut self, tell: &mut impl FnMut(Copied)) -> Result<Look, ExportError> {
        let shown = self.exporter.newest().await?;
        let copied = self.exporter.copied().await?;
        let goal = shown.checkpoint().clone();
        let has_all = self.exporter.has_all_blobs().await?;
        if let Some(copied) = &copied {
            let have = copied.checkpoint();
            let is_sealed =
                self.seal.is_none() || !has_all || copied.bytes().len() > shown.bytes().len();
            if is_sealed && copied.bytes().starts_with(shown.bytes()) {
                let size = have.size;
                self.stands_well(size).await?;
                return Ok(Look::Same);
            }
            if goal.size <= have.size && goal.root != have.root {
                return self.look_back(&shown, copied).await;
            }
        }
        let from = copied.as_ref().map_or(0, |copied| copied.checkpoint().size);
        let seal = self.seal.clone();
        let (mirrors, place) = (self.mirrors.clone(), folder_of(self.exporter.origin()));
        // A mirror signs for what it has, blobs included.
        let note = |has_all: bool| {
            mirrors.covers(&place, goal.size);
            let seal = seal.filter(|_| has_all);
            seal.map_or_else(|| shown.bytes().to_vec(), |seal| seal(&shown))
        };
        let copying = self.exporter.run(&goal, note, tell).await;
        let exported = match (copying, &copied) {
            (Ok(exported), _) => exported,
            (Err(error), Some(copied)) => {
                return match fork::prove(self.exporter.source(), copied, &shown).await {
                    Some(proof) => self.keep(&proof, from).await,
                    None => Err(error),
                };
            }
            (Err(error), None) => return Err(error),
        };
        self.stands_well(goal.size).await?;
        if from == goal.size && copied.is_some() {
            return Ok(Look::Same);
        }
        Ok(Look::Grown {
            from,
            to: goal.size,
            missing_blobs: exported.missing,
        })
    }

    /// The log shows a tree that is not larger than the copy: one that it had before, or another one.
    async fn look_back(
        &self,
        shown: &SignedCheckpoint,
        copied: &SignedCheckpoint,
    ) -> Result<Look, ExportError> {
        let (found, known) = (shown.checkpoint().size, copied.checkpoint().size);
        match fork::prove(self.exporter.copy(), shown, copied).await {
            Some(proof) => self.keep(&proof, known).await,
            None => Err(GrowError::Behind { found, known }.into()),
        }
    }

    async fn keep(
        &self,
        proof: &quorix_trust::ports::Equivocation,
        size: u64,
    ) -> Result<Look, ExportError> {
        tracing::error!(
            log = self.exporter.origin(),
            "the log signed two checkpoints that contradict each other; its mirror stays as it was"
        );
        self.stands(size, Standing::Forked);
        fork::keep(self.exporter.folder(), proof).await?;
        Ok(Look::Forked)
    }

    fn stands(&self, size: u64, standing: Standing) {
        let origin = self.exporter.origin().to_owned();
        let status = Status {
            origin: origin.clone(),
            size,
            standing,
        };
        self.mirrors.tell(folder_of(&origin), status);
    }
}

#[cfg(test)]
mod tests;

//! Asks the addresses of one log, or remembers what it showed not long ago.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::index::answer::Known;
use quorix_tlog::index::proven::ProvenEntry;
use quorix_tlog::note::VerifierKey;
use tokio::time::{Instant, timeout};

use super::memory::{LogMemory, Showing};
use crate::fetch::{FetchError, Fetcher, Waiting};
use crate::index::{LogLookup, LookupError, entries_at, lookup_beside};

/// Why a log does not count.
pub(super) struct Fault {
    /// For people.
    pub(super) reason: String,
    /// It would be the same for every path: it is not worth asking again at once.
    pub(super) is_away: bool,
}

impl Fault {
    /// The log does not answer, or not in time.
    pub(super) fn away(reason: String) -> Self {
        Self {
            reason,
            is_away: true,
        }
    }

    /// What a look-up came to, after these words.
    pub(super) fn of(words: &str, error: &LookupError) -> Self {
        use LookupError::{Behind, Fetch, NoIndex};
        Self {
            reason: format!("{words}: {error}"),
            is_away: matches!(error, NoIndex { .. } | Fetch(_) | Behind { .. }),
        }
    }
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self {
            reason,
            is_away: false,
        }
    }
}

/// Asks the addresses of one log.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) fetcher: Fetcher,
    pub(super) memory: Arc<LogMemory>,
    pub(super) dir: StoreDir,
    pub(super) urls: Vec<String>,
    pub(super) key: VerifierKey,
    pub(super) known: Option<Known>,
    pub(super) entries_max: usize,
    pub(super) bytes_max: usize,
}

impl Asker {
    /// What the log says of a path, from the first of its addresses that gives an answer that verifies.
    pub(super) async fn ask(
        self,
        path: StorePath,
    ) -> (StorePath, Result<Arc<Showing>, LookupError>) {
        if let Some(showing) = self.memory.shown(&path) {
            return (path, Ok(showing));
        }
        let _place = self.memory.place().await;
        let asked_at = Instant::now();
        let mut first = None;
        let mut urls = self
            .memory
            .in_order(self.urls.clone())
            .into_iter()
            .peekable();
        while let Some(url) = urls.next() {
            // Whoever waits for the last one waits no longer than for the log.
            let share = urls.peek().map(|_| self.share());
            match self.ask_at(url, &path, share).await {
                Ok(showing) => {
                    let showing = Arc::new(showing);
                    self.memory.remember(path.clone(), asked_at, &showing);
                    return (path, Ok(showing));
                }
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        let error = first.unwrap_or_else(|| {
            let reason = "the log has no address".to_owned();
            FetchError::Setup { reason }.into()
        });
        (path, Err(error))
    }

    /// How long each address but the last is waited for.
    fn share(&self) -> Duration {
        let addresses = u32::try_from(self.urls.len()).unwrap_or(u32::MAX);
        let silence = self.memory.pace.silence;
        silence.checked_div(addresses).unwrap_or(silence)
    }

    async fn ask_at(
        &self,
        url: String,
        path: &StorePath,
        limit: Option<Duration>,
    ) -> Result<Showing, LookupError> {
        let at = LogLookup {
            fetcher: self.fetcher.clone(),
            url,
            key: self.key.clone(),
            witnessed: None,
            entries_max: self.entries_max,
            bytes_max: self.bytes_max,
        };
        let said = lookup_beside(
            &at,
            &self.dir,
            path,
            self.known.as_ref(),
            &self.memory.behind,
        );
        let said = match limit {
            None => said.await?,
            Some(limit) => timeout(limit, said)
                .await
                .map_err(|_| FetchError::timeout(&at.url, Waiting::Whole, limit))??,
        };
        Ok(Showing { at, said })
    }
}

/// Those of these entries that a tree has, with their proofs in it.
pub(super) async fn fetch_all(
    log: &LogLookup,
    tree: &Checkpoint,
    indices: &BTreeSet<u64>,
) -> Result<BTreeMap<u64, ProvenEntry>, LookupError> {
    let wanted: Vec<u64> = indices.range(..tree.size).copied().collect();
    let mut entries = BTreeMap::new();
    while let Some(rest) = wanted.get(entries.len()..).filter(|rest| !rest.is_empty()) {
        let part = entries_at(log, tree.size, &tree.root, rest).await?;
        entries.extend(part.into_iter().map(|one| (one.index, one)));
    }
    Ok(entries)
}

//! Fetches the blobs that entries name: lists of references and of inputs.
//!
//! Best effort, checked by their SHA-256, and never part of what was voted: a log that withholds one is followed on,
//! and it is asked for again when someone needs it. Bounds: 4 MiB each (C2SP-style static files under
//! `<prefix>/blob/`), 64 MiB and 1,024 blobs at a time.

use std::sync::Arc;

use futures::{StreamExt, stream};
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{CommitError, FollowBatch, StoreError, TreeBatch};

use crate::logs::Log;
use crate::machine::blocking;
use crate::service::Shared;

const AT_ONCE: usize = 8;
const COUNT_MAX: usize = 1_024;
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a blob that could not be had is not asked for again, in seconds.
const FORGET_AFTER_S: u64 = 30;

impl Shared {
    /// Fetches blobs from a log's addresses, as many as come within the budget.
    pub(crate) async fn fetch_blobs(&self, log: &Log, wanted: &[BlobId]) -> Vec<(BlobId, Vec<u8>)> {
        let now_s = (self.clock)();
        // One log's silence about a blob says nothing of another log that names it too.
        let at = |id: &BlobId| (log.origin.clone(), *id);
        let asked: Vec<BlobId> = wanted
            .iter()
            .filter(|id| !self.missing_blobs.knows(&at(id), now_s))
            .take(COUNT_MAX)
            .copied()
            .collect();
        // Remembered as missing from the start: a budget that runs out must not be spent again at once.
        for id in &asked {
            self.missing_blobs
                .remember(at(id), now_s, now_s.saturating_add(FORGET_AFTER_S));
        }
        let mut answers = stream::iter(asked)
            .map(|id| async move { (id, first_answer(log, &id).await) })
            .buffer_unordered(AT_ONCE);
        let mut blobs = Vec::new();
        let mut bytes = 0_usize;
        let collect = async {
            while let Some((id, answer)) = answers.next().await {
                let Some(blob) = answer else { continue };
                self.missing_blobs.remember(at(&id), now_s, now_s);
                bytes = bytes.saturating_add(blob.len());
                blobs.push((id, blob));
                if bytes >= BYTES_MAX {
                    break;
                }
            }
        };
        if tokio::time::timeout(self.config.cache_budget, collect)
            .await
            .is_err()
        {
            tracing::debug!(log = log.name, "some blobs did not come in time");
        }
        blobs
    }

    /// Fetches blobs that were missing when the log was followed and keeps them in its mirror. True if there was one.
    pub(crate) async fn fetch_late_blobs(
        &self,
        log: &Arc<Log>,
        wanted: &[BlobId],
    ) -> Result<bool, StoreError> {
        let blobs = self.fetch_blobs(log, wanted).await;
        if blobs.is_empty() {
            return Ok(false);
        }
        let one_at_a_time = log.commit.clone().lock_owned().await;
        let (origin, index) = (log.origin.clone(), self.index.clone());
        blocking("keeping blobs in a mirror", move || {
            // Here, so that it is held until the write has ended, also if nobody waits for it any more.
            let _one_at_a_time = one_at_a_time;
            let Some(head) = index.mirror(&origin).head()? else {
                return Ok(());
            };
            // A batch that adds nothing to the tree: the head stays as it is.
            let expected = head.size;
            let tree = TreeBatch {
                tiles: Vec::new(),
                leaves: Vec::new(),
                blobs,
                head,
            };
            let batch = FollowBatch {
                tree,
                statements: Vec::new(),
                retractions: Vec::new(),
                opaque: 0,
                facts: Vec::new(),
            };
            match index.advance(&origin, expected, &batch) {
                Ok(_) => Ok(()),
                Err(CommitError::Store(error)) => Err(error),
                Err(CommitError::Conflict { .. } | CommitError::Immutable { .. }) => Ok(()),
            }
        })
        .await?;
        Ok(true)
    }
}

/// The blob from the first of the log's addresses that has it.
async fn first_answer(log: &Log, id: &BlobId) -> Option<Vec<u8>> {
    for client in &log.clients {
        match client.blob(id).await {
            Ok(blob) => return Some(blob),
            Err(error) => tracing::debug!(log = log.name, %error, "a blob could not be fetched"),
        }
    }
    None
}

//! The aggregator as a witness: cosigns checkpoints of the logs that it follows, once all of them is in its mirror.
//!
//! The mirror is what it remembers: it only ever grows, and a checkpoint that does not extend it is never taken. So what
//! is cosigned extends all that was cosigned before. A cosignature is durable before anybody is shown it, and its time
//! never goes back. Specification: C2SP tlog-cosignature.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorix_tlog::cosignature::CosignerSigningKey;
use quorix_trust::ports::{StoreError, StoredCheckpoint};

use crate::follow::lean;
use crate::logs::{Held, Log, held};
use crate::machine::blocking;
use crate::service::Shared;

/// The same checkpoint is cosigned again after so many seconds: its time says how fresh it is.
const AGAIN_AFTER_S: u64 = 60;

/// Who cosigns.
pub(crate) struct Cosigner {
    pub(crate) key: CosignerSigningKey,
    /// Logs that are never cosigned: nobody vouches for themselves.
    pub(crate) own: BTreeSet<String>,
}

impl Shared {
    /// Cosigns what the mirror of a log is under, if this aggregator is a witness.
    pub(crate) async fn cosign(self: &Arc<Self>, log: &Arc<Log>) -> Result<(), StoreError> {
        let cosigner = self.cosigner.get();
        let is_asked = cosigner.is_some_and(|cosigner| !cosigner.own.contains(&log.origin));
        if !is_asked || log.is_quarantined() {
            return Ok(());
        }
        let (shared, log) = (self.clone(), log.clone());
        blocking("cosigning a checkpoint", move || {
            let Some(Cosigner { key, .. }) = shared.cosigner.get() else {
                return Ok(());
            };
            let held = held(&log, shared.index.mirror(&log.origin).as_ref())?;
            let Some(Held {
                size,
                signed: Ok(Some(signed)),
            }) = held
            else {
                return Ok(());
            };
            if signed.checkpoint().size != size {
                return Ok(());
            }
            let before = shared.index.cosigned(&log.origin)?;
            let Some(at_s) = time_of(before.as_ref(), size, (shared.clock)()) else {
                return Ok(());
            };
            match key.cosign_onto(&lean(&shared.policy, &log.key, &signed), at_s) {
                Ok(note) => {
                    let note = note.to_bytes();
                    let cosigned = StoredCheckpoint { at_s, size, note };
                    shared.index.keep_cosigned(&log.origin, &cosigned)
                }
                Err(error) => {
                    tracing::error!(log = log.name, %error, "a checkpoint cannot be cosigned");
                    Ok(())
                }
            }
        })
        .await
    }
}

/// The time of the next cosignature; `None` if there is none to make.
fn time_of(before: Option<&StoredCheckpoint>, size: u64, now_s: u64) -> Option<u64> {
    let Some(before) = before else {
        return Some(now_s);
    };
    let is_due = size > before.size
        || (size == before.size && now_s >= before.at_s.saturating_add(AGAIN_AFTER_S));
    is_due.then(|| now_s.max(before.at_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(size: u64, at_s: u64) -> StoredCheckpoint {
        let note = Vec::new();
        StoredCheckpoint { at_s, size, note }
    }

    #[test]
    fn times_never_go_back_and_nothing_smaller_is_cosigned() {
        assert_eq!(time_of(None, 5, 100), Some(100));
        assert_eq!(time_of(Some(&before(5, 100)), 6, 90), Some(100));
        assert_eq!(time_of(Some(&before(5, 100)), 4, 500), None);
        assert_eq!(time_of(Some(&before(5, 100)), 5, 159), None);
        assert_eq!(time_of(Some(&before(5, 100)), 5, 160), Some(160));
    }
}

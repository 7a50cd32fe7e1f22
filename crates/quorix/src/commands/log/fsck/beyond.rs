//! What lies beyond the newest checkpoint in this machine's log: of a run that was cut off, or of a database that has lost
//! its end.

use quorix_log::beyond;
use quorix_log::error::StartError;
use quorix_store::TornTail;
use quorix_tlog::note::VerifierKey;
use quorix_wire::scan::Counts;
use serde_json::{Value, json};

use crate::commands::log::which::OwnLog;
use crate::commands::progress::counted;
use crate::output::Failure;

/// What was found there that is in order.
pub(super) struct Beyond {
    seen: beyond::Beyond,
    /// Entries that the checkpoint covers.
    size: u64,
    torn: Option<TornTail>,
}

/// Looks behind the checkpoint of `size` entries. What keeps the log from starting is noted as a problem.
///
/// # Errors
/// The database could not be read.
pub(super) fn look(
    own: &OwnLog,
    key: &VerifierKey,
    size: u64,
    counts: &mut Counts,
) -> Result<Beyond, Failure> {
    let anchored = own.anchor.as_ref().map(|anchor| anchor.checkpoint());
    let looked = match anchored.transpose() {
        Ok(anchored) => beyond::look(&*own.store, key, anchored.flatten()),
        Err(error) => Err(StartError::Anchor(error)),
    };
    let seen = match looked {
        Ok(seen) => seen,
        Err(error @ StartError::Store(_)) => return Err(Failure::unknown(error)),
        Err(error) => {
            counts.note("beyond the checkpoint", error);
            beyond::Beyond::default()
        }
    };
    Ok(Beyond {
        seen,
        size,
        torn: own.store.torn().cloned(),
    })
}

impl Beyond {
    pub(super) fn json(&self) -> Value {
        let torn = self.torn.as_ref().map(|torn| {
            json!({
                "file": torn.file.display().to_string(),
                "whole_bytes": torn.whole_bytes,
                "torn_bytes": torn.torn_bytes,
            })
        });
        json!({
            "anchored": self.seen.anchored, "published": self.seen.published,
            "uncovered": self.seen.uncovered, "torn": torn,
        })
    }

    /// For people; nothing where there is nothing.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(torn) = &self.torn {
            let (cut, whole) = (torn.torn_bytes, torn.whole_bytes);
            lines.push(format!(
                "behind it lies a write that was cut off: {} after {} that are whole, in {}; nobody was told of it, and the \
                 next start drops it",
                counted(cut, "byte", "bytes"),
                counted(whole, "byte", "bytes"),
                torn.file.display()
            ));
        }
        if self.seen.uncovered > 0 {
            lines.push(format!(
                "behind it lie {} that no checkpoint covers and nobody was told of; the next start drops them",
                counted(self.seen.uncovered, "entry", "entries")
            ));
        }
        let unanchored = self
            .size
            .saturating_sub(self.seen.anchored.unwrap_or(self.size));
        if unanchored > 0 {
            lines.push(format!(
                "its last {} durable and not acknowledged yet when it stopped: the anchor does not have them, and the next \
                 start keeps them",
                counted(unanchored, "entry was", "entries were")
            ));
        }
        lines
    }
}

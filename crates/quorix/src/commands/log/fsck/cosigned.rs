//! The cosignatures of the checkpoint: each by a known witness is valid, and there are enough of them.

use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::log_key::LogKey;
use quorix_tlog::note::SignedNote;
use quorix_tlog::tlog_policy::{TlogPolicy, Verified};
use quorix_trust::ports::LogStore as _;
use quorix_wire::scan::Counts;

use crate::commands::log::which::Opened;
use crate::output::Failure;

/// What this policy says of the checkpoint that `opened` showed. What it does not allow is noted as a problem.
///
/// # Errors
/// What this machine's log published last cannot be read.
pub(super) fn look(
    policy: &TlogPolicy,
    opened: &Opened,
    shown: &SignedCheckpoint,
    counts: &mut Counts,
) -> Result<Result<Verified, String>, Failure> {
    let note = published(opened, shown)?;
    let key = LogKey::from(opened.key.clone());
    let verified = SignedNote::parse(&note)
        .map_err(|error| error.to_string())
        .and_then(|note| {
            policy
                .verify_log(&note, &[&key])
                .map_err(|error| error.to_string())
        });
    if let Err(reason) = &verified {
        counts.note("the cosignatures of the checkpoint", reason);
    }
    Ok(verified)
}

/// The checkpoint as the world sees it. In this machine's database cosignatures are kept only with what was published last.
fn published(opened: &Opened, shown: &SignedCheckpoint) -> Result<Vec<u8>, Failure> {
    let published = match &opened.own {
        Some(own) => own.store.published().map_err(Failure::unknown)?,
        None => None,
    };
    Ok(published.map_or_else(|| shown.bytes().to_vec(), |head| head.checkpoint))
}

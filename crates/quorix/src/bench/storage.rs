//! Starting on what was written, and what it takes on the disk.

use std::path::Path;
use std::time::Instant;

use quorix_store::RocksLog;
use quorix_trust::ports::TileStore as _;

use super::figure::{Report, Target, float};
use super::stand::Stand;
use crate::output::Failure;

/// Starts again: opening the database, hashing its right edge, checking the anchor, listening.
pub(super) async fn restart(dir: &Path, report: &mut Report) -> Result<Stand, Failure> {
    let started = Instant::now();
    let stand = Stand::start(dir).await?;
    let seconds = started.elapsed().as_secs_f64();
    report.add("log.start_time", seconds, "s", Target::AtMost(2.0));
    report.add("log.size", float(stand.size()), "entries", Target::None);
    Ok(stand)
}

/// Bytes of each part of the database for each entry.
pub(super) fn sizes(dir: &Path, report: &mut Report) -> Result<(), Failure> {
    let store = RocksLog::open(&dir.join("log")).map_err(Failure::unknown)?;
    let size = store.head().map_err(Failure::unknown)?;
    let size = float(size.map_or(0, |head| head.size)).max(1.0);
    for (part, bytes) in store.sizes().map_err(Failure::unknown)? {
        let (name, target) = match part {
            "hashes" => ("log.hash_storage", Target::AtMost(32.6)),
            "leaves" => ("log.key_index_storage", Target::None),
            "bundles" => ("log.entry_storage", Target::None),
            _ => continue,
        };
        report.add(name, float(bytes) / size, "B/entry", target);
    }
    Ok(())
}

//! `quorix bench`: measures this machine and this program, one line a figure, and nothing that is not measured.
//!
//! Works on the roles as `serve` runs them: a real database, synced writes, gRPC and HTTP on loopback. Never asserts: a
//! figure that is not met is printed as such.

mod aggregator;
mod append;
mod disk;
mod entries;
mod figure;
mod index;
mod latency;
mod proofs;
mod read;
mod stand;
mod storage;

use std::path::PathBuf;

use crate::output::{Exit, Failure, remark};
pub use aggregator::{AggregatorBench, aggregator};
pub use figure::{Figure, Report, Target};
use stand::Stand;

/// What is to be measured.
pub struct LogBench {
    /// Entries that the log is filled with.
    pub entries: u64,
    /// Where the log is put; a temporary folder that is removed again where it is not said.
    pub dir: Option<PathBuf>,
    /// One JSON object instead of lines.
    pub json: bool,
    /// Give up nothing for the sake of a fast first look: only figures whose name begins with one of these.
    pub only: Vec<String>,
}

/// Measures a log.
///
/// # Errors
/// The folder cannot be used, or the log fails.
pub async fn log(bench: LogBench) -> Result<Exit, Failure> {
    let scratch = tempfile::TempDir::with_prefix("quorix-bench-")
        .map_err(|error| Failure::unknown(format!("no temporary folder: {error}")))?;
    let dir = bench.dir.unwrap_or_else(|| scratch.path().to_path_buf());
    std::fs::create_dir_all(&dir)
        .map_err(|error| Failure::wrong(format!("{} cannot be made: {error}", dir.display())))?;
    let mut report = Report::new(bench.json, bench.only);
    let sync = disk::sync_latency(&dir, &mut report)?;

    let mut stand = Stand::start(&dir).await?;
    append::fill(&mut stand, bench.entries, &mut report).await?;
    if report.wants("log.single") {
        latency::single(&mut stand, &sync, &mut report).await?;
    }
    if report.wants("log.tile") {
        read::tiles(&stand, &mut report).await?;
    }
    let mut keys = None;
    if report.wants("log.index") {
        keys = Some(index::follow(&stand, &dir, bench.entries, &mut report).await?);
    }
    stand.stop().await;
    remark("starting again on what was written");
    let stand = storage::restart(&dir, &mut report).await?;
    stand.stop().await;
    storage::sizes(&dir, &mut report)?;
    if let Some(keys) = keys {
        index::size(&dir, keys, &mut report)?;
    }
    if report.wants("log.inclusion_proof") {
        proofs::inclusion(&dir, &mut report)?;
    }
    Ok(report.finish())
}

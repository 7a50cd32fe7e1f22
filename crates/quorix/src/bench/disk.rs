//! How long this disk takes to make 4 KiB durable: what every figure of a log has to be read beside.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use super::figure::{Report, Target, quantile};
use crate::output::Failure;

const SYNCS: usize = 300;
const BLOCK: [u8; 4096] = [0x5a; 4096];

/// Milliseconds of one write of 4 KiB and its fdatasync.
pub(super) struct SyncLatency {
    pub(super) median: f64,
}

/// Measures it in a file of its own in this folder.
pub(super) fn sync_latency(dir: &Path, report: &mut Report) -> Result<SyncLatency, Failure> {
    let file = dir.join("sync-latency");
    let failed = |error: std::io::Error| {
        Failure::unknown(format!("measuring the disk in {}: {error}", dir.display()))
    };
    let open = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&file)
        .map_err(failed)?;
    open.write_all_at(&BLOCK, 0).map_err(failed)?;
    open.sync_all().map_err(failed)?;
    let mut samples = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let started = Instant::now();
        open.write_all_at(&BLOCK, 0).map_err(failed)?;
        open.sync_data().map_err(failed)?;
        samples.push(started.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(&file).map_err(failed)?;
    let median = quantile(&mut samples, 0.5);
    report.add("disk.sync_p50", median, "ms", Target::None);
    let p99 = quantile(&mut samples, 0.99);
    report.add("disk.sync_p99", p99, "ms", Target::None);
    Ok(SyncLatency { median })
}

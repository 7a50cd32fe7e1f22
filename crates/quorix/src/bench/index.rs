//! The verifiable index: how fast it follows a log that is there already, what it takes on the disk, and how long its
//! proofs are.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::registry::Registry;
use quorix_log::index::LogIndex;
use quorix_store::RocksLogIndex;

use super::append::processor_seconds;
use super::entries::Entries;
use super::figure::{Report, Target, float, quantile};
use super::stand::{Stand, signing_key};
use crate::output::{Failure, remark};

/// Keys that are looked up of each kind.
const LOOKED_UP: u64 = 5_000;
/// Numbers of entries that no measurement appends.
const ABSENT: u64 = 1 << 50;

/// Makes the index of the whole log, and looks up keys that are in it and keys that are not.
pub(super) async fn follow(
    stand: &Stand,
    dir: &Path,
    entries: u64,
    report: &mut Report,
) -> Result<(), Failure> {
    remark("making the verifiable index");
    let dir = dir.join("log-index");
    let store = Arc::new(RocksLogIndex::open(&dir).map_err(Failure::unknown)?);
    let mut metrics = Registry::default();
    let index = LogIndex::open(&stand.log, store, &signing_key()?, &mut metrics);
    let index = index.map_err(Failure::unknown)?;
    let before = index.status().keys;
    let (started, cpu) = (Instant::now(), processor_seconds());
    let following = index.clone();
    let caught_up = tokio::task::spawn_blocking(move || following.catch_up());
    caught_up
        .await
        .map_err(Failure::unknown)?
        .map_err(Failure::unknown)?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), processor_seconds() - cpu);
    let keys = index.status().keys;
    let added = float(keys.saturating_sub(before));
    if added > 0.0 {
        let rate = Target::AtLeast(10_000.0);
        report.add("log.index_rate", added / seconds, "keys/s", rate);
        let time = cpu * 1e6 / added;
        report.add("log.index_processor_time", time, "us/key", Target::None);
    }
    report.add("log.index_keys", float(keys), "keys", Target::None);
    proofs(&index, entries, report)?;
    drop(index);
    size(&dir, float(keys).max(1.0), report)
}

/// The longest proofs, and how long the slowest look-ups take.
fn proofs(index: &LogIndex, entries: u64, report: &mut Report) -> Result<(), Failure> {
    let stride = (entries / LOOKED_UP).max(1);
    let kinds = [("inclusion", 0, stride), ("absence", ABSENT, 1)];
    for (kind, first, stride) in kinds {
        let (mut longest, mut samples) = (0, Vec::new());
        for number in 0..LOOKED_UP.min(entries) {
            let key = Entries::key(first.saturating_add(number.saturating_mul(stride)))?;
            let started = Instant::now();
            let answer = index.answer(&key, 0).map_err(Failure::unknown)?;
            samples.push(started.elapsed().as_secs_f64() * 1e3);
            let answer = answer.ok_or_else(|| Failure::unknown("the index gives no answer"))?;
            if answer.indices.is_empty() != (kind == "absence") {
                return Err(Failure::unknown(format!("no proof of {kind} for {key:?}")));
            }
            longest = answer.proof.len().max(longest);
        }
        let longest = float(u64::try_from(longest).unwrap_or(u64::MAX));
        let name = format!("log.index_{kind}_proof_max");
        report.add(&name, longest, "bytes", Target::AtMost(2048.0));
        let name = format!("log.index_{kind}_answer_p99");
        report.add(&name, quantile(&mut samples, 0.99), "ms", Target::None);
    }
    Ok(())
}

/// Bytes on the disk for each key, all parts together. Opened anew, so that nothing is in the write-ahead log only.
fn size(dir: &Path, keys: f64, report: &mut Report) -> Result<(), Failure> {
    let store = RocksLogIndex::open(dir).map_err(Failure::unknown)?;
    let parts = store.sizes().map_err(Failure::unknown)?;
    let total = parts.iter().map(|(_, bytes)| float(*bytes)).sum::<f64>();
    report.add("log.index_storage", total / keys, "B/key", Target::None);
    Ok(())
}

//! The verifiable index: how fast it follows a log that is there already, what it takes on the disk, and how long its
//! proofs are.

use std::path::Path;
use std::time::Instant;

use prometheus_client::registry::Registry;
use quorix_log::index::LogIndex;
use quorix_store::RocksLogIndex;
use quorix_trust::ports::StoreError;

use super::append::processor_seconds;
use super::entries::Entries;
use super::figure::{Report, Target, float, quantile};
use super::stand::{Stand, signing_key};
use crate::output::{Failure, remark};

/// Keys that are looked up of each kind.
const LOOKED_UP: u64 = 5_000;
/// Numbers of entries that no measurement appends.
const ABSENT: u64 = 1 << 50;

/// Makes the index of the whole log, and looks up keys that are in it and keys that are not. Gives how many are in it.
pub(super) async fn follow(
    stand: &Stand,
    dir: &Path,
    entries: u64,
    report: &mut Report,
) -> Result<f64, Failure> {
    remark("making the verifiable index");
    let dir = dir.join("log-index");
    let open = move || {
        RocksLogIndex::open(&dir).map_err(|error| StoreError {
            operation: "opening the index".to_owned(),
            reason: error.to_string(),
        })
    };
    let mut metrics = Registry::default();
    let index = LogIndex::new(&stand.log, open, &signing_key()?, None, &mut metrics);
    let index = index.map_err(Failure::unknown)?;
    index.open().await;
    let before = index.status().keys;
    let (started, cpu) = (Instant::now(), processor_seconds());
    index.catch_up().await.map_err(Failure::unknown)?;
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
    Ok(float(keys).max(1.0))
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
            let answer = index.answer(&key, 0, 0).map_err(Failure::unknown)?;
            samples.push(started.elapsed().as_secs_f64() * 1e3);
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

/// Bytes on the disk for each key, all parts together. Opened anew, when the log has ended, so that nothing is in the
/// write-ahead log only.
pub(super) fn size(dir: &Path, keys: f64, report: &mut Report) -> Result<(), Failure> {
    let store = RocksLogIndex::open(&dir.join("log-index")).map_err(Failure::unknown)?;
    let parts = store.sizes().map_err(Failure::unknown)?;
    let total = parts.iter().map(|(_, bytes)| float(*bytes)).sum::<f64>();
    report.add("log.index_storage", total / keys, "B/key", Target::None);
    Ok(())
}

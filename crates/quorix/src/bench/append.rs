//! How many durable attestations a second: 16 clients submit batches over gRPC on loopback, each answered only when its
//! entries are synced, anchored and under a published checkpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use quorix_wire::client::{ClientError, SUBMITTED_MAX};
use tokio::task::JoinSet;

use super::entries::Entries;
use super::figure::{Report, Target, float};
use super::stand::Stand;
use crate::output::{Failure, has_viewer};

const CLIENTS: u64 = 16;
const MILLION: u64 = 1_000_000;

/// Appends up to this many entries, and measures the first million, the last one and all of them.
pub(super) async fn fill(
    stand: &mut Stand,
    entries: u64,
    report: &mut Report,
) -> Result<(), Failure> {
    let begin = stand.size();
    if begin >= entries {
        return Ok(());
    }
    let watch = tokio::spawn(watch_memory());
    let cpu = processor_seconds();
    let (progress, started) = (progress(entries), Instant::now());
    let first = begin.saturating_add(MILLION).min(entries);
    let first_rate = append(stand, begin, first, &progress).await?;
    let mut last_rate = first_rate;
    let middle = entries.saturating_sub(MILLION).max(first);
    append(stand, first, middle, &progress).await?;
    if middle < entries {
        last_rate = append(stand, middle, entries, &progress).await?;
    }
    let (elapsed, cpu) = (started.elapsed(), processor_seconds() - cpu);
    progress.finish_and_clear();
    watch.abort();
    let appended = float(entries.saturating_sub(begin));
    report.add(
        "log.append_rate",
        appended / elapsed.as_secs_f64(),
        "entries/s",
        Target::AtLeast(100_000.0),
    );
    report.add(
        "log.append_rate_first_million",
        first_rate,
        "entries/s",
        Target::AtLeast(100_000.0),
    );
    report.add(
        "log.append_rate_last_to_first",
        last_rate / first_rate,
        "ratio",
        Target::AtLeast(0.8),
    );
    report.add(
        "log.append_processor_time",
        cpu * 1e6 / appended,
        "us/entry",
        Target::None,
    );
    report.add(
        "log.append_memory",
        memory_peak(),
        "MB",
        Target::AtMost(200.0),
    );
    Ok(())
}

/// Appends the entries with these numbers. Entries a second.
async fn append(stand: &Stand, from: u64, to: u64, progress: &ProgressBar) -> Result<f64, Failure> {
    let made = Entries::new()?;
    let (next, started) = (Arc::new(AtomicU64::new(from)), Instant::now());
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, next, progress) = (stand.client()?, Arc::clone(&next), progress.clone());
        let made = made.clone();
        clients.spawn(async move {
            let batch = u64::try_from(SUBMITTED_MAX).unwrap_or(1);
            loop {
                let begin = next.fetch_add(batch, Ordering::Relaxed);
                if begin >= to {
                    return Ok(());
                }
                let end = begin.saturating_add(batch).min(to);
                loop {
                    let entries = (begin..end).map(|number| made.get(number)).collect();
                    match client.submit(entries, Vec::new()).await {
                        Ok(_) => break,
                        Err(ClientError::ResourceExhausted(_) | ClientError::Pushback { .. }) => {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        Err(error) => return Err(Failure::unknown(error)),
                    }
                }
                progress.inc(end.saturating_sub(begin));
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.map_err(Failure::unknown)??;
    }
    Ok(float(to.saturating_sub(from)) / started.elapsed().as_secs_f64().max(1e-9))
}

fn progress(entries: u64) -> ProgressBar {
    if !has_viewer() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{bar:30} {human_pos} of {human_len} entries, {per_sec}, {eta} left",
    );
    ProgressBar::new(entries).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

static PEAK: AtomicU64 = AtomicU64::new(0);

/// Remembers the most memory that this process, clients and log together, has in use.
async fn watch_memory() {
    loop {
        PEAK.fetch_max(resident_kib(), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn memory_peak() -> f64 {
    float(PEAK.load(Ordering::Relaxed)) * 1024.0 / 1e6
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}

/// Processor time of this process so far, of user and system together.
pub(super) fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    // Linux counts them in hundredths of a second for every program.
    float(ticks) / 100.0
}

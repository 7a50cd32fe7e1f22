//! Clients that submit without pause to a log that may die at any moment, and a reader that watches its checkpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quorix_testkit::entries::a_small_entry;
use tokio::task::JoinSet;

use crate::dice::Dice;
use crate::host::{LogHost, get};
use crate::oracle::{Acknowledged, Broken, Oracle};

const CLIENTS: usize = 4;
const BATCH_MAX: u64 = 12;

/// What one client or reader got.
#[derive(Default)]
struct Got {
    acknowledged: Vec<Acknowledged>,
    checkpoints: Vec<Vec<u8>>,
    /// Submitted, and nobody knows what became of them.
    unknown: Vec<Vec<u8>>,
}

/// Clients at work.
pub(crate) struct Hammer {
    tasks: JoinSet<Got>,
    over: Arc<AtomicBool>,
}

impl Hammer {
    /// Begins. Entries are numbered from `numbers` on; now and then one that was submitted before comes again.
    pub(crate) fn begin(log: &LogHost, numbers: &Arc<AtomicU64>, dice: &mut Dice) -> Self {
        let (mut tasks, over) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        for _ in 0..CLIENTS {
            let (client, numbers) = (log.client(), Arc::clone(numbers));
            let (over, mut dice) = (Arc::clone(&over), dice.split());
            tasks.spawn(async move {
                let mut got = Got::default();
                while !over.load(Ordering::Acquire) {
                    let entries = batch(&numbers, &mut dice);
                    match client.submit(entries.clone(), Vec::new()).await {
                        Ok(answer) => {
                            let indices = answer.indices.iter().map(|(index, _)| *index);
                            got.acknowledged.extend(entries.into_iter().zip(indices));
                            got.checkpoints.push(answer.checkpoint);
                        }
                        Err(_) => {
                            got.unknown.extend(entries);
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                    }
                }
                got
            });
        }
        let ((http, url), watched) = (log.reader(), Arc::clone(&over));
        tasks.spawn(async move {
            let mut got = Got::default();
            while !watched.load(Ordering::Acquire) {
                match get(&http, &url, "checkpoint").await {
                    Some(seen) if got.checkpoints.last() != Some(&seen) => {
                        got.checkpoints.push(seen)
                    }
                    _ => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
            got
        });
        Self { tasks, over }
    }

    /// Ends after the log was killed, tells the oracle everything, and gives what was submitted without an answer.
    pub(crate) async fn end(mut self, oracle: &mut Oracle) -> Result<Vec<Vec<u8>>, Broken> {
        self.over.store(true, Ordering::Release);
        let mut unknown = Vec::new();
        while let Some(got) = self.tasks.join_next().await {
            let got = got.unwrap();
            for checkpoint in &got.checkpoints {
                oracle.saw(checkpoint)?;
            }
            for (entry, index) in &got.acknowledged {
                oracle.was_acknowledged(entry, *index)?;
            }
            unknown.extend(got.unknown);
        }
        Ok(unknown)
    }
}

fn batch(numbers: &AtomicU64, dice: &mut Dice) -> Vec<Vec<u8>> {
    let size = 1 + dice.below(BATCH_MAX);
    let entry = |dice: &mut Dice| {
        let next = numbers.fetch_add(1, Ordering::Relaxed);
        match dice.one_in(8) {
            true => a_small_entry(dice.below(next + 1)),
            false => a_small_entry(next),
        }
    };
    (0..size).map(|_| entry(dice)).collect()
}

/// Submits again what was acknowledged, and what nobody knows of: the first have their first index, and all are in the
/// log once.
pub(crate) async fn submit_again(
    log: &LogHost,
    oracle: &mut Oracle,
    unknown: Vec<Vec<u8>>,
    offset: usize,
) -> Result<(), Broken> {
    let known = oracle.some(8, offset);
    let known_count = known.len();
    let entries: Vec<Vec<u8>> = known
        .into_iter()
        .map(|(entry, _)| entry)
        .chain(unknown)
        .collect();
    let client = log.client();
    for (part, chunk) in entries.chunks(512).enumerate() {
        let answer = client.submit(chunk.to_vec(), Vec::new()).await;
        let answer = answer.map_err(|error| format!("entries are not taken again: {error}"))?;
        oracle.saw(&answer.checkpoint)?;
        for (place, (entry, (index, is_duplicate))) in chunk.iter().zip(answer.indices).enumerate()
        {
            oracle.was_acknowledged(entry, index)?;
            if part == 0 && place < known_count && !is_duplicate {
                return Err(format!(
                    "entry {index} was acknowledged before and is said to be new"
                ));
            }
        }
    }
    Ok(())
}

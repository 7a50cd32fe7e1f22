//! A log whose process is killed with SIGKILL at random moments, over and over, while clients hammer.
//!
//! `QUORIX_KILLS` says how often (200), `QUORIX_SEED` from which seed.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use crate::dice::{Dice, number};
use crate::hammer::{Hammer, submit_again};
use crate::host::LogHost;
use crate::oracle::{Broken, Oracle};

/// A new log after so many kills: what is remembered of one has to fit into memory.
const KILLS_OF_ONE_LOG: u64 = 1000;

/// How one log fared.
#[derive(Default)]
struct Fared {
    acknowledged: usize,
    checkpoints: usize,
    whole_checks: u64,
}

async fn torment(kills: u64, dice: &mut Dice) -> Result<Fared, Broken> {
    let (mut log, mut oracle) = (LogHost::new(), Oracle::default());
    let numbers = Arc::new(AtomicU64::new(0));
    let (mut unknown, mut fared, mut next_whole) = (Vec::new(), Fared::default(), 1);
    for kill in 0..kills {
        // Some are killed while they start.
        if dice.one_in(8) {
            log.spawn();
            tokio::time::sleep(Duration::from_micros(dice.below(150_000))).await;
            log.kill().await;
        }
        let ended = log.start().await;
        ended.map_err(|ended| format!("the log does not start after kill {kill}: {ended:?}"))?;
        let size = oracle.check(&log).await?;
        if size >= next_whole {
            oracle.check_everything(&log).await?;
            fared.whole_checks += 1;
            next_whole = size + size / 2 + 1;
        }
        let offset = usize::try_from(dice.below(1000)).unwrap();
        submit_again(&log, &mut oracle, std::mem::take(&mut unknown), offset).await?;

        let hammer = Hammer::begin(&log, &numbers, dice);
        tokio::time::sleep(Duration::from_micros(dice.below(60_000))).await;
        log.kill().await;
        unknown = hammer.end(&mut oracle).await?;
    }
    let ended = log.start().await;
    ended.map_err(|ended| format!("the log does not start at the end: {ended:?}"))?;
    oracle.check_everything(&log).await?;
    fared.whole_checks += 1;
    (fared.acknowledged, fared.checkpoints) = (oracle.acknowledged(), oracle.checkpoints());
    Ok(fared)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_at_any_moment_loses_nothing_that_was_acknowledged_and_forks_nothing() {
    let (kills, seed) = (number("QUORIX_KILLS", 200), number("QUORIX_SEED", 18));
    let (started, mut dice, mut left) = (Instant::now(), Dice::new(seed), kills);
    let mut total = Fared::default();
    while left > 0 {
        let now = left.min(KILLS_OF_ONE_LOG);
        let fared = torment(now, &mut dice).await;
        let fared = fared.unwrap_or_else(|broken| {
            panic!("seed {seed}, {} kills before: {broken}", kills - left)
        });
        left -= now;
        total.acknowledged += fared.acknowledged;
        total.checkpoints += fared.checkpoints;
        total.whole_checks += fared.whole_checks;
        println!(
            "seed {seed}: {} kills, {} entries acknowledged, {} checkpoints seen, {} whole checks, {} s",
            kills - left,
            total.acknowledged,
            total.checkpoints,
            total.whole_checks,
            started.elapsed().as_secs()
        );
    }
    assert!(
        total.acknowledged > 0 && total.checkpoints > 0,
        "nothing was tried"
    );
}

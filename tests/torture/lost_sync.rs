//! Power cuts, with RocksDB itself: whatever the log wrote and did not sync is lost, in whole or in part.
//!
//! A library under the real process records writes and syncs; after a kill the log's folder is rebuilt as a power cut
//! would leave it, and the log goes on from there. `QUORIX_POWER_CUTS` says how often (40), `QUORIX_SEED` from which
//! seed. That the test can fail is shown by a disk that lies about its syncs.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::dice::{Dice, number};
use crate::hammer::{Hammer, submit_again};
use crate::host::{LogHost, copy};
use crate::interposed;
use crate::oracle::{Broken, Oracle};
use crate::power_cut::Disk;

/// A log on a disk that loses what was not synced.
struct Cut {
    log: LogHost,
    oracle: Oracle,
    numbers: Arc<AtomicU64>,
    unknown: Vec<Vec<u8>>,
    disk: Disk,
}

impl Cut {
    fn new(lie: Option<&str>) -> Self {
        let mut log = LogHost::new();
        fs::create_dir(log.data()).unwrap();
        log.environment = interposed::environment(&log, lie);
        Self {
            disk: Disk::of(&log.data()),
            log,
            oracle: Oracle::default(),
            numbers: Arc::default(),
            unknown: Vec::new(),
        }
    }

    /// Starts, is held to everything that it promised before, is hammered, and loses its power.
    async fn round(&mut self, dice: &mut Dice) -> Result<(), Broken> {
        // Some lose it while they start.
        if dice.one_in(6) {
            self.log.spawn();
            tokio::time::sleep(Duration::from_micros(dice.below(150_000))).await;
            self.lose_power(dice).await;
        }
        let ended = self.log.start().await;
        ended.map_err(|ended| format!("the log does not start: {ended:?}"))?;
        self.oracle.check_everything(&self.log).await?;
        let offset = usize::try_from(dice.below(1000)).unwrap();
        let unknown = std::mem::take(&mut self.unknown);
        submit_again(&self.log, &mut self.oracle, unknown, offset).await?;
        let hammer = Hammer::begin(&self.log, &self.numbers, dice);
        tokio::time::sleep(Duration::from_micros(dice.below(80_000))).await;
        self.lose_power(dice).await;
        self.unknown = hammer.end(&mut self.oracle).await?;
        Ok(())
    }

    async fn lose_power(&mut self, dice: &mut Dice) {
        self.log.kill().await;
        self.disk.lose_power(&interposed::journal(&self.log), dice);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_sync_after_every_power_cut_all_that_was_acknowledged_is_there_and_nothing_forks() {
    let (cuts, seed) = (number("QUORIX_POWER_CUTS", 40), number("QUORIX_SEED", 18));
    let (mut cut, mut dice) = (Cut::new(None), Dice::new(seed));
    for done in 0..cuts {
        if let Err(broken) = cut.round(&mut dice).await {
            panic!("seed {seed}, {done} power cuts before: {broken}");
        }
    }
    println!(
        "seed {seed}: {cuts} power cuts, {} entries acknowledged, {} checkpoints seen",
        cut.oracle.acknowledged(),
        cut.oracle.checkpoints()
    );
    assert!(cut.oracle.acknowledged() > 0, "nothing was tried");
}

/// The negative control: with syncs that do nothing the same test finds that promises were broken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_sync_a_disk_that_swallows_every_sync_is_found_out() {
    let mut cut = Cut::new(Some("/data"));
    let mut dice = Dice::new(number("QUORIX_SEED", 18));
    let mut found = Ok(());
    for _ in 0..20 {
        found = cut.round(&mut dice).await;
        if found.is_err() {
            break;
        }
    }
    let broken = found.expect_err("acknowledged entries survived without any sync");
    println!("found out: {broken}");
    assert!(cut.oracle.acknowledged() > 0, "nothing was tried");
}

/// That the journal tells everything is what the other tests stand on: replayed without a cut it gives the very files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_sync_the_journal_tells_everything_that_was_done_to_the_files() {
    let mut cut = Cut::new(None);
    let mut dice = Dice::new(7);
    cut.log.start().await.unwrap();
    let hammer = Hammer::begin(&cut.log, &cut.numbers, &mut dice);
    quorix::demo::client::until("some entries are in the log", async || {
        let checkpoint = cut.log.get("checkpoint").await?;
        let size: u64 = String::from_utf8(checkpoint)
            .ok()?
            .lines()
            .nth(1)?
            .parse()
            .ok()?;
        (size > 300).then_some(())
    })
    .await
    .unwrap();
    hammer.end(&mut cut.oracle).await.unwrap();
    cut.log.stop().await;
    let (replayed, real) = (cut.log.path("replayed"), cut.log.path("real"));
    cut.disk
        .replay(&fs::read(interposed::journal(&cut.log)).unwrap());
    cut.disk.without_cut(&replayed);
    copy(&cut.log.data(), &real);
    let compared = std::process::Command::new("diff")
        .arg("--recursive")
        .args([&replayed, &real])
        .output()
        .unwrap();
    assert!(
        compared.status.success(),
        "{}",
        String::from_utf8_lossy(&compared.stdout)
    );
}

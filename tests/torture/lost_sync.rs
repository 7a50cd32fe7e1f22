//! Power cuts, with RocksDB itself: whatever the log wrote and did not sync is lost, in whole or in part.
//!
//! A library under the real process records writes and syncs; after a kill the log's folder is rebuilt as a power cut
//! would leave it, and the log goes on from there. `QUORIX_POWER_CUTS` says how often (40), `QUORIX_SEED` from which
//! seed. That the test can fail is shown by a disk that lies about its syncs.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use quorix::demo::client::until;
use quorix_tlog::hash::EMPTY_ROOT;
use quorix_tlog::tlog_policy::TlogPolicy;

use crate::dice::{Dice, number};
use crate::hammer::{Hammer, submit_again};
use crate::host::{LogHost, copy};
use crate::interposed;
use crate::oracle::{Broken, Oracle};
use crate::power_cut::Disk;
use crate::witness_host::WitnessHost;
use crate::witnessed::assert_cosigned;

/// A log on a disk that loses what was not synced.
struct Cut {
    log: LogHost,
    oracle: Oracle,
    numbers: Arc<AtomicU64>,
    unknown: Vec<Vec<u8>>,
    disk: Disk,
    /// Whose cosignature the log publishes with, where there is one. It keeps its power.
    witness: Option<WitnessHost>,
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
            witness: None,
        }
    }

    async fn with_a_witness() -> Self {
        let mut cut = Self::new(None);
        let (mut witness, file) = (WitnessHost::of(&cut.log), cut.log.path("witnesses"));
        fs::write(&file, witness.policy()).unwrap();
        cut.log
            .configure(&format!("witness_policy = \"{}\"\n", file.display()));
        witness.start().await.unwrap();
        cut.witness = Some(witness);
        cut
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
        if let Some(witness) = &self.witness {
            published_again(&self.log, &mut self.oracle, witness).await?;
        }
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

/// What was published last is noted without a sync: after a power cut an older one may be shown, but a cosigned one, and
/// only until all that anybody ever saw is cosigned again.
async fn published_again(
    log: &LogHost,
    oracle: &mut Oracle,
    witness: &WitnessHost,
) -> Result<(), Broken> {
    let policy = TlogPolicy::parse(witness.policy().as_bytes()).unwrap();
    let (needed, mut shown) = (oracle.published(), Ok((0, EMPTY_ROOT)));
    let waiting = until("all that was seen is published again", async || {
        assert_cosigned(log, &policy).await;
        shown = oracle.saw(&log.get("checkpoint").await?);
        let is_broken_or_there = shown.as_ref().map_or(true, |(size, _)| *size >= needed);
        is_broken_or_there.then_some(())
    });
    let waited = waiting.await;
    let (size, _) = shown?;
    waited.map_err(|error| format!("{error}: {size} of {needed} entries"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_sync_a_witnessed_log_publishes_all_that_was_seen_again_and_nothing_that_is_not_cosigned()
 {
    let (cuts, seed) = (
        number("QUORIX_WITNESSED_POWER_CUTS", 20),
        number("QUORIX_SEED", 18),
    );
    let (mut cut, mut dice) = (Cut::with_a_witness().await, Dice::new(seed));
    for done in 0..cuts {
        if let Err(broken) = cut.round(&mut dice).await {
            panic!("seed {seed}, {done} power cuts before: {broken}");
        }
    }
    println!(
        "seed {seed}: {cuts} power cuts with a witness, {} entries acknowledged, {} checkpoints seen",
        cut.oracle.acknowledged(),
        cut.oracle.checkpoints()
    );
    assert!(cut.oracle.acknowledged() > 0, "nothing was tried");
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
    until("some entries are in the log", async || {
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

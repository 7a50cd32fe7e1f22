//! Power cuts under a witness, with RocksDB itself: what it has cosigned it knows afterwards, so that it never cosigns
//! another history, or a smaller tree, than it has told anybody.
//!
//! As in `lost_sync`; `QUORIX_POWER_CUTS` says how often (40), `QUORIX_SEED` from which seed.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::dice::{Dice, number};
use crate::forger::Forger;
use crate::host::LogHost;
use crate::interposed;
use crate::oracle::Broken;
use crate::power_cut::Disk;
use crate::witness_host::WitnessHost;

/// A witness on a disk that loses what was not synced, and a log that would like to profit from it.
struct Cut {
    witness: WitnessHost,
    forger: Forger,
    disk: Disk,
    journal: PathBuf,
    /// Has the folder.
    _host: LogHost,
}

impl Cut {
    fn new(lie: Option<&str>) -> Self {
        let host = LogHost::new();
        let mut witness = WitnessHost::of(&host);
        fs::create_dir(witness.data()).unwrap();
        let journal = host.path("witness-journal");
        witness.environment = interposed::environment_of(&host, witness.data(), &journal, lie);
        Self {
            forger: Forger::new(witness.url(), witness.key().clone()),
            disk: Disk::of(witness.data()),
            witness,
            journal,
            _host: host,
        }
    }

    /// Starts, is tried, cosigns as fast as it can, and loses its power.
    async fn round(&mut self, dice: &mut Dice) -> Result<(), Broken> {
        // Some lose it while they start.
        if dice.one_in(6) {
            self.witness.spawn();
            tokio::time::sleep(Duration::from_micros(dice.below(100_000))).await;
            self.lose_power(dice).await;
        }
        self.witness.start().await?;
        self.forger.try_everything().await?;
        let after = Duration::from_micros(dice.below(60_000));
        let Self {
            witness, forger, ..
        } = self;
        let power = async {
            tokio::time::sleep(after).await;
            witness.kill().await;
        };
        let (grown, ()) = tokio::join!(forger.grow_until_it_is_gone(), power);
        grown?;
        self.lose_power(dice).await;
        Ok(())
    }

    async fn lose_power(&mut self, dice: &mut Dice) {
        self.witness.kill().await;
        self.disk.lose_power(&self.journal, dice);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_sync_after_every_power_cut_a_witness_knows_what_it_has_cosigned_and_cosigns_nothing_else()
 {
    let (cuts, seed) = (number("QUORIX_POWER_CUTS", 40), number("QUORIX_SEED", 18));
    let (mut cut, mut dice) = (Cut::new(None), Dice::new(seed));
    for done in 0..cuts {
        if let Err(broken) = cut.round(&mut dice).await {
            panic!("seed {seed}, {done} power cuts before: {broken}");
        }
    }
    let steps = cut.forger.steps();
    println!("seed {seed}: {cuts} power cuts of a witness, {steps} checkpoints cosigned");
    assert!(steps > 0, "nothing was tried");
}

/// The negative control: with syncs that do nothing the same test finds out that the witness forgets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_sync_a_witness_on_a_disk_that_swallows_every_sync_is_found_out() {
    let (mut cut, mut dice) = (
        Cut::new(Some("/witness-data")),
        Dice::new(number("QUORIX_SEED", 18)),
    );
    let mut found = Ok(());
    for _ in 0..20 {
        found = cut.round(&mut dice).await;
        if found.is_err() {
            break;
        }
    }
    let broken = found.expect_err("what was cosigned survived without any sync");
    println!("found out: {broken}");
    assert!(cut.forger.steps() > 0, "nothing was tried");
}

//! A log that publishes only what its witness has cosigned, and both of them killed at random moments.
//!
//! `QUORIX_WITNESSED_KILLS` says how often (60), `QUORIX_SEED` from which seed.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::note::SignedNote;
use quorix_tlog::tlog_policy::TlogPolicy;

use crate::dice::{Dice, number};
use crate::hammer::{Hammer, submit_again};
use crate::host::LogHost;
use crate::oracle::Oracle;
use crate::witness_host::WitnessHost;

/// What is published is cosigned, always.
pub(crate) async fn assert_cosigned(log: &LogHost, policy: &TlogPolicy) {
    let published = log.get("checkpoint").await.unwrap();
    let note = SignedNote::parse(&published).unwrap();
    // The empty tree is shown before anybody has cosigned it.
    if Checkpoint::parse(note.text()).unwrap().size > 0 {
        assert_eq!(policy.verify(&note).unwrap().witnesses.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_of_a_log_and_of_its_witness_loses_nothing_and_publishes_nothing_that_is_not_cosigned()
{
    let (kills, seed) = (
        number("QUORIX_WITNESSED_KILLS", 60),
        number("QUORIX_SEED", 18),
    );
    let (mut log, mut oracle, mut dice) = (LogHost::new(), Oracle::default(), Dice::new(seed));
    let mut witness = WitnessHost::of(&log);
    fs::write(log.path("witnesses"), witness.policy()).unwrap();
    log.configure(&format!(
        "witness_policy = \"{}\"\n",
        log.path("witnesses").display()
    ));
    let policy = TlogPolicy::parse(witness.policy().as_bytes()).unwrap();
    let numbers = Arc::new(AtomicU64::new(0));
    let mut unknown = Vec::new();
    witness.start().await.unwrap();
    for _ in 0..kills {
        log.start().await.unwrap();
        submit_again(&log, &mut oracle, std::mem::take(&mut unknown), 7)
            .await
            .unwrap();
        assert_cosigned(&log, &policy).await;
        oracle.check(&log).await.unwrap();
        let hammer = Hammer::begin(&log, &numbers, &mut dice);
        tokio::time::sleep(Duration::from_micros(dice.below(60_000))).await;
        if dice.one_in(3) {
            witness.kill().await;
            tokio::time::sleep(Duration::from_micros(dice.below(20_000))).await;
            // What it had not cosigned is not published meanwhile.
            assert_cosigned(&log, &policy).await;
        }
        log.kill().await;
        unknown = hammer.end(&mut oracle).await.unwrap();
        if !witness.is_running() {
            witness.start().await.unwrap();
        }
    }
    log.start().await.unwrap();
    submit_again(&log, &mut oracle, unknown, 0).await.unwrap();
    oracle.check_everything(&log).await.unwrap();
    assert_cosigned(&log, &policy).await;
    println!(
        "seed {seed}: {kills} kills with a witness, {} entries acknowledged, {} checkpoints seen",
        oracle.acknowledged(),
        oracle.checkpoints()
    );
    assert!(oracle.acknowledged() > 0, "nothing was tried");
}

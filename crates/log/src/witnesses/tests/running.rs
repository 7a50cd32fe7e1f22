//! A running log with running witnesses: what it publishes, and what keeps it from signing.

use quorix_testkit::entries::a_small_entry;
use quorix_testkit::memory::MemoryAnchor;

use super::*;
use crate::config::LogConfig;
use crate::error::{Proof, StartError, SubmitError};
use crate::publication::cosigner::Witnessing;
use crate::service::Log;
use crate::storage::Storage;

/// Starts a log over this store with an anchor of its own, as after a restore.
async fn start(
    store: &MemoryLog,
    witnesses: Option<&Witnesses>,
    config: LogConfig,
) -> Result<Log, StartError> {
    let witnessing = match witnesses {
        None => None,
        Some(witnesses) => Some(Witnessing {
            cosigner: Arc::new(witnesses.clone()),
            seen: witnesses.seen().await.unwrap(),
        }),
    };
    let store = store.clone();
    let storage = Storage::new(move || Ok(store.clone()), MemoryAnchor::new());
    let registry = &mut Registry::default();
    Log::start(storage, witnessing, log_key(ORIGIN), config, registry)
}

fn config() -> LogConfig {
    LogConfig::new(ORIGIN)
}

async fn submit(log: &Log, number: u64) -> Vec<u8> {
    let submitted = log.submit(vec![a_small_entry(number)], Vec::new()).await;
    submitted.unwrap().checkpoint
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_log_acknowledges_is_cosigned_by_two_of_its_three_witnesses() {
    let world = World::new();
    let (one, _) = world.honest(1).await;
    let (three, _) = world.honest(3).await;
    let sites = [one, down(2).await, three];
    let witnesses = world.witnesses(&sites);
    let log = start(&world.log, Some(&witnesses), config()).await.unwrap();
    for number in 0..3 {
        let checkpoint = submit(&log, number).await;
        let verified = verified(&checkpoint, &sites);
        assert_eq!(names(&verified), ["w1", "w3"]);
        assert_eq!(verified.checkpoint.size, number + 1);
        assert_eq!(log.status().checkpoint, checkpoint);
    }
    log.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_quorum_a_log_acknowledges_nothing_and_says_whose_cosignature_is_missing() {
    let world = World::new();
    let (one, _) = world.honest(1).await;
    let sites = [one, down(2).await];
    let witnesses = world.witnesses(&sites);
    let impatient = LogConfig {
        acknowledge_within: Duration::from_millis(1),
        ..config()
    };
    let log = start(&world.log, Some(&witnesses), impatient)
        .await
        .unwrap();
    let refused = log.submit(vec![a_small_entry(1)], Vec::new()).await;
    assert!(
        matches!(refused, Err(SubmitError::Unavailable { .. })),
        "{refused:?}"
    );
    while !log
        .status()
        .problem
        .is_some_and(|said| said.contains("without w2"))
    {
        tokio::task::yield_now().await;
    }
    assert_eq!(log.status().size, 0);
    log.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_backup_put_back_behind_running_witnesses_refuses_to_sign() {
    let world = World::new();
    let (one, _) = world.honest(1).await;
    let (two, _) = world.honest(2).await;
    let sites = [one, two];
    let witnesses = world.witnesses(&sites);
    let log = start(&world.log, Some(&witnesses), config()).await.unwrap();
    submit(&log, 0).await;

    // The same tree at the same size, as a backup of now would have it.
    let backup = MemoryLog::new();
    let copy = start(&backup, None, config()).await.unwrap();
    submit(&copy, 0).await;
    copy.shutdown().await;

    submit(&log, 1).await;
    log.shutdown().await;
    let refused = start(&backup, Some(&witnesses), config()).await.err();
    let behind = StartError::Behind {
        stored: 1,
        signed: 2,
        by: Proof::Witness,
    };
    assert_eq!(refused, Some(behind));

    let empty = MemoryLog::new();
    let refused = start(&empty, Some(&witnesses), config()).await.err();
    assert!(
        matches!(
            refused,
            Some(StartError::Behind {
                stored: 0,
                signed: 2,
                ..
            })
        ),
        "{refused:?}"
    );
    // The real one goes on, on their word alone: its anchor is lost.
    let log = start(&world.log, Some(&witnesses), config()).await.unwrap();
    assert_eq!(verified(&submit(&log, 2).await, &sites).checkpoint.size, 3);
    log.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_history_behind_running_witnesses_refuses_to_sign() {
    let world = World::new();
    let (one, _) = world.honest(1).await;
    let (two, _) = world.honest(2).await;
    let witnesses = world.witnesses(&[one, two]);
    let log = start(&world.log, Some(&witnesses), config()).await.unwrap();
    submit(&log, 0).await;
    log.shutdown().await;
    let other = MemoryLog::new();
    let copy = start(&other, None, config()).await.unwrap();
    for number in 7..10 {
        submit(&copy, number).await;
    }
    copy.shutdown().await;
    let refused = start(&other, Some(&witnesses), config()).await.err();
    let by = Proof::Witness;
    assert_eq!(refused, Some(StartError::Forked { size: 1, by }));
}

//! When a log may be begun, and when one that nobody confirmed goes on.

use std::sync::atomic::{AtomicBool, Ordering};

use quorix_trust::ports::{Anchor as _, StoreError};

use super::start::{ran, showing, witnesses};
use super::*;
use crate::beginning::Beginning;
use crate::error::Proof;
use crate::publication::cosigner::Witnessing;
use crate::witnesses::Seen;

/// Starts a log, with what its key says of itself.
fn start_by(store: &MemoryLog, mark: &Arc<Mark>) -> Result<Log, StartError> {
    let storage = store.storage().begun_only_by(Arc::clone(mark));
    Log::start(
        storage,
        None,
        log_key(ORIGIN),
        config(),
        &mut Registry::default(),
    )
}

/// The mark of a key in memory.
struct Mark(AtomicBool);

impl Mark {
    fn of_a_new_key(is_new: bool) -> Arc<Self> {
        Arc::new(Self(is_new.into()))
    }
}

impl Beginning for Arc<Mark> {
    fn is_new(&self) -> Result<bool, StoreError> {
        Ok(self.0.load(Ordering::SeqCst))
    }

    fn has_begun(&self) -> Result<(), StoreError> {
        self.0.store(false, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn a_log_whose_database_and_anchor_are_both_gone_does_not_begin_anew() {
    let mark = Mark::of_a_new_key(true);
    let log = start_by(&MemoryLog::new(), &mark).unwrap();
    submit(&log, &small_entries(0..3)).await;
    log.shutdown().await;
    // The disk is not mounted: nothing is there, as before the first start.
    let nothing = MemoryLog::new();
    let error = start_by(&nothing, &mark).err().unwrap();
    let origin = ORIGIN.to_owned();
    assert_eq!(error, StartError::NotBegun { origin });
    assert_eq!(nothing.head(), Ok(None));
    assert_eq!(nothing.anchor().read(), Ok(None));
    assert!(
        error.to_string().ends_with(
            "If this key has never signed a checkpoint, say so: quorix log adopt --confirm-size 0"
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_log_of_a_key_that_was_made_elsewhere_begins_once_its_operator_says_so() {
    let (store, mark) = (MemoryLog::new(), Mark::of_a_new_key(false));
    assert!(start_by(&store, &mark).is_err());
    let adopted = |seen: Option<&Seen>| {
        let storage = store.storage().begun_only_by(Arc::clone(&mark));
        adopt(storage, &log_key(ORIGIN), ORIGIN, seen, 0)
    };
    // But not where a witness knows better.
    let (_, anchored) = ran().await;
    let expected = StartError::Behind {
        stored: 0,
        signed: 100,
        by: Proof::Witness,
    };
    assert_eq!(adopted(Some(&showing(&[&anchored[1]]))), Err(expected));
    assert_eq!(store.head(), Ok(None));
    assert_eq!(adopted(None), Ok(0));
    let log = start_by(&store, &mark).unwrap();
    submit(&log, &small_entries(0..3)).await;
    log.shutdown().await;
    assert_eq!(start_by(&store, &mark).unwrap().status().size, 3);
}

#[tokio::test]
async fn a_new_log_that_stopped_before_its_anchor_begins_again_and_its_mark_is_used_up() {
    let (store, mark) = (MemoryLog::new(), Mark::of_a_new_key(true));
    start_by(&store, &mark).unwrap().shutdown().await;
    store.anchor().set(None);
    // Without the mark an empty log and no anchor may be an old copy of a long one.
    let error = start_by(&store, &mark).err();
    assert_eq!(error, Some(StartError::NoAnchor { size: 0 }));
    let mark = Mark::of_a_new_key(true);
    start_by(&store, &mark).unwrap().shutdown().await;
    assert!(!mark.0.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_mark_that_cannot_be_used_up_keeps_the_log_from_starting() {
    struct Stuck;
    impl Beginning for Stuck {
        fn is_new(&self) -> Result<bool, StoreError> {
            Ok(true)
        }
        fn has_begun(&self) -> Result<(), StoreError> {
            Err(StoreError {
                operation: "emptying the mark".to_owned(),
                reason: "read-only".to_owned(),
            })
        }
    }
    let storage = MemoryLog::new().storage().begun_only_by(Stuck);
    let registry = &mut Registry::default();
    let error = Log::start(storage, None, log_key(ORIGIN), config(), registry).err();
    assert!(matches!(error, Some(StartError::Beginning(_))), "{error:?}");
}

/// A log of 300 entries that a witness cosigned while it ran.
async fn ran_with_a_witness() -> (MemoryLog, witness::Witness, Vec<Vec<u8>>) {
    let (store, witness) = (MemoryLog::new(), witness::Witness::default());
    let log = start_with(&store, Some(witness.witnessing()), config()).unwrap();
    for (first, last) in [(0, 100), (100, 300)] {
        submit(&log, &small_entries(first..last)).await;
    }
    log.shutdown().await;
    let anchored = store.anchor().writes();
    (store, witness, anchored)
}

#[tokio::test]
async fn a_copy_goes_on_by_itself_where_its_witnesses_cosign_it_as_their_newest() {
    let (store, witness, _) = ran_with_a_witness().await;
    store.mark_as_copy(true);
    store.anchor().set(None);
    let asked = witness.seen().len();
    let log = start_with(&store, Some(witness.witnessing()), config()).unwrap();
    assert_eq!(log.status().size, 300);
    assert_eq!(store.is_copy(), Ok(false));
    assert!(witness.seen().len() > asked);
}

#[tokio::test]
async fn a_copy_is_not_confirmed_by_witnesses_that_may_not_know() {
    let (store, witness, anchored) = ran_with_a_witness().await;
    store.mark_as_copy(true);
    store.anchor().set(None);
    let refused = |witnessing| start_with(&store, witnessing, config()).err();
    let copy = Some(StartError::Copy { size: 300 });
    // Nobody counts, or one of those who count shows nothing: asked at the wrong address, perhaps.
    let shown = showing(&[&anchored[2]]).shown;
    let unknown = Seen { shown, least: None };
    assert_eq!(refused(witnesses(unknown)), copy);
    assert_eq!(refused(witnesses(Seen::default())), copy);
    // One of them has not seen what was published from here: it was not of the policy then.
    let seen = showing(&[&anchored[1], &anchored[2]]);
    assert_eq!(refused(witnesses(seen)), copy);
    // What they show is old, and what they have cosigned is newer.
    let ahead = Checkpoint {
        size: 400,
        ..verified(&anchored[2])
    };
    witness.has_seen(ahead);
    let stale = Witnessing {
        seen: showing(&[&anchored[2]]),
        ..witness.witnessing()
    };
    assert_eq!(refused(Some(stale)), copy);
    assert_eq!(store.is_copy(), Ok(true));
}

#[tokio::test]
async fn a_copy_of_a_time_without_witnesses_is_not_confirmed_by_them() {
    let (store, anchored) = ran().await;
    store.mark_as_copy(true);
    store.anchor().set(None);
    let error = start_with(&store, witnesses(showing(&[&anchored[3]])), config()).err();
    assert_eq!(error, Some(StartError::Copy { size: 300 }));
}

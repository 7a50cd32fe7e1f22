//! The suite for [`WitnessStore`].

use quorix_tlog::hash::leaf_hash;
use quorix_tlog::witness::Cosigned;
use quorix_trust::ports::{WitnessRecord, WitnessStore};

type Open<'a> = &'a dyn Fn() -> Box<dyn WitnessStore>;

pub(super) const CASES: [fn(Open<'_>); 4] = [
    a_new_store_knows_no_log,
    what_was_cosigned_is_read_back_and_outlives_the_process,
    a_record_is_only_replaced_by_who_knows_it,
    of_many_that_race_exactly_one_wins,
];

const ORIGIN: &str = "logs.example.org/alice";

fn record(size: u64, time: u64) -> WitnessRecord {
    WitnessRecord {
        cosigned: Cosigned {
            size,
            root: leaf_hash(&size.to_be_bytes()),
            time,
        },
        note: format!("the note of {size}\n").into_bytes(),
    }
}

fn a_new_store_knows_no_log(open: Open<'_>) {
    assert_eq!(open().record(ORIGIN), Ok(None));
    assert_eq!(open().record(""), Ok(None));
}

fn what_was_cosigned_is_read_back_and_outlives_the_process(open: Open<'_>) {
    let store = open();
    let (first, long) = (record(7, u64::MAX), "x".repeat(4_096));
    assert_eq!(store.replace(ORIGIN, None, &first), Ok(true));
    assert_eq!(store.replace(&long, None, &record(0, 0)), Ok(true));
    assert_eq!(store.record(ORIGIN), Ok(Some(first.clone())));
    assert_eq!(store.record("logs.example.org/alic"), Ok(None));
    drop(store);
    let store = open();
    assert_eq!(store.record(ORIGIN), Ok(Some(first)));
    assert_eq!(store.record(&long), Ok(Some(record(0, 0))));
}

fn a_record_is_only_replaced_by_who_knows_it(open: Open<'_>) {
    let store = open();
    let (first, second) = (record(7, 10), record(9, 20));
    assert_eq!(
        store.replace(ORIGIN, Some(&first.cosigned), &second),
        Ok(false)
    );
    assert_eq!(store.record(ORIGIN), Ok(None));
    assert_eq!(store.replace(ORIGIN, None, &first), Ok(true));
    let others = [
        None,
        Some(second.cosigned),
        // Each part of it counts.
        Some(Cosigned {
            size: 8,
            ..first.cosigned
        }),
        Some(Cosigned {
            time: 11,
            ..first.cosigned
        }),
        Some(Cosigned {
            root: leaf_hash(b""),
            ..first.cosigned
        }),
    ];
    for other in others {
        assert_eq!(store.replace(ORIGIN, other.as_ref(), &second), Ok(false));
        assert_eq!(store.record(ORIGIN), Ok(Some(first.clone())));
    }
    assert_eq!(
        store.replace(ORIGIN, Some(&first.cosigned), &second),
        Ok(true)
    );
    assert_eq!(store.record(ORIGIN), Ok(Some(second)));
}

fn of_many_that_race_exactly_one_wins(open: Open<'_>) {
    let store = open();
    let first = record(7, 10);
    assert_eq!(store.replace(ORIGIN, None, &first), Ok(true));
    let won: usize = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|number| {
                let (store, first) = (&store, &first);
                scope.spawn(move || {
                    let new = record(8 + number, 20);
                    store.replace(ORIGIN, Some(&first.cosigned), &new).unwrap()
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| usize::from(racer.join().unwrap()))
            .sum()
    });
    assert_eq!(won, 1);
}

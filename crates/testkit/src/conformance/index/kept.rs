//! What must stay bounded whatever logs say and show.

use quorix_trust::ports::{
    AHEAD_MAX, Facts, IndexStore, OTHER_SYSTEMS, SYSTEMS_PER_DAY_MAX, Tally, TallyKey,
};

use super::{ALICE, BOB, Open, checkpoint, entry, statement, tree_only};
use crate::tree::Grower;

pub(super) fn of_what_is_ahead_of_a_mirror_only_so_much_is_kept(open: Open<'_>) {
    let index = open();
    let batch = tree_only(Grower::new(ALICE).grow(&["one", "two", "three"]));
    index.advance(ALICE, 0, &batch).unwrap();
    let mut at_s = 0;
    let mut keep = |size: u64| {
        at_s += 1;
        index
            .keep_checkpoint(ALICE, &checkpoint(size, at_s))
            .unwrap();
    };
    // All but one place are taken, also by what is smaller or larger than what was shown before.
    let first: Vec<u64> = [1, 2, 3, 7_000, 10]
        .into_iter()
        .chain((20..).take(AHEAD_MAX - 3))
        .collect();
    first.iter().for_each(|size| keep(*size));
    for number in 0..1_500 {
        keep(8_000 + number);
        keep(2_000 + number);
    }
    // What was shown first stays, and so does the largest.
    let mut expected = first;
    expected.push(9_499);
    expected.sort_unstable();
    let kept = index.checkpoints(ALICE, 0, 2 * AHEAD_MAX).unwrap();
    let sizes: Vec<u64> = kept.iter().map(|kept| kept.size).collect();
    assert_eq!(sizes, expected);
    let newest = index.newest_checkpoint(ALICE).unwrap();
    assert_eq!(newest, kept.last().cloned());
}

pub(super) fn what_is_mirrored_is_not_ahead_and_forgets_nothing(open: Open<'_>) {
    let index = open();
    let batch = tree_only(Grower::new(ALICE).grow(&["one", "two", "three"]));
    index.advance(ALICE, 0, &batch).unwrap();
    for size in 4..4 + u64::try_from(AHEAD_MAX).unwrap() {
        index.keep_checkpoint(ALICE, &checkpoint(size, 1)).unwrap();
    }
    index.keep_checkpoint(ALICE, &checkpoint(2, 1)).unwrap();
    let kept = index.checkpoints(ALICE, 0, 2 * AHEAD_MAX).unwrap();
    assert_eq!(kept.len(), AHEAD_MAX + 1);
}

pub(super) fn of_a_day_with_too_many_systems_the_rest_are_told_of_as_one(open: Open<'_>) {
    let index = open();
    // The day before and the day after have one system each.
    let count = SYSTEMS_PER_DAY_MAX + 6;
    let last = format!("output-{:02}", count - 1);
    let said = |number: usize| (format!("output-{number:02}"), 5, format!("s-{number:02}"));
    let mut all: Vec<(String, u32, String)> = (0..count).map(said).collect();
    all.push(("before".to_owned(), 4, "s".to_owned()));
    all.push(("after".to_owned(), 6, "s".to_owned()));
    says(&*index, ALICE, &all);
    says(&*index, BOB, &[(last, 7, String::new())]);

    let one = Tally {
        one_builder: 1,
        ..Tally::default()
    };
    let others = Tally {
        agree: 1,
        one_builder: 5,
        ..Tally::default()
    };
    let mut expected = vec![day(4, "s", one), day(5, OTHER_SYSTEMS, others)];
    expected.extend((0..SYSTEMS_PER_DAY_MAX).map(|number| day(5, &format!("s-{number:02}"), one)));
    expected.push(day(6, "s", one));
    let agree = Tally {
        agree: 1,
        ..Tally::default()
    };
    let (alice, bob) = (ALICE.to_owned(), BOB.to_owned());
    let pair = TallyKey::Pair {
        one: alice,
        other: bob,
    };
    expected.push((pair, agree));
    assert_eq!(index.tallies(1_000, 10).unwrap(), expected);
    let newest = &expected[expected.len() - 3..expected.len() - 1];
    assert_eq!(index.tallies(2, 0).unwrap(), newest);
    assert_eq!(index.tallies(0, 1).unwrap(), expected[expected.len() - 1..]);
}

fn day(day: u32, system: &str, tally: Tally) -> (TallyKey, Tally) {
    let system = system.to_owned();
    (TallyKey::Day { day, system }, tally)
}

/// A log says one value of each of these outputs, on these days and of these systems.
fn says(index: &dyn IndexStore, origin: &'static str, said: &[(String, u32, String)]) {
    let entries: Vec<_> = said.iter().map(|(name, ..)| entry(name, 1)).collect();
    let mut batch = tree_only(Grower::new(origin).grow(&entries));
    for ((name, day, system), index) in said.iter().zip(0..) {
        batch.statements.push(statement(name, 1, origin, index));
        batch.facts.push(Facts {
            index,
            day: *day,
            system: system.clone(),
            drv: None,
            nar_hash: [1; 32],
        });
    }
    index.advance(origin, 0, &batch).unwrap();
}

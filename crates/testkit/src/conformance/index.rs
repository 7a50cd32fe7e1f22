//! The suite for [`IndexStore`].

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_tlog::hash::leaf_hash;
use quorix_tlog::tile::TileId;
use quorix_trust::ports::{
    CommitError, Counts, Equivocation, FollowBatch, IndexStore, IndexedStatement, Place,
    STATEMENTS_PER_VOICE_MAX, Standing, StandingChange, StoredCheckpoint, TreeBatch,
    UNLOGGED_PER_VOICE_MAX,
};

use crate::entries::a_path;
use crate::tree::{Grower, blob_id};

type Open<'a> = &'a dyn Fn() -> Box<dyn IndexStore>;

pub(super) const CASES: [fn(Open<'_>); 20] = [
    a_new_index_is_empty,
    a_step_is_read_back_and_outlives_the_process,
    mirrors_are_apart,
    a_step_from_another_size_conflicts_and_changes_nothing,
    standings_change_as_builders_speak,
    a_withdrawn_statement_stays_but_no_longer_counts,
    a_retraction_in_the_same_step_withdraws_what_came_before_it,
    a_retraction_reaches_only_lower_indices_of_its_own_log,
    observations_count_once,
    opaque_entries_are_counted,
    the_first_proof_of_equivocation_stays,
    disagreements_are_paged_in_order,
    paths_are_found_by_the_beginning_of_their_name,
    one_voice_cannot_crowd_out_the_others,
    checkpoints_are_kept_by_size_and_the_first_of_a_size_stays,
    a_lift_is_recorded_and_its_proof_does_not_come_back,
    a_lift_forgets_what_was_shown_beyond_the_mirror,
    kept::of_what_is_ahead_of_a_mirror_only_so_much_is_kept,
    kept::what_is_mirrored_is_not_ahead_and_forgets_nothing,
    kept::of_a_day_with_too_many_systems_the_rest_are_told_of_as_one,
];

mod kept;

const ALICE: &str = "logs.example.org/alice";
const BOB: &str = "logs.example.org/bob";

fn value(letter: u8) -> FingerprintDigest {
    FingerprintDigest::from_bytes([letter; 32])
}

fn statement(name: &str, letter: u8, origin: &str, index: u64) -> IndexedStatement {
    IndexedStatement {
        path: a_path(name),
        value: value(letter),
        voice: origin.to_owned(),
        place: Place::Leaf {
            origin: origin.to_owned(),
            index,
        },
        withdrawn_by: None,
    }
}

fn observation(name: &str, letter: u8, key: &str) -> IndexedStatement {
    IndexedStatement {
        path: a_path(name),
        value: value(letter),
        voice: key.to_owned(),
        place: Place::Unlogged {
            entry: format!("{key} saw {name} {letter}").into_bytes(),
        },
        withdrawn_by: None,
    }
}

fn entry(name: &str, letter: u8) -> String {
    format!("{name} is {letter}")
}

fn tree_only(tree: TreeBatch) -> FollowBatch {
    FollowBatch {
        tree,
        statements: Vec::new(),
        retractions: Vec::new(),
        opaque: 0,
        facts: Vec::new(),
    }
}

/// A log that is followed step by step.
struct Followed<'a> {
    index: &'a dyn IndexStore,
    origin: &'static str,
    grower: Grower,
}

impl<'a> Followed<'a> {
    fn new(index: &'a dyn IndexStore, origin: &'static str) -> Self {
        Self {
            index,
            origin,
            grower: Grower::new(origin),
        }
    }

    fn says(&mut self, said: &[(&str, u8)]) -> Vec<StandingChange> {
        let size = self.grower.size();
        let entries: Vec<_> = said
            .iter()
            .map(|(name, letter)| entry(name, *letter))
            .collect();
        let mut batch = tree_only(self.grower.grow(&entries));
        for ((name, letter), index) in said.iter().zip(size..) {
            batch
                .statements
                .push(statement(name, *letter, self.origin, index));
        }
        self.index.advance(self.origin, size, &batch).unwrap()
    }

    fn withdraws(&mut self, name: &str, letter: u8) -> Vec<StandingChange> {
        let size = self.grower.size();
        let mut batch = tree_only(self.grower.grow(&[format!("withdraw, at {size}")]));
        batch
            .retractions
            .push((leaf_hash(entry(name, letter).as_bytes()), size));
        self.index.advance(self.origin, size, &batch).unwrap()
    }
}

fn change(name: &str, before: Standing, after: Standing) -> StandingChange {
    StandingChange {
        output: a_path(name),
        before,
        after,
    }
}

fn hash_part(name: &str) -> HashPart {
    a_path(name).hash_part()
}

fn withdrawals(index: &dyn IndexStore, name: &str) -> Vec<Option<u64>> {
    index
        .statements(&hash_part(name))
        .unwrap()
        .iter()
        .map(|statement| statement.withdrawn_by)
        .collect()
}

fn counts(outputs: u64, agree: u64, disagree: u64, one_builder: u64) -> Counts {
    Counts {
        outputs,
        agree,
        disagree,
        one_builder,
    }
}

fn a_new_index_is_empty(open: Open<'_>) {
    let index = open();
    let mirror = index.mirror(ALICE);
    assert_eq!(mirror.head(), Ok(None));
    assert_eq!(mirror.tile(TileId::hashes(0, 0)), Ok(None));
    assert_eq!(mirror.blob(&[0; 32]), Ok(None));
    assert_eq!(mirror.index_of(&leaf_hash(b"nothing")), Ok(None));
    assert_eq!(index.opaque(ALICE), Ok(0));
    assert_eq!(index.statements(&hash_part("hello")), Ok(Vec::new()));
    assert_eq!(index.equivocation(ALICE), Ok(None));
    assert_eq!(index.counts(), Ok(Counts::default()));
    assert_eq!(index.disagreements(None, 10), Ok(Vec::new()));
    assert_eq!(index.by_name("", 10), Ok(Vec::new()));
}

fn a_step_is_read_back_and_outlives_the_process(open: Open<'_>) {
    let mut grower = Grower::new(ALICE);
    let entries: Vec<_> = (0..300)
        .map(|number| entry("hello", u8::try_from(number % 256).unwrap()))
        .collect();
    let mut batch = tree_only(grower.grow(&entries));
    batch
        .tree
        .blobs
        .push((blob_id(b"a blob"), b"a blob".to_vec()));
    batch.statements.push(statement("hello", 1, ALICE, 1));
    batch.statements.push(statement("hello", 0, ALICE, 0));
    open().advance(ALICE, 0, &batch).unwrap();
    let index = open();
    let mirror = index.mirror(ALICE);
    assert_eq!(mirror.head(), Ok(Some(grower.head())));
    for (id, tile) in &batch.tree.tiles {
        assert_eq!(mirror.tile(*id), Ok(Some(tile.clone())));
    }
    assert_eq!(
        mirror.blob(&blob_id(b"a blob")),
        Ok(Some(b"a blob".to_vec()))
    );
    assert_eq!(
        mirror.index_of(&leaf_hash(entries[44].as_bytes())),
        Ok(Some(44))
    );
    // Entry 263 has the bytes of entry 7: the newest one is found.
    assert_eq!(
        mirror.index_of(&leaf_hash(entries[7].as_bytes())),
        Ok(Some(263))
    );
    let ascending = vec![
        statement("hello", 0, ALICE, 0),
        statement("hello", 1, ALICE, 1),
    ];
    assert_eq!(index.statements(&hash_part("hello")), Ok(ascending));
    assert_eq!(index.counts(), Ok(counts(1, 0, 1, 0)));
}

fn mirrors_are_apart(open: Open<'_>) {
    let index = open();
    Followed::new(&*index, ALICE).says(&[("hello", 1), ("world", 1)]);
    assert_eq!(index.mirror(BOB).head(), Ok(None));
    assert_eq!(index.mirror(BOB).tile(TileId::entries(0)), Ok(None));
    assert_eq!(
        index
            .mirror(BOB)
            .index_of(&leaf_hash(entry("hello", 1).as_bytes())),
        Ok(None)
    );
    Followed::new(&*index, BOB).says(&[("hello", 1)]);
    assert_eq!(index.mirror(ALICE).head().unwrap().unwrap().size, 2);
    assert_eq!(index.mirror(BOB).head().unwrap().unwrap().size, 1);
}

fn a_step_from_another_size_conflicts_and_changes_nothing(open: Open<'_>) {
    let index = open();
    let mut alice = Followed::new(&*index, ALICE);
    alice.says(&[("hello", 1)]);
    let mut batch = tree_only(alice.grower.grow(&["late"]));
    batch.statements.push(statement("hello", 2, ALICE, 1));
    batch.opaque = 1;
    for expected in [0, 2] {
        let conflict = CommitError::Conflict { expected, found: 1 };
        assert_eq!(index.advance(ALICE, expected, &batch), Err(conflict));
    }
    assert_eq!(index.mirror(ALICE).head().unwrap().unwrap().size, 1);
    assert_eq!(index.statements(&hash_part("hello")).unwrap().len(), 1);
    assert_eq!(
        (index.opaque(ALICE), index.counts()),
        (Ok(0), Ok(counts(1, 0, 0, 1)))
    );
}

fn standings_change_as_builders_speak(open: Open<'_>) {
    use Standing::{Agree, Disagree, NoData, OneBuilder};
    let index = open();
    let (mut alice, mut bob) = (Followed::new(&*index, ALICE), Followed::new(&*index, BOB));
    assert_eq!(
        alice.says(&[("hello", 1)]),
        [change("hello", NoData, OneBuilder)]
    );
    // The same value again, in another entry, is no second voice.
    assert_eq!(alice.says(&[("hello", 1)]), []);
    assert_eq!(index.counts(), Ok(counts(1, 0, 0, 1)));
    assert_eq!(
        bob.says(&[("hello", 1)]),
        [change("hello", OneBuilder, Agree)]
    );
    assert_eq!(index.counts(), Ok(counts(1, 1, 0, 0)));
    assert_eq!(
        bob.says(&[("hello", 2)]),
        [change("hello", Agree, Disagree)]
    );
    assert_eq!(index.counts(), Ok(counts(1, 0, 1, 0)));
    // Several outputs in one step are told in the order of their hash parts.
    let mut both = [
        change("x", NoData, OneBuilder),
        change("y", NoData, OneBuilder),
    ];
    both.sort_by_key(|change| change.output.hash_part());
    assert_eq!(alice.says(&[("x", 1), ("y", 1)]), both);
    assert_eq!(index.counts(), Ok(counts(3, 0, 1, 2)));
}

fn a_withdrawn_statement_stays_but_no_longer_counts(open: Open<'_>) {
    use Standing::{Disagree, NoData, OneBuilder};
    let index = open();
    let (mut alice, mut bob) = (Followed::new(&*index, ALICE), Followed::new(&*index, BOB));
    alice.says(&[("hello", 1)]);
    bob.says(&[("hello", 2)]);
    assert_eq!(
        bob.withdraws("hello", 2),
        [change("hello", Disagree, OneBuilder)]
    );
    assert_eq!(withdrawals(&*index, "hello"), [None, Some(1)]);
    assert_eq!(index.disagreements(None, 10), Ok(Vec::new()));
    // Withdrawn twice, it is still the first retraction that did it.
    assert_eq!(bob.withdraws("hello", 2), []);
    assert_eq!(withdrawals(&*index, "hello"), [None, Some(1)]);
    assert_eq!(
        alice.withdraws("hello", 1),
        [change("hello", OneBuilder, NoData)]
    );
    assert_eq!(index.counts(), Ok(counts(1, 0, 0, 0)));
    // The same bytes may be appended again, and count again.
    assert_eq!(
        alice.says(&[("hello", 1)]),
        [change("hello", NoData, OneBuilder)]
    );
    assert_eq!(index.counts(), Ok(counts(1, 0, 0, 1)));
    // What was never said can be withdrawn without effect.
    assert_eq!(alice.withdraws("never", 9), []);
}

fn a_retraction_in_the_same_step_withdraws_what_came_before_it(open: Open<'_>) {
    let index = open();
    let said = entry("hello", 1);
    // Index 0 says it, 1 withdraws it, 2 says it again.
    let mut batch = tree_only(Grower::new(ALICE).grow(&[said.as_str(), "withdraw", said.as_str()]));
    batch.statements = vec![
        statement("hello", 1, ALICE, 0),
        statement("hello", 1, ALICE, 2),
    ];
    batch.retractions = vec![(leaf_hash(said.as_bytes()), 1)];
    let changes = index.advance(ALICE, 0, &batch).unwrap();
    assert_eq!(
        changes,
        [change("hello", Standing::NoData, Standing::OneBuilder)]
    );
    assert_eq!(withdrawals(&*index, "hello"), [Some(1), None]);
}

fn a_retraction_reaches_only_lower_indices_of_its_own_log(open: Open<'_>) {
    let index = open();
    let (mut alice, mut bob) = (Followed::new(&*index, ALICE), Followed::new(&*index, BOB));
    alice.says(&[("hello", 1)]);
    bob.says(&[("hello", 1)]);
    assert_eq!(bob.withdraws("hello", 1).len(), 1);
    // The same bytes in two logs are two leaves; only bob's is withdrawn.
    assert_eq!(withdrawals(&*index, "hello"), [None, Some(1)]);
    // A log that repeats itself without having withdrawn: one retraction reaches both.
    alice.says(&[("hello", 1)]);
    alice.withdraws("hello", 1);
    assert_eq!(withdrawals(&*index, "hello"), [Some(2), Some(2), Some(1)]);
}

fn observations_count_once(open: Open<'_>) {
    use Standing::{Agree, NoData, OneBuilder};
    let index = open();
    let seen = observation("hello", 1, "cache.example.org-1:key");
    assert_eq!(
        index.observe(&seen),
        Ok(Some(change("hello", NoData, OneBuilder)))
    );
    assert_eq!(index.observe(&seen), Ok(None));
    assert_eq!(
        index.statements(&hash_part("hello")),
        Ok(vec![seen.clone()])
    );
    let changes = Followed::new(&*index, ALICE).says(&[("hello", 1)]);
    assert_eq!(changes, [change("hello", OneBuilder, Agree)]);
    drop(index);
    let index = open();
    assert_eq!(index.observe(&seen), Ok(None));
    assert_eq!(
        index.statements(&hash_part("hello")),
        Ok(vec![seen, statement("hello", 1, ALICE, 0)])
    );
    assert_eq!(index.counts(), Ok(counts(1, 1, 0, 0)));
}

fn opaque_entries_are_counted(open: Open<'_>) {
    let index = open();
    let mut grower = Grower::new(ALICE);
    for (size, opaque) in [(0, 2), (3, 0), (6, 1)] {
        let mut batch = tree_only(grower.grow(&["?", "?", "!"]));
        batch.opaque = opaque;
        index.advance(ALICE, size, &batch).unwrap();
    }
    assert_eq!((index.opaque(ALICE), index.opaque(BOB)), (Ok(3), Ok(0)));
}

fn the_first_proof_of_equivocation_stays(open: Open<'_>) {
    let proof = |text: &str| Equivocation {
        first: format!("{text}, first").into_bytes(),
        second: format!("{text}, second").into_bytes(),
        consistency_proof: vec![leaf_hash(b"a"), leaf_hash(b"b")],
    };
    let index = open();
    Followed::new(&*index, ALICE).says(&[("hello", 1)]);
    index.quarantine(ALICE, &proof("one")).unwrap();
    index.quarantine(ALICE, &proof("two")).unwrap();
    drop(index);
    let index = open();
    assert_eq!(index.equivocation(ALICE), Ok(Some(proof("one"))));
    assert_eq!(index.equivocation(BOB), Ok(None));
    // What was mirrored and indexed stays.
    assert_eq!(index.mirror(ALICE).head().unwrap().unwrap().size, 1);
    assert_eq!(index.statements(&hash_part("hello")).unwrap().len(), 1);
}

fn disagreements_are_paged_in_order(open: Open<'_>) {
    let index = open();
    let names: Vec<_> = (0..25)
        .map(|number| format!("contested-{number}"))
        .collect();
    let said = |letter| {
        names
            .iter()
            .map(|name| (name.as_str(), letter))
            .collect::<Vec<_>>()
    };
    Followed::new(&*index, ALICE).says(&said(1));
    let mut bob = Followed::new(&*index, BOB);
    bob.says(&said(2));
    let mut expected: Vec<_> = names.iter().map(|name| hash_part(name)).collect();
    expected.sort();
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = index.disagreements(after.as_ref(), 10).unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 10);
        after = Some(last.clone());
        paged.extend(page);
    }
    assert_eq!(paged, expected);
    assert_eq!(index.disagreements(None, 0), Ok(Vec::new()));
    bob.withdraws("contested-3", 2);
    assert_eq!(index.disagreements(None, 100).unwrap().len(), 24);
    assert_eq!(index.counts(), Ok(counts(25, 0, 24, 1)));
}

fn paths_are_found_by_the_beginning_of_their_name(open: Open<'_>) {
    let index = open();
    let names = ["hello-2.12", "hello-2.12-doc", "hell", "help", "Hello"];
    let said: Vec<_> = names.iter().map(|name| (*name, 1)).collect();
    Followed::new(&*index, ALICE).says(&said);
    index
        .observe(&observation("hello-2.10", 1, "cache:key"))
        .unwrap();
    let found = |prefix, limit| -> Vec<String> {
        index
            .by_name(prefix, limit)
            .unwrap()
            .iter()
            .map(|path| path.name().to_owned())
            .collect()
    };
    assert_eq!(
        found("hello-", 10),
        ["hello-2.10", "hello-2.12", "hello-2.12-doc"]
    );
    assert_eq!(found("hel", 2), ["hell", "hello-2.10"]);
    assert_eq!(found("", 100).len(), 6);
    assert_eq!(found("nothing", 10), Vec::<String>::new());
    // Two paths of one name, and one path said twice.
    let other = StorePath::new(&hash_part("another"), "hello-2.12").unwrap();
    let seen = IndexedStatement {
        path: other.clone(),
        ..observation("hello-2.12", 1, "cache:key")
    };
    index.observe(&seen).unwrap();
    index
        .observe(&observation("hello-2.12", 3, "cache:key"))
        .unwrap();
    let mut both = [other, a_path("hello-2.12")];
    both.sort();
    assert_eq!(index.by_name("hello-2.12", 2).unwrap(), both);
}

fn one_voice_cannot_crowd_out_the_others(open: Open<'_>) {
    let index = open();
    let repeated = vec![("hello", 1); STATEMENTS_PER_VOICE_MAX + 50];
    let mut alice = Followed::new(&*index, ALICE);
    alice.says(&repeated);
    assert_eq!(
        index.statements(&hash_part("hello")).unwrap().len(),
        STATEMENTS_PER_VOICE_MAX
    );
    assert_eq!(Followed::new(&*index, BOB).says(&[("hello", 1)]).len(), 1);
    assert_eq!(index.counts(), Ok(counts(1, 1, 0, 0)));
    for number in 0..UNLOGGED_PER_VOICE_MAX + 10 {
        let place = Place::Unlogged {
            entry: format!("the same, differently written: {number}").into_bytes(),
        };
        index
            .observe(&IndexedStatement {
                place,
                ..observation("world", 1, "cache:key")
            })
            .unwrap();
    }
    assert_eq!(
        index.statements(&hash_part("world")).unwrap().len(),
        UNLOGGED_PER_VOICE_MAX
    );
    assert_eq!(index.counts(), Ok(counts(2, 1, 0, 1)));
    // It is still heard where it contradicts itself.
    alice.says(&[("hello", 2)]);
    index
        .observe(&observation("world", 2, "cache:key"))
        .unwrap();
    assert_eq!(index.counts(), Ok(counts(2, 0, 2, 0)));
    assert_eq!(
        index.statements(&hash_part("hello")).unwrap().len(),
        STATEMENTS_PER_VOICE_MAX + 1
    );
}

fn checkpoint(size: u64, at_s: u64) -> StoredCheckpoint {
    let note = format!("{size} at {at_s}").into_bytes();
    StoredCheckpoint { at_s, size, note }
}

fn checkpoints_are_kept_by_size_and_the_first_of_a_size_stays(open: Open<'_>) {
    {
        let index = open();
        assert_eq!(index.newest_checkpoint(ALICE).unwrap(), None);
        for kept in [checkpoint(700, 3), checkpoint(5, 1), checkpoint(300, 2)] {
            index.keep_checkpoint(ALICE, &kept).unwrap();
        }
        index.keep_checkpoint(ALICE, &checkpoint(5, 9)).unwrap();
        index.amend_checkpoint(ALICE, 300, b"cosigned").unwrap();
        index.amend_checkpoint(ALICE, 301, b"never kept").unwrap();
        index.keep_checkpoint(BOB, &checkpoint(9, 9)).unwrap();
        index.keep_cosigned(ALICE, &checkpoint(5, 4)).unwrap();
        index.keep_cosigned(ALICE, &checkpoint(300, 6)).unwrap();
    }
    let index = open();
    let mut all = [checkpoint(5, 1), checkpoint(300, 2), checkpoint(700, 3)];
    all[1].note = b"cosigned".to_vec();
    assert_eq!(index.checkpoints(ALICE, 0, 10).unwrap(), all);
    assert_eq!(index.checkpoints(ALICE, 6, 1).unwrap(), all[1..2]);
    assert_eq!(index.checkpoints(ALICE, 701, 10).unwrap(), []);
    assert_eq!(
        index.newest_checkpoint(ALICE).unwrap(),
        Some(all[2].clone())
    );
    assert_eq!(
        index.newest_checkpoint(BOB).unwrap(),
        Some(checkpoint(9, 9))
    );
    assert_eq!(index.cosigned(ALICE).unwrap(), Some(checkpoint(300, 6)));
    assert_eq!(index.cosigned(BOB).unwrap(), None);
}

fn a_lift_forgets_what_was_shown_beyond_the_mirror(open: Open<'_>) {
    let index = open();
    let mut grower = Grower::new(ALICE);
    let batch = tree_only(grower.grow(&["one", "two", "three"]));
    index.advance(ALICE, 0, &batch).unwrap();
    for size in [2, 3, 4, 700] {
        index.keep_checkpoint(ALICE, &checkpoint(size, 1)).unwrap();
        index.keep_checkpoint(BOB, &checkpoint(size, 1)).unwrap();
    }
    let all = index.checkpoints(BOB, 0, 10).unwrap();
    assert_eq!(index.lift(ALICE, 7, "nothing is held").unwrap(), None);
    assert_eq!(index.checkpoints(ALICE, 0, 10).unwrap(), all);
    let proof = Equivocation {
        first: b"a".to_vec(),
        second: b"b".to_vec(),
        consistency_proof: Vec::new(),
    };
    index.quarantine(ALICE, &proof).unwrap();
    index.lift(ALICE, 8, "a restored disk").unwrap();
    assert_eq!(index.checkpoints(ALICE, 0, 10).unwrap(), all[..2]);
    assert_eq!(index.checkpoints(BOB, 0, 10).unwrap(), all);
}

fn a_lift_is_recorded_and_its_proof_does_not_come_back(open: Open<'_>) {
    let proof = |first: &str, second: &str| Equivocation {
        first: first.into(),
        second: second.into(),
        consistency_proof: Vec::new(),
    };
    {
        let index = open();
        assert_eq!(index.lift(ALICE, 7, "nothing is held").unwrap(), None);
        index.quarantine(ALICE, &proof("a", "b")).unwrap();
        let lift = index.lift(ALICE, 8, "the key was stolen").unwrap().unwrap();
        assert_eq!((lift.at_s, lift.proof), (8, proof("a", "b")));
    }
    let index = open();
    assert_eq!(index.equivocation(ALICE).unwrap(), None);
    assert_eq!(index.lifts(ALICE).unwrap()[0].reason, "the key was stolen");
    assert_eq!(index.lifts(BOB).unwrap(), []);
    index.quarantine(ALICE, &proof("b", "a")).unwrap();
    assert_eq!(index.equivocation(ALICE).unwrap(), None);
    index.quarantine(ALICE, &proof("b", "c")).unwrap();
    assert_eq!(index.equivocation(ALICE).unwrap(), Some(proof("b", "c")));
    assert!(index.lift(ALICE, 9, "again").unwrap().is_some());
    assert_eq!(index.lifts(ALICE).unwrap().len(), 2);
}

//! The suite for index stores, the oracle in memory beside it, and damaged rows.

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_testkit::conformance;
use quorix_testkit::entries::a_path;
use quorix_testkit::memory::MemoryIndex;
use quorix_testkit::tree::Grower;
use quorix_trust::ports::{Facts, Place};

use super::kept::EQUIVOCATION;
use super::*;

const ORIGINS: [&str; 3] = [
    "logs.example.org/alice",
    "logs.example.org/bob",
    "logs.example.org/carol",
];

#[test]
fn the_index_on_rocksdb_conforms() {
    conformance::index_store(|dir| RocksIndex::open(dir).unwrap());
}

fn statement(name: &str, value: u8, origin: &str, index: u64) -> IndexedStatement {
    IndexedStatement {
        path: a_path(name),
        value: FingerprintDigest::from_bytes([value; 32]),
        voice: origin.to_owned(),
        place: Place::Leaf {
            origin: origin.to_owned(),
            index,
        },
        withdrawn_by: None,
    }
}

/// A fixed sequence of small numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// One step of a log that says, withdraws and repeats itself without much sense.
fn a_step(dice: &mut Dice, grower: &mut Grower, origin: &str) -> FollowBatch {
    let mut said = Vec::new();
    let (mut statements, mut retractions, mut facts) = (Vec::new(), Vec::new(), Vec::new());
    for index in grower.size()..grower.size() + 1 + dice.below(12) {
        let (name, value) = (
            format!("p{}", dice.below(15)),
            u8::try_from(dice.below(2)).unwrap(),
        );
        let entry = format!("{name} is {value}");
        if dice.below(4) == 0 {
            retractions.push((leaf_hash(entry.as_bytes()), index));
            said.push(format!("{index} withdraws: {entry}"));
        } else {
            statements.push(statement(&name, value, origin, index));
            facts.push(Facts {
                index,
                day: u32::try_from(index / 20).unwrap(),
                system: ["x86_64-linux", "aarch64-linux"][usize::from(value)].to_owned(),
                drv: (index % 3 > 0).then(|| a_path("drv").hash_part()),
                nar_hash: [value; 32],
            });
            said.push(entry);
        }
    }
    FollowBatch {
        tree: grower.grow(&said),
        statements,
        retractions,
        opaque: dice.below(2),
        facts,
    }
}

#[test]
fn what_is_kept_up_is_what_would_be_computed_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (rocks, memory) = (RocksIndex::open(dir.path()).unwrap(), MemoryIndex::new());
    let mut dice = Dice(7);
    let mut growers = ORIGINS.map(Grower::new);
    for _ in 0..60 {
        for (origin, grower) in ORIGINS.iter().zip(&mut growers) {
            let size = grower.size();
            let step = a_step(&mut dice, grower, origin);
            let changes = rocks.advance(origin, size, &step);
            assert_eq!(changes, memory.advance(origin, size, &step));
            assert_eq!(rocks.opaque(origin), memory.opaque(origin));
        }
        assert_eq!(rocks.counts(), memory.counts());
        assert_eq!(
            rocks.disagreements(None, 100),
            memory.disagreements(None, 100)
        );
        assert_eq!(rocks.by_name("p1", 100), memory.by_name("p1", 100));
        assert_eq!(rocks.tallies(999, 999), memory.tallies(999, 999));
        let outputs = rocks.outputs(None, 100).unwrap();
        assert_eq!(memory.outputs(None, 100).unwrap(), outputs);
        assert!(outputs.is_sorted());
        let after = outputs.first();
        assert_eq!(rocks.outputs(after, 3), memory.outputs(after, 3));
        for facet in [
            Facet::System("aarch64-linux".to_owned()),
            Facet::NarHash([0; 32]),
            Facet::Derivation(a_path("drv").hash_part()),
        ] {
            let found = rocks.find(&facet, None, 100).unwrap();
            assert_eq!(memory.find(&facet, None, 100).unwrap(), found);
            let after = found.first();
            assert_eq!(
                rocks.find(&facet, after, 3),
                memory.find(&facet, after, 3),
                "{facet:?}"
            );
        }
        let names = (0..15).map(|name| a_path(&format!("p{name}")).hash_part());
        let outputs: Vec<_> = names.rev().collect();
        let statements = memory.statements_of(&outputs).unwrap();
        assert_eq!(rocks.statements_of(&outputs).unwrap(), statements);
        for (output, statements) in outputs.iter().zip(statements) {
            assert_eq!(rocks.statements(output), Ok(statements));
        }
    }
    assert!(rocks.counts().unwrap().disagree > 0);
}

#[test]
fn a_damaged_row_is_an_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let index = RocksIndex::open(dir.path()).unwrap();
    let output = a_path("hello").hash_part();
    let mut batch = index.database.batch();
    batch
        .put(OUTPUTS.0, &step::row_key(&output), b"\x02\0\0\0\x05")
        .unwrap();
    batch.put(META, COUNTS, b"short").unwrap();
    batch
        .put(META, &[OPAQUE, &prefix_of(ORIGINS[0])].concat(), b"")
        .unwrap();
    batch
        .put(
            META,
            &[EQUIVOCATION, &prefix_of(ORIGINS[0])].concat(),
            &[0xff; 40],
        )
        .unwrap();
    batch.put(CONTESTED.0, b"no hash part", b"").unwrap();
    batch.put(NAMES.0, b"\xff\xff", b"").unwrap();
    batch.commit("damaging").unwrap();
    let expected = format!("the stored row of {output} is damaged: rebuild the index");
    assert_eq!(index.statements(&output).unwrap_err().reason, expected);
    assert_eq!(
        index
            .observe(&statement("hello", 1, ORIGINS[0], 0))
            .unwrap_err()
            .reason,
        expected
    );
    assert_eq!(
        index.counts().unwrap_err().reason,
        "the stored counts are cut off"
    );
    assert_eq!(
        index.opaque(ORIGINS[0]).unwrap_err().reason,
        "the stored number is cut off"
    );
    assert_eq!(
        index.equivocation(ORIGINS[0]).unwrap_err().reason,
        "the stored proof is cut off"
    );
    assert_eq!(
        index.disagreements(None, 10).unwrap_err().reason,
        "a stored key is no hash part"
    );
    assert_eq!(
        index.by_name("", 10).unwrap_err().reason,
        "a stored key is no name"
    );
}

#[test]
fn an_index_is_read_while_another_process_writes_it_and_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let missing = RocksIndex::open_to_read(dir.path()).err().unwrap();
    assert!(
        missing.to_string().ends_with("there is none yet"),
        "{missing}"
    );
    assert!(!dir.path().join("CURRENT").exists(), "nothing was made");

    let writer = RocksIndex::open(dir.path()).unwrap();
    let seen = IndexedStatement {
        place: Place::Unlogged { entry: vec![7] },
        ..statement("hello", 1, "cache-1:key", 0)
    };
    writer.observe(&seen).unwrap();
    let reader = RocksIndex::open_to_read(dir.path()).unwrap();
    let hello = a_path("hello").hash_part();
    assert_eq!(
        reader.statements(&hello).unwrap(),
        std::slice::from_ref(&seen)
    );
    let other = IndexedStatement {
        value: FingerprintDigest::from_bytes([2; 32]),
        ..seen.clone()
    };
    assert!(reader.observe(&other).is_err());
    assert_eq!(writer.statements(&hello).unwrap(), [seen]);
}

#[test]
fn observations_kept_together_are_those_kept_one_by_one() {
    let (together, one_by_one) = (tempfile::tempdir().unwrap(), MemoryIndex::new());
    let together = RocksIndex::open(together.path()).unwrap();
    let mut dice = Dice(11);
    for _ in 0..20 {
        let mut seen = Vec::new();
        for number in 0..dice.below(30) {
            let value = u8::try_from(dice.below(2)).unwrap();
            let (name, voice) = (
                format!("p{}", dice.below(9)),
                format!("cache-{}:key", dice.below(3)),
            );
            seen.push(IndexedStatement {
                place: Place::Unlogged {
                    entry: vec![value, u8::try_from(number % 3).unwrap()],
                },
                ..statement(&name, value, &voice, 0)
            });
        }
        together.observe_all(&seen).unwrap();
        one_by_one.observe_all(&seen).unwrap();
    }
    for number in 0..9 {
        let output = a_path(&format!("p{number}")).hash_part();
        assert_eq!(together.statements(&output), one_by_one.statements(&output));
    }
    assert_eq!(together.counts(), one_by_one.counts());
    assert!(together.counts().unwrap().disagree > 0);
}

#[test]
fn everything_that_is_kept_of_any_log_is_taken_over_as_it_is() {
    let proof = |text: &str| Equivocation {
        first: format!("{text}, first").into_bytes(),
        second: format!("{text}, second").into_bytes(),
        consistency_proof: vec![leaf_hash(text.as_bytes())],
    };
    let checkpoint = |size: u64| StoredCheckpoint {
        at_s: size + 1,
        size,
        note: format!("of {size}").into_bytes(),
    };
    let (alice, bob) = (ORIGINS[0], ORIGINS[1]);
    let (dir, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = RocksIndex::open(dir.path()).unwrap();
    for reason in ["one", "two", "three"] {
        old.quarantine(alice, &proof(reason)).unwrap();
        old.lift(alice, 7, reason).unwrap();
    }
    for size in [2, 300, 9_000] {
        old.keep_checkpoint(alice, &checkpoint(size)).unwrap();
    }
    old.keep_cosigned(bob, &checkpoint(9)).unwrap();
    old.quarantine(bob, &proof("four")).unwrap();

    let mut all = Vec::new();
    old.all_kept(&mut |kept| {
        all.push(kept);
        Ok(())
    })
    .unwrap();
    assert_eq!(all.len(), 3 + 3 + 2);
    let new = RocksIndex::open(fresh.path()).unwrap();
    // In parts that cut between two lifts of one log, as whoever takes over does not hold all of it at once.
    for some in all.chunks(2) {
        new.take_over(some).unwrap();
    }
    assert_eq!(new.lifts(alice), old.lifts(alice));
    assert_eq!(new.lifts(alice).unwrap().len(), 3);
    assert_eq!(new.checkpoints(alice, 0, 9), old.checkpoints(alice, 0, 9));
    assert_eq!(new.checkpoints(alice, 0, 9).unwrap().len(), 3);
    assert_eq!(new.cosigned(bob), Ok(Some(checkpoint(9))));
    assert_eq!(new.equivocation(bob), Ok(Some(proof("four"))));

    let foreign = KeptOf {
        log: alice.as_bytes().to_vec(),
        kept: all[0].kept.clone(),
    };
    assert_eq!(
        new.take_over(&[foreign]).unwrap_err().reason,
        "they are of a store of another kind"
    );
}

//! The anchor on a real file system.

use super::*;

fn open(path: &Path) -> AnchorFile {
    AnchorFile::open(path).unwrap()
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// Flips one bit in one slot.
fn damage(path: &Path, slot: usize) {
    let mut all = bytes(path);
    all[slot * SLOT_BYTES + 100] ^= 1;
    std::fs::write(path, all).unwrap();
}

#[test]
fn a_new_anchor_says_nothing_and_then_what_was_written_last() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("folder/log.anchor");
    let anchor = open(&path);
    assert_eq!(anchor.read(), Ok(None));
    for text in ["one", "two", "three"] {
        assert_eq!(anchor.write(text.as_bytes()), Ok(()));
        assert_eq!(anchor.read(), Ok(Some(text.as_bytes().to_vec())));
    }
    drop(anchor);
    assert_eq!(open(&path).read(), Ok(Some(b"three".to_vec())));
    // Nothing else is left beside it.
    let names: Vec<_> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["log.anchor"]);
}

#[test]
fn it_never_grows_and_the_slots_are_written_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.anchor");
    let anchor = open(&path);
    let mut before = bytes(&path);
    for number in 1..=6_usize {
        anchor.write(format!("number {number}").as_bytes()).unwrap();
        let after = bytes(&path);
        assert_eq!(after.len(), 2 * SLOT_BYTES);
        let (changed, kept) = (number % 2, 1 - number % 2);
        let slot = |all: &[u8], slot: usize| all[slot * SLOT_BYTES..][..SLOT_BYTES].to_vec();
        assert_ne!(slot(&after, changed), slot(&before, changed));
        assert_eq!(slot(&after, kept), slot(&before, kept));
        before = after;
    }
}

#[test]
fn a_torn_slot_leaves_the_other_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.anchor");
    let anchor = open(&path);
    anchor.write(b"one").unwrap();
    anchor.write(b"two").unwrap();
    drop(anchor);
    // "two" has the number 2, so it is in slot 0.
    damage(&path, 0);
    let anchor = open(&path);
    assert_eq!(anchor.read(), Ok(Some(b"one".to_vec())));
    // The next write mends the torn slot and leaves the good one.
    anchor.write(b"two again").unwrap();
    drop(anchor);
    damage(&path, 1);
    assert_eq!(open(&path).read(), Ok(Some(b"two again".to_vec())));
}

#[test]
fn where_both_slots_are_damaged_it_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.anchor");
    let anchor = open(&path);
    anchor.write(b"one").unwrap();
    drop(anchor);
    damage(&path, 0);
    damage(&path, 1);
    let error = AnchorFile::open(&path).unwrap_err();
    assert!(error.reason.starts_with("both of its slots are damaged"));
    assert!(error.reason.contains("quorix log adopt"));
    for length in [0, 100, SLOT_BYTES] {
        std::fs::write(&path, vec![0; length]).unwrap();
        assert_eq!(AnchorFile::open(&path).unwrap_err(), error);
    }
}

#[test]
fn every_flipped_bit_of_a_slot_is_noticed() {
    let slot = Slot {
        sequence: 7,
        checkpoint: b"a checkpoint".to_vec(),
    };
    let good: [u8; SLOT_BYTES] = slot.to_bytes().unwrap().try_into().unwrap();
    assert_eq!(Slot::from_bytes(&good), Some(slot));
    for bit in (0..SLOT_BYTES * 8).step_by(7) {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Slot::from_bytes(&bad), None, "bit {bit}");
    }
}

#[test]
fn one_process_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.anchor");
    let first = open(&path);
    let error = AnchorFile::open(&path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "opening the anchor {}: another quorix process has it open",
            path.display()
        )
    );
    drop(first);
    open(&path);
}

#[test]
fn a_checkpoint_that_fits_no_slot_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.anchor");
    let anchor = open(&path);
    let largest = vec![b'x'; ANCHORED_BYTES_MAX];
    assert_eq!(anchor.write(&largest), Ok(()));
    let error = anchor.write(&[largest.clone(), vec![b'x']].concat());
    assert_eq!(
        error.unwrap_err().reason,
        "the checkpoint is too long for a slot"
    );
    assert_eq!(anchor.read(), Ok(Some(largest)));
}

#[test]
fn an_anchor_is_looked_at_only_while_no_log_has_it_and_keeps_logs_out_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.anchor");
    assert!(HeldAnchor::hold(&path).unwrap().is_none());
    assert!(!path.exists(), "looking makes none");
    let anchor = open(&path);
    anchor.write(b"one").unwrap();
    assert_eq!(HeldAnchor::hold(&path).unwrap_err(), HoldError::InUse);
    drop(anchor);

    let before = bytes(&path);
    let (held, second) = (HeldAnchor::hold(&path), HeldAnchor::hold(&path));
    let held = held.unwrap().unwrap();
    assert_eq!(held.checkpoint(), Ok(Some(b"one".as_slice())));
    let refused = AnchorFile::open(&path).unwrap_err();
    assert_eq!(refused.reason, "another quorix process has it open");
    drop((held, second));
    assert_eq!(bytes(&path), before);

    damage(&path, 0);
    damage(&path, 1);
    let damaged = HeldAnchor::hold(&path).unwrap().unwrap();
    let reason = damaged.checkpoint().unwrap_err().reason;
    assert!(
        reason.starts_with("both of its slots are damaged"),
        "{reason}"
    );
}

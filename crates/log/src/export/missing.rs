//! Blobs that entries of a copy name and that could not be had: which they are, and which are asked for next.
//!
//! A log may name any number of them, and so many are noted at most. Where more are missing, it is noted from which bundle
//! on the copy has to be looked through once more, and until then nothing says that all of it is there.

use std::collections::BTreeSet;
use std::ops::Bound;

use data_encoding::HEXLOWER;
use quorix_tlog::hash::Hash;
use quorix_trust::attestation::BlobId;

/// Most missing blobs that are noted.
const MISSING_MAX: usize = 100_000;

/// Most of them that are asked for at once.
const ASKED_AT_ONCE: usize = 256;

const BUNDLES: &str = "bundles from ";
const ASKED: &str = "asked ";

/// What is missing of a copy.
#[derive(Debug)]
pub(super) struct Missing {
    most: usize,
    ids: BTreeSet<BlobId>,
    /// The first bundle that names a missing blob which is not noted.
    unnoted_from: Option<u64>,
    /// The one that was asked for last.
    asked: Option<BlobId>,
}

impl Missing {
    /// Nothing is missing; so many are noted at most.
    pub(super) const fn of_at_most(most: usize) -> Self {
        Self {
            most,
            ids: BTreeSet::new(),
            unnoted_from: None,
            asked: None,
        }
    }

    /// What was noted. A line that is none of these may have been any of them: the whole copy is looked through again.
    pub(super) fn parse(lines: &[String]) -> Self {
        let mut missing = Self::of_at_most(MISSING_MAX);
        for line in lines {
            if let Some(id) = id_of(line) {
                missing.insert(id, 0);
            } else if let Some(id) = line.strip_prefix(ASKED).and_then(id_of) {
                missing.asked = Some(id);
            } else {
                let from = line.strip_prefix(BUNDLES);
                let from = from.and_then(|number| number.parse().ok());
                missing.look_through_from(from.unwrap_or_default());
            }
        }
        missing
    }

    /// The lines to note.
    pub(super) fn lines(&self) -> Vec<String> {
        let bundles = self.unnoted_from.map(|from| format!("{BUNDLES}{from}"));
        let asked = self.asked.map(|id| format!("{ASKED}{}", name_of(&id)));
        let names = self.ids.iter().map(name_of);
        names.chain(bundles).chain(asked).collect()
    }

    /// True if nothing is.
    pub(super) fn is_nothing(&self) -> bool {
        self.ids.is_empty() && self.unnoted_from.is_none()
    }

    /// True if there is no room for another one.
    pub(super) fn is_full(&self) -> bool {
        self.ids.len() >= self.most
    }

    /// Where the copy has to be looked through from, once there is room for what is found.
    pub(super) fn to_look_through(&self) -> Option<u64> {
        self.unnoted_from.filter(|_| self.ids.is_empty())
    }

    /// Notes one that entries of this bundle, or of later ones, name.
    pub(super) fn insert(&mut self, id: BlobId, bundle: u64) {
        if !self.is_full() {
            self.ids.insert(id);
        } else if !self.ids.contains(&id) {
            self.look_through_from(bundle);
        }
    }

    /// It is there.
    pub(super) fn remove(&mut self, id: &BlobId) {
        self.ids.remove(id);
    }

    /// Only those of which this is true are missing.
    pub(super) fn retain(&mut self, is_missing: impl FnMut(&BlobId) -> bool) {
        self.ids.retain(is_missing);
    }

    fn look_through_from(&mut self, bundle: u64) {
        let from = self.unnoted_from.map_or(bundle, |from| from.min(bundle));
        self.unnoted_from = Some(from);
    }

    /// What is not noted is named from this bundle on.
    pub(super) const fn looked_through_before(&mut self, bundle: u64) {
        self.unnoted_from = Some(bundle);
    }

    /// The copy ends before this bundle, up to which it was looked through.
    pub(super) fn ends_before(&mut self, bundle: u64) {
        self.unnoted_from = self.unnoted_from.filter(|from| *from < bundle);
    }

    /// The next ones to ask for: after that which was asked for last, and again from the first when the last was.
    pub(super) fn next(&self) -> Vec<BlobId> {
        let after = self.asked.map_or(Bound::Unbounded, Bound::Excluded);
        let until = self.asked.map_or(Bound::Excluded([0; 32]), Bound::Included);
        let later = self.ids.range((after, Bound::Unbounded));
        let earlier = self.ids.range((Bound::Unbounded, until));
        later.chain(earlier).take(ASKED_AT_ONCE).copied().collect()
    }

    /// This one is being asked for.
    pub(super) const fn ask(&mut self, id: BlobId) {
        self.asked = Some(id);
    }

    /// True if not all can be asked for at once, so that it has to be noted where to go on.
    pub(super) fn goes_round(&self) -> bool {
        self.ids.len() > ASKED_AT_ONCE
    }
}

/// The path of a blob in the static API.
pub(super) fn name_of(id: &BlobId) -> String {
    format!("blob/{}", Hash::from_bytes(*id).to_hex())
}

fn id_of(name: &str) -> Option<BlobId> {
    let hex = name.strip_prefix("blob/")?;
    let bytes = HEXLOWER.decode(hex.as_bytes()).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> BlobId {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&number.to_be_bytes());
        id
    }

    fn missing(count: u16) -> Missing {
        let mut missing = Missing::of_at_most(MISSING_MAX);
        (0..count).for_each(|number| missing.insert(id(number), 0));
        missing
    }

    #[test]
    fn all_are_asked_for_in_turn_and_then_the_first_again() {
        let mut missing = missing(600);
        let mut asked = Vec::new();
        for _ in 0..3 {
            let next = missing.next();
            assert_eq!(next.len(), ASKED_AT_ONCE);
            missing.ask(*next.last().unwrap());
            asked.extend(next);
            // Whoever goes on later goes on from there.
            missing = Missing::parse(&missing.lines());
        }
        let expected: Vec<BlobId> = (0..600).chain(0..168).map(id).collect();
        assert_eq!(asked, expected);
    }

    #[test]
    fn few_are_all_asked_for_each_time_wherever_one_stopped() {
        let mut missing = missing(3);
        missing.ask(id(1));
        assert_eq!(missing.next(), [id(2), id(0), id(1)]);
        missing.ask(id(2));
        assert_eq!(missing.next(), [id(0), id(1), id(2)]);
        missing.remove(&id(2));
        assert_eq!(missing.next(), [id(0), id(1)]);
    }

    #[test]
    fn more_than_are_noted_leave_a_mark_from_where_to_look() {
        let mut missing = Missing::of_at_most(2);
        for (number, bundle) in [(1, 4), (2, 5), (1, 5), (3, 9), (4, 7)] {
            missing.insert(id(number), bundle);
        }
        assert_eq!(missing.next(), [id(1), id(2)]);
        assert_eq!(missing.to_look_through(), None, "there is no room yet");
        let mut again = Missing::parse(&missing.lines());
        [1, 2].iter().for_each(|number| again.remove(&id(*number)));
        assert!(!again.is_nothing());
        assert_eq!(again.to_look_through(), Some(7));
        again.looked_through_before(9);
        again.insert(id(3), 8);
        again.ends_before(9);
        assert_eq!((again.next(), again.to_look_through()), (vec![id(3)], None));
        again.remove(&id(3));
        assert!(again.is_nothing());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_not_taken_for_nothing_missing() {
        for line in ["blob/00", "x", "bundles from x", ""] {
            let missing = Missing::parse(&[line.to_owned()]);
            assert_eq!(missing.to_look_through(), Some(0), "{line}");
        }
    }
}

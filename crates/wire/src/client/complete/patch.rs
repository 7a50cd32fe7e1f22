//! What is missing of an aggregator's answer, and putting it there. What is added is not verified here: the answer is,
//! afterwards, as if the aggregator had given all of it.

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::store_path::{HashPart, StorePath};
use quorix_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::index::proven::ProvenEntry;
use quorix_trust::attestation::{Claim, Entry, References};
use quorix_trust::policy::Policy;

use super::LeftOut;
use crate::evidence::keep_what_verifies;
use crate::{entry, pb};

/// Takes away what does not verify of a log against this tree; all of it, if there is none.
pub(super) fn sift(answer: &mut pb::GetEvidenceResponse, origin: &str, tree: Option<&Checkpoint>) {
    let tree = tree.map(|tree| (tree.size, tree.root));
    for output in &mut answer.outputs {
        let hash_part: Option<HashPart> = output.hash_part.parse().ok();
        output.entries.retain_mut(|one| {
            one.origin != origin
                || hash_part
                    .as_ref()
                    .is_some_and(|output| keep_what_verifies(tree, output, one))
        });
    }
}

/// The entries of a log in an answer by index, and whether they are withdrawn there.
pub(super) type There<'a> = BTreeMap<u64, (&'a [u8], bool)>;

/// What a [sifted](sift) answer has of a log.
pub(super) fn there<'a>(answer: &'a pb::GetEvidenceResponse, origin: &str) -> There<'a> {
    let mut there = There::new();
    let entries = answer.outputs.iter().flat_map(|output| &output.entries);
    for one in entries.filter(|one| one.origin == origin) {
        let found = there.entry(one.index).or_insert((&one.entry, false));
        found.1 |= one.retraction.is_some();
    }
    there
}

/// What a log says of a path, beside what an answer has of it.
#[derive(Default)]
pub(super) struct Compared {
    /// What the answer lacks, with the leaf hashes of it.
    pub(super) missing: BTreeMap<LeftOut, Hash>,
    /// Which entries count, and whether they are withdrawn.
    pub(super) expected: BTreeMap<u64, bool>,
}

/// Compares all entries that a log has about a path, in their order, with what the answer has of the log.
pub(super) fn compare(
    policy: &Policy,
    there: &There<'_>,
    origin: &str,
    path: &StorePath,
    entries: &[(u64, Vec<u8>)],
) -> Compared {
    let left_out = |index: u64, is_retraction: bool| LeftOut {
        origin: origin.to_owned(),
        index,
        path: path.clone(),
        is_retraction,
    };
    let mut compared = Compared::default();
    // From the end, so that what withdraws an entry is known before it: the first that comes after it.
    let mut withdrawn_by: BTreeMap<Hash, (u64, Hash)> = BTreeMap::new();
    for (index, bytes) in entries.iter().rev() {
        let Ok(entry) = entry::decode(bytes) else {
            continue;
        };
        let leaf = leaf_hash(bytes);
        if let Entry::Retraction(retraction) = &entry {
            let hashes = retraction.leaf_hashes.iter();
            withdrawn_by.extend(hashes.map(|hash| (*hash, (*index, leaf))));
        }
        if !counts(policy, &entry) {
            continue;
        }
        let by = withdrawn_by.get(&leaf);
        compared.expected.insert(*index, by.is_some());
        let found = there.get(index).filter(|(there, _)| there == bytes);
        if found.is_none() {
            compared.missing.insert(left_out(*index, false), leaf);
        }
        if let Some((by, leaf)) = by
            && found.is_none_or(|(_, withdrawn)| !withdrawn)
        {
            compared.missing.insert(left_out(*by, true), *leaf);
        }
    }
    compared
}

/// Whether an aggregator has to tell of an entry: of a build or a signature of one of the policy's caches, which votes for
/// the facts that it states.
fn counts(policy: &Policy, entry: &Entry) -> bool {
    let holds = |claim: &Claim| match &claim.references {
        References::Inline(references) => claim.check(references).is_ok(),
        References::Blob(_) => true,
    };
    match entry {
        Entry::Build(build) => holds(&build.claim),
        Entry::Observation(seen) => {
            let mut keys = policy.caches.iter().map(|cache| cache.key.as_bytes());
            holds(&seen.claim) && keys.any(|key| key == seen.public_key.as_bytes())
        }
        _ => false,
    }
}

/// The leaf hashes that an entry withdraws.
fn withdrawn(bytes: &[u8]) -> BTreeSet<Hash> {
    match entry::decode(bytes) {
        Ok(Entry::Retraction(retraction)) => retraction.leaf_hashes,
        _ => BTreeSet::new(),
    }
}

/// Indices of all entries and retractions of a log in the answer.
pub(super) fn indices(answer: &pb::GetEvidenceResponse, origin: &str) -> BTreeSet<u64> {
    let entries = answer.outputs.iter().flat_map(|output| &output.entries);
    let own = entries.filter(|one| one.origin == origin);
    own.flat_map(|one| {
        let by = one.retraction.as_ref().map(|retraction| retraction.index);
        std::iter::once(one.index).chain(by)
    })
    .collect()
}

/// Puts all that the answer has of a log under this checkpoint. What dated its entries was proved under the one before.
pub(super) fn move_to(
    answer: &mut pb::GetEvidenceResponse,
    origin: &str,
    checkpoint: &SignedCheckpoint,
    entries: &BTreeMap<u64, ProvenEntry>,
) {
    if let Some(log) = log_of(answer, origin) {
        log.earlier.clear();
        log.checkpoint = checkpoint.bytes().to_vec();
    }
    let outputs = answer.outputs.iter_mut();
    for one in outputs.flat_map(|output| &mut output.entries) {
        if one.origin != origin {
            continue;
        }
        if let Some(proven) = entries.get(&one.index) {
            one.inclusion_proof = raw(&proven.inclusion);
        }
        let retraction = one.retraction.as_mut();
        if let Some((retraction, proven)) =
            retraction.and_then(|by| entries.get(&by.index).map(|proven| (by, proven)))
        {
            retraction.inclusion_proof = raw(&proven.inclusion);
        }
    }
}

/// Adds what was left out of what a log says.
pub(super) fn add(
    answer: &mut pb::GetEvidenceResponse,
    origin: &str,
    missing: &BTreeSet<LeftOut>,
    entries: &BTreeMap<u64, ProvenEntry>,
) {
    let mut by_path: BTreeMap<&StorePath, Vec<&LeftOut>> = BTreeMap::new();
    for one in missing {
        by_path.entry(&one.path).or_default().push(one);
    }
    let places = answer.outputs.iter().zip(0..);
    let mut places: BTreeMap<String, usize> = places
        .map(|(output, place)| (output.hash_part.clone(), place))
        .collect();
    for (path, missing) in by_path {
        let hash_part = path.hash_part().to_string();
        let outputs = &mut answer.outputs;
        let place = *places.entry(hash_part.clone()).or_insert_with(|| {
            outputs.push(pb::OutputEvidence {
                hash_part,
                ..pb::OutputEvidence::default()
            });
            outputs.len().saturating_sub(1)
        });
        if let Some(output) = outputs.get_mut(place) {
            add_entries(output, origin, &missing, entries);
            add_retractions(output, origin, &missing, entries);
        }
    }
}

fn add_entries(
    output: &mut pb::OutputEvidence,
    origin: &str,
    missing: &[&LeftOut],
    entries: &BTreeMap<u64, ProvenEntry>,
) {
    let missing = missing.iter().filter(|one| !one.is_retraction);
    let proven: BTreeMap<u64, &ProvenEntry> = missing
        .filter_map(|one| Some((one.index, entries.get(&one.index)?)))
        .collect();
    // What the answer has instead at these places is not what the log has there.
    let stays =
        |there: &pb::LoggedEntry| there.origin != origin || !proven.contains_key(&there.index);
    output.entries.retain(stays);
    let added = proven.into_values().map(|proven| pb::LoggedEntry {
        origin: origin.to_owned(),
        index: proven.index,
        entry: proven.entry.clone(),
        inclusion_proof: raw(&proven.inclusion),
        retraction: None,
    });
    output.entries.extend(added);
}

fn add_retractions(
    output: &mut pb::OutputEvidence,
    origin: &str,
    missing: &[&LeftOut],
    entries: &BTreeMap<u64, ProvenEntry>,
) {
    // They are in their order: the last one that withdraws an entry comes after it, if any does.
    let mut by: BTreeMap<Hash, &ProvenEntry> = BTreeMap::new();
    for one in missing.iter().filter(|one| one.is_retraction) {
        if let Some(proven) = entries.get(&one.index) {
            let hashes = withdrawn(&proven.entry).into_iter();
            by.extend(hashes.map(|hash| (hash, proven)));
        }
    }
    if by.is_empty() {
        return;
    }
    for earlier in output.entries.iter_mut().filter(|one| one.origin == origin) {
        let proven = by.get(&leaf_hash(&earlier.entry));
        if let Some(proven) = proven.filter(|proven| earlier.index < proven.index) {
            // What is there instead was not found to verify, or is as good.
            earlier.retraction = Some(pb::LoggedRetraction {
                index: proven.index,
                entry: proven.entry.clone(),
                inclusion_proof: raw(&proven.inclusion),
            });
        }
    }
}

/// Makes a log add no votes, for this reason. Proof of equivocation stays what it is.
pub(super) fn make_stale(answer: &mut pb::GetEvidenceResponse, origin: &str, reason: &str) {
    let Some(log) = log_of(answer, origin) else {
        return;
    };
    if log.state() == pb::LogState::Live || log.state() == pb::LogState::Unspecified {
        log.set_state(pb::LogState::Stale);
        reason.clone_into(&mut log.reason);
    }
}

/// The answer's part about a log, made where there is none.
fn log_of<'a>(
    answer: &'a mut pb::GetEvidenceResponse,
    origin: &str,
) -> Option<&'a mut pb::LogEvidence> {
    if !answer.logs.iter().any(|log| log.origin == origin) {
        answer.logs.push(pb::LogEvidence {
            origin: origin.to_owned(),
            ..pb::LogEvidence::default()
        });
    }
    answer.logs.iter_mut().find(|log| log.origin == origin)
}

fn raw(hashes: &[Hash]) -> Vec<Vec<u8>> {
    hashes.iter().map(|hash| hash.as_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use quorix_testkit::entries::{
        a_path, a_retraction_of, an_attestation, bytes_of, log_key, nix_key,
    };
    use quorix_testkit::tree::Grower;

    use super::*;

    const ALICE: &str = "logs.example.org/alice";

    fn policy() -> Policy {
        let (alice, cache) = (log_key(ALICE), nix_key("cache.example.org-1"));
        let text = format!(
            "builder alice {} https://{ALICE} operator=alice\n\
             cache main {} https://cache.example.org operator=example\n\
             quorum none\nvoters one any alice example\nrule main quorum=one level=path\ndefault main\n",
            alice.verifier(),
            cache.public_key()
        );
        Policy::parse(&text).unwrap()
    }

    fn said(value: &str) -> Vec<u8> {
        an_attestation().of("hello").saying(value).bytes()
    }

    fn logged(index: u64, entry: &[u8]) -> pb::LoggedEntry {
        pb::LoggedEntry {
            origin: ALICE.to_owned(),
            index,
            entry: entry.to_vec(),
            ..pb::LoggedEntry::default()
        }
    }

    fn answer(entries: Vec<pb::LoggedEntry>) -> pb::GetEvidenceResponse {
        pb::GetEvidenceResponse {
            outputs: vec![pb::OutputEvidence {
                hash_part: a_path("hello").hash_part().to_string(),
                entries,
                ..pb::OutputEvidence::default()
            }],
            ..pb::GetEvidenceResponse::default()
        }
    }

    /// What is missing of what alice's log has about `hello`: index, and whether it is a retraction.
    fn missing_of(
        answer: &pb::GetEvidenceResponse,
        entries: &[(u64, Vec<u8>)],
    ) -> Vec<(u64, bool)> {
        let there = there(answer, ALICE);
        let compared = compare(&policy(), &there, ALICE, &a_path("hello"), entries);
        let missing = compared.missing.into_keys();
        missing.map(|one| (one.index, one.is_retraction)).collect()
    }

    fn proven(index: u64, entry: Vec<u8>) -> (u64, ProvenEntry) {
        let proven = ProvenEntry {
            index,
            entry,
            inclusion: Vec::new(),
        };
        (index, proven)
    }

    #[test]
    fn an_entry_that_is_not_there_or_is_another_one_is_missing() {
        let entries = [(3, said("A")), (5, said("B"))];
        let whole = answer(vec![logged(3, &said("A")), logged(5, &said("B"))]);
        assert_eq!(missing_of(&whole, &entries), []);
        let half = answer(vec![logged(3, &said("A"))]);
        assert_eq!(missing_of(&half, &entries), [(5, false)]);
        let altered = answer(vec![logged(3, &said("A")), logged(5, &said("C"))]);
        assert_eq!(missing_of(&altered, &entries), [(5, false)]);
        let nothing = pb::GetEvidenceResponse::default();
        assert_eq!(missing_of(&nothing, &entries), [(3, false), (5, false)]);
    }

    #[test]
    fn a_retraction_that_is_not_there_is_missing_and_put_where_it_belongs() {
        let retraction = bytes_of(&a_retraction_of(&[said("A")]));
        let entries = [(3, said("A")), (4, said("B")), (9, retraction.clone())];
        let mut hidden = answer(vec![logged(3, &said("A")), logged(4, &said("B"))]);
        assert_eq!(missing_of(&hidden, &entries), [(9, true)]);
        let left_out = LeftOut {
            origin: ALICE.to_owned(),
            index: 9,
            path: a_path("hello"),
            is_retraction: true,
        };
        add(
            &mut hidden,
            ALICE,
            &[left_out].into(),
            &[proven(9, retraction)].into(),
        );
        let by = |index: usize| {
            let retraction = hidden.outputs[0].entries[index].retraction.as_ref();
            retraction.map(|retraction| retraction.index)
        };
        assert_eq!((by(0), by(1)), (Some(9), None));
        assert_eq!(missing_of(&hidden, &entries), []);
    }

    #[test]
    fn a_retraction_takes_the_place_of_another_that_is_there() {
        let retraction = bytes_of(&a_retraction_of(&[said("A")]));
        let mut altered = answer(vec![logged(3, &said("A"))]);
        altered.outputs[0].entries[0].retraction = Some(pb::LoggedRetraction {
            index: 7,
            ..pb::LoggedRetraction::default()
        });
        let left_out = LeftOut {
            origin: ALICE.to_owned(),
            index: 9,
            path: a_path("hello"),
            is_retraction: true,
        };
        let entries = [proven(9, retraction)].into();
        add(&mut altered, ALICE, &[left_out].into(), &entries);
        let added = altered.outputs[0].entries[0].retraction.as_ref().unwrap();
        assert_eq!(added.index, 9);
    }

    #[test]
    fn nothing_stays_that_does_not_verify_and_a_good_entry_stays_without_a_bad_retraction() {
        let entries = [said("A"), said("B"), said("C")];
        let mut grower = Grower::new(ALICE);
        grower.grow(&entries);
        let head =
            SignedCheckpoint::open(&grower.head().checkpoint, log_key(ALICE).verifier(), ALICE)
                .unwrap();
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let pair = quorix_tlog::hash::node_hash(&leaves[0], &leaves[1]);
        let with = |index: u64, entry: &[u8], proof: &[Hash]| pb::LoggedEntry {
            inclusion_proof: raw(proof),
            ..logged(index, entry)
        };
        let mut first = with(0, &entries[0], &[leaves[1], leaves[2]]);
        first.retraction = Some(pb::LoggedRetraction {
            index: 2,
            entry: bytes_of(&a_retraction_of(&[&entries[0]])),
            inclusion_proof: Vec::new(),
        });
        let strange = pb::LoggedEntry {
            origin: "logs.example.org/bob".to_owned(),
            ..logged(1 << 40, b"junk")
        };
        let mut given = answer(vec![
            first.clone(),
            with(1, &entries[1], &[]),
            with(1 << 40, &entries[1], &[leaves[0], leaves[2]]),
            with(2, &entries[2], &[pair]),
            strange.clone(),
        ]);
        let unchanged = given.clone();
        sift(&mut given, ALICE, Some(head.checkpoint()));
        first.retraction = None;
        let good = [first, with(2, &entries[2], &[pair]), strange.clone()];
        assert_eq!(given.outputs[0].entries, good);
        let mut given = unchanged;
        sift(&mut given, ALICE, None);
        assert_eq!(given.outputs[0].entries, [strange]);
    }

    #[test]
    fn what_is_added_takes_the_place_of_what_the_log_does_not_have() {
        let mut altered = answer(vec![logged(5, &said("C"))]);
        let left_out = LeftOut {
            origin: ALICE.to_owned(),
            index: 5,
            path: a_path("hello"),
            is_retraction: false,
        };
        add(
            &mut altered,
            ALICE,
            &[left_out].into(),
            &[proven(5, said("B"))].into(),
        );
        assert_eq!(altered.outputs[0].entries, [logged(5, &said("B"))]);
        assert_eq!(indices(&altered, ALICE), BTreeSet::from([5]));
    }

    #[test]
    fn what_an_aggregator_need_not_tell_of_is_not_missing() {
        let seen_by = |key| bytes_of(&an_attestation().of("hello").observed_by(&nix_key(key)));
        let entries = [
            (1, seen_by("cache.example.org-1")),
            (2, seen_by("stranger.example.org-1")),
            (3, b"no entry of ours".to_vec()),
        ];
        let nothing = pb::GetEvidenceResponse::default();
        assert_eq!(missing_of(&nothing, &entries), [(1, false)]);
    }

    #[test]
    fn a_log_is_made_stale_unless_it_is_worse_already() {
        let state_of = |state: pb::LogState| {
            let mut answer = pb::GetEvidenceResponse {
                logs: vec![pb::LogEvidence {
                    origin: ALICE.to_owned(),
                    state: state.into(),
                    ..pb::LogEvidence::default()
                }],
                ..pb::GetEvidenceResponse::default()
            };
            make_stale(&mut answer, ALICE, "it has no index");
            (answer.logs[0].state(), answer.logs[0].reason.clone())
        };
        let stale = (pb::LogState::Stale, "it has no index".to_owned());
        assert_eq!(state_of(pb::LogState::Live), stale);
        assert_eq!(state_of(pb::LogState::Unspecified), stale);
        assert_eq!(
            state_of(pb::LogState::Quarantined),
            (pb::LogState::Quarantined, String::new())
        );
    }
}

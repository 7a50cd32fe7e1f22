//! What is missing of an aggregator's answer, and putting it there. Nothing is verified here: the answer is, afterwards, as
//! if the aggregator had given all of it.

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::store_path::StorePath;
use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::index::proven::ProvenEntry;
use quorix_trust::policy::Policy;

use super::{LeftOut, counts, withdrawn, withdraws};
use crate::pb;

/// Which of the entries that a log has about a path are not in the answer.
pub(super) fn missing(
    policy: &Policy,
    answer: &pb::GetEvidenceResponse,
    origin: &str,
    path: &StorePath,
    entries: &[(u64, Vec<u8>)],
) -> Vec<LeftOut> {
    let there: BTreeMap<u64, &pb::LoggedEntry> = of_path(answer, path)
        .filter(|one| one.origin == origin)
        .map(|one| (one.index, one))
        .collect();
    let left_out = |index: u64, is_retraction: bool| LeftOut {
        origin: origin.to_owned(),
        index,
        path: path.clone(),
        is_retraction,
    };
    let mut missing = Vec::new();
    for (position, (index, bytes)) in entries.iter().enumerate() {
        if !counts(policy, bytes) {
            continue;
        }
        let found = there.get(index).filter(|one| one.entry == *bytes);
        if found.is_none() {
            missing.push(left_out(*index, false));
        }
        if found.is_some_and(|one| one.retraction.is_some()) {
            continue;
        }
        let mut later = entries.iter().skip(position.saturating_add(1));
        if let Some((by, _)) = later.find(|(_, later)| withdraws(later, bytes)) {
            missing.push(left_out(*by, true));
        }
    }
    missing
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

/// Adds one entry that was left out.
pub(super) fn add(
    answer: &mut pb::GetEvidenceResponse,
    origin: &str,
    one: &LeftOut,
    entries: &BTreeMap<u64, ProvenEntry>,
) {
    let Some(proven) = entries.get(&one.index) else {
        return;
    };
    let Some(output) = output_of(answer, &one.path) else {
        return;
    };
    if one.is_retraction {
        let hashes = withdrawn(&proven.entry);
        for earlier in &mut output.entries {
            let leaf = leaf_hash(&earlier.entry);
            let is_meant = earlier.origin == origin && earlier.index < one.index;
            if is_meant && earlier.retraction.is_none() && hashes.contains(&leaf) {
                earlier.retraction = Some(pb::LoggedRetraction {
                    index: one.index,
                    entry: proven.entry.clone(),
                    inclusion_proof: raw(&proven.inclusion),
                });
            }
        }
        return;
    }
    // What the answer has instead at this place is not what the log has there.
    output
        .entries
        .retain(|there| there.origin != origin || there.index != one.index);
    output.entries.push(pb::LoggedEntry {
        origin: origin.to_owned(),
        index: one.index,
        entry: proven.entry.clone(),
        inclusion_proof: raw(&proven.inclusion),
        retraction: None,
    });
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

fn of_path<'a>(
    answer: &'a pb::GetEvidenceResponse,
    path: &StorePath,
) -> impl Iterator<Item = &'a pb::LoggedEntry> {
    let output = path.hash_part().to_string();
    let outputs = answer.outputs.iter();
    outputs
        .filter(move |one| one.hash_part == output)
        .flat_map(|one| &one.entries)
}

/// The answer's part about an output, made where there is none.
fn output_of<'a>(
    answer: &'a mut pb::GetEvidenceResponse,
    path: &StorePath,
) -> Option<&'a mut pb::OutputEvidence> {
    let hash_part = path.hash_part().to_string();
    let mut outputs = answer.outputs.iter();
    if !outputs.any(|one| one.hash_part == hash_part) {
        answer.outputs.push(pb::OutputEvidence {
            hash_part: hash_part.clone(),
            ..pb::OutputEvidence::default()
        });
    }
    let mut outputs = answer.outputs.iter_mut();
    outputs.find(|one| one.hash_part == hash_part)
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
        let missing = missing(&policy(), answer, ALICE, &a_path("hello"), entries);
        let missing = missing.into_iter();
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
            &left_out,
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
            &left_out,
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

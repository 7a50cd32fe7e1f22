//! Cuts what is told to a peer into calls that it takes, and what a peer is answered into one answer that it takes.

use std::collections::BTreeSet;

use quorix_wire::pb;

use super::SEEN_MAX;
use crate::grpc::EXCHANGE_BYTES_MAX;

/// Bytes of checkpoints and proofs in one call: whoever is asked takes several times as much.
const PART_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of checkpoints and proofs in one answer, with room for what is around them.
const ANSWERED_BYTES_MAX: usize = EXCHANGE_BYTES_MAX / 2;

/// What fits into one call each, proofs first; at least one part, since an answer is wanted too.
pub(super) fn parts(
    seen: Vec<pb::SeenCheckpoint>,
    proofs: Vec<pb::SeenEquivocation>,
) -> Vec<pb::ExchangeCheckpointsRequest> {
    let mut parts = Parts::default();
    for proof in proofs {
        parts.with_room_for(proof_bytes(&proof)).proofs.push(proof);
    }
    for one in seen {
        parts.with_room_for(seen_bytes(&one)).seen.push(one);
    }
    parts.full.push(parts.last);
    parts.full
}

/// What fits into one answer: first of the logs that were asked about, so that whoever tells in parts is answered in parts.
pub(super) fn answer(
    named: &BTreeSet<String>,
    mut seen: Vec<pb::SeenCheckpoint>,
    mut proofs: Vec<pb::SeenEquivocation>,
) -> pb::ExchangeCheckpointsResponse {
    seen.sort_by_key(|one| !named.contains(&one.origin));
    proofs.sort_by_key(|one| !named.contains(&one.origin));
    let mut left = ANSWERED_BYTES_MAX;
    let proofs = fitting(proofs, ANSWERED_BYTES_MAX / 2, &mut left, proof_bytes);
    let seen = fitting(seen, ANSWERED_BYTES_MAX, &mut left, seen_bytes);
    pb::ExchangeCheckpointsResponse { seen, proofs }
}

#[derive(Default)]
struct Parts {
    full: Vec<pb::ExchangeCheckpointsRequest>,
    last: pb::ExchangeCheckpointsRequest,
    /// In the last one.
    bytes: usize,
}

impl Parts {
    fn with_room_for(&mut self, length: usize) -> &mut pb::ExchangeCheckpointsRequest {
        let count = self.last.seen.len().max(self.last.proofs.len());
        let after = self.bytes.saturating_add(length);
        if count >= SEEN_MAX || (self.bytes > 0 && after > PART_BYTES_MAX) {
            self.full.push(std::mem::take(&mut self.last));
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(length);
        &mut self.last
    }
}

/// The first of these, at most [`SEEN_MAX`], of at most `limit` bytes and of what is left.
fn fitting<T>(all: Vec<T>, limit: usize, left: &mut usize, length: fn(&T) -> usize) -> Vec<T> {
    let mut here = limit;
    let fits = |one: &T| {
        let rest = here
            .checked_sub(length(one))
            .zip(left.checked_sub(length(one)));
        rest.map(|rest| (here, *left) = rest).is_some()
    };
    all.into_iter().take(SEEN_MAX).take_while(fits).collect()
}

fn seen_bytes(one: &pb::SeenCheckpoint) -> usize {
    one.origin.len().saturating_add(one.checkpoint.len())
}

fn proof_bytes(one: &pb::SeenEquivocation) -> usize {
    let proof = one.proof.as_ref().map_or(0, |proof| {
        let hashes = proof.consistency_proof.iter().map(Vec::len);
        let notes = [&proof.first_checkpoint, &proof.second_checkpoint].map(Vec::len);
        hashes.chain(notes).fold(0_usize, usize::saturating_add)
    });
    one.origin.len().saturating_add(proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(origin: &str, bytes: usize) -> pb::SeenCheckpoint {
        pb::SeenCheckpoint {
            origin: origin.to_owned(),
            checkpoint: vec![0; bytes],
        }
    }

    fn proof(origin: &str, bytes: usize) -> pb::SeenEquivocation {
        let proof = pb::Equivocation {
            first_checkpoint: vec![0; bytes],
            second_checkpoint: vec![0; bytes],
            consistency_proof: Vec::new(),
        };
        pb::SeenEquivocation {
            origin: origin.to_owned(),
            proof: Some(proof),
        }
    }

    #[test]
    fn what_is_told_is_cut_into_calls_that_a_peer_takes() {
        let lengths = |seen, proofs| -> Vec<(usize, usize)> {
            let parts = parts(seen, proofs);
            let lengths = parts
                .iter()
                .map(|part| (part.proofs.len(), part.seen.len()));
            lengths.collect()
        };
        assert_eq!(lengths(Vec::new(), Vec::new()), [(0, 0)]);
        assert_eq!(lengths(vec![seen("", 1); 1_024], Vec::new()), [(0, 1_024)]);
        assert_eq!(
            lengths(vec![seen("", 1); 2_049], Vec::new()),
            [(0, 1_024), (0, 1_024), (0, 1)]
        );
        assert_eq!(
            lengths(vec![seen("", 64 * 1024); 40], Vec::new()),
            [(0, 16), (0, 16), (0, 8)]
        );
        assert_eq!(
            lengths(vec![seen("", 1); 5], vec![proof("", 128 * 1024); 10]),
            [(4, 0), (4, 0), (2, 5)]
        );
    }

    #[test]
    fn an_answer_fits_and_is_first_of_all_about_the_logs_that_were_named() {
        let named = BTreeSet::from(["b".to_owned()]);
        let half = ANSWERED_BYTES_MAX / 2;
        let answer = |seen, proofs| {
            let answer = answer(&named, seen, proofs);
            let seen: Vec<_> = answer.seen.into_iter().map(|one| one.origin).collect();
            let proofs: Vec<_> = answer.proofs.into_iter().map(|one| one.origin).collect();
            (seen, proofs)
        };
        let all = vec![seen("a", half), seen("b", half - 8), seen("c", 7)];
        assert_eq!(answer(all, Vec::new()).0, ["b", "a"]);
        let all = vec![seen("a", 7), seen("b", 7), seen("c", half)];
        assert_eq!(answer(all, Vec::new()).0, ["b", "a", "c"]);
        let all = vec![proof("a", half / 3), proof("b", half / 3), proof("c", 9)];
        assert_eq!(
            answer(vec![seen("a", half)], all),
            (vec!["a".to_owned()], vec!["b".to_owned()])
        );
        assert_eq!(answer(vec![seen("a", 1); 1_025], Vec::new()).0.len(), 1_024);
    }
}

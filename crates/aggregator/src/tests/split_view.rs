//! Two aggregators that compare what logs show them, an aggregator as a witness, and lifted quarantines.

use std::collections::BTreeSet;

use quorix_testkit::entries::{a_small_entry, an_attestation};
use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};
use quorix_tlog::note::SignedNote;
use quorix_trust::evidence::LogState;
use quorix_trust::ports::{Equivocation, IndexStore};
use quorix_wire::evidence::{read_evidence_file, verify_equivocation, write_evidence_file};
use quorix_wire::pb;
use tonic::transport::{Channel, Server};

use super::fakes::{FakeLog, Origin};
use super::world::{World, policy, told};
use crate::events::EventKind;
use crate::gossip::Peer;
use crate::logs::Condition;

fn entries(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(a_small_entry).collect()
}

fn others(length: u64) -> Vec<Vec<u8>> {
    let first = an_attestation().saying("B").bytes();
    std::iter::once(first)
        .chain((1..length).map(a_small_entry))
        .collect()
}

fn serve(world: &World) -> Channel {
    let (channel, incoming) = quorix_wire::channel::in_memory();
    let service = crate::grpc::follow_server(world.aggregator.clone());
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    channel
}

/// One exchange over gRPC, asked by `one`.
async fn exchange(one: &World, other: &World) {
    let peer = Peer {
        name: "peer".to_owned(),
        channel: serve(other),
    };
    one.aggregator.shared().exchange(&peer).await.unwrap();
}

/// Alice's log as it shows itself to two aggregators that ask at different addresses.
async fn two_views() -> ([World; 2], [FakeLog; 2]) {
    let here = FakeLog::start("alice").await;
    let there = FakeLog {
        at: Origin::start().await,
        ..here.clone()
    };
    let world = |log: &FakeLog| World::new(policy(&log.line(&[]), 1, "alice", "path"));
    ([world(&here), world(&there)], [here, there])
}

fn assert_proved(world: &World, log: &FakeLog) {
    assert_eq!(world.state("alice"), LogState::Quarantined);
    let proof = world.equivocation(log).unwrap();
    let proof = read_evidence_file(&write_evidence_file(&proof)).unwrap();
    assert_eq!(verify_equivocation(log.key.verifier(), &proof), Ok(()));
}

#[tokio::test]
async fn a_log_that_answers_two_aggregators_differently_is_quarantined_by_both() {
    for (mine, theirs) in [(5, 5), (5, 9), (9, 5), (300, 700)] {
        let ([mut one, mut other], [here, there]) = two_views().await;
        here.append(&entries(0..mine));
        there.append(&others(theirs));
        assert!(one.look("alice").await && other.look("alice").await);
        let mut watcher = one.aggregator.watch();
        exchange(&one, &other).await;
        exchange(&other, &one).await;
        assert_proved(&one, &here);
        assert_proved(&other, &there);
        assert_eq!(
            told(&mut watcher),
            [(EventKind::LogQuarantined, "alice".to_owned())]
        );
    }
}

#[tokio::test]
async fn two_views_of_one_history_are_no_split_view() {
    let ([mut one, mut other], [here, there]) = two_views().await;
    here.append(&entries(0..300));
    there.append(&entries(0..700));
    assert!(one.look("alice").await && other.look("alice").await);
    exchange(&one, &other).await;
    exchange(&other, &one).await;
    assert_eq!(one.equivocation(&here), None);
    assert_eq!(other.state("alice"), LogState::Live);
}

#[tokio::test]
async fn a_log_that_is_frozen_for_one_aggregator_is_behind_once_it_hears_of_more() {
    let ([mut one, mut other], [here, there]) = two_views().await;
    here.append(&entries(0..3));
    there.append(&entries(0..8));
    assert!(one.look("alice").await && other.look("alice").await);
    exchange(&one, &other).await;
    assert!(!one.look("alice").await);
    let shared = &one.aggregator.shared();
    let standing = shared.logs[0].standing(one.clock.now_s(), shared.config.stale_after);
    assert_eq!(standing.condition, Condition::Behind);
    one.clock.advance(61);
    assert_eq!(
        one.stale_reason("alice"),
        format!(
            "no verified answer for 61 s: {}: it shows an older checkpoint of 3 entries, and 8 were seen",
            here.at.url
        )
    );
    here.append(&entries(3..8));
    assert!(one.look("alice").await);
    assert_eq!(one.state("alice"), LogState::Live);
}

#[tokio::test]
async fn garbage_from_a_peer_frames_no_honest_log() {
    let ([mut one, _], [here, _]) = two_views().await;
    here.append(&entries(0..5));
    let five = here.checkpoint();
    here.append(&entries(5..9));
    let nine = here.checkpoint();
    assert!(one.look("alice").await);
    let stranger = FakeLog::start("mallory").await;
    stranger.append(&others(9));
    let shared = &one.aggregator.shared();
    let seen = |checkpoint: &[u8]| pb::SeenCheckpoint {
        origin: here.origin(),
        checkpoint: checkpoint.to_vec(),
    };
    let said = vec![
        seen(b""),
        seen(&stranger.checkpoint()),
        seen(&five),
        seen(&nine),
    ];
    let proofs = vec![pb::SeenEquivocation {
        origin: here.origin(),
        proof: Some(pb::Equivocation {
            first_checkpoint: stranger.checkpoint(),
            second_checkpoint: b"garbage".to_vec(),
            consistency_proof: vec![vec![7; 31]],
        }),
    }];
    let asked = pb::ExchangeCheckpointsRequest { seen: said, proofs };
    shared.compare(asked).await.unwrap();
    for consistency_proof in [
        Vec::new(),
        vec![quorix_tlog::hash::leaf_hash(b"garbage"); 4],
    ] {
        let proof = Equivocation {
            first: five.clone(),
            second: nine.clone(),
            consistency_proof,
        };
        shared.accept_proof(&shared.logs[0], proof).await.unwrap();
    }
    assert_eq!(one.state("alice"), LogState::Live);
    assert_eq!(one.equivocation(&here), None);
}

#[tokio::test]
async fn more_checkpoints_than_allowed_are_refused() {
    let ([one, _], _) = two_views().await;
    let shared = &one.aggregator.shared();
    let refused = async |asked| shared.compare(asked).await.unwrap_err().to_string();
    let seen = vec![pb::SeenCheckpoint::default(); 1_025];
    let asked = pb::ExchangeCheckpointsRequest {
        seen,
        ..Default::default()
    };
    assert_eq!(
        refused(asked).await,
        "seen: 1025 were given, at most 1024 are allowed"
    );
    let proofs = vec![pb::SeenEquivocation::default(); 1_025];
    let asked = pb::ExchangeCheckpointsRequest {
        proofs,
        ..Default::default()
    };
    assert_eq!(
        refused(asked).await,
        "proofs: 1025 were given, at most 1024 are allowed"
    );
}

/// Heard of before anything was mirrored, the other history is all that is known here, and no checkpoint of one's own
/// could be shown: the proof itself has to travel.
#[tokio::test]
async fn whoever_holds_proof_hands_it_to_peers_whom_it_asks() {
    let ([mut one, mut other], [here, there]) = two_views().await;
    here.append(&entries(0..5));
    there.append(&others(5));
    assert!(other.look("alice").await);
    exchange(&one, &other).await;
    assert!(!one.look("alice").await);
    assert_proved(&one, &here);
    assert_eq!(other.state("alice"), LogState::Live);
    exchange(&one, &other).await;
    assert_proved(&other, &there);
}

#[tokio::test]
async fn an_aggregator_with_a_key_cosigns_what_it_has_verified_and_nothing_else() {
    let ([mut one, _], [log, _]) = two_views().await;
    let key = || {
        let name = "aggregator.example".parse().unwrap();
        CosignerSigningKey::from_seed(name, Algorithm::Ed25519, [9; 32])
    };
    let own = BTreeSet::from(["logs.example.org/own".to_owned()]);
    one.aggregator.cosign_with(key(), own);
    one.clock.set(1_000);
    log.append(&entries(0..5));
    assert!(one.look("alice").await);
    let cosigned = one.index.cosigned(&log.origin()).unwrap().unwrap();
    let signed = SignedCheckpoint::open(&cosigned.note, log.key.verifier(), &log.origin()).unwrap();
    let note = SignedNote::parse(&cosigned.note).unwrap();
    let line = note.signatures().last().unwrap();
    assert_eq!(
        key().verifier().verify(signed.checkpoint(), line),
        Ok(1_000)
    );

    one.clock.set(900);
    log.append(&entries(5..6));
    assert!(one.look("alice").await);
    let next = one.index.cosigned(&log.origin()).unwrap().unwrap();
    assert_eq!((next.size, next.at_s), (6, 1_000), "time never goes back");

    one.clock.set(5_000);
    log.rewrite(&others(9));
    assert!(!one.look("alice").await);
    assert_eq!(one.index.cosigned(&log.origin()).unwrap(), Some(next));
}

#[tokio::test]
async fn an_aggregator_never_cosigns_the_log_of_its_own_operator() {
    let ([mut one, _], [log, _]) = two_views().await;
    let name = "aggregator.example".parse().unwrap();
    let key = CosignerSigningKey::from_seed(name, Algorithm::Ed25519, [9; 32]);
    let own = BTreeSet::from([log.origin()]);
    one.aggregator.cosign_with(key, own);
    log.append(&entries(0..5));
    assert!(one.look("alice").await);
    assert_eq!(one.index.cosigned(&log.origin()).unwrap(), None);
}

/// The other history was heard of before anything was mirrored, and the peer goes on telling of it.
#[tokio::test]
async fn after_a_lift_the_log_is_followed_whatever_peers_tell_of_the_contradiction() {
    for (mine, theirs) in [(5, 5), (5, 9), (9, 5)] {
        let ([mut one, mut other], [here, there]) = two_views().await;
        here.append(&entries(0..mine));
        there.append(&others(theirs));
        assert!(other.look("alice").await);
        exchange(&one, &other).await;
        one.look("alice").await;
        exchange(&one, &other).await;
        assert_eq!(one.state("alice"), LogState::Quarantined);

        let lift = one.index.lift(&here.origin(), 7, "a restored disk");
        assert!(lift.unwrap().is_some());
        let mut one = one.restarted();
        exchange(&one, &other).await;
        assert!(one.look("alice").await, "{mine} {theirs}");
        exchange(&one, &other).await;
        here.append(&entries(mine..mine + 20));
        assert!(one.look("alice").await, "{mine} {theirs}");
        exchange(&one, &other).await;
        assert_eq!(one.state("alice"), LogState::Live, "{mine} {theirs}");
        assert_eq!(one.size(&here), mine + 20);
    }
}

#[tokio::test]
async fn only_an_operator_lifts_a_quarantine_and_the_same_contradiction_stays_refused() {
    let ([mut one, _], [log, _]) = two_views().await;
    log.append(&entries(0..5));
    assert!(one.look("alice").await);
    log.rewrite(&others(5));
    assert!(!one.look("alice").await);
    let one = one.restarted();
    assert_eq!(one.state("alice"), LogState::Quarantined);

    let lift = one.index.lift(&log.origin(), 7, "a restored disk").unwrap();
    assert!(lift.is_some());
    let mut one = one.restarted();
    assert!(!one.look("alice").await);
    assert_eq!(
        one.stale_reason("alice"),
        format!(
            "UNVERIFIABLE: {}: it shows the contradiction again whose quarantine was lifted",
            log.at.url
        )
    );
    log.rewrite(&entries(0..6));
    assert!(one.look("alice").await);
    assert_eq!(one.state("alice"), LogState::Live);
    let told = one.aggregator.shared().list_logs().await.unwrap();
    assert_eq!(told.logs[0].lifts[0].reason, "a restored disk");
    log.rewrite(&others(6));
    assert!(!one.look("alice").await);
    assert_eq!(one.state("alice"), LogState::Quarantined);
}

#[tokio::test]
async fn after_a_lift_an_address_that_goes_on_showing_the_disowned_history_fails_alone() {
    for (disowned, more) in [(5, 0), (5, 20), (3, 20), (9, 20)] {
        let (_, [log, elsewhere]) = two_views().await;
        let mut one = World::new(policy(&log.line(&[&elsewhere.at]), 1, "alice", "path"));
        log.append(&entries(0..5));
        elsewhere.append(&entries(0..5));
        assert!(one.look("alice").await);
        elsewhere.rewrite(&others(disowned));
        assert!(!one.look("alice").await);
        assert_eq!(one.state("alice"), LogState::Quarantined);
        let lift = one.index.lift(&log.origin(), 7, "a restored disk");
        assert!(lift.unwrap().is_some());

        let mut one = one.restarted();
        log.append(&entries(5..5 + more));
        assert!(one.look("alice").await, "{disowned} {more}");
        assert_eq!(one.state("alice"), LogState::Live, "{disowned} {more}");
        assert_eq!(one.size(&log), 5 + more);
        // Shown with other lines below it is the same checkpoint.
        let witness = CosignerSigningKey::from_seed(
            "w.example".parse().unwrap(),
            Algorithm::Ed25519,
            [9; 32],
        );
        elsewhere.publish_cosigned(&[(&witness, 7)]);
        assert!(one.look("alice").await, "{disowned} {more}");
    }
}

#[tokio::test]
async fn while_nothing_of_a_lifted_contradiction_is_mirrored_the_first_address_is_followed() {
    let (_, [log, elsewhere]) = two_views().await;
    let mut one = World::new(policy(&log.line(&[&elsewhere.at]), 1, "alice", "path"));
    log.append(&entries(0..5));
    elsewhere.append(&others(5));
    assert!(!one.look("alice").await);
    assert_eq!(one.size(&log), 0);
    let lift = one.index.lift(&log.origin(), 7, "a restored disk");
    assert!(lift.unwrap().is_some());
    let mut one = one.restarted();
    assert!(one.look("alice").await);
    assert_eq!(one.head(&log).unwrap().checkpoint, log.checkpoint());
    assert!(
        one.look("alice").await,
        "the other address fails alone from then on"
    );
}

#[tokio::test]
async fn what_comes_after_a_part_that_a_peer_refuses_is_told_all_the_same() {
    let ([one, mut other], [here, there]) = two_views().await;
    here.append(&entries(0..5));
    there.append(&others(5));
    assert!(other.look("alice").await);
    let seen = |checkpoint| pb::SeenCheckpoint {
        origin: here.origin(),
        checkpoint,
    };
    let part = |seen| pb::ExchangeCheckpointsRequest {
        seen,
        ..Default::default()
    };
    let peer = Peer {
        name: "peer".to_owned(),
        channel: serve(&other),
    };
    let too_much = part(vec![seen(Vec::new()); 1_025]);
    let parts = vec![too_much, part(vec![seen(here.checkpoint())])];
    let told = one.aggregator.shared().tell_peer(&peer, parts).await;
    let refused = "seen: 1025 were given, at most 1024 are allowed".to_owned();
    assert_eq!(told, Err(refused));
    assert_proved(&other, &there);
}

//! Logs that show two histories: to one aggregator one after the other, at two addresses, in the window of an interrupted
//! catch-up, and to two aggregators; and peers that would frame an honest one.

use std::net::SocketAddr;

use quorix::demo::world::free_port;
use quorix_testkit::entries::an_attestation;
use quorix_testkit::tree::Grower;
use quorix_tlog::hash::leaf_hash;
use quorix_trust::decision::{OperatorState, Outcome};
use quorix_wire::pb;
use quorix_wire::pb::follow_service_server::{FollowService, FollowServiceServer};
use quorix_wire::pb::{LogCondition, LogState};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::scene::{history, operator};
use super::site::{Answer, SiteLog};
use crate::following::{FolderLog, becomes, client_of, machine, policy, two_machines};

/// The last bundle of a log of 700 entries.
const LAST: &str = "tile/entries/002.p/188";

#[tokio::test]
async fn every_fork_is_found_whether_at_a_mirror_at_another_size_or_after_an_interrupted_catch_up()
{
    let dir = tempfile::tempdir().unwrap();
    let sizes = [
        ("equal", 5, 5),
        ("larger", 5, 9),
        ("larger-by-far", 300, 700),
        ("smaller", 9, 4),
        ("window-equal", 700, 700),
        ("window-larger", 700, 900),
        ("window-behind", 700, 800),
    ];
    let mut logs = Vec::new();
    for (name, before, _) in sizes {
        let log = SiteLog::publish(name, &history("A", before)).await;
        if name.starts_with("window") {
            log.at.instead(LAST, Answer::Missing);
        }
        logs.push(log);
    }
    let hiding = SiteLog::publish("hidden-at-one-mirror", &history("A", 5)).await;
    let mut mirror = SiteLog::publish("hidden-at-one-mirror", &history("A", 5)).await;
    let mut taken_back = SiteLog::publish("taken-back", &history("A", 3)).await;

    let lines: String = logs.iter().map(|log| log.line(&[])).collect();
    let lines = lines + &hiding.line(&[&mirror.at]) + &taken_back.line(&[]);
    let honest = FolderLog::publish(dir.path().join("honest"), "honest", &history("A", 2));
    let names: Vec<&str> = sizes.iter().map(|(name, ..)| *name).collect();
    let policy = format!(
        "{lines}{}quorum none\nvoters two 2 {} hidden-at-one-mirror taken-back honest\n\
         rule main quorum=two level=path\ndefault main\n",
        honest.line(),
        names.join(" ")
    );
    let mut host = machine(dir.path(), "user", &policy, "", "");
    host.start().await.unwrap();
    for (name, before, _) in sizes {
        let log = becomes(&host, name, |log| match name.starts_with("window") {
            true => log.condition() == LogCondition::Withholding,
            false => log.indexed == before && log.state() == LogState::Live,
        })
        .await;
        assert_eq!(log.shown, before);
    }
    becomes(&host, "hidden-at-one-mirror", |log| log.indexed == 5).await;
    becomes(&host, "taken-back", |log| log.indexed == 3).await;

    // What was shown once and never given is remembered over a restart.
    let three = taken_back.checkpoint();
    taken_back.append_unseen(&history("A", 2));
    for path in [
        "tile/entries/000.p/5",
        "tile/entries/000",
        "tile/0/000.p/5",
        "tile/0/000",
    ] {
        taken_back.at.instead(path, Answer::Missing);
    }
    taken_back.at.put("checkpoint", &taken_back.checkpoint());
    becomes(&host, "taken-back", |log| {
        log.condition() == LogCondition::Withholding
    })
    .await;
    host.stop().await.unwrap();
    taken_back.at.put("checkpoint", &three);
    for (log, (name, _, after)) in logs.iter_mut().zip(sizes) {
        log.at.heal();
        match name {
            // The same up to where the catch-up could have come, and another behind it.
            "window-behind" => {
                let mut other = history("A", after);
                other[650] = an_attestation().of("other").bytes();
                log.rewrite(&other);
            }
            _ => log.rewrite(&history("B", after)),
        }
    }
    mirror.rewrite(&history("B", 4));
    host.start().await.unwrap();

    for name in names.iter().copied().chain(["hidden-at-one-mirror"]) {
        let log = becomes(&host, name, |log| log.state() == LogState::Quarantined).await;
        assert_eq!(log.condition(), LogCondition::Quarantined, "{name}");
        assert!(log.equivocation.is_some(), "{name}");
    }
    let behind = becomes(&host, "taken-back", |log| log.state() == LogState::Stale).await;
    let is = becomes(&host, "taken-back", |log| {
        log.condition() == LogCondition::Behind
    })
    .await;
    assert_eq!((is.indexed, is.shown, behind.equivocation), (3, 5, None));
    assert!(
        is.reason
            .contains("it shows an older checkpoint of 3 entries, and 5 were seen"),
        "{}",
        is.reason
    );
    let path = quorix_testkit::entries::a_path("hello");
    let hello = client_of(&host).decide(&path).await.unwrap();
    assert_eq!(hello.outcome, Outcome::Insufficient, "{}", hello.sentence);
    assert_eq!(hello.values[0].voters, ["honest"]);
    assert_eq!(operator(&hello, "equal").state, OperatorState::Quarantined);
}

#[tokio::test]
async fn a_log_that_shows_one_aggregator_less_than_others_is_behind_there_and_framed_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let view = |folder: &str, size: u64| {
        FolderLog::publish(dir.path().join(folder), "alice", &history("A", size))
    };
    let mut logs = [view("here", 3), view("there", 8)];
    let [one, other] = two_machines(dir.path(), &logs).await;
    let log = becomes(&one, "alice", |log| {
        log.condition() == LogCondition::Behind && log.state() == LogState::Stale
    })
    .await;
    assert!(
        log.reason
            .ends_with("it shows an older checkpoint of 3 entries, and 8 were seen"),
        "{}",
        log.reason
    );
    assert_eq!((log.indexed, log.shown, log.equivocation), (3, 8, None));
    becomes(&other, "alice", |log| {
        log.state() == LogState::Live && log.indexed == 8
    })
    .await;
    logs[0].append(&history("A", 8)[3..]);
    becomes(&one, "alice", |log| {
        log.state() == LogState::Live && log.indexed == 8
    })
    .await;
}

/// A peer that says what it likes of a log.
struct Slanderer(
    pb::ExchangeCheckpointsResponse,
    tokio::sync::mpsc::UnboundedSender<()>,
);

#[tonic::async_trait]
impl FollowService for Slanderer {
    async fn exchange_checkpoints(
        &self,
        _: Request<pb::ExchangeCheckpointsRequest>,
    ) -> Result<Response<pb::ExchangeCheckpointsResponse>, Status> {
        let _ = self.1.send(());
        Ok(Response::new(self.0.clone()))
    }

    async fn find_outputs(
        &self,
        _: Request<pb::FindOutputsRequest>,
    ) -> Result<Response<pb::FindOutputsResponse>, Status> {
        Err(Status::unimplemented("nobody asks this here"))
    }

    async fn get_tallies(
        &self,
        _: Request<pb::GetTalliesRequest>,
    ) -> Result<Response<pb::GetTalliesResponse>, Status> {
        Err(Status::unimplemented("nobody asks this here"))
    }

    async fn list_events(
        &self,
        _: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        Err(Status::unimplemented("nobody asks this here"))
    }
}

/// Everything that a peer can say of an honest log of nine entries, once of five.
fn slander(nine: &FolderLog) -> pb::ExchangeCheckpointsResponse {
    let origin = "alice.example/log".to_owned();
    let head =
        |origin: &str, entries: &[Vec<u8>]| Grower::new(origin).grow(entries).head.checkpoint;
    let all = nine.grower.entries();
    let (five, nine) = (head(&origin, &all[..5]), head(&origin, all));
    let strangers = head("mallory.example/log", &history("B", 9));
    let seen = [
        Vec::new(),
        b"garbage".to_vec(),
        strangers.clone(),
        five.clone(),
        nine.clone(),
    ];
    let seen = seen.map(|checkpoint| pb::SeenCheckpoint {
        origin: origin.clone(),
        checkpoint,
    });
    let noise = leaf_hash(b"garbage").as_bytes().to_vec();
    let proof =
        |first: &[u8], second: &[u8], consistency_proof: Vec<Vec<u8>>| pb::SeenEquivocation {
            origin: origin.clone(),
            proof: Some(pb::Equivocation {
                first_checkpoint: first.to_vec(),
                second_checkpoint: second.to_vec(),
                consistency_proof,
            }),
        };
    let proofs = vec![
        proof(&five, &nine, vec![noise.clone(); 4]),
        proof(&five, &nine, Vec::new()),
        proof(&nine, &nine, Vec::new()),
        proof(&strangers, &nine, vec![vec![7; 31]]),
        proof(b"", b"", Vec::new()),
    ];
    pb::ExchangeCheckpointsResponse {
        seen: seen.into(),
        proofs,
    }
}

async fn slanderer(
    said: pb::ExchangeCheckpointsResponse,
) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let (heard, was_asked) = tokio::sync::mpsc::unbounded_channel();
    let address = free_port().unwrap();
    let service = FollowServiceServer::new(Slanderer(said, heard));
    tokio::spawn(Server::builder().add_service(service).serve(address));
    (address, was_asked)
}

#[tokio::test]
async fn a_peer_that_sends_garbage_and_forged_proof_frames_no_honest_log() {
    let dir = tempfile::tempdir().unwrap();
    let alice = FolderLog::publish(dir.path().join("a"), "alice", &history("A", 9));
    let whole = slander(&alice);
    let mut peers = String::new();
    let mut asked = Vec::new();
    // Of one log one proof in a call is looked at: each is told by a peer of its own.
    for (number, proof) in whole.proofs.iter().enumerate() {
        let said = pb::ExchangeCheckpointsResponse {
            seen: whole.seen.clone(),
            proofs: vec![proof.clone()],
        };
        let (address, was_asked) = slanderer(said).await;
        asked.push(was_asked);
        peers +=
            &format!("[[aggregator.peers]]\nname = \"peer-{number}\"\naddress = \"{address}\"\n");
    }
    let often = "gossip_interval = \"100ms\"\n";
    let mut host = machine(
        dir.path(),
        "user",
        &policy(&alice.line(), "alice"),
        often,
        &peers,
    );
    host.start().await.unwrap();
    becomes(&host, "alice", |log| {
        log.indexed == 9 && log.state() == LogState::Live
    })
    .await;
    for was_asked in &mut asked {
        // What the first call said was weighed before the third is made.
        for _ in 0..3 {
            was_asked.recv().await.unwrap();
        }
    }
    let log = becomes(&host, "alice", |log| log.state() == LogState::Live).await;
    assert_eq!(
        (log.condition(), log.indexed, log.shown),
        (LogCondition::Following, 9, 9)
    );
    assert_eq!(log.equivocation, None);
    let path = quorix_testkit::entries::a_path("hello");
    assert!(client_of(&host).decide(&path).await.unwrap().is_accepted());
}

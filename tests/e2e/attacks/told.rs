//! What others tell of a log, and what an aggregator keeps of it: another history whose part is being mirrored, proof while
//! the policy changes, a disowned history that is shown again, checkpoints and lines without end.

use std::fs;

use quorix::demo::client::until;
use quorix::demo::world::UserHost;
use quorix_testkit::entries::{a_small_entry, log_key};
use quorix_testkit::tree::Grower;
use quorix_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use quorix_tlog::compact_range::CompactRange;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::note::SignedNote;
use quorix_wire::channel;
use quorix_wire::pb;
use quorix_wire::pb::follow_service_client::FollowServiceClient;
use quorix_wire::pb::{LogCondition, LogState};
use tonic::transport::Channel;

use super::clock::Clocks;
use super::scene::history;
use super::site::{Answer, Site, SiteLog};
use super::witnesses::witness_key;
use crate::following::{becomes, log_of, machine, machine_of, policy};
use crate::world::{run, text, unwrapped};

/// Somebody who asks an aggregator as its peers do.
pub(super) struct Teller(FollowServiceClient<Channel>);

impl Teller {
    pub(super) fn of(host: &UserHost) -> Self {
        let address = host.aggregator.to_string().parse().unwrap();
        Self(FollowServiceClient::new(
            channel::connect(&address).unwrap(),
        ))
    }

    /// It was shown these checkpoints and holds this proof.
    pub(super) async fn tell(
        &mut self,
        seen: &[(&SiteLog, Vec<u8>)],
        proofs: Vec<pb::SeenEquivocation>,
    ) -> pb::ExchangeCheckpointsResponse {
        let seen = seen.iter().map(|(log, checkpoint)| pb::SeenCheckpoint {
            origin: log.origin(),
            checkpoint: checkpoint.clone(),
        });
        let seen = seen.collect();
        let asked = pb::ExchangeCheckpointsRequest { seen, proofs };
        let answer = self.0.exchange_checkpoints(asked).await;
        answer.unwrap().into_inner()
    }
}

/// A checkpoint by the log's key over whatever tree has this root.
fn checkpoint(log: &SiteLog, size: u64, root: Hash) -> Vec<u8> {
    let checkpoint = Checkpoint {
        origin: log.origin(),
        size,
        root,
        extensions: Vec::new(),
    };
    checkpoint.sign(&log_key(&log.origin())).unwrap()
}

/// The checkpoint of the log over another history of this size.
fn of_another_history(log: &SiteLog, size: u64) -> Vec<u8> {
    let entries = history("B", size);
    Grower::new(&log.origin()).grow(&entries).head.checkpoint
}

#[tokio::test]
async fn another_history_that_is_told_while_its_part_is_being_mirrored_is_found() {
    let dir = tempfile::tempdir().unwrap();
    // More than is committed at once: what is mirrored first is under no checkpoint until the rest has come.
    let mut all = history("A", 1);
    all.extend((1..8_392).map(a_small_entry));
    let alice = SiteLog::publish("alice", &all).await;
    alice.at.instead("tile/entries/032.p/200", Answer::Missing);
    let policy = policy(&alice.line(&[]), "alice");
    let mut host = machine(dir.path(), "user", &policy, "", "");
    host.start().await.unwrap();
    let withheld = |log: &pb::LogStatus| log.condition() == LogCondition::Withholding;
    let log = becomes(&host, "alice", withheld).await;
    assert_eq!((log.indexed, log.size, log.shown), (8_192, 0, 8_392));

    // Told once and never again.
    let said = Teller::of(&host)
        .tell(&[(&alice, of_another_history(&alice, 300))], vec![])
        .await;
    assert_eq!(said.proofs, [], "nothing is proved by it yet");
    let log = becomes(&host, "alice", withheld).await;
    assert_eq!((log.indexed, log.equivocation), (8_192, None));
    alice.at.heal();
    let log = becomes(&host, "alice", |log| log.state() == LogState::Quarantined).await;
    let proof = log.equivocation.unwrap();
    let sizes = [&proof.first_checkpoint, &proof.second_checkpoint].map(|note| {
        let note = String::from_utf8_lossy(note).into_owned();
        note.lines().nth(1).unwrap().to_owned()
    });
    assert_eq!(sizes, ["300", "8392"]);
}

/// Proof that needs no other: two checkpoints of one size.
fn proof_against(log: &SiteLog) -> pb::SeenEquivocation {
    let size = u64::try_from(log.entries().len()).unwrap();
    pb::SeenEquivocation {
        origin: log.origin(),
        proof: Some(pb::Equivocation {
            first_checkpoint: log.checkpoint(),
            second_checkpoint: of_another_history(log, size),
            consistency_proof: Vec::new(),
        }),
    }
}

#[tokio::test]
async fn no_quarantine_is_lost_while_the_policy_changes_or_the_index_is_built_anew() {
    let dir = tempfile::tempdir().unwrap();
    let alice = SiteLog::publish("alice", &history("A", 5)).await;
    let bob = SiteLog::publish("bob", &history("A", 5)).await;
    let before = policy(&alice.line(&[]), "alice");
    let mut host = machine(dir.path(), "user", &before, "", "");
    host.start().await.unwrap();
    let live = |log: &pb::LogStatus| log.state() == LogState::Live && log.indexed == 5;
    becomes(&host, "alice", live).await;

    // Another line of alice's, and a log that keeps the new policy from being in force.
    bob.at.everything(Answer::Endless);
    let acme = alice.line(&[]).replace("operator=alice", "operator=acme");
    let after = policy(&(acme + &bob.line(&[])), "acme bob");
    fs::write(&host.policy, &after).unwrap();
    until("the logs of the new policy are asked", async || {
        (!bob.at.asked().is_empty()).then_some(())
    })
    .await
    .unwrap();
    Teller::of(&host)
        .tell(&[], vec![proof_against(&alice)])
        .await;
    let log = log_of(&host, "alice").await.unwrap();
    assert_eq!(
        (log.operator.as_str(), log.state()),
        ("alice", LogState::Quarantined)
    );
    bob.at.heal();
    let log = becomes(&host, "alice", |log| log.operator == "acme").await;
    assert_eq!(log.state(), LogState::Quarantined);

    // Nor by an index that is built anew while no policy names alice.
    host.stop().await.unwrap();
    fs::write(&host.policy, policy(&bob.line(&[]), "bob")).unwrap();
    let reindex = ["aggregator", "reindex", "--config", text(&host.config)];
    let built = run(&reindex).await;
    assert_eq!(built.code, 0, "{}{}", built.out, built.err);
    assert!(
        built.out.starts_with("The index was built anew"),
        "{}",
        built.out
    );
    host.start().await.unwrap();
    becomes(&host, "bob", live).await;
    host.stop().await.unwrap();
    fs::write(&host.policy, after).unwrap();
    host.start().await.unwrap();
    let log = log_of(&host, "alice").await.unwrap();
    assert_eq!(log.state(), LogState::Quarantined);
    assert!(log.equivocation.is_some());
}

/// How often a site was asked for its checkpoint.
fn looks(at: &Site) -> usize {
    let asked = at.asked();
    asked.iter().filter(|path| *path == "checkpoint").count()
}

/// Waits until a site was looked at twice more, so that one look began and ended since.
async fn looked_at_again(at: &Site) {
    let before = looks(at);
    until("it is looked at again", async || {
        (looks(at) >= before + 2).then_some(())
    })
    .await
    .unwrap();
}

/// The same checkpoint with a line that somebody else signed.
fn with_another_line(note: &[u8], log: &SiteLog) -> Vec<u8> {
    let (parsed, key) = (SignedNote::parse(note).unwrap(), log_key(&log.origin()));
    let opened = SignedCheckpoint::open(note, key.verifier(), &log.origin()).unwrap();
    let line = witness_key("w").cosign(opened.checkpoint(), 7).unwrap();
    let lines = parsed.signatures().iter().cloned().chain([line]).collect();
    SignedNote::assemble(parsed.text(), lines)
        .unwrap()
        .to_bytes()
}

#[tokio::test]
async fn after_a_lift_a_disowned_history_that_is_shown_again_costs_nobody_but_who_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("equal", 5, 0),
        ("grown", 5, 20),
        ("smaller", 3, 20),
        ("larger", 9, 20),
    ];
    let mut logs = Vec::new();
    for (name, ..) in cases {
        let log = SiteLog::publish(name, &history("A", 5)).await;
        let mirror = SiteLog::publish(name, &history("A", 5)).await;
        logs.push((log, mirror));
    }
    let lines: String = logs
        .iter()
        .map(|(log, mirror)| log.line(&[&mirror.at]))
        .collect();
    let names = cases.map(|(name, ..)| name).join(" ");
    let mut host = machine(dir.path(), "user", &policy(&lines, &names), "", "");
    host.start().await.unwrap();
    for (name, ..) in cases {
        becomes(&host, name, |log| {
            log.indexed == 5 && log.state() == LogState::Live
        })
        .await;
    }
    for ((_, mirror), (name, disowned, _)) in logs.iter_mut().zip(cases) {
        mirror.rewrite(&history("B", disowned));
        becomes(&host, name, |log| log.state() == LogState::Quarantined).await;
    }
    host.stop().await.unwrap();
    let config = text(&host.config);
    for (name, ..) in cases {
        let lift = [
            "aggregator",
            "quarantine",
            "lift",
            name,
            "--reason",
            "a restored disk",
        ];
        let lifted = run(&[&lift[..], &["--config", config]].concat()).await;
        assert_eq!(lifted.code, 0, "{}", unwrapped(&lifted.err));
    }

    let more = |from: u64, count: u64| (from..from + count).map(a_small_entry).collect::<Vec<_>>();
    for ((log, _), (_, _, grown)) in logs.iter_mut().zip(cases) {
        log.append(&more(5, grown));
    }
    host.start().await.unwrap();
    for ((log, mirror), (name, _, grown)) in logs.iter_mut().zip(cases) {
        let is = |entries: u64| {
            move |log: &pb::LogStatus| log.indexed == entries && log.state() == LogState::Live
        };
        becomes(&host, name, is(5 + grown)).await;
        // Shown with other lines below it is the same checkpoint.
        mirror.at.put(
            "checkpoint",
            &with_another_line(&mirror.checkpoint(), mirror),
        );
        looked_at_again(&mirror.at).await;
        log.append(&more(5 + grown, 1));
        let log = becomes(&host, name, is(6 + grown)).await;
        assert_eq!((log.equivocation, log.lifts.len()), (None, 1), "{name}");
    }
    // Of a history that nobody disowned yet the same address is proof again.
    logs[0].1.rewrite(&history("C", 4));
    becomes(&host, "equal", |log| log.state() == LogState::Quarantined).await;
}

#[tokio::test]
async fn lines_that_somebody_adds_below_a_checkpoint_are_told_to_no_peer() {
    let dir = tempfile::tempdir().unwrap();
    let alice = SiteLog::publish("alice", &history("A", 5)).await;
    let with_junk = |note: &[u8]| {
        let note = SignedNote::parse(note).unwrap();
        let junk = (0..60).flat_map(|number| {
            let key = log_key(&format!("junk.example/{number}"));
            let signed = SignedNote::sign(note.text(), &[&key]).unwrap();
            signed.signatures().to_vec()
        });
        let lines = note.signatures().iter().cloned().chain(junk).collect();
        SignedNote::assemble(note.text(), lines).unwrap().to_bytes()
    };
    alice.at.put("checkpoint", &with_junk(&alice.checkpoint()));
    let policy = policy(&alice.line(&[]), "alice");
    let mut host = machine(dir.path(), "user", &policy, "", "");
    host.start().await.unwrap();
    let live = |log: &pb::LogStatus| log.indexed == 5 && log.state() == LogState::Live;
    becomes(&host, "alice", live).await;
    let nine = checkpoint(&alice, 9, leaf_hash(b"nine"));
    let told = Teller::of(&host)
        .tell(&[(&alice, with_junk(&nine))], vec![])
        .await;
    let told: Vec<_> = told.seen.into_iter().map(|one| one.checkpoint).collect();
    assert_eq!(told, [alice.checkpoint(), nine]);
}

/// The most checkpoints that are kept ahead of what is mirrored of a log.
const AHEAD_MAX: u64 = 1_024;

#[tokio::test]
async fn checkpoints_without_end_hide_nothing_that_was_told_before_them_and_are_not_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    let clocks = Clocks::right(dir.path());
    let mut alice = SiteLog::publish("alice", &[]).await;
    let policy = policy(&alice.line(&[]), "alice");
    let mut host = machine_of(&clocks.quorix, dir.path(), "user", &policy, "", "");
    host.start().await.unwrap();
    becomes(&host, "alice", |log| log.state() == LogState::Live).await;
    // Nobody but peers shows anything of it meanwhile.
    alice.at.everything(Answer::Missing);
    // One that is new of a log is taken in a second.
    let (mut second, mut teller) = (0, Teller::of(&host));
    let mut told = async |checkpoint: Vec<u8>| {
        second += 1;
        clocks.time_of_day_is_off_by(second);
        teller.tell(&[(&alice, checkpoint)], vec![]).await.proofs
    };

    assert_eq!(told(of_another_history(&alice, 300)).await, []);
    let last = 300 + AHEAD_MAX;
    let all: Vec<Vec<u8>> = (0..last).map(a_small_entry).collect();
    let mut grown = CompactRange::new();
    for entry in &all {
        grown.push(leaf_hash(entry));
        if grown.size() > 300 {
            let shown = checkpoint(&alice, grown.size(), grown.root());
            assert_eq!(told(shown).await, [], "{}", grown.size());
        }
    }
    // There was no room for the last but one, or another of its size would be proof here and now.
    assert_eq!(told(of_another_history(&alice, last - 1)).await, []);
    let log = log_of(&host, "alice").await.unwrap();
    assert_eq!((log.indexed, log.shown), (0, last));
    // One that is kept is. After so many looks in vain the next one would be long in coming.
    alice.append(&all);
    alice.at.heal();
    clocks.waiting_is_ahead_by(60);
    let log = becomes(&host, "alice", |log| log.state() == LogState::Quarantined).await;
    let first = log.equivocation.unwrap().first_checkpoint;
    assert_eq!(String::from_utf8_lossy(&first).lines().nth(1), Some("300"));
}

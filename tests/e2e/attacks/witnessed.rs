//! What cosignatures show and what they do not: logs without a quorum, by their own operator's witness, with forged,
//! old, or future ones, and entries of a key after it was stolen.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use quorix_testkit::entries::{a_path, a_small_entry, an_attestation};
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};
use quorix_tlog::note::{NoteSignature, SignedNote};
use quorix_trust::decision::{OperatorState, Outcome};
use quorix_wire::pb;
use quorix_wire::pb::LogState;

use super::scene::{Scene, operator};
use super::witnesses::witness_key;
use crate::completing::{decide, hostile};
use crate::following::{FolderLog, becomes};
use crate::world::{run, text, unwrapped};

const HOUR_S: u64 = 3_600;

/// POSIX seconds.
fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn checkpoint_of(log: &FolderLog) -> Checkpoint {
    let note = log.grower.head().checkpoint;
    Checkpoint::parse(SignedNote::parse(&note).unwrap().text()).unwrap()
}

/// Publishes what a log has, with these lines beside its own.
fn publish(log: &FolderLog, lines: Vec<NoteSignature>) {
    let own = SignedNote::parse(&log.grower.head().checkpoint).unwrap();
    let all = own.signatures().iter().cloned().chain(lines).collect();
    let note = SignedNote::assemble(own.text(), all).unwrap();
    log.put("checkpoint.new", &note.to_bytes());
    log.publish_new();
}

/// Publishes what a log has, cosigned by both witnesses at this time.
fn publish_at(log: &FolderLog, at_s: u64) {
    let shown = checkpoint_of(log);
    let by = |name: &str| witness_key(name).cosign(&shown, at_s).unwrap();
    publish(log, vec![by("victor"), by("walter")]);
}

/// Both witnesses; walter is of the operator who has a log here too.
fn witnesses() -> String {
    format!(
        "witness v {} https://v.example\nwitness w {} https://w.example operator=walter\n\
         group both all v w\nquorum both\n",
        witness_key("victor").verifier(),
        witness_key("walter").verifier(),
    )
}

/// One output for each log, which it alone is enough for.
fn alone(names: &[&str], options: &str) -> String {
    let rule = |name: &&str| {
        let path = a_path(name);
        format!(
            "voters only-{name} any {name}\nrule {name} path=/nix/store/{path} quorum=only-{name} level=path {options}\n"
        )
    };
    names.iter().map(rule).collect()
}

fn says(names: &[&'static str]) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let says = |name: &&'static str| (*name, vec![an_attestation().of(name).bytes()]);
    names.iter().map(says).collect()
}

/// What cannot be seen from an aggregator's state, only from what it decides.
async fn refused(scene: &Scene, name: &str, why: &str) {
    let decision = scene.decide(name).await;
    assert_eq!(
        decision.outcome,
        Outcome::Insufficient,
        "{name}: {decision:#?}"
    );
    let one = operator(&decision, name);
    assert_eq!(one.state, OperatorState::Stale, "{name}");
    assert!(one.reason.contains(why), "{name}: {}", one.reason);
}

#[tokio::test]
async fn without_honest_and_fresh_cosignatures_of_others_no_log_of_the_running_program_votes() {
    let names = [
        "honest",
        "none",
        "one",
        "walter",
        "forged",
        "elsewhere",
        "stranger",
        "frozen",
        "future",
    ];
    let says = says(&names);
    let rules = witnesses()
        + &alone(&names, "max-age=1h")
        + "voters anybody any honest\nrule main quorum=anybody level=path\ndefault main\n";
    let scene = Scene::not_followed_yet(&says, &rules);
    let now = now_s();
    for log in &scene.logs {
        let shown = checkpoint_of(log);
        let by = |name: &str, at_s| witness_key(name).cosign(&shown, at_s).unwrap();
        let other = Checkpoint {
            size: shown.size + 1,
            ..shown.clone()
        };
        match log.name.as_str() {
            "none" => publish(log, Vec::new()),
            "one" => publish(log, vec![by("victor", now)]),
            "forged" => publish(log, vec![by("victor", now), flipped(&by("walter", now))]),
            "elsewhere" => publish(
                log,
                vec![
                    by("victor", now),
                    witness_key("walter").cosign(&other, now).unwrap(),
                ],
            ),
            "stranger" => publish(log, vec![by("victor", now), by("xaver", now)]),
            "frozen" => publish_at(log, now - 2 * HOUR_S),
            "future" => publish_at(log, now + HOUR_S),
            _ => publish_at(log, now),
        }
    }
    let scene = scene.started(&says).await;
    let honest = scene.assert("honest", Outcome::Accepted, "honest").await;
    assert!(honest.valid_until_s.unwrap() <= now + HOUR_S + 1);
    for name in ["none", "one", "walter", "forged", "elsewhere", "stranger"] {
        refused(&scene, name, "witness").await;
    }
    refused(&scene, "frozen", "old").await;
    refused(&scene, "future", "ahead").await;

    // The author of the policy is told which log can never have it.
    let checked = run(&["policy", "check", text(&scene.host.policy)]).await;
    let said = unwrapped(&format!("{}{}", checked.out, checked.err));
    assert!(said.contains("walter") && said.contains("never"), "{said}");
}

/// The same line with one bit of its signature changed.
fn flipped(line: &NoteSignature) -> NoteSignature {
    let mut text = line.to_string();
    let last = text.pop().unwrap();
    let mut end = text.pop().unwrap();
    end = if end == 'A' { 'B' } else { 'A' };
    text.push(end);
    text.push(last);
    NoteSignature::parse(&text).unwrap()
}

#[tokio::test]
async fn what_a_stolen_key_signs_after_the_theft_was_noticed_gets_no_vote() {
    let now = now_s();
    let noticed = now - 10 * HOUR_S;
    let says = [("alice", vec![an_attestation().of("before").bytes()])];
    let rules =
        witnesses() + "voters one any alice\nrule main quorum=one level=path\ndefault main\n";
    let mut scene = Scene::not_followed_yet(&says, &rules);
    let policy = fs::read_to_string(&scene.host.policy).unwrap();
    let until = format!("operator=alice until={noticed}\n");
    let policy = policy.replacen("operator=alice\n", &until, 1);
    fs::write(&scene.host.policy, policy).unwrap();
    publish_at(&scene.logs[0], noticed - HOUR_S);
    let mut scene = {
        scene.host.start().await.unwrap();
        scene
    };
    becomes(&scene.host, "alice", |log| {
        log.indexed == 1 && log.state() == LogState::Live
    })
    .await;

    // The thief goes on, and everything is cosigned as it should be.
    let log = scene.log("alice");
    log.grow_unseen(&[an_attestation().of("after").bytes(), a_small_entry(1)]);
    publish_at(log, now);
    becomes(&scene.host, "alice", |log| {
        log.indexed == 3 && log.state() == LogState::Live
    })
    .await;
    assert_eq!(scene.decide("before").await.outcome, Outcome::Accepted);
    let after = scene.decide("after").await;
    assert_eq!(after.outcome, Outcome::Unknown, "{after:#?}");
}

/// Dates the earlier checkpoints of an answer back, by these keys.
fn date_back(answer: &mut pb::GetEvidenceResponse, keys: &[CosignerSigningKey; 2]) {
    for log in &mut answer.logs {
        assert!(!log.earlier.is_empty(), "there is something to date");
        for earlier in &mut log.earlier {
            let note = SignedNote::parse(&earlier.checkpoint).unwrap();
            let shown = Checkpoint::parse(note.text()).unwrap();
            let long_ago = keys
                .each_ref()
                .map(|key| key.cosign(&shown, 1_700_000_000).unwrap());
            let own = note.signatures().first().cloned();
            let all = own.into_iter().chain(long_ago).collect();
            let forged = SignedNote::assemble(note.text(), all).unwrap();
            earlier.checkpoint = forged.to_bytes();
        }
    }
}

/// By somebody who has no witness's key.
fn forges_dates(answer: &mut pb::GetEvidenceResponse) {
    let key = |name: &str| {
        let name = format!("{name}.example/witness").parse().unwrap();
        CosignerSigningKey::from_seed(name, Algorithm::Ed25519, [1; 32])
    };
    date_back(answer, &[key("victor"), key("walter")]);
}

/// By the witnesses themselves, which shows that the dates are what is decided by.
fn has_the_witnesses_keys(answer: &mut pb::GetEvidenceResponse) {
    date_back(answer, &[witness_key("victor"), witness_key("walter")]);
}

#[tokio::test]
async fn an_aggregator_cannot_make_up_since_when_an_entry_is_witnessed() {
    let says = [("alice", vec![an_attestation().bytes()])];
    let rules = witnesses()
        + "voters one any alice\nrule main quorum=one level=path min-observed=1h\ndefault main\n";
    let scene = Scene::not_followed_yet(&says, &rules);
    let now = now_s();
    publish_at(&scene.logs[0], now - HOUR_S / 2);
    let mut scene = scene.started(&says).await;
    let log = scene.log("alice");
    log.grow_unseen(&[a_small_entry(1)]);
    publish_at(log, now);
    becomes(&scene.host, "alice", |log| log.indexed == 2).await;
    assert_eq!(scene.decide("hello").await.outcome, Outcome::Waiting);
    let outcome = async |aggregator: &str| {
        let ran = decide(&scene.host, aggregator, "hello", &[]).await;
        let told = ran.json();
        (ran.code, told["outcome"].as_str().unwrap().to_owned())
    };
    let honest = scene.host.aggregator.to_string();
    let waiting = (1, "waiting".to_owned());
    assert_eq!(outcome(&honest).await, waiting);
    let liar = hostile(&scene.host, forges_dates).await;
    assert_eq!(outcome(&liar).await, waiting);
    let with_keys = hostile(&scene.host, has_the_witnesses_keys).await;
    assert_eq!(outcome(&with_keys).await, (0, "accepted".to_owned()));
}

//! Every process is stopped in good order, and every process is killed: nothing that was acknowledged is lost.

use std::collections::BTreeMap;

use quorix_wire::pb::LogState;
use serde_json::Value;

use crate::stage::{ATTRIBUTES, BUILDERS};
use crate::world::{World, get, run, text};

/// What must be the same afterwards.
#[derive(Debug, PartialEq)]
struct Kept {
    checkpoints: Vec<String>,
    entries: Vec<String>,
    indexed: Vec<(String, u64)>,
    decisions: BTreeMap<&'static str, Value>,
}

impl World {
    async fn kept(&self) -> Kept {
        let (mut checkpoints, mut entries) = (Vec::new(), Vec::new());
        for name in BUILDERS {
            let builder = self
                .builders
                .iter()
                .find(|builder| builder.name == name)
                .unwrap();
            checkpoints.push(self.attested(name, 1).await);
            let (status, bundle) = get(&format!("{}/tile/entries/000.p/5", builder.url())).await;
            assert_eq!(status, 200);
            entries.push(bundle);
        }
        let indexed = self
            .client()
            .logs()
            .await
            .unwrap()
            .into_iter()
            .map(|log| (log.name, log.indexed))
            .collect();
        let mut decisions = BTreeMap::new();
        for attribute in ATTRIBUTES {
            decisions.insert(attribute, self.decide_json(attribute).await.1);
        }
        Kept {
            checkpoints,
            entries,
            indexed,
            decisions,
        }
    }
}

#[tokio::test]
async fn a_restart_of_every_process_loses_nothing() {
    let mut world = World::with_user().await;
    let before = world.kept().await;
    for (cut, how) in [(false, "stopped"), (true, "killed")] {
        match cut {
            false => world.user_mut().stop().await.unwrap(),
            true => world.user_mut().kill().await.unwrap(),
        }
        for builder in &mut world.builders {
            match cut {
                false => builder.stop().await.unwrap(),
                true => builder.kill().await.unwrap(),
            }
        }
        // The user first: its index is there before any log answers, and counts for nothing until one does.
        world.user_mut().start().await.unwrap();
        for log in world.client().logs().await.unwrap() {
            assert_eq!(
                (log.indexed, log.size, log.state()),
                (5, 5, LogState::Stale),
                "{} after it was {how}",
                log.name
            );
        }
        assert!(
            !world.decide("hello").await.is_accepted(),
            "nobody was heard since it was {how}"
        );
        for builder in &mut world.builders {
            builder.start().await.unwrap();
        }
        for name in BUILDERS {
            world.log_becomes(name, LogState::Live).await;
        }
        assert_eq!(world.kept().await, before, "after everything was {how}");
        let ran = world
            .install(&world.nix_client(), &["hello", "manual"])
            .await;
        assert!(ran.is_success, "{}", ran.err);
    }
}

#[tokio::test]
async fn what_a_log_acknowledged_is_there_after_it_was_killed_at_once() {
    let mut world = World::with_silent_builders().await;
    for (number, attribute) in ATTRIBUTES.iter().enumerate() {
        world.builder("alice").start().await.unwrap();
        let answer = world.attest("alice", &[attribute]).await;
        world.builder("alice").kill().await.unwrap();
        assert_eq!(answer.code, 0, "{}", answer.err);
        assert!(
            answer
                .out
                .contains(&format!("is attested as entry {number}, value ")),
            "{}",
            answer.out
        );
    }
    world.builder("alice").start().await.unwrap();
    let answer = world.attest("alice", &ATTRIBUTES).await;
    for number in 0..ATTRIBUTES.len() {
        assert!(
            answer
                .out
                .contains(&format!("was attested before as entry {number}, value ")),
            "{}",
            answer.out
        );
    }
    world.attested("alice", 5).await;
}

/// Nothing was ever sent by itself there, and what the hook could not send at once was lost.
#[tokio::test]
async fn trustix_what_was_noted_while_the_log_was_down_is_attested_when_it_is_back() {
    let mut world = World::with_silent_builders().await;
    world.note_builds("alice");
    let config = world.builder("alice").config.clone();
    let waiting = async || {
        let status = run(&["hook", "status", "--json", "--config", text(&config)]).await;
        assert_eq!(status.code, 0, "{}", status.err);
        status.json()
    };
    assert_eq!(waiting().await["waiting"], 5);
    world.builder("alice").start().await.unwrap();
    world.attested("alice", 5).await;
    let emptied = quorix::demo::client::until("the outbox is empty", async || {
        let status = waiting().await;
        (status["waiting"] == 0).then_some(status)
    });
    let emptied = emptied.await.unwrap();
    assert_eq!(
        (&emptied["rejected"], &emptied["unreadable"]),
        (&Value::Array(Vec::new()), &0.into())
    );

    // Killed before the outbox was emptied or after: the same builds are never attested twice.
    world.builder("alice").kill().await.unwrap();
    world.note_builds("alice");
    world.builder("alice").start().await.unwrap();
    quorix::demo::client::until("the outbox is empty again", async || {
        (waiting().await["waiting"] == 0).then_some(())
    })
    .await
    .unwrap();
    let checkpoint = world.attested("alice", 5).await;
    assert_eq!(checkpoint.lines().nth(1), Some("5"));
}

//! A policy that changes while a user's machine runs.

use std::fs;

use quorix::demo::client::until;

use crate::world::{TWO_OF_THREE, World};

const ALL_THREE: &str = "quorum none\nvoters all-three 3 alice bob carol\n\
    rule main quorum=all-three level=closure\ndefault main\n";

#[tokio::test]
async fn a_changed_policy_is_in_force_without_a_restart_and_a_bad_one_changes_nothing() {
    let world = World::with_user().await;
    let policy = world.user().policy.clone();
    let lines = world.policy_lines();
    world.narinfo_becomes("hello", 200).await;

    fs::write(&policy, format!("{lines}{ALL_THREE}")).unwrap();
    let body = world.narinfo_becomes("hello", 404).await;
    assert!(body.contains("all-three"), "{body}");

    fs::write(&policy, format!("{lines}quorum none\nvoters nobody 2\n")).unwrap();
    let log = world.user().config.with_extension("log");
    let said = until("the bad policy is refused", async || {
        let said = fs::read_to_string(&log).ok()?;
        let line = said.lines().find(|line| line.contains("not taken up"))?;
        Some(line.to_owned())
    })
    .await
    .unwrap();
    assert!(said.contains("what was in use stays"), "{said}");
    let place = "user/policy: policy line 5, column 16: `voters` needs members";
    assert!(said.contains(place), "{said}");
    assert_eq!(world.narinfo("hello").await.0, 404);
    assert_eq!(world.narinfo("manual").await.0, 200);

    // A file that the policy names is a part of it.
    let rules = policy.with_file_name("rules");
    fs::write(&rules, TWO_OF_THREE).unwrap();
    fs::write(&policy, format!("{lines}include rules\n")).unwrap();
    world.narinfo_becomes("hello", 200).await;
    fs::write(&rules, ALL_THREE).unwrap();
    world.narinfo_becomes("hello", 404).await;
}

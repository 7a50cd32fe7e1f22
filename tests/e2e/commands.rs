//! The program's answers: exit codes that scripts can use, and JSON that parses.

use crate::world::{Answer, World, run, text, unwrapped};

#[tokio::test]
async fn decide_exits_with_0_for_accepted_1_for_refused_3_for_not_found_out() {
    let mut world = World::with_user().await;
    let config = world.user().config.clone();
    let decide = async |path: &str| run(&["decide", "--config", text(&config), path]).await;

    let hello = world.absolute("hello");
    let accepted = decide(&hello).await;
    assert_eq!((accepted.code, accepted.err.as_str()), (0, ""));
    assert!(
        unwrapped(&accepted.out).starts_with(&format!(
            "Accepted. alice and bob built the same bytes. carol got something else. {hello} "
        )),
        "{}",
        accepted.out
    );
    for same in [
        world.path("hello").to_string(),
        world.path("hello").hash_part().to_string(),
    ] {
        assert_eq!(decide(&same).await.out, accepted.out, "{same}");
    }
    assert_eq!(decide(&world.absolute("clock")).await.code, 1);
    let unknown = decide("00000000000000000000000000000000").await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.out.contains("Refused: no data."), "{}", unknown.out);

    world.user_mut().stop().await.unwrap();
    let away = decide(&hello).await;
    assert_eq!((away.code, away.out.as_str()), (3, ""));
    assert!(
        away.err
            .contains(&format!("(asked at {})", world.user().aggregator)),
        "{}",
        away.err
    );
}

#[tokio::test]
async fn what_is_printed_as_json_parses_and_says_the_same() {
    let mut world = World::with_user().await;
    let (config, policy) = (world.user().config.clone(), world.user().policy.clone());
    let (config, policy) = (text(&config), text(&policy));
    let hello = world.absolute("hello");

    let (code, decision) = world.decide_json("hello").await;
    assert_eq!(
        (code, &decision["outcome"], &decision["path"]),
        (0, &"accepted".into(), &hello.as_str().into())
    );
    assert_eq!(
        decision["values"][0]["voters"],
        serde_json::json!(["alice", "bob"])
    );
    let letters: Vec<_> = (0..3)
        .map(|operator| &decision["operators"][operator]["letters"][0])
        .collect();
    assert_eq!(letters, ["A", "A", "B"]);
    assert_eq!(
        decision["operators"][0]["sources"][0]["log"],
        "alice.example/log"
    );

    // Verified and decided by the command itself: the same answer.
    let here = run(&[
        "decide", "--json", "--config", config, "--policy", policy, &hello,
    ])
    .await;
    assert_eq!((here.code, here.json()), (0, decision));

    let status = run(&["log", "status", "--json", "--config", config]).await;
    assert_eq!(
        (status.code, status.json()["logs"].as_array().unwrap().len()),
        (0, 3)
    );
    assert_eq!(status.json()["logs"][0]["indexed"], 5);
    let alice = world.builder("alice").config.clone();
    let own = run(&["log", "status", "--json", "--config", text(&alice)]).await;
    assert_eq!(
        (&own.json()["origin"], &own.json()["size"]),
        (&"alice.example/log".into(), &5.into())
    );

    let checked = run(&["policy", "check", "--json", policy]).await;
    assert_eq!(
        (checked.code, &checked.json()["default"]),
        (0, &"main".into())
    );
    assert_eq!(
        checked.json()["operators"],
        serde_json::json!(["alice", "bob", "carol"])
    );
    let noted = run(&["hook", "status", "--json", "--config", text(&alice)]).await;
    assert_eq!(noted.json()["waiting"], 0);
    let attested = run(&["attest", "--json", "--config", text(&alice), &hello]).await;
    assert_eq!(
        (attested.code, &attested.json()["path"]),
        (0, &hello.as_str().into())
    );
}

/// There was no command for it, and queries took keys in hexadecimal only.
#[tokio::test]
async fn trustix_what_is_asked_for_is_a_store_path_and_anything_else_is_named() {
    let Answer { code, out, err } =
        run(&["decide", "--aggregator", "127.0.0.1:1", "/nix/store/hello"]).await;
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(
        err,
        "error: `/nix/store/hello` is not a store path\n  \
         write it whole (/nix/store/HASH-NAME), its base name, or its 32-character hash\n"
    );
}

//! Policies before they are in force, exemptions, and receipts, by the program's own commands.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::world::{Answer, TWO_OF_THREE, World, run, text, unwrapped};

const NOTHING: &str = "quorum none\nrule main mode=deny\ndefault main\n";
const ALL_THREE: &str = "quorum none\nvoters all-three 3 alice bob carol\n\
    rule main quorum=all-three level=closure\ndefault main\n";

#[tokio::test]
async fn a_receipt_holds_offline_and_not_with_another_decision_or_policy() {
    let mut world = World::with_user().await;
    let config = world.user().config.clone();
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy");
    fs::write(&policy, format!("{}{TWO_OF_THREE}", world.policy_lines())).unwrap();
    let receipt = async |name: &str| {
        let file = dir.path().join(name);
        let (config, policy, path) = (text(&config), text(&policy), world.absolute(name));
        let answer = run(&[
            "decide",
            "--config",
            config,
            "--policy",
            policy,
            "--receipt",
            text(&file),
            &path,
        ])
        .await;
        (file, answer)
    };
    let (manual, accepted) = receipt("manual").await;
    let (clock, refused) = receipt("clock").await;
    assert_eq!((accepted.code, refused.code), (0, 1), "{}", accepted.out);
    let (_, again) = receipt("manual").await;
    assert_eq!(again.code, 2);
    assert!(again.err.contains("was not written"), "{}", again.err);

    world.user_mut().stop().await.unwrap();
    let verify = async |file: &Path, policy: &Path| {
        run(&["verify", "receipt", text(file), "--policy", text(policy)]).await
    };
    let holds = verify(&manual, &policy).await;
    assert_eq!(holds.code, 0, "{}", holds.err);
    assert!(
        holds.out.starts_with("The receipt holds: of 20"),
        "{}",
        holds.out
    );
    assert!(holds.out.contains("Accepted."), "{}", holds.out);
    assert_names_what_is_its_makers_word(&manual, &policy, &holds).await;

    let refusal = verify(&clock, &policy).await;
    assert_eq!(refusal.code, 1);
    assert!(
        refusal.out.starts_with("The receipt holds:"),
        "{}",
        refusal.out
    );

    // Nobody checked a policy that a receipt brings along, nor the time that it gives itself.
    let unchecked = run(&["verify", "receipt", text(&manual)]).await;
    assert!(
        unwrapped(&unchecked.out).contains("under its own policy, which nobody checked"),
        "{}",
        unchecked.out
    );
    let said = fs::read_to_string(&manual).unwrap();
    let time = said.lines().find(|line| line.starts_with("time "));
    let later = dir.path().join("later");
    fs::write(&later, said.replace(time.unwrap(), "time 9999999999")).unwrap();
    let later = verify(&later, &policy).await;
    assert_eq!(later.code, 1, "{}", later.out);
    assert!(
        later.err.contains("which has not come yet"),
        "{}",
        later.err
    );

    let line = |file: &Path| {
        let said = fs::read_to_string(file).unwrap();
        let decision = said.lines().find(|line| line.starts_with("decision "));
        (decision.unwrap().to_owned(), said)
    };
    let ((accepted, _), (refused, said)) = (line(&manual), line(&clock));
    let forged = dir.path().join("forged");
    fs::write(&forged, said.replace(&refused, &accepted)).unwrap();
    let forged = verify(&forged, &policy).await;
    assert_eq!(forged.code, 1);
    assert!(
        forged.out.starts_with("The receipt does not hold:"),
        "{}",
        forged.out
    );

    let other = dir.path().join("other");
    fs::write(&other, format!("{}{ALL_THREE}", world.policy_lines())).unwrap();
    let other = verify(&manual, &other).await;
    assert_eq!(other.code, 1);
    assert!(
        other.err.contains("it is under another policy than"),
        "{}",
        other.err
    );
}

/// What the path refers to is named after its content, which was fetched for the receipt and is not for its reader.
async fn assert_names_what_is_its_makers_word(receipt: &Path, policy: &Path, holds: &Answer) {
    let content =
        "Named after their content, which was fetched by who made the receipt and not here.";
    assert!(holds.out.contains(content), "{}", holds.out);
    let as_json = run(&["verify", "receipt", text(receipt), "--json"]).await;
    let as_json: serde_json::Value = serde_json::from_str(&as_json.out).unwrap();
    let notes = &as_json["contents"][0];
    assert!(
        notes["path"].as_str().unwrap().ends_with("-notes.txt"),
        "{notes}"
    );
    assert_eq!(notes["nar_hash_follows_from_name"], false, "it is a text");
    let said = fs::read_to_string(receipt).unwrap();
    let without: String = said
        .lines()
        .filter(|line| !line.starts_with("content "))
        .fold(String::new(), |text, line| text + line + "\n");
    let bare = receipt.with_extension("bare");
    fs::write(&bare, without).unwrap();
    let bare = run(&["verify", "receipt", text(&bare), "--policy", text(policy)]).await;
    assert_eq!(bare.code, 1);
    assert!(
        bare.out.starts_with("The receipt does not hold:"),
        "{}",
        bare.out
    );
}

#[tokio::test]
async fn what_another_policy_would_change_is_told_before_it_is_in_force() {
    let world = World::with_user().await;
    let config = world.user().config.clone();
    let dir = tempfile::tempdir().unwrap();
    let try_on = async |name: &str, rules: &str| {
        let file = dir.path().join("policy");
        fs::write(&file, format!("{}{rules}", world.policy_lines())).unwrap();
        let path = world.absolute(name);
        run(&[
            "policy",
            "try",
            "--config",
            text(&config),
            text(&file),
            "--closure",
            &path,
        ])
        .await
    };
    let same = try_on("clock", TWO_OF_THREE).await;
    assert_eq!(same.code, 0, "{}{}", same.out, same.err);
    assert_eq!(
        same.out,
        "0 of 1 path would be accepted. 0 answers would change; nothing that is accepted now would be lost.\n"
    );
    let everything = run(&[
        "policy",
        "try",
        "--config",
        text(&config),
        text(&dir.path().join("policy")),
        "--all",
        "--json",
    ])
    .await;
    assert_eq!(everything.code, 0, "{}{}", everything.out, everything.err);
    let told: serde_json::Value = serde_json::from_str(&everything.out).unwrap();
    let found = run(&["aggregator", "find", "--config", text(&config), "--all"]).await;
    assert_eq!(found.code, 0, "{}", found.err);
    assert_eq!(told["paths"], found.out.lines().count());
    assert_eq!((&told["lost"], &told["untried"]), (&0.into(), &json!([])));
    let clock = format!("disagree    {}", world.absolute("clock"));
    assert!(found.out.lines().any(|line| line == clock), "{}", found.out);

    let stricter = try_on("manual", NOTHING).await;
    assert_eq!(stricter.code, 1, "{}", stricter.err);
    let now = format!(
        "{}\n  now:  Accepted. alice, bob and carol built the same bytes.",
        world.absolute("manual")
    );
    assert!(stricter.out.contains(&now), "{}", stricter.out);
    assert!(
        stricter.out.contains("\n  then: Refused:"),
        "{}",
        stricter.out
    );
}

async fn init(whom: &str, lines: &[&str]) -> Answer {
    run(&[&["policy", "init", "--for", whom], lines].concat()).await
}

#[tokio::test]
async fn a_first_policy_is_good_or_says_what_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let key = async |kind: &str, name: &str| {
        let file = dir.path().join(kind);
        let made = run(&[
            "key",
            "generate",
            "--kind",
            kind,
            "--name",
            name,
            text(&file),
        ])
        .await;
        made.out.trim().to_owned()
    };
    let (log, nix) = (key("log", "a.example/log").await, key("nix", "c-1").await);
    let builder = format!("alice {log} https://a.example operator=alice");
    let cache = format!("main {nix} https://c.example operator=example");

    let single = init("single", &["--builder", &builder, "--cache", &cache]).await;
    assert_eq!(single.code, 0, "{}", single.err);
    let file = dir.path().join("policy");
    fs::write(&file, &single.out).unwrap();
    let checked = run(&["policy", "check", text(&file)]).await;
    assert_eq!(checked.code, 0, "{}", checked.err);
    assert!(
        checked.out.contains("\n  rule       main\n"),
        "{}",
        checked.out
    );

    let same = cache.replace("operator=example", "operator=alice");
    for (whom, lines, message) in [
        (
            "single",
            vec!["--builder", &*builder],
            "this policy needs the cache of today: give --cache LINE",
        ),
        (
            "single",
            vec!["--cache", &*cache],
            "this policy needs an independent builder: give --builder LINE",
        ),
        (
            "organisation",
            vec![],
            "this policy needs its builders: give --builder LINE for each",
        ),
        (
            "audit",
            vec![],
            "this policy needs somebody to ask: give --builder LINE or --cache LINE",
        ),
        (
            "single",
            vec!["--builder", &builder, "--cache", &same],
            "who is there already\n  one operator has one vote",
        ),
        (
            "audit",
            vec!["--cache", "main"],
            "`main` has no `operator=`\n  say whose vote it is",
        ),
    ] {
        let answer = init(whom, &lines).await;
        assert_eq!((answer.code, answer.out.as_str()), (2, ""));
        assert!(answer.err.contains(message), "{}", answer.err);
    }
}

#[tokio::test]
async fn exemptions_have_a_reason_and_an_end_and_are_signed() {
    const CLOCK: &str = "7zp536w3mg3f0hldfwhq7yh197vy1fs1-clock-0.9";
    const HELLO: &str = "qvzbpnllxraamdsh8qmz8rsp7xrsnj9q-hello-2.12";
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let key = async |name: &str| {
        let made = run(&[
            "key",
            "generate",
            "--kind",
            "log",
            "--name",
            name,
            text(&file(name)),
        ])
        .await;
        made.out.trim().to_owned()
    };
    let (own, other) = (key("own").await, key("other").await);
    let set = file("odd.set");
    let add = async |key: &str, until: &str, reason: &str, path: &str| {
        let (key, set) = (file(key), text(&set));
        run(&[
            "policy",
            "exempt",
            "add",
            "--key",
            text(&key),
            "--until",
            until,
            "--reason",
            reason,
            set,
            path,
        ])
        .await
    };
    let added = add(
        "own",
        "9999-03-01",
        "embeds a date",
        &format!("/nix/store/{CLOCK}"),
    )
    .await;
    let expected = format!("1 path in {}, signed by {own}.\n", set.display());
    assert_eq!((added.code, added.out), (0, expected), "{}", added.err);
    assert_eq!(add("own", "2001-03-01", "old", HELLO).await.code, 0);

    for (key, until, reason, path, message) in [
        (
            "own",
            "tomorrow",
            "x",
            HELLO,
            "`tomorrow` is not a date\n  write 2027-03-01, or `never`",
        ),
        (
            "own",
            "never",
            " ",
            HELLO,
            "--reason is empty, or more than one line\n  say in one line why this path is exempt",
        ),
        (
            "own",
            "never",
            "x",
            "hello",
            "`hello` is not a store path: ",
        ),
        (
            "other",
            "never",
            "x",
            HELLO,
            "cannot be used: it is not signed by other+",
        ),
    ] {
        let answer = add(key, until, reason, path).await;
        assert_eq!((answer.code, answer.out.as_str()), (2, ""));
        assert!(answer.err.contains(message), "{}", answer.err);
    }

    let list =
        async |vkey: &str| run(&["policy", "exempt", "list", "--vkey", vkey, text(&set)]).await;
    let listed = list(&own).await;
    let expected = format!(
        "{CLOCK}\n  until 9999-03-01T00:00:00Z: embeds a date\n{HELLO}\n  ended 2001-03-01T00:00:00Z: old\n2 paths; 1 has ended.\n"
    );
    assert_eq!((listed.code, listed.out), (1, expected));
    assert_eq!(list(&other).await.code, 2);
    let pruned = run(&[
        "policy",
        "exempt",
        "prune",
        "--key",
        text(&file("own")),
        text(&set),
    ])
    .await;
    assert_eq!(pruned.code, 0, "{}", pruned.err);
    assert_eq!(list(&own).await.code, 0);
}

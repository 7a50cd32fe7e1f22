//! What is installed, in the database of the real Nix, beside what builders say of it; and signatures of a cache taken
//! in bulk.

use std::fs;
use std::path::Path;

use quorix::demo::client::until;
use quorix_nix::signature::SecretKey;
use serde_json::Value;

use crate::world::{Answer, World, run, text};

impl World {
    /// `quorix audit` with the user's configuration.
    async fn audit(&self, what: &[&str], store: &Path, how: &[&str]) -> Answer {
        let mut arguments = vec!["audit"];
        arguments.extend(what);
        arguments.extend([
            "--store",
            text(store),
            "--config",
            text(&self.user().config),
        ]);
        arguments.extend(how);
        run(&arguments).await
    }
}

/// The states that some path has, with how many have it.
fn counts(audit: &Value) -> Vec<(&str, u64)> {
    let all = audit["summary"].as_object().unwrap().iter();
    let mut counts: Vec<_> = all
        .map(|(state, count)| (state.as_str(), count.as_u64().unwrap()))
        .filter(|(_, count)| *count > 0)
        .collect();
    counts.sort_unstable();
    counts
}

fn state<'a>(audit: &'a Value, path: &str) -> &'a str {
    let paths = audit["paths"].as_array().unwrap();
    let one = paths.iter().find(|one| one["path"] == path);
    one.unwrap_or_else(|| panic!("{path} in {audit}"))["state"]
        .as_str()
        .unwrap()
}

#[tokio::test]
async fn what_was_installed_through_the_resolver_passes_the_audit_of_its_system() {
    let world = World::with_user().await;
    let client = world.nix_client();
    let nothing = world.audit(&["system"], &client.store, &[]).await;
    assert_eq!(nothing.code, 2, "{}{}", nothing.out, nothing.err);

    let ran = world.install(&client, &["hello", "manual"]).await;
    assert!(ran.is_success, "{}", ran.err);
    let profile = client.store.join("nix/var/nix/profiles/default");
    let hello = world.absolute("hello");
    let set = client
        .run("nix-env", ["--profile", text(&profile), "--set", &hello])
        .await;
    assert!(set.is_success, "{}", set.err);

    let system = world.audit(&["system"], &client.store, &["--json"]).await;
    assert_eq!(system.code, 0, "{}{}", system.out, system.err);
    let system = system.json();
    // hello and greeting; busybox is named after its content.
    assert_eq!(counts(&system), [("accepted", 2), ("self-verifying", 1)]);
    assert_eq!(
        (&system["ok"], &system["offline"]),
        (&true.into(), &false.into())
    );
    assert_eq!(state(&system, &hello), "accepted");

    let all = world.audit(&["system", "--all"], &client.store, &[]).await;
    assert_eq!(all.code, 0, "{}{}", all.out, all.err);
    assert!(
        all.out
            .starts_with("All is well: 5 paths, all accepted or self-verifying.\n"),
        "{}",
        all.out
    );
}

#[tokio::test]
async fn an_audit_names_other_bytes_disagreement_and_what_blocks() {
    let world = World::with_user().await;
    let paths = ["hello", "alarm", "manual"].map(|attribute| world.absolute(attribute));
    let what: Vec<&str> = std::iter::once("path")
        .chain(paths.iter().map(String::as_str))
        .collect();
    let carol = world.stage.store("carol");

    let audit = world.audit(&what, &carol, &["--json"]).await;
    assert_eq!(audit.code, 1, "{}{}", audit.out, audit.err);
    let audit = audit.json();
    for (attribute, expected) in [
        ("hello", "other-bytes"),
        ("greeting", "accepted"),
        ("manual", "accepted"),
        ("clock", "disagree"),
        ("alarm", "blocked"),
    ] {
        assert_eq!(
            state(&audit, &world.absolute(attribute)),
            expected,
            "{attribute}"
        );
    }
    let here = world.audit(&what, &carol, &[]).await;
    assert!(
        here.out.contains(
            "Other bytes here. alice and bob built the same bytes, and this store has others."
        ),
        "{}",
        here.out
    );

    let tolerant = [
        "--tolerate",
        "other-bytes",
        "--tolerate",
        "disagree",
        "--tolerate",
        "blocked",
    ];
    let tolerated = world.audit(&what, &carol, &tolerant).await;
    assert_eq!(tolerated.code, 0, "{}{}", tolerated.out, tolerated.err);

    let missing = world
        .audit(
            &["path", "/nix/store/00000000000000000000000000000000-x"],
            &carol,
            &[],
        )
        .await;
    assert_eq!(missing.code, 2);
    assert!(
        missing.err.contains("is not in the store"),
        "{}",
        missing.err
    );
}

#[tokio::test]
async fn a_content_addressed_path_whose_file_was_altered_in_the_store_is_named_by_an_audit() {
    let world = World::with_user().await;
    let client = world.nix_client();
    let ran = world.install(&client, &["manual"]).await;
    assert!(ran.is_success, "{}", ran.err);
    let manual = world.absolute("manual");
    let audit = async || {
        world
            .audit(&["path", &manual], &client.store, &["--json"])
            .await
    };
    let whole = audit().await;
    assert_eq!(whole.code, 0, "{}{}", whole.out, whole.err);
    let whole = whole.json();
    let mut paths = whole["paths"].as_array().unwrap().iter();
    let notes = paths.find(|one| one["state"] == "self-verifying").unwrap();
    let notes = notes["path"].as_str().unwrap();
    assert!(notes.ends_with("-notes.txt"), "{notes}");

    let file = client.store.join(notes.trim_start_matches('/'));
    let other = "A file that is named after its content needs ONE vote.\n";
    client.nix.alter(&file, other).await.unwrap();
    let altered = audit().await;
    assert_eq!(altered.code, 1, "{}{}", altered.out, altered.err);
    let altered = altered.json();
    assert_eq!(state(&altered, notes), "other-bytes", "{altered}");
    assert_eq!(altered["ok"], false);
}

#[tokio::test]
async fn what_was_taken_back_is_revoked_and_an_audit_without_a_network_says_the_same() {
    let mut world = World::with_user().await;
    let manual = world.absolute("manual");
    for builder in &world.builders {
        let config = text(&builder.config);
        let reason = ["--reason", "bad memory", "--yes"];
        let mut arguments = vec!["log", "retract", &manual, "--config", config];
        arguments.extend(reason);
        let retracted = run(&arguments).await;
        assert_eq!(retracted.code, 0, "{}{}", retracted.out, retracted.err);
    }
    world.followed(6).await;
    let store = world.stage.store("alice");
    let what = ["path", manual.as_str()];
    let online = world.audit(&what, &store, &["--json"]).await;
    assert_eq!(online.code, 1, "{}{}", online.out, online.err);
    let online = online.json();
    assert_eq!(counts(&online), [("revoked", 1), ("self-verifying", 1)]);

    // While the aggregator runs, and when nothing does.
    let running = world.audit(&what, &store, &["--json", "--offline"]).await;
    assert_eq!(running.json()["summary"], online["summary"]);
    world.user_mut().stop().await.unwrap();
    for name in ["alice", "bob", "carol"] {
        world.builder(name).stop().await.unwrap();
    }
    let offline = world.audit(&what, &store, &["--json", "--offline"]).await;
    assert_eq!(offline.code, 1, "{}", offline.err);
    assert_eq!(offline.json()["summary"], online["summary"]);
    let asked = world.audit(&what, &store, &[]).await;
    assert_eq!((asked.code, asked.out.as_str()), (3, ""), "{}", asked.err);
    let told = world.audit(&what, &store, &["--offline"]).await;
    assert!(
        told.out.ends_with("Offline: what logs and caches said after they were mirrored is not known here, a withdrawal neither.\n"),
        "{}",
        told.out
    );
}

#[tokio::test]
async fn signatures_of_a_cache_are_imported_in_bulk_and_vote() {
    let mut world = World::with_builders().await;
    let key = SecretKey::from_seed("cache.example.org-1".parse().unwrap(), [1; 32]);
    let (file, cache) = (world.dir.join("cache.key"), world.dir.join("signed-cache"));
    fs::write(&file, key.to_text()).unwrap();
    let settings = format!("compression=none&secret-key={}", file.display());
    let paths = ["hello", "manual"].map(|attribute| world.path(attribute));
    world
        .nix_client()
        .nix
        .export(&world.stage.store("bob"), paths.iter(), &cache, &settings)
        .await
        .unwrap();
    let dump = world.dir.join("dump.narinfos");
    let mut text_of_dump = String::new();
    for entry in fs::read_dir(&cache).unwrap().map(Result::unwrap) {
        if entry
            .path()
            .extension()
            .is_some_and(|kind| kind == "narinfo")
        {
            text_of_dump += &fs::read_to_string(entry.path()).unwrap();
        }
    }
    let narinfos = text_of_dump.matches("StorePath: ").count() as u64;
    text_of_dump += "\nnot a narinfo\n";
    fs::write(&dump, text_of_dump).unwrap();

    // The cache of the policy is never reached: nobody listens there.
    let line = format!(
        "cache main {} http://127.0.0.1:1 operator=example\n",
        key.public_key()
    );
    let rules = "quorum none\nvoters both all alice example\nrule main quorum=both level=path\ndefault main\n";
    let policy = world.builders[0].policy_line() + &line + rules;
    world.add_user(&policy, &[]).await;
    let config = world.user().config.clone();
    let import = async |how: &[&str]| {
        let mut arguments = vec![
            "aggregator",
            "import-observations",
            "--config",
            text(&config),
        ];
        arguments.extend(how);
        run(&arguments).await
    };
    let running = import(&[text(&dump)]).await;
    assert_eq!(running.code, 2);
    assert!(
        running.err.contains("the aggregator is running"),
        "{}",
        running.err
    );

    world.user_mut().stop().await.unwrap();
    let noted = world.dir.join("import.state");
    for _ in 0..2 {
        let imported = import(&[text(&dump), "--json", "--resume", text(&noted)]).await;
        assert_eq!(imported.code, 0, "{}{}", imported.out, imported.err);
        let total = imported.json()["total"].clone();
        assert_eq!(
            (&total["kept"], &total["malformed"]),
            (&narinfos.into(), &1.into())
        );
    }
    let list = world.dir.join("paths");
    fs::write(
        &list,
        (0..20)
            .map(|_| world.absolute("hello") + "\n")
            .collect::<String>(),
    )
    .unwrap();
    let dead = import(&["--paths", text(&list)]).await;
    assert_eq!(dead.code, 3, "{}{}", dead.out, dead.err);
    assert!(
        dead.out.contains("main did not answer 8 times in a row"),
        "{}",
        dead.out
    );

    world.user_mut().start().await.unwrap();
    world.followed(5).await;
    until("alice and the cache agree on hello", async || {
        world.decide("hello").await.is_accepted().then_some(())
    })
    .await
    .unwrap();
    let decision = world.decide("hello").await;
    assert_eq!(
        decision.sentence,
        "Accepted. alice and example built the same bytes."
    );
}

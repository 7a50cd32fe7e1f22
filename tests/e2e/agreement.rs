//! What is served and what is not when every host runs: agreement, a lie, and builds that come out differently.

use quorix_nix::narinfo::NarInfo;
use quorix_nix::signature::{PublicKey, Signature};
use quorix_nix::store_path::StoreDir;
use quorix_trust::decision::Outcome;

use crate::stage::{BUILDERS, LIE};
use crate::world::{World, unwrapped};

#[tokio::test]
async fn agreed_paths_are_installed_with_the_signatures_of_resolver_and_agreeing_builders() {
    let world = World::with_user().await;
    let client = world.nix_client();

    let ran = world.install(&client, &["hello", "manual"]).await;
    assert!(ran.is_success, "{}", ran.err);
    let (greeting, hello, manual) = (
        world.path("greeting"),
        world.path("hello"),
        world.path("manual"),
    );
    assert_eq!(client.read(&greeting, "greeting"), "Hello, world\n");
    assert!(
        client
            .read(&hello, "bin/hello")
            .ends_with("\necho 'Hello, world'\n")
    );
    assert_eq!(client.read(&manual, "manual"), "See notes.\n");

    // Carol agrees on greeting; her hello is another.
    let keys = |names: &[&str]| -> Vec<PublicKey> {
        let own = world
            .builders
            .iter()
            .filter(|builder| names.contains(&builder.name.as_str()));
        std::iter::once(world.user().key.clone())
            .chain(own.map(|builder| builder.nix_key.public_key()))
            .collect()
    };
    for (attribute, signers) in [
        ("greeting", keys(&["alice", "bob", "carol"])),
        ("hello", keys(&["alice", "bob"])),
    ] {
        let (status, text) = world.narinfo(attribute).await;
        assert_eq!(status, 200, "{text}");
        let narinfo = NarInfo::parse(&text, &StoreDir::default()).unwrap();
        assert_verified_by(&narinfo, &narinfo.signatures, &signers);

        let path = world.absolute(attribute);
        let known = client.run("nix", ["path-info", "--json", &path]).await;
        assert!(known.is_success, "{}", known.err);
        let known: serde_json::Value = serde_json::from_str(&known.out).unwrap();
        let stored = known[0]["signatures"].as_array().unwrap();
        let stored: Vec<Signature> = stored
            .iter()
            .map(|one| one.as_str().unwrap().parse().unwrap())
            .collect();
        assert_verified_by(&narinfo, &stored, &signers);

        let trusted: Vec<String> = signers.iter().map(ToString::to_string).collect();
        let verify = async |needed: usize| {
            let (needed, trusted) = (needed.to_string(), trusted.join(" "));
            let arguments = [
                "store",
                "verify",
                "--sigs-needed",
                &needed,
                "--trusted-public-keys",
                &trusted,
                &path,
            ];
            client.run("nix", arguments).await
        };
        let enough = verify(signers.len()).await;
        assert!(
            enough.is_success,
            "Nix counts {} signatures: {}",
            signers.len(),
            enough.err
        );
        assert!(
            !verify(signers.len() + 1).await.is_success,
            "and not one more"
        );
    }
}

/// The signatures are those of exactly these keys, over what the narinfo says.
fn assert_verified_by(narinfo: &NarInfo, signatures: &[Signature], keys: &[PublicKey]) {
    let facts = narinfo.fingerprint(&StoreDir::default());
    assert_eq!(signatures.len(), keys.len());
    for key in keys {
        let own = signatures
            .iter()
            .find(|signature| signature.key_name() == key.name())
            .unwrap();
        assert_eq!(key.verify(&facts, own), Ok(()));
    }
}

#[tokio::test]
async fn two_honest_builders_win_over_a_tampered_one_which_is_named() {
    let world = World::with_user().await;
    let decision = world.decide("hello").await;
    assert_eq!(decision.outcome, Outcome::Accepted);
    assert_eq!(
        decision.sentence,
        "Accepted. alice and bob built the same bytes. carol got something else."
    );

    let built = BUILDERS.map(|name| {
        let store = world.stage.store(name).join("nix/store");
        std::fs::read_to_string(store.join(world.path("hello").as_str()).join("bin/hello")).unwrap()
    });
    assert!(built[2].contains(LIE.trim_end()), "carol was lied to");
    assert_eq!(built[0], built[1]);
    let accepted = decision.accepted_facts().unwrap();
    let (_, narinfo) = world.narinfo("hello").await;
    assert!(
        narinfo.contains(&format!("\nNarHash: {}\n", accepted.nar_hash)),
        "{narinfo}"
    );
}

/// A tie was a coin toss there.
#[tokio::test]
async fn trustix_three_different_answers_are_a_conflict_and_nobody_wins() {
    let world = World::with_user().await;
    let sentence = "Refused: builders disagree. alice, bob and carol each got something different. \
        Nobody's bytes are served; Nix will build it here.";
    let decision = world.decide("clock").await;
    assert_eq!(
        (decision.outcome, decision.sentence.as_str()),
        (Outcome::Conflict, sentence)
    );
    let (status, body) = world.narinfo("clock").await;
    assert_eq!(status, 404);
    assert!(unwrapped(&body).starts_with(sentence), "{body}");

    let alarm = world.decide("alarm").await;
    assert_eq!(
        (alarm.outcome, alarm.blocked_by),
        (Outcome::BlockedBy, Some(world.path("clock")))
    );
    let (status, body) = world.narinfo("alarm").await;
    assert_eq!(status, 404);
    assert!(
        unwrapped(&body)
            .starts_with("Refused: blocked. alice, bob and carol built the same bytes, but"),
        "{body}"
    );

    let client = world.nix_client();
    for attribute in ["clock", "alarm"] {
        assert!(!world.install(&client, &[attribute]).await.is_success);
        assert!(!client.has(&world.path(attribute)).await);
    }
    let (url, key) = (world.user().substituter(), world.user().key.to_string());
    let packages = client.nix.packages();
    let packages = packages.to_str().unwrap();
    let here = [
        "-A",
        "alarm",
        "--no-out-link",
        "--substituters",
        &url,
        "--trusted-public-keys",
        &key,
        packages,
    ];
    let built = client.run("nix-build", here).await;
    assert!(
        built.is_success,
        "Nix builds here what nobody agrees on: {}",
        built.err
    );
    assert!(client.has(&world.path("clock")).await);
}

//! Sources of bytes that point elsewhere, and dumps and caches of signatures that are forged, slow or dead.

use std::fs;

use quorix::demo::client::until;
use quorix::demo::world::UserHost;
use quorix_nix::hash::NarHash;
use quorix_nix::signature::SecretKey;
use quorix_nix::store_path::StoreDir;
use quorix_testkit::entries::{Attestation, a_path, an_attestation, bytes_of, nix_key};
use quorix_trust::attestation::Entry;
use quorix_wire::pb::LogState;

use super::site::{Answer, Site, narinfo};
use crate::following::{FolderLog, becomes, client_of, machine, policy};
use crate::stage::quorix;
use crate::world::{get, run, text};

/// The NAR of a file with this text.
fn nar(contents: &str) -> Vec<u8> {
    let mut nar = Vec::new();
    for word in [
        "nix-archive-1",
        "(",
        "type",
        "regular",
        "contents",
        contents,
        ")",
    ] {
        nar.extend_from_slice(&u64::try_from(word.len()).unwrap().to_le_bytes());
        nar.extend_from_slice(word.as_bytes());
        nar.resize(nar.len().next_multiple_of(8), 0);
    }
    nar
}

#[tokio::test]
async fn a_narinfo_that_leads_out_of_its_source_is_followed_nowhere_and_the_next_source_serves() {
    let dir = tempfile::tempdir().unwrap();
    let nar = nar("hello\n");
    let mut facts = an_attestation().facts();
    facts.nar_hash = NarHash::of(&nar);
    facts.nar_size = u64::try_from(nar.len()).unwrap();
    let mut build = an_attestation().build();
    build.claim.nar_hash = facts.nar_hash;
    build.claim.nar_size = facts.nar_size;
    build.claim.fingerprint = facts.digest();
    let entry = bytes_of(&Entry::Build(Box::new(build)));
    let log = FolderLog::publish(dir.path().join("a"), "alice", &[entry]);

    let (hostile, elsewhere, honest) = (
        Site::start().await,
        Site::start().await,
        Site::start().await,
    );
    elsewhere.put("x.nar", &nar);
    let file = format!("{}.narinfo", facts.path.hash_part());
    honest.put(&file, narinfo(&facts, "nar/x.nar", Vec::new()).as_bytes());
    honest.put("nar/x.nar", &nar);
    for (number, url) in [
        format!("{}/x.nar", elsewhere.url),
        format!("//{}/x.nar", elsewhere.url.trim_start_matches("http://")),
        "../x.nar".to_owned(),
        "/etc/passwd".to_owned(),
        "nar/../../x".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        hostile.put(&file, narinfo(&facts, &url, Vec::new()).as_bytes());
        for (sources, serves) in [(vec![&hostile], false), (vec![&hostile, &honest], true)] {
            let urls: Vec<String> = sources.iter().map(|site| site.url.clone()).collect();
            let name = format!("user-{number}-{serves}");
            let lines = policy(&log.line(), "alice");
            let mut user = UserHost::create(dir.path(), &name, &quorix(), &lines, &urls).unwrap();
            user.start().await.unwrap();
            becomes(&user, "alice", |log| {
                log.indexed == 1 && log.state() == LogState::Live
            })
            .await;
            let ours = until("the resolver decides", async || {
                let (status, ours) = get(&format!("{}/{file}", user.substituter())).await;
                (status == 200).then_some(ours)
            })
            .await
            .unwrap();
            assert!(
                !ours.contains("passwd") && !ours.contains(&elsewhere.url),
                "{ours}"
            );
            let ours = ours
                .lines()
                .find_map(|line| line.strip_prefix("URL: "))
                .unwrap();
            let (status, bytes) = get(&format!("{}/{ours}", user.substituter())).await;
            assert_eq!(status == 200, serves, "{url}: {status} {bytes}");
            if serves {
                assert_eq!(bytes.as_bytes(), nar, "{url}");
            }
        }
    }
    assert_eq!(elsewhere.asked(), Vec::<String>::new());
    assert!(
        hostile.asked().iter().all(|path| *path == file),
        "{:?}",
        hostile.asked()
    );
}

fn signed(name: &str, by: &SecretKey) -> String {
    let facts = an_attestation().of(name).facts();
    narinfo(&facts, "nar/x.nar", vec![by.sign(&facts)])
}

async fn import(config: &std::path::Path, how: &[&str]) -> crate::world::Answer {
    let config = ["--config", text(config)];
    run(&[&["aggregator", "import-observations"], how, &config].concat()).await
}

#[tokio::test]
async fn forged_signatures_in_a_dump_and_dead_or_silent_caches_bring_no_vote_and_delay_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (key, silent_key) = (nix_key("cache-1"), nix_key("silent-1"));
    let (good, silent) = (Site::start().await, Site::start().await);
    silent.everything(Answer::Endless);
    let log = FolderLog::publish(dir.path().join("a"), "alice", &[an_attestation().bytes()]);
    let lines = format!(
        "{}cache main {} {} operator=example\ncache silent {} {} operator=silent\n\
         cache dead {} http://127.0.0.1:1 operator=dead\nquorum none\nvoters one any example\n\
         rule main quorum=one level=path\ndefault main\n",
        log.line(),
        key.public_key(),
        good.url,
        silent_key.public_key(),
        silent.url,
        nix_key("dead-1").public_key(),
    );
    let mut user = machine(dir.path(), "user", &lines, "", "");
    let stranger = nix_key("stranger-1");
    let other: Attestation = an_attestation().saying("B");
    let facts = an_attestation().of("forged").facts();
    let forged = narinfo(&facts, "nar/x.nar", vec![key.sign(&other.facts())]);
    // By another key that is called like the cache's.
    let namesake = SecretKey::from_seed("cache-1".parse().unwrap(), [9; 32]);
    let broken = signed("broken", &key).replace("Sig: cache-1:", "Sig: cache-1:!");
    let dump = [
        signed("good", &key),
        forged,
        signed("foreign", &stranger),
        signed("namesake", &namesake),
        broken,
        "not a narinfo\n".to_owned(),
    ];
    let file = dir.path().join("dump");
    fs::write(&file, dump.join("\n")).unwrap();
    let ran = import(&user.config, &[text(&file), "--json"]).await;
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let total = &ran.json()["total"];
    assert_eq!(
        (&total["records"], &total["kept"]),
        (&6.into(), &1.into()),
        "{total}"
    );
    assert_eq!(
        (&total["forged"], &total["malformed"]),
        (&2.into(), &1.into()),
        "{total}"
    );

    // Forty outputs of which only the good cache gives signatures, while one is silent and one is dead.
    let names: Vec<String> = (0..40).map(|number| format!("p{number}")).collect();
    for name in &names {
        let file = format!("{}.narinfo", a_path(name).hash_part());
        good.put(&file, signed(name, &key).as_bytes());
    }
    let list = dir.path().join("paths");
    let path = |name: &String| format!("{}\n", StoreDir::default().join(&a_path(name)));
    fs::write(&list, names.iter().map(path).collect::<String>()).unwrap();
    let all = import(&user.config, &["--paths", text(&list), "--json"]).await;
    assert_eq!(all.code, 3, "{}{}", all.out, all.err);
    assert_eq!(all.json()["total"]["kept"], 40, "{}", all.out);
    let dead = import(&user.config, &["--paths", text(&list), "--cache", "dead"]).await;
    assert_eq!(dead.code, 3, "{}{}", dead.out, dead.err);
    let given_up = "dead did not answer 8 times in a row";
    assert!(dead.out.contains(given_up), "{}", dead.out);
    // Of forty questions the silent one got no more than were under way when it was given up.
    assert!(silent.asked().len() < 40, "{}", silent.asked().len());

    user.start().await.unwrap();
    becomes(&user, "alice", |log| log.indexed == 1).await;
    good.everything(Answer::Missing);
    let decide = async |name: &str| client_of(&user).decide(&a_path(name)).await.unwrap();
    for name in ["good", "p0", "p39"] {
        assert!(decide(name).await.is_accepted(), "{name}");
    }
    for name in ["forged", "foreign", "namesake", "broken"] {
        let decision = decide(name).await;
        assert_eq!(decision.values, [], "{name}");
    }
}

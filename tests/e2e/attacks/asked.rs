//! Look-ups at a log that answers what it answered before, from another index than its own, or through somebody who alters
//! the answer; and so much said of one output that one answer cannot hold it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use quorix::demo::world::BuilderHost;
use quorix_testkit::entries::{a_small_entry, an_attestation};

use super::scene::history;
use super::witnesses::{Way, Witness};
use crate::lookups::{Alter, a_log_that, lookup};
use crate::stage::quorix;
use crate::world::{Answer as Ran, covered, get, run, submit, text, unwrapped};

async fn alice(dir: &Path) -> BuilderHost {
    let mut alice = BuilderHost::create(dir, "alice", &quorix(), None).unwrap();
    alice.start().await.unwrap();
    submit(&alice, history("A", 16)).await;
    covered(&alice, 16).await;
    alice
}

/// Another log with the key of `original`, which was not started yet.
fn with_the_key_of(original: &BuilderHost, dir: &Path) -> BuilderHost {
    let twin = BuilderHost::create(dir, "alice", &quorix(), None).unwrap();
    let (from, to) = (original.config.parent().unwrap(), dir.join("alice"));
    for file in fs::read_dir(&to).unwrap().map(Result::unwrap) {
        if text(&file.path()).contains("log.key") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if text(&file.path()).contains("log.key") {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    twin
}

async fn ask(log: &BuilderHost, url: &str, more: &[&str]) -> Ran {
    let vkey = log.vkey().to_string();
    lookup("hello", &[&["--log", &vkey, "--url", url], more].concat()).await
}

/// Remembers every answer, and gives it again from the moment at which `replays` is set.
fn replaying(replays: &Arc<Mutex<bool>>) -> Alter {
    let (replays, kept) = (replays.clone(), Mutex::new(BTreeMap::new()));
    Arc::new(move |path, body| {
        let mut kept = kept.lock().unwrap();
        // What the asker knows already stands behind the output, and is not looked at.
        let about = path.split('/').take(4).collect::<Vec<_>>().join("/");
        if *replays.lock().unwrap() {
            return kept.get(&about).cloned().unwrap_or(body);
        }
        kept.insert(about, body.clone());
        body
    })
}

#[tokio::test]
async fn an_answer_from_before_or_altered_on_its_way_is_refused_by_who_asks() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut alice = alice(dir.path()).await;
    let replays = Arc::new(Mutex::new(false));
    let old = a_log_that(replaying(&replays), alice.url()).await;
    let known = dir.path().join("known");
    let known = ["--remember", text(&known)];
    assert_eq!(ask(&alice, &old, &known).await.code, 0);
    submit(&alice, (100..116).map(a_small_entry).collect()).await;
    covered(&alice, 32).await;
    let newer = ask(&alice, &alice.url(), &known).await;
    assert_eq!(newer.code, 0, "{}", newer.err);
    *replays.lock().unwrap() = true;
    let replayed = ask(&alice, &old, &known).await;
    assert_eq!(replayed.code, 1, "{}{}", replayed.out, replayed.err);
    assert_eq!(replayed.out, "");
    assert!(
        replayed
            .err
            .contains("the newer tree has 16 entries, fewer than the 32 of the older one"),
        "{}",
        replayed.err
    );
    // Who remembers nothing is not protected.
    assert_eq!(ask(&alice, &old, &[]).await.code, 0);

    let mut flipped = 0;
    for position in (0..4_096).step_by(97) {
        let hit = Arc::new(Mutex::new(false));
        let alter: Alter = {
            let hit = hit.clone();
            Arc::new(move |path, mut body| {
                if path.starts_with("/index/lookup/") && position < body.len() {
                    body[position] ^= 1;
                    *hit.lock().unwrap() = true;
                }
                body
            })
        };
        let url = a_log_that(alter, alice.url()).await;
        let altered = ask(&alice, &url, &[]).await;
        if *hit.lock().unwrap() {
            flipped += 1;
            assert_ne!(altered.code, 0, "{position}: {}", altered.out);
            assert_eq!(altered.out, "", "{position}");
        }
    }
    assert!(flipped >= 5, "{flipped}");
    alice.stop().await.unwrap();
}

/// `/index/` of one log, and everything else of another.
async fn with_the_index_of(liar: &BuilderHost, log: &BuilderHost) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (of_index, of_log) = (liar.url(), log.url());
    let serve = move |request: axum::extract::Request| {
        let path = request.uri().path().to_owned();
        let from = if path.starts_with("/index/") {
            &of_index
        } else {
            &of_log
        };
        let url = format!("{from}{path}");
        async move {
            let answer = reqwest::get(url).await.unwrap();
            let status = answer.status();
            (status, answer.bytes().await.unwrap())
        }
    };
    let router = axum::Router::new().fallback(serve);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test]
async fn another_index_than_a_logs_entries_give_is_named_by_an_audit_and_refused_without_cosignatures()
 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let mut alice = BuilderHost::create(dir.path(), "alice", &quorix(), None).unwrap();
    let mut liar = with_the_key_of(&alice, &dir.path().join("liar"));
    let witness = Witness::start("walter", Way::Good).await;
    let witnesses = dir.path().join("policy");
    let policy = format!("log {}\n{}quorum walter\n", alice.vkey(), witness.line());
    fs::write(&witnesses, policy).unwrap();
    let config = fs::read_to_string(&alice.config).unwrap();
    let log = format!("witness_policy = \"{}\"\n[builder]", text(&witnesses));
    fs::write(&alice.config, config.replacen("[builder]", &log, 1)).unwrap();
    alice.start().await.unwrap();
    liar.start().await.unwrap();
    submit(&alice, history("A", 16)).await;
    // The same, but for what it says of `hello`.
    let mut without = history("A", 16);
    without[0] = a_small_entry(77);
    submit(&liar, without).await;
    covered(&alice, 16).await;
    covered(&liar, 16).await;
    let url = with_the_index_of(&liar, &alice).await;
    assert_eq!(get(&format!("{url}/index/status")).await.0, 200);

    let cosigned = ["--policy", text(&witnesses)];
    let honest = ask(&alice, &alice.url(), &cosigned).await;
    assert_eq!(honest.code, 0, "{}", honest.err);
    let refused = ask(&alice, &url, &cosigned).await;
    assert_eq!(refused.code, 1, "{}{}", refused.out, refused.err);
    assert!(
        unwrapped(&refused.err).contains("walter"),
        "{}",
        refused.err
    );
    assert_eq!(refused.out, "");

    let vkey = alice.vkey().to_string();
    let audit = async |url: &str| run(&["log", "audit-index", "--log", &vkey, "--url", url]).await;
    let right = audit(&alice.url()).await;
    assert_eq!(right.code, 0, "{}{}", right.out, right.err);
    let wrong = audit(&url).await;
    assert_eq!(wrong.code, 1, "{}{}", wrong.out, wrong.err);
    assert!(
        wrong.out.contains("is wrong from 16 entries on"),
        "{}{}",
        wrong.out,
        wrong.err
    );

    // Who has seen the log's own index takes no other for it.
    let known = dir.path().join("known");
    let known = ["--remember", text(&known)];
    assert_eq!(ask(&alice, &alice.url(), &known).await.code, 0);
    let other = ask(&alice, &url, &known).await;
    assert_eq!(other.code, 1, "{}{}", other.out, other.err);
    assert_eq!(other.out, "");
    assert!(
        other
            .err
            .contains("two trees of 16 entries have different roots"),
        "{}",
        other.err
    );
    alice.stop().await.unwrap();
    liar.stop().await.unwrap();
}

#[tokio::test]
async fn an_output_of_which_a_running_log_says_a_thousand_things_is_looked_up_whole_or_not_at_all()
{
    let dir = tempfile::tempdir().unwrap();
    let mut alice = BuilderHost::create(dir.path(), "alice", &quorix(), None).unwrap();
    alice.start().await.unwrap();
    let said = |number: u64| an_attestation().finished_at(1_767_000_000 + number).bytes();
    for from in (0..1_600).step_by(400) {
        submit(&alice, (from..from + 400).map(said).collect()).await;
    }
    covered(&alice, 1_600).await;
    let all = ask(&alice, &alice.url(), &["--json"]).await;
    assert_eq!(all.code, 0, "{}", all.err);
    assert_eq!(all.json()["entries"].as_array().unwrap().len(), 1_600);
    let fewer = ask(&alice, &alice.url(), &["--json", "--max-entries", "1599"]).await;
    assert_ne!(fewer.code, 0, "{}", fewer.out);
    let told = fewer.json();
    assert!(told["found"].is_null(), "never nothing: {told}");
    assert_eq!(told["complete"], false);
    assert!(told["entries"].is_null(), "never a part: {told}");
    assert!(
        fewer
            .err
            .contains("more than 1599 entries concern this output"),
        "{}",
        fewer.err
    );
    alice.stop().await.unwrap();
}

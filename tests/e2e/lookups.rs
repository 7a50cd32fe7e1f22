//! What a log says about an output, asked by the program of a log that runs, and of one that hides what it said.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use quorix::demo::client::until;
use quorix::demo::world::BuilderHost;
use quorix_nix::store_path::StoreDir;
use quorix_testkit::entries::{a_path, a_retraction_of, a_small_entry, an_attestation, bytes_of};
use quorix_tlog::index::answer::Answer;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{folder, quorix};
use crate::world::{Answer as Ran, covered, run, submit, text};

/// What is done to an answer of a log, by its path.
pub(crate) type Alter = Arc<dyn Fn(&str, Vec<u8>) -> Vec<u8> + Send + Sync>;

/// Leaves the entry at this index out of what is answered about an output.
fn hides(hidden: u64) -> Alter {
    Arc::new(move |path, body| {
        if !path.starts_with("/index/lookup/") {
            return body;
        }
        let mut answer = Answer::parse(&body).unwrap();
        answer.indices.retain(|index| *index != hidden);
        answer.to_bytes()
    })
}

/// Serves a log as it is, but for what is altered: as good as the log itself doing so, which needs its key for none of it.
pub(crate) async fn a_log_that(alters: Alter, log: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, alters.clone(), log.clone()));
        }
    });
    url
}

async fn serve(mut stream: TcpStream, alters: Alter, log: String) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 1024];
        let read = stream.read(&mut part).await.unwrap();
        assert!(read > 0 && request.len() < 65_536, "a whole request");
        request.extend_from_slice(&part[..read]);
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap();
    let answer = reqwest::get(format!("{log}{path}")).await.unwrap();
    let status = answer.status().as_u16();
    let mut body = answer.bytes().await.unwrap().to_vec();
    if status == 200 {
        body = alters(path, body);
    }
    let head = format!(
        "HTTP/1.1 {status} .\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream
        .write_all(&[head.as_bytes(), &body].concat())
        .await
        .unwrap();
}

pub(crate) async fn lookup(name: &str, more: &[&str]) -> Ran {
    let path = StoreDir::default().join(&a_path(name));
    run(&[&["log", "lookup", path.as_str()], more].concat()).await
}

fn refused(ran: &Ran) {
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(
        ran.err.contains("the map does not say what is answered"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("Nothing in this answer is to be believed"),
        "{}",
        ran.err
    );
    assert_eq!(ran.out, "");
}

/// "This log says exactly this, and nothing else, about X at size N."
#[tokio::test]
async fn a_log_that_hides_an_entry_or_a_retraction_from_who_asks_is_caught() {
    let dir = folder("quorix-e2e-lookup-");
    let mut host = BuilderHost::create(&dir, "alice", &quorix(), None).unwrap();
    host.start().await.unwrap();
    let (first, second) = (
        an_attestation().bytes(),
        an_attestation().saying("B").bytes(),
    );
    let mut entries = vec![first.clone()];
    entries.extend((0..10).map(a_small_entry));
    entries.push(second);
    entries.push(bytes_of(&a_retraction_of(&[first])));
    entries.extend((10..13).map(a_small_entry));
    let config = ["--config", text(&host.config), "--json"];
    submit(&host, vec![entries.remove(0)]).await;
    tells_that_all_was_read(&config).await;
    submit(&host, entries).await;
    covered(&host, 16).await;

    let said = lookup("hello", &config).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let said: Value = serde_json::from_str(&said.out).unwrap();
    let entries = said["entries"].as_array().unwrap().iter();
    let found: Vec<_> = entries
        .map(|entry| {
            (
                entry["index"].as_u64().unwrap(),
                entry["kind"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(found, [(0, "built"), (11, "built"), (12, "withdrawn")]);
    let numbers = [&said["size"], &said["covered"], &said["read_behind"]];
    assert_eq!(
        numbers.map(|number| number.as_u64()),
        [Some(16), Some(16), Some(0)]
    );
    tells_what_became_of_it(&said);
    tells_absence_from_no_answer(&host, &config).await;

    let vkey = host.vkey().to_string();
    for hidden in [0, 11, 12] {
        let url = a_log_that(hides(hidden), host.url()).await;
        refused(&lookup("hello", &["--log", &vkey, "--url", &url]).await);
    }
    let honest = a_log_that(hides(5), host.url()).await;
    let told = lookup("hello", &["--log", &vkey, "--url", &honest]).await;
    assert_eq!(told.code, 0, "{}", told.err);
    let marked = told.out.matches("withdrawn by entry 12").count();
    assert_eq!(marked, 1, "{}", told.out);

    remembers(&host, &dir).await;
    audits(&host).await;
    host.stop().await.unwrap();
    fs::remove_dir_all(dir).unwrap();
}

/// While the index covers nothing there is no proof from it, and what is said is known all the same.
async fn tells_that_all_was_read(config: &[&str]) {
    let answered = until("the index is open", async || {
        let ran = lookup("hello", config).await;
        (ran.code != 3).then_some(ran)
    });
    let said = answered.await.unwrap();
    assert_eq!(said.code, 0, "{}", said.err);
    let said: Value = serde_json::from_str(&said.out).unwrap();
    let told = ["found", "complete", "index_proof", "covered", "read_behind"].map(|of| &said[of]);
    let expected = [true.into(), true.into(), Value::Null, 0.into(), 1.into()];
    assert_eq!(told, expected.each_ref());
    let entry = &said["entries"][0];
    assert_eq!(
        (&entry["state"], &entry["shown_by"]),
        (&"in-force".into(), &"reading".into())
    );
}

/// The first was withdrawn, the other is in force, and that is all there is.
fn tells_what_became_of_it(said: &Value) {
    assert_eq!(
        (&said["found"], &said["complete"]),
        (&true.into(), &true.into())
    );
    assert_eq!(said["index_proof"], "presence");
    let states = said["entries"].as_array().unwrap().iter().map(|entry| {
        let state = entry["state"].as_str().unwrap();
        assert_eq!(entry["shown_by"], "index");
        (state, entry["withdrawn_by"].as_u64())
    });
    let expected = [
        ("withdrawn", Some(12)),
        ("in-force", None),
        ("withdrawal", None),
    ];
    assert_eq!(states.collect::<Vec<_>>(), expected);
}

/// Nothing is said, an answer that does not verify, and no answer are three things, for programs too.
async fn tells_absence_from_no_answer(host: &BuilderHost, config: &[&str]) {
    let told = async |ran: Ran| {
        let said: Value = serde_json::from_str(&ran.out).unwrap();
        let (found, complete) = (said["found"].as_bool(), said["complete"].as_bool());
        (ran.code, found, complete.unwrap(), said)
    };
    let (code, found, complete, said) = told(lookup("absent", config).await).await;
    assert_eq!((code, found, complete), (1, Some(false), true));
    assert_eq!(said["index_proof"], "absence");
    assert_eq!(said["entries"], Value::Array(Vec::new()));

    let vkey = host.vkey().to_string();
    let url = a_log_that(hides(0), host.url()).await;
    let elsewhere = ["--log", &vkey, "--url", &url, "--json"];
    let (code, found, complete, said) = told(lookup("hello", &elsewhere).await).await;
    assert_eq!((code, found, complete), (1, None, false));
    assert!(
        said["refused"]
            .as_str()
            .unwrap()
            .contains("does not verify"),
        "{said}"
    );

    let nobody = ["--log", &vkey, "--url", "http://127.0.0.1:1", "--json"];
    let (code, found, complete, said) = told(lookup("hello", &nobody).await).await;
    assert_eq!((code, found, complete), (3, None, false));
    assert!(said["unanswered"].is_string(), "{said}");
}

/// What was shown once is held against what is shown later.
async fn remembers(host: &BuilderHost, dir: &Path) {
    let known = dir.join("known");
    let known = ["--config", text(&host.config), "--remember", text(&known)];
    assert_eq!(lookup("hello", &known).await.code, 0);
    submit(host, (100..116).map(a_small_entry).collect()).await;
    covered(host, 32).await;
    assert_eq!(lookup("hello", &known).await.code, 0);
}

/// The index is made again from the entries, and is the same.
async fn audits(host: &BuilderHost) {
    let ran = run(&[
        "log",
        "audit-index",
        "--config",
        text(&host.config),
        "--json",
    ])
    .await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&told["right"], &told["covered"], &told["leaves"]),
        (&true.into(), &32.into(), &2.into())
    );
}

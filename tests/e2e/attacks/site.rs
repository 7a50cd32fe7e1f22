//! A log or a cache on a web site of the test, which answers what it is told to: other bytes, nothing, or for ever.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_ENCODING;
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::narinfo::{Compression, NarInfo};
use quorix_nix::signature::Signature;
use quorix_nix::store_path::StoreDir;
use quorix_testkit::entries::log_key;
use quorix_testkit::tree::Grower;
use quorix_tlog::tile::TilePath;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// How a site answers instead of with its file.
#[derive(Clone)]
pub(super) enum Answer {
    /// With these bytes.
    Bytes(Vec<u8>),
    /// With these bytes, which it says are compressed like this.
    Encoded(&'static str, Vec<u8>),
    /// It has no such file.
    Missing,
    /// It begins its answer, and does not end it before it is healed.
    Endless,
}

#[derive(Default)]
struct Files {
    files: BTreeMap<String, Vec<u8>>,
    instead: BTreeMap<String, Answer>,
    everything: Option<Answer>,
    asked: Vec<String>,
    healed: Arc<Notify>,
}

/// A web site of static files.
#[derive(Clone)]
pub(super) struct Site {
    /// Where it answers.
    pub(super) url: String,
    files: Arc<Mutex<Files>>,
}

impl Site {
    pub(super) async fn start() -> Self {
        let files = Arc::<Mutex<Files>>::default();
        let router = Router::new()
            .route("/{*path}", axum::routing::get(serve))
            .with_state(files.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, files }
    }

    pub(super) fn put(&self, path: &str, bytes: &[u8]) {
        let mut site = self.files.lock().unwrap();
        site.files.insert(path.to_owned(), bytes.to_vec());
    }

    /// Answers requests for a path in this way from now on.
    pub(super) fn instead(&self, path: &str, answer: Answer) {
        let mut site = self.files.lock().unwrap();
        site.instead.insert(path.to_owned(), answer);
    }

    /// Answers every request in this way from now on.
    pub(super) fn everything(&self, answer: Answer) {
        self.files.lock().unwrap().everything = Some(answer);
    }

    /// What it was asked for until now.
    pub(super) fn asked(&self) -> Vec<String> {
        self.files.lock().unwrap().asked.clone()
    }

    /// Answers with its files again.
    pub(super) fn heal(&self) {
        let mut site = self.files.lock().unwrap();
        site.instead.clear();
        site.everything = None;
        site.healed.notify_waiters();
    }
}

async fn serve(State(files): State<Arc<Mutex<Files>>>, Path(path): Path<String>) -> Response {
    let (answer, healed) = {
        let mut site = files.lock().unwrap();
        site.asked.push(path.clone());
        let file = || site.files.get(&path).cloned();
        let honest = || file().map_or(Answer::Missing, Answer::Bytes);
        let told = site.instead.get(&path).or(site.everything.as_ref());
        let answer = told.cloned().unwrap_or_else(honest);
        (answer, site.healed.clone().notified_owned())
    };
    match answer {
        Answer::Bytes(bytes) => Bytes::from(bytes).into_response(),
        Answer::Encoded(how, bytes) => ([(CONTENT_ENCODING, how)], bytes).into_response(),
        Answer::Missing => StatusCode::NOT_FOUND.into_response(),
        Answer::Endless => endless(healed).into_response(),
    }
}

/// The body of a slow-loris: one byte, and then nothing for as long as somebody listens and it is not healed.
fn endless(healed: OwnedNotified) -> Body {
    let byte = Ok::<_, Infallible>(Bytes::from_static(b"a"));
    let first = futures::stream::once(async { byte });
    let rest = futures::stream::once(async {
        healed.await;
        Ok(Bytes::new())
    });
    Body::from_stream(first.chain(rest))
}

/// A builder's log on a site.
pub(super) struct SiteLog {
    /// Its name, and its operator's.
    pub(super) name: String,
    /// Where it is read.
    pub(super) at: Site,
    grower: Grower,
}

impl SiteLog {
    /// The log of this name with these entries.
    pub(super) async fn publish(name: &str, entries: &[Vec<u8>]) -> Self {
        let mut log = Self {
            name: name.to_owned(),
            at: Site::start().await,
            grower: Grower::new(&format!("{name}.example/log")),
        };
        log.append(entries);
        log
    }

    /// Appends entries, and shows the checkpoint over them.
    pub(super) fn append(&mut self, entries: &[Vec<u8>]) {
        self.append_unseen(entries);
        self.at.put("checkpoint", &self.checkpoint());
    }

    /// Appends entries, and goes on showing the checkpoint of before.
    pub(super) fn append_unseen(&mut self, entries: &[Vec<u8>]) {
        let batch = self.grower.grow(entries);
        for (id, bytes) in &batch.tiles {
            let width = id.width_at(batch.head.size);
            self.at.put(&TilePath { id: *id, width }.to_string(), bytes);
        }
    }

    /// Shows another history from now on: these entries and no others.
    pub(super) fn rewrite(&mut self, entries: &[Vec<u8>]) {
        self.grower = Grower::new(&self.origin());
        self.append(entries);
    }

    /// Its checkpoint over all of its entries.
    pub(super) fn checkpoint(&self) -> Vec<u8> {
        self.grower.head().checkpoint
    }

    pub(super) fn entries(&self) -> &[Vec<u8>] {
        self.grower.entries()
    }

    pub(super) fn origin(&self) -> String {
        format!("{}.example/log", self.name)
    }

    pub(super) fn vkey(&self) -> String {
        log_key(&self.origin()).verifier().to_string()
    }

    /// Its line in a policy, with further addresses.
    pub(super) fn line(&self, mirrors: &[&Site]) -> String {
        let urls: Vec<&str> = mirrors.iter().map(|at| at.url.as_str()).collect();
        let (name, vkey, url) = (&self.name, self.vkey(), &self.at.url);
        format!(
            "builder {name} {vkey} {url} {} operator={name}\n",
            urls.join(" ")
        )
    }
}

/// What a cache answers for these facts: where its file is, and who signed.
pub(super) fn narinfo(facts: &Fingerprint, url: &str, signatures: Vec<Signature>) -> String {
    let narinfo = NarInfo {
        store_path: facts.path.clone(),
        url: url.to_owned(),
        compression: Compression::None,
        file_hash: None,
        file_size: None,
        nar_hash: facts.nar_hash,
        nar_size: facts.nar_size,
        references: facts.references.clone(),
        deriver: None,
        signatures,
        malformed_signatures: 0,
        ca: None,
    };
    narinfo.print(&StoreDir::default())
}

//! Origins on loopback: a log as static tiles that can be forked, tampered with and withheld, and a binary cache.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use quorix_nix::narinfo::{Compression, NarInfo};
use quorix_nix::signature::SecretKey;
use quorix_nix::store_path::StoreDir;
use quorix_testkit::entries::{Attestation, log_key};
use quorix_testkit::tree::{blob_id, hash_bytes, naive_bundle, naive_tile};
use quorix_tlog::bundle;
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::cosignature::CosignerSigningKey;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::note::{SignedNote, SigningKey};
use quorix_tlog::tile::{Edge, TileLevel, TilePath};

/// How an address answers instead of as it should.
#[derive(Clone)]
pub(crate) enum Answer {
    Bytes(Vec<u8>),
    Missing,
    /// Takes the request and never says anything.
    Silence,
}

#[derive(Default)]
struct Site {
    files: BTreeMap<String, Vec<u8>>,
    entries: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
    instead: BTreeMap<String, Answer>,
    all_instead: Option<Answer>,
    requests: Vec<String>,
}

/// A web site of static files, of a log or of a cache.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) url: String,
    site: Arc<Mutex<Site>>,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let site = Arc::<Mutex<Site>>::default();
        let router = Router::new()
            .route("/{*path}", axum::routing::get(serve))
            .with_state(site.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, site }
    }

    pub(crate) fn put(&self, path: &str, bytes: Vec<u8>) {
        self.site
            .lock()
            .unwrap()
            .files
            .insert(path.to_owned(), bytes);
    }

    /// Answers requests for a path in this way from now on.
    pub(crate) fn instead(&self, path: &str, answer: Answer) {
        self.site
            .lock()
            .unwrap()
            .instead
            .insert(path.to_owned(), answer);
    }

    /// Answers every request in this way from now on.
    pub(crate) fn all_instead(&self, answer: Option<Answer>) {
        self.site.lock().unwrap().all_instead = answer;
    }

    /// Answers as it should again.
    pub(crate) fn heal(&self) {
        self.site.lock().unwrap().instead.clear();
    }

    /// Every file of a log of at most 256 entries.
    pub(crate) fn files_of(&self, size: u16) -> Vec<(String, Vec<u8>)> {
        let site = self.site.lock().unwrap();
        let partial = |kind: &str| {
            let name = format!("tile/{kind}/000.p/{size}");
            let bytes = tile(&site, &name).unwrap();
            (name, bytes)
        };
        let checkpoint = site.files["checkpoint"].clone();
        vec![
            partial("0"),
            partial("entries"),
            ("checkpoint".to_owned(), checkpoint),
        ]
    }

    /// Paths asked for since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.site.lock().unwrap().requests)
    }
}

async fn serve(State(site): State<Arc<Mutex<Site>>>, Path(path): Path<String>) -> Response {
    let answer = {
        let mut site = site.lock().unwrap();
        site.requests.push(path.clone());
        let honest = || match site
            .files
            .get(&path)
            .cloned()
            .or_else(|| tile(&site, &path))
        {
            Some(bytes) => Answer::Bytes(bytes),
            None => Answer::Missing,
        };
        site.all_instead
            .clone()
            .or_else(|| site.instead.get(&path).cloned())
            .unwrap_or_else(honest)
    };
    match answer {
        Answer::Bytes(bytes) => Bytes::from(bytes).into_response(),
        Answer::Missing => StatusCode::NOT_FOUND.into_response(),
        Answer::Silence => std::future::pending().await,
    }
}

fn tile(site: &Site, path: &str) -> Option<Vec<u8>> {
    let TilePath { id, width } = path.parse().ok()?;
    match id.level {
        TileLevel::Hashes(level) => {
            let hashes = naive_tile(&site.leaves, level, id.index);
            hashes.get(..usize::from(width)).map(hash_bytes)
        }
        TileLevel::Entries => bundle::prefix(&naive_bundle(&site.entries, id.index), width)
            .ok()
            .map(<[u8]>::to_vec),
    }
}

/// A builder's log on an origin.
#[derive(Clone)]
pub(crate) struct FakeLog {
    pub(crate) name: String,
    pub(crate) key: SigningKey,
    pub(crate) at: Origin,
}

impl FakeLog {
    /// The log of this builder, empty and without a checkpoint.
    pub(crate) async fn start(name: &str) -> Self {
        let key = log_key(&format!("logs.example.org/{name}"));
        Self {
            name: name.to_owned(),
            key,
            at: Origin::start().await,
        }
    }

    pub(crate) fn origin(&self) -> String {
        format!("logs.example.org/{}", self.name)
    }

    /// Its line in a policy; `mirrors` are further addresses.
    pub(crate) fn line(&self, mirrors: &[&Origin]) -> String {
        let urls: Vec<&str> = std::iter::once(&self.at)
            .chain(mirrors.iter().copied())
            .map(|at| at.url.as_str())
            .collect();
        format!(
            "builder {} {} {} operator={}\n",
            self.name,
            self.key.verifier(),
            urls.join(" "),
            self.name
        )
    }

    /// Appends and publishes a checkpoint.
    pub(crate) fn append<E: AsRef<[u8]>>(&self, entries: &[E]) {
        self.append_without_checkpoint(entries);
        self.publish(&self.checkpoint());
    }

    pub(crate) fn append_without_checkpoint<E: AsRef<[u8]>>(&self, entries: &[E]) {
        let mut site = self.at.site.lock().unwrap();
        for entry in entries {
            site.leaves.push(leaf_hash(entry.as_ref()));
            site.entries.push(entry.as_ref().to_vec());
        }
    }

    /// Shows another history from now on: these entries and no others.
    pub(crate) fn rewrite<E: AsRef<[u8]>>(&self, entries: &[E]) {
        {
            let mut site = self.at.site.lock().unwrap();
            site.leaves.clear();
            site.entries.clear();
        }
        self.append(entries);
    }

    pub(crate) fn entries(&self) -> Vec<Vec<u8>> {
        self.at.site.lock().unwrap().entries.clone()
    }

    /// A signed checkpoint of what is served now.
    pub(crate) fn checkpoint(&self) -> Vec<u8> {
        let mut edge = Edge::empty();
        for leaf in &self.at.site.lock().unwrap().leaves {
            edge.push(*leaf);
        }
        self.sign(edge.size(), edge.root())
    }

    /// Publishes a checkpoint of what is served now, cosigned by these at these POSIX seconds.
    pub(crate) fn publish_cosigned(&self, by: &[(&CosignerSigningKey, u64)]) {
        let signed = SignedNote::parse(&self.checkpoint()).unwrap();
        let checkpoint = Checkpoint::parse(signed.text()).unwrap();
        let mut lines = signed.signatures().to_vec();
        lines.extend(
            by.iter()
                .map(|(key, at_s)| key.cosign(&checkpoint, *at_s).unwrap()),
        );
        let note = SignedNote::assemble(signed.text(), lines).unwrap();
        self.publish(&note.to_bytes());
    }

    pub(crate) fn sign(&self, size: u64, root: Hash) -> Vec<u8> {
        let checkpoint = Checkpoint {
            origin: self.origin(),
            size,
            root,
            extensions: Vec::new(),
        };
        checkpoint.sign(&self.key).unwrap()
    }

    pub(crate) fn publish(&self, checkpoint: &[u8]) {
        self.at.put("checkpoint", checkpoint.to_vec());
    }

    pub(crate) fn put_blob(&self, blob: &[u8]) {
        self.at.put(
            &format!("blob/{}", Hash::from_bytes(blob_id(blob)).to_hex()),
            blob.to_vec(),
        );
    }
}

/// A binary cache on an origin.
#[derive(Clone)]
pub(crate) struct FakeCache {
    pub(crate) key: SecretKey,
    pub(crate) at: Origin,
}

impl FakeCache {
    pub(crate) async fn start(key: SecretKey) -> Self {
        Self {
            key,
            at: Origin::start().await,
        }
    }

    /// Its line in a policy.
    pub(crate) fn line(&self) -> String {
        format!(
            "cache main {} {} operator=example\n",
            self.key.public_key(),
            self.at.url
        )
    }

    /// Has what is attested, signed by `key` over what `signed` attests.
    pub(crate) fn put(&self, attested: &Attestation, signed: &Attestation, key: &SecretKey) {
        let facts = attested.facts();
        let narinfo = NarInfo {
            store_path: facts.path.clone(),
            url: "nar/x.nar".to_owned(),
            compression: Compression::None,
            file_hash: None,
            file_size: None,
            nar_hash: facts.nar_hash,
            nar_size: facts.nar_size,
            references: facts.references.clone(),
            deriver: None,
            signatures: vec![key.sign(&signed.facts())],
            malformed_signatures: 0,
            ca: None,
        };
        let text = narinfo.print(&StoreDir::default());
        self.at.put(
            &format!("{}.narinfo", facts.path.hash_part()),
            text.into_bytes(),
        );
    }
}

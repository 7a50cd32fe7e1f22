//! An aggregator in memory whose proofs are real, and binary caches on loopback that answer as told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::stream::BoxStream;
use quorix_nix::narinfo::{Compression, NarInfo};
use quorix_nix::store_path::{HashPart, StoreDir};
use quorix_testkit::tree::{Grower, naive_root};
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_trust::attestation::Entry;
use quorix_wire::entry::decode;
use quorix_wire::pb;
use quorix_wire::pb::aggregator_service_server::{AggregatorService, AggregatorServiceServer};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::outputs::{Output, packed};

/// An aggregator with these logs' entries.
#[derive(Clone, Default)]
pub(crate) struct FakeAggregator(Arc<Mutex<Aggregator>>);

#[derive(Default)]
struct Aggregator {
    logs: BTreeMap<String, (Vec<Vec<u8>>, bool)>,
    observations: Vec<Vec<u8>>,
    is_down: bool,
    is_silent: bool,
    refuses_closures: bool,
    questions: Vec<(Vec<String>, bool)>,
    withheld: BTreeSet<String>,
    hidden: BTreeSet<String>,
    unread: BTreeMap<String, usize>,
    unfollowed: BTreeSet<HashPart>,
}

impl FakeAggregator {
    pub(crate) fn channel(&self) -> Channel {
        let (channel, incoming) = quorix_wire::channel::in_memory();
        let server = AggregatorServiceServer::new(self.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(server)
                .serve_with_incoming(incoming),
        );
        channel
    }

    pub(crate) fn append(&self, origin: &str, entry: Vec<u8>) {
        self.0
            .lock()
            .unwrap()
            .logs
            .entry(origin.to_owned())
            .or_insert((Vec::new(), true))
            .0
            .push(entry);
    }

    /// Forgets the newest entry of a log.
    pub(crate) fn go_back(&self, origin: &str) {
        let mut aggregator = self.0.lock().unwrap();
        aggregator.logs.get_mut(origin).unwrap().0.pop();
    }

    pub(crate) fn observe(&self, entry: Vec<u8>) {
        self.0.lock().unwrap().observations.push(entry);
    }

    pub(crate) fn set_live(&self, origin: &str, is_live: bool) {
        self.0.lock().unwrap().logs.get_mut(origin).unwrap().1 = is_live;
    }

    /// Keeps back what this log says.
    pub(crate) fn withhold(&self, origin: &str) {
        self.0.lock().unwrap().withheld.insert(origin.to_owned());
    }

    /// Says that it knows nothing of this log.
    pub(crate) fn hide(&self, origin: &str) {
        self.withhold(origin);
        self.0.lock().unwrap().hidden.insert(origin.to_owned());
    }

    /// Has not yet read so many of the newest entries of this log.
    pub(crate) fn lag_behind(&self, origin: &str, entries: usize) {
        let mut aggregator = self.0.lock().unwrap();
        aggregator.unread.insert(origin.to_owned(), entries);
    }

    /// All that this log has, whatever is told of it.
    pub(crate) fn entries_of(&self, origin: &str) -> Vec<Vec<u8>> {
        let aggregator = self.0.lock().unwrap();
        let log = aggregator.logs.get(origin);
        log.map(|(entries, _)| entries.clone()).unwrap_or_default()
    }

    /// Does not follow references to these when asked for a closure.
    pub(crate) fn follow_no_further_to(&self, outputs: &[&Output]) {
        let parts = outputs.iter().map(|output| output.path.hash_part());
        self.0.lock().unwrap().unfollowed.extend(parts);
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.0.lock().unwrap().is_down = is_down;
    }

    /// Takes questions and never answers.
    pub(crate) fn set_silent(&self) {
        self.0.lock().unwrap().is_silent = true;
    }

    /// Answers no question about a closure.
    pub(crate) fn refuse_closures(&self) {
        self.0.lock().unwrap().refuses_closures = true;
    }

    /// Questions since the last call: for which paths, and whether for their closures.
    pub(crate) fn questions(&self) -> Vec<(Vec<String>, bool)> {
        std::mem::take(&mut self.0.lock().unwrap().questions)
    }
}

impl Aggregator {
    fn answer(&self, paths: &[String], closure: bool) -> pb::GetEvidenceResponse {
        let mut outputs = BTreeMap::new();
        let mut pending: Vec<HashPart> = paths.iter().map(|path| path.parse().unwrap()).collect();
        while let Some(part) = pending.pop() {
            if outputs.contains_key(&part) {
                continue;
            }
            let (evidence, references) = self.evidence(&part);
            outputs.insert(part, evidence);
            if closure {
                pending.extend(references.difference(&self.unfollowed).cloned());
            }
        }
        let told = self.logs.iter();
        let told = told.filter(|(origin, _)| !self.hidden.contains(*origin));
        let logs = told.map(|(origin, (entries, is_live))| {
            let mut grower = Grower::new(origin);
            grower.grow(self.read(origin, entries));
            let state = if *is_live {
                pb::LogState::Live
            } else {
                pb::LogState::Stale
            };
            pb::LogEvidence {
                earlier: Vec::new(),
                origin: origin.clone(),
                state: state.into(),
                reason: if *is_live {
                    String::new()
                } else {
                    "it does not answer".to_owned()
                },
                checkpoint: grower.head().checkpoint,
                last_verified_s: 1,
                equivocation: None,
            }
        });
        pb::GetEvidenceResponse {
            logs: logs.collect(),
            outputs: outputs.into_values().collect(),
            blobs: Vec::new(),
        }
    }

    fn read<'a>(&self, origin: &str, entries: &'a [Vec<u8>]) -> &'a [Vec<u8>] {
        let unread = self.unread.get(origin).copied().unwrap_or_default();
        &entries[..entries.len() - unread]
    }

    fn evidence(&self, part: &HashPart) -> (pb::OutputEvidence, BTreeSet<HashPart>) {
        let mut evidence = pb::OutputEvidence {
            hash_part: part.to_string(),
            ..pb::OutputEvidence::default()
        };
        let mut references = BTreeSet::new();
        for (origin, (entries, _)) in self
            .logs
            .iter()
            .filter(|(origin, _)| !self.withheld.contains(*origin))
        {
            let entries = self.read(origin, entries);
            let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
            for (index, entry) in entries
                .iter()
                .enumerate()
                .filter(|(_, entry)| is_about(entry, part))
            {
                references.extend(references_of(entry));
                evidence.entries.push(pb::LoggedEntry {
                    origin: origin.clone(),
                    index: index as u64,
                    entry: entry.clone(),
                    inclusion_proof: audit_path(index, &leaves)
                        .iter()
                        .map(|hash| hash.as_bytes().to_vec())
                        .collect(),
                    retraction: None,
                });
            }
        }
        for entry in self
            .observations
            .iter()
            .filter(|entry| is_about(entry, part))
        {
            references.extend(references_of(entry));
            evidence.observations.push(entry.clone());
        }
        (evidence, references)
    }
}

fn is_about(entry: &[u8], part: &HashPart) -> bool {
    decode(entry)
        .unwrap()
        .output()
        .is_some_and(|(_, path)| path.hash_part() == *part)
}

fn references_of(entry: &[u8]) -> BTreeSet<HashPart> {
    let claim = match decode(entry).unwrap() {
        Entry::Build(build) => build.claim,
        Entry::Observation(seen) => seen.claim,
        _ => return BTreeSet::new(),
    };
    claim
        .facts(None)
        .unwrap()
        .unwrap()
        .references
        .iter()
        .map(|path| path.hash_part())
        .collect()
}

/// RFC 6962 §2.1.1, by its definition.
pub(super) fn audit_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = if index < left.len() {
        (audit_path(index, left), naive_root(right))
    } else {
        (audit_path(index - left.len(), right), naive_root(left))
    };
    path.push(sibling);
    path
}

type Answer<T> = Result<tonic::Response<T>, Status>;

#[tonic::async_trait]
impl AggregatorService for FakeAggregator {
    type DecideStreamStream = BoxStream<'static, Result<pb::DecideManyResponse, Status>>;
    type WatchEventsStream = BoxStream<'static, Result<pb::Event, Status>>;

    async fn decide_stream(
        &self,
        _: Request<pb::DecideManyRequest>,
    ) -> Answer<Self::DecideStreamStream> {
        Err(Status::unimplemented(""))
    }

    async fn get_evidence(
        &self,
        request: Request<pb::GetEvidenceRequest>,
    ) -> Answer<pb::GetEvidenceResponse> {
        let request = request.into_inner();
        let is_silent = {
            let mut aggregator = self.0.lock().unwrap();
            aggregator
                .questions
                .push((request.paths.clone(), request.closure));
            if aggregator.is_down || (request.closure && aggregator.refuses_closures) {
                return Err(Status::unavailable("it is being restarted"));
            }
            aggregator.is_silent
        };
        if is_silent {
            std::future::pending::<()>().await;
        }
        Ok(self
            .0
            .lock()
            .unwrap()
            .answer(&request.paths, request.closure)
            .into())
    }

    /// A lie: whoever believes it serves what nobody voted for.
    async fn decide(&self, request: Request<pb::DecideRequest>) -> Answer<pb::DecideResponse> {
        let decision = pb::Decision {
            path: request.into_inner().path,
            outcome: pb::Outcome::Accepted.into(),
            accepted: vec![7; 32],
            ..pb::Decision::default()
        };
        Ok(pb::DecideResponse {
            decision: Some(decision),
        }
        .into())
    }

    async fn decide_many(
        &self,
        _: Request<pb::DecideManyRequest>,
    ) -> Answer<pb::DecideManyResponse> {
        Err(Status::unimplemented(""))
    }

    async fn list_logs(&self, _: Request<pb::ListLogsRequest>) -> Answer<pb::ListLogsResponse> {
        Err(Status::unimplemented(""))
    }

    async fn get_overview(
        &self,
        _: Request<pb::GetOverviewRequest>,
    ) -> Answer<pb::GetOverviewResponse> {
        Err(Status::unimplemented(""))
    }

    async fn list_disagreements(
        &self,
        _: Request<pb::ListDisagreementsRequest>,
    ) -> Answer<pb::ListDisagreementsResponse> {
        Err(Status::unimplemented(""))
    }

    async fn search(&self, _: Request<pb::SearchRequest>) -> Answer<pb::SearchResponse> {
        Err(Status::unimplemented(""))
    }

    async fn watch_events(
        &self,
        _: Request<pb::WatchEventsRequest>,
    ) -> Answer<Self::WatchEventsStream> {
        Err(Status::unimplemented(""))
    }
}

/// How a cache answers one request.
#[derive(Clone)]
pub(crate) enum Reply {
    Bytes(Vec<u8>),
    Status(u16),
    /// Sends these bytes, then breaks the connection off.
    Cut(Vec<u8>),
    /// Sends these bytes, then nothing more.
    Stall(Vec<u8>),
    /// Takes the request and never answers.
    Silence,
}

/// A binary cache on loopback.
#[derive(Clone)]
pub(crate) struct FakeCache {
    pub(crate) url: String,
    site: Arc<Mutex<Site>>,
}

#[derive(Default)]
struct Site {
    replies: BTreeMap<String, Reply>,
    requests: Vec<String>,
}

impl FakeCache {
    pub(crate) async fn start() -> Self {
        let site = Arc::<Mutex<Site>>::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(reply).with_state(site.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, site }
    }

    /// An honest cache of these outputs.
    pub(crate) async fn of(outputs: &[&Output]) -> Self {
        let cache = Self::start().await;
        for output in outputs {
            cache.put(output, &Compression::Xz).await;
        }
        cache
    }

    pub(crate) async fn put(&self, output: &Output, compression: &Compression) {
        let narinfo = output.narinfo(compression);
        self.set(
            &format!("/{}", narinfo.url),
            Reply::Bytes(packed(&output.nar, compression).await),
        );
        self.put_narinfo(&narinfo);
    }

    /// Says this of an output.
    pub(crate) fn put_narinfo(&self, narinfo: &NarInfo) {
        let text = narinfo.print(&StoreDir::default());
        self.set(
            &format!("/{}.narinfo", narinfo.store_path.hash_part()),
            Reply::Bytes(text.into_bytes()),
        );
    }

    /// Says it has the output, and sends this for its NAR.
    pub(crate) fn put_instead(&self, output: &Output, reply: Reply) {
        let narinfo = output.narinfo(&Compression::None);
        self.set(&format!("/{}", narinfo.url), reply);
        self.put_narinfo(&narinfo);
    }

    pub(crate) fn set(&self, path: &str, reply: Reply) {
        self.site
            .lock()
            .unwrap()
            .replies
            .insert(path.to_owned(), reply);
    }

    /// Paths asked for since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.site.lock().unwrap().requests)
    }
}

async fn reply(State(site): State<Arc<Mutex<Site>>>, uri: Uri) -> Response {
    let reply = {
        let mut site = site.lock().unwrap();
        site.requests.push(uri.path().to_owned());
        site.replies.get(uri.path()).cloned()
    };
    let then = |bytes: Vec<u8>, broken: bool| {
        let first = futures::stream::iter([Ok(Bytes::from(bytes))]);
        let rest = async move {
            if !broken {
                std::future::pending::<()>().await;
            }
            Err(std::io::Error::other("broken off"))
        };
        Body::from_stream(futures::StreamExt::chain(
            first,
            futures::stream::once(rest),
        ))
        .into_response()
    };
    match reply {
        Some(Reply::Bytes(bytes)) => bytes.into_response(),
        Some(Reply::Status(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Reply::Cut(bytes)) => then(bytes, true),
        Some(Reply::Stall(bytes)) => then(bytes, false),
        Some(Reply::Silence) => std::future::pending().await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

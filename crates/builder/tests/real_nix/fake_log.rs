//! A log in this process that keeps what it is given, and is away or refuses as told.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use quorix_trust::attestation::Entry;
use quorix_wire::channel::in_memory;
use quorix_wire::client::LogClient;
use quorix_wire::entry::decode;
use quorix_wire::pb;
use quorix_wire::pb::log_service_server::{LogService, LogServiceServer};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// Cheap to clone: all are one log.
#[derive(Clone, Default)]
pub(crate) struct FakeLog(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    entries: Vec<Vec<u8>>,
    blobs: Vec<Vec<u8>>,
    away: bool,
    refused_name: Option<String>,
    calls: u64,
}

impl FakeLog {
    /// A client of this log, which is served as long as the client lives.
    pub(crate) fn client(&self) -> LogClient {
        let (channel, incoming) = in_memory();
        let service =
            LogServiceServer::new(self.clone()).max_decoding_message_size(64 * 1024 * 1024);
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming),
        );
        LogClient::new(channel)
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.0.lock().unwrap().away = away;
    }

    /// Refuses every submission with an entry about a path of this name.
    pub(crate) fn refuse(&self, name: &str) {
        self.0.lock().unwrap().refused_name = Some(name.to_owned());
    }

    pub(crate) fn calls(&self) -> u64 {
        self.0.lock().unwrap().calls
    }

    /// The entries, in the order in which they were taken.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0
            .lock()
            .unwrap()
            .entries
            .iter()
            .map(|bytes| decode(bytes).unwrap())
            .collect()
    }

    /// The names of the paths that the entries are about.
    pub(crate) fn names(&self) -> Vec<String> {
        self.entries().iter().map(name).collect()
    }

    pub(crate) fn blobs(&self) -> BTreeSet<Vec<u8>> {
        self.0.lock().unwrap().blobs.iter().cloned().collect()
    }
}

fn name(entry: &Entry) -> String {
    entry.output().unwrap().1.name().to_owned()
}

#[tonic::async_trait]
impl LogService for FakeLog {
    async fn submit(
        &self,
        request: Request<pb::SubmitRequest>,
    ) -> Result<Response<pb::SubmitResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.0.lock().unwrap();
        state.calls += 1;
        if state.away {
            return Err(Status::unavailable("stopping"));
        }
        let refused = |bytes: &&Vec<u8>| Some(name(&decode(bytes).unwrap())) == state.refused_name;
        if request.entries.iter().find(refused).is_some() {
            return Err(Status::invalid_argument("this log does not take that"));
        }
        let mut receipts = Vec::new();
        for entry in request.entries {
            let known = state.entries.iter().position(|known| *known == entry);
            let index = known.unwrap_or(state.entries.len());
            if known.is_none() {
                state.entries.push(entry);
            }
            receipts.push(pb::Receipt {
                index: u64::try_from(index).unwrap(),
                duplicate: known.is_some(),
            });
        }
        state.blobs.extend(request.blobs);
        Ok(Response::new(pb::SubmitResponse {
            receipts,
            checkpoint: b"checkpoint".to_vec(),
        }))
    }

    async fn rotate(
        &self,
        _: Request<pb::RotateRequest>,
    ) -> Result<Response<pb::SubmitResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn backup(
        &self,
        _: Request<pb::BackupRequest>,
    ) -> Result<Response<pb::BackupResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn get_status(
        &self,
        _: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

//! The clients against services in this process.

use std::sync::Arc;

use futures::StreamExt as _;
use quorix_nix::store_path::HashPart;
use quorix_testkit::entries::{a_path, a_small_entry, log_key};
use quorix_trust::evidence::LogState;
use quorix_trust::policy::Policy;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::*;
use crate::address::Address;
use crate::channel::{connect, in_memory};
use crate::pb::log_service_server::{LogService, LogServiceServer};

/// A log that answers a submission with what it was given, or refuses it.
struct TestLog(Result<pb::SubmitResponse, Status>);

#[tonic::async_trait]
impl LogService for TestLog {
    async fn submit(
        &self,
        _: Request<pb::SubmitRequest>,
    ) -> Result<Response<pb::SubmitResponse>, Status> {
        self.0.clone().map(Response::new)
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
        Ok(Response::new(pb::GetStatusResponse {
            size: 7,
            ..pb::GetStatusResponse::default()
        }))
    }
}

fn a_log(answer: Result<pb::SubmitResponse, Status>) -> LogClient {
    let (channel, incoming) = in_memory();
    let server = Server::builder().add_service(LogServiceServer::new(TestLog(answer)));
    tokio::spawn(server.serve_with_incoming(incoming));
    LogClient::new(channel)
}

fn receipts(count: u64) -> pb::SubmitResponse {
    let receipt = |index| pb::Receipt {
        index,
        duplicate: index == 1,
    };
    pb::SubmitResponse {
        receipts: (0..count).map(receipt).collect(),
        checkpoint: b"note".to_vec(),
    }
}

#[tokio::test]
async fn a_submission_gets_an_index_for_each_entry() {
    let log = a_log(Ok(receipts(2)));
    let submitted = log
        .submit(vec![a_small_entry(0), a_small_entry(1)], vec![])
        .await;
    let indices = vec![(0, false), (1, true)];
    assert_eq!(
        submitted,
        Ok(Submitted {
            indices,
            checkpoint: b"note".to_vec()
        })
    );
    assert_eq!(log.status().await.unwrap().size, 7);
}

#[tokio::test]
async fn a_submission_without_an_index_for_each_entry_is_no_success() {
    let answered = a_log(Ok(receipts(1)))
        .submit(vec![a_small_entry(0), a_small_entry(1)], vec![])
        .await;
    let message = "the log answered 1 receipts for 2 entries".to_owned();
    assert_eq!(answered, Err(ClientError::InvalidAnswer(message)));
    for entries in [vec![], vec![vec![]; 1025]] {
        let refused = a_log(Ok(receipts(0))).submit(entries, vec![]).await;
        assert!(
            matches!(refused, Err(ClientError::InvalidRequest(_))),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_a_service_refuses_is_told_in_its_words() {
    let submit = |status| async {
        a_log(Err(status))
            .submit(vec![a_small_entry(0)], vec![])
            .await
            .unwrap_err()
    };
    let refused = submit(Status::invalid_argument("entry 0: build.nar_size: is 0")).await;
    assert_eq!(
        refused,
        ClientError::InvalidRequest("entry 0: build.nar_size: is 0".to_owned())
    );
    let full = submit(Status::resource_exhausted("the disk is full")).await;
    assert_eq!(
        full,
        ClientError::ResourceExhausted("the disk is full".to_owned())
    );
    let away = submit(Status::unavailable("shutting down\x07")).await;
    assert_eq!(
        away,
        ClientError::Unavailable("the log is not available: shutting down".to_owned())
    );
    // Whoever takes this for a refusal of the entries would throw them away.
    let stopped = submit(Status::failed_precondition("the log has stopped")).await;
    let expected = "the log takes nothing now: the log has stopped".to_owned();
    assert_eq!(stopped, ClientError::Unavailable(expected));
    let other = submit(Status::internal("oops")).await;
    assert_eq!(other, ClientError::Other("the log failed: oops".to_owned()));
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable_with_the_reason() {
    let (channel, incoming) = in_memory();
    drop(incoming);
    let gone = LogClient::new(channel).status().await.unwrap_err();
    assert_eq!(
        gone,
        ClientError::Unavailable("the log cannot be reached: the service has stopped".to_owned())
    );

    let directory = tempfile::tempdir().unwrap();
    let socket = Address::Unix(directory.path().join("absent.sock"));
    let absent = LogClient::new(connect(&socket).unwrap())
        .status()
        .await
        .unwrap_err();
    let reason = "the log cannot be reached: No such file or directory".to_owned();
    assert_eq!(absent, ClientError::Unavailable(reason));

    let unused = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let closed = connect(&Address::Tcp(unused.to_string())).unwrap();
    let refused = LogClient::new(closed).status().await.unwrap_err();
    assert_eq!(
        refused,
        ClientError::Unavailable("the log cannot be reached: Connection refused".to_owned())
    );
}

#[tokio::test]
async fn a_unix_socket_leads_to_a_service() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("submit.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let connections = futures::stream::unfold(listener, |listener| async {
        Some((listener.accept().await.map(|(stream, _)| stream), listener))
    });
    let server = Server::builder().add_service(LogServiceServer::new(TestLog(Ok(receipts(1)))));
    tokio::spawn(server.serve_with_incoming(connections.boxed()));
    let log = LogClient::new(connect(&Address::Unix(path)).unwrap());
    assert_eq!(log.status().await.unwrap().size, 7);
}

fn a_policy() -> Arc<Policy> {
    let key = log_key("logs.example.org/alice").verifier().clone();
    let text = format!(
        "builder alice {key} https://logs.example.org/alice operator=alice\nquorum none\nvoters one 1 alice\n\
         rule main quorum=one level=path\ndefault main\n"
    );
    Arc::new(Policy::parse(&text).unwrap())
}

#[tokio::test]
async fn an_aggregator_that_is_another_service_gives_no_evidence() {
    let (channel, incoming) = in_memory();
    let server = Server::builder().add_service(LogServiceServer::new(TestLog(Ok(receipts(1)))));
    tokio::spawn(server.serve_with_incoming(incoming));
    let aggregator = AggregatorClient::new(channel, a_policy());
    let refused = aggregator
        .evidence(&[a_path("hello").hash_part()], false)
        .await
        .unwrap_err();
    let message = "the aggregator does not know this request; is it of this version?".to_owned();
    assert_eq!(refused, ClientError::Other(message));
}

#[tokio::test]
async fn too_much_is_not_even_asked() {
    let (channel, _incoming) = in_memory();
    let aggregator = AggregatorClient::new(channel, a_policy());
    let many: Vec<HashPart> = vec![a_path("hello").hash_part(); 10_001];
    let refused = aggregator.evidence(&many, false).await.unwrap_err();
    assert!(
        matches!(refused, ClientError::InvalidRequest(_)),
        "{refused:?}"
    );
}

mod aggregator {
    use futures::stream::BoxStream;
    use pb::aggregator_service_server::{AggregatorService, AggregatorServiceServer};

    use super::*;

    type Answer<T> = Result<Response<T>, Status>;

    /// An aggregator that answers every request with nothing.
    struct Silent;

    #[tonic::async_trait]
    impl AggregatorService for Silent {
        type DecideStreamStream = BoxStream<'static, Result<pb::DecideManyResponse, Status>>;
        type WatchEventsStream = BoxStream<'static, Result<pb::Event, Status>>;

        async fn decide_stream(
            &self,
            _: Request<pb::DecideManyRequest>,
        ) -> Answer<Self::DecideStreamStream> {
            Ok(Response::new(futures::stream::empty().boxed()))
        }

        async fn decide(&self, _: Request<pb::DecideRequest>) -> Answer<pb::DecideResponse> {
            Ok(Response::new(Default::default()))
        }
        async fn decide_many(
            &self,
            _: Request<pb::DecideManyRequest>,
        ) -> Answer<pb::DecideManyResponse> {
            Ok(Response::new(Default::default()))
        }
        async fn get_evidence(
            &self,
            _: Request<pb::GetEvidenceRequest>,
        ) -> Answer<pb::GetEvidenceResponse> {
            Ok(Response::new(Default::default()))
        }
        async fn list_logs(&self, _: Request<pb::ListLogsRequest>) -> Answer<pb::ListLogsResponse> {
            Ok(Response::new(Default::default()))
        }
        async fn get_overview(
            &self,
            _: Request<pb::GetOverviewRequest>,
        ) -> Answer<pb::GetOverviewResponse> {
            Ok(Response::new(Default::default()))
        }
        async fn list_disagreements(
            &self,
            _: Request<pb::ListDisagreementsRequest>,
        ) -> Answer<pb::ListDisagreementsResponse> {
            Ok(Response::new(Default::default()))
        }
        async fn search(&self, _: Request<pb::SearchRequest>) -> Answer<pb::SearchResponse> {
            Ok(Response::new(Default::default()))
        }
        async fn watch_events(
            &self,
            _: Request<pb::WatchEventsRequest>,
        ) -> Answer<Self::WatchEventsStream> {
            let event = pb::Event {
                at_s: 1,
                ..pb::Event::default()
            };
            Ok(Response::new(
                futures::stream::iter([Ok(event), Err(Status::unavailable("ends"))]).boxed(),
            ))
        }
    }

    fn silent() -> AggregatorClient {
        let (channel, incoming) = in_memory();
        tokio::spawn(
            Server::builder()
                .add_service(AggregatorServiceServer::new(Silent))
                .serve_with_incoming(incoming),
        );
        AggregatorClient::new(channel, a_policy())
    }

    #[tokio::test]
    async fn an_empty_answer_is_no_decision_and_no_vote() {
        let aggregator = silent();
        let hello = a_path("hello");
        let refused = aggregator.decide(hello.as_str()).await.unwrap_err();
        assert!(
            matches!(refused, ClientError::InvalidAnswer(_)),
            "{refused:?}"
        );
        let refused = aggregator
            .decide_many(vec![hello.to_string()])
            .await
            .unwrap_err();
        assert!(
            matches!(refused, ClientError::InvalidAnswer(_)),
            "{refused:?}"
        );

        let evidence = aggregator
            .evidence(&[hello.hash_part()], true)
            .await
            .unwrap();
        assert!(matches!(
            evidence.logs["logs.example.org/alice"].state,
            LogState::Stale { .. }
        ));
        assert_eq!(evidence.outputs[&hello.hash_part()], []);
    }

    #[tokio::test]
    async fn events_come_until_the_aggregator_ends() {
        let aggregator = silent();
        let mut events = std::pin::pin!(aggregator.watch().await.unwrap());
        assert_eq!(events.next().await.unwrap().unwrap().at_s, 1);
        let ended = ClientError::Unavailable("the aggregator is not available: ends".to_owned());
        assert_eq!(events.next().await, Some(Err(ended)));
        assert_eq!(events.next().await, None);
    }
}

/// A log that is busy so many times, as the tests of its own gate say it, and then takes what it is given.
struct BusyLog {
    refusals: std::sync::atomic::AtomicU32,
    asked: tokio::sync::mpsc::UnboundedSender<tokio::time::Instant>,
}

#[tonic::async_trait]
impl LogService for BusyLog {
    async fn submit(
        &self,
        request: Request<pb::SubmitRequest>,
    ) -> Result<Response<pb::SubmitResponse>, Status> {
        use std::sync::atomic::Ordering::SeqCst;
        self.asked.send(tokio::time::Instant::now()).unwrap();
        let left = self
            .refusals
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            let count = request.into_inner().entries.len() as u64;
            return Ok(Response::new(receipts(count)));
        }
        let mut status = Status::resource_exhausted("busy: try again in a moment");
        status
            .metadata_mut()
            .insert("grpc-retry-pushback-ms", 700_u64.into());
        Err(status)
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
        Err(Status::unimplemented("not asked"))
    }
}

/// How a client fares with a log that is busy so often, and when it asked.
async fn patience(refusals: u32) -> (Result<Submitted, ClientError>, Vec<tokio::time::Instant>) {
    let (asked, mut times) = tokio::sync::mpsc::unbounded_channel();
    let (channel, incoming) = in_memory();
    let log = BusyLog {
        refusals: refusals.into(),
        asked,
    };
    let server = Server::builder().add_service(LogServiceServer::new(log));
    tokio::spawn(server.serve_with_incoming(incoming));
    let client = LogClient::new(channel);
    let answer = client
        .submit_patiently(vec![a_small_entry(0)], vec![])
        .await;
    let mut all = Vec::new();
    while let Ok(time) = times.try_recv() {
        all.push(time);
    }
    (answer, all)
}

#[tokio::test(start_paused = true)]
async fn a_busy_log_is_asked_again_not_sooner_than_it_says() {
    let (answer, times) = patience(4).await;
    assert_eq!(answer.unwrap().indices, [(0, false)]);
    assert_eq!(times.len(), 5);
    let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
    let (least, most) = (
        std::time::Duration::from_millis(700),
        std::time::Duration::from_millis(1_060),
    );
    for pause in pauses {
        assert!((least..=most).contains(&pause), "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_stays_busy_is_not_asked_for_ever() {
    let (answer, times) = patience(100).await;
    let expected = ClientError::Pushback {
        message: "busy: try again in a moment".to_owned(),
        wait: std::time::Duration::from_millis(700),
    };
    assert_eq!((answer, times.len()), (Err(expected), 5));
}

//! An aggregator that leaves out what does not suit it is believed by who asks nobody else, and caught by who asks the logs.
//! Without Nix: logs and the honest aggregator are processes; the hostile one stands between it and the user.

use std::fs;
use std::path::Path;

use quorix::demo::client::until;
use quorix::demo::world::{BuilderHost, UserHost, free_port};
use quorix_nix::store_path::StoreDir;
use quorix_testkit::entries::{a_path, a_retraction_of, a_small_entry, an_attestation, bytes_of};
use quorix_wire::channel;
use quorix_wire::pb;
use quorix_wire::pb::aggregator_service_client::AggregatorServiceClient;
use quorix_wire::pb::aggregator_service_server::{AggregatorService, AggregatorServiceServer};
use tonic::codegen::BoxStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

use crate::stage::{folder, quorix};
use crate::world::{Answer as Ran, covered, run, submit, text};

/// Alters an honest answer.
pub(crate) type Lie = fn(&mut pb::GetEvidenceResponse);

/// An aggregator that answers as the honest one does, and lies.
struct Hostile {
    honest: AggregatorServiceClient<Channel>,
    lie: Lie,
}

type Answer<T> = Result<Response<T>, Status>;

fn nothing<T>() -> Answer<T> {
    Err(Status::unimplemented("nobody asks this here"))
}

#[tonic::async_trait]
impl AggregatorService for Hostile {
    type DecideStreamStream = BoxStream<pb::DecideManyResponse>;
    type WatchEventsStream = BoxStream<pb::Event>;

    async fn get_evidence(
        &self,
        request: Request<pb::GetEvidenceRequest>,
    ) -> Answer<pb::GetEvidenceResponse> {
        let mut honest = self.honest.clone();
        let mut answer = honest
            .get_evidence(request.into_inner())
            .await?
            .into_inner();
        (self.lie)(&mut answer);
        Ok(answer.into())
    }

    async fn decide(&self, _: Request<pb::DecideRequest>) -> Answer<pb::DecideResponse> {
        nothing()
    }

    async fn decide_many(
        &self,
        _: Request<pb::DecideManyRequest>,
    ) -> Answer<pb::DecideManyResponse> {
        nothing()
    }

    async fn decide_stream(
        &self,
        _: Request<pb::DecideManyRequest>,
    ) -> Answer<Self::DecideStreamStream> {
        nothing()
    }

    async fn list_logs(&self, _: Request<pb::ListLogsRequest>) -> Answer<pb::ListLogsResponse> {
        nothing()
    }

    async fn get_overview(
        &self,
        _: Request<pb::GetOverviewRequest>,
    ) -> Answer<pb::GetOverviewResponse> {
        nothing()
    }

    async fn list_disagreements(
        &self,
        _: Request<pb::ListDisagreementsRequest>,
    ) -> Answer<pb::ListDisagreementsResponse> {
        nothing()
    }

    async fn search(&self, _: Request<pb::SearchRequest>) -> Answer<pb::SearchResponse> {
        nothing()
    }

    async fn watch_events(
        &self,
        _: Request<pb::WatchEventsRequest>,
    ) -> Answer<Self::WatchEventsStream> {
        nothing()
    }
}

/// Starts a hostile aggregator before an honest one, and gives its address.
pub(crate) async fn hostile(honest: &UserHost, lie: Lie) -> String {
    let channel = channel::connect(&honest.aggregator.to_string().parse().unwrap()).unwrap();
    let honest = AggregatorServiceClient::new(channel);
    let address = free_port().unwrap();
    let service = AggregatorServiceServer::new(Hostile { honest, lie });
    tokio::spawn(Server::builder().add_service(service).serve(address));
    until("the hostile aggregator answers", async || {
        tokio::net::TcpStream::connect(address).await.ok()
    })
    .await
    .unwrap();
    address.to_string()
}

/// Alice and bob, who disagree about `hello`; alice withdrew what she said of `gone`.
async fn builders(dir: &Path) -> [BuilderHost; 2] {
    let (mut alice, mut bob) = (
        BuilderHost::create(dir, "alice", &quorix(), None).unwrap(),
        BuilderHost::create(dir, "bob", &quorix(), None).unwrap(),
    );
    let gone = an_attestation().of("gone").bytes();
    let hello = |value: &str| an_attestation().of("hello").saying(value).bytes();
    alice.start().await.unwrap();
    bob.start().await.unwrap();
    let retraction = bytes_of(&a_retraction_of(&[&gone]));
    // An index covers whole steps of 16 entries; the 17th of bob's is read behind it.
    let mut of_alice = vec![hello("A"), gone, a_small_entry(1), retraction];
    of_alice.extend((10..22).map(a_small_entry));
    let mut of_bob = vec![a_small_entry(2), hello("B")];
    of_bob.extend((30..45).map(a_small_entry));
    submit(&alice, of_alice).await;
    submit(&bob, of_bob).await;
    covered(&alice, 16).await;
    covered(&bob, 16).await;
    [alice, bob]
}

/// `quorix decide` here, under the user's policy, with what an aggregator answers.
pub(crate) async fn decide(user: &UserHost, aggregator: &str, name: &str, more: &[&str]) -> Ran {
    decide_under(user, &user.policy, aggregator, name, more).await
}

async fn decide_under(
    user: &UserHost,
    policy: &Path,
    aggregator: &str,
    name: &str,
    more: &[&str],
) -> Ran {
    let path = StoreDir::default().join(&a_path(name));
    let about = [
        "decide",
        "--json",
        "--config",
        text(&user.config),
        "--policy",
        text(policy),
        "--aggregator",
        aggregator,
    ];
    run(&[&about, more, &[path.as_str()]].concat()).await
}

async fn outcome(user: &UserHost, aggregator: &str, name: &str, more: &[&str]) -> String {
    let ran = decide(user, aggregator, name, more).await;
    ran.json()["outcome"].as_str().unwrap().to_owned()
}

/// Leaves out everything that bob says.
pub(crate) fn hides_bob(answer: &mut pb::GetEvidenceResponse) {
    for output in &mut answer.outputs {
        output.entries.retain(|one| !one.origin.starts_with("bob"));
    }
}

/// Has bob's entries fail to verify, so that they are dropped.
fn breaks_proofs_of_bob(answer: &mut pb::GetEvidenceResponse) {
    let outputs = answer.outputs.iter_mut();
    for one in outputs.flat_map(|output| &mut output.entries) {
        if one.origin.starts_with("bob") {
            one.inclusion_proof.clear();
        }
    }
}

/// Says that bob's log has entries which no tree of it has, instead of what it says.
fn invents_entries_of_bob(answer: &mut pb::GetEvidenceResponse) {
    let outputs = answer.outputs.iter_mut();
    for one in outputs.flat_map(|output| &mut output.entries) {
        if one.origin.starts_with("bob") {
            one.index = 1 << 40;
        }
    }
}

/// Leaves out everything.
fn hides_everything(answer: &mut pb::GetEvidenceResponse) {
    for output in &mut answer.outputs {
        output.entries.clear();
    }
}

/// Leaves out that something was withdrawn.
pub(crate) fn hides_retractions(answer: &mut pb::GetEvidenceResponse) {
    let outputs = answer.outputs.iter_mut();
    for one in outputs.flat_map(|output| &mut output.entries) {
        one.retraction = None;
    }
}

/// Says that it knows nothing of bob's log.
fn hides_the_log_of_bob(answer: &mut pb::GetEvidenceResponse) {
    answer.logs.retain(|log| !log.origin.starts_with("bob"));
    hides_bob(answer);
}

#[tokio::test]
async fn an_aggregator_that_leaves_out_dissent_or_a_retraction_is_caught_by_who_asks_the_logs() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = folder("quorix-e2e-complete-");
    let [alice, mut bob] = builders(&dir).await;
    let policy = format!(
        "{}{}quorum none\nvoters one any alice bob\nrule main quorum=one level=path\ndefault main\n",
        alice.policy_line(),
        bob.policy_line()
    );
    let mut user = UserHost::create(&dir, "user", &quorix(), &policy, &[]).unwrap();
    user.start().await.unwrap();
    let honest = user.aggregator.to_string();
    until("the aggregator has both logs", async || {
        let of_bob = outcome(&user, &honest, "hello", &[]).await == "conflict";
        (of_bob && outcome(&user, &honest, "gone", &[]).await == "unknown").then_some(())
    })
    .await
    .unwrap();

    for (lie, name, truth, left_out) in [
        (
            hides_bob as Lie,
            "hello",
            "conflict",
            ("bob.example/log", 1, "entry"),
        ),
        (
            breaks_proofs_of_bob,
            "hello",
            "conflict",
            ("bob.example/log", 1, "entry"),
        ),
        (
            invents_entries_of_bob,
            "hello",
            "conflict",
            ("bob.example/log", 1, "entry"),
        ),
        (
            hides_retractions,
            "gone",
            "unknown",
            ("alice.example/log", 3, "retraction"),
        ),
    ] {
        let liar = hostile(&user, lie).await;
        assert_eq!(outcome(&user, &liar, name, &[]).await, "accepted", "{name}");
        let ran = decide(&user, &liar, name, &["--complete"]).await;
        let told = ran.json();
        assert_eq!((ran.code, &told["outcome"]), (1, &truth.into()), "{told}");
        assert_eq!(told["complete"]["shown"], true, "{told}");
        let found = &told["complete"]["left_out"][0];
        let (log, index, kind) = left_out;
        assert_eq!(
            (&found["log"], &found["index"], &found["kind"]),
            (&log.into(), &index.into(), &kind.into()),
            "{told}"
        );
    }
    let liar = hostile(&user, hides_the_log_of_bob).await;
    assert_eq!(outcome(&user, &liar, "hello", &[]).await, "accepted");
    let complete = ["--complete"];
    assert_eq!(outcome(&user, &liar, "hello", &complete).await, "conflict");

    honest_answers(&user, &honest).await;
    bob.stop().await.unwrap();
    without_bobs_index(&user, &honest).await;
    user.stop().await.unwrap();
    drop((alice, bob, user));
    fs::remove_dir_all(dir).unwrap();
}

/// What an honest aggregator answers is complete, and nothing was left out.
async fn honest_answers(user: &UserHost, honest: &str) {
    let told = decide(user, honest, "hello", &["--complete"]).await.json();
    assert_eq!(told["outcome"], "conflict");
    assert_eq!(
        told["complete"],
        serde_json::json!({
            "shown": true,
            "logs": [
                {"log": "alice.example/log", "shown": true, "size": 16},
                {"log": "bob.example/log", "shown": true, "size": 17},
            ],
            "left_out": [],
        })
    );
    let hash = a_path("hello").hash_part().to_string();
    let about = [
        "decide",
        "--policy",
        text(&user.policy),
        "--aggregator",
        honest,
    ];
    let ran = run(&[&about, ["--complete", hash.as_str()].as_slice()].concat()).await;
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("write the path whole"), "{}", ran.err);
}

/// A log that does not show that all of it is there adds no votes; that it said something still counts.
async fn without_bobs_index(user: &UserHost, honest: &str) {
    let ran = decide(user, honest, "hello", &["--complete"]).await;
    let told = ran.json();
    assert_eq!(told["outcome"], "conflict", "{told}");
    assert_eq!(told["complete"]["shown"], false);
    let bob = &told["complete"]["logs"][1];
    let reason = bob["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("nothing shows that all of it is there: "),
        "{reason}"
    );
    let bob = &told["operators"][1];
    assert_eq!(
        (&bob["operator"], &bob["state"]),
        (&"bob".into(), &"stale".into())
    );
}

/// More paths, each of which only the one before leads to, than are followed.
const CHAIN: u64 = 70;

#[tokio::test]
async fn a_log_that_is_silent_says_too_much_or_never_ends_costs_only_its_own_votes() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = folder("quorix-e2e-costs-");
    let create = |name| BuilderHost::create(&dir, name, &quorix(), None).unwrap();
    let (mut alice, mut bob, carol) = (create("alice"), create("bob"), create("carol"));
    alice.start().await.unwrap();
    bob.start().await.unwrap();
    // It takes connections and never answers.
    let silent = std::net::TcpListener::bind(carol.public).unwrap();
    let hello = |second: u64| an_attestation().of("hello").finished_at(second).bytes();
    submit(&alice, vec![hello(1)]).await;
    let link = |number: u64| {
        let (this, next) = (format!("link-{number}"), format!("link-{}", number + 1));
        an_attestation().of(&this).referring_to(&[&next]).bytes()
    };
    submit(&bob, (0..CHAIN).map(link).collect()).await;
    let endless: Vec<Vec<u8>> = (1..2_700).map(hello).collect();
    for batch in endless.chunks(1_000) {
        submit(&bob, batch.to_vec()).await;
    }
    covered(&bob, (CHAIN + 2_699) / 16 * 16).await;
    let [of_alice, of_bob, of_carol] = [&alice, &bob, &carol].map(BuilderHost::policy_line);
    let rest = |voters: &str, level: &str| {
        format!(
            "quorum none\nvoters one any {voters}\nrule main quorum=one level={level}\ndefault main\n"
        )
    };
    let policy = format!(
        "{of_alice}{of_bob}{of_carol}{}",
        rest("alice bob carol", "path")
    );
    let mut user = UserHost::create(&dir, "user", &quorix(), &policy, &[]).unwrap();
    user.start().await.unwrap();
    let honest = user.aggregator.to_string();
    until("the aggregator has heard alice", async || {
        (outcome(&user, &honest, "hello", &[]).await == "accepted").then_some(())
    })
    .await
    .unwrap();

    let told = decide(&user, &honest, "hello", &["--complete"])
        .await
        .json();
    assert_eq!(told["outcome"], "accepted", "{told}");
    let logs = &told["complete"]["logs"];
    assert_eq!(logs[0]["shown"], true, "{told}");
    let reason = |log: usize| logs[log]["reason"].as_str().unwrap();
    assert!(
        reason(1).contains("more than 2500 entries concern"),
        "{told}"
    );
    assert!(reason(2).contains("took longer than"), "{told}");

    let endless = dir.join("endless");
    let policy = format!("{of_alice}{of_bob}{}", rest("alice bob", "closure"));
    fs::write(&endless, policy).unwrap();
    let liar = hostile(&user, hides_everything).await;
    let ran = decide_under(&user, &endless, &liar, "link-0", &["--complete"]).await;
    let told = ran.json();
    let reason = told["complete"]["logs"][1]["reason"].as_str().unwrap();
    assert!(reason.contains("leads to ever more paths"), "{told}");
    assert_ne!(told["outcome"], "accepted", "{told}");
    user.stop().await.unwrap();
    drop((alice, bob, carol, user, silent));
    fs::remove_dir_all(dir).unwrap();
}

//! A builder whose log is elsewhere: over TLS with a token, seen by an aggregator that believes the same authority.

use std::fs;
use std::path::Path;

use quorix::demo::client::{Client, until};
use quorix::demo::world::{BuilderHost, UserHost, free_port};
use quorix_testkit::certificates::Authority;
use quorix_testkit::entries::a_small_entry;
use quorix_wire::address::Address;
use quorix_wire::channel;
use quorix_wire::client::LogClient;
use quorix_wire::pb;
use quorix_wire::pb::log_service_client::LogServiceClient;
use quorix_wire::tls::{ClientTls, certificates};
use quorix_wire::token::{AUTHORIZATION, Challenge, Token, body_digest};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::stage::{ATTRIBUTES, quorix};
use crate::world::World;

/// Moves a builder's log behind TLS; the builder itself goes there with a token. Returns where it submits.
pub(crate) fn behind_tls(builder: &BuilderHost, authority: &Authority, token: &Path) -> String {
    let home = builder.config.parent().unwrap();
    let certified = authority.server();
    fs::write(home.join("cert.pem"), certified.cert).unwrap();
    fs::write(home.join("tls.key"), certified.key).unwrap();
    fs::write(home.join("ca.pem"), authority.pem()).unwrap();
    let submit = free_port().unwrap();
    let text = fs::read_to_string(&builder.config).unwrap();
    let socket = format!("unix:{}", builder.submit.display());
    let text = text
        .replace(
            &format!("submit = \"{socket}\", public = \"{}\"", builder.public),
            &format!(
                "submit = [\"{socket}\", \"tls://{submit}\"], public = \"tls://{}\"",
                builder.public
            ),
        )
        .replace(
            &format!("log     = \"{socket}\""),
            &format!(
                "log     = \"https://{submit}\"\ntoken   = \"{}\"",
                token.display()
            ),
        )
        .replace(
            "[builder]",
            &format!("tokens = \"{}/tokens\"\n[builder]", home.display()),
        );
    let tls = format!(
        "[tls]\ncert = \"{0}/cert.pem\"\nkey  = \"{0}/tls.key\"\nca   = \"{0}/ca.pem\"\n",
        home.display()
    );
    fs::write(&builder.config, text + &tls).unwrap();
    submit.to_string()
}

pub(crate) fn over_tls(authority: &Authority, submit: &str) -> Channel {
    let ca = certificates(authority.pem().as_bytes()).unwrap();
    let address: Address = format!("https://{submit}").parse().unwrap();
    channel::connect_with(&address, Some(&ClientTls::new(&ca, None).unwrap())).unwrap()
}

/// One entry and its authorization, as somebody who sees all of it could keep them.
async fn captured(channel: &Channel, token: &Token) -> (Vec<Vec<u8>>, Vec<u8>) {
    let status = LogClient::new(channel.clone()).status().await.unwrap();
    let challenge = Challenge::read(status.challenge).unwrap();
    let entries = vec![a_small_entry(1)];
    let authorization = token.authorize(challenge, 0, body_digest(&entries, &[]));
    (entries, authorization.encode())
}

async fn send(
    channel: &Channel,
    (entries, authorization): (Vec<Vec<u8>>, Vec<u8>),
) -> Result<(), Status> {
    let blobs = Vec::new();
    let mut request = Request::new(pb::SubmitRequest { entries, blobs });
    let value = MetadataValue::from_bytes(&authorization);
    request.metadata_mut().insert_bin(AUTHORIZATION, value);
    let answer = LogServiceClient::new(channel.clone()).submit(request).await;
    answer.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_elsewhere_submits_over_tls_with_a_token_and_its_captured_request_is_good_for_nothing()
 {
    let mut world = World::with_silent_builders().await;
    let authority = Authority::new("a house of builders");
    world.note_builds("alice");
    let home = world.dir.join("alice");
    let token_file = home.join("token");
    let origin = world.builder("alice").vkey().name().to_string();
    let made = std::process::Command::new(quorix())
        .args(["token", "generate", "--log", &origin, "--name", "alice-ci"])
        .arg(&token_file)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::write(home.join("tokens"), &made.stdout).unwrap();
    let submit = behind_tls(world.builder("alice"), &authority, &token_file);
    world.builder("alice").start().await.unwrap();

    // The aggregator believes the builders' authority, and follows the log over https.
    let alice = world.builder("alice");
    let policy = format!(
        "{}quorum none\nvoters one 1 alice\nrule main quorum=one level=closure\ndefault main\n",
        alice.policy_line().replace("http://", "https://")
    );
    let mut user = UserHost::create(&world.dir, "user", &quorix(), &policy, &[]).unwrap();
    let config = fs::read_to_string(&user.config).unwrap();
    let ca = format!("[tls]\nca = \"{}/ca.pem\"\n", home.display());
    fs::write(&user.config, config + &ca).unwrap();
    user.start().await.unwrap();
    let client = Client::new(user.aggregator, &user.substituter()).unwrap();
    until("all that the builder attested is followed", async || {
        let logs = client.logs().await.ok()?;
        let log = logs.first()?;
        (log.indexed >= ATTRIBUTES.len() as u64 && log.state() == pb::LogState::Live).then_some(())
    })
    .await
    .unwrap();

    // So does whoever asks the log itself, with a configuration that names that authority and not without one.
    let alice = world.builder("alice");
    let (vkey, url) = (
        alice.vkey().to_string(),
        format!("https://{}", alice.public),
    );
    let tail = ["log", "tail", "--log", &vkey, "--url", &url, "--config"];
    let told = |config: &Path| {
        let mut quorix = std::process::Command::new(quorix());
        quorix.args(tail).arg(config).output().unwrap()
    };
    let (known, unknown) = (told(&user.config), told(&home.join("no-configuration")));
    assert_eq!(known.status.code(), Some(0), "{known:?}");
    assert_eq!(unknown.status.code(), Some(3), "{unknown:?}");

    let channel = over_tls(&authority, &submit);
    let token: Token = fs::read_to_string(&token_file).unwrap().parse().unwrap();
    let captured = captured(&channel, &token).await;
    send(&channel, captured.clone()).await.unwrap();
    let replayed = send(&channel, captured.clone()).await.unwrap_err();
    assert_eq!(replayed.code(), Code::Unauthenticated, "{replayed}");
    let builder = world.builder("alice");
    builder.stop().await.unwrap();
    builder.start().await.unwrap();
    let replayed = send(&over_tls(&authority, &submit), captured)
        .await
        .unwrap_err();
    assert_eq!(replayed.code(), Code::Unauthenticated, "{replayed}");
}

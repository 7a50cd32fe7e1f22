//! Whole nodes whose log takes entries over TLS, from whom it knows.

use std::path::PathBuf;

use quorix_testkit::certificates::{Authority, Certified};
use quorix_testkit::entries::a_small_entry;
use quorix_wire::address::Address;
use quorix_wire::client::{ClientError, LogClient};
use quorix_wire::fetch::{FetchLimits, Fetcher};
use quorix_wire::token::Token;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::TlsSection;
use crate::demo::client::until;
use crate::demo::world::{BuilderHost, free_port};
use crate::wiring::{self, Node};

/// A builder whose log also listens with TLS, not started.
struct Host {
    dir: tempfile::TempDir,
    builder: BuilderHost,
    authority: Authority,
    submit: Address,
    metrics: String,
}

impl Host {
    /// `more` stands in `[log]`.
    fn new(more: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("ours");
        let builder = BuilderHost::create(dir.path(), "alice", Path::new("quorix"), None).unwrap();
        let (submit, metrics) = (free_port().unwrap(), free_port().unwrap());
        let host = Self {
            dir,
            builder,
            authority,
            submit: format!("https://localhost:{}", submit.port())
                .parse()
                .unwrap(),
            metrics: metrics.to_string(),
        };
        let certified = host.authority.server();
        host.write("cert.pem", &certified.cert);
        host.write("key.pem", &certified.key);
        host.write("ca.pem", &host.authority.pem());
        let text = std::fs::read_to_string(&host.builder.config).unwrap();
        let folder = host.dir.path().display();
        let socket = format!("\"unix:{}\"", host.builder.submit.display());
        let text = text
            .replacen(&socket, &format!("[{socket}, \"tls://{submit}\"]"), 1)
            .replace("[builder]", &format!("{more}\n[builder]"))
            .replace("DIR", &folder.to_string());
        let sections = format!(
            "[tls]\ncert = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"\nclient_ca = \"{folder}/ca.pem\"\n\
             [metrics]\nlisten = \"{metrics}\"\n"
        );
        std::fs::write(&host.builder.config, text + &sections).unwrap();
        host
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
    }

    fn token(&self, name: &str, seed: u8) -> Token {
        Token::from_seed(self.builder.vkey().name().as_str(), name, [seed; 32]).unwrap()
    }

    async fn start(&self) -> (Node, CancellationToken) {
        let config = crate::commands::configuration(&self.builder.config).unwrap();
        let stop = CancellationToken::new();
        (wiring::start(&config, stop.clone()).await.unwrap(), stop)
    }

    /// A client over TLS, perhaps with a certificate.
    fn client(&self, certified: Option<&Certified>) -> LogClient {
        let mut section = TlsSection {
            ca: Some(self.file("ca.pem")),
            ..TlsSection::default()
        };
        if let Some(Certified { cert, key, .. }) = certified {
            self.write("client.pem", cert);
            self.write("client.key", key);
            section.client_cert = Some(self.file("client.pem"));
            section.client_key = Some(self.file("client.key"));
        }
        LogClient::new(wiring::tls::channel(&self.submit, &section).unwrap())
    }
}

async fn submits(client: &LogClient, n: u64) -> Result<u64, ClientError> {
    let submitted = client.submit(vec![a_small_entry(n)], vec![]).await;
    submitted.map(|submitted| submitted.indices.first().unwrap().0)
}

fn is_refused(answer: &Result<u64, ClientError>) -> bool {
    matches!(answer, Err(ClientError::Other(reason)) if reason.starts_with("the log does not permit this: this log takes entries from whom it knows"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_takes_entries_over_tls_from_tokens_and_named_certificates_and_from_nobody_else() {
    let host = Host::new("tokens = \"DIR/tokens\"\nclients = [\"ci.example.org\"]");
    let token = host.token("alice-ci", 1);
    host.write("tokens", &token.grant().to_string());
    let (node, stop) = host.start().await;

    let by_token = host.client(None).with_token(token);
    assert_eq!(submits(&by_token, 0).await, Ok(0));
    let ci = host.authority.client("ci.example.org");
    assert_eq!(submits(&host.client(Some(&ci)), 1).await, Ok(1));
    let socket = Address::Unix(host.builder.submit.clone());
    let socket = LogClient::new(quorix_wire::channel::connect(&socket).unwrap());
    assert_eq!(submits(&socket, 2).await, Ok(2));

    let other = host.authority.client("other.example.org");
    for stranger in [
        host.client(None),
        host.client(Some(&other)),
        host.client(None).with_token(host.token("alice-ci", 2)),
    ] {
        let refused = submits(&stranger, 3).await;
        assert!(is_refused(&refused), "{refused:?}");
    }

    let fetcher = Fetcher::new(FetchLimits::default()).unwrap();
    let metrics = fetcher
        .get(&format!("http://{}/metrics", host.metrics), 1 << 20)
        .await;
    let metrics = String::from_utf8(metrics.unwrap().to_vec()).unwrap();
    for line in [
        "quorix_log_submitter_entries_total{submitter=\"token alice-ci\"} 1",
        "quorix_log_submitter_entries_total{submitter=\"certificate ci.example.org\"} 1",
        "quorix_log_submitter_entries_total{submitter=\"owner\"} 1",
        "quorix_log_access_refused_total{reason=\"not_known\"} 3",
    ] {
        assert!(metrics.contains(line), "{line} in:\n{metrics}");
    }
    stop.cancel();
    node.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_that_changes_is_taken_up_and_who_is_no_longer_in_it_is_refused() {
    let host = Host::new("tokens = \"DIR/tokens\"");
    let (alice, bob) = (host.token("alice", 1), host.token("bob", 2));
    host.write("tokens", &alice.grant().to_string());
    let (node, stop) = host.start().await;
    let (by_alice, by_bob) = (
        host.client(None).with_token(alice),
        host.client(None).with_token(bob.clone()),
    );
    assert_eq!(submits(&by_alice, 0).await, Ok(0));
    assert!(is_refused(&submits(&by_bob, 1).await));

    host.write("tokens", &bob.grant().to_string());
    until("the new token is taken up", async || {
        submits(&by_bob, 1).await.ok()
    })
    .await
    .unwrap();
    assert!(is_refused(&submits(&by_alice, 2).await));
    stop.cancel();
    node.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_bad_token_file_does_not_start() {
    let host = Host::new("tokens = \"DIR/tokens\"");
    host.write("tokens", "nonsense");
    let config = crate::commands::configuration(&host.builder.config).unwrap();
    let error = wiring::start(&config, CancellationToken::new())
        .await
        .err()
        .unwrap();
    let file = host.file("tokens");
    let expected = format!("{}: line 1: expected `ORIGIN NAME:BASE64`", file.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn a_user_is_a_number_or_a_name_that_the_machine_knows() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passwd");
    std::fs::write(
        &file,
        "root:x:0:0::/:/bin/sh\nci:x:1001:100::/:\nbad:x:many:1::/:\n",
    )
    .unwrap();
    let id = |principal| id_of(&principal, &file);
    assert_eq!(id(Principal::Id(7)), Ok(7));
    assert_eq!(id(Principal::Name("ci".into())), Ok(1001));
    for name in ["bad", "c", ""] {
        assert_eq!(
            id(Principal::Name(name.into())),
            Err(format!(
                "`{name}` is not in {}; write its number",
                file.display()
            ))
        );
    }
}

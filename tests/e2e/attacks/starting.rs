//! Mistakes and traps that would open a door: the program refuses to start, says why, and touches nothing. And doors that
//! are open: connections that are left, pages of other sites, and text that would run in a browser.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use quorix::demo::client::PATIENCE;
use quorix::demo::world::{BuilderHost, free_port};
use quorix_testkit::entries::{a_path, an_attestation, bytes_of};
use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};
use quorix_tlog::hash::leaf_hash;
use quorix_trust::attestation::{Entry, Raw, Retraction};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::scene::Scene;
use crate::stage::quorix;
use crate::world::{get, run, text, unwrapped};

/// A configured log that does not run.
fn alice(dir: &Path) -> BuilderHost {
    BuilderHost::create(dir, "alice", &quorix(), None).unwrap()
}

/// Alters a configuration, and gives what `quorix serve` says instead of starting.
async fn refused(host: &BuilderHost, config: &str) -> String {
    fs::write(&host.config, config).unwrap();
    let serve = ["serve", "--config", text(&host.config)];
    let ran = tokio::time::timeout(PATIENCE, run(&serve)).await;
    let ran = ran.expect("it ends instead of starting");
    assert!([2, 3].contains(&ran.code), "{}{}", ran.out, ran.err);
    unwrapped(&ran.err)
}

#[tokio::test]
async fn a_write_side_that_others_reach_is_refused_at_start_and_a_socket_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = alice(dir.path());
    let config = fs::read_to_string(&alice.config).unwrap();
    let socket = format!("submit = \"unix:{}\"", alice.submit.display());
    for (address, message) in [
        (
            "127.0.0.1:4999",
            "log.listen.submit: everybody on this machine can reach `127.0.0.1:4999`",
        ),
        ("0.0.0.0:4999", "log.listen.submit"),
        (
            "tls://0.0.0.0:4999",
            "log.listen.submit: nobody may submit at `0.0.0.0:4999`",
        ),
    ] {
        let exposed = config.replace(&socket, &format!("submit = \"{address}\""));
        assert_ne!(exposed, config);
        let tls = match address.starts_with("tls:") {
            true => {
                "[tls]
cert = \"/nonexistent/c\"
key = \"/nonexistent/k\"
"
            }
            false => "",
        };
        let said = refused(&alice, &(exposed + tls)).await;
        assert!(said.contains(message), "{address}: {said}");
    }
    fs::write(&alice.config, &config).unwrap();
    alice.start().await.unwrap();
    let mode = fs::metadata(&alice.submit).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    alice.stop().await.unwrap();
}

#[tokio::test]
async fn a_listener_in_the_place_of_a_file_starts_nothing_and_leaves_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let alice = alice(dir.path());
    let config = fs::read_to_string(&alice.config).unwrap();
    let precious = dir.path().join("precious");
    fs::write(&precious, "a secret").unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&precious, &link).unwrap();
    for place in [&precious, &link] {
        let socket = format!("submit = \"unix:{}\"", alice.submit.display());
        let there = config.replace(&socket, &format!("submit = \"unix:{}\"", place.display()));
        let said = refused(&alice, &there).await;
        assert!(
            said.contains("there is a file that is no socket; it was left as it is"),
            "{said}"
        );
        assert_eq!(fs::read_to_string(&precious).unwrap(), "a secret");
    }
}

#[tokio::test]
async fn no_builder_cosigns_its_own_log_and_no_key_has_two_roles_in_a_process_that_starts() {
    let dir = tempfile::tempdir().unwrap();
    let alice = alice(dir.path());
    let config = fs::read_to_string(&alice.config).unwrap();
    let write = |name: &str, seed: u8| {
        let cosigner = format!("alice.example/{name}").parse().unwrap();
        let key = CosignerSigningKey::from_seed(cosigner, Algorithm::Ed25519, [seed; 32]);
        fs::write(dir.path().join(name), key.to_text() + "\n").unwrap();
        key
    };
    let (witness, _) = (write("witness", 2), write("mirror", 2));
    let role = |name: &str, log: &str| {
        let (home, listen) = (dir.path().display(), free_port().unwrap());
        match name {
            "witness" => format!(
                "[witness]\nkey = \"{home}/witness\"\nlogs = [\"{log}\"]\nlisten = \"{listen}\"\n"
            ),
            _ => format!(
                "[mirror]\nkey = \"{home}/mirror\"\nlisten = \"{listen}\"\n[[mirror.logs]]\nvkey = \"{log}\"\nurls = [\"http://127.0.0.1:1\"]\n"
            ),
        }
    };
    let own = alice.vkey().to_string();
    let said = refused(&alice, &(config.clone() + &role("witness", &own))).await;
    let sentence = "is the log of this same configuration, and nobody vouches for themselves";
    assert!(said.contains(sentence), "{said}");

    let bob = quorix_testkit::entries::log_key("bob.example/log")
        .verifier()
        .to_string();
    let policy = dir.path().join("witnesses");
    let me = format!(
        "witness me {} http://127.0.0.1:1\nquorum me\n",
        witness.verifier()
    );
    fs::write(&policy, me).unwrap();
    let asks = format!("witness_policy = \"{}\"\n[builder]", policy.display());
    let asks = config.replacen("[builder]", &asks, 1) + &role("witness", &bob);
    let said = refused(&alice, &asks).await;
    assert!(
        said.contains("`me` on line 1 is the witness of this same configuration"),
        "{said}"
    );

    let twice = config + &role("witness", &bob) + &role("mirror", &bob);
    let said = refused(&alice, &twice).await;
    assert!(
        said.contains("mirror.key: that is the key of [witness] too"),
        "{said}"
    );
}

#[tokio::test]
async fn connections_that_are_opened_and_left_are_let_go_and_others_are_served_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = alice(dir.path());
    alice.start().await.unwrap();
    let url = format!("{}/index/status", alice.url());
    let mut left = Vec::new();
    for bytes in [
        b"".as_slice(),
        b"GET /chec",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"PRI * HTTP/2",
    ] {
        let mut stream = TcpStream::connect(alice.public).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        left.push(stream);
    }
    // More than a listener has room for, from somebody who never says a word.
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(TcpStream::connect(alice.public).await.unwrap());
    }
    assert_eq!(get(&url).await.0, 200);
    for stream in left.iter_mut().chain(&mut crowd) {
        let mut said = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        let _ = ended.expect("it is let go");
        assert!(!String::from_utf8_lossy(&said).contains(" 200"), "{said:?}");
    }
    assert_eq!(get(&url).await.0, 200);
    alice.stop().await.unwrap();
}

#[tokio::test]
async fn a_page_of_another_site_reads_nothing_of_a_running_aggregator_and_sends_it_no_json() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let rules = "voters one any alice\nrule main quorum=one level=path\ndefault main\n";
    let scene = Scene::of(&[("alice", vec![an_attestation().bytes()])], rules).await;
    let url = format!("http://{}/api/v1/logs", scene.host.aggregator);
    let client = reqwest::Client::new();
    let as_page = |asked: reqwest::RequestBuilder| asked.header("origin", "https://evil.example");
    let read = as_page(client.get(&url)).send().await.unwrap();
    assert_eq!(read.headers().get("access-control-allow-origin"), None);
    let overview = format!(
        "http://{}/quorix.v1.AggregatorService/GetOverview",
        scene.host.aggregator
    );
    let preflight = as_page(client.request(reqwest::Method::OPTIONS, &overview))
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let preflight = preflight.send().await.unwrap();
    assert_eq!(preflight.headers().get("access-control-allow-origin"), None);
    // What a form or a page without permission can send has one of three types, and none of them is JSON.
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let sent = as_page(client.post(format!("http://{}/api/v1/decide", scene.host.aggregator)));
        let sent = sent.header("content-type", kind).body("{\"paths\":[]}");
        let answer = sent.send().await.unwrap();
        assert_eq!(answer.status(), 415, "{kind}");
        assert_eq!(answer.headers().get("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn hostile_text_of_builders_runs_on_no_page_of_a_running_dashboard() {
    const SCRIPT: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>";
    let mut build = an_attestation().build();
    build.system = SCRIPT.to_owned();
    build.environment.kernel = SCRIPT.to_owned();
    build.environment.nix_implementation = SCRIPT.to_owned();
    let withdrawn = an_attestation().saying("B").bytes();
    let entries = vec![
        bytes_of(&Entry::Build(Box::new(build))),
        withdrawn.clone(),
        bytes_of(&Entry::Retraction(Retraction {
            leaf_hashes: [leaf_hash(&withdrawn)].into(),
            reason: SCRIPT.to_owned(),
        })),
        bytes_of(&Entry::Raw(Raw {
            protocol: SCRIPT.to_owned(),
            key: SCRIPT.as_bytes().to_vec(),
            value: [7; 32],
        })),
        SCRIPT.as_bytes().to_vec(),
    ];
    let rules = "voters one any alice\nrule main quorum=one level=path\ndefault main\n";
    let bob = vec![an_attestation().saying("C").bytes()];
    let scene = Scene::of(&[("alice", entries), ("bob", bob)], rules).await;
    let hello = a_path("hello");
    let mut shown = String::new();
    for page in [
        "/".to_owned(),
        "/logs".to_owned(),
        "/logs/alice".to_owned(),
        format!("/output/{hello}"),
        "/disagreements".to_owned(),
        "/disagreements?system=%22%3E%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        "/search?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        "/output/%3Cscript%3Ealert(1)%3C%2Fscript%3E".to_owned(),
    ] {
        let url = format!("http://{}{page}", scene.host.dashboard);
        let answer = reqwest::get(url).await.unwrap();
        let csp = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(csp.contains("default-src 'none'"), "{page}: {csp}");
        assert!(!csp.contains("unsafe-inline"), "{page}: {csp}");
        let html = answer.text().await.unwrap();
        assert!(
            !html.contains("<script>alert") && !html.contains("<img src=x"),
            "{page}: {html}"
        );
        shown += &html;
    }
    assert!(shown.contains("&#60;script&#62;alert(1)"), "{shown}");
}

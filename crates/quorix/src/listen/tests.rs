//! Listeners with TLS and without, against clients that are honest, strange, slow or late.

use std::path::PathBuf;
use std::sync::Mutex;

use axum::Router;
use axum::routing::get;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use quorix_testkit::certificates::{Authority, Certified};
use quorix_wire::address::Address;
use quorix_wire::channel;
use quorix_wire::fetch::{FetchLimits, Fetcher};
use quorix_wire::tls::{ClientTls, Identity, certificates};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::accept::Connections;
use super::idle::Open;
use super::*;
use crate::config::TlsSection;

/// A server's files, and a listener that uses them.
struct Host {
    dir: TempDir,
    authority: Authority,
    section: TlsSection,
}

impl Host {
    fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
        let file = |name: &str| Some(dir.path().join(name));
        let section = TlsSection {
            cert: file("cert.pem"),
            key: file("key.pem"),
            ..TlsSection::default()
        };
        let host = Self {
            dir,
            authority,
            section,
        };
        host.install(&host.authority.server());
        host
    }

    fn with_client_ca(mut self) -> Self {
        let file = self.file("clients.pem");
        std::fs::write(&file, self.authority.pem()).unwrap();
        self.section.client_ca = Some(file);
        self
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn install(&self, certified: &Certified) {
        std::fs::write(self.file("cert.pem"), &certified.cert).unwrap();
        std::fs::write(self.file("key.pem"), &certified.key).unwrap();
    }

    fn tls(&self) -> Arc<ServerTls> {
        ServerTls::open(&self.section).unwrap().unwrap()
    }

    /// A client that believes our authority, perhaps with a certificate of its own.
    fn client(&self, identity: Option<&Certified>) -> ClientTls {
        client_of(&self.authority, identity)
    }
}

fn client_of(authority: &Authority, identity: Option<&Certified>) -> ClientTls {
    let ca = certificates(authority.pem().as_bytes()).unwrap();
    let identity = identity.map(|certified| {
        Identity::from_pem(certified.cert.as_bytes(), certified.key.as_bytes()).unwrap()
    });
    ClientTls::new(&ca, identity).unwrap()
}

/// Serving, until dropped.
struct Serving {
    address: String,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Failure>>,
}

impl Serving {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    fn url(&self) -> String {
        format!("https://{}/", self.address)
    }
}

async fn bound(
    tls: &Arc<ServerTls>,
    clients: Clients,
    protocols: &'static [&'static str],
) -> (Bound, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let bound = Bound {
        socket: Socket::Tcp(listener),
        tls: Some(Handshake {
            tls: Arc::clone(tls),
            clients,
            protocols,
        }),
        door: None,
    };
    (bound, address)
}

async fn http_at(tls: &Arc<ServerTls>, clients: Clients) -> Serving {
    let (bound, address) = bound(tls, clients, HTTP).await;
    let router = Router::new().route(
        "/",
        get(|request: axum::extract::Request| async move { format!("{:?}", request.version()) }),
    );
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve_http(bound, router, stop.clone()));
    Serving {
        address,
        stop,
        task,
    }
}

async fn grpc_at(tls: &Arc<ServerTls>, clients: Clients) -> Serving {
    let (bound, address) = bound(tls, clients, GRPC).await;
    let (_, health) = tonic_health::server::health_reporter();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve_grpc(bound, Routes::new(health), stop.clone()));
    Serving {
        address,
        stop,
        task,
    }
}

async fn fetch(serving: &Serving, tls: &ClientTls) -> Result<String, String> {
    let fetcher = Fetcher::with_tls(FetchLimits::default(), tls).unwrap();
    let bytes = fetcher.get(&serving.url(), 100).await;
    bytes
        .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        .map_err(|error| error.to_string())
}

async fn call(serving: &Serving, tls: &ClientTls) -> Result<(), String> {
    let address: Address = format!("https://{}", serving.address).parse().unwrap();
    let channel = channel::connect_with(&address, Some(tls)).unwrap();
    let asked = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await;
    asked.map(|_| ()).map_err(|status| format!("{:#?}", status))
}

#[tokio::test(flavor = "multi_thread")]
async fn http_and_grpc_are_served_over_tls_and_http_2_is_agreed_on() {
    let host = Host::new();
    let tls = host.tls();
    let (http, grpc) = (
        http_at(&tls, Clients::Everyone).await,
        grpc_at(&tls, Clients::Everyone).await,
    );
    let client = host.client(None);
    assert_eq!(fetch(&http, &client).await.unwrap(), "HTTP/2.0");
    call(&grpc, &client).await.unwrap();
    http.end().await;
    grpc.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_speaks_only_http_1_is_served_too() {
    let host = Host::new();
    let serving = http_at(&host.tls(), Clients::Everyone).await;
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(host.authority.pem().as_bytes()).unwrap()])
        .http1_only()
        .no_proxy()
        .build()
        .unwrap();
    let answer = client.get(serving.url()).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "HTTP/1.1");
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_authority_or_with_an_expired_certificate_is_refused() {
    let host = Host::new();
    let stranger = client_of(&Authority::new("theirs"), None);
    let (http, grpc) = (
        http_at(&host.tls(), Clients::Everyone).await,
        grpc_at(&host.tls(), Clients::Everyone).await,
    );
    for error in [
        fetch(&http, &stranger).await.unwrap_err(),
        call(&grpc, &stranger).await.unwrap_err(),
    ] {
        assert!(
            error.contains("UnknownIssuer") || error.contains("BadSignature"),
            "{error}"
        );
    }
    host.install(&host.authority.expired_server());
    let (late_http, late_grpc) = (
        http_at(&host.tls(), Clients::Everyone).await,
        grpc_at(&host.tls(), Clients::Everyone).await,
    );
    let client = host.client(None);
    for error in [
        fetch(&late_http, &client).await.unwrap_err(),
        call(&late_grpc, &client).await.unwrap_err(),
    ] {
        assert!(error.to_lowercase().contains("expired"), "{error}");
    }
    for serving in [http, grpc, late_http, late_grpc] {
        serving.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_clients_must_be_known_one_without_a_good_certificate_gets_nowhere() {
    let host = Host::new().with_client_ca();
    let serving = grpc_at(&host.tls(), Clients::Known).await;
    let ours = host.authority.client("ci.example.org");
    call(&serving, &host.client(Some(&ours))).await.unwrap();

    let theirs = Authority::new("theirs").client("ci.example.org");
    let expired = host.authority.expired_client("ci.example.org");
    for stranger in [None, Some(&theirs), Some(&expired)] {
        assert!(call(&serving, &host.client(stranger)).await.is_err());
    }
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_clients_may_be_known_no_certificate_is_fine_and_a_wrong_one_is_not() {
    let host = Host::new().with_client_ca();
    let serving = grpc_at(&host.tls(), Clients::MayBeKnown).await;
    call(&serving, &host.client(None)).await.unwrap();
    let theirs = Authority::new("theirs").client("ci.example.org");
    assert!(call(&serving, &host.client(Some(&theirs))).await.is_err());
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_taken_up_and_a_bad_one_leaves_the_old_in_use() {
    let host = Host::new();
    let tls = host.tls();
    let serving = http_at(&tls, Clients::Everyone).await;
    let client = host.client(None);
    fetch(&serving, &client).await.unwrap();

    std::fs::write(host.file("cert.pem"), "half of a certifi").unwrap();
    let error = tls.reload().unwrap_err();
    let file = host.file("cert.pem");
    assert!(
        error.starts_with(&format!("{}: no certificate is in it", file.display())),
        "{error}"
    );
    fetch(&serving, &client).await.unwrap();

    std::fs::write(&file, host.authority.server().cert).unwrap();
    let error = tls.reload().unwrap_err();
    assert!(error.contains("do not go together"), "{error}");
    fetch(&serving, &client).await.unwrap();

    // A renewal, here by another authority so that it can be told apart.
    let renewed = Authority::new("new");
    host.install(&renewed.server());
    tls.reload().unwrap();
    assert!(fetch(&serving, &client).await.is_err());
    fetch(&serving, &client_of(&renewed, None)).await.unwrap();
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_for_grpc_agrees_on_nothing_but_http_2() {
    let host = Host::new();
    let serving = grpc_at(&host.tls(), Clients::Everyone).await;
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(host.authority.pem().as_bytes()).unwrap()])
        .http1_only()
        .no_proxy()
        .build()
        .unwrap();
    assert!(client.get(serving.url()).send().await.is_err());
    serving.end().await;
}

#[tokio::test]
async fn who_does_not_finish_its_handshake_or_its_first_bytes_is_let_go_and_others_are_served_meanwhile()
 {
    let host = Host::new();
    let serving = http_at(&host.tls(), Clients::Everyone).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain_address = plain.local_addr().unwrap();
    let stop = CancellationToken::new();
    let plain = tokio::spawn(serve_http(plain, Router::new(), stop.clone()));

    // The first bytes of a handshake; half a preface of HTTP/2; nothing at all.
    let mut slow = Vec::new();
    for (address, bytes) in [
        (serving.address.clone(), b"\x16\x03\x01\x02".as_slice()),
        (plain_address.to_string(), b"PRI * HTTP/2"),
        (plain_address.to_string(), b""),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        slow.push(stream);
    }
    fetch(&serving, &host.client(None)).await.unwrap();

    // Time passes by itself from here on, whenever nothing else is to be done.
    tokio::time::pause();
    for mut stream in slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!String::from_utf8_lossy(&rest).contains("200"), "{rest:?}");
    }
    tokio::time::resume();
    stop.cancel();
    plain.await.unwrap().unwrap();
    serving.end().await;
}

#[tokio::test]
async fn a_process_at_a_socket_is_known_by_its_user() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("submit.sock");
    let socket = Socket::Unix(unix(&path, 0o600).await.unwrap());
    let mut connections = Connections::of(Bound {
        socket,
        tls: None,
        door: None,
    });
    let _client = UnixStream::connect(&path).await.unwrap();
    let connection = connections.next().await.unwrap().unwrap();
    let file = std::fs::metadata(&path).unwrap();
    let expected = quorix_log::access::Peer::Process {
        uid: file.uid(),
        gid: file.gid(),
    };
    assert_eq!(*connection.peer(), expected);
    assert_eq!(file.mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_in_the_place_of_a_socket_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.key");
    std::fs::write(&path, "a secret").unwrap();
    let error = unix(&path, 0o600).await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert!(
        error
            .to_string()
            .starts_with("there is a file that is no socket; it was left as it is"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a secret");
    // Nor is what a link points at.
    let link = dir.path().join("submit.sock");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(unix(&link, 0o600).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a secret");
    // A socket that a dead process left is replaced.
    let left = dir.path().join("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    unix(&left, 0o600).await.unwrap();
}

#[tokio::test]
async fn users_that_may_not_submit_take_few_places_of_a_socket_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("submit.sock");
    let mut connections = Connections::of(Bound {
        socket: Socket::Unix(unix(&path, 0o666).await.unwrap()),
        tls: None,
        door: Some(Arc::new(|_, _| false)),
    });
    let mut clients = Vec::new();
    let mut taken = Vec::new();
    for _ in 0..16 {
        clients.push(UnixStream::connect(&path).await.unwrap());
        taken.push(connections.next().await.unwrap().unwrap());
    }
    // The next one is let go at once.
    let mut late = UnixStream::connect(&path).await.unwrap();
    let mut rest = Vec::new();
    let _ = late.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    taken.pop();
    clients.push(UnixStream::connect(&path).await.unwrap());
    taken.push(connections.next().await.unwrap().unwrap());
}

#[tokio::test]
async fn a_connection_that_asks_for_nothing_is_ended_and_one_that_is_being_answered_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, slow) = (CancellationToken::new(), CancellationToken::new());
    let answered = slow.clone();
    let router = Router::new().route("/", get(|| async { "quick" })).route(
        "/slow",
        get(move || async move {
            answered.cancelled().await;
            "slow"
        }),
    );
    let serving = tokio::spawn(serve_http(listener, router, stop.clone()));
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(request("/").as_bytes()).await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(request("/slow").as_bytes()).await.unwrap();
    let mut beginning = [0; 15];
    idle.read_exact(&mut beginning).await.unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 200 OK");

    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(String::from_utf8_lossy(&rest).ends_with("quick"));
    // Its own limit for the head of the next request may be shorter.
    assert!(begun.elapsed() <= idle::IDLE + HEADER_PATIENCE);
    tokio::time::sleep(idle::IDLE * 10).await;
    slow.cancel();
    busy.read_exact(&mut beginning).await.unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 200 OK");
    tokio::time::resume();
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_that_nobody_takes_does_not_keep_its_place_and_one_that_is_waited_for_does() {
    let open = Open::none(idle::IDLE);
    let (sender, parts) = tokio::sync::mpsc::channel::<&str>(1);
    let parts = Mutex::new(Some(tokio_stream::wrappers::ReceiverStream::new(parts)));
    let parts = Arc::new(parts);
    let answer = move || async move {
        let parts = parts.lock().unwrap().take().unwrap();
        axum::body::Body::from_stream(parts.map(Ok::<_, io::Error>))
    };
    let mut counted = idle::Counted {
        router: Router::new().route("/", get(answer)),
        peer: quorix_log::access::Peer::Network { certificate: None },
        open: open.clone(),
    };
    tokio::time::pause();
    let request = axum::http::Request::new(axum::body::Body::empty());
    let answer = tonic::codegen::Service::call(&mut counted, request);
    let mut body = answer.await.unwrap().into_body();
    // It is waited for, so it is open for as long as that takes.
    let idle = async || tokio::time::timeout(idle::IDLE * 5, open.idle()).await;
    tokio::select! {
        _ = body.frame() => panic!("nothing was sent yet"),
        is_idle = idle() => assert!(is_idle.is_err()),
    }
    sender.send("bytes").await.unwrap();
    let begun = tokio::time::Instant::now();
    body.frame().await.unwrap().unwrap();
    sender.send("more bytes").await.unwrap();
    idle().await.unwrap();
    // The runtime rounds to its next millisecond.
    assert_eq!(begun.elapsed().as_secs(), idle::IDLE.as_secs());
    body.frame().await.unwrap().unwrap();
    drop(sender);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_client_that_asks_and_does_not_read_is_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let dropped = CancellationToken::new();
    let guard = dropped.clone();
    let endless = move || {
        let guard = guard.clone().drop_guard();
        let parts = futures::stream::repeat_with(move || {
            let _ = &guard;
            Ok::<_, io::Error>(vec![0_u8; 1 << 16])
        });
        async move { axum::body::Body::from_stream(parts) }
    };
    let router = Router::new().route("/", get(endless));
    let serving = tokio::spawn(serve_http(listener, router, stop.clone()));
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut beginning = [0; 15];
    client.read_exact(&mut beginning).await.unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 200 OK");

    tokio::time::pause();
    // The system may take some more bytes now and then until it has no room for any.
    tokio::time::timeout(idle::IDLE * 1000, dropped.cancelled())
        .await
        .unwrap();
    tokio::time::resume();
    stop.cancel();
    serving.await.unwrap().unwrap();
    drop(client);
}

/// A connection over gRPC that answers pings, and what says that the listener ended it.
async fn pinged(address: std::net::SocketAddr) -> (Channel, CancellationToken) {
    let ended = CancellationToken::new();
    let told = ended.clone();
    let connector = tower::service_fn(move |_| {
        let told = told.clone();
        async move {
            let mut server = TcpStream::connect(address).await?;
            let (client, mut wire) = tokio::io::duplex(1 << 16);
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut wire, &mut server).await;
                told.cancel();
            });
            Ok::<_, io::Error>(hyper_util::rt::TokioIo::new(client))
        }
    });
    let endpoint = Endpoint::from_static("http://quorix");
    let channel = endpoint.connect_with_connector(connector).await.unwrap();
    (channel, ended)
}

#[tokio::test]
async fn a_grpc_connection_that_only_answers_pings_is_ended_and_one_with_an_open_stream_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve_grpc(
        listener.into(),
        Routes::new(health),
        stop.clone(),
    ));
    let ask = HealthCheckRequest::default;
    let (quiet, quiet_ended) = pinged(address).await;
    HealthClient::new(quiet.clone()).check(ask()).await.unwrap();
    let (watching, watching_ended) = pinged(address).await;
    let mut watching = HealthClient::new(watching);
    let stream = watching.watch(ask()).await.unwrap();

    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    quiet_ended.cancelled().await;
    // Far longer than a ping may stay unanswered, so all were answered.
    let minutes = begun.elapsed().as_secs_f32() / 60.0;
    assert!((4.9..5.5).contains(&minutes), "{minutes}");
    tokio::time::sleep(idle::GRPC_IDLE * 10).await;
    assert!(!watching_ended.is_cancelled());
    drop(stream);
    watching_ended.cancelled().await;

    // Whoever comes again finds a new connection.
    tokio::time::resume();
    HealthClient::new(quiet).check(ask()).await.unwrap();
    stop.cancel();
    serving.await.unwrap().unwrap();
}

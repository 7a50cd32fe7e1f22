//! Who takes the places of a listener of a running program: one address, one user, users that may not submit, connections
//! that only answer pings, and such that ask and do not read. And who of the machine may have a log copied.
//! Needs to be root, or `sudo` that asks for no password: some of this is done by other users of the machine.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quorix::demo::client::{PATIENCE, until};
use quorix::demo::world::BuilderHost;
use quorix_testkit::entries::a_small_entry;
use quorix_wire::channel;
use quorix_wire::client::LogClient;
use quorix_wire::pb;
use quorix_wire::pb::aggregator_service_client::AggregatorServiceClient;
use quorix_wire::pb::follow_service_client::FollowServiceClient;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tonic::transport::{Channel, Endpoint};

use super::clock::{Clocks, compiled};
use super::loud::at_length;
use super::scene::history;
use crate::following::{FolderLog, machine_of, policy};
use crate::stage::quorix;
use crate::world::{checkpoint_of, get, submit, text};

/// The share of one address or user.
const SHARE: usize = 64;
/// That of all users together that may not submit.
const STRANGERS: usize = 16;

/// An address of this machine that is not of its loopback.
fn own_address() -> Ipv4Addr {
    let routes = fs::read_to_string("/proc/net/fib_trie").unwrap();
    let mut last = None;
    for line in routes.lines() {
        if let Some(address) = line.trim().strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.contains("/32 host LOCAL")
            && let Some(address) = last.filter(|address| !address.is_loopback())
        {
            return address;
        }
    }
    panic!(
        "this test needs a network besides the loopback: connections from there are not counted"
    );
}

#[tokio::test]
async fn one_address_takes_its_share_of_a_running_listener_and_others_are_served_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = BuilderHost::create(dir.path(), "alice", &quorix(), None).unwrap();
    let config = fs::read_to_string(&alice.config).unwrap();
    let everywhere = format!("0.0.0.0:{}", alice.public.port());
    let config = config.replace(&alice.public.to_string(), &everywhere);
    fs::write(&alice.config, config).unwrap();
    alice.start().await.unwrap();

    let attacked = SocketAddr::from((own_address(), alice.public.port()));
    let ended = Arc::new(AtomicUsize::new(0));
    // More than the listener has room for.
    let crowd = 300;
    for _ in 0..crowd {
        let (mut stream, ended) = (TcpStream::connect(attacked).await.unwrap(), ended.clone());
        tokio::spawn(async move {
            let _ = stream.read_to_end(&mut Vec::new()).await;
            ended.fetch_add(1, Ordering::Relaxed);
        });
    }
    let count = || ended.load(Ordering::Relaxed);
    // Those that say nothing are let go after a while, so no later look would find as few.
    until("all but the share of the address are let go", async || {
        (count() >= crowd - SHARE).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(count(), crowd - SHARE);
    assert_eq!(get(&format!("{}/checkpoint", alice.url())).await.0, 200);
    assert_eq!(count(), crowd - SHARE, "while it has its share");
    alice.stop().await.unwrap();
}

/// A program that another user of this machine runs.
fn run_by(name: &str, program: &Path) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        let mut command = Command::new(program);
        let [user, group] = ids_of(name);
        command.uid(user).gid(group);
        return command;
    }
    let mut command = Command::new("sudo");
    command.args(["-n", "-u", name]).arg(program);
    command
}

/// The numbers of a user and its group.
fn ids_of(name: &str) -> [u32; 2] {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let mut lines = users.lines().map(fields);
    let line = lines.find(|line| line[0] == name).unwrap();
    [2, 3].map(|at| line[at].parse().unwrap())
}

/// A folder that other users can enter, and in it the program by which they connect.
fn shared() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("crowd");
    compiled("crowd.c", &program, &[]);
    for path in [dir.path(), &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    (dir, program)
}

/// Alice's log, to which the user `daemon` may submit besides its owner.
async fn shared_with_daemon(dir: &Path) -> BuilderHost {
    let mut alice = BuilderHost::create(dir, "alice", &quorix(), None).unwrap();
    let config = fs::read_to_string(&alice.config).unwrap();
    let users = "users = [\"daemon\"]\n[builder]";
    fs::write(&alice.config, config.replacen("[builder]", users, 1)).unwrap();
    let home = dir.join("alice");
    fs::set_permissions(home, fs::Permissions::from_mode(0o755)).unwrap();
    alice.start().await.unwrap();
    alice
}

/// Connections of a user to a socket, which say nothing.
struct Crowd {
    process: Child,
    said: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Crowd {
    /// So many, of which all but `places` are let go.
    async fn of(name: &str, program: &Path, socket: &Path, count: usize, places: usize) -> Self {
        let mut command = run_by(name, program);
        command.args([text(socket), &count.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut crowd = Self { process, said };
        for number in places..count {
            let line = tokio::time::timeout(PATIENCE, crowd.said.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{number} of {count} of {name} are let go"));
            assert_eq!(line.unwrap().as_deref(), Some("ended"), "{name}");
        }
        crowd
    }

    /// Whether no more of them were let go than were by then.
    async fn kept_its_places(mut self) -> bool {
        drop(self.process.stdin.take());
        self.said.next_line().await.unwrap().is_none()
    }
}

#[tokio::test]
async fn users_that_may_not_submit_and_one_that_may_leave_places_of_a_running_logs_socket() {
    let (dir, program) = shared();
    let mut alice = shared_with_daemon(dir.path()).await;
    let nobody = Crowd::of("nobody", &program, &alice.submit, 300, STRANGERS).await;
    let daemon = Crowd::of("daemon", &program, &alice.submit, 300, SHARE).await;
    submit(&alice, vec![a_small_entry(1)]).await;
    checkpoint_of(alice.public, 1).await;
    assert!(
        nobody.kept_its_places().await,
        "while they have their places"
    );
    assert!(daemon.kept_its_places().await, "while it has its places");
    alice.stop().await.unwrap();
}

/// The address of a proxy that a user of this machine runs before a socket.
async fn through(name: &'static str, program: PathBuf, socket: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut command = run_by(name, &program);
            command.args([text(&socket), "1"]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut process = command.kill_on_drop(true).spawn().unwrap();
            let (output, input) = (process.stdout.take(), process.stdin.take());
            let mut bridge = tokio::io::join(output.unwrap(), input.unwrap());
            tokio::spawn(async move {
                let _until_the_end = process;
                let _ = tokio::io::copy_bidirectional(&mut client, &mut bridge).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn nobody_of_the_machine_but_its_owner_has_a_running_log_copied() {
    let (dir, program) = shared();
    let mut alice = shared_with_daemon(dir.path()).await;
    submit(&alice, history("A", 3)).await;
    let client =
        |address: &str| LogClient::new(channel::connect(&address.parse().unwrap()).unwrap());
    let taken = dir.path().join("taken");
    for name in ["daemon", "nobody"] {
        let proxy = through(name, program.clone(), alice.submit.clone()).await;
        let client = client(&proxy.to_string());
        // It is this user who asks: one of them may submit.
        let submitted = client.submit(vec![a_small_entry(4)], vec![]).await;
        assert_eq!(submitted.is_ok(), name == "daemon", "{submitted:?}");
        let refused = client.backup(text(&taken).to_owned()).await;
        let refused = refused.unwrap_err().to_string();
        let only = "only the owner of a log copies it, through the Unix socket of its machine";
        assert!(refused.contains(only), "{name}: {refused}");
        assert!(!taken.exists(), "{name}");
    }
    let owner = client(&format!("unix:{}", alice.submit.display()));
    let copied = owner.backup(text(&taken).to_owned()).await;
    assert_eq!(copied.unwrap(), 4);
    assert!(taken.exists());
    alice.stop().await.unwrap();
}

/// A connection over HTTP/2 of a client that answers pings, and whether the other side ended it.
struct Pinged {
    channel: Channel,
    ended: Arc<AtomicUsize>,
}

impl Pinged {
    async fn open(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicUsize::new(0));
        let told = ended.clone();
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(server).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut server, &mut client).await;
            told.fetch_add(1, Ordering::Relaxed);
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Self { channel, ended }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed) > 0
    }

    async fn ends(&self) {
        let ended = until("the connection is ended", async || {
            self.has_ended().then_some(())
        });
        ended.await.unwrap();
    }
}

/// Lets so many seconds pass for a process, a few at a time: timers come due when something wakes it, as questions at
/// this address do, and pings are answered in between.
async fn pass(clocks: &Clocks, from: i64, to: i64, url: &str) {
    for second in (from..=to).step_by(5) {
        clocks.waiting_is_ahead_by(second);
        for _ in 0..3 {
            get(url).await;
        }
    }
}

#[tokio::test]
async fn connections_that_only_answer_pings_end_at_a_running_program_and_those_with_an_open_stream_do_not()
 {
    let dir = tempfile::tempdir().unwrap();
    let clocks = Clocks::right(dir.path());
    let alice = FolderLog::publish(dir.path().join("a"), "alice", &history("A", 2));
    let policy = policy(&alice.line(), "alice");
    let mut host = machine_of(&clocks.quorix, dir.path(), "user", &policy, "", "");
    host.start().await.unwrap();
    let tallies = |pinged: &Pinged| {
        let mut client = FollowServiceClient::new(pinged.channel.clone());
        async move { client.get_tallies(pb::GetTalliesRequest {}).await }
    };
    let (page, quiet) = (
        Pinged::open(host.dashboard).await,
        Pinged::open(host.aggregator).await,
    );
    let watching = Pinged::open(host.aggregator).await;
    tallies(&page).await.unwrap_err();
    tallies(&quiet).await.unwrap();
    let mut watcher = AggregatorServiceClient::new(watching.channel.clone());
    let events = watcher
        .watch_events(pb::WatchEventsRequest {})
        .await
        .unwrap();

    let health = format!("http://{}/health", host.metrics);
    pass(&clocks, 5, 55, &health).await;
    assert!(!page.has_ended());
    pass(&clocks, 60, 75, &health).await;
    page.ends().await;
    pass(&clocks, 80, 295, &health).await;
    assert!(!quiet.has_ended());
    pass(&clocks, 300, 320, &health).await;
    quiet.ends().await;
    pass(&clocks, 325, 700, &health).await;
    assert!(!watching.has_ended());
    drop(events);
    pass(&clocks, 705, 1_050, &health).await;
    watching.ends().await;
}

#[tokio::test]
async fn a_connection_that_asks_a_running_log_and_does_not_read_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let clocks = Clocks::right(dir.path());
    let mut alice = BuilderHost::create(dir.path(), "alice", &clocks.quorix, None).unwrap();
    alice.start().await.unwrap();
    // More than the system takes for a client that does not read.
    let all = at_length("hello", 255);
    let bytes: usize = all.iter().map(Vec::len).sum();
    assert!(bytes > 12 << 20, "{bytes}");
    for part in all.chunks(176) {
        submit(&alice, part.to_vec()).await;
    }
    let bundle = "tile/entries/000.p/255";
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut client = socket.connect(alice.public).await.unwrap();
    let request = format!("GET /{bundle} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut beginning = [0; 15];
    client.read_exact(&mut beginning).await.unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 200 OK");

    let checkpoint = format!("{}/checkpoint", alice.url());
    pass(&clocks, 5, 200, &checkpoint).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, client.read_to_end(&mut rest)).await;
    // By the end of what it sent, or by a reset.
    let _ = ended.expect("it was let go");
    assert!(rest.len() < bytes, "{}", rest.len());
    // Who reads gets all of it.
    let whole = reqwest::get(format!("{}/{bundle}", alice.url()))
        .await
        .unwrap();
    assert!(whole.bytes().await.unwrap().len() > bytes);
    alice.stop().await.unwrap();
}

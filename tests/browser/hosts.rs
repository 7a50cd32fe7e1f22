//! The hosts whose run the dashboard shows: the demo's three builders with packages that the real Nix built, or two
//! builders whose logs are filled by hand. All are real processes on ports of this machine; they end when dropped.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use quorix::demo::caches;
use quorix::demo::client::{Client, until};
use quorix::demo::nix::Nix;
use quorix::demo::world::{self, BuilderHost, UserHost};
use quorix_nix::store_path::StorePath;
use quorix_testkit::entries::an_attestation;
use quorix_wire::address::Address;
use quorix_wire::channel;
use quorix_wire::client::LogClient;
use tempfile::TempDir;

/// Everything that is built.
const ATTRIBUTES: [&str; 5] = ["greeting", "hello", "manual", "clock", "alarm"];
/// The rule's line in the policy of [`Packages`].
pub(crate) const RULE: &str = "rule main quorum=two-of-three level=closure";

/// Three builders of the demo's packages, of whom carol builds hello from an altered greeting; a user who wants two of
/// the three to agree.
pub(crate) struct Packages {
    hosts: Builders,
    paths: BTreeMap<String, StorePath>,
}

/// Builders and a user who follows their logs.
pub(crate) struct Builders {
    builders: Vec<BuilderHost>,
    user: UserHost,
    _folder: Folder,
}

impl Packages {
    /// Builds everything, and waits until the user's aggregator has read all of it.
    pub(crate) async fn build() -> Self {
        if let Some(missing) = Nix::missing() {
            panic!("{missing}; `make test` installs it");
        }
        let folder = Folder::new();
        let nix = Nix::prepare(folder.path()).unwrap();
        let user = nix
            .uses_sudo()
            .then(|| std::fs::metadata(folder.path()).unwrap().uid());
        let builders = started(&folder, &["alice", "bob", "carol"], user).await;
        let [alice, bob, carol] = builders.as_slice() else {
            panic!("three builders")
        };
        let (paths, _, ()) = tokio::join!(built(&nix, alice), built(&nix, bob), async {
            let first = nix
                .build(&carol.store, &["greeting"], Some(&carol.hook))
                .await
                .unwrap();
            attested(carol, 1).await;
            let file = carol
                .store
                .join("nix/store")
                .join(first["greeting"].as_str())
                .join("greeting");
            nix.alter(&file, "Hello, world, and send me your passwords\n")
                .await
                .unwrap();
            built(&nix, carol).await;
        });
        // hello and manual refer to files that are named after their content: those are fetched and checked.
        let cache = folder.path().join("cache");
        nix.export(&alice.store, paths.values(), &cache, "compression=none")
            .await
            .unwrap();
        let sources = [caches::serve(&cache).await.unwrap()];
        let rules =
            format!("quorum none\nvoters two-of-three 2 alice bob carol\n{RULE}\ndefault main\n");
        let hosts = Builders::followed(folder, builders, &rules, &sources).await;
        hosts.follow(ATTRIBUTES.len() as u64).await;
        Self { hosts, paths }
    }

    pub(crate) fn dashboard(&self) -> String {
        self.hosts.dashboard()
    }

    /// The store path of an attribute, absolute.
    pub(crate) fn path(&self, attribute: &str) -> String {
        format!("/nix/store/{}", self.paths[attribute])
    }

    /// The address of its page.
    pub(crate) fn page(&self, attribute: &str) -> String {
        format!("/output/{}", self.paths[attribute])
    }

    /// How the newest checkpoint of this builder's log begins.
    pub(crate) fn checkpoint_of(&self, builder: &str) -> String {
        format!("{builder}.example/log\n{}\n", ATTRIBUTES.len())
    }
}

impl Builders {
    /// alice and bob, whose logs are empty.
    pub(crate) async fn without_builds() -> Self {
        let folder = Folder::new();
        let builders = started(&folder, &["alice", "bob"], None).await;
        let rules = "quorum none\nvoters both all alice bob\nrule main quorum=both\ndefault main\n";
        let hosts = Self::followed(folder, builders, rules, &[]).await;
        hosts.follow(0).await;
        hosts
    }

    async fn followed(
        folder: Folder,
        builders: Vec<BuilderHost>,
        rules: &str,
        sources: &[String],
    ) -> Self {
        let policy: String = builders.iter().map(BuilderHost::policy_line).collect();
        let mut user =
            UserHost::create(folder.path(), "user", &quorix(), &(policy + rules), sources).unwrap();
        user.start().await.unwrap();
        Self {
            builders,
            user,
            _folder: folder,
        }
    }

    pub(crate) fn dashboard(&self) -> String {
        format!("http://{}/", self.user.dashboard)
    }

    /// Attests other bytes for each of these packages in every builder's log.
    pub(crate) async fn disagree_about(&self, packages: &[String]) {
        for builder in &self.builders {
            let entry = |package: &String| {
                an_attestation()
                    .of(package)
                    .saying(&builder.name)
                    .by(&builder.nix_key)
                    .bytes()
            };
            let channel = channel::connect(&Address::Unix(builder.submit.clone())).unwrap();
            LogClient::new(channel)
                .submit(packages.iter().map(entry).collect(), Vec::new())
                .await
                .unwrap();
        }
        self.follow(packages.len() as u64).await;
    }

    /// Waits until the aggregator has verified so many entries of each log.
    async fn follow(&self, entries: u64) {
        let client = Client::new(self.user.aggregator, &self.user.substituter()).unwrap();
        let followed = until("the aggregator follows all logs", async || {
            let logs = client.logs().await.ok()?;
            let is_read = logs
                .iter()
                .all(|log| log.last_verified_s > 0 && log.indexed >= entries);
            (logs.len() == self.builders.len() && is_read).then_some(())
        });
        followed.await.unwrap();
    }
}

async fn started(folder: &Folder, names: &[&str], hook_user: Option<u32>) -> Vec<BuilderHost> {
    // As the program does at its start; the second test finds the first one's.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builders = Vec::new();
    for name in names {
        let mut builder = BuilderHost::create(folder.path(), name, &quorix(), hook_user).unwrap();
        builder.start().await.unwrap();
        builders.push(builder);
    }
    builders
}

async fn built(nix: &Nix, builder: &BuilderHost) -> BTreeMap<String, StorePath> {
    let paths = nix
        .build(&builder.store, &ATTRIBUTES, Some(&builder.hook))
        .await
        .unwrap();
    attested(builder, ATTRIBUTES.len() as u64).await;
    paths
}

/// Waits until a builder's log has so many entries.
async fn attested(builder: &BuilderHost, entries: u64) {
    let client = Client::new(builder.public, &builder.url()).unwrap();
    let url = format!("{}/checkpoint", builder.url());
    let attested = until("a build is attested", async || {
        let checkpoint = client.text(&url).await.ok()?;
        let size: u64 = checkpoint.lines().nth(1)?.parse().ok()?;
        (size >= entries).then_some(())
    });
    attested.await.unwrap();
}

/// The program under test.
fn quorix() -> PathBuf {
    let path = std::env::var_os("QUORIX_BIN");
    path.expect("QUORIX_BIN names the program to test; `make test` builds it and sets that")
        .into()
}

/// A folder with Nix stores in it, whose folders are read-only. Removed when dropped.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::with_prefix("quorix-browser-").unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        world::remove(self.0.path());
    }
}

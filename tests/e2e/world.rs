//! The hosts of one test: builders that serve their logs, a user's machine, Nix clients, and questions to them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quorix::demo::caches;
use quorix::demo::client::{Client, until};
use quorix::demo::nix::Ran;
use quorix::demo::world::{self, BuilderHost, UserHost};
use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_trust::decision::Decision;
use quorix_wire::client::LogClient;
use quorix_wire::{channel, pb};
use serde_json::Value;

use crate::stage::{ATTRIBUTES, BUILDERS, NixClient, Stage, folder, quorix, stage};

/// What is the same in every policy of these tests that asks two of three.
pub(crate) const TWO_OF_THREE: &str = "quorum none\nvoters two-of-three 2 alice bob carol\n\
    rule main quorum=two-of-three level=closure\ndefault main\n";

/// The hosts of one test. Ended and removed when dropped.
pub(crate) struct World {
    pub(crate) dir: PathBuf,
    pub(crate) stage: Arc<Stage>,
    pub(crate) builders: Vec<BuilderHost>,
    user: Option<UserHost>,
    clients: AtomicU32,
}

/// How the program ended.
pub(crate) struct Answer {
    /// Its exit code.
    pub(crate) code: i32,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl World {
    /// Three builders whose logs are empty and do not run; nothing was noted for them yet.
    pub(crate) async fn with_silent_builders() -> Self {
        // A second installation fails, and is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (stage, dir) = (stage().await, folder("quorix-e2e-"));
        let builder = |name: &str| {
            BuilderHost::with_store(&dir, name, &quorix(), &stage.store(name), stage.hook_user)
                .unwrap()
        };
        let builders = BUILDERS.map(builder).into();
        Self {
            dir,
            stage,
            builders,
            user: None,
            clients: AtomicU32::new(0),
        }
    }

    /// Three builders that attested all that they built.
    pub(crate) async fn with_builders() -> Self {
        let mut world = Self::with_silent_builders().await;
        for name in BUILDERS {
            world.note_builds(name);
            world.builder(name).start().await.unwrap();
        }
        for name in BUILDERS {
            world.attested(name, ATTRIBUTES.len() as u64).await;
        }
        world
    }

    /// The same, and a user who wants two of the three, with one honest source of bytes.
    pub(crate) async fn with_user() -> Self {
        let mut world = Self::with_builders().await;
        let cache = world.honest_cache().await;
        world.add_user_of_two(&[cache]).await;
        world
    }

    /// Starts the machine of a user who wants two of the three, with these sources of bytes.
    pub(crate) async fn add_user_of_two(&mut self, sources: &[String]) {
        let policy = self.policy_lines() + TWO_OF_THREE;
        self.add_user(&policy, sources).await;
        self.followed(ATTRIBUTES.len() as u64).await;
    }

    /// Puts into a builder's outbox what the hook noted when it built.
    pub(crate) fn note_builds(&self, name: &str) {
        let outbox = self.dir.join(name).join("data/builder/outbox");
        fs::create_dir_all(&outbox).unwrap();
        for job in self.stage.jobs(name) {
            fs::copy(&job, outbox.join(job.file_name().unwrap())).unwrap();
        }
    }

    /// The lines of the three builders.
    pub(crate) fn policy_lines(&self) -> String {
        self.builders.iter().map(BuilderHost::policy_line).collect()
    }

    /// Starts the user's machine.
    pub(crate) async fn add_user(&mut self, policy: &str, sources: &[String]) {
        let mut user = UserHost::create(&self.dir, "user", &quorix(), policy, sources).unwrap();
        user.start().await.unwrap();
        self.user = Some(user);
    }

    pub(crate) fn builder(&mut self, name: &str) -> &mut BuilderHost {
        self.builders
            .iter_mut()
            .find(|builder| builder.name == name)
            .unwrap()
    }

    pub(crate) fn user(&self) -> &UserHost {
        self.user.as_ref().expect("this test has a user")
    }

    pub(crate) fn user_mut(&mut self) -> &mut UserHost {
        self.user.as_mut().expect("this test has a user")
    }

    /// Output path of an attribute.
    pub(crate) fn path(&self, attribute: &str) -> StorePath {
        self.stage.path(attribute).clone()
    }

    /// Output path of an attribute, as people write it.
    pub(crate) fn absolute(&self, attribute: &str) -> String {
        StoreDir::default().join(self.stage.path(attribute))
    }

    /// A copy of a cache of the stage, to be altered.
    pub(crate) fn copy_of_cache(&self, name: &str) -> PathBuf {
        let copy = self.dir.join(format!("copy-of-{name}"));
        for folder in ["", "nar"] {
            let (from, to) = (self.stage.cache(name).join(folder), copy.join(folder));
            fs::create_dir_all(&to).unwrap();
            for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
                if file.file_type().unwrap().is_file() {
                    fs::copy(file.path(), to.join(file.file_name())).unwrap();
                }
            }
        }
        copy
    }

    /// Serves a cache that is as its builder made it.
    pub(crate) async fn honest_cache(&self) -> String {
        caches::serve(&self.stage.cache("zstd")).await.unwrap()
    }

    /// A Nix client with an empty store and no memory.
    pub(crate) fn nix_client(&self) -> NixClient {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        NixClient::new(&self.dir.join(format!("client-{number}")))
    }

    /// Installs into a client through the user's resolver, whose key alone is trusted.
    pub(crate) async fn install(&self, client: &NixClient, attributes: &[&str]) -> Ran {
        let paths: Vec<&StorePath> = attributes
            .iter()
            .map(|attribute| self.stage.path(attribute))
            .collect();
        let (url, key) = (self.user().substituter(), self.user().key.to_string());
        client
            .nix
            .install(&client.store, &paths, &url, &key)
            .await
            .unwrap()
    }

    /// A client of the user's aggregator and resolver.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.user().aggregator, &self.user().substituter()).unwrap()
    }

    /// What the user's aggregator decides of an attribute.
    pub(crate) async fn decide(&self, attribute: &str) -> Decision {
        self.client().decide(&self.path(attribute)).await.unwrap()
    }

    /// What the user's resolver answers for an attribute: status and text.
    pub(crate) async fn narinfo(&self, attribute: &str) -> (u16, String) {
        get(&self.narinfo_url(attribute)).await
    }

    pub(crate) fn narinfo_url(&self, attribute: &str) -> String {
        format!(
            "{}/{}.narinfo",
            self.user().substituter(),
            self.path(attribute).hash_part()
        )
    }

    /// Waits until the narinfo of an attribute has this status, and gives its text.
    pub(crate) async fn narinfo_becomes(&self, attribute: &str, status: u16) -> String {
        until(
            &format!("the narinfo of {attribute} has status {status}"),
            async || {
                let (found, text) = self.narinfo(attribute).await;
                (found == status).then_some(text)
            },
        )
        .await
        .unwrap()
    }

    /// How one log stands with the user's aggregator.
    pub(crate) async fn log(&self, name: &str) -> pb::LogStatus {
        let logs = self.client().logs().await.unwrap();
        logs.into_iter().find(|log| log.name == name).unwrap()
    }

    /// Waits until a log has this state with the user's aggregator.
    pub(crate) async fn log_becomes(&self, name: &str, state: pb::LogState) -> pb::LogStatus {
        until(&format!("the log of {name} is {state:?}"), async || {
            let log = self.log(name).await;
            (log.state() == state).then_some(log)
        })
        .await
        .unwrap()
    }

    /// Waits until the user's aggregator has so many entries of every log.
    pub(crate) async fn followed(&self, entries: u64) {
        let client = self.client();
        until("the aggregator follows every log", async || {
            let logs = client.logs().await.ok()?;
            logs.iter()
                .all(|log| log.indexed >= entries && log.state() == pb::LogState::Live)
                .then_some(())
        })
        .await
        .unwrap();
    }

    /// Waits until a builder's log has so many entries, and gives its checkpoint.
    pub(crate) async fn attested(&self, name: &str, entries: u64) -> String {
        let builder = self
            .builders
            .iter()
            .find(|builder| builder.name == name)
            .unwrap();
        checkpoint_of(builder.public, entries).await
    }

    /// `quorix attest` of attributes by a builder.
    pub(crate) async fn attest(&self, name: &str, attributes: &[&str]) -> Answer {
        let builder = self
            .builders
            .iter()
            .find(|builder| builder.name == name)
            .unwrap();
        let paths: Vec<String> = attributes
            .iter()
            .map(|attribute| self.absolute(attribute))
            .collect();
        let mut arguments = vec!["attest", "--config", text(&builder.config)];
        arguments.extend(paths.iter().map(String::as_str));
        run(&arguments).await
    }

    /// `quorix decide --json` of an attribute, with the user's configuration.
    pub(crate) async fn decide_json(&self, attribute: &str) -> (i32, Value) {
        let path = self.absolute(attribute);
        let answer = run(&[
            "decide",
            "--json",
            "--config",
            text(&self.user().config),
            &path,
        ])
        .await;
        (answer.code, answer.json())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Processes first: they write.
        self.user = None;
        self.builders.clear();
        world::remove(&self.dir);
    }
}

impl Answer {
    /// Its standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// Waits until the log at an address has so many entries, and gives its checkpoint.
pub(crate) async fn checkpoint_of(log: SocketAddr, entries: u64) -> String {
    until(
        &format!("the log at {log} has {entries} entries"),
        async || {
            let (status, checkpoint) = try_get(&format!("http://{log}/checkpoint")).await?;
            let size: u64 = checkpoint.lines().nth(1)?.parse().ok()?;
            (status == 200 && size >= entries).then_some(checkpoint)
        },
    )
    .await
    .unwrap()
}

/// Runs the program to its end.
pub(crate) async fn run(arguments: &[&str]) -> Answer {
    let mut command = tokio::process::Command::new(quorix());
    command
        .args(arguments)
        .env_remove("QUORIX_CONFIG")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ran = command.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Answer {
        code: ran.status.code().unwrap(),
        out: text(&ran.stdout),
        err: text(&ran.stderr),
    }
}

/// Status and text at a URL.
pub(crate) async fn get(url: &str) -> (u16, String) {
    try_get(url)
        .await
        .unwrap_or_else(|| panic!("nobody answers at {url}"))
}

async fn try_get(url: &str) -> Option<(u16, String)> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = reqwest::get(url).await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

/// Hands these entries to a builder's log, and waits until they are acknowledged.
pub(crate) async fn submit(host: &BuilderHost, entries: Vec<Vec<u8>>) {
    let address = format!("unix:{}", host.submit.display());
    let client = LogClient::new(channel::connect(&address.parse().unwrap()).unwrap());
    client.submit(entries, Vec::new()).await.unwrap();
}

/// Waits until the index of a builder's log covers so many entries.
pub(crate) async fn covered(host: &BuilderHost, size: u64) {
    let (wanted, url) = (
        format!("covered {size}\n"),
        format!("{}/index/status", host.url()),
    );
    until("the index covers the log", async || {
        get(&url).await.1.starts_with(&wanted).then_some(())
    })
    .await
    .unwrap();
}

/// Text without its line breaks and indents, to look for a sentence in it.
pub(crate) fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

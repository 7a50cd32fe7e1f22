//! An aggregator elsewhere that goes back to an earlier state while the resolver that asks it reads its policy again.

use std::fs;
use std::path::Path;
use std::process::Command;

use quorix::demo::client::until;
use quorix::demo::process::Process;
use quorix::demo::world::{UserHost, free_port};
use quorix_nix::signature::SecretKey;
use quorix_testkit::entries::{a_path, a_small_entry};
use quorix_wire::pb::LogState;

use super::scene::history;
use crate::following::{FolderLog, becomes, machine, policy};
use crate::stage::quorix;
use crate::world::{get, text};

/// A resolver in a process of its own that asks this aggregator.
struct Asking {
    process: Process,
    dir: std::path::PathBuf,
    url: String,
}

impl Asking {
    async fn start(dir: &Path, policy: &str, aggregator: &UserHost) -> Self {
        let dir = dir.join("resolver");
        fs::create_dir(&dir).unwrap();
        let (listen, key) = (free_port().unwrap(), dir.join("nix.key"));
        let secret = SecretKey::from_seed("resolver-1".parse().unwrap(), [3; 32]);
        fs::write(&key, secret.to_text()).unwrap();
        fs::write(dir.join("policy"), policy).unwrap();
        let toml = format!(
            "data_dir = \"{home}/data\"\npolicy = \"{home}/policy\"\n[resolver]\nlisten = \"{listen}\"\n\
             key = \"{home}/nix.key\"\nsources = []\naggregator = \"{}\"\n",
            aggregator.aggregator,
            home = text(&dir)
        );
        let config = dir.join("quorix.toml");
        fs::write(&config, toml).unwrap();
        let process = Process::serve(&quorix(), "the resolver", &config, &[listen]).await;
        Self {
            process: process.unwrap(),
            dir,
            url: format!("http://{listen}/{}.narinfo", a_path("hello").hash_part()),
        }
    }

    /// Has it read another policy, and waits until that is in force.
    async fn reads(&self, policy: &str) {
        let log = self.dir.join("quorix.log");
        let times = || {
            let said = fs::read_to_string(&log).unwrap();
            said.matches("the policy is in force").count()
        };
        let before = times();
        fs::write(self.dir.join("policy"), policy).unwrap();
        until("the other policy is in force", async || {
            (times() > before).then_some(())
        })
        .await
        .unwrap();
    }

    /// Waits until it answers for `hello` with this status, and gives what it says.
    async fn answers(&self, status: u16) -> String {
        let wanted = format!("the resolver answers with {status}");
        let answer = until(&wanted, async || {
            let (found, said) = get(&self.url).await;
            (found == status).then_some(said)
        });
        answer.await.unwrap()
    }
}

/// Copies a folder as it is.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

async fn followed(host: &UserHost, size: u64) {
    for name in ["alice", "bob"] {
        becomes(host, name, |log| {
            log.indexed == size && log.state() == LogState::Live
        })
        .await;
    }
}

#[tokio::test]
async fn an_aggregator_that_goes_back_while_a_running_resolver_reads_its_policy_again_is_found_out()
{
    let dir = tempfile::tempdir().unwrap();
    let log = |name: &str| FolderLog::publish(dir.path().join(name), name, &history("A", 3));
    let mut logs = [log("alice"), log("bob")];
    let lines: String = logs.iter().map(FolderLog::line).collect();
    let rules = policy(&lines, "alice bob");
    let mut host = machine(dir.path(), "there", &rules, "", "");
    host.start().await.unwrap();
    followed(&host, 3).await;
    host.stop().await.unwrap();
    let data = dir.path().join("there/data");
    copy(&data, &dir.path().join("before"));
    let shown = |log: &FolderLog| fs::read(dir.path().join(&log.name).join("checkpoint")).unwrap();
    let before = logs.each_ref().map(shown);
    for log in &mut logs {
        log.append(&(3..6).map(a_small_entry).collect::<Vec<_>>());
    }
    let after = logs.each_ref().map(shown);
    host.start().await.unwrap();
    followed(&host, 6).await;
    let resolver = Asking::start(dir.path(), &rules, &host).await;
    resolver.answers(200).await;

    // All of it as it was before, logs too; and another policy is in force when it answers again.
    host.stop().await.unwrap();
    let show = |what: &[Vec<u8>]| {
        for (log, checkpoint) in logs.iter().zip(what) {
            log.put("checkpoint.new", checkpoint);
            log.publish_new();
        }
    };
    show(&before);
    fs::remove_dir_all(&data).unwrap();
    copy(&dir.path().join("before"), &data);
    let other = format!("{rules}# read again\n");
    resolver.reads(&other).await;
    host.start().await.unwrap();
    followed(&host, 3).await;
    let refused = resolver.answers(404).await;
    let reason = "rollback: the answer has a checkpoint of 3 entries after one of 6";
    let words = refused.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(reason), "{refused}");

    show(&after);
    followed(&host, 6).await;
    resolver.answers(200).await;
    resolver.process.stop().await.unwrap();
}

//! A log that publishes only what its witness has cosigned, and both of them killed at random moments.
//!
//! `QUORIX_WITNESSED_KILLS` says how often (60), `QUORIX_SEED` from which seed.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use quorix::demo::world::free_port;
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};
use quorix_tlog::note::SignedNote;
use quorix_tlog::tlog_policy::TlogPolicy;
use tokio::process::{Child, Command};

use crate::dice::{Dice, number};
use crate::hammer::{Hammer, submit_again};
use crate::host::{LogHost, quorix};
use crate::oracle::Oracle;

/// The witness of one log, in a process of its own. Killed when dropped.
struct WitnessHost {
    config: PathBuf,
    address: SocketAddr,
    vkey: String,
    process: Option<Child>,
}

impl WitnessHost {
    /// Its files are in the folder of the log's host; it does not run yet.
    fn of(log: &LogHost) -> Self {
        let name = "witness.example".parse().unwrap();
        let key = CosignerSigningKey::from_seed(name, Algorithm::Ed25519, [5; 32]);
        let (file, config) = (log.path("witness.key"), log.path("witness.toml"));
        fs::write(&file, key.to_text()).unwrap();
        let address = free_port().unwrap();
        let text = format!(
            "data_dir = \"{data}\"\n[witness]\nkey = \"{key}\"\nlogs = [\"{log}\"]\nlisten = \"{address}\"\n\
             per_minute = 1000000\n",
            data = log.path("witness-data").display(),
            key = file.display(),
            log = LogHost::key().verifier(),
        );
        fs::write(&config, text).unwrap();
        Self {
            config,
            address,
            vkey: key.verifier().to_string(),
            process: None,
        }
    }

    /// Starts it and waits until it answers.
    async fn start(&mut self) {
        let mut command = Command::new(quorix());
        command
            .args(["serve", "--config"])
            .arg(&self.config)
            .env_remove("QUORIX_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        self.process = Some(command.spawn().unwrap());
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.unwrap();
        }
    }

    fn policy(&self) -> String {
        format!(
            "log {}\nwitness w {} http://{}\nquorum w\n",
            LogHost::key().verifier(),
            self.vkey,
            self.address
        )
    }
}

/// What is published is cosigned, always.
async fn assert_cosigned(log: &LogHost, policy: &TlogPolicy) {
    let published = log.get("checkpoint").await.unwrap();
    let note = SignedNote::parse(&published).unwrap();
    // The empty tree is shown before anybody has cosigned it.
    if Checkpoint::parse(note.text()).unwrap().size > 0 {
        assert_eq!(policy.verify(&note).unwrap().witnesses.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_of_a_log_and_of_its_witness_loses_nothing_and_publishes_nothing_that_is_not_cosigned()
{
    let (kills, seed) = (
        number("QUORIX_WITNESSED_KILLS", 60),
        number("QUORIX_SEED", 18),
    );
    let (mut log, mut oracle, mut dice) = (LogHost::new(), Oracle::default(), Dice::new(seed));
    let mut witness = WitnessHost::of(&log);
    fs::write(log.path("witnesses"), witness.policy()).unwrap();
    log.configure(&format!(
        "witness_policy = \"{}\"\n",
        log.path("witnesses").display()
    ));
    let policy = TlogPolicy::parse(witness.policy().as_bytes()).unwrap();
    let numbers = Arc::new(AtomicU64::new(0));
    let mut unknown = Vec::new();
    witness.start().await;
    for _ in 0..kills {
        log.start().await.unwrap();
        submit_again(&log, &mut oracle, std::mem::take(&mut unknown), 7)
            .await
            .unwrap();
        assert_cosigned(&log, &policy).await;
        oracle.check(&log).await.unwrap();
        let hammer = Hammer::begin(&log, &numbers, &mut dice);
        tokio::time::sleep(Duration::from_micros(dice.below(60_000))).await;
        if dice.one_in(3) {
            witness.kill().await;
            tokio::time::sleep(Duration::from_micros(dice.below(20_000))).await;
            // What it had not cosigned is not published meanwhile.
            assert_cosigned(&log, &policy).await;
        }
        log.kill().await;
        unknown = hammer.end(&mut oracle).await.unwrap();
        if witness.process.is_none() {
            witness.start().await;
        }
    }
    log.start().await.unwrap();
    submit_again(&log, &mut oracle, unknown, 0).await.unwrap();
    oracle.check_everything(&log).await.unwrap();
    assert_cosigned(&log, &policy).await;
    println!(
        "seed {seed}: {kills} kills with a witness, {} entries acknowledged, {} checkpoints seen",
        oracle.acknowledged(),
        oracle.checkpoints()
    );
    assert!(oracle.acknowledged() > 0, "nothing was tried");
}

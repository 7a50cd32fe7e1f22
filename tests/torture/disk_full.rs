//! A full disk: the log says so, loses and corrupts nothing, goes on being read, and takes entries again once there is
//! room, without a restart.
//!
//! The disk is a small tmpfs in a mount namespace of its own, as root or in a user namespace.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use quorix_testkit::entries::{a_small_entry, bytes_of};
use quorix_trust::attestation::{Entry, Raw};
use quorix_wire::client::{ClientError, LogClient};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use crate::host::LogHost;
use crate::oracle::Oracle;

/// Entries in one submission, of 4 KiB each.
const BATCH: u64 = 256;
/// Submissions after which any of the small disks here must be full.
const BATCHES_MAX: u64 = 400;

fn a_large_entry(number: u64) -> Vec<u8> {
    let mut key = vec![0x5a; 4096];
    key[..8].copy_from_slice(&number.to_be_bytes());
    bytes_of(&Entry::Raw(Raw {
        protocol: "test".to_owned(),
        key,
        value: [7; 32],
    }))
}

async fn submit(
    client: &LogClient,
    oracle: &mut Oracle,
    entries: &[Vec<u8>],
) -> Result<(), ClientError> {
    let answer = client.submit(entries.to_vec(), Vec::new()).await?;
    oracle.saw(&answer.checkpoint).unwrap();
    for (entry, (index, _)) in entries.iter().zip(answer.indices) {
        oracle.was_acknowledged(entry, index).unwrap();
    }
    Ok(())
}

/// Fills the disk of a running log, makes room, and looks at what became of everything.
async fn fill_and_make_room(
    log: &mut LogHost,
    fill: impl Fn(&LogHost),
    make_room: impl Fn(&LogHost),
) {
    let mut oracle = Oracle::default();
    let client = log.client();
    submit(&client, &mut oracle, &[a_small_entry(1)])
        .await
        .unwrap();
    fill(log);
    let mut refused = None;
    let mut batch = Vec::new();
    for number in 0..BATCHES_MAX {
        batch = (number * BATCH..(number + 1) * BATCH)
            .map(a_large_entry)
            .collect();
        if let Err(error) = submit(&client, &mut oracle, &batch).await {
            refused = Some(error);
            break;
        }
    }
    let refused = refused.expect("the disk never became full");
    assert!(
        matches!(refused, ClientError::Unavailable(_)),
        "{refused:?}"
    );
    assert!(
        refused.to_string().contains("No space left on device"),
        "{refused}"
    );

    // Opening the database anew may have given back a little room: what comes now is taken and kept, or refused. Tiles are
    // not served until it could be opened.
    for number in 0..3 {
        let other = [a_large_entry(u64::MAX - number)];
        if let Err(refused) = submit(&client, &mut oracle, &other).await {
            assert!(
                matches!(refused, ClientError::Unavailable(_)),
                "{refused:?}"
            );
        }
    }

    make_room(log);
    // What was refused is taken now, once; nothing has to be restarted.
    quorix::demo::client::until("the log takes entries again", async || {
        let mut retry = client.submit(batch[..1].to_vec(), Vec::new()).await.ok()?;
        Some(retry.indices.remove(0))
    })
    .await
    .unwrap();
    submit(&client, &mut oracle, &batch).await.unwrap();
    submit(&client, &mut oracle, &[a_small_entry(2)])
        .await
        .unwrap();
    oracle.check_everything(log).await.unwrap();

    // What is on the disk is whole: the log also starts from it.
    log.kill().await;
    log.start().await.unwrap();
    oracle.check_everything(log).await.unwrap();

    // Killed on a full disk it may not start, and says why; with room it does, and has lost nothing.
    fill(log);
    log.kill().await;
    if let Err(ended) = log.start().await {
        assert_eq!(ended.status.code(), Some(3), "{}", ended.said);
        assert!(
            ended.said.contains("No space left on device"),
            "{}",
            ended.said
        );
    }
    log.kill().await;
    make_room(log);
    log.start().await.unwrap();
    oracle.check_everything(log).await.unwrap();
    submit(&log.client(), &mut oracle, &[a_small_entry(3)])
        .await
        .unwrap();
}

/// A small file system in a mount namespace that lives as long as this.
struct SmallDisk {
    keeper: Child,
    data: PathBuf,
}

impl SmallDisk {
    async fn mount(log: &mut LogHost) -> Self {
        fs::create_dir(log.data()).unwrap();
        let is_root = fs::metadata("/proc/self")
            .map(|own| std::os::unix::fs::MetadataExt::uid(&own))
            .unwrap()
            == 0;
        let mut command = Command::new("unshare");
        command.args(["--mount"]);
        if !is_root {
            command.args(["--user", "--map-root-user"]);
        }
        // `exec`, so that the process that is known here is the one inside; it lasts until it is killed.
        command
            .args([
                "sh",
                "-c",
                "mount -t tmpfs -o size=64m tmpfs \"$1\" && echo mounted && exec sleep infinity",
                "sh",
            ])
            .arg(log.data())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut keeper = command.spawn().unwrap();
        let mut said = [0; 8];
        let read = keeper.stdout.as_mut().unwrap().read_exact(&mut said).await;
        read.expect("a tmpfs can be mounted, as root or in a user namespace");
        let id = keeper.id().unwrap();
        log.launcher = ["nsenter", "--target", &id.to_string(), "--mount"]
            .map(OsString::from)
            .into();
        if !is_root {
            log.launcher
                .extend(["--user", "--preserve-credentials"].map(OsString::from));
        }
        Self {
            // The folder as it is inside.
            data: PathBuf::from(format!("/proc/{id}/root{}", log.data().display())),
            keeper,
        }
    }

    /// A file that takes all the room that is left.
    fn fill(&self) {
        let mut ballast = fs::File::create(self.data.join("ballast")).unwrap();
        let full = std::io::copy(&mut std::io::repeat(0), &mut ballast).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        fs::remove_file(self.data.join("ballast")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_full_on_a_small_file_system_the_log_says_so_and_resumes_when_there_is_room() {
    let mut log = LogHost::new();
    let mut disk = SmallDisk::mount(&mut log).await;
    log.start().await.unwrap();
    fill_and_make_room(&mut log, |_| disk.fill(), |_| disk.make_room()).await;
    log.kill().await;
    disk.keeper.kill().await.unwrap();
}

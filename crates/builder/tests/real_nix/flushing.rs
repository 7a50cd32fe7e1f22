//! From a build by Nix, through its hook and the outbox, to the log.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorix_builder::flush::{Flusher, FlusherHandle, LogState, Status};
use quorix_builder::hook::{HookVariables, post_build};
use quorix_builder::outbox::{Counts, Job, Outbox};
use quorix_host::location::{HookEnvironment, Location};
use quorix_nix::store_path::StorePath;
use quorix_trust::attestation::{Entry, Provenance};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::attesting::{attester, corrupt};
use super::fake_log::FakeLog;
use super::world::World;

const OUTBOX: &str = "QUORIX_TEST_HOOK_OUTBOX";

/// What Nix runs in these tests: this program, told by a variable that it is the hook.
#[test]
fn the_hook_of_these_tests() {
    let Some(outbox) = std::env::var_os(OUTBOX) else {
        return;
    };
    let [drv_path, out_paths, nix_config] =
        ["DRV_PATH", "OUT_PATHS", "NIX_CONFIG"].map(|name| std::env::var(name).ok());
    let variables = HookVariables {
        drv_path: drv_path.as_deref(),
        out_paths: out_paths.as_deref(),
        store: HookEnvironment {
            nix_config: nix_config.as_deref(),
            ..HookEnvironment::default()
        },
    };
    post_build(&variables, Path::new(&outbox));
}

/// Options for `nix-build` with a hook that writes into this outbox.
fn hook(world: &World, outbox: &Path) -> PathBuf {
    let script = world.path("hook");
    let program = std::env::current_exe().unwrap();
    let text = format!(
        "#!/bin/sh\n{OUTBOX}='{}' exec '{}' --exact flushing::the_hook_of_these_tests >/dev/null\n",
        outbox.display(),
        program.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    script
}

fn build_with_hook(world: &World, outbox: &Path, package: &str) -> StorePath {
    let script = hook(world, outbox);
    world.build(
        "b1",
        package,
        &["--option", "post-build-hook", script.to_str().unwrap()],
    )
}

/// A flusher at work.
struct Flushing {
    handle: FlusherHandle,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Flushing {
    fn start(outbox: &Path, log: &FakeLog) -> Self {
        let mut attester = attester();
        attester.config.poll_interval = Duration::from_millis(5);
        attester.config.back_off_min = Duration::from_millis(1);
        attester.config.back_off_max = Duration::from_millis(5);
        attester.config.attempts_max = u32::MAX;
        let outbox = Outbox::open(outbox).unwrap();
        let (flusher, handle) =
            Flusher::new(outbox, attester, log.client(), &mut Default::default());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(flusher.run(async {
            let _ = stopped.await;
        }));
        Self { handle, stop, task }
    }

    async fn until(&mut self, wanted: impl FnMut(&Status) -> bool) -> Status {
        let patience = Duration::from_secs(60);
        let reached = tokio::time::timeout(patience, self.handle.wait_for(wanted)).await;
        let status = self.handle.status();
        assert_eq!(reached, Ok(true), "{status:?}");
        status
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

fn a_job(store: Location, path: &StorePath) -> Job {
    Job {
        store,
        derivation: None,
        outputs: vec![path.clone()],
        time_s: 0,
        provenance: Provenance::Built,
        cores: 0,
    }
}

/// The predecessor published nothing until its operator called `flush`, and its hook failed builds.
#[tokio::test]
async fn trustix_what_nix_builds_is_in_the_log_without_a_manual_command() {
    let world = World::new();
    let outbox = world.path("outbox");
    let log = FakeLog::default();
    let mut flushing = Flushing::start(&outbox, &log);
    flushing
        .until(|status| status.counts == Counts::default())
        .await;

    build_with_hook(&world, &outbox, "c");
    flushing.until(|status| status.acknowledged == 3).await;
    build_with_hook(&world, &outbox, "m");
    let status = flushing
        .until(|status| status.acknowledged == 5 && status.counts.waiting == 0)
        .await;

    assert_eq!(log.names(), ["a", "b", "c", "m-dev", "m"]);
    assert_eq!(status.counts, Counts::default());
    assert_eq!(status.log, LogState::Reached);
    for entry in log.entries() {
        let Entry::Build(build) = entry else {
            panic!("{entry:?}")
        };
        assert_eq!(build.provenance, Provenance::Built);
        assert!(build.derivation.is_some());
        assert!(
            log.blobs()
                .iter()
                .any(|blob| Some(quorix_testkit::tree::blob_id(blob)) == build.inputs_blob)
        );
    }
    flushing.stop().await;
}

#[test]
fn trustix_the_hook_never_fails_the_build() {
    let world = World::new();
    let file = world.path("file");
    fs::write(&file, "").unwrap();
    build_with_hook(&world, &file.join("outbox"), "c");
    let outbox = world.path("outbox");
    build_with_hook(&world, &outbox, "m");
    assert_eq!(Outbox::open(&outbox).unwrap().counts().unwrap().waiting, 1);
}

#[tokio::test]
async fn while_the_log_is_away_nothing_is_lost_and_afterwards_all_is_there() {
    let world = World::new();
    let outbox = world.path("outbox");
    let log = FakeLog::default();
    log.set_away(true);
    let mut flushing = Flushing::start(&outbox, &log);
    build_with_hook(&world, &outbox, "c");

    let status = flushing
        .until(|status| status.log != LogState::Unknown && status.counts.waiting == 3)
        .await;
    let reason = "the log is not available: stopping".to_owned();
    assert_eq!(status.log, LogState::Away { reason });
    flushing.stop().await;
    assert!(log.calls() > 0);
    assert_eq!(log.names(), Vec::<String>::new());

    log.set_away(false);
    let mut flushing = Flushing::start(&outbox, &log);
    flushing
        .until(|status| status.acknowledged == 3 && status.counts.waiting == 0)
        .await;
    assert_eq!(log.names(), ["a", "b", "c"]);
    flushing.stop().await;
}

#[tokio::test]
async fn a_log_that_comes_back_gets_what_was_hashed_before() {
    let world = World::new();
    let outbox = world.path("outbox");
    let a = world.build("b1", "a", &[]);
    let log = FakeLog::default();
    log.set_away(true);
    let mut flushing = Flushing::start(&outbox, &log);
    Outbox::open(&outbox)
        .unwrap()
        .put(&a_job(world.store("b1"), &a))
        .unwrap();
    flushing
        .until(|status| matches!(status.log, LogState::Away { .. }))
        .await;

    // It was hashed already, and is not read again.
    fs::rename(world.store("b1").real_path(&a), world.path("moved")).unwrap();
    log.set_away(false);
    flushing.handle.wake();
    flushing
        .until(|status| status.acknowledged == 1 && status.counts.waiting == 0)
        .await;
    flushing.stop().await;
}

#[tokio::test]
async fn what_can_never_be_attested_is_set_aside_with_its_reason_and_holds_up_nothing() {
    let world = World::new();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|package| world.build("b1", package, &[]));
    world.copy("b1", "client", &a);
    fs::rename(world.store("b1").real_path(&b), world.path("away")).unwrap();
    corrupt(&world.store("b1").real_path(&c).join("f"));

    let log = FakeLog::default();
    let outbox = Outbox::open(&world.path("outbox")).unwrap();
    outbox.put(&a_job(world.store("client"), &a)).unwrap();
    outbox.put(&a_job(world.store("b1"), &b)).unwrap();
    outbox.put(&a_job(world.store("b1"), &c)).unwrap();
    outbox.put(&a_job(world.store("nowhere"), &d)).unwrap();
    outbox.put(&a_job(world.store("b1"), &d)).unwrap();
    let mut flushing = Flushing::start(&world.path("outbox"), &log);
    flushing
        .until(|status| status.counts.rejected == 4 && status.counts.waiting == 0)
        .await;

    assert_eq!(log.names(), ["d"]);
    let reasons: Vec<String> = outbox
        .rejected()
        .unwrap()
        .into_iter()
        .map(|(_, reason)| reason)
        .collect();
    for (reason, part) in reasons.iter().zip([
        "was substituted, not built here",
        "gone from disk",
        "is corrupted",
        "there is no Nix store database",
    ]) {
        assert!(reason.contains(part), "{reason}");
    }
    flushing.stop().await;
}

#[tokio::test]
async fn an_entry_that_the_log_refuses_does_not_hold_up_the_others() {
    let world = World::new();
    let c = world.build("b1", "c", &[]);
    let outbox = Outbox::open(&world.path("outbox")).unwrap();
    let built = [world.build("b1", "a", &[]), world.build("b1", "d", &[]), c];
    for path in &built {
        outbox.put(&a_job(world.store("b1"), path)).unwrap();
    }
    let log = FakeLog::default();
    log.refuse("d");
    let mut flushing = Flushing::start(&world.path("outbox"), &log);
    flushing
        .until(|status| status.counts.rejected == 1 && status.counts.waiting == 0)
        .await;

    assert_eq!(log.names(), ["a", "c"]);
    let [(_, reason)] = outbox.rejected().unwrap().try_into().unwrap();
    assert_eq!(reason, "the log refused it: this log does not take that");
    flushing.stop().await;
}

#[tokio::test]
async fn a_store_that_cannot_be_read_now_is_tried_again_and_holds_up_nothing() {
    let world = World::new();
    let [a, d] = ["a", "d"].map(|package| world.build("b1", package, &[]));
    world.build("b2", "a", &[]);
    let database = world.store("b2").database();
    fs::rename(&database, world.path("database")).unwrap();
    fs::create_dir(&database).unwrap();

    let log = FakeLog::default();
    let outbox = Outbox::open(&world.path("outbox")).unwrap();
    outbox.put(&a_job(world.store("b2"), &a)).unwrap();
    outbox.put(&a_job(world.store("b1"), &d)).unwrap();
    let mut flushing = Flushing::start(&world.path("outbox"), &log);
    let status = flushing
        .until(|status| status.acknowledged == 1 && status.counts.waiting == 1)
        .await;
    assert!(
        status
            .trouble
            .unwrap()
            .contains("opening the Nix store database")
    );

    fs::remove_dir(&database).unwrap();
    fs::rename(world.path("database"), &database).unwrap();
    flushing
        .until(|status| status.acknowledged == 2 && status.counts.waiting == 0)
        .await;
    assert_eq!(log.names(), ["d", "a"]);
    flushing.stop().await;
}

#[tokio::test]
async fn a_job_that_was_submitted_before_a_crash_is_only_acknowledged_again() {
    let world = World::new();
    let a = world.build("b1", "a", &[]);
    let log = FakeLog::default();
    let outbox = Outbox::open(&world.path("outbox")).unwrap();
    for expected_calls in 1..=2 {
        outbox.put(&a_job(world.store("b1"), &a)).unwrap();
        let mut flushing = Flushing::start(&world.path("outbox"), &log);
        flushing
            .until(|status| status.acknowledged == 1 && status.counts.waiting == 0)
            .await;
        flushing.stop().await;
        assert_eq!(log.calls(), expected_calls);
    }
    assert_eq!(log.names(), ["a"]);
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use quorix_nix::derivation::{Derivation, Output};
use quorix_nix::store_path::StoreDir;
use tempfile::{TempDir, tempdir};

use super::*;

const DRV: &str = "/nix/store/kzm1s8v213ckyq6i86a735ql5i36w9jr-c.drv";
const OUT: &str = "/nix/store/93a4fjryvg1hz7bxki7wzd9cznsm20yx-c";
const DEV: &str = "/nix/store/67z0bkldwikw125kjvcim5j0kzc5r2wd-c-dev";

fn base(path: &str) -> StorePath {
    StoreDir::default().parse(path).unwrap()
}

/// An empty store and an outbox beside it, and the settings that lead to the store.
fn a_store() -> (TempDir, PathBuf, String) {
    let dir = tempdir().unwrap();
    let settings = format!("cores = 3\nstore = {}\n", dir.path().display());
    let outbox = dir.path().join("outbox");
    (dir, outbox, settings)
}

fn variables<'a>(drv_path: &'a str, out_paths: &'a str, settings: &'a str) -> HookVariables<'a> {
    HookVariables {
        drv_path: Some(drv_path),
        out_paths: Some(out_paths),
        store: HookEnvironment {
            nix_config: Some(settings),
            ..HookEnvironment::default()
        },
    }
}

fn the_job(outbox: &Path) -> Job {
    let jobs = Outbox::open(outbox).unwrap().list(2, |_| false).unwrap();
    let [(_, job)] = jobs.as_slice() else {
        panic!("{jobs:?}");
    };
    job.clone()
}

#[test]
fn the_job_says_what_nix_said() {
    let (dir, outbox, settings) = a_store();
    post_build(&variables(DRV, &format!("{OUT} {DEV}"), &settings), &outbox);
    let job = the_job(&outbox);
    let expected = Job {
        store: Location::at_root(dir.path()),
        derivation: Some(base(DRV)),
        outputs: vec![base(OUT), base(DEV)],
        time_s: job.time_s,
        provenance: Provenance::Built,
        cores: 3,
    };
    assert_eq!(job, expected);
    assert!(job.time_s > 1_700_000_000);
}

/// Nix 2.8.0 sets OUT_PATHS to nothing (nix#6446).
#[test]
fn trustix_without_out_paths_the_outputs_are_those_of_the_derivation() {
    let (dir, outbox, settings) = a_store();
    let derivation = Derivation {
        outputs: BTreeMap::from([
            ("out".to_owned(), Output::InputAddressed(base(OUT))),
            ("dev".to_owned(), Output::InputAddressed(base(DEV))),
        ]),
        input_derivations: BTreeMap::new(),
        input_sources: BTreeSet::new(),
        system: "x86_64-linux".to_owned(),
        builder: b"/bin/sh".to_vec(),
        args: Vec::new(),
        env: BTreeMap::new(),
    };
    let store = Location::at_root(dir.path());
    fs::create_dir_all(&store.real_dir).unwrap();
    fs::write(
        store.real_path(&base(DRV)),
        derivation.print(&store.store_dir),
    )
    .unwrap();

    post_build(&variables(DRV, "", &settings), &outbox);
    assert_eq!(the_job(&outbox).outputs, [base(DEV), base(OUT)]);
}

#[test]
fn a_derivation_that_cannot_be_read_now_is_left_to_the_flusher() {
    let (_dir, outbox, settings) = a_store();
    post_build(&variables(DRV, " ", &settings), &outbox);
    assert_eq!(the_job(&outbox).outputs, Vec::<StorePath>::new());
    assert_eq!(the_job(&outbox).derivation, Some(base(DRV)));
}

#[test]
fn outputs_without_a_derivation_will_do() {
    let (_dir, outbox, settings) = a_store();
    post_build(&variables("", OUT, &settings), &outbox);
    assert_eq!(the_job(&outbox).derivation, None);
}

#[test]
fn what_cannot_be_noted_is_said_and_leaves_no_job() {
    let (dir, outbox, settings) = a_store();
    let check = |variables: &HookVariables<'_>, message: &str| {
        post_build(variables, &outbox);
        assert_eq!(note(variables, &outbox).unwrap_err().to_string(), message);
        assert!(!outbox.exists());
    };
    check(
        &HookVariables::default(),
        "neither DRV_PATH nor OUT_PATHS is set; is this run by Nix as its post-build hook?",
    );
    check(
        &variables("/etc/\npasswd", OUT, &settings),
        "DRV_PATH has `/etc/\\npasswd`: the path is not in the store /nix/store",
    );
    check(
        &variables(DRV, "x", &settings),
        "OUT_PATHS has `x`: the path is not in the store /nix/store",
    );
    check(
        &variables(DRV, OUT, "store = ssh-ng://elsewhere\n"),
        "`ssh-ng://elsewhere` is not a local Nix store; give the store's directory, or `auto`",
    );
    drop(dir);
}

#[test]
fn an_outbox_that_cannot_be_written_is_no_concern_of_the_build() {
    let (dir, _, settings) = a_store();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let variables = variables(DRV, OUT, &settings);
    for outbox in [
        file.clone(),
        file.join("outbox"),
        "/proc/self/outbox".into(),
    ] {
        post_build(&variables, &outbox);
        assert!(
            matches!(note(&variables, &outbox), Err(HookError::Outbox(_))),
            "{}",
            outbox.display()
        );
    }
}

const FULL_DISK: &str = "QUORIX_TEST_FULL_DISK";

/// Runs this test a second time with a tiny file system of its own, which takes a mount namespace.
#[test]
fn a_full_disk_is_no_concern_of_the_build() {
    let Some(disk) = std::env::var_os(FULL_DISK) else {
        let disk = tempdir().unwrap();
        let as_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        let namespaces = if as_root { "-m" } else { "-rm" };
        let status = Command::new("unshare")
            .args([
                namespaces,
                "sh",
                "-ec",
                "mount -t tmpfs -o size=64k none \"$1\"; exec \"$2\" --exact \"$3\"",
                "sh",
            ])
            .arg(disk.path())
            .arg(std::env::current_exe().unwrap())
            .arg("hook::tests::a_full_disk_is_no_concern_of_the_build")
            .env(FULL_DISK, disk.path())
            .status()
            .unwrap();
        assert!(status.success());
        return;
    };
    let disk = Path::new(&disk);
    let outbox = disk.join("outbox");
    let variables = variables(DRV, OUT, "");
    note(&variables, &outbox).unwrap();
    fs::write(disk.join("ballast"), vec![0; 1024 * 1024]).unwrap_err();

    post_build(&variables, &outbox);
    assert!(matches!(
        note(&variables, &outbox),
        Err(HookError::Outbox(OutboxError::Io {
            doing: "writing",
            ..
        }))
    ));
    assert_eq!(
        fs::read_dir(&outbox).unwrap().count(),
        1,
        "nothing half-written is left"
    );

    fs::remove_file(disk.join("ballast")).unwrap();
    post_build(&variables, &outbox);
    assert_eq!(fs::read_dir(&outbox).unwrap().count(), 2);
}

use std::fs::{create_dir, remove_dir_all, set_permissions, write};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use quorix_host::location::Location;
use quorix_trust::attestation::Provenance;
use tempfile::{TempDir, tempdir};

use super::*;

fn an_outbox() -> (TempDir, Outbox) {
    let dir = tempdir().unwrap();
    let outbox = Outbox::open(&dir.path().join("outbox")).unwrap();
    (dir, outbox)
}

fn a_job(time_s: u64) -> Job {
    Job {
        store: Location::at_root(Path::new("/srv/b1")),
        derivation: Some("kzm1s8v213ckyq6i86a735ql5i36w9jr-c.drv".parse().unwrap()),
        outputs: vec!["67z0bkldwikw125kjvcim5j0kzc5r2wd-a".parse().unwrap()],
        time_s,
        provenance: Provenance::Rebuilt,
        cores: 4,
    }
}

fn all(outbox: &Outbox) -> Vec<(JobId, Job)> {
    outbox.list(usize::MAX, |_| false).unwrap()
}

fn times(outbox: &Outbox) -> Vec<u64> {
    all(outbox).into_iter().map(|(_, job)| job.time_s).collect()
}

#[test]
fn jobs_come_in_the_order_in_which_they_were_put_and_stay_until_removed() {
    let (_dir, outbox) = an_outbox();
    let ids: Vec<JobId> = (0..20)
        .map(|time| outbox.put(&a_job(time)).unwrap())
        .collect();
    assert_eq!(times(&outbox), (0..20).collect::<Vec<_>>());
    assert_eq!(
        all(&Outbox::open(&outbox.dir).unwrap())[3],
        (ids[3].clone(), a_job(3))
    );

    outbox.remove(&ids[0]).unwrap();
    outbox.remove(&ids[0]).unwrap();
    assert_eq!(times(&outbox), (1..20).collect::<Vec<_>>());
    let some = outbox.list(2, |id| *id == ids[1]).unwrap();
    assert_eq!(
        some,
        [(ids[2].clone(), a_job(2)), (ids[3].clone(), a_job(3))]
    );
}

#[test]
fn what_is_not_understood_is_set_aside_and_blocks_no_other() {
    let (_dir, outbox) = an_outbox();
    outbox.put(&a_job(1)).unwrap();
    let good = a_job(2).to_text().unwrap();
    for (name, bytes, reason) in [
        (
            "0a",
            "",
            "it is not a job: EOF while parsing a value at line 1 column 0",
        ),
        (
            "0b",
            "{\"version\":2,\"new\":true}",
            "it is a job of version 2; this program knows version 1",
        ),
        (
            "0c",
            &good.replace("time_s", "time"),
            "it is not a job: unknown field `time`",
        ),
        (
            "0d",
            &good.replace("/srv/b1/nix/store", "nix/store"),
            "its real_dir: it is not an absolute path",
        ),
        (
            "0e",
            &good.replace("67z0bkldwikw125kjvcim5j0kzc5r2wd-a", "../../etc/passwd"),
            "its outputs: ",
        ),
        ("0f", &" ".repeat(300_000), "it has more than 262144 bytes"),
    ] {
        write(outbox.dir.join(format!("{name}.json")), bytes).unwrap();
        assert_eq!(times(&outbox), [1], "{name}");
        assert!(outbox.dir.join(format!("{name}.bad")).exists());
        let found = fs::read_to_string(outbox.dir.join(format!("{name}.reason"))).unwrap();
        assert!(found.starts_with(reason), "{name}: {found}");
    }
    symlink("/etc/passwd", outbox.dir.join("0g.json")).unwrap();
    create_dir(outbox.dir.join("0h.json")).unwrap();
    assert_eq!(times(&outbox), [1]);
    assert_eq!(
        outbox.counts(),
        Ok(Counts {
            waiting: 1,
            rejected: 0,
            bad: 8
        })
    );
}

#[test]
fn an_unfinished_file_is_no_job_and_is_removed_once_it_is_old() {
    let (_dir, outbox) = an_outbox();
    let (young, old) = (
        outbox.dir.join(".new-young.json"),
        outbox.dir.join(".new-old.json"),
    );
    for path in [&young, &old] {
        write(path, a_job(1).to_text().unwrap()).unwrap();
    }
    let two_hours_ago = SystemTime::now() - Duration::from_secs(7200);
    File::options()
        .write(true)
        .open(&old)
        .unwrap()
        .set_modified(two_hours_ago)
        .unwrap();

    assert_eq!(times(&outbox), [0_u64; 0]);
    outbox.remove_unfinished();
    assert!(young.exists());
    assert!(!old.exists());
}

#[test]
fn a_rejected_job_is_kept_with_its_reason_and_the_oldest_make_room() {
    let (_dir, mut outbox) = an_outbox();
    outbox.rejected_max = 2;
    let ids: Vec<JobId> = (0..3)
        .map(|time| outbox.put(&a_job(time)).unwrap())
        .collect();
    for id in &ids {
        outbox.reject(id, &format!("reason {id}")).unwrap();
    }
    let kept: Vec<_> = ids[1..]
        .iter()
        .map(|id| (id.clone(), format!("reason {id}")))
        .collect();
    assert_eq!(outbox.rejected(), Ok(kept));
    assert_eq!(times(&outbox), [0_u64; 0]);
    let text = fs::read(outbox.dir.join("rejected").join(format!("{}.json", ids[2]))).unwrap();
    assert_eq!(Job::from_text(&text), Ok(a_job(2)));
}

#[test]
fn a_full_outbox_takes_no_more() {
    let (_dir, mut outbox) = an_outbox();
    outbox.jobs_max = 1;
    let id = outbox.put(&a_job(1)).unwrap();
    let full = OutboxError::Full {
        path: outbox.dir.clone(),
        jobs: 1,
    };
    assert_eq!(outbox.put(&a_job(2)), Err(full));
    outbox.remove(&id).unwrap();
    assert!(outbox.put(&a_job(2)).is_ok());
}

#[test]
fn a_job_with_too_much_or_nothing_in_it_is_not_put() {
    let (_dir, outbox) = an_outbox();
    let mut job = a_job(1);
    job.outputs = vec![job.outputs[0].clone(); OUTPUTS_MAX + 1];
    assert!(matches!(outbox.put(&job), Err(OutboxError::Job { .. })));
    job.outputs.clear();
    assert!(outbox.put(&job).is_ok());
    job.derivation = None;
    assert!(matches!(outbox.put(&job), Err(OutboxError::Job { .. })));
}

#[test]
fn an_outbox_into_which_everybody_may_write_is_refused() {
    let (dir, _) = an_outbox();
    let path = dir.path().join("open");
    create_dir(&path).unwrap();
    set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(
        Outbox::open(&path).map(drop),
        Err(OutboxError::WorldWritable { path })
    );
}

#[test]
fn an_outbox_that_is_gone_is_an_error_and_leaves_nothing() {
    let (dir, outbox) = an_outbox();
    remove_dir_all(&outbox.dir).unwrap();
    assert!(matches!(outbox.put(&a_job(1)), Err(OutboxError::Io { .. })));
    assert!(matches!(
        outbox.list(1, |_| false),
        Err(OutboxError::Io { .. })
    ));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

const CHILD: &str = "QUORIX_TEST_OUTBOX";

/// Runs this test a second time as the writer, and kills that in the middle of its work.
#[test]
fn a_writer_that_is_killed_leaves_only_whole_jobs() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let outbox = Outbox::open(Path::new(&dir)).unwrap();
        loop {
            outbox.put(&a_job(1)).unwrap();
        }
    }
    let (_dir, outbox) = an_outbox();
    for round in 1..4 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "outbox::tests::a_writer_that_is_killed_leaves_only_whole_jobs",
            ])
            .env(CHILD, &outbox.dir)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while all(&outbox).len() < round * 50 {
            assert_eq!(writer.try_wait().unwrap(), None);
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
    }
    let counts = outbox.counts().unwrap();
    assert!(counts.waiting >= 150);
    assert_eq!(counts.bad, 0);
    assert_eq!(all(&outbox).len(), counts.waiting);
}

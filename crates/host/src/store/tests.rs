use std::fs::{create_dir_all, write};
use std::path::Path;
use std::process::Command;

use tempfile::{TempDir, tempdir};

use super::*;

const A: &str = "67z0bkldwikw125kjvcim5j0kzc5r2wd-a";
const B: &str = "nhx3rfs0ksyk8y9p168xd93g66da20dx-b";
const HASH: &str = "sha256:442277ec3260f86f922399b4ccfb21537b065431ab842abf4de0558bfacb4556";

/// A database as Nix 2.8.0 makes it, with these statements run on it.
fn a_store(statements: &str) -> (TempDir, Location) {
    let dir = tempdir().unwrap();
    let location = Location::at_root(dir.path());
    create_dir_all(location.database().parent().unwrap()).unwrap();
    create_dir_all(&location.real_dir).unwrap();
    let connection = Connection::open(location.database()).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = wal;
             CREATE TABLE ValidPaths (id integer primary key autoincrement not null, path text unique not null,
               hash text not null, registrationTime integer not null, deriver text, narSize integer,
               ultimate integer, sigs text, ca text);
             CREATE TABLE Refs (referrer integer not null, reference integer not null,
               primary key (referrer, reference));
             CREATE TABLE DerivationOutputs (drv integer not null, id text not null, path text not null,
               primary key (drv, id));",
        )
        .unwrap();
    connection.execute_batch(statements).unwrap();
    (dir, location)
}

fn path(text: &str) -> StorePath {
    text.parse().unwrap()
}

fn insert(values: &str) -> String {
    format!(
        "INSERT INTO ValidPaths (path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca) VALUES ({values});"
    )
}

#[test]
fn a_path_has_everything_that_its_row_says() {
    let sig = format!("k-1:{}==", "A".repeat(86));
    let row = insert(&format!(
        "'/nix/store/{A}', '{HASH}', 17, '/nix/store/{B}.drv', 120, 1, 'junk {sig}', ''"
    ));
    let other = insert(&format!(
        "'/nix/store/{B}', '{HASH}', 1, NULL, 8, NULL, NULL, NULL"
    ));
    let (_dir, location) = a_store(&format!(
        "{row} {other} INSERT INTO Refs VALUES (1, 1), (1, 2);"
    ));
    let store = Store::open(location.clone()).unwrap();

    let expected = PathInfo {
        path: path(A),
        hash: HASH.parse().unwrap(),
        nar_size: 120,
        references: [path(A), path(B)].into(),
        deriver: Some(path(&format!("{B}.drv"))),
        ultimate: true,
        sigs: vec![sig.parse().unwrap()],
        ca: None,
        registration_time: 17,
    };
    assert_eq!(store.path_info(&path(A)), Ok(Some(expected)));
    let other = store.path_info(&path(B)).unwrap().unwrap();
    assert!(!other.ultimate);
    assert_eq!(other.deriver, None);
    assert_eq!(store.warning(), None);
}

#[test]
fn a_path_that_is_not_valid_is_none_and_breaks_a_closure() {
    let (_dir, location) = a_store("");
    let store = Store::open(location).unwrap();
    assert_eq!(store.path_info(&path(A)), Ok(None));
    assert_eq!(
        store.closure(&[path(A)].into()),
        Err(StoreError::NotValid { path: path(A) })
    );
    assert_eq!(store.closure(&BTreeSet::new()), Ok(BTreeMap::new()));
}

#[test]
fn a_closure_with_cycles_ends() {
    let rows = [A, B].map(|path| {
        insert(&format!(
            "'/nix/store/{path}', '{HASH}', 1, NULL, 8, 1, NULL, NULL"
        ))
    });
    let (_dir, location) = a_store(&format!(
        "{} INSERT INTO Refs VALUES (1, 1), (1, 2), (2, 1);",
        rows.concat()
    ));
    let closure = Store::open(location)
        .unwrap()
        .closure(&[path(A)].into())
        .unwrap();
    assert_eq!(closure.into_keys().collect::<Vec<_>>(), [path(A), path(B)]);
}

#[test]
fn the_outputs_of_a_derivation_and_the_derivers_of_an_output_are_found() {
    let drv = "kzm1s8v213ckyq6i86a735ql5i36w9jr-c.drv";
    let row = insert(&format!(
        "'/nix/store/{drv}', '{HASH}', 1, NULL, 8, 1, NULL, NULL"
    ));
    let (_dir, location) = a_store(&format!(
        "{row} INSERT INTO DerivationOutputs VALUES (1, 'out', '/nix/store/{A}'), (1, 'dev', '/nix/store/{B}');"
    ));
    let store = Store::open(location).unwrap();
    assert_eq!(
        store.derivation_outputs(&path(drv)),
        Ok([("dev".to_owned(), path(B)), ("out".to_owned(), path(A))].into())
    );
    assert_eq!(
        store.valid_derivers(&path(B)),
        Ok([(path(drv), "dev".to_owned())].into())
    );
    assert_eq!(store.valid_derivers(&path(drv)), Ok(BTreeMap::new()));
}

#[test]
fn malformed_rows_name_the_path_and_the_field() {
    for (values, field) in [
        (
            format!("'/nix/store/{A}', 'sha256:xyz', 1, NULL, 8, 1, NULL, NULL"),
            "hash",
        ),
        (
            format!(
                "'/nix/store/{A}', 'sha1:{}', 1, NULL, 8, 1, NULL, NULL",
                "0".repeat(40)
            ),
            "hash",
        ),
        (
            format!("'/nix/store/{A}', '{HASH}', 1, NULL, NULL, 1, NULL, NULL"),
            "size",
        ),
        (
            format!("'/nix/store/{A}', '{HASH}', 1, NULL, -8, 1, NULL, NULL"),
            "size",
        ),
        (
            format!("'/nix/store/{A}', '{HASH}', 1, '/etc/passwd', 8, 1, NULL, NULL"),
            "deriver",
        ),
        (
            format!("'/nix/store/{A}', '{HASH}', -1, NULL, 8, 1, NULL, NULL"),
            "registration time",
        ),
    ] {
        let (_dir, location) = a_store(&insert(&values));
        let found = Store::open(location).unwrap().path_info(&path(A));
        assert!(
            matches!(&found, Err(StoreError::Malformed { path, field: found, .. })
                if path.as_str() == A && *found == field),
            "{found:?}"
        );
    }
    let (_dir, location) = a_store(&insert(&format!(
        "'/nix/store/{A}', x'00ff', 1, NULL, 8, 1, NULL, NULL"
    )));
    let found = Store::open(location).unwrap().path_info(&path(A));
    assert!(matches!(found, Err(StoreError::Query { .. })), "{found:?}");
}

#[test]
fn what_is_no_store_is_an_error_that_names_the_database() {
    let dir = tempdir().unwrap();
    let location = Location::at_root(dir.path());
    let database = location.database();
    let found = Store::open(location.clone()).map(drop);
    assert_eq!(
        found,
        Err(StoreError::NoDatabase {
            database: database.clone()
        })
    );

    create_dir_all(database.parent().unwrap()).unwrap();
    write(
        &database,
        "this is not a database, for sure, and long enough to be looked at".repeat(99),
    )
    .unwrap();
    let found = Store::open(location.clone()).map(drop);
    assert!(
        matches!(&found, Err(StoreError::Open { reason, .. }) if reason == "file is not a database"),
        "{found:?}"
    );

    std::fs::remove_file(&database).unwrap();
    Connection::open(&database)
        .unwrap()
        .execute_batch("CREATE TABLE Other (x);")
        .unwrap();
    let found = Store::open(location).map(drop);
    assert!(
        matches!(&found, Err(StoreError::Open { reason, .. }) if reason.contains("ValidPaths")),
        "{found:?}"
    );
}

#[test]
fn the_store_is_readable_while_nix_writes() {
    let (_dir, location) = a_store("");
    let store = Store::open(location.clone()).unwrap();
    let writer = Connection::open(location.database()).unwrap();
    let row = insert(&format!(
        "'/nix/store/{A}', '{HASH}', 1, NULL, 8, 1, NULL, NULL"
    ));

    writer
        .execute_batch(&format!("BEGIN IMMEDIATE; {row}"))
        .unwrap();
    assert_eq!(store.path_info(&path(A)), Ok(None));
    writer.execute_batch("COMMIT").unwrap();
    assert!(store.path_info(&path(A)).unwrap().is_some());
}

#[test]
fn a_database_can_be_read_without_locks_whatever_its_path() {
    let url = immutable_url(Path::new("/a b/ä?#%.sqlite"));
    assert_eq!(url, "file:/a%20b/%c3%a4%3f%23%25.sqlite?immutable=1");

    let row = insert(&format!(
        "'/nix/store/{A}', '{HASH}', 1, NULL, 8, 1, NULL, NULL"
    ));
    let (_dir, location) = a_store(&row);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection =
        Connection::open_with_flags(immutable_url(&location.database()), flags).unwrap();
    assert!(probe(connection).is_ok());
}

#[test]
fn a_derivation_that_is_gone_too_big_or_malformed_is_an_error() {
    let (_dir, location) = a_store("");
    let drv = path("kzm1s8v213ckyq6i86a735ql5i36w9jr-c.drv");
    assert_eq!(
        read_derivation(&location, &drv),
        Err(StoreError::NotValid { path: drv.clone() })
    );
    write(location.real_path(&drv), "Derive([").unwrap();
    assert!(matches!(
        read_derivation(&location, &drv),
        Err(StoreError::Derivation { .. })
    ));
    let file = File::create(location.real_path(&drv)).unwrap();
    file.set_len(DERIVATION_BYTES_MAX + 1).unwrap();
    assert_eq!(
        read_derivation(&location, &drv),
        Err(StoreError::Derivation {
            path: drv,
            reason: "it has more than 16777216 bytes".to_owned()
        })
    );
}

const READ_ONLY: &str = "QUORIX_TEST_READ_ONLY_STORE";

/// Runs this test a second time with the store mounted read-only, which takes a mount namespace.
#[test]
fn a_database_that_cannot_be_locked_is_read_with_a_warning() {
    if let Some(root) = std::env::var_os(READ_ONLY) {
        let store = Store::open(Location::at_root(Path::new(&root))).unwrap();
        let warning = store.warning().unwrap();
        assert!(warning.contains("cannot be opened with locks"), "{warning}");
        assert!(store.path_info(&path(A)).unwrap().is_some());
        return;
    }
    let row = insert(&format!(
        "'/nix/store/{A}', '{HASH}', 1, NULL, 8, 1, NULL, NULL"
    ));
    let (dir, _) = a_store(&row);
    let as_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let script =
        "mount --bind \"$1\" \"$1\"; mount -o remount,ro,bind \"$1\"; exec \"$2\" --exact \"$3\"";
    let status = Command::new("unshare")
        .args([
            if as_root { "-m" } else { "-rm" },
            "sh",
            "-ec",
            script,
            "sh",
        ])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .arg("store::tests::a_database_that_cannot_be_locked_is_read_with_a_warning")
        .env(READ_ONLY, dir.path())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn all_paths_are_all_but_derivations() {
    let (_dir, location) = a_store(&format!(
        "{}{}{}",
        insert(&format!(
            "'/nix/store/{A}', '{HASH}', 7, NULL, 120, 1, NULL, NULL"
        )),
        insert(&format!(
            "'/nix/store/{B}.drv', '{HASH}', 7, NULL, 120, 1, NULL, NULL"
        )),
        insert(&format!(
            "'/nix/store/{B}', '{HASH}', 7, NULL, 120, 0, NULL, NULL"
        )),
    ));
    let all = Store::open(location).unwrap().all().unwrap();
    let paths: Vec<_> = all.keys().cloned().collect();
    assert_eq!(paths, [path(A), path(B)]);
}

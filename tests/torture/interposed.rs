//! The library that stands between a log and its files (`tests/lost_sync/interpose.c`), compiled here with `cc`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::host::LogHost;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/lost_sync/interpose.c");

/// The environment of a log with the library, and the file that makes its disk full while it exists.
pub(crate) fn environment(log: &LogHost, lie: Option<&str>) -> Vec<(&'static str, OsString)> {
    let mut environment = environment_of(log, &log.data(), &journal(log), lie);
    environment.push(("INTERPOSE_FULL", full(log).into()));
    environment
}

/// The environment of another process of the log's host, whose files are below `root`.
pub(crate) fn environment_of(
    log: &LogHost,
    root: &Path,
    journal: &Path,
    lie: Option<&str>,
) -> Vec<(&'static str, OsString)> {
    let mut environment: Vec<(&'static str, OsString)> = vec![
        ("LD_PRELOAD", library(&log.path("interpose.so")).into()),
        ("INTERPOSE_ROOT", root.into()),
        ("INTERPOSE_JOURNAL", journal.into()),
    ];
    environment.extend(lie.map(|lie| ("INTERPOSE_LIE", lie.into())));
    environment
}

/// What the log did to its files.
pub(crate) fn journal(log: &LogHost) -> PathBuf {
    log.path("journal")
}

/// While this file exists the disk is full.
pub(crate) fn full(log: &LogHost) -> PathBuf {
    log.path("full")
}

fn library(to: &Path) -> PathBuf {
    let mut compiler = Command::new("cc");
    compiler.args([
        "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o",
    ]);
    let compiled = compiler.arg(to).arg(SOURCE).arg("-lpthread").output();
    let compiled = compiled.expect("cc is installed (`make test` installs it)");
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    to.to_owned()
}
